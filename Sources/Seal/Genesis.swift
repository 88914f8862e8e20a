public import AgentIdentity
import Crypto
import JOSE
public import TransparencyLog
public import Wire

/// `genesis.json`: where trust in a deployment starts. Its SHA-256 is leaf 0, and modules pin its roster.
public struct Genesis: Sendable, Equatable {
  /// The log's origin, `<trust domain>/log`.
  public let origin: String
  /// The SPIFFE trust domain.
  public let trustDomain: String
  /// `development`, or the production environment's name.
  public let environment: String
  /// When the deployment was made.
  public let created: Timestamp
  /// SHA-256 of the root certificate's DER.
  public let rootFingerprint: [UInt8]
  /// SHA-256 of the daemon's executable.
  public let softwareDigest: [UInt8]
  /// Keys that sign checkpoints.
  public let logKeys: [NoteVerifierKey]
  /// The first officers and owners.
  public let roster: [Principal]
  /// Who the console is to authenticators; nil for a deployment without approvals.
  public let console: ConsoleIdentity?

  /// Makes a genesis.
  public init(
    origin: String, trustDomain: String, environment: String, created: Timestamp, rootFingerprint: [UInt8],
    softwareDigest: [UInt8], logKeys: [NoteVerifierKey], roster: [Principal],
    console: ConsoleIdentity? = nil
  ) {
    self.origin = origin
    self.trustDomain = trustDomain
    self.environment = environment
    self.created = created
    self.rootFingerprint = rootFingerprint
    self.softwareDigest = softwareDigest
    self.logKeys = logKeys
    self.roster = roster
    self.console = console
  }

  /// The text of `genesis.json` (JCS).
  public func encoded() throws(JSONError) -> [UInt8] {
    var people: [JSONValue] = []
    for principal in roster {
      people.append([
        "id": .string(principal.id), "kind": .string(principal.kind.rawValue), "tenant": .string(principal.tenant),
        "key": try JSONValue(parsing: principal.key),
      ])
    }
    var object: JSONObject = [
      "version": 1, "origin": .string(origin), "trust_domain": .string(trustDomain),
      "environment": .string(environment), "created": .integer(created.milliseconds),
      "root_certificate_sha256": .string(Hex.encode(rootFingerprint)),
      "software_sha256": .string(Hex.encode(softwareDigest)),
      "log_keys": .array(logKeys.map { .string($0.description) }), "roster": .array(people),
    ]
    if let console {
      object["console"] = [
        "host": .string(console.host), "approval_rp_id": .string(console.approvalID),
        "sign_in_rp_id": .string(console.signInID),
      ]
    }
    return JSONValue.object(object).canonical()
  }

  /// Reads `genesis.json`; a text that is not canonical is refused, since its digest would not be leaf 0's.
  public init(decoding bytes: [UInt8]) throws {
    let json = try JSONValue(parsing: bytes)
    guard json.canonical() == bytes else { throw CodecError("genesis.json is not in canonical form (RFC 8785)") }
    var reader = try ObjectReader(json, "genesis.json")
    _ = try reader.integer("version", in: 1...1)
    origin = try reader.string("origin")
    trustDomain = try reader.string("trust_domain")
    environment = try reader.string("environment")
    created = Timestamp(milliseconds: try reader.integer("created", in: 0...JSONValue.greatestInteger))
    guard let root = Hex.decode(try reader.string("root_certificate_sha256")), root.count == 32,
      let software = Hex.decode(try reader.string("software_sha256")), software.count == 32
    else { throw CodecError("genesis.json has a digest that is not 64 lower-case hexadecimal digits") }
    rootFingerprint = root
    softwareDigest = software
    logKeys = try reader.array("log_keys", limit: 16).map { try NoteVerifierKey(vkey: $0.string ?? "") }
    roster = try reader.array("roster", limit: 1024).map { value in
      var person = try ObjectReader(value, "a roster entry")
      let id = try person.string("id")
      guard let kind = Principal.Kind(rawValue: try person.string("kind")), [.officer, .owner].contains(kind) else {
        throw CodecError("a roster entry's kind is 'officer' or 'owner'")
      }
      let tenant = try person.string("tenant")
      let key = try JWK(try person.value("key"))
      try person.finish()
      return Principal(
        id: id, kind: kind, tenant: tenant, owner: kind == .owner ? id : "", thumbprint: key.thumbprint,
        key: key.bareJSON.canonical(), status: .active, enrolmentIndex: 0)
    }
    console = try reader.optional("console").map { value in
      var item = try ObjectReader(value, "the console")
      let console = ConsoleIdentity(
        host: try item.string("host", maximumBytes: 253),
        approvalID: try item.string("approval_rp_id", maximumBytes: 253),
        signInID: try item.string("sign_in_rp_id", maximumBytes: 253))
      try item.finish()
      guard console.approvalID != console.signInID else {
        throw CodecError("genesis.json gives approvals and signing in one relying-party id; they need one each")
      }
      return console
    }
    try reader.finish()
    guard !logKeys.isEmpty, logKeys.allSatisfy({ $0.name == origin }) else {
      throw CodecError("genesis.json must name at least one log key, each called like the origin")
    }
    guard Set(roster.map(\.id)).count == roster.count, Set(roster.map(\.thumbprint)).count == roster.count else {
      throw CodecError("genesis.json names an identifier or a key twice")
    }
  }

  /// SHA-256 of an encoded genesis.
  public static func digest(_ encoded: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: encoded)) }
}
