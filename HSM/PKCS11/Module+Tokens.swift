internal import CP11Kit
internal import Glibc
public import SecretMemory

/// A token that a slot holds.
public struct TokenInfo: Sendable {
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
  /// False until C_InitToken.
  public let isInitialized: Bool
}

extension Module {
  /// More slots or mechanisms than any token has: a module that tells more is broken.
  static let maximumEntries: UInt = 4096

  /// The tokens present, initialised or not.
  public func tokens() throws(PKCS11Error) -> [TokenInfo] {
    var result: [TokenInfo] = []
    for slot in try slots() { result.append(Self.describe(try info(slot), in: slot)) }
    return result
  }

  /// The one token that an RFC 7512 URI names, e.g. `pkcs11:token=log;serial=1f2e3d4c5b6a7988`.
  ///
  /// - Parameter uri: Names a label at least. A PIN in it is refused: URIs end up in logs.
  /// - Throws: ``PKCS11Error/Code-swift.struct/tokenNotPresent`` when no token matches;
  ///   ``PKCS11Error/Code-swift.struct/argumentsBad`` when several do or the URI is unfit.
  public func token(_ uri: String) throws(PKCS11Error) -> TokenInfo {
    func unfit(_ reason: String) -> PKCS11Error { PKCS11Error(.argumentsBad, in: "p11_kit_uri_parse", reason) }
    guard let parsed = unsafe p11_kit_uri_new() else { throw unfit("no memory for a URI") }
    defer { unsafe p11_kit_uri_free(parsed) }
    guard uri.utf8.count <= 1024, unsafe p11_kit_uri_parse(uri, P11_KIT_URI_FOR_ANY, parsed) == 0,
      unsafe p11_kit_uri_any_unrecognized(parsed) == 0
    else { throw unfit("no RFC 7512 URI of at most 1024 bytes, or one with unknown parts") }
    guard unsafe p11_kit_uri_get_pin_value(parsed) == nil, unsafe p11_kit_uri_get_pin_source(parsed) == nil else {
      throw unfit("a token URI must not carry a PIN: give the PIN file beside it")
    }
    // Unset is zeros, empty is blanks.
    guard let wanted = unsafe p11_kit_uri_get_token_info(parsed), unsafe wanted.pointee.label.0 > UInt8(ascii: " ")
    else {
      throw unfit("a token URI names the label: pkcs11:token=LABEL;serial=SERIAL")
    }
    var found: TokenInfo?
    for slot in try slots() {
      var info = try info(slot)
      guard unsafe p11_kit_uri_match_token_info(parsed, &info) == 1 else { continue }
      guard found == nil else { throw unfit("several tokens match \(uri): add the serial") }
      found = Self.describe(info, in: slot)
    }
    guard let found else { throw PKCS11Error(.tokenNotPresent, in: "C_GetSlotList", "no token matches \(uri)") }
    return found
  }

  /// The one token with this label.
  ///
  /// - Throws: As ``token(_:)``.
  public func token(labelled label: String) throws(PKCS11Error) -> TokenInfo {
    try token(Self.uri(label: label))
  }

  /// The RFC 7512 URI of a label.
  public static func uri(label: String) -> String {
    "pkcs11:token="
      + label.utf8.map { byte in
        switch UInt8(byte) {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
          String(UnicodeScalar(byte))
        default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
      }.joined()
  }

  /// Initialises a token. Its slot changes by that (SoftHSM): look it up by its label afterwards.
  ///
  /// - Parameters:
  ///   - slot: A slot whose token is not initialised.
  ///   - soPIN: The security officer's PIN from now on.
  ///   - label: 1 to 32 bytes of UTF-8.
  public func initToken(_ slot: SlotID, soPIN: borrowing SecretBytes, label: String) throws(PKCS11Error) {
    guard (1...32).contains(label.utf8.count) else {
      throw PKCS11Error(.argumentsBad, in: "C_InitToken", "a token's label has 1 to 32 bytes")
    }
    var padded = Array(label.utf8) + Array(repeating: UInt8(ascii: " "), count: 32 - label.utf8.count)
    guard try !Self.describe(info(slot), in: slot).isInitialized else {
      throw PKCS11Error(.argumentsBad, in: "C_InitToken", "the slot's token is initialised: it would be erased")
    }
    try callWriting { f throws(PKCS11Error) in
      try check(
        unsafe soPIN.withUnsafeBytes { pin in
          unsafe f.initToken(
            slot.rawValue, UnsafeMutableRawPointer(mutating: pin.baseAddress)?.assumingMemoryBound(to: UInt8.self),
            UInt(pin.count), &padded)
        }, "C_InitToken")
    }
  }

  /// What a token can do with a mechanism; nil when it does not have it.
  public func mechanism(_ type: MechanismType, in slot: SlotID) throws(PKCS11Error) -> MechanismInfo? {
    // SoftHSM leaves fields as they were: they start as zero.
    var info = CK_MECHANISM_INFO(ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0)
    let value = try call { f in unsafe f.getMechanismInfo(slot.rawValue, type.rawValue, &info) }
    if value == CKR_MECHANISM_INVALID { return nil }
    try check(value, "C_GetMechanismInfo")
    return MechanismInfo(uses: .init(rawValue: info.flags), keySizes: (info.ulMinKeySize, info.ulMaxKeySize))
  }

  /// The mechanisms that a token has.
  public func mechanisms(in slot: SlotID) throws(PKCS11Error) -> [MechanismType] {
    try unsafe list("C_GetMechanismList") { f, array, count in
      unsafe f.getMechanismList(slot.rawValue, array, count)
    }.map(MechanismType.init(rawValue:))
  }

  /// Closes every session with a token, whoever's it is: what a token's reset looks like from here. Between calls, as
  /// SoftHSM frees a session that another thread uses.
  @_spi(Testing)
  public func closeAllSessions(_ slot: SlotID) throws(PKCS11Error) {
    try callAlone { f throws(PKCS11Error) in try check(f.closeAllSessions(slot.rawValue), "C_CloseAllSessions") }
  }

  private func slots() throws(PKCS11Error) -> [SlotID] {
    try serially { () throws(PKCS11Error) in
      try unsafe list("C_GetSlotList") { f, array, count in
        unsafe f.getSlotList(CK_BBOOL(CK_TRUE), array, count)
      }.map(SlotID.init(rawValue:))
    }
  }

  /// The usual two calls, count and then content; a list that grows between them is asked for again.
  private func list(
    _ function: String, _ ask: (Functions, UnsafeMutablePointer<UInt>?, UnsafeMutablePointer<UInt>) -> CK_RV
  ) throws(PKCS11Error) -> [UInt] {
    for _ in 0..<8 {
      var count: UInt = 0
      try check(try call { f in unsafe ask(f, nil, &count) }, function)
      guard count > 0 else { return [] }
      guard count <= Self.maximumEntries else {
        throw PKCS11Error(.generalError, in: function, "the module tells \(count) entries")
      }
      var values = [UInt](repeating: 0, count: Int(count))
      let value = try call { f in unsafe ask(f, &values, &count) }
      if value == CKR_BUFFER_TOO_SMALL { continue }
      try check(value, function)
      return Array(values.prefix(Int(count)))
    }
    throw PKCS11Error(.generalError, in: function, "the list changes faster than it can be read")
  }

  private func info(_ slot: SlotID) throws(PKCS11Error) -> CK_TOKEN_INFO {
    var info = CK_TOKEN_INFO()
    try call { f throws(PKCS11Error) in try check(unsafe f.getTokenInfo(slot.rawValue, &info), "C_GetTokenInfo") }
    return info
  }

  private static func describe(_ info: CK_TOKEN_INFO, in slot: SlotID) -> TokenInfo {
    func text<T>(_ field: T) -> String {
      unsafe withUnsafeBytes(of: field) { bytes in
        let end = unsafe bytes.lastIndex { $0 != UInt8(ascii: " ") && $0 != 0 }.map { $0 + 1 } ?? 0
        return unsafe String(decoding: bytes[..<end], as: UTF8.self)
      }
    }
    return TokenInfo(
      slot: slot, label: text(info.label), serial: text(info.serialNumber), model: text(info.model),
      manufacturer: text(info.manufacturerID), isInitialized: info.flags & CKF_TOKEN_INITIALIZED != 0)
  }
}
