import COSE
import Crypto
public import JOSE
import Wire

/// A credential that was registered: what an assertion is verified against.
public struct Credential: Sendable, Equatable {
  /// The credential's identifier; 1 to 1023 bytes.
  public let id: [UInt8]
  /// The person who holds it: the user handle of the ceremony, as text.
  public let person: String
  /// What it is for.
  public let purpose: CredentialPurpose
  /// The public key as a COSE_Key, as it came in the authenticator data.
  public let publicKey: [UInt8]
  /// The signature counter last seen.
  public var signCount: UInt32
  /// The authenticator's model; 16 bytes.
  public let aaguid: [UInt8]
  /// BE: whether the credential may be backed up. Never changes.
  public let backupEligible: Bool
  /// BS as last seen: whether the credential is backed up.
  public var backupState: Bool
  /// The leaf that recorded the enrolment.
  public let enrolmentIndex: UInt64

  /// A credential as it was stored.
  public init(
    id: [UInt8], person: String, purpose: CredentialPurpose, publicKey: [UInt8], signCount: UInt32, aaguid: [UInt8],
    backupEligible: Bool, backupState: Bool, enrolmentIndex: UInt64
  ) {
    self.id = id
    self.person = person
    self.purpose = purpose
    self.publicKey = publicKey
    self.signCount = signCount
    self.aaguid = aaguid
    self.backupEligible = backupEligible
    self.backupState = backupState
    self.enrolmentIndex = enrolmentIndex
  }

  /// The public key as a JWK, with its algorithm; made again at each call.
  /// - Throws: ``CosignError`` where the stored bytes are no key that is accepted.
  public func jwk() throws(CosignError) -> JWK {
    let key = try COSEKey(credential: publicKey)
    return try loading { () throws(JOSEError) in
      switch key.material {
      case .p256(let x, let y): JWK(try VerificationKey(curve: .p256, x: x, y: y), algorithm: .es256)
      case .ed25519(let x): JWK(try VerificationKey(ed25519: x), algorithm: .edDSA)
      case .rsa(let n, let e): JWK(try VerificationKey(rsaModulus: n, exponent: e), algorithm: .rs256)
      }
    }
  }
}

/// A credential's public key, ready to verify.
struct CredentialKey {
  let algorithm: COSEAlgorithm
  private let material: VerificationKey.Material

  init(_ encoded: [UInt8]) throws(CosignError) {
    let key = try COSEKey(credential: encoded)
    algorithm = key.algorithm
    material = try loading { () throws(JOSEError) in
      switch key.material {
      case .p256(let x, let y): try VerificationKey.Material(curve: .p256, x: x, y: y)
      case .ed25519(let x): try VerificationKey.Material(ed25519: x)
      case .rsa(let n, let e): try VerificationKey.Material(rsaModulus: n, exponent: e)
      }
    }
  }

  /// Verifies a signature in WebAuthn's form (section 6.5.5): DER for ECDSA, RFC 8032's and PKCS #1's own for the others.
  func verify(signature: [UInt8], message: [UInt8]) throws(CosignError) {
    let holds: Bool
    switch material {
    case .p256(let key):
      holds =
        (try? P256.Signing.ECDSASignature(derRepresentation: signature)).map { key.isValidSignature($0, for: message) }
        ?? false
    case .rsa: holds = (try? material.verify(signature: signature, message: message, algorithm: .rs256)) != nil
    default: holds = (try? material.verify(signature: signature, message: message, algorithm: .edDSA)) != nil
    }
    guard holds else {
      throw CosignError(.signature, "the signature does not verify; sign with the credential that was asked for")
    }
  }
}

extension COSEKey {
  fileprivate init(credential encoded: [UInt8]) throws(CosignError) {
    self = try decoding { () throws(COSEError) in try COSEKey(encoded: encoded) }
  }
}

/// Runs a step that loads a key into its library.
private func loading<Value>(_ body: () throws(JOSEError) -> Value) throws(CosignError) -> Value {
  do { return try body() } catch {
    throw CosignError(error.code == .unsupportedKey ? .algorithm : .malformed, error.description)
  }
}
