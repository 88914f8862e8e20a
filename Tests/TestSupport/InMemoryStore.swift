public import AgentIdentity
public import CommandGate
public import Ledger
public import Seal
import StorageSQLite
import Synchronization
public import TransparencyLog

/// A storage that forgets: a unit of work is a copy that replaces the original when it succeeds.
public final class InMemoryStore: UnitStore {
  private let unit: Mutex<InMemoryUnit>

  /// A storage that holds what a unit holds.
  public init(_ unit: InMemoryUnit = InMemoryUnit()) { self.unit = Mutex(unit) }

  /// What is stored: an image of a crash at this moment.
  public var image: InMemoryUnit { unit.withLock { $0 } }

  public func write<Result: Sendable>(
    _ body: @Sendable @escaping (inout InMemoryUnit) throws -> Result
  ) async throws -> Result {
    try unit.withLock { unit in
      var copy = unit
      let result = try body(&copy)
      unit = copy
      return result
    }
  }

  public func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout InMemoryUnit) throws -> Result
  ) async throws -> Result {
    var copy = image
    return try body(&copy)
  }
}

/// A unit of work in memory: all that the gate and the modules need.
public struct InMemoryUnit: Sendable {
  private var log = InMemoryLogStore()
  private var state = ReplayUnit()
  private var commands: [UInt64: CommandRecord] = [:]
  private var contents: [UInt64: SaltedContent] = [:]

  /// Nothing stored.
  public init() {}

  /// A row that must or must not be there is not as it must be.
  struct Conflict: Error {}
}

extension InMemoryUnit: LogStore {
  public mutating func appendEntries(firstIndex: UInt64, _ entries: [[UInt8]]) throws {
    try log.appendEntries(firstIndex: firstIndex, entries)
  }
  public func entry(at index: UInt64) throws -> [UInt8]? { try log.entry(at: index) }
  public func entries(in range: Range<UInt64>) throws -> [[UInt8]] { try log.entries(in: range) }
  public mutating func writeTiles(_ tiles: [Tile]) throws { try log.writeTiles(tiles) }
  public func tile(level: Int, index: UInt64) throws -> [UInt8]? { try log.tile(level: level, index: index) }
  public func head() throws -> TreeHead? { try log.head() }
  public mutating func setHead(_ head: TreeHead) throws { try log.setHead(head) }
  public func checkpoint(size: UInt64) throws -> String? { try log.checkpoint(size: size) }
  public func latestCheckpoint() throws -> String? { try log.latestCheckpoint() }
  public mutating func putCheckpoint(size: UInt64, _ note: String) throws { try log.putCheckpoint(size: size, note) }
}

extension InMemoryUnit: CommandStore {
  public mutating func command(idempotency: [UInt8]) -> CommandRecord? {
    commands.values.first { $0.idempotency == idempotency }
  }
  public mutating func command(id: CommandID) -> CommandRecord? { commands.values.first { $0.id == id } }
  public mutating func command(leafIndex: UInt64) -> CommandRecord? { commands[leafIndex] }
  public mutating func insert(_ command: CommandRecord) throws {
    guard commands[command.leafIndex] == nil, self.command(id: command.id) == nil,
      self.command(idempotency: command.idempotency) == nil
    else { throw Conflict() }
    commands[command.leafIndex] = command
  }
  public mutating func update(_ command: CommandRecord) throws {
    guard commands[command.leafIndex] != nil else { throw Conflict() }
    commands[command.leafIndex]?.state = command.state
    commands[command.leafIndex]?.outcomeIndex = command.outcomeIndex
    commands[command.leafIndex]?.checkpointSize = command.checkpointSize
    commands[command.leafIndex]?.result = command.result
  }
  public mutating func unfinished() -> [CommandRecord] {
    commands.values.filter { $0.state == .authorized }.sorted { $0.leafIndex < $1.leafIndex }
  }
  public mutating func insertContent(_ content: SaltedContent, leafIndex: UInt64) throws {
    guard contents[leafIndex] == nil else { throw Conflict() }
    contents[leafIndex] = content
  }
  public mutating func content(leafIndex: UInt64) -> SaltedContent? { contents[leafIndex] }
  public mutating func savepoint<Result>(_ body: (inout InMemoryUnit) throws -> Result) throws -> Result {
    var copy = self
    let result = try body(&copy)
    self = copy
    return result
  }
}

extension InMemoryUnit: PrincipalStore {
  public mutating func principal(id: String) -> Principal? { state.principal(id: id) }
  public mutating func principal(thumbprint: String) -> Principal? { state.principal(thumbprint: thumbprint) }
  public mutating func insert(_ principal: Principal) throws { try state.insert(principal) }
  public mutating func setStatus(_ status: Principal.Status, enrolmentIndex: UInt64, of id: String) throws {
    try state.setStatus(status, enrolmentIndex: enrolmentIndex, of: id)
  }
  public mutating func invitation(digest: [UInt8]) -> Invitation? { state.invitation(digest: digest) }
  public mutating func insert(_ invitation: Invitation) throws { try state.insert(invitation) }
}

extension InMemoryUnit: LedgerStore {
  public mutating func account(_ id: String) -> Account? { state.account(id) }
  public mutating func accounts(owner: String) -> [Account] { state.accounts(owner: owner) }
  public mutating func insert(_ account: Account) throws { try state.insert(account) }
  public mutating func update(_ account: Account) throws { try state.update(account) }
  public mutating func hold(_ id: String) -> Hold? { state.hold(id) }
  public mutating func insert(_ hold: Hold) throws { try state.insert(hold) }
  public mutating func setState(_ state: Hold.State, ofHold id: String) throws { try self.state.setState(state, ofHold: id) }
  public mutating func heldExpiring(atOrBefore moment: Int64, limit: Int) -> [String] {
    state.heldExpiring(atOrBefore: moment, limit: limit)
  }
  public mutating func post(_ entries: [Entry], leafIndex: UInt64) throws { try state.post(entries, leafIndex: leafIndex) }
  public mutating func postings(leafIndex: UInt64) -> [Entry] { state.postings(leafIndex: leafIndex) }
}

extension InMemoryUnit {
  /// The commands by leaf index, for tests that look at all of them.
  public var allCommands: [CommandRecord] { commands.values.sorted { $0.leafIndex < $1.leafIndex } }
  /// The accounts by identifier.
  public var allAccounts: [Account] { state.accounts.values.sorted { $0.id < $1.id } }
  /// The holds by identifier.
  public var allHolds: [Hold] { state.holds.values.sorted { $0.id < $1.id } }
}
