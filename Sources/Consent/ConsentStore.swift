public import Wire

/// A consent as it stands: its current version, and whether it still permits anything.
public struct ConsentRecord: Sendable, Equatable {
  /// Where a consent stands.
  public enum Status: String, Sendable {
    /// Its current version permits what it says.
    case active
    /// It permits nothing any more, for good.
    case revoked
  }

  /// The current version.
  public let terms: ConsentTerms
  /// Index of the authorised leaf that made this version.
  public let leafIndex: UInt64
  /// Where it stands.
  public var status: Status

  /// Makes a record.
  public init(terms: ConsentTerms, leafIndex: UInt64, status: Status) {
    self.terms = terms
    self.leafIndex = leafIndex
    self.status = status
  }
}

/// What a consent must know about the account that it debits.
public struct SourceAccount: Sendable, Equatable {
  /// The tenant that it belongs to.
  public let tenant: String
  /// The principal whose money it holds.
  public let owner: String
  /// Its only currency.
  public let currency: Currency

  /// Describes an account.
  public init(tenant: String, owner: String, currency: Currency) {
    self.tenant = tenant
    self.owner = owner
    self.currency = currency
  }
}

/// Where consents are kept. Versions are immutable: a new one is added beside the old. Synchronous: a unit of work is
/// taken `inout`.
public protocol ConsentStore {
  /// The consent with an identifier, at its current version.
  mutating func consent(_ id: String) throws -> ConsentRecord?
  /// A version of a consent, with the index of its leaf.
  mutating func consent(_ id: String, version: Int) throws -> (terms: ConsentTerms, leafIndex: UInt64)?
  /// The consents of an owner, by identifier, each at its current version.
  mutating func consents(owner: String) throws -> [ConsentRecord]
  /// Adds a version, which becomes the current one; a version that is taken is an error of the store.
  mutating func insert(_ record: ConsentRecord) throws
  /// Changes where a consent stands.
  mutating func setStatus(_ status: ConsentRecord.Status, ofConsent id: String) throws
  /// What a consent must know about an account.
  mutating func sourceAccount(_ id: String) throws -> SourceAccount?
  /// From now on agents debit the account through consents only.
  mutating func putUnderConsent(account id: String) throws
}
