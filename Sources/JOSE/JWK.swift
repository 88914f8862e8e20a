public import KeyHierarchy
public import Wire

/// A public JSON Web Key (RFC 7517) for signatures: EC on P-256, P-384 or P-521, OKP on Ed25519, or RSA.
public struct JWK: Sendable, Hashable {
  /// The key.
  public let key: VerificationKey
  /// `kid`.
  public let keyID: String?
  /// `alg`: the one algorithm that the key's owner wants it used with.
  public let algorithm: JWSAlgorithm?

  /// RFC 7638's thumbprint with SHA-256, in base64url.
  public var thumbprint: String { key.thumbprint }

  /// Describes a key; the `kid` is its thumbprint unless another is given.
  public init(_ key: VerificationKey, keyID: String? = nil, algorithm: JWSAlgorithm? = nil) {
    self.key = key
    self.keyID = keyID ?? key.thumbprint
    self.algorithm = algorithm
  }

  /// The key of a custodian, with its algorithm.
  public init(custody key: CustodyPublicKey) throws(JOSEError) {
    self.init(try VerificationKey(custody: key), algorithm: JWSAlgorithm(key.algorithm))
  }

  /// Members that belong to private and symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
  private static let privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

  /// Reads a public key. Members that RFC 7517 does not define are passed over, as its section 4 demands.
  /// - Throws: ``JOSEError`` with `jwk_malformed`, `jwk_private` or `jwk_unsupported`.
  public init(_ value: JSONValue) throws(JOSEError) {
    guard let object = value.object else { throw JOSEError(.malformedKey, "a JWK must be a JSON object") }
    for name in Self.privateMembers where object[name] != nil {
      throw JOSEError(.privateKey, "the JWK carries the private member '\(name)'; send only the public key")
    }
    key = try Self.key(object)
    keyID = try Self.keyID(object)
    algorithm = try Self.algorithm(object, key)
    try Self.checkUse(object)
  }

  private static func key(_ object: JSONObject) throws(JOSEError) -> VerificationKey {
    func text(_ name: String) throws(JOSEError) -> String {
      guard let text = object[name]?.string else { throw JOSEError(.malformedKey, "the JWK lacks the text '\(name)'") }
      return text
    }
    func bytes(_ name: String) throws(JOSEError) -> [UInt8] {
      let encoded = try text(name)
      guard encoded.utf8.count <= 1024, let bytes = try? Base64.URL.decode(encoded) else {
        throw JOSEError(.malformedKey, "'\(name)' of the JWK is not canonical base64url")
      }
      return bytes
    }
    switch try text("kty") {
    case "EC":
      guard let curve = VerificationKey.Curve(rawValue: try text("crv")) else {
        throw JOSEError(.unsupportedKey, "the JWK's curve is not accepted; use P-256, P-384 or P-521")
      }
      return try VerificationKey(curve: curve, x: try bytes("x"), y: try bytes("y"))
    case "OKP":
      guard try text("crv") == "Ed25519" else {
        throw JOSEError(.unsupportedKey, "the JWK's curve is not accepted; use Ed25519")
      }
      return try VerificationKey(ed25519: try bytes("x"))
    case "RSA":
      return try VerificationKey(rsaModulus: try bytes("n"), exponent: try bytes("e"))
    case "oct":
      throw JOSEError(.privateKey, "the JWK is a symmetric key; send a public key")
    default:
      throw JOSEError(.unsupportedKey, "the JWK's 'kty' is not accepted; use EC, OKP or RSA")
    }
  }

  private static func keyID(_ object: JSONObject) throws(JOSEError) -> String? {
    guard let member = object["kid"] else { return nil }
    guard let text = member.string, (1...JOSELimits.keyID).contains(text.utf8.count) else {
      throw JOSEError(.malformedKey, "'kid' of the JWK must be a text of 1 to \(JOSELimits.keyID) bytes")
    }
    return text
  }

  private static func algorithm(_ object: JSONObject, _ key: VerificationKey) throws(JOSEError) -> JWSAlgorithm? {
    guard let member = object["alg"] else { return nil }
    guard let algorithm = member.string.flatMap(JWSAlgorithm.init(rawValue:)), key.algorithms.contains(algorithm) else {
      throw JOSEError(.unsupportedKey, "'alg' of the JWK is not a signature algorithm of its key type")
    }
    return algorithm
  }

  /// RFC 7517 sections 4.2 and 4.3: both members, where present, must allow the verification of signatures.
  private static func checkUse(_ object: JSONObject) throws(JOSEError) {
    if let use = object["use"], use.string != "sig" {
      throw JOSEError(.unsupportedKey, "'use' of the JWK must be 'sig'")
    }
    guard let member = object["key_ops"] else { return }
    guard let operations = member.array?.map(\.string), operations.count <= 8,
      Set(operations).count == operations.count, operations.contains("verify")
    else {
      throw JOSEError(.unsupportedKey, "'key_ops' of the JWK must be distinct texts with 'verify' among them")
    }
  }

  /// The JWK as it is published: the key's own members, `use`, and `kid` and `alg` where there are any.
  public var json: JSONValue {
    var object = key.requiredMembers
    object["use"] = "sig"
    object["kid"] = keyID.map(JSONValue.string)
    object["alg"] = algorithm.map { .string($0.rawValue) }
    return .object(object)
  }

  /// The key's own members alone, as DPoP's `jwk` header carries them.
  public var bareJSON: JSONValue { .object(key.requiredMembers) }
}

/// A set of public keys (RFC 7517 section 5).
public struct JWKSet: Sendable, Hashable {
  /// The keys, in order.
  public let keys: [JWK]

  /// A set of given keys.
  public init(_ keys: [JWK]) { self.keys = keys }

  /// Reads a set of 1 to 16 keys. Stricter than RFC 7517, which passes over unknown keys: a set is refused as a whole
  /// when one of its keys is, or when two share a `kid`, since its reader could not tell which key was meant.
  public init(_ value: JSONValue) throws(JOSEError) {
    guard let members = value.object?["keys"]?.array, (1...JOSELimits.keys).contains(members.count) else {
      throw JOSEError(.malformedKey, "a JWK Set must hold 'keys', an array of 1 to \(JOSELimits.keys) keys")
    }
    var keys: [JWK] = []
    for member in members { keys.append(try JWK(member)) }
    let names = keys.compactMap(\.keyID)
    guard Set(names).count == names.count else {
      throw JOSEError(.malformedKey, "two keys of the JWK Set share a 'kid'; give each its own")
    }
    self.keys = keys
  }

  /// The key of that `kid`; a set of a single key without `kid` answers for a token without one.
  public subscript(keyID: String?) -> JWK? {
    guard let keyID else { return keys.count == 1 ? keys[0] : nil }
    return keys.first { $0.keyID == keyID }
  }

  /// The set as it is published.
  public var json: JSONValue { ["keys": .array(keys.map(\.json))] }
}
