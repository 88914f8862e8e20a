import Wire
import WorkloadIdentity

/// Puts issuances on the record, many in one transaction. What was issued may leave once its leaf is durable; when the
/// signatures of the log fall behind, issuance stops.
actor IssuanceLog<Recorder: WorkloadRecorder> {
  /// At most so many leaves in one transaction: commands of others share the log.
  static var batchLimit: Int { 256 }
  /// At most so many issuances waiting.
  static var queueLimit: Int { 8192 }
  /// How long a durable leaf may wait for its signature before issuance stops, in milliseconds.
  static var patience: Int64 { 1000 }

  private let recorder: Recorder
  private let time: any TimeSource
  private var waiting: [(event: WorkloadEvent, answer: CheckedContinuation<UInt64, any Error>)] = []
  private var isWriting = false
  /// Leaves whose signature is outstanding: the index behind the last one of a batch, and when it was written.
  private var unsealed: [(end: UInt64, since: Timestamp)] = []

  init(_ recorder: Recorder, time: any TimeSource) {
    self.recorder = recorder
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
  func record(_ event: WorkloadEvent) async throws -> UInt64 {
    try demandSealing()
    guard waiting.count < Self.queueLimit else {
      throw WorkloadRefusal(
        .unavailable, "issuance_busy", "Too many identities are being issued; try again later.", retryAfter: 1000)
    }
    return try await withCheckedThrowingContinuation { continuation in
      waiting.append((event, continuation))
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
      let events = batch.map(\.event)
      do {
        let indices = try await recorder.record { _, _, _ in events }
        unsealed.append((indices.upperBound, time.now()))
        for (index, item) in zip(indices, batch) { item.answer.resume(returning: index) }
      } catch {
        for item in batch { item.answer.resume(throwing: error) }
      }
    }
    isWriting = false
  }
}
