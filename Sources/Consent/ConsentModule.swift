public import AgentIdentity
public import Cosign
public import Seal
public import Wire

/// What can be done about a consent.
public enum ConsentCommand: Sendable, Equatable {
  /// Put a version in force: the first, or one that replaces the version before.
  case put(ConsentTerms)
  /// End a consent for good.
  case revoke(String)
}

/// Keeps what owners permit. A version is signed by the owner's hardware key, is never changed, and is replaced by the
/// next alone.
public struct ConsentModule<Unit: ConsentStore & PrincipalStore & CosignStore>: CommandModule {
  /// Judges a counterparty's destination by the rules of its rail.
  public typealias DestinationCheck = @Sendable (String, JSONValue) throws(Problem) -> Void

  /// The audience that leaves name.
  public static var audience: String { "consent" }

  /// The module's own check of seals.
  public let verifier: SealVerifier
  private let validate: DestinationCheck

  /// Makes the module.
  public init(verifier: SealVerifier, validate: @escaping DestinationCheck) {
    self.verifier = verifier
    self.validate = validate
  }

  /// Reads `POST /v1/consents`, `…/{id}/amend` and `…/{id}/revoke`.
  public func parse(_ signed: SignedCommand) throws(Problem) -> ConsentCommand {
    let parts = signed.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let unknown = Problem(404, "route_not_found", "There is no command at this path.")
    guard signed.method == "POST", parts.count >= 3, parts[1] == "v1", parts[2] == "consents" else { throw unknown }
    switch (parts.count, parts.last) {
    case (3, _), (5, "amend"):
      guard let asserted = signed.asserted else {
        throw Problem(
          401, "assertion_missing", "A consent is signed with the owner's hardware key, not with a request.")
      }
      let terms = try ConsentTerms(canonical: asserted.subject, validate: validate)
      guard parts.count == 3 ? terms.version == 1 : terms.version > 1 && terms.id == parts[3] else {
        throw Problem(
          422, "consent_version",
          "Version 1 goes to /v1/consents, every later one to /v1/consents/{id}/amend of its own consent.")
      }
      return .put(terms)
    case (5, "revoke") where signed.asserted == nil:
      do {
        var reader = try ObjectReader(try JSONValue(parsing: signed.body), "the revocation")
        _ = try reader.optionalString("reason", maximumBytes: 140)
        try reader.finish()
      } catch {
        throw Problem(400, error.code.description, error.description)
      }
      return .revoke(parts[3])
    default: throw unknown
    }
  }

  // MARK: - T1

  /// Checks who signs, and that what the terms name exists and fits together.
  public func reserve(_ command: ConsentCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    switch command {
    case .put(let terms):
      let signer = context.principal
      guard signer.kind == .owner, terms.owner == signer.id, terms.tenant == signer.tenant else {
        throw Problem(403, "consent_not_permitted", "Only the owner whom the terms name signs them.")
      }
      guard context.decidedAt < terms.expires else {
        throw Problem(422, "consent_expired", "The terms have expired already; draw them up again.")
      }
      try checkParties(terms, in: &unit)
      guard let current = try unit.consent(terms.id) else {
        guard terms.version == 1 else { throw Self.notFound(terms.id) }
        return .allow
      }
      try Self.check(terms, succeeds: current)
      return Ruling(.allow, references: [.init("consent", current.leafIndex)])
    case .revoke(let id):
      let consent = try permitted(id, for: context.principal, in: &unit)
      guard consent.status == .active else {
        throw Problem(409, "consent_revoked", "The consent is revoked already.")
      }
      return Ruling(.allow, references: [.init("consent", consent.leafIndex)])
    }
  }

  private func checkParties(_ terms: ConsentTerms, in unit: inout Unit) throws {
    guard let agent = try unit.principal(id: terms.agent), agent.kind == .agent, agent.owner == terms.owner else {
      throw Problem(422, "consent_agent_unknown", "The terms name an agent that is not the owner's; check 'agent'.")
    }
    guard agent.status == .active, agent.thumbprint == terms.agentThumbprint else {
      throw Problem(
        422, "consent_agent_key",
        "The agent is not active, or has another key than the terms name; check 'agent_thumbprint'.")
    }
    guard let account = try unit.sourceAccount(terms.account), account.tenant == terms.tenant,
      account.owner == terms.owner
    else {
      throw Problem(422, "consent_account_unknown", "The terms name an account that is not the owner's.")
    }
    guard account.currency == terms.currency else {
      throw Problem(422, "consent_currency", "The account holds \(account.currency); write the terms in it.")
    }
    if let cosign = terms.cosign {
      guard let group = try unit.group(cosign.group), group.tenant == terms.tenant else {
        throw Problem(422, "group_not_found", "There is no group '\(cosign.group)' in this tenant.")
      }
      guard group.members.filter({ $0 != terms.owner }).count >= cosign.approvals else {
        throw Problem(
          422, "group_too_small",
          "The group has fewer members, its owner left out, than the terms ask for; invite more approvers first.")
      }
    }
  }

  private static func check(_ terms: ConsentTerms, succeeds current: ConsentRecord) throws(Problem) {
    let before = current.terms
    guard terms.version > 1 else {
      throw Problem(409, "consent_exists", "This consent exists; amend it, or draw up a new one.")
    }
    guard current.status == .active else {
      throw Problem(409, "consent_revoked", "The consent is revoked for good; draw up a new one.")
    }
    guard terms.version == before.version + 1, terms.previous == Base64.URL.encode(before.digest) else {
      throw Problem(
        409, "consent_version_conflict",
        "The consent is at version \(before.version); draw the amendment up against that one.")
    }
    guard
      terms.owner == before.owner, terms.tenant == before.tenant, terms.agent == before.agent,
      terms.agentThumbprint == before.agentThumbprint, terms.account == before.account,
      terms.currency == before.currency
    else {
      throw Problem(
        422, "consent_amendment",
        "An amendment keeps owner, agent, key, account and currency; draw up a new consent for others.")
    }
  }

  private func permitted(_ id: String, for signer: Principal, in unit: inout Unit) throws -> ConsentRecord {
    guard let consent = try unit.consent(id), consent.terms.tenant == signer.tenant else { throw Self.notFound(id) }
    guard signer.kind == .officer || signer.id == consent.terms.owner else {
      throw Problem(403, "consent_not_permitted", "Only the owner or a security officer ends a consent.")
    }
    return consent
  }

  private static func notFound(_ id: String) -> Problem {
    Problem(404, "consent_not_found", "There is no consent '\(id)' in this tenant; check its identifier.")
  }

  // MARK: - T2

  /// Puts a version in force, or ends a consent.
  public func apply(_ sealed: Sealed<ConsentCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    switch sealed.command {
    case .put(let terms):
      // Another version may have come into force between the two commits.
      if let current = try unit.consent(terms.id) { try Self.check(terms, succeeds: current) }
      try unit.insert(ConsentRecord(terms: terms, leafIndex: sealed.leafIndex, status: .active))
      try unit.putUnderConsent(account: terms.account)
      return [
        "consent": .string(terms.id), "version": .integer(Int64(terms.version)),
        "digest": .string(Base64.URL.encode(terms.digest)), "status": "active",
      ]
    case .revoke(let id):
      guard try unit.consent(id)?.status == .active else {
        throw Problem(409, "consent_revoked", "The consent is revoked already.")
      }
      try unit.setStatus(.revoked, ofConsent: id)
      return ["consent": .string(id), "status": "revoked"]
    }
  }

  /// Nothing is reserved for a consent.
  public func release(_ command: ConsentCommand, context: CommandContext, in unit: inout Unit) throws {}
}
