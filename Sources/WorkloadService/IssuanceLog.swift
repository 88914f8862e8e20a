import Synchronization
import Wire
import WorkloadIdentity

/// What an SVID was signed for has changed before it was on the record: nobody gets it.
struct Overtaken: Error {}

/// Puts issuances on the record, many in one transaction. What was issued may leave once its leaf is durable; when the
/// signatures of the log fall behind, issuance stops.
actor IssuanceLog<Recorder: WorkloadRecorder> {
  /// At most so many leaves in one transaction: commands of others share the log.
  static var batchLimit: Int { 256 }
  /// At most so many issuances waiting.
  static var queueLimit: Int { 8192 }
  /// How long a durable leaf may wait for its signature before issuance stops, in milliseconds.
  static var patience: Int64 { 1000 }

  /// An issuance, and the leaf of the entry as it was when it was signed.
  private struct Item {
    let issuance: SVIDIssuance
    let entryIndex: UInt64

    /// Whether the entry still says the same, and the authority is still the one that signs.
    func isCurrent(in unit: inout Recorder.Unit) throws -> Bool {
      guard let entry = try unit.entry(issuance.entry), entry.fingerprint != nil else { return false }
      return try entry.leafIndex == entryIndex && unit.authority(issuance.authority)?.state == .active
    }
  }

  private let recorder: Recorder
  private let trustDomain: TrustDomain
  private let time: any TimeSource
  private var waiting: [(item: Item, answer: CheckedContinuation<UInt64, any Error>)] = []
  private var isWriting = false
  /// Leaves whose signature is outstanding: the index behind the last one of a batch, and when it was written.
  private var unsealed: [(end: UInt64, since: Timestamp)] = []

  init(_ recorder: Recorder, trustDomain: TrustDomain, time: any TimeSource) {
    self.recorder = recorder
    self.trustDomain = trustDomain
    self.time = time
  }

  /// Throws where the log's signatures are behind.
  func demandSealing() throws(WorkloadRefusal) {
    let size = recorder.sealedSize
    unsealed.removeAll { $0.end <= size }
    guard let oldest = unsealed.first, time.now().milliseconds - oldest.since.milliseconds > Self.patience else {
      return
    }
    throw WorkloadRefusal(
      .unavailable, "log_behind", "The log is not signed at present, so nothing is issued; try again later.",
      retryAfter: Self.patience)
  }

  /// Records an issuance; returns the index of its leaf, which is durable then.
  /// - Parameter entryIndex: the leaf of the entry that it was issued under.
  /// - Throws: ``Overtaken`` where entry or authority have changed since.
  func record(_ issuance: SVIDIssuance, entryIndex: UInt64) async throws -> UInt64 {
    try demandSealing()
    guard waiting.count < Self.queueLimit else {
      throw WorkloadRefusal(
        .unavailable, "issuance_busy", "Too many identities are being issued; try again later.", retryAfter: 1000)
    }
    return try await withCheckedThrowingContinuation { continuation in
      waiting.append((Item(issuance: issuance, entryIndex: entryIndex), continuation))
      if !isWriting {
        isWriting = true
        Task { await write() }
      }
    }
  }

  private func write() async {
    while !waiting.isEmpty {
      let batch = Array(waiting.prefix(Self.batchLimit))
      waiting.removeFirst(batch.count)
      let items = batch.map(\.item)
      let current = Mutex<[Bool]>([])
      do {
        let indices = try await recorder.record { [trustDomain] unit, _, first in
          var events: [WorkloadEvent] = []
          var found: [Bool] = []
          for item in items {
            found.append(try item.isCurrent(in: &unit))
            guard found.last == true else { continue }
            let transition = WorkloadTransition.issued(item.issuance)
            try transition.apply(leafIndex: first + UInt64(events.count), trustDomain: trustDomain, in: &unit)
            events.append(transition.event)
          }
          current.withLock { [found] in $0 = found }
          return events
        }
        if !indices.isEmpty { unsealed.append((indices.upperBound, time.now())) }
        let found = current.withLock { $0 }
        // Whoever asked is answered, whatever the recorder made of it.
        guard found.count == batch.count, found.count(where: { $0 }) == indices.count else {
          throw Problem(503, "issuance_failed", "The record of what was issued is not as it was asked for; try again.")
        }
        var index = indices.lowerBound
        for (isCurrent, item) in zip(found, batch) {
          guard isCurrent else {
            item.answer.resume(throwing: Overtaken())
            continue
          }
          item.answer.resume(returning: index)
          index += 1
        }
      } catch {
        for item in batch { item.answer.resume(throwing: error) }
      }
    }
    isWriting = false
  }
}
