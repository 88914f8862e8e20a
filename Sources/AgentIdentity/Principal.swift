public import Wire

/// Who may sign commands.
public struct Principal: Sendable, Equatable {
  /// What a principal may do at all.
  public enum Kind: String, Sendable {
    /// A security officer: opens external accounts and revokes.
    case officer
    /// The owner of accounts and agents.
    case owner
    /// A software agent that acts on its owner's accounts.
    case agent
    /// A person who approves with a hardware key; signs no requests.
    case approver
    /// A bank at the other end of a rail; says what became of what it was sent.
    case bank
    /// A person, or a pipeline, with the one right of an officer to change the registration entries of workloads.
    case registrar
  }

  /// Where a principal stands.
  public enum Status: String, Sendable {
    /// Enrolled; the owner has not approved the key's thumbprint yet.
    case pending
    /// May act.
    case active
    /// May never act again.
    case revoked
  }

  /// Random identifier, which is also the OAuth `client_id`.
  public let id: String
  /// What it is.
  public let kind: Kind
  /// The tenant it belongs to; random.
  public let tenant: String
  /// The owner it acts for; an owner's own id for an owner, empty for an officer.
  public let owner: String
  /// RFC 7638 thumbprint of the key, SHA-256, base64url.
  public let thumbprint: String
  /// The public key as a JWK, a JCS text.
  public let key: [UInt8]
  /// Where it stands.
  public var status: Status
  /// Index of the leaf that approved the key: 0, genesis, for the first roster.
  public var enrolmentIndex: UInt64
  /// Since when it may act: the epoch for those of the first roster, and as long as it is pending.
  public var since: Timestamp

  /// Makes a principal.
  public init(
    id: String, kind: Kind, tenant: String, owner: String, thumbprint: String, key: [UInt8], status: Status,
    enrolmentIndex: UInt64, since: Timestamp = Timestamp(milliseconds: 0)
  ) {
    self.id = id
    self.kind = kind
    self.tenant = tenant
    self.owner = owner
    self.thumbprint = thumbprint
    self.key = key
    self.status = status
    self.enrolmentIndex = enrolmentIndex
    self.since = since
  }
}

/// An initial access token (RFC 7591 section 3), which names the ownership record that it enrols under.
public struct Invitation: Sendable, Equatable {
  /// SHA-256 of the token; the token itself is not kept.
  public let digest: [UInt8]
  /// The owner that agents enrolled with it belong to.
  public let owner: String
  /// The owner's tenant.
  public let tenant: String

  /// Makes an invitation.
  public init(digest: [UInt8], owner: String, tenant: String) {
    self.digest = digest
    self.owner = owner
    self.tenant = tenant
  }
}

/// Where principals are kept. Synchronous: a unit of work is taken `inout`.
public protocol PrincipalStore {
  /// The principal with an identifier.
  mutating func principal(id: String) throws -> Principal?
  /// The principal whose key has a thumbprint.
  mutating func principal(thumbprint: String) throws -> Principal?
  /// The principals of a kind, by identifier.
  mutating func principals(_ kind: Principal.Kind) throws -> [Principal]
  /// Adds a principal; an id or a thumbprint that is taken is an error of the store.
  mutating func insert(_ principal: Principal) throws
  /// Writes `status`, `enrolmentIndex` and `since` of a principal that exists.
  mutating func update(_ principal: Principal) throws
  /// The invitation whose token has a digest.
  mutating func invitation(digest: [UInt8]) throws -> Invitation?
  /// Adds an invitation.
  mutating func insert(_ invitation: Invitation) throws
}

extension Principal {
  /// The identifier that accounts and holds carry as their owner: an officer's is its own.
  public var ownership: String { owner.isEmpty ? id : owner }
}
