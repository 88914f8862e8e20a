import Crypto
import Foundation
import KeyHierarchy
import NIOSSL
import TestSupport
import Wire
import WorkloadIdentity

/// What a server proves itself with.
struct ServerIdentity: Sendable {
  var chain: [[UInt8]]
  let key: P256.Signing.PrivateKey

  /// A server's settings with it.
  func tls() throws -> TLSConfiguration {
    TLSConfiguration.makeServerConfiguration(
      certificateChain: try chain.map { .certificate(try NIOSSLCertificate(bytes: $0, format: .der)) },
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pemRepresentation.utf8), format: .pem)))
  }
}

/// A trust domain with one root and one issuing authority. Its certificates serve as the Web's too.
struct FederationAuthority: Sendable {
  let domain: TrustDomain
  let root: [UInt8]
  private let issuing: X509Signer
  private let random: SeededRandom

  /// When every test of X.509-SVIDs takes place.
  static let now = Timestamp(seconds: 1_800_000_000)

  init(_ name: String = "example.org", seed: UInt64 = 1) async throws {
    domain = try TrustDomain(name)
    random = SeededRandom(seed)
    let profile = try CertificateAuthorityProfile(trustDomain: domain, name: name)
    let validity = CertificateAuthorityProfile.Validity(
      notBefore: Timestamp(seconds: 1_500_000_000), notAfter: Timestamp(seconds: 4_000_000_000))
    let (rootKey, issuingKey) = (P256.Signing.PrivateKey(), P256.Signing.PrivateKey())
    func signing(_ key: P256.Signing.PrivateKey) throws -> X509SigningKey {
      try X509SigningKey(Self.publicKey(key)) { try Array(key.signature(for: $0).rawRepresentation) }
    }
    root = try await profile.root(key: signing(rootKey), validity: validity, random: random)
    let certificate = try await profile.issuing(
      key: Self.publicKey(issuingKey), signedBy: X509Signer(certificate: root, key: signing(rootKey)),
      validity: validity, random: random)
    issuing = try X509Signer(certificate: certificate, key: signing(issuingKey))
  }

  private static func publicKey(_ key: P256.Signing.PrivateKey) -> CustodyPublicKey {
    CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(key.publicKey.x963Representation))
  }

  func id(_ path: String) throws -> SPIFFEID { try SPIFFEID(domain, path: path) }

  /// A server's identity, valid from 2020 to 2051 where nothing else is said.
  func server(
    _ path: String = "/bundle", names: [String] = [], from: Int64 = 1_600_000_000, seconds: Int64 = 1_000_000_000
  ) async throws -> ServerIdentity {
    let key = P256.Signing.PrivateKey()
    let leaf = try await X509LeafTemplate(issuer: issuing, id: try id(path), dnsNames: names)
      .issue(
        spki: Array(key.publicKey.derRepresentation), now: Timestamp(seconds: from), lifetime: seconds, random: random)
    return ServerIdentity(chain: [leaf.certificate, issuing.der], key: key)
  }

  /// The bundle, with the roots of others where given.
  func bundle(
    _ others: FederationAuthority..., sequence: UInt64? = 1, hint: Int64? = 300
  ) throws -> SPIFFEBundle {
    try SPIFFEBundle(
      trustDomain: domain, x509Authorities: [root] + others.map(\.root), jwtAuthorities: [], sequence: sequence,
      refreshHint: hint)
  }
}
