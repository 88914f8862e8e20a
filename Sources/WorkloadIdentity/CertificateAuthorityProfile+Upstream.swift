public import KeyHierarchy
public import Wire
import SwiftASN1
import X509

extension CertificateAuthorityProfile {
  /// What somebody else's authority made of our request, once it was checked.
  public struct Upstream: Sendable {
    /// Our issuing authority's certificate and those up to the root, without it, each DER; empty where ours is itself a
    /// root.
    public let chain: [[UInt8]]
    /// The root, DER.
    public let root: [UInt8]
  }

  /// Checks a chain for our issuing key: the key is ours, everything in it is an authority by the standards, it leads to a
  /// given root now, and neither its own SPIFFE ID nor a name constraint keeps it from this trust domain.
  /// - Parameters:
  ///   - chain: our issuing authority's certificate first; 1 to ``UnverifiedX509SVID/maximumCertificates``, each DER.
  ///   - key: our issuing key.
  ///   - roots: those that the other authority published, each DER.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority``.
  public func checkUpstream(
    chain: [[UInt8]], key: CustodyPublicKey, roots: [[UInt8]], now: Timestamp
  ) async throws(SPIFFEError) -> Upstream {
    guard (1...UnverifiedX509SVID.maximumCertificates).contains(chain.count) else {
      throw SPIFFEError(.authority, "length: a chain has 1 to \(UnverifiedX509SVID.maximumCertificates) certificates")
    }
    var certificates: [X509Certificate] = []
    for der in chain {
      let certificate = try X509Certificate(der, .authority)
      if !roots.contains(der) { try X509Lint.check(certificate, as: .authority, .authority) }
      certificates.append(certificate)
    }
    let own = certificates[0]
    guard own.spki == (try X509SigningKey.spki(key)) else {
      throw SPIFFEError(.authority, "key: the first certificate is not of our issuing key: have our request signed")
    }
    guard own.isAuthority, own.keyUsage?.keyCertSign == true, own.subjectKeyIdentifier != nil else {
      throw SPIFFEError(
        .authority, "key-identifier: our certificate needs CA, keyCertSign and a subject key identifier")
    }
    guard own.uris.isEmpty || own.id == trustDomain.id else {
      throw SPIFFEError(.authority, "trust-domain: our certificate has the SPIFFE ID of something else")
    }
    let path = try await X509Path(
      leaf: own, others: Array(certificates.dropFirst()), roots: roots, now: now, code: .authority)
    // Ours was the path's end; once it issues it counts itself (RFC 5280 section 4.2.1.9).
    for (authoritiesBelow, certificate) in (path.below + [path.root]).enumerated() {
      if case .isCertificateAuthority(maxPathLength: let longest?) = certificate.constraints, longest < authoritiesBelow
      {
        throw SPIFFEError(.authority, "path-length: an authority above us allows none below: ask for a longer path")
      }
    }
    for certificate in path.below + [path.root] where !Self.permits(certificate, trustDomain.name) {
      throw SPIFFEError(.authority, "name-constraints: an authority above us may not certify '\(trustDomain)'")
    }
    return Upstream(chain: path.below.map(\.der), root: path.root.der)
  }

  /// RFC 5280 section 4.2.1.10 for the host of a URI. Who permits is taken at its word, a host or, with a leading dot, what
  /// is below; who excludes is taken to mean the host and what is below: readers differ, and the narrower one counts.
  private static func permits(_ certificate: X509Certificate, _ host: String) -> Bool {
    guard let constraints = try? certificate.parsed.extensions.nameConstraints else {
      return certificate.isCritical(.X509ExtensionID.nameConstraints) == nil
    }
    let permitted = constraints.permittedURIDomains.map { $0.lowercased() }
    let excluded = constraints.forbiddenURIDomains.map { $0.lowercased() }
    return (permitted.isEmpty || permitted.contains { $0.hasPrefix(".") ? host.hasSuffix($0) : host == $0 })
      && !excluded.contains { $0.isEmpty || host == $0 || host.hasSuffix($0.hasPrefix(".") ? $0 : "." + $0) }
  }
}
