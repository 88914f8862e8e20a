internal import CP11Kit

/// A version (CK_VERSION).
public struct Version: Hashable, Sendable, CustomStringConvertible {
  /// Before the dot.
  public let major: UInt8
  /// Hundredths, after the dot.
  public let minor: UInt8

  /// Makes a version.
  public init(major: UInt8, minor: UInt8) {
    self.major = major
    self.minor = minor
  }

  init(_ version: CK_VERSION) { self.init(major: version.major, minor: version.minor) }

  /// With two digits after the dot, as the specification writes its own: `2.40`, `3.00`.
  public var description: String { "\(major)." + (minor < 10 ? "0" : "") + "\(minor)" }
}

/// What a library says of itself (CK_INFO).
public struct ModuleInfo: Hashable, Sendable {
  /// The version of PKCS#11 that it speaks.
  public let cryptokiVersion: Version
  /// Who made it.
  public let manufacturer: String
  /// What it is.
  public let libraryDescription: String
  /// Its own version.
  public let libraryVersion: Version

  init(_ info: CK_INFO) {
    cryptokiVersion = Version(info.cryptokiVersion)
    manufacturer = text(info.manufacturerID)
    libraryDescription = text(info.libraryDescription)
    libraryVersion = Version(info.libraryVersion)
  }
}

/// A slot, with a token or without (CK_SLOT_INFO).
public struct SlotInfo: Hashable, Sendable {
  /// The slot.
  public let slot: SlotID
  /// What it is.
  public let slotDescription: String
  /// Who made it.
  public let manufacturer: String
  /// A token is there.
  public let isTokenPresent: Bool
  /// Tokens come and go.
  public let isRemovable: Bool
  /// It is a device, not a piece of software.
  public let isHardware: Bool
  /// The hardware's version.
  public let hardwareVersion: Version
  /// The firmware's version.
  public let firmwareVersion: Version

  init(_ info: CK_SLOT_INFO, in slot: SlotID) {
    self.slot = slot
    slotDescription = text(info.slotDescription)
    manufacturer = text(info.manufacturerID)
    isTokenPresent = info.flags & CKF_TOKEN_PRESENT != 0
    isRemovable = info.flags & CKF_REMOVABLE_DEVICE != 0
    isHardware = info.flags & CKF_HW_SLOT != 0
    hardwareVersion = Version(info.hardwareVersion)
    firmwareVersion = Version(info.firmwareVersion)
  }
}

extension Module {
  /// What the library says of itself.
  public func info() throws(PKCS11Error) -> ModuleInfo {
    var info = CK_INFO()
    try call { f throws(PKCS11Error) in try check(unsafe f.getInfo(&info), "C_GetInfo") }
    return ModuleInfo(info)
  }

  /// What a slot is.
  public func slotInfo(_ slot: SlotID) throws(PKCS11Error) -> SlotInfo {
    var info = CK_SLOT_INFO()
    try call { f throws(PKCS11Error) in try check(unsafe f.getSlotInfo(slot.rawValue, &info), "C_GetSlotInfo") }
    return SlotInfo(info, in: slot)
  }
}

/// A padded field of characters: blanks by the specification, zeros by some modules.
func text<T>(_ field: T) -> String {
  unsafe withUnsafeBytes(of: field) { bytes in
    let end = unsafe bytes.lastIndex { $0 != UInt8(ascii: " ") && $0 != 0 }.map { $0 + 1 } ?? 0
    return unsafe String(decoding: bytes[..<end], as: UTF8.self)
  }
}
