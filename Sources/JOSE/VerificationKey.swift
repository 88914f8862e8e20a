package import Crypto
package import CryptoExtras
public import KeyHierarchy
public import Wire

/// A public key that signatures are verified with. Making one checks it: points lie on their curve, RSA moduli are
/// long enough, weak keys are refused.
public struct VerificationKey: Sendable, Hashable {
  /// A checked key as its library holds it, without what names it: for callers that verify once and need no thumbprint.
  package enum Material: Sendable {
    case p256(P256.Signing.PublicKey)
    case p384(P384.Signing.PublicKey)
    case p521(P521.Signing.PublicKey)
    case ed25519(Curve25519.Signing.PublicKey)
    case rsa(_RSA.Signing.PublicKey)
  }

  let material: Material
  /// The members that RFC 7638 section 3.2 and RFC 8037 section 2 require of the key's JWK, and no others.
  public let requiredMembers: JSONObject
  /// RFC 7638's thumbprint with SHA-256, in base64url: 43 characters.
  public let thumbprint: String

  init(_ material: Material, _ requiredMembers: JSONObject) {
    self.material = material
    self.requiredMembers = requiredMembers
    // RFC 7638 section 3.3's form, names sorted and no white space, is RFC 8785's for these members.
    thumbprint = Base64.URL.encode(Array(SHA256.hash(data: JSONValue.object(requiredMembers).canonical())))
  }

  /// The key of a custodian.
  /// - Throws: ``JOSEError/Code-swift.struct/unsupportedKey`` for keys that do not sign, and
  ///   ``JOSEError/Code-swift.struct/malformedKey`` for bytes that are no key.
  public init(custody key: CustodyPublicKey) throws(JOSEError) {
    switch key.algorithm {
    case .ecdsaP256: try self.init(curve: .p256, uncompressed: key.bytes)
    case .ecdsaP384: try self.init(curve: .p384, uncompressed: key.bytes)
    case .ed25519: try self.init(ed25519: key.bytes)
    case .rsa2048:
      guard let modulus = key.rsaModulus else {
        throw JOSEError(.malformedKey, "an RSA key must be an RSAPublicKey in DER with 2048 bits and exponent 65537")
      }
      try self.init(rsaModulus: modulus, exponent: CustodyPublicKey.rsaExponent)
    case .aes256Wrap, .hmacSHA256:
      throw JOSEError(.unsupportedKey, "\(key.algorithm.rawValue) keys have no public half; name a signing key")
    }
  }

  /// The algorithms that the key can verify, the preferred one first.
  public var algorithms: [JWSAlgorithm] {
    switch material {
    case .p256: [.es256]
    case .p384: [.es384]
    case .p521: [.es512]
    case .ed25519: [.edDSA]
    case .rsa: [.ps512, .ps384, .ps256, .rs256, .rs384, .rs512]
    }
  }

  /// Verifies a signature.
  /// - Parameters:
  ///   - signature: ECDSA: r ‖ s, each as long as the curve's order (RFC 7518 section 3.4). EdDSA: 64 bytes.
  ///     RSA: as long as the modulus.
  ///   - message: the bytes signed, not their hash.
  ///   - algorithm: must be one of ``algorithms``.
  /// - Throws: ``JOSEError/Code-swift.struct/keyMismatch`` or ``JOSEError/Code-swift.struct/signatureInvalid``.
  public func verify(signature: [UInt8], message: [UInt8], algorithm: JWSAlgorithm) throws(JOSEError) {
    try material.verify(signature: signature, message: message, algorithm: algorithm)
  }

  /// Keys are equal when their thumbprints are.
  public static func == (a: VerificationKey, b: VerificationKey) -> Bool { a.thumbprint == b.thumbprint }

  /// Hashes the thumbprint.
  public func hash(into hasher: inout Hasher) { hasher.combine(thumbprint) }
}

extension VerificationKey.Material {
  /// As ``VerificationKey/verify(signature:message:algorithm:)``.
  package func verify(signature: [UInt8], message: [UInt8], algorithm: JWSAlgorithm) throws(JOSEError) {
    let holds: Bool
    switch (self, algorithm) {
    case (.p256(let key), .es256):
      holds =
        (try? P256.Signing.ECDSASignature(rawRepresentation: signature)).map { key.isValidSignature($0, for: message) }
        ?? false
    case (.p384(let key), .es384):
      holds =
        (try? P384.Signing.ECDSASignature(rawRepresentation: signature)).map { key.isValidSignature($0, for: message) }
        ?? false
    case (.p521(let key), .es512):
      holds =
        (try? P521.Signing.ECDSASignature(rawRepresentation: signature)).map { key.isValidSignature($0, for: message) }
        ?? false
    case (.ed25519(let key), .edDSA):
      holds = key.isValidSignature(signature, for: message)
    case (.rsa(let key), .rs256): holds = Self.verify(key, signature, SHA256.hash(data: message), .insecurePKCS1v1_5)
    case (.rsa(let key), .rs384): holds = Self.verify(key, signature, SHA384.hash(data: message), .insecurePKCS1v1_5)
    case (.rsa(let key), .rs512): holds = Self.verify(key, signature, SHA512.hash(data: message), .insecurePKCS1v1_5)
    case (.rsa(let key), .ps256): holds = Self.verify(key, signature, SHA256.hash(data: message), .PSS)
    case (.rsa(let key), .ps384): holds = Self.verify(key, signature, SHA384.hash(data: message), .PSS)
    case (.rsa(let key), .ps512): holds = Self.verify(key, signature, SHA512.hash(data: message), .PSS)
    default:
      throw JOSEError(.keyMismatch, "the key cannot verify \(algorithm.rawValue); use one of its own algorithms")
    }
    guard holds else {
      throw JOSEError(.signatureInvalid, "the signature does not verify; sign exactly the bytes sent, with this key")
    }
  }

  private static func verify(
    _ key: _RSA.Signing.PublicKey, _ signature: [UInt8], _ digest: some Digest, _ padding: _RSA.Signing.Padding
  ) -> Bool {
    // BoringSSL demands the modulus's exact length for PSS and PKCS #1 alike; asked here so that it need not be.
    signature.count == (key.keySizeInBits + 7) / 8
      && key.isValidSignature(_RSA.Signing.RSASignature(rawRepresentation: signature), for: digest, padding: padding)
  }
}
