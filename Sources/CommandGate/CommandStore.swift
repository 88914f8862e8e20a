public import AgentIdentity
public import Cosign
public import Seal
public import TransparencyLog

/// What the gate keeps of a command that it decided.
public struct CommandRecord: Sendable, Equatable {
  /// Where a command stands.
  public enum State: String, Sendable {
    /// Allowed and recorded; its outcome is still to come.
    case authorized
    /// Carried out.
    case done
    /// Could not be carried out.
    case failed
    /// Its `not_after` passed first.
    case expired
    /// Refused.
    case denied
    /// Waits for approvals; its module keeps what becomes of it.
    case held
  }

  /// The command's identifier.
  public let id: CommandID
  /// Index of its authorised or denied leaf.
  public let leafIndex: UInt64
  /// ``IdempotencyScope/digest`` of tenant, principal and key: 32 bytes.
  public let idempotency: [UInt8]
  /// ``RequestRecord/commandDigest``: 32 bytes.
  public let digest: [UInt8]
  /// The principal that signed it.
  public let principal: String
  /// Where it stands.
  public var state: State
  /// Index of its outcome leaf, once there is one.
  public var outcomeIndex: UInt64?
  /// Size of the checkpoint under which it was sealed, once it was.
  public var checkpointSize: UInt64?
  /// The result, or the refusal as `{"code","detail","status"}`; a JCS text, empty while there is none.
  public var result: [UInt8]

  /// Makes a record.
  public init(
    id: CommandID, leafIndex: UInt64, idempotency: [UInt8], digest: [UInt8], principal: String, state: State,
    outcomeIndex: UInt64? = nil, checkpointSize: UInt64? = nil, result: [UInt8] = []
  ) {
    self.id = id
    self.leafIndex = leafIndex
    self.idempotency = idempotency
    self.digest = digest
    self.principal = principal
    self.state = state
    self.outcomeIndex = outcomeIndex
    self.checkpointSize = checkpointSize
    self.result = result
  }
}

/// Where the gate keeps commands and the content that leaves commit to. Synchronous: a unit of work is taken `inout`.
public protocol CommandStore {
  /// The command that was decided under an idempotency digest.
  mutating func command(idempotency: [UInt8]) throws -> CommandRecord?
  /// The command with an identifier.
  mutating func command(id: CommandID) throws -> CommandRecord?
  /// The command of a leaf.
  mutating func command(leafIndex: UInt64) throws -> CommandRecord?
  /// Adds a command; a taken identifier, index or idempotency digest is an error of the store.
  mutating func insert(_ command: CommandRecord) throws
  /// Writes state, outcome, checkpoint size and result of a command that exists.
  mutating func update(_ command: CommandRecord) throws
  /// Every command in state `authorized`, and every held one that is not known to be sealed, by index.
  mutating func unfinished() throws -> [CommandRecord]
  /// Keeps the content that a leaf commits to.
  mutating func insertContent(_ content: SaltedContent, leafIndex: UInt64) throws
  /// The content that a leaf commits to; nil where there is none or it was erased.
  mutating func content(leafIndex: UInt64) throws -> SaltedContent?
  /// Runs `body` so that its writes are undone when it throws.
  mutating func savepoint<Result>(_ body: (inout Self) throws -> Result) throws -> Result
}

/// All that a unit of work must offer to the gate.
public typealias GateUnit = LogStore & CommandStore & PrincipalStore & CosignStore

/// A storage that opens units of work: one writer, one transaction at a time.
public protocol UnitStore<Unit>: Sendable {
  /// The unit of work.
  associatedtype Unit: GateUnit
  /// Runs `body` in one durable transaction; when it throws, nothing of it remains.
  func write<Result: Sendable>(_ body: @Sendable @escaping (inout Unit) throws -> Result) async throws -> Result
  /// Runs `body` on a consistent view; its writes are refused.
  func read<Result: Sendable>(_ body: @Sendable @escaping (inout Unit) throws -> Result) async throws -> Result
}
