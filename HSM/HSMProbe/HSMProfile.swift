public import PKCS11

/// What a token of one HSM family can do and how it behaves where the specification leaves room or the family strays
/// from it: what a ``ModuleProbe`` found, and what the documents in `HSM/Profiles` hold.
public struct HSMProfile: Sendable, Hashable {
  /// The library (CK_INFO).
  public struct Library: Sendable, Hashable {
    /// Who made it.
    public var manufacturer: String
    /// What it calls itself.
    public var description: String
    /// Its version, `major.minor`.
    public var version: String
    /// The version of the interface that it implements, `major.minor`.
    public var cryptoki: String

    /// Makes a description.
    public init(manufacturer: String, description: String, version: String, cryptoki: String) {
      self.manufacturer = manufacturer
      self.description = description
      self.version = version
      self.cryptoki = cryptoki
    }
  }

  /// The token (CK_TOKEN_INFO).
  public struct Token: Sendable, Hashable {
    /// Who made it.
    public var manufacturer: String
    /// Its model.
    public var model: String
    /// Its serial number.
    public var serial: String
    /// The hardware's version, `major.minor`.
    public var hardware: String
    /// The firmware's version, `major.minor`.
    public var firmware: String

    /// Makes a description.
    public init(manufacturer: String, model: String, serial: String, hardware: String, firmware: String) {
      self.manufacturer = manufacturer
      self.model = model
      self.serial = serial
      self.hardware = hardware
      self.firmware = firmware
    }
  }

  /// How many there may be of something.
  public enum Limit: Sendable, Hashable {
    /// So many.
    case atMost(UInt)
    /// As many as there is room for (CK_EFFECTIVELY_INFINITE).
    case unlimited
    /// The token does not tell (CK_UNAVAILABLE_INFORMATION).
    case unknown
  }

  /// What CK_TOKEN_INFO allows.
  public struct Limits: Sendable, Hashable {
    /// Sessions of one application.
    public var sessions: Limit
    /// Writable sessions of one application.
    public var writableSessions: Limit
    /// Shortest and longest PIN, in bytes.
    public var pinLength: (least: UInt, most: UInt) {
      get { (leastPIN, mostPIN) }
      set { (leastPIN, mostPIN) = newValue }
    }
    private var leastPIN: UInt
    private var mostPIN: UInt

    /// Makes limits.
    public init(sessions: Limit, writableSessions: Limit, pinLength: (least: UInt, most: UInt)) {
      self.sessions = sessions
      self.writableSessions = writableSessions
      (leastPIN, mostPIN) = pinLength
    }
  }

  /// A mechanism as the token describes it (CK_MECHANISM_INFO).
  public struct Mechanism: Sendable, Hashable {
    /// Which.
    public var type: MechanismType
    /// Its uses, by their CKF_ flags.
    public var uses: MechanismInfo.Uses
    /// Smallest key; bits or bytes, as the mechanism counts.
    public var leastKey: UInt
    /// Largest key.
    public var mostKey: UInt

    /// Makes a description.
    public init(_ type: MechanismType, _ uses: MechanismInfo.Uses, keys: (least: UInt, most: UInt) = (0, 0)) {
      self.type = type
      self.uses = uses
      (leastKey, mostKey) = keys
    }
  }

  /// The library.
  public var library: Library
  /// The token.
  public var token: Token
  /// What the token allows.
  public var limits: Limits
  /// The mechanisms, by ascending number.
  public var mechanisms: [Mechanism]
  /// What trying them came to.
  public var behaviour: Behaviour

  /// Makes a profile.
  public init(
    library: Library, token: Token, limits: Limits, mechanisms: [Mechanism], behaviour: Behaviour = Behaviour()
  ) {
    self.library = library
    self.token = token
    self.limits = limits
    self.mechanisms = mechanisms.sorted { $0.type.rawValue < $1.type.rawValue }
    self.behaviour = behaviour
  }
}
