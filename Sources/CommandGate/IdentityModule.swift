public import AgentIdentity
public import Seal
public import Wire

/// What can be decided about an agent's identity.
public enum IdentityCommand: Sendable, Equatable {
  /// The owner vouches for the key with this RFC 7638 thumbprint.
  case approve(agent: String, thumbprint: String)
  /// The agent may never act again.
  case revoke(agent: String)
}

/// Approves and revokes agents. It stands beside the gate because the gate is what reads its decisions.
public struct IdentityModule<Unit: PrincipalStore>: CommandModule {
  /// The audience that leaves name.
  public static var audience: String { "identity" }

  /// The module's own check of seals.
  public let verifier: SealVerifier

  /// Makes the module.
  public init(verifier: SealVerifier) { self.verifier = verifier }

  /// Reads `POST /v1/agents/{id}/approve` and `…/revoke`.
  public func parse(_ signed: SignedCommand) throws(Problem) -> IdentityCommand {
    let parts = signed.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard signed.method == "POST", parts.count == 5, parts[1] == "v1", parts[2] == "agents" else {
      throw Problem(404, "route_not_found", "There is no command at this path.")
    }
    do throws(JSONError) {
      var reader = try ObjectReader(try JSONValue(parsing: signed.body), "the decision")
      switch parts[4] {
      case "approve":
        let thumbprint = try reader.string("thumbprint", maximumBytes: 43)
        try reader.finish()
        return .approve(agent: parts[3], thumbprint: thumbprint)
      case "revoke":
        _ = try reader.optionalString("reason", maximumBytes: 140)
        try reader.finish()
        return .revoke(agent: parts[3])
      default: break
      }
    } catch {
      throw Problem(400, error.code.description, error.description)
    }
    throw Problem(404, "route_not_found", "There is no command at this path.")
  }

  /// Checks that the decision is the signer's to make.
  public func reserve(_ command: IdentityCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    let signer = context.principal
    switch command {
    case .approve(let id, let thumbprint):
      let agent = try agent(id, for: signer, in: &unit)
      guard signer.kind == .owner, agent.owner == signer.id else {
        throw Problem(403, "approval_not_permitted", "Only the agent's own owner approves its key.")
      }
      guard agent.thumbprint == thumbprint else {
        throw Problem(
          422, "thumbprint_mismatch",
          "The agent enrolled another key; compare the thumbprint with the agent's operator.")
      }
      guard agent.status == .pending else {
        throw Problem(
          409, "agent_not_pending", "The agent is \(agent.status.rawValue); only a pending one is approved.")
      }
    case .revoke(let id):
      let agent = try agent(id, for: signer, in: &unit)
      guard signer.kind == .officer || (signer.kind == .owner && agent.owner == signer.id) else {
        throw Problem(403, "revocation_not_permitted", "Only the agent's owner or a security officer revokes it.")
      }
      guard agent.status != .revoked else {
        throw Problem(409, "agent_revoked", "The agent is revoked already.")
      }
    }
    return .allow
  }

  /// Carries the decision out.
  public func apply(_ sealed: Sealed<IdentityCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    switch sealed.command {
    case .approve(let id, let thumbprint):
      guard var agent = try unit.principal(id: id) else { throw Self.notFound(id) }
      (agent.status, agent.enrolmentIndex, agent.since) = (.active, sealed.leafIndex, now)
      try unit.update(agent)
      return ["agent": .string(id), "status": "active", "thumbprint": .string(thumbprint)]
    case .revoke(let id):
      guard var agent = try unit.principal(id: id) else { throw Self.notFound(id) }
      agent.status = .revoked
      try unit.update(agent)
      return ["agent": .string(id), "status": "revoked"]
    }
  }

  /// Nothing is reserved for a decision.
  public func release(_ command: IdentityCommand, context: CommandContext, in unit: inout Unit) throws {}

  private func agent(_ id: String, for signer: Principal, in unit: inout Unit) throws -> Principal {
    guard let agent = try unit.principal(id: id), agent.kind == .agent, agent.tenant == signer.tenant else {
      throw Self.notFound(id)
    }
    return agent
  }

  private static func notFound(_ id: String) -> Problem {
    Problem(404, "agent_not_found", "There is no agent '\(id)' in this tenant; check its identifier.")
  }
}
