public import CommandGate
public import KeyService
public import Seal
public import Wire

/// Records what is done about keys through the gate.
public struct GateKeyRecorder<Store: UnitStore>: KeyRecorder where Store.Unit: KeyStore {
  private let gate: Gate<Store>
  private let store: Store
  private let genesis: Genesis
  private let eraseVersions: @Sendable ([String]) async throws -> Void
  private let scrubFiles: @Sendable () async throws -> Void

  /// Makes a recorder.
  /// - Parameters:
  ///   - erase: erases the wrapped bytes of keys in the storage.
  ///   - scrub: makes what was erased unreadable in the storage's files.
  public init(
    gate: Gate<Store>, store: Store, genesis: Genesis, erase: @escaping @Sendable ([String]) async throws -> Void,
    scrub: @escaping @Sendable () async throws -> Void
  ) {
    self.gate = gate
    self.store = store
    self.genesis = genesis
    eraseVersions = erase
    scrubFiles = scrub
  }

  /// Throws where the log is read-only: the database is not what the signer last signed.
  public func demandLog() async throws {
    guard case .readOnly(let why) = await gate.mode else { return }
    throw Problem(503, "log_read_only", "No key is used while nothing can be recorded: \(why).")
  }

  /// Records an event through the gate; see ``KeyRecorder``.
  public func record(
    _ kind: String, _ change: @Sendable @escaping (inout Store.Unit, Timestamp, UInt64) throws -> JSONObject?
  ) async throws -> UInt64? {
    try await gate.record { unit, moment in
      try change(&unit, moment.time, moment.leafIndex).map { EventRecord(kind: kind, content: $0) }
    }
  }

  /// Reads a consistent view of the storage.
  public func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout Store.Unit) throws -> Result
  ) async throws -> Result {
    try await store.read(body)
  }

  /// Erases the wrapped bytes of keys, without a leaf.
  public func erase(_ keys: [String]) async throws { try await eraseVersions(keys) }

  /// Makes what was erased unreadable in the storage's files.
  public func scrub() async throws { try await scrubFiles() }

  /// A leaf under a signed tree head, verified with the keys of the genesis.
  public func seal(ofLeaf index: UInt64) async throws -> JSONObject {
    try await gate.sealedEvent(index, genesis: genesis).json.object ?? [:]
  }
}
