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
      for key in keys { try generate(key, session) }
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

  private static func generate(_ key: KeyName, _ session: borrowing Session) throws(PKCS11Error) {
    var id = [UInt8](repeating: 0, count: 16)
    var failure: PKCS11Error?
    unsafe id.withUnsafeMutableBytes { target in
      do throws(PKCS11Error) { try unsafe session.generateRandom(into: target) } catch { failure = error }
    }
    if let failure { throw failure }
    let templates = DevelopmentTemplates(key, id: id)
    if let kind = key.algorithm.pairKind {
      _ = try session.generateKeyPair(kind, publicKey: templates.publicHalf, privateKey: templates.privateHalf)
    } else {
      _ = try session.generateKey(key.algorithm == .aes256Wrap ? .aes256 : .generic(bytes: 32), templates.secret)
    }
  }
}

/// What a development token's keys are: good for one thing, and not to be had or changed.
struct DevelopmentTemplates {
  let publicHalf: [Attribute]
  let privateHalf: [Attribute]
  let secret: [Attribute]

  init(_ key: KeyName, id: [UInt8]) {
    let names: [Attribute] = [.flag(.token, true), .label(key.label), .bytes(.id, id)]
    let locked: [Attribute] = [
      .flag(.private, true), .flag(.sensitive, true), .flag(.extractable, false), .flag(.modifiable, false),
      .flag(.copyable, false), .flag(.derive, false),
    ]
    func uses(_ granted: [AttributeType], of all: [AttributeType]) -> [Attribute] {
      all.map { .flag($0, granted.contains($0)) }
    }
    publicHalf =
      names + [.flag(.private, false), .flag(.modifiable, false)] + uses([.verify], of: [.encrypt, .verify, .wrap])
    privateHalf = names + locked + uses([.sign], of: [.decrypt, .sign, .unwrap])
    let wraps = key.algorithm == .aes256Wrap
    // What a wrapping key unwraps stays in the token.
    let unwrapped: [Attribute] = [.flag(.sensitive, true), .flag(.extractable, false)]
    secret =
      names + locked
      + uses(wraps ? [.wrap, .unwrap] : [.sign, .verify], of: [.encrypt, .decrypt, .sign, .verify, .wrap, .unwrap])
      + (wraps ? [.list(.unwrapTemplate, unwrapped)] : [])
  }
}
