public import AgentIdentity
public import Wire

/// Who asked for a command, and under which identifier it is decided.
public struct CommandContext: Sendable {
  /// The command's identifier.
  public let id: CommandID
  /// The principal whose signature was verified.
  public let principal: Principal
  /// When the gate decided; milliseconds on its clock.
  public let decidedAt: Timestamp
  /// Index of the leaf that records the decision.
  public let leafIndex: UInt64
  /// The signed request.
  public let signed: SignedCommand

  package init(id: CommandID, principal: Principal, decidedAt: Timestamp, leafIndex: UInt64, signed: SignedCommand) {
    self.id = id
    self.principal = principal
    self.decidedAt = decidedAt
    self.leafIndex = leafIndex
    self.signed = signed
  }
}

/// A signed command together with what its module read in it. Only ``CommandModule/read(_:)`` pairs the two.
public struct ReadCommand<Command: Sendable>: Sendable {
  /// The signed request.
  public let signed: SignedCommand
  /// What the module read in it.
  public let command: Command

  fileprivate init(signed: SignedCommand, command: Command) {
    self.signed = signed
    self.command = command
  }
}

/// A part of the appliance that carries out commands, and refuses any that is not sealed.
///
/// The gate calls ``reserve(_:context:in:)`` in the transaction that records the command (T1), has the log's head
/// signed, and then hands the module a presentation of the seal; the module's own ``verifier`` mints the
/// ``Sealed`` value without which ``apply(_:at:in:)`` cannot be called (T2).
public protocol CommandModule<Unit>: Sendable {
  /// The unit of work of the storage that the module writes to.
  associatedtype Unit
  /// What the module can be told to do.
  associatedtype Command: Sendable

  /// Verifies seals for this module; its audience is the module's name.
  var verifier: SealVerifier { get }

  /// Reads a command in a signed request, without any state.
  func parse(_ signed: SignedCommand) throws(Problem) -> Command

  /// Version of the policy that decides about this module's commands.
  func policyVersion(for context: CommandContext, in unit: inout Unit) throws -> String

  /// Checks a command against the present state and reserves what it needs.
  /// - Returns: whether it may be carried out or is held; a held one keeps what was reserved until the module itself
  ///   ends the hold.
  /// - Throws: a ``Problem`` when the command is refused; then whatever was written is rolled back.
  func reserve(_ command: Command, context: CommandContext, in unit: inout Unit) throws -> Ruling

  /// Carries a sealed command out.
  /// - Returns: the result, which goes into the receipt and under the outcome leaf.
  func apply(_ sealed: Sealed<Command>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject

  /// Gives back what a command reserved, because it expired or failed before it was carried out.
  func release(_ command: Command, context: CommandContext, in unit: inout Unit) throws
}

extension CommandModule {
  /// The rules that are built in.
  public func policyVersion(for context: CommandContext, in unit: inout Unit) throws -> String { "builtin/1" }

  /// Reads a command in a signed request and keeps the two together.
  public func read(_ signed: SignedCommand) throws(Problem) -> ReadCommand<Command> {
    ReadCommand(signed: signed, command: try parse(signed))
  }
}
