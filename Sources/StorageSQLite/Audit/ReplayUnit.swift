package import AgentIdentity
package import Ledger

/// Principals, accounts and holds in memory, as the record makes them again when it is carried out from its start.
package struct ReplayUnit: Sendable {
  /// Principals by identifier.
  package private(set) var principals: [String: Principal] = [:]
  private var identifiers: [String: String] = [:]
  /// Invitations by digest.
  package private(set) var invitations: [[UInt8]: Invitation] = [:]
  /// Accounts by identifier.
  package private(set) var accounts: [String: Account] = [:]
  /// Holds by identifier.
  package private(set) var holds: [String: Hold] = [:]
  private var posted: [UInt64: [Entry]] = [:]

  /// Nothing on record.
  package init() {}

  /// Takes the postings of a leaf out, so that memory does not grow with the log.
  mutating func takePostings(leafIndex: UInt64) -> [Entry] { posted.removeValue(forKey: leafIndex) ?? [] }
}

extension ReplayUnit: PrincipalStore {
  package func principal(id: String) -> Principal? { principals[id] }

  package func principal(thumbprint: String) -> Principal? { identifiers[thumbprint].flatMap { principals[$0] } }

  package mutating func insert(_ principal: Principal) throws {
    guard principals[principal.id] == nil, identifiers[principal.thumbprint] == nil else {
      throw StorageError("principal \(principal.id) or its key exists already")
    }
    principals[principal.id] = principal
    identifiers[principal.thumbprint] = principal.id
  }

  package mutating func setStatus(_ status: Principal.Status, enrolmentIndex: UInt64, of id: String) throws {
    guard principals[id] != nil else { throw StorageError("there is no principal \(id)") }
    principals[id]?.status = status
    principals[id]?.enrolmentIndex = enrolmentIndex
  }

  package func invitation(digest: [UInt8]) -> Invitation? { invitations[digest] }

  package mutating func insert(_ invitation: Invitation) throws {
    guard invitations[invitation.digest] == nil else { throw StorageError("the invitation exists already") }
    invitations[invitation.digest] = invitation
  }
}

extension ReplayUnit: LedgerStore {
  package func account(_ id: String) -> Account? { accounts[id] }

  package func accounts(owner: String) -> [Account] {
    accounts.values.filter { $0.owner == owner }.sorted { $0.id < $1.id }
  }

  package mutating func insert(_ account: Account) throws {
    guard accounts[account.id] == nil else { throw StorageError("account \(account.id) exists already") }
    accounts[account.id] = account
  }

  package mutating func update(_ account: Account) throws {
    guard accounts[account.id] != nil else { throw StorageError("there is no account \(account.id)") }
    accounts[account.id]?.debitsPosted = account.debitsPosted
    accounts[account.id]?.creditsPosted = account.creditsPosted
    accounts[account.id]?.debitsPending = account.debitsPending
    accounts[account.id]?.creditsPending = account.creditsPending
  }

  package func hold(_ id: String) -> Hold? { holds[id] }

  package mutating func insert(_ hold: Hold) throws {
    guard holds[hold.id] == nil else { throw StorageError("hold \(hold.id) exists already") }
    holds[hold.id] = hold
  }

  package mutating func setState(_ state: Hold.State, ofHold id: String) throws {
    guard holds[id] != nil else { throw StorageError("there is no hold \(id)") }
    holds[id]?.state = state
  }

  package func heldExpiring(atOrBefore moment: Int64, limit: Int) -> [String] {
    holds.values.filter { $0.state == .held && $0.expiresAt <= moment }.sorted { $0.expiresAt < $1.expiresAt }
      .prefix(limit).map(\.id)
  }

  package mutating func post(_ entries: [Entry], leafIndex: UInt64) throws {
    guard posted[leafIndex] == nil else { throw StorageError("leaf \(leafIndex) has postings already") }
    posted[leafIndex] = entries
  }

  package func postings(leafIndex: UInt64) -> [Entry] { posted[leafIndex] ?? [] }
}
