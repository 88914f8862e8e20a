package import CommandGate
package import Seal

extension SQLiteUnit: CommandStore {
  package mutating func command(idempotency: [UInt8]) throws -> CommandRecord? {
    try first("SELECT * FROM command WHERE idempotency = ?", [idempotency], Self.command)
  }

  package mutating func command(id: CommandID) throws -> CommandRecord? {
    try first("SELECT * FROM command WHERE id = ?", [id.bytes], Self.command)
  }

  package mutating func command(leafIndex: UInt64) throws -> CommandRecord? {
    try first("SELECT * FROM command WHERE leaf_index = ?", [Int64(clamping: leafIndex)], Self.command)
  }

  package mutating func unfinished() throws -> [CommandRecord] {
    try all(
      """
      SELECT * FROM command WHERE state = 'authorized' OR (state = 'held' AND checkpoint_size IS NULL)
      ORDER BY leaf_index
      """, [], Self.command)
  }

  private static func command(_ row: SQLRow) throws -> CommandRecord {
    CommandRecord(
      id: try decoded(CommandID(row[1]), "command id"), leafIndex: try unsigned(row[0], "leaf index"),
      idempotency: row[2], digest: row[3], principal: row[4],
      state: try decoded(CommandRecord.State(rawValue: row[5]), "command state"),
      outcomeIndex: try (row[6] as Int64?).map { try unsigned($0, "outcome index") },
      checkpointSize: try (row[7] as Int64?).map { try unsigned($0, "checkpoint size") },
      result: row[8])
  }

  package mutating func insert(_ command: CommandRecord) throws {
    try run(
      """
      INSERT INTO command (leaf_index, id, idempotency, digest, principal, state, outcome_index, checkpoint_size, result)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        Int64(command.leafIndex), command.id.bytes, command.idempotency, command.digest,
        command.principal, command.state.rawValue, command.outcomeIndex.map(Int64.init),
        command.checkpointSize.map(Int64.init), command.result,
      ])
  }

  package mutating func update(_ command: CommandRecord) throws {
    try runOnce(
      "UPDATE command SET state = ?, outcome_index = ?, checkpoint_size = ?, result = ? WHERE leaf_index = ?",
      [
        command.state.rawValue, command.outcomeIndex.map(Int64.init), command.checkpointSize.map(Int64.init),
        command.result, Int64(command.leafIndex),
      ])
  }

  package mutating func insertContent(_ content: SaltedContent, leafIndex: UInt64) throws {
    try run(
      "INSERT INTO content (idx, salt, content) VALUES (?, ?, ?)",
      [Int64(leafIndex), content.salt, content.content])
  }

  package mutating func content(leafIndex: UInt64) throws -> SaltedContent? {
    try first("SELECT salt, content FROM content WHERE idx = ?", [Int64(clamping: leafIndex)]) { row in
      SaltedContent(salt: row[0], content: row[1])
    }
  }
}
