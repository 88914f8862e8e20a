/// The four tokens of a deployment. Each has its own PIN: who can unwrap data keys cannot sign checkpoints.
public enum TokenRole: String, CaseIterable, Sendable, Hashable {
  /// Holds the root CA key; logged in only during ceremonies.
  case root
  /// Holds the keys that sign tree heads.
  case log
  /// Holds the issuing keys of X.509, JWT and OAuth, and the server's TLS key.
  case identity
  /// Holds the root key-encryption key and the key that authenticates records.
  case data
}

/// What a key is for, which fixes its PKCS#11 key type, its usage flags and how it signs.
public enum KeyAlgorithm: String, Sendable, Hashable {
  /// ECDSA on P-256 with SHA-256; signatures are r ‖ s, 64 bytes.
  case ecdsaP256 = "ECDSA-P256"
  /// ECDSA on P-384 with SHA-384; signatures are r ‖ s, 96 bytes.
  case ecdsaP384 = "ECDSA-P384"
  /// Ed25519 (RFC 8032); signatures are 64 bytes.
  case ed25519 = "Ed25519"
  /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) with SHA-256 and a modulus of 2048 bits; signatures are 256 bytes.
  case rsa2048 = "RSA-2048-PKCS1-SHA-256"
  /// AES-256 for WRAP and UNWRAP only.
  case aes256Wrap = "AES-256-KWP"
  /// HMAC with SHA-256.
  case hmacSHA256 = "HMAC-SHA-256"
}

/// A key of the hierarchy: the token it lives on, its label there (`CKA_LABEL`) and its algorithm.
public struct KeyName: Hashable, Sendable, CustomStringConvertible {
  /// The token that the key was generated on and never leaves.
  public let token: TokenRole
  /// The key's `CKA_LABEL`.
  public let label: String
  /// The key's algorithm.
  public let algorithm: KeyAlgorithm

  /// Names a key.
  public init(_ token: TokenRole, _ label: String, _ algorithm: KeyAlgorithm) {
    self.token = token
    self.label = label
    self.algorithm = algorithm
  }

  /// `token/label`.
  public var description: String { "\(token.rawValue)/\(label)" }
}

/// The keys that this version uses; all algorithm choices for HSM keys stand here and nowhere else.
extension KeyName {
  /// The root certificate authority.
  public static let rootCA = KeyName(.root, "root-ca", .ecdsaP384)
  /// The key that signs tree heads.
  public static let logA = KeyName(.log, "log-a", .ed25519)
  /// The issuing certificate authority in slot A.
  public static let x509IssuingA = KeyName(.identity, "x509-issuing-a", .ecdsaP256)
  /// The issuing certificate authority in slot B.
  public static let x509IssuingB = KeyName(.identity, "x509-issuing-b", .ecdsaP256)
  /// Signs JWT-SVIDs, in slot A.
  public static let svidJWTA = KeyName(.identity, "svid-jwt-a", .ecdsaP256)
  /// Signs JWT-SVIDs, in slot B.
  public static let svidJWTB = KeyName(.identity, "svid-jwt-b", .ecdsaP256)
  /// Signs JWT-SVIDs for those who take RS256 alone, in slot A.
  public static let svidJWTRSA = KeyName(.identity, "svid-jwt-rs-a", .rsa2048)
  /// Signs JWT-SVIDs for those who take RS256 alone, in slot B.
  public static let svidJWTRSB = KeyName(.identity, "svid-jwt-rs-b", .rsa2048)
  /// Signs OAuth access tokens.
  public static let oauthA = KeyName(.identity, "oauth-a", .ecdsaP256)
  /// The API server's TLS key.
  public static let apiTLSA = KeyName(.identity, "api-tls-a", .ecdsaP256)
  /// Wraps key-encryption keys.
  public static let rootKEK = KeyName(.data, "root-kek", .aes256Wrap)
  /// Authenticates key records.
  public static let recordMAC = KeyName(.data, "record-mac", .hmacSHA256)

  /// Every key that the root ceremony generates.
  public static let all: [KeyName] = [
    .rootCA, .logA, .x509IssuingA, .svidJWTA, .svidJWTRSA, .oauthA, .apiTLSA, .rootKEK, .recordMAC,
  ]

  /// Keys that exist once they are prepared.
  public static let prepared: [KeyName] = [.x509IssuingB, .svidJWTB, .svidJWTRSB]

  /// Keys that rotate between two slots: a ``KeyReplacer`` makes a new one in the slot that is not in use.
  public static let replaceable: [KeyName] = [
    .x509IssuingA, .x509IssuingB, .svidJWTA, .svidJWTB, .svidJWTRSA, .svidJWTRSB,
  ]

  /// Keys that a token must have to be of use. Not those that are replaced: between the old and the new one there is
  /// none, and whoever fails there must be able to begin again.
  public static let required: [KeyName] = all.filter { !$0.isReplaceable }

  /// True for keys of ``replaceable``.
  public var isReplaceable: Bool { token == .identity && Self.replaceable.contains(self) }

  /// True for keys that a deployment does without where its token has no such mechanism.
  public var isOptional: Bool { algorithm == .rsa2048 }
}

/// The public half of a signing key.
public struct CustodyPublicKey: Hashable, Sendable {
  /// The key's algorithm.
  public let algorithm: KeyAlgorithm
  /// ECDSA: the uncompressed X9.63 point (65 or 97 bytes). Ed25519: the 32 bytes of RFC 8032. RSA: an RSAPublicKey in
  /// DER (RFC 8017, appendix A.1.1), 270 bytes.
  public let bytes: [UInt8]

  /// Wraps the bytes of a public key.
  public init(algorithm: KeyAlgorithm, bytes: [UInt8]) {
    self.algorithm = algorithm
    self.bytes = bytes
  }
}

extension CustodyPublicKey {
  // With a modulus of 2048 bits and the exponent 65537 every length in the DER is the same.
  private static let rsaHead: [UInt8] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]
  private static let rsaTail: [UInt8] = [0x02, 0x03, 0x01, 0x00, 0x01]

  /// An RSA key with the exponent 65537; nil unless the modulus is odd and has 2048 bits, big-endian in 256 bytes.
  public init?(rsaModulus modulus: [UInt8]) {
    guard modulus.count == 256, modulus[0] >= 0x80, modulus[255] & 1 == 1 else { return nil }
    self.init(algorithm: .rsa2048, bytes: Self.rsaHead + modulus + Self.rsaTail)
  }

  /// The modulus of an RSA key, 256 bytes; nil for other keys, and for bytes that are none.
  public var rsaModulus: [UInt8]? {
    guard algorithm == .rsa2048, bytes.count == 270 else { return nil }
    let modulus = Array(bytes[9..<265])
    return Self(rsaModulus: modulus) == self ? modulus : nil
  }

  /// The exponent of every RSA key, big-endian.
  public static let rsaExponent: [UInt8] = [0x01, 0x00, 0x01]
}

/// Holds the keys and uses them on request. There is no software implementation in the product: without its HSM a
/// custodian throws, it never degrades.
public protocol KeyCustodian: Sendable {
  /// The public half of a signing key.
  func publicKey(_ key: KeyName) throws(CustodyError) -> CustodyPublicKey

  /// Signs a message, hashing it first as the key's algorithm demands. Refuses keys of the `log` token, which sign
  /// only what ``signCheckpoint(_:with:)`` parsed, with ``CustodyError/Code-swift.struct/notPermitted``.
  func sign(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8]

  /// As ``sign(_:with:)``, with the key that the caller believes to be in its slot and no other: whoever puts the
  /// signature beside an issuer's name or a `kid` signs in this way.
  ///
  /// - Throws: ``CustodyError/Code-swift.struct/keyReplaced`` where the slot has another key.
  func sign(
    _ message: [UInt8], with key: KeyName, expecting publicKey: CustodyPublicKey
  ) async throws(CustodyError) -> [UInt8]

  /// As ``sign(_:with:)``, on the calling thread, which it blocks: for ceremonies and libraries without `async`.
  func signBlocking(_ message: [UInt8], with key: KeyName) throws(CustodyError) -> [UInt8]

  /// Signs the body of a C2SP tlog-checkpoint (origin, size and root hash lines, each ended by a newline) after
  /// parsing it. Refuses a body that is no checkpoint, has another origin than the last one signed with this key in
  /// this process, is smaller than it, or has its size and another root.
  func signCheckpoint(_ body: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8]

  /// HMAC-SHA-256 over `message` with a key of algorithm ``KeyAlgorithm/hmacSHA256``; 32 bytes.
  func authenticate(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8]

  /// Bytes from the HSM's generator.
  func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8]

  /// How many cryptographic operations the HSM has carried out for this custodian.
  var operationCount: UInt64 { get }
}

extension KeyCustodian {
  /// For custodians whose keys stay what they are.
  public func sign(
    _ message: [UInt8], with key: KeyName, expecting publicKey: CustodyPublicKey
  ) async throws(CustodyError) -> [UInt8] {
    guard try self.publicKey(key) == publicKey else { throw CustodyError(replaced: key) }
    return try await sign(message, with: key)
  }
}

/// Makes new keys in the slots of ``KeyName/replaceable``, and in no others.
public protocol KeyReplacer: Sendable {
  /// Destroys the pair under the name, if there is one, and generates a new one. After a failure the slot may be empty;
  /// the next call empties it and begins again, so repeating is safe.
  ///
  /// - Returns: The new key. Signing with the old one was refused from the moment that this was begun.
  /// - Throws: ``CustodyError/Code-swift.struct/notPermitted`` for other keys, and on a cluster of several tokens, as a
  ///   key that cannot leave one of them would be on that one alone; ``CustodyError/Code-swift.struct/busy`` while the
  ///   key is being replaced already; what the token refused.
  func replace(_ key: KeyName) async throws(CustodyError) -> CustodyPublicKey

  /// Destroys the pair under the name; nothing to do where there is none. Throws as ``replace(_:)`` does.
  func destroy(_ key: KeyName) async throws(CustodyError)
}

/// Why a custodian did not do what it was asked. Equality is by code.
public struct CustodyError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The key does not exist on its token.
    public static let keyNotFound = Code("key_not_found")
    /// The token is absent, not logged in, or gone.
    public static let unavailable = Code("hsm_unavailable")
    /// The key may not be used in this way.
    public static let notPermitted = Code("key_use_not_permitted")
    /// The token lacks a mechanism that its role needs.
    public static let mechanismMissing = Code("mechanism_missing")
    /// The PIN was refused.
    public static let wrongPIN = Code("wrong_pin")
    /// Too many operations wait already.
    public static let busy = Code("hsm_busy")
    /// The HSM did not answer within its deadline; whether it carried the operation out is not known.
    public static let timedOut = Code("hsm_timeout")
    /// The token has no room for a session or an object.
    public static let full = Code("hsm_full")
    /// A ciphertext or its context is not what was encrypted.
    public static let notAuthentic = Code("not_authentic")
    /// A key on the token is another one than it was.
    public static let keyChanged = Code("key_changed")
    /// The key in this slot was replaced, or is being replaced: it is not the one that the caller expects.
    public static let keyReplaced = Code("key_replaced")
    /// The token hands out what it unwraps.
    public static let hostileUnwrap = Code("hostile_unwrap")
    /// The module answered with an error that fits no other code.
    public static let failed = Code("hsm_failed")
  }

  /// The reason.
  public let code: Code
  /// What happened and what to do about it; never a secret.
  public let message: String
  /// Where the error was made.
  public let file: String
  /// The line in ``file``.
  public let line: UInt

  /// Makes an error.
  public init(_ code: Code, _ message: String, file: String = #fileID, line: UInt = #line) {
    self.code = code
    self.message = message
    self.file = file
    self.line = line
  }

  /// A key that is not the expected one.
  public init(replaced key: KeyName, file: String = #fileID, line: UInt = #line) {
    self.init(
      .keyReplaced, "\(key) is not the key that was expected: it was replaced; read its public key again", file: file,
      line: line)
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Errors are equal when their codes are.
  public static func == (a: CustodyError, b: CustodyError) -> Bool { a.code == b.code }
}
