package import Seal
package import TransparencyLog
package import Wire

/// A command with the module that will carry it out, without the module's types.
package struct PreparedCommand<Unit>: Sendable {
  package let audience: String
  package let signed: SignedCommand
  /// T1: checks and reserves.
  package let reserve: @Sendable (CommandContext, inout Unit) throws -> Ruling
  /// Version of the policy that decides.
  package let policyVersion: @Sendable (CommandContext, inout Unit) throws -> String
  /// T2: has the module's own verifier mint the seal, and carries the command out.
  package let apply:
    @Sendable (AuthorizedCommand, [MerkleHash], AcceptedCheckpoint, Timestamp, inout Unit) throws -> JSONObject
  /// Gives back what was reserved.
  package let release: @Sendable (CommandContext, inout Unit) throws -> Void

  init<Module: CommandModule<Unit>>(_ module: Module, _ signed: SignedCommand) throws(Problem) {
    let read = try module.read(signed)
    self.signed = signed
    audience = module.verifier.audience
    reserve = { context, unit in try module.reserve(read.command, context: context, in: &unit) }
    policyVersion = { context, unit in try module.policyVersion(for: context, in: &unit) }
    apply = { authorized, inclusion, checkpoint, now, unit in
      let sealed = try module.verifier.mint(
        read, authorized: authorized, inclusion: inclusion, checkpoint: checkpoint, now: now)
      return try module.apply(sealed, at: now, in: &unit)
    }
    release = { context, unit in try module.release(read.command, context: context, in: &unit) }
  }
}

/// Opens the existential so that a module of any kind can prepare a command.
package func prepare<Unit>(_ module: any CommandModule<Unit>, _ signed: SignedCommand) throws(Problem)
  -> PreparedCommand<Unit>
{
  try PreparedCommand(module, signed)
}
