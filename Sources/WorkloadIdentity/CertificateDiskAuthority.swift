import Crypto
import KeyHierarchy
public import SecretMemory
import SwiftASN1
public import Wire
import X509

/// A root whose key lies in a file, at hand for whoever runs a ceremony for one of our issuing authorities. It has no
/// place in the daemon.
public struct DiskAuthority: Sendable {
  private let signer: X509Signer

  /// Joins a root's certificate and its key.
  /// - Parameters:
  ///   - certificate: DER.
  ///   - key: the private key in PEM, of P-256 or P-384: PKCS #8 or an ECPrivateKey.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority``.
  public init(certificate: [UInt8], key: borrowing SecretBytes) throws(SPIFFEError) {
    let text = unsafe key.withUnsafeBytes { bytes in unsafe String(decoding: bytes, as: UTF8.self) }
    let signing: X509SigningKey
    if let key = try? P256.Signing.PrivateKey(pemRepresentation: text) {
      let point = Array(key.publicKey.x963Representation)
      signing = try X509SigningKey(CustodyPublicKey(algorithm: .ecdsaP256, bytes: point)) {
        Array(try key.signature(for: $0).rawRepresentation)
      }
    } else if let key = try? P384.Signing.PrivateKey(pemRepresentation: text) {
      let point = Array(key.publicKey.x963Representation)
      signing = try X509SigningKey(CustodyPublicKey(algorithm: .ecdsaP384, bytes: point)) {
        Array(try key.signature(for: $0).rawRepresentation)
      }
    } else {
      throw SPIFFEError(.authority, "the file holds no private key of P-256 or P-384 in PEM")
    }
    signer = try X509Signer(certificate: certificate, key: signing)
  }

  /// Certifies the key of a request as an issuing authority, for a year or until the root ends.
  /// - Parameter request: what `trustcore ca request` gives, DER; its signature proves that the key is there.
  /// - Returns: the chain to import: the authority's certificate and the root, each DER.
  /// - Throws: ``SPIFFEError/Code-swift.struct/request``, or as ``CertificateAuthorityProfile`` does.
  public func chain(
    for request: [UInt8], trustDomain: TrustDomain, now: Timestamp, random: any RandomSource
  ) async throws -> [[UInt8]] {
    guard let asked = try? CertificateSigningRequest(derEncoded: request),
      asked.publicKey.isValidSignature(asked.signature, for: asked),
      let key = P256.Signing.PublicKey(asked.publicKey)
    else { throw SPIFFEError(.request, "this is no request of an issuing authority, or its signature is wrong") }
    let profile = try CertificateAuthorityProfile(trustDomain: trustDomain, name: "TrustCore")
    let certificate = try await profile.issuing(
      key: CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(key.x963Representation)), signedBy: signer,
      validity: .init(notBefore: now.adding(seconds: -60), notAfter: now.adding(seconds: 365 * 86_400)), random: random)
    return [certificate, signer.der]
  }
}
