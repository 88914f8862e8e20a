public import CommandGate
public import Wire
public import WorkloadService

/// Records what is issued to workloads, and what becomes of authorities, through the gate.
public struct GateWorkloadRecorder<Store: UnitStore>: WorkloadRecorder where Store.Unit: WorkloadStore {
  private let gate: Gate<Store>
  private let store: Store

  /// Makes a recorder.
  public init(gate: Gate<Store>, store: Store) {
    self.gate = gate
    self.store = store
  }

  /// Records events through the gate; see ``WorkloadRecorder``.
  public func record(
    _ change: @Sendable @escaping (inout Store.Unit, Timestamp, UInt64) throws -> [WorkloadEvent]
  ) async throws -> Range<UInt64> {
    try await gate.recordAll { unit, moment in
      try change(&unit, moment.time, moment.leafIndex).map { EventRecord(kind: $0.kind, content: $0.content) }
    }
  }

  /// Reads a consistent view of the storage.
  public func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout Store.Unit) throws -> Result
  ) async throws -> Result {
    try await store.read(body)
  }

  /// How many leaves the newest public checkpoint covers.
  public var sealedSize: UInt64 { gate.published.size }
}
