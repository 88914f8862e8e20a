import KeyHierarchy
import PKCS11
import SecretMemory
import Synchronization

/// Makes one token of a development HSM.
enum DevelopmentToken {
  // Two makers would take the same free slot.
  private static let one = Mutex<Void>(())

  /// Initialises a token with random PINs, which it writes to `pins` first, and generates its keys.
  ///
  /// - Parameter imported: Keys to import instead of generating them.
  /// - Returns: The token's serial number.
  static func create(
    _ label: String, keys: [KeyName], importing imported: [DevelopmentKey] = [], module: Module, pins: PrivateFolder
  ) throws(CustodyError) -> String {
    let officerPIN = try makePIN("\(label)-so.pin", in: pins)
    let userPIN = try makePIN("\(label).pin", in: pins)
    do throws(PKCS11Error) {
      let token = try one.withLock { (_) throws(PKCS11Error) -> TokenInfo in
        guard let free = try module.tokens().first(where: { !$0.isInitialized }) else {
          throw PKCS11Error(.tokenNotPresent, in: "C_GetSlotList", "SoftHSM shows no free slot")
        }
        try module.initToken(free.slot, soPIN: officerPIN, label: label)
        // Its slot is another one now.
        return try module.token(labelled: label)
      }
      let session = try Session(module, slot: token.slot, writable: true)
      try session.login(.securityOfficer, pin: officerPIN)
      try session.initPIN(userPIN)
      try session.logout()
      try session.login(.user, pin: userPIN)
      for key in keys { _ = try session.generate(key) }
      for key in imported { try key.create(session) }
      try session.logout()
      return token.serial
    } catch {
      throw CustodyError(error, "making the development token \(label)")
    }
  }

  /// 128 random bits in hexadecimal, in locked memory and in a file.
  private static func makePIN(_ name: String, in pins: PrivateFolder) throws(CustodyError) -> SecretBytes {
    let pin: SecretBytes
    do throws(SecretMemoryError) { pin = try SecretBytes.random(count: 16).hexadecimal() } catch {
      throw CustodyError(error, name)
    }
    try save(pin, name, in: pins)
    return pin
  }

  private static func save(
    _ pin: borrowing SecretBytes, _ name: String, in pins: PrivateFolder
  ) throws(CustodyError) {
    try pins.write(pin.bytes, to: name)
  }
}
