public import KeyHierarchy
import X509

/// A key that signs certificates, wherever it is kept.
public struct X509SigningKey: Sendable {
  /// How it signs.
  public enum Algorithm: Sendable {
    /// ECDSA on P-256 with SHA-256.
    case ecdsaP256
    /// ECDSA on P-384 with SHA-384.
    case ecdsaP384

    /// The AlgorithmIdentifier, DER (RFC 5758 section 3.2).
    var identifier: [UInt8] {
      switch self {
      case .ecdsaP256: CertificateDER.ecdsaWithSHA256
      case .ecdsaP384: CertificateDER.ecdsaWithSHA384
      }
    }

    /// The bytes of r ‖ s.
    var signatureBytes: Int {
      switch self {
      case .ecdsaP256: 64
      case .ecdsaP384: 96
      }
    }
  }

  /// How it signs.
  public let algorithm: Algorithm
  /// The SubjectPublicKeyInfo, DER.
  public let spki: [UInt8]
  private let sign: @Sendable ([UInt8]) async throws -> [UInt8]

  /// Describes a key.
  /// - Parameters:
  ///   - publicKey: its public half, of ECDSA on P-256 or P-384.
  ///   - sign: hashes and signs a message; r ‖ s as ``KeyHierarchy/KeyCustodian`` gives it.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority`` for another algorithm or a point of another length.
  public init(
    _ publicKey: CustodyPublicKey, sign: @escaping @Sendable ([UInt8]) async throws -> [UInt8]
  ) throws(SPIFFEError) {
    spki = try Self.spki(publicKey)
    algorithm = publicKey.algorithm == .ecdsaP384 ? .ecdsaP384 : .ecdsaP256
    self.sign = sign
  }

  /// A public key as SubjectPublicKeyInfo, DER.
  /// - Throws: As ``init(_:sign:)``.
  public static func spki(_ key: CustodyPublicKey) throws(SPIFFEError) -> [UInt8] {
    let prefix: [UInt8]
    switch (key.algorithm, key.bytes.count) {
    case (.ecdsaP256, 65): prefix = CertificateDER.p256Key
    case (.ecdsaP384, 97): prefix = CertificateDER.p384Key
    default: throw SPIFFEError(.authority, "\(key.algorithm.rawValue) cannot be an authority's key: use P-256 or P-384")
    }
    return prefix + key.bytes
  }

  /// Signs and puts the signature into DER.
  /// - Throws: what the key's keeper throws, and ``SPIFFEError/Code-swift.struct/authority`` for a signature of another
  ///   length.
  func signature(over message: [UInt8]) async throws -> [UInt8] {
    let raw = try await sign(message)
    guard raw.count == algorithm.signatureBytes else {
      throw SPIFFEError(
        .authority, "the signature has \(raw.count) bytes, not \(algorithm.signatureBytes): check the HSM")
    }
    return CertificateDER.ecdsaSignature(raw)
  }
}

/// An authority that signs: its certificate and its key.
public struct X509Signer: Sendable {
  let certificate: X509Certificate
  /// The key.
  public let key: X509SigningKey

  /// The certificate, DER.
  public var der: [UInt8] { certificate.der }
  /// The issuer's name as what it signs carries it, DER.
  public var subject: [UInt8] { certificate.subject }
  /// The identifier of its key.
  let keyIdentifier: [UInt8]

  /// Joins a certificate and its key.
  /// - Parameter certificate: DER, of an authority with a subject key identifier.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority`` where the certificate is no authority's or not of this key.
  public init(certificate der: [UInt8], key: X509SigningKey) throws(SPIFFEError) {
    certificate = try X509Certificate(der, .authority)
    self.key = key
    guard certificate.spki == key.spki else {
      throw SPIFFEError(.authority, "the certificate is of another key than the one that signs")
    }
    guard certificate.isAuthority, certificate.keyUsage?.keyCertSign == true, let id = certificate.subjectKeyIdentifier
    else {
      throw SPIFFEError(.authority, "the certificate is no authority's: it needs CA, keyCertSign and a key identifier")
    }
    keyIdentifier = id
  }
}
