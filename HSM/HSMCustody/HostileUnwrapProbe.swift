import KeyHierarchy
import PKCS11
import SecretMemory

/// Asks the token to unwrap a key as one that may leave it. Whoever holds a login and wrapped keys could ask the same,
/// so a token that complies must not hold `root-kek`: its CKA_UNWRAP_TEMPLATE is what keeps key-encryption keys inside.
enum HostileUnwrapProbe {
  /// The ways of asking: both, each alone, and saying nothing.
  private static let demands: [[Attribute]] = [
    [.flag(.extractable, true), .flag(.sensitive, false)],
    [.flag(.extractable, true), .flag(.sensitive, true)],
    [.flag(.extractable, false), .flag(.sensitive, false)],
    [],
  ]

  /// Wraps a random key and unwraps it in each of these ways; everything is destroyed afterwards.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/leaks`` when the token gives a key that may leave; what went wrong
  ///   otherwise, as nothing is known then.
  static func run(
    _ session: borrowing Session, root: ObjectHandle, mechanism: MechanismType
  ) throws(PKCS11Error) -> HostileUnwrap {
    let wrapped = try wrapRandomKey(session, root, mechanism)
    // The proper way must work, or a refusal of the others says nothing.
    try session.destroyObject(
      try session.unwrapKey(
        wrapped, with: root, mechanism: mechanism, Session.transient(extractable: false, [.encrypt, .decrypt])),
      isSessionObject: true)
    var result = HostileUnwrap.refused
    for demand in demands {
      let template: [Attribute] =
        [
          .objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.private, true), .flag(.encrypt, true),
          .flag(.decrypt, true),
        ] + demand
      let key: ObjectHandle
      do throws(PKCS11Error) {
        key = try session.unwrapKey(wrapped, with: root, mechanism: mechanism, template)
      } catch {
        // A session that is gone refuses everything.
        guard error.kind == .caller || error.kind == .data || error.kind == .fatal else { throw error }
        try session.checkLogin()
        continue
      }
      guard try (session.using(key) { key throws(PKCS11Error) in try isLocked(key, session) }) else {
        throw PKCS11Error(
          .leaks, in: "C_UnwrapKey",
          "the token unwraps keys that may leave it: root-kek needs a CKA_UNWRAP_TEMPLATE that it enforces")
      }
      result = .locked
    }
    return result
  }

  private static func isLocked(_ key: ObjectHandle, _ session: borrowing Session) throws(PKCS11Error) -> Bool {
    guard try session.flag(.sensitive, of: key), try !session.flag(.extractable, of: key) else { return false }
    do throws(PKCS11Error) { _ = try session.attribute(.value, of: key) } catch {
      guard error.kind == .caller || error.kind == .data || error.kind == .fatal else { throw error }
      return true
    }
    return false
  }

  private static func wrapRandomKey(
    _ session: borrowing Session, _ root: ObjectHandle, _ mechanism: MechanismType
  ) throws(PKCS11Error) -> [UInt8] {
    let key: ObjectHandle
    do {
      key = try session.createObject(Session.transient(extractable: true, []), secretValue: .random(count: 32))
    } catch let error as PKCS11Error {
      throw error
    } catch {
      throw PKCS11Error(.hostMemory, in: "mlock", "no locked memory: raise RLIMIT_MEMLOCK")
    }
    return try session.using(key) { key throws(PKCS11Error) in
      try session.wrapKey(key, with: root, mechanism: mechanism)
    }
  }
}

extension PKCS11Error.Code {
  /// The token hands out what it unwraps: ours, beyond the 32 bits of any CKR.
  static let leaks = Self(rawValue: 0x1_0000_0001)
}
