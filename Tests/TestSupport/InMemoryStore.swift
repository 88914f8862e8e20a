package import CommandGate
package import Ledger
package import Payments
package import Seal
package import StorageSQLite
import Synchronization
package import TransparencyLog

/// A storage that forgets: a unit of work is a copy that replaces the original when it succeeds.
package final class InMemoryStore: UnitStore {
  private let unit: Mutex<InMemoryUnit>

  /// A storage that holds what a unit holds.
  package init(_ unit: InMemoryUnit = InMemoryUnit()) { self.unit = Mutex(unit) }

  /// What is stored: an image of a crash at this moment.
  package var image: InMemoryUnit { unit.withLock { $0 } }

  package func write<Result: Sendable>(
    _ body: @Sendable @escaping (inout InMemoryUnit) throws -> Result
  ) async throws -> Result {
    try unit.withLock { unit in
      var copy = unit
      let result = try body(&copy)
      unit = copy
      return result
    }
  }

  package func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout InMemoryUnit) throws -> Result
  ) async throws -> Result {
    var copy = image
    return try body(&copy)
  }
}

/// A unit of work in memory: all that the gate and the modules need.
package struct InMemoryUnit: ReplayStore, Sendable {
  private var log = InMemoryLogStore()
  package var tables = ReplayTables()
  private var commands: [UInt64: CommandRecord] = [:]
  private var contents: [UInt64: SaltedContent] = [:]

  /// Nothing stored.
  package init() {}

  /// A row that must or must not be there is not as it must be.
  struct Conflict: Error {}
}

extension InMemoryUnit: LogStore {
  package mutating func appendEntries(firstIndex: UInt64, _ entries: [[UInt8]]) throws {
    try log.appendEntries(firstIndex: firstIndex, entries)
  }
  package func entry(at index: UInt64) throws -> [UInt8]? { try log.entry(at: index) }
  package func entries(in range: Range<UInt64>) throws -> [[UInt8]] { try log.entries(in: range) }
  package mutating func writeTiles(_ tiles: [Tile]) throws { try log.writeTiles(tiles) }
  package func tile(level: Int, index: UInt64) throws -> [UInt8]? { try log.tile(level: level, index: index) }
  package func head() throws -> TreeHead? { try log.head() }
  package mutating func setHead(_ head: TreeHead) throws { try log.setHead(head) }
  package func checkpoint(size: UInt64) throws -> String? { try log.checkpoint(size: size) }
  package func latestCheckpoint() throws -> String? { try log.latestCheckpoint() }
  package mutating func putCheckpoint(size: UInt64, _ note: String) throws { try log.putCheckpoint(size: size, note) }
}

extension InMemoryUnit: CommandStore {
  package func command(idempotency: [UInt8]) -> CommandRecord? {
    commands.values.first { $0.idempotency == idempotency }
  }
  package func command(id: CommandID) -> CommandRecord? { commands.values.first { $0.id == id } }
  package func command(leafIndex: UInt64) -> CommandRecord? { commands[leafIndex] }
  package mutating func insert(_ command: CommandRecord) throws {
    guard commands[command.leafIndex] == nil, self.command(id: command.id) == nil,
      self.command(idempotency: command.idempotency) == nil
    else { throw Conflict() }
    commands[command.leafIndex] = command
  }
  package mutating func update(_ command: CommandRecord) throws {
    guard commands[command.leafIndex] != nil else { throw Conflict() }
    commands[command.leafIndex]?.state = command.state
    commands[command.leafIndex]?.outcomeIndex = command.outcomeIndex
    commands[command.leafIndex]?.checkpointSize = command.checkpointSize
    commands[command.leafIndex]?.result = command.result
  }
  package func unfinished() -> [CommandRecord] {
    commands.values
      .filter { $0.state == .authorized || ($0.state == .held && $0.checkpointSize == nil) }
      .sorted { $0.leafIndex < $1.leafIndex }
  }
  package mutating func insertContent(_ content: SaltedContent, leafIndex: UInt64) throws {
    guard contents[leafIndex] == nil else { throw Conflict() }
    contents[leafIndex] = content
  }
  package func content(leafIndex: UInt64) -> SaltedContent? { contents[leafIndex] }
  package mutating func savepoint<Result>(_ body: (inout InMemoryUnit) throws -> Result) throws -> Result {
    var copy = self
    let result = try body(&copy)
    self = copy
    return result
  }
}

extension InMemoryUnit {
  /// The commands by leaf index, for tests that look at all of them.
  package var allCommands: [CommandRecord] { commands.values.sorted { $0.leafIndex < $1.leafIndex } }
  /// The accounts by identifier.
  package var allAccounts: [Account] { tables.accounts.values.sorted { $0.id < $1.id } }
  /// The holds by identifier.
  package var allHolds: [Hold] { tables.holds.values.sorted { $0.id < $1.id } }
  /// The payments by leaf index.
  package var allPayments: [Payment] { tables.payments.values.sorted { $0.leafIndex < $1.leafIndex } }
}
