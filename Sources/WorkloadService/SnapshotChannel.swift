import Synchronization
import WorkloadIdentity

/// The newest snapshot of a group of streams that are entitled to the same. Whoever follows it waits without a task of
/// its own, and a slow one finds the newest snapshot alone.
final class SnapshotChannel: Sendable {
  private struct State {
    var snapshot: WorkloadSnapshot?
    var end: WorkloadRefusal?
    var isClosed = false
    var waiting: [ObjectIdentifier: CheckedContinuation<Void, Never>] = [:]

    /// Whether someone who has seen a version need not wait.
    func hasNews(after version: UInt64) -> Bool {
      end != nil || isClosed || (snapshot?.version ?? 0) > version
    }
  }

  private let state = Mutex(State())

  /// The newest snapshot; nil before the first.
  /// - Throws: why there is none any more.
  func newest() throws(WorkloadRefusal) -> WorkloadSnapshot? {
    try state.withLock { state throws(WorkloadRefusal) in
      if let end = state.end { throw end }
      return state.snapshot
    }
  }

  /// Puts a snapshot out.
  func set(_ snapshot: WorkloadSnapshot) { change { ($0.snapshot, $0.end) = (snapshot, nil) } }

  /// Tells everybody that nothing is left; a later snapshot begins anew.
  func end(_ refusal: WorkloadRefusal) { change { ($0.snapshot, $0.end) = (nil, refusal) } }

  /// The daemon stops.
  func close() { change { $0.isClosed = true } }

  private func change(_ body: (inout State) -> Void) {
    let waiting = state.withLock { state in
      body(&state)
      defer { state.waiting = [:] }
      return state.waiting.values
    }
    for continuation in waiting { continuation.resume() }
  }

  /// Waits for a snapshot that is newer than what a reader has seen; nil once the daemon stops, or the reader.
  func snapshot(for reader: Updates) async throws -> WorkloadSnapshot? {
    while true {
      try Task.checkCancellation()
      let (version, isCancelled) = reader.place
      if isCancelled { return nil }
      let found: WorkloadSnapshot?? = try state.withLock { state throws(WorkloadRefusal) in
        if let end = state.end { throw end }
        if state.isClosed { return .some(nil) }
        if let snapshot = state.snapshot, snapshot.version > version { return snapshot }
        return nil
      }
      if let found { return found }
      await wait(reader, after: version)
    }
  }

  private func wait(_ reader: Updates, after version: UInt64) async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          // Under the lock that `wake` takes after the reader is cancelled, so that one of the two sees the other.
          if state.hasNews(after: version) || reader.place.isCancelled || Task.isCancelled { return true }
          state.waiting[ObjectIdentifier(reader)] = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      wake(reader)
    }
  }

  /// Has a reader look again, where it waits.
  func wake(_ reader: Updates) { state.withLock { $0.waiting.removeValue(forKey: ObjectIdentifier(reader)) }?.resume() }

  /// How many wait.
  var waitingCount: Int { state.withLock { $0.waiting.count } }
}

/// A stream's place in a channel.
final class Updates: WorkloadUpdates {
  private let channel: SnapshotChannel
  private let state = Mutex<(seen: UInt64, isCancelled: Bool)>((0, false))
  /// Keeps the group for as long as the stream lives.
  private let membership: any Sendable
  private let demandCurrent: @Sendable () throws(WorkloadRefusal) -> Void

  /// - Parameter demandCurrent: throws once the connection's process is found to be of another group.
  init(
    _ channel: SnapshotChannel, membership: any Sendable,
    demandCurrent: @escaping @Sendable () throws(WorkloadRefusal) -> Void
  ) {
    self.channel = channel
    self.membership = membership
    self.demandCurrent = demandCurrent
  }

  func next() async throws -> WorkloadSnapshot? {
    guard let snapshot = try await channel.snapshot(for: self) else { return nil }
    try demandCurrent()
    state.withLock { $0.seen = snapshot.version }
    return snapshot
  }

  func cancel() {
    state.withLock { $0.isCancelled = true }
    channel.wake(self)
  }

  /// The version that was seen last, and whether there is to be none after it.
  fileprivate var place: (seen: UInt64, isCancelled: Bool) { state.withLock { $0 } }
}
