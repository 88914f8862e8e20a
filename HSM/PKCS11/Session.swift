internal import CP11Kit
public import SecretMemory

/// A session with a token: one user at a time, closed when its owner lets go. The login that it makes is the token's,
/// for every session of this process, and ends with the last of them.
@safe
public struct Session: ~Copyable, Sendable {
  /// Who logs in.
  public enum User: Sendable {
    /// The token's security officer, who sets the user's PIN.
    case securityOfficer
    /// The normal user, who uses keys.
    case user
  }

  /// The module.
  public let module: Module
  /// The slot that it was opened in.
  public let slot: SlotID
  /// The module's initialisation that it belongs to.
  public let generation: UInt64
  let handle: CK_SESSION_HANDLE

  /// Opens a session.
  ///
  /// - Parameter writable: Token objects can be made; the security officer needs it too.
  public init(_ module: Module, slot: SlotID, writable: Bool = false) throws(PKCS11Error) {
    var handle: CK_SESSION_HANDLE = 0
    let flags = CKF_SERIAL_SESSION | (writable ? CKF_RW_SESSION : 0)
    let generation = try module.call { f throws(PKCS11Error) in
      try check(unsafe f.openSession(slot.rawValue, flags, nil, nil, &handle), "C_OpenSession")
      module.countSession(+1)
      return module.generation
    }
    self.module = module
    self.slot = slot
    self.generation = generation
    self.handle = handle
  }

  deinit {
    // A session that the token has closed already answers with an error, which is as good.
    try? module.call(generation) { f in
      module.countSession(-1)
      _ = f.closeSession(handle)
    }
  }

  /// Calls a function that takes the session.
  func call<R: ~Copyable>(_ body: (Functions) throws(PKCS11Error) -> R) throws(PKCS11Error) -> R {
    try module.call(generation, body)
  }

  /// As ``call(_:)``, for what writes objects. Those of sessions need no turn, and do not wait for one that hangs.
  func callWriting(
    isSessionObject: Bool = false, _ body: (Functions) throws(PKCS11Error) -> Void
  ) throws(PKCS11Error) {
    if isSessionObject { try call(body) } else { try module.callWriting(slot, generation, body) }
  }

  /// Logs in. A PIN that is refused must not be tried again: tokens count.
  public func login(_ user: User, pin: borrowing SecretBytes) throws(PKCS11Error) {
    let type = user == .user ? CKU_USER : CKU_SO
    try call { f throws(PKCS11Error) in
      try check(
        unsafe pin.withUnsafeBytes { unsafe f.login(handle, type, Self.bytes($0), UInt($0.count)) }, "C_Login")
    }
  }

  /// Asks the token whether the session lives and its user is logged in.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/userNotLoggedIn``, or what the token says of the session.
  public func checkLogin() throws(PKCS11Error) {
    var info = CK_SESSION_INFO()
    try call { f throws(PKCS11Error) in try check(unsafe f.getSessionInfo(handle, &info), "C_GetSessionInfo") }
    guard info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS else {
      throw PKCS11Error(.userNotLoggedIn, in: "C_GetSessionInfo")
    }
  }

  /// Logs out: every session of this process with the token, and every handle of a private object with it.
  public func logout() throws(PKCS11Error) {
    try call { f throws(PKCS11Error) in try check(f.logout(handle), "C_Logout") }
  }

  /// Sets the user's PIN; the security officer is logged in.
  public func initPIN(_ pin: borrowing SecretBytes) throws(PKCS11Error) {
    try callWriting { f throws(PKCS11Error) in
      try check(unsafe pin.withUnsafeBytes { unsafe f.initPIN(handle, Self.bytes($0), UInt($0.count)) }, "C_InitPIN")
    }
  }

  /// Bytes from the token's generator.
  ///
  /// - Parameter target: Filled whole.
  public func generateRandom(into target: UnsafeMutableRawBufferPointer) throws(PKCS11Error) {
    try call { f throws(PKCS11Error) in
      try check(
        unsafe f.generateRandom(handle, target.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt(target.count)),
        "C_GenerateRandom")
    }
  }

  /// C declares what it reads as mutable.
  static func bytes(_ buffer: UnsafeRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
    unsafe UnsafeMutableRawPointer(mutating: buffer.baseAddress)?.assumingMemoryBound(to: UInt8.self)
  }
}

/// What the benchmark's loop in C needs to run on the session that the Swift loop runs on.
@_spi(Benchmarks)
extension Session {
  /// The module's CK_FUNCTION_LIST.
  public var functionList: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(module.list) }
  /// The CK_SESSION_HANDLE.
  public var rawHandle: UInt { handle }
}
