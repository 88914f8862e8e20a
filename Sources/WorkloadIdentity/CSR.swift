import SwiftASN1
import X509

/// A certificate signing request (PKCS #10, RFC 2986) of a workload that keeps its own key; nothing of it is checked yet.
public struct UnverifiedCSR: Sendable {
  private let request: CertificateSigningRequest

  /// The most bytes of a request; one with RSA of 4096 bits and 32 DNS names has about 10,000.
  public static let maximumBytes = 16 << 10

  /// Reads DER.
  ///
  /// Keys are of P-256, P-384 or RSA with 2048 to 4096 bits and exponent 65537: Envoy's TLS library verifies no Ed25519
  /// and no P-521 unless it is told to, so such a certificate would fail later and elsewhere.
  /// - Throws: ``SPIFFEError/Code-swift.struct/request`` for what is too long, no request, of another key, or has an
  ///   attribute twice.
  public init(_ der: [UInt8]) throws(SPIFFEError) {
    guard der.count <= Self.maximumBytes else {
      throw SPIFFEError(.request, "a certificate signing request has at most \(Self.maximumBytes) bytes")
    }
    let malformed = SPIFFEError(
      .request, "the certificate signing request is no PKCS #10 in DER: send it unarmoured")
    guard let (spki, attributes) = try? Self.parts(of: der) else { throw malformed }
    // swift-certificates cannot read other keys at all.
    switch CertificateKeyStrength(spki: spki) {
    case .p256, .p384, .rsa(2048...4096, usualExponent: true): break
    default: throw SPIFFEError(.request, "use a key of P-256, P-384, or RSA with 2048 to 4096 bits and exponent 65537")
    }
    guard let request = try? CertificateSigningRequest(derEncoded: der), request.version == .v1,
      // It keeps the last of two attributes of one type.
      attributes == request.attributes.count
    else { throw malformed }
    self.request = request
  }

  /// The key, DER, and how many attributes there are (RFC 2986 section 4.1).
  private static func parts(of der: [UInt8]) throws -> (spki: [UInt8], attributes: Int) {
    let info = try DER.sequence(DER.parse(der), identifier: .sequence) { nodes in
      let (info, _) = (try nodes.needed(), try nodes.needed())
      // Of the signature; swift-certificates passes over unused bits.
      guard try ASN1BitString(derEncoded: &nodes).paddingBits == 0 else { throw SPIFFEError(.request, "a broken byte") }
      return info
    }
    return try DER.sequence(info, identifier: .sequence) { nodes in
      // Version and subject come before it.
      let (_, _, spki) = (try nodes.needed(), try nodes.needed(), try nodes.needed())
      guard case .constructed(let attributes)? = nodes.next()?.content else { return (Array(spki.encodedBytes), 0) }
      return (Array(spki.encodedBytes), attributes.reduce(0) { count, _ in count + 1 })
    }
  }

  /// Checks that who asks has the key, and that the request asks for nothing that a certificate of this workload would
  /// not have.
  ///
  /// The subject is not looked at, for tools insist on one and certificates here have none; of the attributes, the
  /// requested extensions count and others ask for nothing.
  /// - Parameters:
  ///   - id: the identity that the certificate will have; the request's URI SAN, if any, has to be it.
  ///   - dnsNames: those that it will have; the request's have to be among them.
  /// - Throws: ``SPIFFEError/Code-swift.struct/request``.
  public func verified(for id: SPIFFEID, dnsNames: [String]) throws(SPIFFEError) -> VerifiedCSR {
    var serializer = DER.Serializer()
    guard (try? serializer.serialize(request.publicKey)) != nil else {
      throw SPIFFEError(.request, "the request's key cannot be encoded")
    }
    guard Self.algorithms.contains(request.signatureAlgorithm),
      request.publicKey.isValidSignature(request.signature, for: request)
    else {
      throw SPIFFEError(.request, "the request is not signed by the key in it, with ECDSA or RSA and SHA-2")
    }
    let requested: Certificate.Extensions?
    do { requested = try request.attributes.extensionRequest?.extensions } catch {
      throw SPIFFEError(.request, "the requested extensions are malformed")
    }
    for wish in requested ?? Certificate.Extensions() where !Self.isGiven(wish, id, dnsNames) {
      throw SPIFFEError(
        .request, "the request's extension \(wish.oid) asks for what the entry does not give: leave it out")
    }
    return VerifiedCSR(spki: serializer.serializedBytes)
  }

  private static let algorithms: Set<Certificate.SignatureAlgorithm> = [
    .ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512, .sha256WithRSAEncryption, .sha384WithRSAEncryption,
    .sha512WithRSAEncryption,
  ]

  private static func isGiven(_ wish: Certificate.Extension, _ id: SPIFFEID, _ dnsNames: [String]) -> Bool {
    do {
      switch wish.oid {
      case .X509ExtensionID.subjectAlternativeName:
        let names = try SubjectAlternativeNames(wish)
        return names.filter { if case .uniformResourceIdentifier = $0 { true } else { false } }.count <= 1
          && names.allSatisfy { name in
            switch name {
            case .uniformResourceIdentifier(let text): text == id.description
            case .dnsName(let text): dnsNames.contains(text)
            default: false
            }
          }
      case .X509ExtensionID.basicConstraints: return try BasicConstraints(wish) == .notCertificateAuthority
      case .X509ExtensionID.keyUsage: return try KeyUsage(wish) == KeyUsage(digitalSignature: true)
      case .X509ExtensionID.extendedKeyUsage:
        return try ExtendedKeyUsage(wish).allSatisfy { $0 == .serverAuth || $0 == .clientAuth }
      default: return false
      }
    } catch {
      return false
    }
  }
}

/// A request whose sender has the key, and that asks for nothing but what its certificate will have.
public struct VerifiedCSR: Sendable {
  /// The key: a SubjectPublicKeyInfo, DER.
  public let spki: [UInt8]

  fileprivate init(spki: [UInt8]) { self.spki = spki }
}
