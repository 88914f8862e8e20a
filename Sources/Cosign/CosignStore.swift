public import Wire

/// People who may approve together, as it stands at one version.
public struct ApproverGroup: Sendable, Equatable {
  /// Random identifier.
  public let id: String
  /// The tenant it belongs to.
  public let tenant: String
  /// What officers call it.
  public let name: String
  /// Counts the changes of its members, from 1.
  public var version: Int
  /// Identifiers of its members, ascending.
  public private(set) var members: [String]

  /// Makes a group.
  public init(id: String, tenant: String, name: String, version: Int, members: [String]) {
    self.id = id
    self.tenant = tenant
    self.name = name
    self.version = version
    self.members = members.sorted()
  }

  /// At most so many members.
  public static let maximumMembers = 256

  /// Adds a member, which makes a new version.
  public mutating func add(_ person: String) throws(Problem) {
    guard !members.contains(person) else { return }
    guard members.count < Self.maximumMembers else {
      throw Problem(409, "group_full", "A group has at most \(Self.maximumMembers) members; make another one.")
    }
    members = (members + [person]).sorted()
    version += 1
  }

  /// Takes a member out, which makes a new version.
  public mutating func remove(_ person: String) throws(Problem) {
    guard members.contains(person) else {
      throw Problem(404, "member_not_found", "The group has no such member; look at its present version.")
    }
    members.removeAll { $0 == person }
    version += 1
  }
}

/// A single-use permission to enrol the credentials of one person, signed by a security officer.
public struct PersonInvitation: Sendable, Equatable {
  /// Random identifier.
  public let id: String
  /// SHA-256 of the token; the officer's client draws the token, and the server sees it only when it is used.
  public let digest: [UInt8]
  /// Identifier of the person.
  public let person: String
  /// `approver`, or `owner` for an owner who enrols hardware keys.
  public let kind: String
  /// What the person is called.
  public let name: String
  /// The tenant.
  public let tenant: String
  /// The group that the person enters; nil for none.
  public let group: String?
  /// After it the invitation is void.
  public let expires: Timestamp
  /// Index of the authorised leaf that made it.
  public let leafIndex: UInt64
  /// Index of the leaf that used it; nil as long as it is unused.
  public var usedIndex: UInt64?

  /// Makes an invitation.
  public init(
    id: String, digest: [UInt8], person: String, kind: String, name: String, tenant: String, group: String?,
    expires: Timestamp, leafIndex: UInt64, usedIndex: UInt64? = nil
  ) {
    self.id = id
    self.digest = digest
    self.person = person
    self.kind = kind
    self.name = name
    self.tenant = tenant
    self.group = group
    self.expires = expires
    self.leafIndex = leafIndex
    self.usedIndex = usedIndex
  }
}

/// Where credentials, groups and people's invitations are kept. Synchronous: a unit of work is taken `inout`.
public protocol CosignStore {
  /// The credential with an identifier.
  mutating func credential(id: [UInt8]) throws -> Credential?
  /// The credentials of a person, in the order of their identifiers.
  mutating func credentials(of person: String) throws -> [Credential]
  /// Whether a public key (COSE bytes) is enrolled for anyone.
  mutating func isEnrolled(publicKey: [UInt8]) throws -> Bool
  /// Adds a credential; an identifier or public key that is taken is an error of the store.
  mutating func insert(_ credential: Credential) throws
  /// Writes what the last use of a credential told.
  mutating func setUse(signCount: UInt32, backupState: Bool, ofCredential id: [UInt8]) throws
  /// The group with an identifier.
  mutating func group(_ id: String) throws -> ApproverGroup?
  /// The groups that have a person as a member, by identifier.
  mutating func groups(of person: String) throws -> [ApproverGroup]
  /// Adds a group; a taken identifier is an error of the store.
  mutating func insert(_ group: ApproverGroup) throws
  /// Writes version and members of a group that exists.
  mutating func update(_ group: ApproverGroup) throws
  /// The invitation whose token has a digest.
  mutating func personInvitation(digest: [UInt8]) throws -> PersonInvitation?
  /// The newest invitation of a person, which has the person's name.
  mutating func personInvitation(person: String) throws -> PersonInvitation?
  /// Adds an invitation; a taken identifier or digest is an error of the store.
  mutating func insert(_ invitation: PersonInvitation) throws
  /// Marks an invitation as used by a leaf.
  mutating func setUsed(_ leafIndex: UInt64, personInvitation id: String) throws
}

extension CosignStore {
  /// Takes note that a credential was used, in the transaction that decides.
  /// - Throws: `credential_unknown` where it is not enrolled as it was verified, `webauthn_counter` where its counter
  ///   did not grow since.
  public mutating func use(_ credential: Credential, _ assertion: VerifiedAssertion) throws {
    guard let known = try self.credential(id: credential.id), known.publicKey == credential.publicKey,
      known.enrolmentIndex == credential.enrolmentIndex
    else { throw Problem(401, "credential_unknown", "The credential is not enrolled; enrol it with an invitation.") }
    guard assertion.signCount > known.signCount || (assertion.signCount == 0 && known.signCount == 0) else {
      throw Problem(
        401, "webauthn_counter",
        "The credential's counter did not grow since its last use: it may have been cloned; tell a security officer.")
    }
    try setUse(signCount: assertion.signCount, backupState: assertion.backupState, ofCredential: credential.id)
  }
}
