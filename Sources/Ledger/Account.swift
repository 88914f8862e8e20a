public import Wire

/// An account: four totals in minor units, from which its balance follows.
public struct Account: Sendable, Equatable {
  /// What an account stands for.
  public enum Kind: String, Sendable {
    /// Money that the ledger owes to its owner; it may not be overdrawn beyond its limit.
    case customer
    /// Money outside the ledger, such as a settlement bank; only an officer opens one, and it may go negative.
    case external
  }

  /// Random identifier.
  public let id: String
  /// The tenant it belongs to.
  public let tenant: String
  /// The principal whose agents may debit it.
  public let owner: String
  /// The only currency it holds.
  public let currency: Currency
  /// What it stands for.
  public let kind: Kind
  /// How far below zero the balance may fall, holds included; minor units.
  public let overdraftLimit: Int64
  /// Whether agents debit it through consents only, which holds from its first consent on.
  public var isUnderConsent: Bool
  /// Sum of posted debits.
  public var debitsPosted: Int64
  /// Sum of posted credits.
  public var creditsPosted: Int64
  /// Sum of debits that are reserved by holds and by commands in flight.
  public var debitsPending: Int64
  /// Sum of credits that are reserved by holds and by commands in flight.
  public var creditsPending: Int64

  /// Makes an account.
  public init(
    id: String, tenant: String, owner: String, currency: Currency, kind: Kind, overdraftLimit: Int64,
    isUnderConsent: Bool = false, debitsPosted: Int64 = 0, creditsPosted: Int64 = 0, debitsPending: Int64 = 0,
    creditsPending: Int64 = 0
  ) {
    self.id = id
    self.tenant = tenant
    self.owner = owner
    self.currency = currency
    self.kind = kind
    self.overdraftLimit = overdraftLimit
    self.isUnderConsent = isUnderConsent
    self.debitsPosted = debitsPosted
    self.creditsPosted = creditsPosted
    self.debitsPending = debitsPending
    self.creditsPending = creditsPending
  }

  /// Posted credits less posted debits; minor units.
  public var balance: Int64 { creditsPosted - debitsPosted }
  /// What may still be debited: balance and overdraft limit less reserved debits. Reserved credits do not count.
  public var available: Int64 { balance + overdraftLimit - debitsPending }
}

/// One side of a transfer.
public struct Entry: Sendable, Equatable {
  /// Which side of the account it adds to.
  public enum Side: String, Sendable {
    /// Takes from the account.
    case debit
    /// Gives to the account.
    case credit
  }

  /// The account's identifier.
  public let account: String
  /// The side.
  public let side: Side
  /// The amount; positive.
  public let money: Money

  /// Makes an entry.
  public init(account: String, side: Side, money: Money) {
    self.account = account
    self.side = side
    self.money = money
  }
}

/// A reservation that outlives its command until it is captured, voided or expires.
public struct Hold: Sendable, Equatable {
  /// Where a hold stands.
  public enum State: String, Sendable {
    /// Its command is recorded but not sealed yet.
    case reserved
    /// Funds are held.
    case held
    /// A capture is recorded but not sealed yet; nobody else may end the hold.
    case capturing
    /// A void is recorded but not sealed yet; nobody else may end the hold.
    case voiding
    /// Posted.
    case captured
    /// Released by its owner or agent.
    case voided
    /// Released by time.
    case expired
  }

  /// The identifier of the command that made it, which is the hold's too.
  public let id: String
  /// The tenant.
  public let tenant: String
  /// The principal whose agents may capture and void it.
  public let owner: String
  /// What is reserved.
  public let entries: [Entry]
  /// From this moment on it cannot be captured; milliseconds since the epoch, on the ledger's clock.
  public let expiresAt: Int64
  /// Where it stands.
  public var state: State

  /// Makes a hold.
  public init(id: String, tenant: String, owner: String, entries: [Entry], expiresAt: Int64, state: State) {
    self.id = id
    self.tenant = tenant
    self.owner = owner
    self.entries = entries
    self.expiresAt = expiresAt
    self.state = state
  }
}

/// Where the ledger keeps accounts, holds and postings. Synchronous: a unit of work is taken `inout`.
public protocol LedgerStore {
  /// The account with an identifier.
  mutating func account(_ id: String) throws -> Account?
  /// The accounts of an owner, by identifier.
  mutating func accounts(owner: String) throws -> [Account]
  /// Adds an account; a taken identifier is an error of the store.
  mutating func insert(_ account: Account) throws
  /// Writes the four totals, and whether it is under consent, of an account that exists.
  mutating func update(_ account: Account) throws
  /// The hold with an identifier.
  mutating func hold(_ id: String) throws -> Hold?
  /// Adds a hold; a taken identifier is an error of the store.
  mutating func insert(_ hold: Hold) throws
  /// Writes the state of a hold that exists.
  mutating func setState(_ state: Hold.State, ofHold id: String) throws
  /// Identifiers of at most `limit` holds in state `held` that expire at or before a moment, soonest first.
  mutating func heldExpiring(atOrBefore moment: Int64, limit: Int) throws -> [String]
  /// Adds posted entries, under the index of the authorised leaf that they rest on.
  mutating func post(_ entries: [Entry], leafIndex: UInt64) throws
  /// The posted entries of a leaf, in order.
  mutating func postings(leafIndex: UInt64) throws -> [Entry]
}
