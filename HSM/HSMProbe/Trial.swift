internal import CP11Kit
internal import Crypto
internal import PKCS11

/// The trials on one token; each makes its keys and leaves them to the session to destroy.
struct Trial {
  let session: RawSession
  let offered: Set<MechanismType>
  /// Why no keys are made; nil when they are.
  var restraint: String?

  /// What every object here is: gone with its session, and not for others.
  static let passing: [RawAttribute] = [.flag(CKA_TOKEN, false), .flag(CKA_PRIVATE, true)]
  static let locked: [RawAttribute] = [.flag(CKA_SENSITIVE, true), .flag(CKA_EXTRACTABLE, false)]
  static let extractable: [RawAttribute] = [.flag(CKA_SENSITIVE, true), .flag(CKA_EXTRACTABLE, true)]

  /// Runs a trial that needs a mechanism and something made for it. What cannot be made leaves the trial untried.
  func with<Made, V>(
    _ mechanisms: [MechanismType], _ make: () throws(PKCS11Error) -> Made,
    _ body: (Made) throws(PKCS11Error) -> Finding<V>
  ) -> Finding<V> {
    guard mechanisms.allSatisfy(offered.contains) else { return .absent }
    if let restraint { return .untried(restraint) }
    let made: Made
    do throws(PKCS11Error) { made = try make() } catch {
      return .untried("\(error.function) refused with \(error.code)")
    }
    return attempt { () throws(PKCS11Error) in try body(made) }
  }

  // MARK: - Keys

  func aesKey(_ uses: [UInt], _ shape: [RawAttribute] = locked) throws(PKCS11Error) -> UInt {
    try session.generateKey(
      .aesKeyGeneration,
      Self.passing + shape + [.number(CKA_VALUE_LEN, 32)] + uses.map { RawAttribute.flag($0, true) })
  }

  func pair(
    _ type: MechanismType, parameters: [UInt8], uses: (UInt, UInt) = (CKA_VERIFY, CKA_SIGN)
  ) throws(PKCS11Error) -> (publicKey: UInt, privateKey: UInt) {
    try session.generateKeyPair(
      type,
      publicKey: [.flag(CKA_TOKEN, false), .flag(uses.0, true), .bytes(CKA_EC_PARAMS, parameters)],
      privateKey: Self.passing + Self.locked + [.flag(uses.1, true)])
  }

  /// A key of the first kind that the token makes; tpm2-pkcs11 announces some that it does not.
  func anyKey() throws(PKCS11Error) -> UInt {
    var refusal = PKCS11Error(.mechanismInvalid, in: "C_GenerateKey", "the token generates no key")
    if offered.contains(.aesKeyGeneration) {
      do throws(PKCS11Error) { return try aesKey([CKA_ENCRYPT, CKA_DECRYPT]) } catch { refusal = error }
    }
    if offered.contains(.genericSecretGeneration) {
      do throws(PKCS11Error) {
        return try session.generateKey(
          .genericSecretGeneration, Self.passing + Self.locked + [.number(CKA_VALUE_LEN, 32), .flag(CKA_SIGN, true)])
      } catch { refusal = error }
    }
    if offered.contains(.ecKeyPairGeneration) {
      do throws(PKCS11Error) {
        return try pair(.ecKeyPairGeneration, parameters: KeyPairKind.p256.parameters).privateKey
      } catch { refusal = error }
    }
    throw refusal
  }

  /// Whether the session finds an object.
  func sees(_ object: UInt) -> Bool {
    do throws(PKCS11Error) {
      _ = try session.attribute(CKA_CLASS, of: object)
      return true
    } catch { return false }
  }

  func sessionObjects() -> Finding<Behaviour.SessionObjects> {
    attempt { () throws(PKCS11Error) in
      .found(try session.flag(CKA_TOKEN, of: try anyKey()) ? .stored : .works)
    }
  }
}
