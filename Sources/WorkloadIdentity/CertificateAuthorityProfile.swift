public import KeyHierarchy
public import Wire
import X509

/// The certificates of a trust domain's own authorities: a root, and issuing authorities below it that sign workloads'
/// certificates. Each is an SVID itself (X509-SVID section 3.2), and each key has a subject of its own: verifiers look
/// issuers up by name, and Go's gives up on many that share one.
public struct CertificateAuthorityProfile: Sendable {
  /// The trust domain.
  public let trustDomain: TrustDomain
  /// What the common names begin with.
  public let name: String

  /// How long a certificate is valid.
  public struct Validity: Sendable {
    /// The first second.
    public let notBefore: Timestamp
    /// The last second.
    public let notAfter: Timestamp
    /// Joins the two.
    public init(notBefore: Timestamp, notAfter: Timestamp) {
      self.notBefore = notBefore
      self.notAfter = notAfter
    }
  }

  /// A profile.
  /// - Parameter name: 1 to 48 bytes without control characters; a common name has at most 64 (RFC 5280 appendix A.1).
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority``.
  public init(trustDomain: TrustDomain, name: String) throws(SPIFFEError) {
    guard (1...48).contains(name.utf8.count), name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
      throw SPIFFEError(.authority, "an authority's name has 1 to 48 bytes and no control characters")
    }
    self.trustDomain = trustDomain
    self.name = name
  }

  /// A self-signed root, with at most one authority below it.
  /// - Returns: DER.
  /// - Throws: what the key throws; ``SPIFFEError/Code-swift.struct/authority`` for a validity that ends before it begins.
  public func root(key: X509SigningKey, validity: Validity, random: any RandomSource) async throws -> [UInt8] {
    let subject = subject("root", key.spki)
    return try await certificate(
      subject, key.spki, issuer: subject, signedBy: key, validity, random,
      extensions: extensions(pathLength: 1))
  }

  /// An issuing authority's certificate, with none below it.
  /// - Parameters:
  ///   - key: the issuing authority's, of P-256 or P-384.
  ///   - root: who signs; the certificate does not outlive the root's.
  /// - Returns: DER.
  /// - Throws: As ``root(key:validity:random:)``, and for a root that is none, is another trust domain's or has no path to
  ///   give.
  public func issuing(
    key: CustodyPublicKey, signedBy root: X509Signer, validity: Validity, random: any RandomSource
  ) async throws -> [UInt8] {
    guard root.certificate.id?.trustDomain ?? trustDomain == trustDomain,
      case .isCertificateAuthority(maxPathLength: let length)? = root.certificate.constraints, length ?? 1 >= 1
    else {
      throw SPIFFEError(.authority, "the root is of another trust domain or allows no authority below it")
    }
    // It would be taken into the bundle, and readers such as OpenSSL accept nothing below what did not sign itself.
    guard root.certificate.isRoot else {
      throw SPIFFEError(
        .authority, "who signs is no root: have the request signed, and import the chain up to the root")
    }
    let spki = try X509SigningKey.spki(key)
    let last = min(validity.notAfter, root.certificate.notAfter)
    return try await certificate(
      subject("issuing", spki), spki, issuer: root.subject, signedBy: root.key,
      Validity(notBefore: validity.notBefore, notAfter: last), random,
      extensions: [CertificateDER.authorityKeyIdentifier(root.keyIdentifier)] + extensions(pathLength: 0))
  }

  /// A request for somebody else's root to sign our issuing authority (PKCS #10, RFC 2986). It asks for what
  /// ``issuing(key:signedBy:validity:random:)`` would give.
  /// - Returns: DER.
  /// - Throws: what the key throws.
  public func request(key: X509SigningKey) async throws -> [UInt8] {
    let wishes = CertificateDER.sequence(of: extensions(pathLength: 0))
    let info = CertificateDER.sequence(
      CertificateDER.version1, subject("issuing", key.spki), key.spki,
      CertificateDER.element(
        0xA0,
        CertificateDER.sequence(
          // extensionRequest of PKCS #9.
          [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x0E], CertificateDER.element(0x31, wishes))))
    return CertificateLayout.signed(info, key.algorithm, try await key.signature(over: info))
  }

  private func subject(_ role: String, _ spki: [UInt8]) -> [UInt8] {
    let id = CertificateLayout.keyIdentifier(spki).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    return CertificateDER.name(commonName: "\(name) \(role)", serialNumber: id)
  }

  private func extensions(pathLength: UInt64) -> [[UInt8]] {
    [
      CertificateDER.authorityConstraints(pathLength: pathLength), CertificateDER.authorityKeyUsage,
      CertificateDER.subjectAlternativeName(trustDomain.id, critical: false),
    ]
  }

  private func certificate(
    _ subject: [UInt8], _ spki: [UInt8], issuer: [UInt8], signedBy key: X509SigningKey, _ validity: Validity,
    _ random: any RandomSource, extensions: [[UInt8]]
  ) async throws -> [UInt8] {
    guard validity.notBefore < validity.notAfter else {
      throw SPIFFEError(.authority, "the authority's validity ends before it begins: renew its issuer first")
    }
    let layout = CertificateLayout(
      algorithm: key.algorithm, issuer: issuer, subject: subject, extensions: extensions)
    let tbs = layout.tbs(
      serial: X509SerialNumber(from: random), notBefore: validity.notBefore, notAfter: validity.notAfter, spki: spki)
    return CertificateLayout.signed(tbs, key.algorithm, try await key.signature(over: tbs))
  }
}
