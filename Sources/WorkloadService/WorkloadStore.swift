public import Wire

/// Where entries, authorities, revocations and federations are kept. Synchronous: a unit of work is taken `inout`.
public protocol WorkloadStore {
  /// The entry with an identifier, also where it is deleted.
  mutating func entry(_ id: String) throws -> EntryRow?
  /// The entry with a fingerprint.
  mutating func entry(fingerprint: [UInt8]) throws -> EntryRow?
  /// At most `limit` changed entries after a sequence number, in its order.
  mutating func entries(changedAfter sequence: UInt64, limit: Int) throws -> [EntryRow]
  /// At most `limit` entries that are not deleted after an identifier, by identifier.
  mutating func entries(after id: String, limit: Int) throws -> [EntryRow]
  /// Hands out identifier and selectors of every entry that is not deleted.
  mutating func eachEntry(_ body: (String, [UInt8]) throws -> Void) throws
  /// How many entries there are that are not deleted.
  mutating func entryCount() throws -> Int
  /// The newest sequence number; 0 before the first entry.
  mutating func lastEntrySequence() throws -> UInt64
  /// Adds or replaces an entry; a fingerprint that another has is an error of the store.
  mutating func put(_ entry: EntryRow) throws

  /// The authority with an identifier.
  mutating func authority(_ id: String) throws -> AuthorityRow?
  /// Every authority of a kind, by leaf.
  mutating func authorities(_ kind: AuthorityKind) throws -> [AuthorityRow]
  /// Adds an authority; a taken identifier is an error of the store.
  mutating func insert(_ authority: AuthorityRow) throws
  /// Writes `state`, `chain`, `root`, `notAfter` and `changeIndex` of an authority that exists.
  mutating func update(_ authority: AuthorityRow) throws
  /// The orders that wait, by leaf.
  mutating func pendingAuthorityOrders() throws -> [AuthorityOrder]
  /// Adds an order.
  mutating func insert(_ order: AuthorityOrder) throws
  /// Writes `isPending` of an order that exists.
  mutating func update(_ order: AuthorityOrder) throws

  /// The issuance of an SVID.
  mutating func issuance(_ kind: SVIDKind, _ id: String) throws -> IssuanceRow?
  /// Adds an issuance; one that exists is an error of the store.
  mutating func insert(_ issuance: IssuanceRow) throws

  /// The revocations of a kind that have not ended, by leaf.
  mutating func revocations(_ kind: SVIDKind, at now: Timestamp) throws -> [RevocationRow]
  /// The revocation of an SVID.
  mutating func revocation(_ kind: SVIDKind, _ id: String) throws -> RevocationRow?
  /// Adds a revocation; one that exists is an error of the store.
  mutating func insert(_ revocation: RevocationRow) throws

  /// Every revocation list, by issuer.
  mutating func revocationLists() throws -> [RevocationListRow]
  /// Adds or replaces an issuer's list.
  mutating func put(_ list: RevocationListRow) throws

  /// Every federation, by trust domain.
  mutating func federations() throws -> [FederationRow]
  /// The federation with a trust domain.
  mutating func federation(_ trustDomain: String) throws -> FederationRow?
  /// Adds or replaces a federation.
  mutating func put(_ federation: FederationRow) throws
  /// Ends a federation.
  mutating func deleteFederation(_ trustDomain: String) throws
}

/// What the service needs of the gate and the storage behind it.
public protocol WorkloadRecorder<Unit>: Sendable {
  /// The unit of work of the storage.
  associatedtype Unit: WorkloadStore

  /// Makes a change and records events, a leaf for each, in one durable transaction.
  /// - Parameter change: makes the change, given the time and the index of the first leaf, and returns the events.
  /// - Returns: the leaves' indices, in the order of the events.
  func record(
    _ change: @Sendable @escaping (inout Unit, Timestamp, UInt64) throws -> [WorkloadEvent]
  ) async throws -> Range<UInt64>

  /// Reads a consistent view.
  func read<Result: Sendable>(_ body: @Sendable @escaping (inout Unit) throws -> Result) async throws -> Result

  /// How many leaves are under the newest signed tree head.
  var sealedSize: UInt64 { get }
}

/// An event as it is recorded: what happened, and the content that its leaf commits to.
public struct WorkloadEvent: Sendable, Equatable {
  /// What happened, such as `svid.issued`.
  public let kind: String
  /// The content.
  public let content: JSONObject

  /// Makes an event.
  public init(_ kind: String, _ content: JSONObject) {
    self.kind = kind
    self.content = content
  }
}
