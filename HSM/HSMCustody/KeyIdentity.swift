internal import Crypto
public import KeyHierarchy
internal import PKCS11
internal import Synchronization

/// What tells a key from every other one, over logins and over the members of a cluster.
public enum KeyIdentity: Hashable, Sendable {
  /// Of a signing key.
  case publicKey(CustodyPublicKey)
  /// Of a secret key.
  case checkValue(KeyCheckValue)
}

/// The identities of a role's keys: those pinned, and those seen first, on whichever member.
final class KnownKeys: Sendable {
  private struct State {
    var identities: [KeyName: KeyIdentity]
    /// A replacement began and has not succeeded: whatever is under the name is not used.
    var unsettled: Set<KeyName> = []
  }

  private let state: Mutex<State>

  init(_ pinned: [KeyName: KeyIdentity]) { state = Mutex(State(identities: pinned)) }

  /// The names known.
  var names: [KeyName] { state.withLock { Array($0.identities.keys) } }

  subscript(name: KeyName) -> KeyIdentity? { state.withLock { $0.identities[name] } }

  func isUnsettled(_ name: KeyName) -> Bool { state.withLock { $0.unsettled.contains(name) } }

  /// Forgets a key that is about to be destroyed.
  func unsettle(_ name: KeyName) {
    state.withLock { state in
      state.identities[name] = nil
      state.unsettled.insert(name)
    }
  }

  /// Remembers the new key, or that there is none.
  func settle(_ name: KeyName, _ identity: KeyIdentity?) {
    state.withLock { state in
      state.identities[name] = identity
      state.unsettled.remove(name)
    }
  }

  /// Compares with what is known of the key, or remembers it.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/keyChanged``.
  func check(_ identity: KeyIdentity, of name: KeyName) throws(PKCS11Error) {
    let isKnown = state.withLock { state in
      // It is not used; and it may be the one that is being destroyed.
      guard !state.unsettled.contains(name) else { return true }
      if state.identities[name] == nil { state.identities[name] = identity }
      return state.identities[name] == identity
    }
    guard isKnown else {
      throw PKCS11Error(.keyChanged, in: "C_FindObjects", "\(name) is another key than the one known by this name")
    }
  }
}

/// How a token wraps: the first of the three that it offers and that gives what RFC 5649 and RFC 3394 give, 8 bytes more
/// than the key. CKM_AES_KEY_WRAP_PAD comes first because most tokens mean RFC 5649 by it; where one pads by PKCS #7
/// instead, 32 bytes give 48, and the next is taken.
struct WrappingMechanism {
  static let choices: [MechanismType] = [.aesKeyWrapPad, .aesKeyWrapKWP, .aesKeyWrap]

  /// Those that the token can wrap and unwrap with.
  let offered: [MechanismType]

  init(_ module: Module, _ slot: SlotID) throws(PKCS11Error) {
    var offered: [MechanismType] = []
    for choice in Self.choices {
      if try module.mechanism(choice, in: slot)?.uses.isSuperset(of: [.wrap, .unwrap]) ?? false {
        offered.append(choice)
      }
    }
    self.offered = offered
  }
}

extension Session {
  private static var label: [UInt8] { Array("trustcore/kcv/v1".utf8) }

  /// Templates of session objects on the way in and out.
  static func transient(extractable: Bool, _ uses: [AttributeType]) -> [Attribute] {
    let all: [AttributeType] = [.encrypt, .decrypt, .sign, .verify, .wrap, .unwrap, .derive]
    return [
      .objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.private, true), .flag(.sensitive, true),
      .flag(.extractable, extractable),
    ] + all.map { .flag($0, uses.contains($0)) }
  }

  /// Uses an object for one purpose and destroys it, also on errors.
  ///
  /// - Throws: What `body` throws; else what C_DestroyObject says, as then the object is still there.
  func using<R>(
    _ object: ObjectHandle, _ body: (ObjectHandle) throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    let result: R
    do throws(PKCS11Error) { result = try body(object) } catch {
      try? destroyObject(object, isSessionObject: true)
      throw error
    }
    try destroyObject(object, isSessionObject: true)
    return result
  }

  /// How the token wraps with `root`, and the check value of `root` (``KeyCheckValue``): of 32 zero bytes, wrapped.
  func checkWrapping(
    _ root: ObjectHandle, _ mechanisms: [MechanismType]
  ) throws(PKCS11Error) -> (MechanismType, KeyCheckValue) {
    // Zeros are no secret.
    let zeros = Self.transient(extractable: true, []) + [.bytes(.value, [UInt8](repeating: 0, count: 32))]
    return try using(try createObject(zeros)) { key throws(PKCS11Error) in
      var failure = PKCS11Error(.mechanismInvalid, in: "C_WrapKey", "the token has no AES key wrap")
      for mechanism in mechanisms {
        do throws(PKCS11Error) {
          let wrapped = try wrapKey(key, with: root, mechanism: mechanism)
          guard wrapped.count == 40 else {
            failure = PKCS11Error(
              .mechanismInvalid, in: "C_WrapKey", "\(mechanism) gives \(wrapped.count) bytes, not 40")
            continue
          }
          return (mechanism, KeyCheckValue(Array(SHA256.hash(data: Self.label + wrapped).prefix(8))))
        } catch {
          guard error.kind == .caller || error.kind == .data else { throw error }
          failure = error
        }
      }
      throw failure
    }
  }

  /// The check value of a key that authenticates.
  func checkAuthentication(_ key: ObjectHandle) throws(PKCS11Error) -> KeyCheckValue {
    KeyCheckValue(Array(try sign(Self.label.span, with: key, as: .hmacSHA256).prefix(8)))
  }
}
