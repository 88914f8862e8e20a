public import Wire

/// Certificates that somebody calls an X.509-SVID: the leaf first, then its issuers in any order.
public struct UnverifiedX509SVID: Sendable {
  let certificates: [X509Certificate]

  /// The leaf's serial number, as it says.
  public var unverifiedSerial: [UInt8] { certificates[0].serial }

  /// The most certificates.
  public static let maximumCertificates = 8

  /// Reads them. Nothing of it is trusted yet, not even the identity.
  /// - Parameter chain: 1 to ``maximumCertificates`` certificates, each DER of at most 64 KiB.
  /// - Throws: ``SPIFFEError/Code-swift.struct/x509SVID``.
  public init(chain: [[UInt8]]) throws(SPIFFEError) {
    guard (1...Self.maximumCertificates).contains(chain.count) else {
      throw SPIFFEError(.x509SVID, "length: an X.509-SVID has 1 to \(Self.maximumCertificates) certificates")
    }
    var certificates: [X509Certificate] = []
    for der in chain { certificates.append(try X509Certificate(der, .x509SVID)) }
    self.certificates = certificates
  }

  /// Verifies by X509-SVID sections 4 and 5 and by RFC 5280 section 6, against the bundle of the leaf's own trust domain
  /// and no other.
  ///
  /// The message of an error begins with the id of the ``X509Rule`` that is broken, or with `der`, `length`, `validity`,
  /// `repeated`, `path`, `crl` or `revoked`.
  /// - Parameters:
  ///   - bundle: the roots of a trust domain, each DER; nil where there is no bundle of it.
  ///   - crls: DER. A list counts for those of the path's certificates whose issuer signed it, and has to be current;
  ///     certificates without a list are not revoked.
  /// - Throws: ``SPIFFEError/Code-swift.struct/x509SVID``; ``SPIFFEError/Code-swift.struct/untrusted`` without a bundle.
  public func verified(
    bundle: (TrustDomain) -> [[UInt8]]?, now: Timestamp, crls: [[UInt8]] = []
  ) async throws(SPIFFEError) -> X509SVID {
    let leaf = certificates[0]
    try X509Lint.check(leaf, as: .leaf)
    guard let id = leaf.id else { throw SPIFFEError(.x509SVID, "uri-one: there is exactly one URI SAN") }
    guard let roots = bundle(id.trustDomain) else {
      throw SPIFFEError(.untrusted, "there is no bundle of '\(id.trustDomain)': federate with it first")
    }
    for certificate in certificates.dropFirst() where !roots.contains(certificate.der) {
      try X509Lint.check(certificate, as: .authority)
    }
    let path = try await X509Path(leaf: leaf, others: Array(certificates.dropFirst()), roots: roots, now: now)
    try path.checkRevocation(crls, now: now)
    return X509SVID(id: id, path: path)
  }
}

/// An X.509-SVID that was verified.
public struct X509SVID: Sendable {
  /// The identity.
  public let id: SPIFFEID
  /// The leaf and the issuers up to the root, without it; each DER.
  public let chain: [[UInt8]]
  /// The root of the bundle that it leads to, DER.
  public let root: [UInt8]
  /// The DNS names beside the identity.
  public let dnsNames: [String]
  /// The leaf's serial number.
  public let serial: [UInt8]
  /// The last second at which all of the path is valid.
  public let notAfter: Timestamp
  /// The workload's key: a SubjectPublicKeyInfo, DER.
  public let spki: [UInt8]

  fileprivate init(id: SPIFFEID, path: X509Path) {
    self.id = id
    chain = path.below.map(\.der)
    root = path.root.der
    dnsNames = path.below[0].dnsNames
    serial = path.below[0].serial
    notAfter = (path.below + [path.root]).map(\.notAfter).min() ?? path.root.notAfter
    spki = path.below[0].spki
  }
}
