internal import CP11Kit

/// A token that a slot holds (CK_TOKEN_INFO).
public struct TokenInfo: Hashable, Sendable {
  /// What a token says of it (CKF_).
  public struct Flags: OptionSet, Hashable, Sendable {
    /// The flags.
    public let rawValue: UInt
    /// Makes a set.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// CKF_RNG: it has a generator.
    public static let hasGenerator = Self(rawValue: CKF_RNG)
    /// CKF_WRITE_PROTECTED
    public static let isWriteProtected = Self(rawValue: CKF_WRITE_PROTECTED)
    /// CKF_LOGIN_REQUIRED: some of what it can do needs a login.
    public static let requiresLogin = Self(rawValue: CKF_LOGIN_REQUIRED)
    /// CKF_USER_PIN_INITIALIZED
    public static let hasUserPIN = Self(rawValue: CKF_USER_PIN_INITIALIZED)
    /// CKF_PROTECTED_AUTHENTICATION_PATH: the PIN is given at the token itself.
    public static let hasPINPad = Self(rawValue: CKF_PROTECTED_AUTHENTICATION_PATH)
    /// CKF_TOKEN_INITIALIZED
    public static let isInitialized = Self(rawValue: CKF_TOKEN_INITIALIZED)
    /// CKF_USER_PIN_TO_BE_CHANGED
    public static let mustChangeUserPIN = Self(rawValue: CKF_USER_PIN_TO_BE_CHANGED)
  }

  /// How a PIN does. A token counts wrong ones, and erases or locks itself in the end.
  public enum PINState: String, Sendable {
    /// There is none yet.
    case unset
    /// Nothing is known against it.
    case usable
    /// At least one wrong PIN was given since the last right one.
    case countLow = "count low"
    /// One more wrong one locks it.
    case finalTry = "final try"
    /// It is locked.
    case locked
  }

  /// The most that a token has of something.
  public enum Limit: Hashable, Sendable {
    /// It does not tell (CK_UNAVAILABLE_INFORMATION).
    case unknown
    /// None that matters (CK_EFFECTIVELY_INFINITE).
    case none
    /// So many.
    case count(UInt)
  }

  /// Bytes of memory; nil where the token does not tell.
  public struct Memory: Hashable, Sendable {
    /// In all.
    public let total: UInt?
    /// Free.
    public let free: UInt?
  }

  /// Its slot, for now.
  public let slot: SlotID
  /// Its label.
  public let label: String
  /// Its serial number.
  public let serial: String
  /// Its model.
  public let model: String
  /// Who made it.
  public let manufacturer: String
  /// The flags.
  public let flags: Flags
  /// The user's PIN.
  public let pinState: PINState
  /// The security officer's PIN.
  public let officerPINState: PINState
  /// The shortest PIN, in bytes.
  public let minimumPINLength: UInt
  /// The longest PIN, in bytes.
  public let maximumPINLength: UInt
  /// Sessions that this application may have.
  public let maximumSessions: Limit
  /// Sessions that it has; nil when the token does not tell.
  public let openSessions: UInt?
  /// Writable sessions that it may have.
  public let maximumWritableSessions: Limit
  /// Writable sessions that it has.
  public let openWritableSessions: UInt?
  /// For public objects.
  public let publicMemory: Memory
  /// For private objects.
  public let privateMemory: Memory
  /// The hardware's version.
  public let hardwareVersion: Version
  /// The firmware's version.
  public let firmwareVersion: Version

  /// False until C_InitToken.
  public var isInitialized: Bool { flags.contains(.isInitialized) }

  init(_ info: CK_TOKEN_INFO, in slot: SlotID) {
    func told(_ value: UInt) -> UInt? { value == TRUSTCORE_CK_UNAVAILABLE_INFORMATION ? nil : value }
    func limit(_ value: UInt) -> Limit {
      told(value).map { $0 == CK_EFFECTIVELY_INFINITE ? .none : .count($0) } ?? .unknown
    }
    func pin(isSet: Bool, low: UInt, final: UInt, locked: UInt) -> PINState {
      if !isSet { return .unset }
      if info.flags & locked != 0 { return .locked }
      if info.flags & final != 0 { return .finalTry }
      return info.flags & low != 0 ? .countLow : .usable
    }
    self.slot = slot
    label = text(info.label)
    serial = text(info.serialNumber)
    model = text(info.model)
    manufacturer = text(info.manufacturerID)
    flags = Flags(rawValue: info.flags)
    pinState = pin(
      isSet: flags.contains(.hasUserPIN), low: CKF_USER_PIN_COUNT_LOW, final: CKF_USER_PIN_FINAL_TRY,
      locked: CKF_USER_PIN_LOCKED)
    officerPINState = pin(
      isSet: flags.contains(.isInitialized), low: CKF_SO_PIN_COUNT_LOW, final: CKF_SO_PIN_FINAL_TRY,
      locked: CKF_SO_PIN_LOCKED)
    minimumPINLength = info.ulMinPinLen
    maximumPINLength = info.ulMaxPinLen
    maximumSessions = limit(info.ulMaxSessionCount)
    openSessions = told(info.ulSessionCount)
    maximumWritableSessions = limit(info.ulMaxRwSessionCount)
    openWritableSessions = told(info.ulRwSessionCount)
    publicMemory = Memory(total: told(info.ulTotalPublicMemory), free: told(info.ulFreePublicMemory))
    privateMemory = Memory(total: told(info.ulTotalPrivateMemory), free: told(info.ulFreePrivateMemory))
    hardwareVersion = Version(info.hardwareVersion)
    firmwareVersion = Version(info.firmwareVersion)
  }
}
