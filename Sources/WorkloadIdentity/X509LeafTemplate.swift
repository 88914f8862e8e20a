public import Wire

/// Issues the certificates of one workload: all that its certificates have in common is encoded once, and serial number,
/// validity and key are put between, so that the HSM's signature is what an issue costs.
///
/// The profile, where the standards leave a choice:
/// - The subject is empty and the SAN critical (RFC 5280 section 4.1.2.6, X509-SVID section 3.1). OpenSSL's strict
///   verification, Go, Envoy and webpki accept that with DNS names or without, and no name beside the SPIFFE ID can be
///   mistaken for an identity.
/// - Basic constraints are stated, critical and empty, though they could be absent: X509-SVID section 4.1 wants `cA` to be
///   false, and some verifiers take absence for a certificate of version 1.
/// - Extended key usage is there and not critical, as Web PKI has it.
/// - The subject key identifier is there (RFC 5280 section 4.2.1.2: SHOULD), the authority's by key alone.
public struct X509LeafTemplate: Sendable {
  /// Who signs.
  public let issuer: X509Signer
  /// The identity.
  public let id: SPIFFEID
  /// The DNS names beside it.
  public let dnsNames: [String]
  private let layout: CertificateLayout

  /// How far before its issue a certificate begins, in seconds: clocks differ.
  public static let backdating: Int64 = 10
  /// The most DNS names.
  public static let maximumDNSNames = 32
  /// The most bytes of a CRL's address.
  public static let maximumAddressBytes = 2048

  /// An issued certificate.
  public struct Leaf: Sendable {
    /// The certificate, DER.
    public let certificate: [UInt8]
    /// Its serial number.
    public let serial: X509SerialNumber
    /// The last second of its validity.
    public let notAfter: Timestamp
  }

  /// Lays the certificates of a workload out.
  /// - Parameters:
  ///   - id: has a path, and the trust domain of the issuer's own SPIFFE ID where that has one.
  ///   - dnsNames: at most ``maximumDNSNames``, lower case, with `*.` at most in front.
  ///   - crl: where the issuer's CRL is, an `http` or `https` URL.
  /// - Throws: ``SPIFFEError/Code-swift.struct/id``, ``SPIFFEError/Code-swift.struct/entry`` for a bad DNS name or URL, or
  ///   ``SPIFFEError/Code-swift.struct/authority`` for an issuer of another trust domain.
  public init(issuer: X509Signer, id: SPIFFEID, dnsNames: [String] = [], crl: String? = nil) throws(SPIFFEError) {
    guard !id.path.isEmpty else { throw SPIFFEError(.id, "a workload's SPIFFE ID has a path: '\(id)' has none") }
    if let authority = issuer.certificate.id, authority.trustDomain != id.trustDomain {
      throw SPIFFEError(.authority, "the issuer is of '\(authority.trustDomain)' and cannot issue '\(id)'")
    }
    guard dnsNames.count <= Self.maximumDNSNames, dnsNames.allSatisfy(DNSName.isValid) else {
      throw SPIFFEError(.entry, "there are at most \(Self.maximumDNSNames) DNS names, each as RFC 1123 has it")
    }
    if let crl {
      guard crl.hasPrefix("http://") || crl.hasPrefix("https://"), crl.utf8.count <= Self.maximumAddressBytes,
        crl.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
      else { throw SPIFFEError(.entry, "a CRL's address is an http or https URL of printable ASCII") }
    }
    (self.issuer, self.id, self.dnsNames) = (issuer, id, dnsNames)
    layout = CertificateLayout(
      algorithm: issuer.key.algorithm, issuer: issuer.subject, subject: CertificateDER.sequence(),
      extensions: [
        CertificateDER.authorityKeyIdentifier(issuer.keyIdentifier), CertificateDER.leafKeyUsage,
        CertificateDER.leafConstraints, CertificateDER.leafExtendedKeyUsage,
        CertificateDER.subjectAlternativeName(id, dnsNames: dnsNames, critical: true),
      ] + (crl.map { [CertificateDER.distributionPoint($0)] } ?? []))
  }

  /// The TBSCertificate, DER, which is what the issuer signs.
  /// - Parameter spki: a SubjectPublicKeyInfo that was made or verified here.
  public func tbs(
    serial: X509SerialNumber, notBefore: Timestamp, notAfter: Timestamp, spki: [UInt8]
  ) -> [UInt8] {
    layout.tbs(serial: serial, notBefore: notBefore, notAfter: notAfter, spki: spki)
  }

  /// The certificate, DER, of a TBSCertificate and its signature in DER.
  public func certificate(_ tbs: [UInt8], signature: [UInt8]) -> [UInt8] {
    CertificateLayout.signed(tbs, issuer.key.algorithm, signature)
  }

  /// How many bytes of each certificate are copied as they stand; the others are put together anew.
  public var fixedBytes: Int { layout.fixedBytes }

  /// Issues a certificate: one signature.
  /// - Parameters:
  ///   - spki: a SubjectPublicKeyInfo that was made or verified here.
  ///   - lifetime: in seconds; a certificate does not outlive its issuer's.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority`` where the issuer's certificate is not valid at `now`; what the
  ///   signing key throws.
  public func issue(
    spki: [UInt8], now: Timestamp, lifetime: Int64, random: any RandomSource
  ) async throws -> Leaf {
    guard lifetime > 0, issuer.certificate.isValid(at: now) else {
      throw SPIFFEError(.authority, "the issuer's certificate is not valid now: rotate the issuing authority")
    }
    let notAfter = min(now.adding(seconds: lifetime), issuer.certificate.notAfter)
    let serial = X509SerialNumber(from: random)
    let tbs = tbs(
      serial: serial, notBefore: now.adding(seconds: -Self.backdating), notAfter: notAfter, spki: spki)
    let signature = try await issuer.key.signature(over: tbs)
    return Leaf(
      certificate: certificate(tbs, signature: signature), serial: serial,
      notAfter: Timestamp(seconds: notAfter.seconds))
  }
}
