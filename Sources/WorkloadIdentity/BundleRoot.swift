import Crypto
import JOSE
import SwiftASN1
import X509

/// A certificate of a bundle with its public key, which the bundle's JWK must equal (RFC 7517 section 4.7).
struct BundleRoot: Sendable, Equatable {
  let der: [UInt8]
  let key: VerificationKey

  /// The most bytes of a certificate.
  static let maximumBytes = 65_536

  init(der: [UInt8]) throws(SPIFFEError) {
    guard der.count <= Self.maximumBytes else {
      throw SPIFFEError(.bundle, "a certificate of the bundle has more than \(Self.maximumBytes) bytes")
    }
    do {
      key = try Self.key(try Certificate(derEncoded: der).publicKey)
    } catch {
      throw SPIFFEError(.bundle, "a certificate of the bundle cannot be read: it must be DER, with a key of RSA or EC")
    }
    self.der = der
  }

  private static func key(_ key: Certificate.PublicKey) throws -> VerificationKey {
    func ellipticCurve(_ curve: VerificationKey.Curve, _ point: some Sequence<UInt8>) throws(JOSEError)
      -> VerificationKey
    {
      let bytes = Array(point)
      return try VerificationKey(
        curve: curve, x: Array(bytes.prefix(bytes.count / 2)), y: Array(bytes.suffix(bytes.count / 2)))
    }
    if let point = P256.Signing.PublicKey(key) { return try ellipticCurve(.p256, point.rawRepresentation) }
    if let point = P384.Signing.PublicKey(key) { return try ellipticCurve(.p384, point.rawRepresentation) }
    if let point = P521.Signing.PublicKey(key) { return try ellipticCurve(.p521, point.rawRepresentation) }
    if let bytes = Curve25519.Signing.PublicKey(key) {
      return try VerificationKey(ed25519: Array(bytes.rawRepresentation))
    }
    // RSAPublicKey (RFC 8017 appendix A.1.1): modulus and exponent.
    let (modulus, exponent) = try DER.sequence(
      try DER.parse(key.subjectPublicKeyInfoBytes), identifier: .sequence
    ) { nodes in (try ArraySlice<UInt8>(derEncoded: &nodes), try ArraySlice<UInt8>(derEncoded: &nodes)) }
    return try VerificationKey(
      rsaModulus: Array(modulus.drop { $0 == 0 }), exponent: Array(exponent.drop { $0 == 0 }))
  }
}
