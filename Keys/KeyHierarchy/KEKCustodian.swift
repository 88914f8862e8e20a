public import SecretMemory

/// A key-encryption key as a token's root key wrapped it: AES key wrap with padding (RFC 5649), or without (RFC 3394) on
/// a token that has no other; 40 bytes for AES-256 either way. It opens on tokens with that root key alone.
public struct WrappedKey: Hashable, Sendable {
  /// The wrapped bytes.
  public let bytes: [UInt8]
  /// Wraps the bytes.
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
}

/// Tells whether a key is the one that it was, and nothing else of it: 8 bytes.
///
/// Of `root-kek`: the first 8 bytes of SHA-256("trustcore/kcv/v1" ‖ 32 zero bytes as it wraps them). Of `record-mac`: the
/// first 8 bytes of HMAC-SHA-256(key, "trustcore/kcv/v1").
public struct KeyCheckValue: Hashable, Sendable, CustomStringConvertible {
  /// The 8 bytes.
  public let bytes: [UInt8]
  /// Wraps the bytes.
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  /// Lower-case hexadecimal.
  public var description: String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}

/// What a token said when it was asked to unwrap a key as an extractable one. Anything but ``refused`` or ``locked``
/// stops start-up: whoever holds wrapped keys and a login could read them.
public enum HostileUnwrap: String, Sendable {
  /// The token refused.
  case refused
  /// It unwrapped, and made the key sensitive and non-extractable all the same.
  case locked
}

/// Uses the keys of the `data` token. Key-encryption keys exist inside the HSM only, as non-extractable session objects
/// that are unwrapped when they are first used and again after a login was lost.
public protocol KEKCustodian: Sendable {
  /// The check value of `root-kek`, which names the root key in records.
  func rootCheckValue() async throws(CustodyError) -> KeyCheckValue

  /// Bytes from the HSM's generator, in locked memory.
  func randomSecret(count: Int) async throws(CustodyError) -> SharedSecret

  /// Wraps a 32-byte key under `root-kek`. One create, one wrap and one destroy on the token.
  func wrap(_ key: SharedSecret) async throws(CustodyError) -> WrappedKey

  /// AES-256-GCM under a key-encryption key, inside the HSM; one operation once the key is loaded.
  /// - Parameters:
  ///   - key: the key that is encrypted, at most 64 bytes.
  ///   - iv: 12 bytes, never used with this key before.
  ///   - context: the additional authenticated data; not empty.
  /// - Returns: ciphertext and 16-byte tag.
  func encrypt(
    _ key: SharedSecret, iv: [UInt8], context: [UInt8], under kek: WrappedKey
  ) async throws(CustodyError) -> [UInt8]

  /// The reverse of ``encrypt(_:iv:context:under:)``, into locked memory.
  /// - Throws: ``CustodyError/Code-swift.struct/notAuthentic`` when anything was changed.
  func decrypt(
    _ ciphertext: [UInt8], iv: [UInt8], context: [UInt8], under kek: WrappedKey
  ) async throws(CustodyError) -> SharedSecret

  /// HMAC-SHA-256 with `record-mac`; 32 bytes.
  func authenticate(record: [UInt8]) async throws(CustodyError) -> [UInt8]

  /// Destroys the session object of a key-encryption key, once nobody uses it. Later uses load it again.
  func forget(_ kek: WrappedKey) async throws(CustodyError)

  /// What the hostile unwrap came to when the token was opened last; nil while the token was never open.
  var hostileUnwrap: HostileUnwrap? { get }
}

/// How a token of a deployment does.
public struct TokenHealth: Sendable, Hashable {
  /// Where a token stands.
  public enum State: String, Sendable {
    /// It is logged in and answers.
    case ready
    /// Its sessions are being opened again.
    case recovering
    /// It cannot be reached; the next operation tries again.
    case down
    /// Calls do not come back; further ones are refused at once until one does.
    case unresponsive
    /// It has no room for a session or an object.
    case full
    /// A person has to decide: a refused PIN, a changed key.
    case latched
    /// It is logged out.
    case closed
  }

  /// The token's role.
  public let role: TokenRole
  /// Which member of the role's cluster it is; 0 is the first choice.
  public let member: Int
  /// Its label and serial number as it was found last; empty before that.
  public let label: String
  /// The serial number.
  public let serial: String
  /// Where it stands.
  public let state: State
  /// Whether operations of the role go to this member.
  public let isInUse: Bool
  /// The last error, as function, CKR name and class; never a secret.
  public let reason: String
  /// How often it logged in.
  public let logins: UInt64
  /// Sessions open.
  public let sessions: Int
  /// Sessions lent out.
  public let lent: Int

  /// Makes a report.
  public init(
    role: TokenRole, member: Int, label: String, serial: String, state: State, isInUse: Bool, reason: String,
    logins: UInt64, sessions: Int, lent: Int
  ) {
    self.role = role
    self.member = member
    self.label = label
    self.serial = serial
    self.state = state
    self.isInUse = isInUse
    self.reason = reason
    self.logins = logins
    self.sessions = sessions
    self.lent = lent
  }
}
