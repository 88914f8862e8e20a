import Crypto
import KeyHierarchy
import PKCS11

/// A key made in memory, for test tokens that have the same keys. It is on the heap: it must never be of worth.
struct DevelopmentKey: Sendable {
  private let name: KeyName
  private let id: [UInt8]
  /// The secret, the scalar or the seed.
  private let value: [UInt8]
  /// The public point, for signing keys.
  private let point: [UInt8]

  /// Nil for RSA keys, which are optional: a cluster of test tokens does without.
  init?(_ name: KeyName) {
    func bytes(_ key: SymmetricKey) -> [UInt8] { unsafe key.withUnsafeBytes { unsafe Array($0) } }
    self.name = name
    id = bytes(SymmetricKey(size: .bits128))
    switch name.algorithm {
    case .ecdsaP256:
      let key = P256.Signing.PrivateKey()
      (value, point) = (Array(key.rawRepresentation), Array(key.publicKey.x963Representation))
    case .ecdsaP384:
      let key = P384.Signing.PrivateKey()
      (value, point) = (Array(key.rawRepresentation), Array(key.publicKey.x963Representation))
    case .ed25519:
      let key = Curve25519.Signing.PrivateKey()
      (value, point) = (Array(key.rawRepresentation), Array(key.publicKey.rawRepresentation))
    case .rsa2048: return nil
    case .aes256Wrap, .hmacSHA256: (value, point) = (bytes(SymmetricKey(size: .bits256)), [])
    }
  }

  /// Imports it.
  func create(_ session: borrowing Session) throws(PKCS11Error) {
    let templates = KeyTemplates(name, id: id)
    guard let kind = name.algorithm.pairKind else {
      let type: KeyType = name.algorithm == .aes256Wrap ? .aes : .genericSecret
      _ = try session.createObject(
        templates.secret + [.objectClass(.secretKey), .keyType(type), .bytes(.value, value)])
      return
    }
    let pair: [Attribute] = [
      .keyType(name.algorithm == .ed25519 ? .edwards : .ec), .bytes(.ecParameters, kind.parameters),
    ]
    _ = try session.createObject(
      templates.privateHalf + pair + [.objectClass(.privateKey), .bytes(.value, value)])
    // CKA_EC_POINT is the point in an OCTET STRING (PKCS#11 2.40, section 2.3.3).
    _ = try session.createObject(
      templates.publicHalf + pair
        + [.objectClass(.publicKey), .bytes(.ecPoint, [0x04, UInt8(point.count)] + point)])
  }
}
