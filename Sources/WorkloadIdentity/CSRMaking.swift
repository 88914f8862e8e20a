import Crypto
import SecretMemory
import SwiftASN1
import X509

extension WorkloadKeyPair {
  /// A request for a certificate of this key (PKCS #10, RFC 2986), which asks for nothing: who answers knows the
  /// identity.
  /// - Returns: DER.
  /// - Throws: what swift-crypto throws.
  public func request() throws -> [UInt8] {
    let signing = try key.withBytes { bytes in
      // The library's own copy ends with the object.
      try unsafe bytes.withUnsafeBytes { der in try unsafe P256.Signing.PrivateKey(derRepresentation: der) }
    }
    var serializer = DER.Serializer()
    try serializer.serialize(
      CertificateSigningRequest(
        version: .v1, subject: DistinguishedName(), privateKey: Certificate.PrivateKey(signing),
        attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256))
    return serializer.serializedBytes
  }
}
