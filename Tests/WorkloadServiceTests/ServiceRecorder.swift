import StorageSQLite
import Synchronization
import TrustCoreAPI
import Wire
import WorkloadService

/// The recorder of the product, which fails or waits where a test says so.
final class ServiceRecorder: WorkloadRecorder {
  typealias Unit = SQLiteUnit

  /// When a record of a kind fails.
  enum Fault: Sendable {
    /// Nothing is recorded.
    case before
    /// It is recorded, and nobody learns that.
    case after
  }

  private struct State {
    var faults: [String: Fault] = [:]
    var isReadingHeld = false
    var readers: [CheckedContinuation<Void, Never>] = []
    var watching: [CheckedContinuation<Void, Never>] = []
    var batches: [Int] = []
  }

  private let base: GateWorkloadRecorder<SQLiteStore>
  private let state = Mutex(State())

  init(_ base: GateWorkloadRecorder<SQLiteStore>) { self.base = base }

  /// Records of a kind fail from now on, or do not.
  func fail(_ kind: String, _ fault: Fault?) { state.withLock { $0.faults[kind] = fault } }

  /// How many events each transaction held.
  var batches: [Int] { state.withLock { $0.batches } }

  /// Readers that have read are held back until they are let go.
  func holdReaders(_ isHeld: Bool) {
    let readers = state.withLock { state in
      state.isReadingHeld = isHeld
      guard !isHeld else { return [CheckedContinuation<Void, Never>]() }
      defer { state.readers = [] }
      return state.readers
    }
    for reader in readers { reader.resume() }
  }

  /// Returns once a reader is held back.
  func waitUntilReading() async {
    await withCheckedContinuation { continuation in
      let isHeld = state.withLock { state in
        if state.readers.isEmpty { state.watching.append(continuation) }
        return !state.readers.isEmpty
      }
      if isHeld { continuation.resume() }
    }
  }

  func record(
    _ change: @Sendable @escaping (inout SQLiteUnit, Timestamp, UInt64) throws -> [WorkloadEvent]
  ) async throws -> Range<UInt64> {
    let faults = state.withLock { $0.faults }
    let recorded = RecordedKinds()
    let indices = try await base.record { unit, time, index in
      let events = try change(&unit, time, index)
      if let event = events.first(where: { faults[$0.kind] == .before }) {
        throw Problem(503, "test_fault", "The test has \(event.kind) fail.")
      }
      recorded.set(events.map(\.kind))
      return events
    }
    state.withLock { $0.batches.append(indices.count) }
    if let kind = recorded.kinds.first(where: { faults[$0] == .after }) {
      throw Problem(503, "test_fault", "The test has \(kind) fail.")
    }
    return indices
  }

  func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout SQLiteUnit) throws -> Result
  ) async throws -> Result {
    let result = try await base.read(body)
    await withCheckedContinuation { continuation in
      let (isHeld, watching) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
        guard state.isReadingHeld else { return (false, []) }
        // One reader alone: those that come later see what it does not.
        state.isReadingHeld = false
        state.readers.append(continuation)
        defer { state.watching = [] }
        return (true, state.watching)
      }
      for watcher in watching { watcher.resume() }
      if !isHeld { continuation.resume() }
    }
    return result
  }

  var sealedSize: UInt64 { base.sealedSize }
}

/// What a transaction recorded.
private final class RecordedKinds: Sendable {
  private let state = Mutex<[String]>([])
  var kinds: [String] { state.withLock { $0 } }
  func set(_ kinds: [String]) { state.withLock { $0 = kinds } }
}
