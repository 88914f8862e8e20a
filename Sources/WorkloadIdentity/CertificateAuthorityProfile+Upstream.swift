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

  /// Checks a chain for our issuing key: the key is ours and can do what an authority's has to, its subject is its own,
  /// everything in it is an authority by the standards, it leads to its last certificate now and that is a root, and
  /// neither its own SPIFFE ID nor a name constraint keeps it from this trust domain.
  /// - Parameters:
  ///   - chain: our issuing authority's certificate first, the root last; 1 to
  ///     ``UnverifiedX509SVID/maximumCertificates``, each DER.
  ///   - key: our issuing key.
  ///   - others: the certificates of our other authorities, each DER.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority``.
  public func checkUpstream(
    chain: [[UInt8]], key: CustodyPublicKey, others: [[UInt8]] = [], now: Timestamp
  ) async throws(SPIFFEError) -> Upstream {
    guard (1...UnverifiedX509SVID.maximumCertificates).contains(chain.count), let last = chain.last else {
      throw SPIFFEError(.authority, "length: a chain has 1 to \(UnverifiedX509SVID.maximumCertificates) certificates")
    }
    var certificates: [X509Certificate] = []
    for der in chain {
      let certificate = try X509Certificate(der, .authority)
      if der != last { try X509Lint.check(certificate, as: .authority, .authority) }
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
    guard own.keyUsage?.cRLSign == true else {
      throw SPIFFEError(.authority, "crl-sign: our certificate's key usage needs cRLSign: we sign revocation lists")
    }
    for der in chain.dropFirst() + others {
      guard try X509Certificate(der, .authority).subject != own.subject else {
        throw SPIFFEError(.authority, "subject: another authority has our certificate's subject: have it named for us")
      }
    }
    guard certificates.last?.isRoot == true else {
      throw SPIFFEError(.authority, "root: the last certificate is no root: add its issuers up to the root")
    }
    guard own.uris.isEmpty || own.id == trustDomain.id else {
      throw SPIFFEError(.authority, "trust-domain: our certificate has the SPIFFE ID of something else")
    }
    let path = try await X509Path(
      leaf: own, others: Array(certificates.dropFirst()), roots: [last], now: now, code: .authority)
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

extension X509Certificate {
  /// Whether it names itself as its issuer, and its own key signed it.
  var isRoot: Bool { isSelfIssued && parsed.publicKey.isValidSignature(parsed.signature, for: parsed) }
}
