public import Wire

/// A registration entry: which identity a workload gets that has certain selectors, and what may be issued for it. Made
/// by reading JSON alone, so that whatever exists keeps every rule.
public struct RegistrationEntry: Sendable, Equatable {
  /// What a workload may ask for.
  public enum Issue: String, Sendable, CaseIterable {
    /// An X.509-SVID with a key that is made here.
    case x509
    /// JWT-SVIDs.
    case jwt
    /// An X.509-SVID for a key that the workload keeps.
    case ownKey = "own_key"
  }

  /// The entry's name.
  public let id: EntryID
  /// The identity; it has a path.
  public let spiffeID: SPIFFEID
  /// The identity of the node that the workload runs on, in the same trust domain.
  public let parentID: SPIFFEID
  /// What a workload must have, all of it: 1 to 32 selectors, sorted, none twice.
  public let selectors: [Selector]
  /// How long X.509-SVIDs live, in seconds; nil for the daemon's default.
  public let x509TTL: Int64?
  /// How long JWT-SVIDs live, in seconds; nil for the daemon's default.
  public let jwtTTL: Int64?
  /// DNS names for the certificate, at most 32, in the order given.
  public let dnsNames: [String]
  /// What tells a workload its identities apart; empty for none.
  public let hint: String
  /// True for a workload that administers.
  public let admin: Bool
  /// True for a workload that may get an intermediate authority.
  public let downstream: Bool
  /// Other trust domains whose bundles the workload gets: at most 64, sorted, none twice.
  public let federatesWith: [TrustDomain]
  /// What the workload may ask for.
  public let issues: Set<Issue>
  /// The audiences that its JWT-SVIDs may name, byte by byte, at most 64; empty for any.
  public let audiences: [String]
  /// Whether JWT-SVIDs are signed with RS256, for those who take nothing else, and not with ES256.
  public let jwtRS256: Bool
  /// How many signatures a minute the entry may cost; nil for no limit of its own.
  public let signaturesPerMinute: Int?

  /// The most selectors of an entry.
  public static let maximumSelectors = 32
  /// The longest life of an X.509-SVID, in seconds.
  public static let maximumX509TTL: Int64 = 86_400 * 30
  /// The longest life of a JWT-SVID, in seconds.
  public static let maximumJWTTTL: Int64 = 86_400
  /// What an entry issues that says nothing of it.
  public static let defaultIssues: Set<Issue> = [.x509, .jwt]

  /// How long its X.509-SVIDs live, in seconds: an hour unless it says otherwise.
  public var x509Lifetime: Int64 { x509TTL ?? 3600 }
  /// How long its JWT-SVIDs live, in seconds: five minutes unless it says otherwise.
  public var jwtLifetime: Int64 { jwtTTL ?? 300 }

  /// Whether a JWT-SVID for these audiences is permitted.
  public func permits(audiences asked: [String]) -> Bool {
    audiences.isEmpty || asked.allSatisfy { text in audiences.contains { $0.utf8.elementsEqual(text.utf8) } }
  }

  /// Reads an entry and refuses members that it does not know.
  /// - Parameters:
  ///   - id: the entry's name, which the JSON does not carry.
  ///   - value: `spiffe_id`, `parent_id` and `selectors`, and where wanted `x509_svid_ttl`, `jwt_svid_ttl`, `dns_names`,
  ///     `hint`, `admin`, `downstream`, `federates_with`, `issues`, `audiences`, `jwt_algorithm`,
  ///     `signatures_per_minute`.
  ///   - trustDomain: the trust domain that is served.
  /// - Throws: ``SPIFFEError/Code-swift.struct/entry``.
  public init(id: EntryID, reading value: JSONValue, trustDomain: TrustDomain) throws(SPIFFEError) {
    var reader = try EntryReader(value)
    self.id = id
    spiffeID = try reader.id("spiffe_id", in: trustDomain)
    guard !spiffeID.path.isEmpty else {
      throw SPIFFEError(.entry, "'spiffe_id' is the trust domain's own; give it a path")
    }
    parentID = try reader.id("parent_id", in: trustDomain)
    selectors = try reader.texts("selectors", 1...Self.maximumSelectors, bytes: Selector.maximumBytes)
      .map { (text) throws(SPIFFEError) in
        try EntryReader.naming("selectors") { () throws(SPIFFEError) in try Selector(text) }
      }
      .sorted { $0.description.utf8.lexicographicallyPrecedes($1.description.utf8) }
    x509TTL = try reader.integer("x509_svid_ttl", 60...Self.maximumX509TTL)
    jwtTTL = try reader.integer("jwt_svid_ttl", 10...Self.maximumJWTTTL)
    dnsNames = try reader.texts("dns_names", 0...32, bytes: 253)
    guard dnsNames.allSatisfy(DNSName.isValid) else {
      throw SPIFFEError(
        .entry, "'dns_names' has a text that is no host name in lower case (RFC 1123), with or without '*.' before it")
    }
    hint = try reader.text("hint", bytes: 1024)
    admin = try reader.bool("admin")
    downstream = try reader.bool("downstream")
    federatesWith = try reader.texts("federates_with", 0...64, bytes: TrustDomain.maximumBytes)
      .map { (text) throws(SPIFFEError) in
        try EntryReader.naming("federates_with") { () throws(SPIFFEError) in try TrustDomain(text) }
      }
      .sorted()
    guard !federatesWith.contains(trustDomain) else {
      throw SPIFFEError(.entry, "'federates_with' names the entry's own trust domain; leave it out")
    }
    issues = try reader.issues()
    audiences = try reader.texts("audiences", 0...64, bytes: 1024)
    switch try reader.text("jwt_algorithm", bytes: 8) {
    case "", "ES256": jwtRS256 = false
    case "RS256": jwtRS256 = true
    default: throw SPIFFEError(.entry, "'jwt_algorithm' is 'ES256' or 'RS256'")
    }
    signaturesPerMinute = try reader.integer("signatures_per_minute", 1...100_000).map(Int.init)
    try reader.finish()
  }

  /// What ``init(id:reading:trustDomain:)`` reads; members that have their default are left out.
  public var json: JSONObject {
    var object: JSONObject = [
      "spiffe_id": .string(spiffeID.description), "parent_id": .string(parentID.description),
      "selectors": .array(selectors.map { .string($0.description) }),
    ]
    object["x509_svid_ttl"] = x509TTL.map(JSONValue.integer)
    object["jwt_svid_ttl"] = jwtTTL.map(JSONValue.integer)
    if !dnsNames.isEmpty { object["dns_names"] = .array(dnsNames.map(JSONValue.string)) }
    if !hint.isEmpty { object["hint"] = .string(hint) }
    if admin { object["admin"] = true }
    if downstream { object["downstream"] = true }
    if !federatesWith.isEmpty { object["federates_with"] = .array(federatesWith.map { .string($0.name) }) }
    if issues != Self.defaultIssues {
      object["issues"] = .array(Issue.allCases.filter(issues.contains).map { .string($0.rawValue) })
    }
    if !audiences.isEmpty { object["audiences"] = .array(audiences.map(JSONValue.string)) }
    if jwtRS256 { object["jwt_algorithm"] = "RS256" }
    object["signatures_per_minute"] = signaturesPerMinute.map { .integer(Int64($0)) }
    return object
  }

  /// Entries are equal when their names and their JSON are; Swift's equality of texts would fold canonical equivalents.
  public static func == (a: RegistrationEntry, b: RegistrationEntry) -> Bool { a.id == b.id && a.json == b.json }
}
