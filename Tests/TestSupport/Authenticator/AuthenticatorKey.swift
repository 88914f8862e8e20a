import COSE
import Crypto
import CryptoExtras
import Wire
import X509

/// A private key of an authenticator or of an attestation authority.
struct AuthenticatorKey: Sendable {
  /// Kinds by their COSE algorithm; the larger curves are for attestation alone.
  enum Kind: Int, Sendable, CaseIterable {
    case es256 = -7
    case edDSA = -8
    case rs256 = -257
    case es384 = -35
    case es512 = -36
  }

  private enum Material: Sendable {
    case p256(P256.Signing.PrivateKey)
    case p384(P384.Signing.PrivateKey)
    case p521(P521.Signing.PrivateKey)
    case ed25519(Curve25519.Signing.PrivateKey)
    case rsa(_RSA.Signing.PrivateKey)
  }

  let kind: Kind
  private let material: Material

  init(_ kind: Kind, random: any RandomSource) throws {
    self.kind = kind
    switch kind {
    case .es256: material = .p256(try Self.drawn { try .init(rawRepresentation: random.bytes(32)) })
    case .es384: material = .p384(try Self.drawn { try .init(rawRepresentation: random.bytes(48)) })
    case .es512:
      // P-521's scalars have 521 bits in 66 bytes.
      material = .p521(try Self.drawn { try .init(rawRepresentation: [0] + random.bytes(65)) })
    case .edDSA: material = .ed25519(try .init(rawRepresentation: random.bytes(32)))
    case .rs256: material = .rsa(try .init(keySize: .bits2048))
    }
  }

  /// A scalar above the curve's order is drawn again.
  private static func drawn<Key>(_ draw: () throws -> Key) throws -> Key {
    for _ in 0..<8 { if let key = try? draw() { return key } }
    return try draw()
  }

  /// The public half as a COSE_Key.
  var publicKey: CBOR {
    let algorithm = CBOR(kind.rawValue)
    func point(_ curve: CBOR, _ raw: [UInt8]) -> CBOR {
      let half = raw.count / 2
      return [1: 2, 3: algorithm, -1: curve, -2: .bytes(Array(raw[..<half])), -3: .bytes(Array(raw[half...]))]
    }
    switch material {
    case .p256(let key): return point(1, Array(key.publicKey.rawRepresentation))
    case .p384(let key): return point(2, Array(key.publicKey.rawRepresentation))
    case .p521(let key): return point(3, Array(key.publicKey.rawRepresentation))
    case .ed25519(let key): return [1: 1, 3: algorithm, -1: 6, -2: .bytes(Array(key.publicKey.rawRepresentation))]
    case .rsa(let key):
      guard let numbers = try? key.publicKey.getKeyPrimitives() else { return .null }
      return [1: 3, 3: algorithm, -1: .bytes(Array(numbers.modulus)), -2: .bytes(Array(numbers.publicExponent))]
    }
  }

  /// Signs as WebAuthn has it: ECDSA in DER.
  func sign(_ message: [UInt8]) throws -> [UInt8] {
    switch material {
    case .p256(let key): Array(try key.signature(for: message).derRepresentation)
    case .p384(let key): Array(try key.signature(for: message).derRepresentation)
    case .p521(let key): Array(try key.signature(for: message).derRepresentation)
    case .ed25519(let key): Array(try key.signature(for: message))
    case .rsa(let key):
      Array(try key.signature(for: SHA256.hash(data: message), padding: .insecurePKCS1v1_5).rawRepresentation)
    }
  }

  /// The key for signing certificates.
  var certificateKey: Certificate.PrivateKey {
    switch material {
    case .p256(let key): Certificate.PrivateKey(key)
    case .p384(let key): Certificate.PrivateKey(key)
    case .p521(let key): Certificate.PrivateKey(key)
    case .ed25519(let key): Certificate.PrivateKey(key)
    case .rsa(let key): Certificate.PrivateKey(key)
    }
  }

  /// What it signs certificates with.
  var certificateAlgorithm: Certificate.SignatureAlgorithm {
    switch kind {
    case .es256: .ecdsaWithSHA256
    case .es384: .ecdsaWithSHA384
    case .es512: .ecdsaWithSHA512
    case .edDSA: .ed25519
    case .rs256: .sha256WithRSAEncryption
    }
  }
}
