import PKCS11
import TestSupport

/// A faulty module and a session key that signs, on the token `identity`, logged in.
final class Bench: Sendable {
  let hsm: FaultyHSM
  let slot: SlotID
  /// The session that holds the login and owns the keys.
  let session: Session
  /// A P-256 key, private: it needs the login.
  let key: ObjectHandle

  init() throws {
    let hsm = try FaultyHSM()
    let slot = try hsm.module.token(labelled: "identity").slot
    let session = try Session(hsm.module, slot: slot)
    try session.login(.user, pin: try hsm.pin("identity"))
    key = try Self.makeKey(session)
    self.hsm = hsm
    self.slot = slot
    self.session = session
  }

  var faults: FaultyModule { hsm.faults }
  var module: Module { hsm.module }

  static let template: [Attribute] = [
    .flag(.token, false), .flag(.private, true), .flag(.sensitive, true), .flag(.sign, true),
  ]

  static func makeKey(_ session: borrowing Session) throws -> ObjectHandle {
    try session.generateKeyPair(.p256, publicKey: [.flag(.token, false)], privateKey: template).privateKey
  }

  static let digest = [UInt8](repeating: 0xa5, count: 32)

  /// Signs on a session; nil, or the code of what failed.
  func sign(on session: borrowing Session) -> PKCS11Error.Code? {
    code { () throws(PKCS11Error) in _ = try session.sign(Self.digest.span, with: key, as: .ecdsaP256) }
  }

  /// The MAC of the digest with a key for HMAC.
  func authenticate(with key: ObjectHandle) throws(PKCS11Error) -> [UInt8] {
    try session.sign(Self.digest.span, with: key, as: .hmacSHA256)
  }

  /// The length of a signature.
  static func signatureLength(_ session: borrowing Session, _ key: ObjectHandle) throws(PKCS11Error) -> Int {
    try session.sign(digest.span, with: key, as: .ecdsaP256).count
  }

  /// Signs on the bench's session.
  func sign() -> PKCS11Error.Code? { sign(on: session) }
}

/// The code of the error that `body` throws.
func code(_ body: () throws(PKCS11Error) -> Void) -> PKCS11Error.Code? {
  do throws(PKCS11Error) { try body() } catch { return error.code }
  return nil
}

/// A call on a session of its own, which needs no login.
func drawByte(_ module: Module, _ slot: SlotID) throws(PKCS11Error) {
  let session = try Session(module, slot: slot)
  var byte: [UInt8] = [0]
  var failure: PKCS11Error?
  unsafe byte.withUnsafeMutableBytes { bytes in
    do throws(PKCS11Error) { try unsafe session.generateRandom(into: bytes) } catch { failure = error }
  }
  if let failure { throw failure }
}
