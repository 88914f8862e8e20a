internal import CP11Kit
public import SecretMemory

extension Module {
  /// More slots or mechanisms than any token has: a module that tells more is broken.
  static let maximumEntries: UInt = 4096

  /// The tokens present, initialised or not; without those that do not answer.
  public func tokens() throws(PKCS11Error) -> [TokenInfo] {
    var result: [TokenInfo] = []
    for slot in try slots() {
      do throws(PKCS11Error) { result.append(try token(in: slot)) } catch { try Self.passOver(error) }
    }
    return result
  }

  /// What the token in a slot is.
  public func token(in slot: SlotID) throws(PKCS11Error) -> TokenInfo { TokenInfo(try info(slot), in: slot) }

  /// The one token that an RFC 7512 URI names, e.g. `pkcs11:token=log;serial=1f2e3d4c5b6a7988`.
  ///
  /// - Parameter uri: Names a label at least.
  /// - Throws: ``PKCS11Error/Code-swift.struct/tokenNotPresent`` when no token matches;
  ///   ``PKCS11Error/Code-swift.struct/argumentsBad`` when several do or the URI is unfit.
  public func token(_ uri: String) throws(PKCS11Error) -> TokenInfo { try token(TokenURI(uri)) }

  /// As ``token(_:)-(String)``.
  public func token(_ uri: TokenURI) throws(PKCS11Error) -> TokenInfo {
    guard uri.label?.isEmpty == false else {
      throw PKCS11Error(
        .argumentsBad, in: "C_GetSlotList", "a token URI names the label: pkcs11:token=LABEL;serial=SERIAL")
    }
    var found: TokenInfo?
    for slot in try slots() {
      let info: CK_TOKEN_INFO
      do throws(PKCS11Error) { info = try self.info(slot) } catch {
        try Self.passOver(error)
        continue
      }
      guard try uri.matches(info) else { continue }
      guard found == nil else {
        throw PKCS11Error(.argumentsBad, in: "C_GetSlotList", "several tokens match \(uri): add the serial")
      }
      found = TokenInfo(info, in: slot)
    }
    guard let found else { throw PKCS11Error(.tokenNotPresent, in: "C_GetSlotList", "no token matches \(uri)") }
    return found
  }

  /// A token that was pulled, or is broken, is none: it must not hide the others.
  private static func passOver(_ error: PKCS11Error) throws(PKCS11Error) {
    guard error.kind == .reinitialise, error.code != .notInitialized, error.function == "C_GetTokenInfo" else {
      throw error
    }
  }

  /// The one token with this label.
  ///
  /// - Throws: As ``token(_:)-(String)``.
  public func token(labelled label: String) throws(PKCS11Error) -> TokenInfo { try token(TokenURI(label: label)) }

  /// The RFC 7512 URI of a label.
  public static func uri(label: String) -> String { "pkcs11:token=" + URIText.encode(label.utf8) }

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
    guard try !token(in: slot).isInitialized else {
      throw PKCS11Error(.argumentsBad, in: "C_InitToken", "the slot's token is initialised: it would be erased")
    }
    try withSlotList { () throws(PKCS11Error) in
      try call { f throws(PKCS11Error) in
        try check(
          unsafe soPIN.withUnsafeBytes { pin in
            unsafe f.initToken(slot.rawValue, Session.bytes(pin), UInt(pin.count), &padded)
          }, "C_InitToken")
      }
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
    try withSlotList { () throws(PKCS11Error) in
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

  func info(_ slot: SlotID) throws(PKCS11Error) -> CK_TOKEN_INFO {
    var info = CK_TOKEN_INFO()
    try call { f throws(PKCS11Error) in try check(unsafe f.getTokenInfo(slot.rawValue, &info), "C_GetTokenInfo") }
    return info
  }
}
