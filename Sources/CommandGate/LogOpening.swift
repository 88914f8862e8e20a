import Seal
import TransparencyLog
public import Wire

extension UnitStore {
  /// Opens a new log: leaf 0 is the digest of genesis, and what made the deployment follows. The head stays unsigned
  /// until the gate seals it.
  /// - Parameters:
  ///   - genesis: the text of `genesis.json`.
  ///   - events: what to record after leaf 0, such as the creation of keys.
  ///   - change: the state to write in the same transaction.
  public func openLog(
    genesis: [UInt8], events: [EventRecord], at now: Timestamp, random: any RandomSource,
    change: @Sendable @escaping (inout Unit) throws -> Void
  ) async throws {
    try await write { unit in
      guard try unit.head() == nil else {
        throw Problem(409, "log_exists", "The database holds a log already; genesis happens once.")
      }
      var batch = LeafBatch(tree: MerkleTree(), now: now, random: random)
      try batch.append(.genesis(digest: Genesis.digest(genesis)), committing: nil, in: &unit)
      for event in events { try batch.append(event, in: &unit) }
      try change(&unit)
      try batch.write(to: &unit)
    }
  }

  /// Records an event before a gate runs on this storage; the gate seals it when it recovers.
  public func append(_ event: EventRecord, at now: Timestamp, random: any RandomSource) async throws {
    try await write { unit in
      guard let head = try unit.head() else {
        throw Problem(409, "log_empty", "The database holds no log; restore it.")
      }
      var batch = LeafBatch(tree: try MerkleTree(restoring: head, from: unit), now: now, random: random)
      try batch.append(event, in: &unit)
      try batch.write(to: &unit)
    }
  }
}
