import Crypto
import CryptoExtras
import KeyHierarchy
import Testing
import Wire

@testable import JOSE

@Suite("JWK (RFC 7517, 7518, 7638, 8037)")
struct JWKTests {
  static let p256: JSONObject = [
    "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
  ]
  static let ed25519: JSONObject = [
    "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  ]
  /// RFC 7638 section 3.1.
  static let rsa: JSONObject = [
    "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
    "n":
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
  ]

  private func changed(_ object: JSONObject, _ name: String, _ value: JSONValue?) -> JSONValue {
    var copy = object
    copy[name] = value
    return .object(copy)
  }

  private func code(_ value: JSONValue) -> JOSEError.Code? {
    do throws(JOSEError) {
      _ = try JWK(value)
      return nil
    } catch { return error.code }
  }

  @Test("thumbprints: RFC 7638 section 3.1 and RFC 8037 appendix A.3")
  func thumbprints() throws {
    #expect(try JWK(.object(Self.rsa)).thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
    #expect(try JWK(.object(Self.ed25519)).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
  }

  @Test("a key survives its JSON, with kid and alg")
  func roundTrip() throws {
    for object in [Self.p256, Self.ed25519, Self.rsa] {
      let key = try JWK(.object(object))
      let again = try JWK(key.json)
      #expect(again.key == key.key)
      #expect(again.keyID == key.keyID && again.algorithm == key.algorithm)
      #expect(key.json.object?["use"] == "sig")
      #expect(try JWK(key.bareJSON).thumbprint == key.thumbprint)
    }
  }

  @Test("private and symmetric members are refused", arguments: ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
  func privateMembers(name: String) {
    for object in [Self.p256, Self.ed25519, Self.rsa] {
      #expect(code(changed(object, name, "AQAB")) == .privateKey)
      #expect(code(changed(object, name, .null)) == .privateKey)
    }
    #expect(code(["kty": "oct"]) == .privateKey)
  }

  @Test("malformed members are refused")
  func malformed() {
    let cases: [(String, JSONValue)] = [
      ("not an object", [1]), ("no kty", changed(Self.p256, "kty", nil)), ("no crv", changed(Self.p256, "crv", nil)),
      ("no x", changed(Self.p256, "x", nil)), ("no y", changed(Self.p256, "y", nil)),
      ("kty is a number", changed(Self.p256, "kty", 1)),
      ("x too short", changed(Self.p256, "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVA")),
      ("x with a zero in front", changed(Self.p256, "x", "AH_Nzidw9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF")),
      ("x padded", changed(Self.p256, "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=")),
      ("x with trailing bits", changed(Self.p256, "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV")),
      ("x in base64", changed(Self.p256, "y", "x/FEzRu9m36HLN/tue659LNpXW6pCyStikYjKIWI5a0")),
      ("off the curve", changed(Self.p256, "y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1")),
      ("swapped", changed(changed(Self.p256, "x", Self.p256["y"]).object ?? [:], "y", Self.p256["x"])),
      ("point zero", ["kty": "EC", "crv": "P-256", "x": .string(zeros), "y": .string(zeros)]),
      (
        "x as great as the field",
        changed(Self.p256, "x", .string(Base64.URL.encode([UInt8](repeating: 0xFF, count: 32))))
      ),
      ("Ed25519 of 31 bytes", changed(Self.ed25519, "x", .string(Base64.URL.encode([UInt8](repeating: 9, count: 31))))),
      ("Ed25519 of 33 bytes", changed(Self.ed25519, "x", .string(Base64.URL.encode([UInt8](repeating: 9, count: 33))))),
      ("RSA with a zero in front", changed(Self.rsa, "e", "AAEAAQ")), ("RSA without n", changed(Self.rsa, "n", nil)),
      ("RSA with an empty n", changed(Self.rsa, "n", "")), ("kid is empty", changed(Self.p256, "kid", "")),
      ("kid is a number", changed(Self.p256, "kid", 7)),
      ("kid is too long", changed(Self.p256, "kid", .string(String(repeating: "k", count: 257)))),
    ]
    for (name, value) in cases { #expect(code(value) == .malformedKey, "\(name)") }
    #expect(code(changed(Self.p256, "kid", .string(String(repeating: "k", count: 256)))) == nil)
  }

  private var zeros: String { Base64.URL.encode([UInt8](repeating: 0, count: 32)) }

  @Test("keys for other purposes, types and sizes are refused")
  func unsupported() {
    let cases: [(String, JSONValue)] = [
      ("use enc", changed(Self.p256, "use", "enc")), ("use a list", changed(Self.p256, "use", ["sig"])),
      ("key_ops sign", changed(Self.p256, "key_ops", ["sign"])), ("key_ops empty", changed(Self.p256, "key_ops", [])),
      ("key_ops twice", changed(Self.p256, "key_ops", ["verify", "verify"])),
      ("key_ops a text", changed(Self.p256, "key_ops", "verify")),
      ("alg of another curve", changed(Self.p256, "alg", "ES384")),
      ("alg none", changed(Self.p256, "alg", "none")), ("alg HS256", changed(Self.p256, "alg", "HS256")),
      ("alg a number", changed(Self.p256, "alg", 1)), ("alg for encryption", changed(Self.rsa, "alg", "RSA-OAEP")),
      ("secp256k1", changed(Self.p256, "crv", "secp256k1")), ("Ed448", changed(Self.ed25519, "crv", "Ed448")),
      ("X25519", changed(Self.ed25519, "crv", "X25519")), ("unknown kty", changed(Self.p256, "kty", "XYZ")),
      ("kty in lower case", changed(Self.p256, "kty", "ec")), ("exponent 3", changed(Self.rsa, "e", "Aw")),
      ("exponent 1", changed(Self.rsa, "e", "AQ")), ("exponent even", changed(Self.rsa, "e", "AQAC")),
      ("RSA of 2040 bits", rsa(bits: 2040)), ("RSA of 2047 bits", rsa(bits: 2047)),
      ("RSA of 4097 bits", rsa(bits: 4097)), ("RSA of 1024 bits", rsa(bits: 1024)),
    ]
    for (name, value) in cases { #expect(code(value) == .unsupportedKey, "\(name)") }
    #expect(code(changed(Self.p256, "use", "sig")) == nil)
    #expect(code(changed(Self.p256, "key_ops", ["verify"])) == nil)
    #expect(code(changed(Self.p256, "unknown", [1, 2])) == nil)
    #expect(code(rsa(bits: 2048)) == nil)
    #expect(code(rsa(bits: 4096)) == nil)
  }

  /// A modulus of that many bits; nothing asks whether it is a product of two primes.
  private func rsa(bits: Int) -> JSONValue {
    var bytes = [UInt8](repeating: 0xA5, count: (bits + 7) / 8)
    bytes[0] = 1 << UInt8((bits - 1) % 8)
    return ["kty": "RSA", "e": "AQAB", "n": .string(Base64.URL.encode(bytes))]
  }

  @Test("Ed25519 points of small order prove nothing and are refused, with either sign")
  func smallOrder() {
    var keys = [
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ].compactMap { Hex.decode($0) }
    for (first, middle, last) in [(0, 0, 0), (1, 0, 0), (0xEC, 0xFF, 0x7F), (0xED, 0xFF, 0x7F), (0xEE, 0xFF, 0x7F)]
      as [(UInt8, UInt8, UInt8)]
    { keys.append([first] + [UInt8](repeating: middle, count: 30) + [last]) }
    #expect(keys.count == 7)
    for key in keys {
      for sign: UInt8 in [0, 0x80] {
        var bytes = key
        bytes[31] |= sign
        #expect(code(changed(Self.ed25519, "x", .string(Base64.URL.encode(bytes)))) == .malformedKey)
      }
    }
  }

  @Test("sets: limits, names, and refusal as a whole")
  func sets() throws {
    let key = JWKTests.ed25519
    let set = try JWKSet(["keys": .array([changed(key, "kid", "a"), changed(Self.p256, "kid", "b")])])
    #expect(set["b"]?.key == (try JWK(.object(Self.p256)).key))
    #expect(set["c"] == nil)
    #expect(set[nil] == nil)
    #expect(try JWKSet(["keys": [.object(key)]])[nil] != nil)
    #expect(try JWKSet(set.json).keys == set.keys)
    func many(_ count: Int) -> JSONValue {
      ["keys": .array((0..<count).map { changed(key, "kid", .string("k\($0)")) })]
    }
    #expect(try JWKSet(many(16)).keys.count == 16)
    for bad: JSONValue in [
      many(0), many(17), [:], ["keys": .object(key)],
      ["keys": .array([changed(key, "kid", "a"), changed(Self.p256, "kid", "a")])],
      ["keys": .array([.object(key), changed(key, "d", "AA")])],
    ] { #expect(throws: JOSEError.self) { try JWKSet(bad) } }
  }

  @Test("custody keys")
  func custody() throws {
    let p256 = P256.Signing.PrivateKey()
    let p384 = P384.Signing.PrivateKey()
    let ed = Curve25519.Signing.PrivateKey()
    let message = Array("m".utf8)
    func verify(_ algorithm: KeyAlgorithm, _ bytes: [UInt8], _ signature: [UInt8], _ expected: JWSAlgorithm) throws {
      let key = try JWK(custody: CustodyPublicKey(algorithm: algorithm, bytes: bytes))
      #expect(key.algorithm == expected)
      try key.key.verify(signature: signature, message: message, algorithm: expected)
    }
    try verify(
      .ecdsaP256, Array(p256.publicKey.x963Representation), Array(p256.signature(for: message).rawRepresentation),
      .es256)
    try verify(
      .ecdsaP384, Array(p384.publicKey.x963Representation), Array(p384.signature(for: message).rawRepresentation),
      .es384)
    try verify(.ed25519, Array(ed.publicKey.rawRepresentation), Array(ed.signature(for: message)), .edDSA)
    let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
    let modulus = Array(try rsa.publicKey.getKeyPrimitives().modulus)
    let custody = try #require(CustodyPublicKey(rsaModulus: modulus))
    #expect(custody.bytes == Array(rsa.publicKey.pkcs1DERRepresentation))
    let signature = try rsa.signature(for: SHA256.hash(data: message), padding: .insecurePKCS1v1_5)
    try verify(.rsa2048, custody.bytes, Array(signature.rawRepresentation), .rs256)
    for bytes in [Array(custody.bytes.dropLast()), custody.bytes + [0], [0x31] + custody.bytes.dropFirst(), []] {
      #expect(throws: JOSEError(.malformedKey, "")) {
        try VerificationKey(custody: CustodyPublicKey(algorithm: .rsa2048, bytes: bytes))
      }
    }
    #expect(throws: JOSEError(.unsupportedKey, "")) {
      try VerificationKey(custody: CustodyPublicKey(algorithm: .hmacSHA256, bytes: []))
    }
    #expect(throws: JOSEError(.malformedKey, "")) {
      try VerificationKey(
        custody: CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(p256.publicKey.compressedRepresentation)))
    }
  }
}
