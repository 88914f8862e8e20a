public import AgentIdentity
public import Consent
public import Cosign
public import Ledger
public import Policy
public import Wire

/// Where payments, their approvals and what leaves by a rail are kept, with all that a payment is decided from.
/// Synchronous: a unit of work is taken `inout`.
public protocol PaymentStore: PrincipalStore, CosignStore, PolicyStore, ConsentStore, LedgerStore {
  /// The payment with an identifier.
  mutating func payment(_ id: String) throws -> Payment?
  /// Adds a payment; a taken identifier is an error of the store.
  mutating func insert(_ payment: Payment) throws
  /// Writes `state`, `endedBy`, `postedIndex` and `returnCode` of a payment that exists.
  mutating func update(_ payment: Payment) throws
  /// Identifiers of at most `limit` payments in state `held` whose time ends at or before a moment, soonest first.
  mutating func heldPayments(expiringAtOrBefore moment: Timestamp, limit: Int) throws -> [String]
  /// At most `limit` payments of a tenant in state `held`, soonest end first.
  mutating func heldPayments(tenant: String, limit: Int) throws -> [Payment]
  /// How many payments under a consent count that were decided after a moment; never more than `limit`.
  mutating func countPayments(consent: String, after moment: Timestamp, limit: Int) throws -> Int
  /// The sum of the payments under a consent that count and were decided within `start..<end`; minor units.
  mutating func sumPayments(consent: String, from start: Timestamp, to end: Timestamp) throws -> Int64
  /// Whether a payment under a consent to a counterparty counts.
  mutating func hasPaid(consent: String, counterparty: String) throws -> Bool
  /// The budget of a consent in a window; nil where nothing was decided in it yet.
  mutating func budget(consent: String, start: Timestamp, end: Timestamp) throws -> BudgetWindow?
  /// The budgets of a consent whose windows contain a moment.
  mutating func budgets(consent: String, containing moment: Timestamp) throws -> [BudgetWindow]
  /// Adds or replaces a budget.
  mutating func put(_ budget: BudgetWindow) throws

  /// The decisions about a payment, by leaf.
  mutating func approvals(payment: String) throws -> [GivenApproval]
  /// Adds a decision; a second one of a person about a payment is an error of the store.
  mutating func insert(_ approval: GivenApproval) throws
  /// Marks a decision as sealed.
  mutating func setSealed(payment: String, person: String) throws
  /// Removes a decision whose command could not be carried out.
  mutating func removeApproval(payment: String, person: String) throws

  /// The newest configuration of a tenant's rail.
  mutating func rail(tenant: String) throws -> ACHRail?
  /// The configuration that a leaf made.
  mutating func rail(leafIndex: UInt64) throws -> ACHRail?
  /// Adds a configuration.
  mutating func insert(_ rail: ACHRail) throws
  /// Adds an entry for a file.
  mutating func insert(_ entry: RailEntry) throws
  /// At most `limit` entries that wait for a file, by leaf.
  mutating func waitingEntries(tenant: String, limit: Int) throws -> [RailEntry]
  /// The tenants that have entries waiting.
  mutating func tenantsWithWaitingEntries() throws -> [String]
  /// The newest entry with a trace number.
  mutating func entry(tenant: String, trace: UInt64) throws -> RailEntry?
  /// The entry of a payment.
  mutating func entry(payment: String) throws -> RailEntry?
  /// The entries of a file, by leaf.
  mutating func entries(tenant: String, file: Int) throws -> [RailEntry]
  /// Puts an entry into a file.
  mutating func setFile(_ number: Int, ofEntry leafIndex: UInt64) throws
  /// The number of a tenant's newest file; 0 before the first.
  mutating func newestFile(tenant: String) throws -> Int
  /// A tenant's file.
  mutating func file(tenant: String, number: Int) throws -> RailFile?
  /// Adds a file.
  mutating func insert(_ file: RailFile) throws
}
