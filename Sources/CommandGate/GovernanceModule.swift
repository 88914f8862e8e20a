public import AgentIdentity
public import Cosign
import JOSE
public import Policy
public import Seal
public import Wire

/// What security officers decide about who may do what.
public enum GovernanceCommand: Sendable, Equatable {
  /// Let a person enrol credentials, once.
  case invite(Invitee, digest: [UInt8], group: String?, seconds: Int64)
  /// Make a group of approvers.
  case makeGroup(name: String)
  /// Take a member out of a group.
  case removeMember(group: String, person: String)
  /// Put a policy in force.
  case publish(PolicyDocument)
  /// Let a key change registration entries.
  case enrolRegistrar(name: String, key: JSONValue)
  /// End what a person, a bank or a registrar may do, for good.
  case revoke(String)

  /// Who is invited.
  public enum Invitee: Sendable, Equatable {
    /// A new approver, by name.
    case approver(name: String)
    /// An owner who has no hardware key yet.
    case owner(id: String, name: String)
  }

  /// An invitation lives at most 31 days.
  public static let maximumInvitationSeconds: Int64 = 31 * 86_400
}

/// Changes who may do what: invitations, groups and policies, each by a signed command of a security officer. It stands
/// beside the gate because the gate is what reads its decisions.
public struct GovernanceModule<Unit: PrincipalStore & CosignStore & PolicyStore>: CommandModule {
  /// The audience that leaves name.
  public static var audience: String { "governance" }

  /// The module's own check of seals.
  public let verifier: SealVerifier

  /// Makes the module.
  public init(verifier: SealVerifier) { self.verifier = verifier }

  /// Reads `POST /v1/invitations`, `/v1/groups`, `/v1/groups/{id}/remove`, `/v1/registrars`, `/v1/people/{id}/revoke`
  /// and `/v1/policies`.
  public func parse(_ signed: SignedCommand) throws(Problem) -> GovernanceCommand {
    let parts = signed.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard signed.method == "POST", signed.asserted == nil, parts.count >= 3, parts[1] == "v1" else {
      throw Problem(404, "route_not_found", "There is no command at this path.")
    }
    return try Problem.reading {
      let json = try JSONValue(parsing: signed.body)
      switch (parts.count, parts[2]) {
      case (3, "invitations"): return try Self.invitation(json)
      case (3, "groups"):
        var reader = try ObjectReader(json, "the group")
        let name = try reader.name("name")
        try reader.finish()
        return .makeGroup(name: name)
      case (5, "groups") where parts[4] == "remove":
        var reader = try ObjectReader(json, "the removal")
        let person = try reader.string("person", maximumBytes: 64)
        try reader.finish()
        return .removeMember(group: parts[3], person: person)
      case (3, "registrars"):
        var reader = try ObjectReader(json, "the registrar")
        let name = try reader.name("name")
        let key = try reader.value("key")
        try reader.finish()
        _ = try Self.registrarKey(key)
        return .enrolRegistrar(name: name, key: key)
      case (5, "people") where parts[4] == "revoke":
        var reader = try ObjectReader(json, "the revocation")
        _ = try reader.optionalString("reason", maximumBytes: 140)
        try reader.finish()
        return .revoke(parts[3])
      case (3, "policies"):
        var reader = try ObjectReader(json, "the publication")
        let policy = try PolicyDocument(try reader.value("policy"))
        try reader.finish()
        return .publish(policy)
      default: throw Problem(404, "route_not_found", "There is no command at this path.")
      }
    }
  }

  private static func invitation(_ json: JSONValue) throws -> GovernanceCommand {
    var reader = try ObjectReader(json, "the invitation")
    let digest = try reader.base64URL("digest", count: 32)
    let group = try reader.optionalString("group", maximumBytes: 64)
    let seconds = try reader.integer("expires_in", in: 1...GovernanceCommand.maximumInvitationSeconds)
    var person = try ObjectReader(try reader.value("person"), "the person")
    let name = try person.name("name")
    let invitee: GovernanceCommand.Invitee
    switch try person.string("kind", maximumBytes: 16) {
    case "approver": invitee = .approver(name: name)
    case "owner": invitee = .owner(id: try person.string("id", maximumBytes: 64), name: name)
    default: throw Problem(422, "person_kind_unknown", "A person's kind is 'approver' or 'owner'.")
    }
    try person.finish()
    try reader.finish()
    return .invite(invitee, digest: digest, group: group, seconds: seconds)
  }

  /// Checks that the signer is an officer, and that what the command names exists.
  public func reserve(_ command: GovernanceCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    let tenant = context.principal.tenant
    guard context.principal.kind == .officer else {
      throw Problem(403, "officer_required", "Only a security officer changes who may do what.")
    }
    switch command {
    case .invite(let invitee, let digest, let group, _):
      guard try unit.personInvitation(digest: digest) == nil else {
        throw Problem(409, "invitation_exists", "An invitation with this token exists; draw a new token for each.")
      }
      if case .owner(let id, _) = invitee {
        guard let owner = try unit.principal(id: id), owner.kind == .owner, owner.tenant == tenant else {
          throw Problem(422, "owner_not_found", "There is no owner '\(id)' in this tenant; check the identifier.")
        }
      }
      if let group { _ = try self.group(group, tenant, in: &unit) }
    case .makeGroup: break
    case .removeMember(let id, let person):
      var group = try group(id, tenant, status: 404, in: &unit)
      try group.remove(person)
    case .publish(let policy):
      let next = (try unit.policy(tenant: tenant)?.document.version ?? 0) + 1
      guard policy.version == next else {
        throw Problem(409, "policy_version_conflict", "The next version of the policy is \(next); write that number.")
      }
      for id in policy.groups { _ = try group(id, tenant, in: &unit) }
    case .enrolRegistrar(_, let key): try demandUnknown(try Self.registrarKey(key), in: &unit)
    case .revoke(let id): _ = try revocable(id, tenant, in: &unit)
    }
    return .allow
  }

  private static func registrarKey(_ json: JSONValue) throws(Problem) -> JWK {
    guard let key = try? JWK(json), let algorithm = key.key.algorithms.first, [.es256, .edDSA].contains(algorithm)
    else { throw Problem(422, "registrar_key", "'key' must be a public key as a JWK, P-256 or Ed25519.") }
    return key
  }

  private func demandUnknown(_ key: JWK, in unit: inout Unit) throws {
    guard try unit.principal(thumbprint: key.thumbprint) == nil else {
      throw Problem(409, "key_enrolled", "The key belongs to someone already; make one for the registrar.")
    }
  }

  private func revocable(_ id: String, _ tenant: String, in unit: inout Unit) throws -> Principal {
    guard let principal = try unit.principal(id: id), principal.tenant == tenant,
      [.approver, .owner, .bank, .registrar].contains(principal.kind)
    else {
      throw Problem(404, "person_not_found", "There is no approver, owner, bank or registrar '\(id)' in this tenant.")
    }
    guard principal.status != .revoked else {
      throw Problem(409, "person_revoked", "'\(id)' is revoked already.")
    }
    return principal
  }

  /// - Parameter status: 404 where the path names the group, 422 where the body does.
  private func group(
    _ id: String, _ tenant: String, status: Int = 422, in unit: inout Unit
  ) throws -> ApproverGroup {
    guard let group = try unit.group(id), group.tenant == tenant else {
      throw Problem(status, "group_not_found", "There is no group '\(id)' in this tenant; check its identifier.")
    }
    return group
  }

  /// Carries the decision out.
  public func apply(_ sealed: Sealed<GovernanceCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    let context = sealed.context
    let tenant = context.principal.tenant
    switch sealed.command {
    case .invite(let invitee, let digest, let group, let seconds):
      // Two commands of one batch may have passed the same check.
      guard try unit.personInvitation(digest: digest) == nil else {
        throw Problem(409, "invitation_exists", "An invitation with this token exists; draw a new token for each.")
      }
      let (person, kind, name) =
        switch invitee {
        case .approver(let name): ("apr_\(context.id)", "approver", name)
        case .owner(let id, let name): (id, "owner", name)
        }
      let expires = context.decidedAt.adding(seconds: seconds)
      try unit.insert(
        PersonInvitation(
          id: "inv_\(context.id)", digest: digest, person: person, kind: kind, name: name, tenant: tenant,
          group: group, expires: expires, leafIndex: context.leafIndex))
      return [
        "invitation": .string("inv_\(context.id)"), "person": .string(person),
        "expires_at": .string(expires.description),
      ]
    case .makeGroup(let name):
      let group = ApproverGroup(id: "grp_\(context.id)", tenant: tenant, name: name, version: 1, members: [])
      try unit.insert(group)
      return ["group": .string(group.id), "version": 1]
    case .removeMember(let id, let person):
      var group = try group(id, tenant, in: &unit)
      try group.remove(person)
      try unit.update(group)
      return ["group": .string(id), "version": .integer(Int64(group.version))]
    case .publish(let policy):
      guard policy.version == (try unit.policy(tenant: tenant)?.document.version ?? 0) + 1 else {
        throw Problem(409, "policy_version_conflict", "Another version came into force meanwhile; look at it first.")
      }
      try unit.insert(PolicyVersion(tenant: tenant, document: policy, leafIndex: context.leafIndex))
      return ["policy": .string(policy.name), "digest": .string(Base64.URL.encode(policy.digest))]
    case .enrolRegistrar(let name, let json):
      let key = try Self.registrarKey(json)
      // Someone else may have enrolled the key between the two commits.
      try demandUnknown(key, in: &unit)
      let registrar = Principal(
        id: "reg_\(context.id)", kind: .registrar, tenant: tenant, owner: "", thumbprint: key.thumbprint,
        key: key.bareJSON.canonical(), status: .active, enrolmentIndex: sealed.leafIndex, since: now)
      try unit.insert(registrar)
      return ["registrar": .string(registrar.id), "name": .string(name)]
    case .revoke(let id):
      var principal = try revocable(id, tenant, in: &unit)
      principal.status = .revoked
      try unit.update(principal)
      return ["person": .string(id), "status": "revoked"]
    }
  }

  /// Nothing is reserved for a decision.
  public func release(_ command: GovernanceCommand, context: CommandContext, in unit: inout Unit) throws {}

  /// Enrols a person's credentials under an invitation, which is used up; in the transaction that records it.
  /// - Parameters:
  ///   - enrolment: the verified ceremonies.
  ///   - index: the leaf that records the event.
  /// - Throws: `invitation_invalid`, `invitation_used`, `invitation_expired`, `credential_enrolled` or `group_full`.
  public static func enrol(
    _ enrolment: CredentialEnrolment, _ credentials: [Credential], digest: [UInt8], leafIndex index: UInt64,
    at now: Timestamp, in unit: inout Unit
  ) throws {
    let invitation = try open(digest: digest, at: now, in: &unit)
    guard invitation.person == enrolment.person, invitation.leafIndex == enrolment.invitationIndex else {
      throw Problem(409, "invitation_invalid", "The invitation is for someone else; ask a security officer for one.")
    }
    for credential in credentials {
      guard try unit.credential(id: credential.id) == nil, try !unit.isEnrolled(publicKey: credential.publicKey) else {
        throw Problem(409, "credential_enrolled", "This credential is enrolled already; use another key.")
      }
      try unit.insert(credential)
    }
    if invitation.kind == "approver", let approval = credentials.first(where: { $0.purpose == .approval }) {
      let approver = try CredentialEnrolment.approver(
        invitation.person, tenant: invitation.tenant, credential: approval)
      guard try unit.principal(thumbprint: approver.thumbprint) == nil else {
        throw Problem(409, "credential_enrolled", "This key signs for someone already; use another key.")
      }
      try unit.insert(approver)
    }
    if let id = invitation.group, var group = try unit.group(id) {
      try group.add(invitation.person)
      try unit.update(group)
    }
    try unit.setUsed(index, personInvitation: invitation.id)
  }

  /// The invitation of a token, if it can still be used.
  public static func open(digest: [UInt8], at now: Timestamp, in unit: inout Unit) throws -> PersonInvitation {
    guard let invitation = try unit.personInvitation(digest: digest) else {
      throw Problem(
        401, "invitation_invalid", "The invitation is not known; ask a security officer for one.",
        headers: ["WWW-Authenticate": "Bearer error=\"invalid_token\""])
    }
    guard invitation.usedIndex == nil else {
      throw Problem(409, "invitation_used", "The invitation was used already; ask a security officer for a new one.")
    }
    guard now < invitation.expires else {
      throw Problem(403, "invitation_expired", "The invitation has expired; ask a security officer for a new one.")
    }
    return invitation
  }
}

extension ObjectReader {
  /// A name that people read: 1 to 140 bytes, without control characters.
  fileprivate mutating func name(_ member: String) throws -> String {
    let name = try string(member, maximumBytes: 140)
    guard name.unicodeScalars.allSatisfy({ ![.control, .format].contains($0.properties.generalCategory) }) else {
      throw Problem(422, "name_characters", "Write '\(member)' without control characters and direction marks.")
    }
    return name
  }
}

extension PolicyDocument {
  /// The groups that its holds name.
  fileprivate var groups: Set<String> {
    Set(rules.compactMap { rule in if case .hold(_, let group?) = rule.action { group } else { nil } })
  }
}
