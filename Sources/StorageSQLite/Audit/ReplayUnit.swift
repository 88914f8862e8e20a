package import AgentIdentity
package import Consent
package import Cosign
package import KeyService
package import Ledger
package import Payments
package import Policy
import Wire
package import WorkloadService

/// A unit of work in memory. What it keeps is in ``tables``; the methods of the store protocols follow from that.
package protocol ReplayStore: PaymentStore, KeyStore, WorkloadStore {
  /// Everything that is kept.
  var tables: ReplayTables { get set }
}

/// The domains' state, as the record makes it again when it is carried out from its start.
package struct ReplayUnit: ReplayStore, Sendable {
  package var tables = ReplayTables()

  /// Nothing on record.
  package init() {}

  /// Takes the postings of a leaf out, so that memory does not grow with the log.
  mutating func takePostings(leafIndex: UInt64) -> [Entry] { tables.postings.removeValue(forKey: leafIndex) ?? [] }

  /// Takes out the steps that the last leaf has added to the history of keys, likewise.
  mutating func takeKeyEvents() -> [KeyEventRow] {
    defer { tables.keyEvents = [] }
    return tables.keyEvents
  }

  /// Takes the issuances of a leaf out, likewise.
  mutating func takeIssuances() -> [IssuanceRow] {
    defer { tables.issuances = [:] }
    return Array(tables.issuances.values)
  }
}

/// What the domains keep, by the keys that they ask for.
package struct ReplayTables: Sendable {
  /// Principals by identifier.
  package internal(set) var principals: [String: Principal] = [:]
  var thumbprints: [String: String] = [:]
  /// Invitations of agents by digest.
  package internal(set) var invitations: [[UInt8]: Invitation] = [:]

  /// Accounts by identifier.
  package internal(set) var accounts: [String: Account] = [:]
  /// Holds by identifier.
  package internal(set) var holds: [String: Hold] = [:]
  var postings: [UInt64: [Entry]] = [:]

  /// Credentials by identifier.
  package internal(set) var credentials: [[UInt8]: Credential] = [:]
  /// Groups of approvers by identifier.
  package internal(set) var groups: [String: ApproverGroup] = [:]
  /// Invitations of people by digest.
  package internal(set) var personInvitations: [[UInt8]: PersonInvitation] = [:]

  /// The policies of a tenant, in the order of their versions.
  package internal(set) var policies: [String: [PolicyVersion]] = [:]
  /// The versions of a consent, each with the consent's status as it was when it was made, and the present status.
  package internal(set) var consents: [String: Versions] = [:]

  /// A consent with all its versions.
  package struct Versions: Sendable, Equatable {
    /// Where it stands.
    package internal(set) var status: ConsentRecord.Status
    /// The versions, with their leaves, in the order in which they were added.
    package internal(set) var all: [ConsentRecord]

    var current: ConsentRecord? {
      all.last.map { ConsentRecord(terms: $0.terms, leafIndex: $0.leafIndex, status: status) }
    }
  }

  /// Payments by identifier.
  package internal(set) var payments: [String: Payment] = [:]
  /// The payments under a consent, by the time of their decision.
  var decided: [String: [Decided]] = [:]
  /// How many payments to a counterparty count.
  var counting: [Pair: Int] = [:]
  /// Decisions about payments by payment and person.
  package internal(set) var approvals: [Pair: GivenApproval] = [:]
  var approvers: [String: Set<String>] = [:]
  /// Budgets by consent.
  package internal(set) var budgets: [String: [BudgetWindow]] = [:]

  /// The configurations of the rail by leaf.
  package internal(set) var rails: [UInt64: ACHRail] = [:]
  /// Entries by leaf.
  package internal(set) var entries: [UInt64: RailEntry] = [:]
  var traces: [Numbered: UInt64] = [:]
  var paying: [String: UInt64] = [:]
  var waiting: [String: Set<UInt64>] = [:]
  var filed: [Numbered: [UInt64]] = [:]
  /// Files by tenant and number.
  package internal(set) var files: [Numbered: RailFile] = [:]
  var newestFile: [String: Int] = [:]

  /// Keys by identifier.
  package internal(set) var keys: [String: KeyRow] = [:]
  /// The versions of a key.
  package internal(set) var keyVersions: [String: [UInt32: KeyVersionRow]] = [:]
  /// Data keys by identifier.
  package internal(set) var dataKeys: [String: DataKeyRow] = [:]
  /// How many data keys are under each version of a key.
  var dataKeyCounts: [String: [UInt32: Int]] = [:]
  var keyEvents: [KeyEventRow] = []
  var newestKeyEvent: KeyEventRow?
  var newestKeyEvents: [String: KeyEventRow] = [:]
  /// Tasks by identifier.
  package internal(set) var keyTasks: [String: KeyTask] = [:]
  var pendingKeyTasks: Set<String> = []
  /// Manifests in the order in which they came into force.
  package internal(set) var keyManifests: [KeyManifestRow] = []

  /// Registration entries by identifier, those among them that are deleted.
  package internal(set) var registrations: [String: EntryRow] = [:]
  var fingerprints: [[UInt8]: String] = [:]
  var sequences: [UInt64: String] = [:]
  var newestSequence: UInt64 = 0
  /// Authorities by identifier.
  package internal(set) var authorities: [String: AuthorityRow] = [:]
  /// Orders about authorities by leaf.
  package internal(set) var authorityOrders: [UInt64: AuthorityOrder] = [:]
  var issuances: [Pair: IssuanceRow] = [:]
  /// Revocations of SVIDs by kind and identifier.
  package internal(set) var revocations: [Pair: RevocationRow] = [:]
  /// Revocation lists by issuer.
  package internal(set) var revocationLists: [String: RevocationListRow] = [:]
  /// Federations by trust domain.
  package internal(set) var federations: [String: FederationRow] = [:]

  /// A key of two texts.
  package struct Pair: Hashable, Sendable {
    let first: String
    let second: String
  }

  /// A key of a tenant and a number.
  package struct Numbered: Hashable, Sendable {
    let tenant: String
    let number: UInt64
  }

  struct Decided: Sendable {
    let at: Timestamp
    let id: String
  }

  /// Nothing on record.
  package init() {}
}

extension Dictionary {
  /// Adds a value under a key that must not be taken.
  mutating func add(_ value: Value, at key: Key, _ what: StaticString) throws {
    guard self[key] == nil else { throw StorageError("the \(what) exists already") }
    self[key] = value
  }

  /// Changes a value that must exist.
  mutating func change(_ key: Key, _ what: StaticString, _ body: (inout Value) -> Void) throws {
    guard let index = index(forKey: key) else { throw StorageError("there is no such \(what)") }
    body(&values[index])
  }
}

// MARK: - Principals

extension ReplayStore {
  package func principal(id: String) -> Principal? { tables.principals[id] }

  package func principal(thumbprint: String) -> Principal? {
    tables.thumbprints[thumbprint].flatMap { tables.principals[$0] }
  }

  package func principals(_ kind: Principal.Kind) -> [Principal] {
    tables.principals.values.filter { $0.kind == kind }.sorted { $0.id < $1.id }
  }

  package mutating func insert(_ principal: Principal) throws {
    guard tables.thumbprints[principal.thumbprint] == nil, tables.principals[principal.id] == nil else {
      throw StorageError("the principal or its key exists already")
    }
    tables.principals[principal.id] = principal
    tables.thumbprints[principal.thumbprint] = principal.id
  }

  package mutating func update(_ principal: Principal) throws {
    try tables.principals.change(principal.id, "principal") {
      ($0.status, $0.enrolmentIndex, $0.since) = (principal.status, principal.enrolmentIndex, principal.since)
    }
  }

  package func invitation(digest: [UInt8]) -> Invitation? { tables.invitations[digest] }

  package mutating func insert(_ invitation: Invitation) throws {
    try tables.invitations.add(invitation, at: invitation.digest, "invitation")
  }
}

// MARK: - Ledger

extension ReplayStore {
  package func account(_ id: String) -> Account? { tables.accounts[id] }

  package func accounts(owner: String) -> [Account] {
    tables.accounts.values.filter { $0.owner == owner }.sorted { $0.id < $1.id }
  }

  package mutating func insert(_ account: Account) throws {
    try tables.accounts.add(account, at: account.id, "account")
  }

  package mutating func update(_ account: Account) throws {
    try tables.accounts.change(account.id, "account") {
      $0.isUnderConsent = account.isUnderConsent
      ($0.debitsPosted, $0.creditsPosted) = (account.debitsPosted, account.creditsPosted)
      ($0.debitsPending, $0.creditsPending) = (account.debitsPending, account.creditsPending)
    }
  }

  package func hold(_ id: String) -> Hold? { tables.holds[id] }

  package mutating func insert(_ hold: Hold) throws {
    try tables.holds.add(hold, at: hold.id, "hold")
  }

  package mutating func setState(_ state: Hold.State, ofHold id: String) throws {
    try tables.holds.change(id, "hold") { $0.state = state }
  }

  package func heldExpiring(atOrBefore moment: Int64, limit: Int) -> [String] {
    tables.holds.values.filter { $0.state == .held && $0.expiresAt <= moment }.sorted { $0.expiresAt < $1.expiresAt }
      .prefix(limit).map(\.id)
  }

  package mutating func post(_ entries: [Entry], leafIndex: UInt64) throws {
    try tables.postings.add(entries, at: leafIndex, "postings of the leaf")
  }

  package func postings(leafIndex: UInt64) -> [Entry] { tables.postings[leafIndex] ?? [] }
}

// MARK: - Credentials and groups

extension ReplayStore {
  package func credential(id: [UInt8]) -> Credential? { tables.credentials[id] }

  package func credentials(of person: String) -> [Credential] {
    tables.credentials.values.filter { $0.person == person }.sorted { $0.id.lexicographicallyPrecedes($1.id) }
  }

  package func isEnrolled(publicKey: [UInt8]) -> Bool {
    tables.credentials.values.contains { $0.publicKey == publicKey }
  }

  package mutating func insert(_ credential: Credential) throws {
    guard tables.credentials[credential.id] == nil, try !isEnrolled(publicKey: credential.publicKey) else {
      throw StorageError("the credential or its key exists already")
    }
    tables.credentials[credential.id] = credential
  }

  package mutating func setUse(signCount: UInt32, backupState: Bool, ofCredential id: [UInt8]) throws {
    try tables.credentials.change(id, "credential") { ($0.signCount, $0.backupState) = (signCount, backupState) }
  }

  package func group(_ id: String) -> ApproverGroup? { tables.groups[id] }

  package func groups(of person: String) -> [ApproverGroup] {
    tables.groups.values.filter { $0.members.contains(person) }.sorted { $0.id < $1.id }
  }

  package mutating func insert(_ group: ApproverGroup) throws {
    try tables.groups.add(group, at: group.id, "group")
  }

  package mutating func update(_ group: ApproverGroup) throws {
    try tables.groups.change(group.id, "group") { present in
      present = ApproverGroup(
        id: present.id, tenant: present.tenant, name: present.name, version: group.version, members: group.members)
    }
  }

  package func personInvitation(digest: [UInt8]) -> PersonInvitation? { tables.personInvitations[digest] }

  package func personInvitation(person: String) -> PersonInvitation? {
    tables.personInvitations.values.filter { $0.person == person }.max { $0.leafIndex < $1.leafIndex }
  }

  package mutating func insert(_ invitation: PersonInvitation) throws {
    guard tables.personInvitations[invitation.digest] == nil,
      !tables.personInvitations.values.contains(where: { $0.id == invitation.id })
    else { throw StorageError("the invitation exists already") }
    tables.personInvitations[invitation.digest] = invitation
  }

  package mutating func setUsed(_ leafIndex: UInt64, personInvitation id: String) throws {
    let digest = tables.personInvitations.values.first { $0.id == id }?.digest ?? []
    try tables.personInvitations.change(digest, "invitation") { $0.usedIndex = leafIndex }
  }
}
