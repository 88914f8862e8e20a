import Crypto
public import Wire

/// What an owner signs so that an agent may pay: who, from which account, to whom, by which rails, how much and until
/// when. A value is complete and consistent; whether it is signed, current and not revoked, its keeper knows.
public struct ConsentTerms: Sendable, Equatable {
  /// What an agent may spend.
  public struct Limits: Sendable, Equatable {
    /// The greatest amount of one payment.
    public let single: Money
    /// The greatest sum of one day of ``zone``; not below ``single``.
    public let daily: Money
    /// The zone whose midnights part the days.
    public let zone: Zone
    /// The greatest number of payments in a rolling hour.
    public let hourly: Int
  }

  /// From which amount on people must agree.
  public struct Cosign: Sendable, Equatable {
    /// Amounts strictly greater need approvals.
    public let above: Money
    /// How many, 1 to 16.
    public let approvals: Int
    /// The group whose members approve.
    public let group: String
  }

  /// `con_` and 22 characters of base64url: 16 random bytes.
  public let id: String
  /// 1 for the first version; each change adds one.
  public let version: Int
  /// The digest of the version before, base64url; nil for version 1.
  public let previous: String?
  /// 32 random bytes, base64url.
  public let nonce: String
  /// The principal who signs.
  public let owner: String
  /// The tenant of owner and agent.
  public let tenant: String
  /// The principal that may pay.
  public let agent: String
  /// The RFC 7638 thumbprint (SHA-256, base64url) of the one key with which the agent may sign.
  public let agentThumbprint: String
  /// The account of the ledger that is debited.
  public let account: String
  /// The currency of the account and of all limits.
  public let currency: Currency
  /// The rails permitted, sorted.
  public let rails: [String]
  /// Whom the agent may pay, sorted by identifier.
  public let counterparties: [Counterparty]
  /// How much.
  public let limits: Limits
  /// From which amount on approvals are needed; nil where the consent asks for none.
  public let cosign: Cosign?
  /// When the terms were written.
  public let issuedAt: Timestamp
  /// From this moment on they permit nothing.
  public let expires: Timestamp
  /// SHA-256("trustcore/consent/v1" ‖ JCS(``json``)), which is also the challenge that the owner's authenticator signs.
  public private(set) var digest: [UInt8] = []
  /// Where in ``counterparties`` an identifier stands.
  private let places: [String: Int]

  /// The rails that a consent can name.
  public static let knownRails = ["ach", "book"]
  /// A consent names at most this many counterparties.
  public static let maximumCounterparties = 256
  /// A consent lives at most ten years, in seconds.
  public static let maximumLifetime: Int64 = 3653 * 86_400

  /// Reads terms as somebody wrote them: lists in any order, amounts as decimal strings or integers of minor units.
  /// - Parameters:
  ///   - json: the document.
  ///   - validate: judges a counterparty's destination, an object, by the rules of the rail that it is for.
  /// - Throws: 400 where the form is wrong, 422 with the rule's code where a value is, and what `validate` throws.
  public init(_ json: JSONValue, validate: (String, JSONValue) throws(Problem) -> Void) throws(Problem) {
    self = try Problem.reading { try ConsentTerms(reading: json, validate) }
  }

  /// Reads terms in exactly the form of ``json``, the only one that is signed and kept.
  /// - Throws: `consent_not_canonical` where the document is fine but written otherwise; see also ``init(_:validate:)``.
  public init(
    canonical json: JSONValue, validate: (String, JSONValue) throws(Problem) -> Void
  ) throws(Problem) {
    try self.init(json, validate: validate)
    // Texts, not values: 1.0 and 1 differ as values and are one number in JCS.
    guard json.canonical() == JSONValue.object(self.json).canonical() else { throw Self.notCanonical }
  }

  /// Reads the bytes of terms, which must be JCS and in the form of ``json``.
  /// - Throws: `consent_not_canonical` where they are not; see also ``init(_:validate:)``.
  public init(
    canonical bytes: [UInt8], validate: (String, JSONValue) throws(Problem) -> Void
  ) throws(Problem) {
    let json = try Problem.reading { try JSONValue(parsing: bytes) }
    try self.init(json, validate: validate)
    guard bytes == JSONValue.object(self.json).canonical() else { throw Self.notCanonical }
  }

  private static let notCanonical = Problem(
    422, "consent_not_canonical",
    "Write the terms canonically: amounts as decimal strings with all digits, rails and counterparties sorted.")

  /// Terms are equal when their digests are.
  public static func == (a: ConsentTerms, b: ConsentTerms) -> Bool { a.digest == b.digest }

  /// The counterparty with an identifier.
  public func counterparty(_ id: String) -> Counterparty? {
    guard let place = places[id], counterparties[place].id.isExactly(id) else { return nil }
    return counterparties[place]
  }

  // MARK: - Reading

  private init(reading json: JSONValue, _ validate: (String, JSONValue) throws(Problem) -> Void) throws {
    var reader = try ObjectReader(json, "the consent")
    id = try Self.identifier(of: &reader)
    version = Int(try reader.integer("version", in: 1...JSONValue.greatestInteger))
    previous = try reader.optional("previous") == nil ? nil : reader.digest("previous")
    guard (version == 1) == (previous == nil) else {
      throw Problem(
        422, "consent_previous", "Version 1 has no 'previous'; every later one names the digest of the one before.")
    }
    nonce = try reader.digest("nonce")
    owner = try reader.identifier("owner")
    tenant = try reader.identifier("tenant")
    agent = try reader.identifier("agent")
    agentThumbprint = try reader.digest("agent_thumbprint")
    account = try reader.identifier("account")
    let code = try reader.string("currency", maximumBytes: 3)
    guard let currency = Currency(code) else {
      throw Problem(422, "currency_unknown", "Use an ISO 4217 code such as USD; '\(code)' is none that is known.")
    }
    self.currency = currency
    rails = try Self.rails(&reader)
    counterparties = try Self.counterparties(&reader, rails, validate)
    places = Dictionary(uniqueKeysWithValues: counterparties.enumerated().map { ($1.id, $0) })
    let limits = try Limits(try reader.value("limits"), currency)
    self.limits = limits
    cosign = try reader.optional("cosign").map { try Cosign($0, currency, single: limits.single) }
    issuedAt = Timestamp(milliseconds: try reader.integer("issued_at", in: 0...JSONValue.greatestInteger))
    expires = Timestamp(milliseconds: try reader.integer("expires", in: 0...JSONValue.greatestInteger))
    try reader.finish()
    guard expires > issuedAt, expires <= issuedAt.adding(seconds: Self.maximumLifetime) else {
      throw Problem(
        422, "consent_expiry", "'expires' must come after 'issued_at', by at most \(Self.maximumLifetime) seconds.")
    }
    digest = Array(SHA256.hash(data: Array("trustcore/consent/v1".utf8) + JSONValue.object(self.json).canonical()))
  }
}
