internal import JOSE
package import KeyHierarchy

extension CustodyPublicKey {
  /// True when swift-crypto, which made neither key nor signature, accepts a custodian's signature.
  package func verifies(_ signature: [UInt8], of message: [UInt8]) throws -> Bool {
    let jwk = try JWK(custody: self)
    guard let algorithm = jwk.algorithm else { return false }
    do throws(JOSEError) { try jwk.key.verify(signature: signature, message: message, algorithm: algorithm) } catch {
      guard error.code == .signatureInvalid else { throw error }
      return false
    }
    return true
  }
}
