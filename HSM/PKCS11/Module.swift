internal import CP11Kit
internal import Glibc
internal import Synchronization

/// A PKCS#11 library, loaded and initialised once per process; everything else hangs on it.
///
/// p11-kit loads it unmanaged, so calls go straight to the library. In its managed mode `C_Finalize` counts users, so
/// that recovery would not initialise anew while another part of the process has the module, and a library that was
/// initialised already, perhaps without locking, passes for ours. `C_Initialize` is ours therefore: with NULL arguments
/// SoftHSM turns its locking off and crashes under threads, so CKF_OS_LOCKING_OK is passed always.
///
/// What the managed mode does about forks is done here: a forked child has the parent's logged-in sessions and shares its
/// connections, so every call is refused there for good. Programs are spawned, never forked.
///
/// A process that used SoftHSM calls ``finalizeIfUnused(within:)`` and then leaves without running destructors (`_exit`):
/// OpenSSL's are apt to crash.
@safe
public final class Module: Sendable {
  private static let loaded = Mutex<[String: Module]>([:])

  /// How long a re-initialisation waits for the calls under way, and calls that come meanwhile for it.
  public static let patience = Duration.seconds(2)
  /// How long calls wait while the library is being initialised, and writers of a token for each other.
  static let longPatience = Duration.seconds(30)

  /// The library, as a real path.
  public let path: String
  nonisolated(unsafe) let list: UnsafeMutablePointer<CK_FUNCTION_LIST>
  private let functions: Functions
  /// The module configuration's `x-init-reserved`, for CK_C_INITIALIZE_ARGS.
  private nonisolated(unsafe) let reserved: UnsafeMutablePointer<CChar>?

  // Readers call the library, a writer initialises or finalises it; both values change under the writer only.
  private let gate = ReadWriteLock()
  private let current = Atomic<UInt64>(0)
  private let initialised = Atomic<Bool>(false)
  private let sessions = Atomic<Int>(0)

  // SoftHSM asserts in concurrent C_GetSlotList when a slot appears.
  private let slotList = TimedMutex()
  // It answers concurrent writes of a token's objects with CKR_GENERAL_ERROR now and then.
  private let writers = Mutex<[SlotID: TimedMutex]>([:])

  /// A library, loaded and initialised when it was not. The same library gives the same module.
  ///
  /// - Parameter name: An absolute path, whose symbolic links are followed first, or the name of a module that p11-kit is
  ///   configured with (pkcs11.conf(5)), such as `softhsm2`.
  /// - Throws: ``PKCS11Error/Code-swift.struct/argumentsBad`` for a path that is none, and for an unknown name, with those
  ///   that there are.
  public static func load(_ name: String) throws(PKCS11Error) -> Module {
    try refuseForked()
    let found = try name.hasPrefix("/") ? (path: name, reserved: nil) : configuration(name)
    guard let resolved = unsafe realpath(found.path, nil) else {
      throw PKCS11Error(.argumentsBad, in: "p11_kit_module_load", "\(found.path) is not there: name a library's path")
    }
    defer { unsafe free(resolved) }
    let real = unsafe String(cString: resolved)
    let module = try loaded.withLock { modules throws(PKCS11Error) -> Module in
      if let known = modules[real] { return known }
      let module = try Module(real, found.reserved)
      modules[real] = module
      return module
    }
    // Nobody else has to wait for a library that does not come up, nor for a call that does not come back.
    if !module.initialised.load(ordering: .acquiring) {
      try module.alone(patience) { () throws(PKCS11Error) in try module.initialize() }
    }
    return module
  }

  private init(_ path: String, _ reserved: String?) throws(PKCS11Error) {
    guard let list = unsafe p11_kit_module_load(path, Int32(P11_KIT_MODULE_UNMANAGED)) else {
      throw PKCS11Error(.generalError, in: "p11_kit_module_load", "\(path): \(Self.reason)")
    }
    do throws(PKCS11Error) { functions = try unsafe Functions(list.pointee) } catch {
      unsafe p11_kit_module_release(list)
      throw error
    }
    self.path = path
    unsafe self.list = unsafe list
    unsafe self.reserved = unsafe reserved.flatMap { unsafe strdup($0) }
  }

  /// Counts initialisations. Handles carry it: one of an earlier initialisation may by now name somebody else's
  /// session, so it is refused here and never reaches the library.
  public var generation: UInt64 { current.load(ordering: .acquiring) }

  /// Finalises and initialises again: tokens made by another process appear, and every session and handle is void.
  ///
  /// - Parameters:
  ///   - generation: Does nothing when the module has left this generation already.
  ///   - limit: How long calls may take to leave the library; new ones wait meanwhile.
  /// - Throws: ``PKCS11Error/Code-swift.struct/deviceError`` when they take longer: one that never returns leaves the
  ///   library as it is, for the calls that still work.
  public func reinitialize(ifStill generation: UInt64, within limit: Duration = Module.patience) throws(PKCS11Error) {
    guard generation == self.generation else { return }
    try alone(limit) { () throws(PKCS11Error) in
      guard generation == self.generation else { return }
      finalize()
      try initialize()
    }
  }

  /// Finalises the library unless somebody still has a session, or is in a call; ``load(_:)`` initialises it again.
  public func finalizeIfUnused(within limit: Duration = Module.patience) {
    guard sessions.load(ordering: .acquiring) == 0 else { return }
    try? alone(limit) {
      if sessions.load(ordering: .acquiring) == 0 { finalize() }
    }
  }

  private func initialize() throws(PKCS11Error) {
    guard !initialised.load(ordering: .acquiring) else { return }
    var arguments = unsafe CK_C_INITIALIZE_ARGS()
    unsafe arguments.flags = CKF_OS_LOCKING_OK
    unsafe arguments.pReserved = UnsafeMutableRawPointer(reserved)
    let value = unsafe functions.initialize(&arguments)
    guard value != CKR_CRYPTOKI_ALREADY_INITIALIZED else {
      throw PKCS11Error(
        .alreadyInitialized, in: "C_Initialize",
        "another part of this process uses \(path), perhaps without locking: use it through Module alone")
    }
    try check(value, "C_Initialize")
    current.wrappingAdd(1, ordering: .acquiringAndReleasing)
    initialised.store(true, ordering: .releasing)
  }

  private func finalize() {
    guard initialised.exchange(false, ordering: .acquiringAndReleasing) else { return }
    sessions.store(0, ordering: .releasing)
    // Whatever it answers, the next C_Initialize tells whether the library is usable.
    _ = functions.finalize(nil)
  }

  /// Calls the library, which stays initialised meanwhile. `body` must neither make nor drop a session.
  ///
  /// - Parameter generation: That of the handles in use.
  func call<R: ~Copyable>(
    _ generation: UInt64? = nil, _ body: (Functions) throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    try Self.refuseForked()
    let result = try gate.reading(within: Self.longPatience) { () throws(PKCS11Error) -> R in
      guard initialised.load(ordering: .acquiring) else { throw PKCS11Error(.notInitialized, in: "C_Initialize") }
      if let generation, generation != self.generation {
        throw PKCS11Error(.sessionHandleInvalid, in: "Module", "the handle is of an earlier initialisation")
      }
      return try body(functions)
    }
    guard let result else { throw PKCS11Error(.deviceError, in: "C_Initialize", "the module does not come up") }
    return result
  }

  /// As ``call(_:_:)``, one caller per token at a time.
  func callWriting(
    _ slot: SlotID, _ generation: UInt64?, _ body: (Functions) throws(PKCS11Error) -> Void
  ) throws(PKCS11Error) {
    let mutex = writers.withLock { writers in
      let mutex = writers[slot] ?? TimedMutex()
      writers[slot] = mutex
      return mutex
    }
    try one(mutex, "C_CreateObject", "another write to the token has not come back") { () throws(PKCS11Error) in
      try call(generation, body)
    }
  }

  /// Runs `body`, which lists slots or adds one, for one caller at a time.
  func withSlotList<R>(_ body: () throws(PKCS11Error) -> R) throws(PKCS11Error) -> R {
    try one(slotList, "C_GetSlotList", "another look at the slots has not come back", body)
  }

  private func one<R>(
    _ mutex: TimedMutex, _ function: String, _ message: String, _ body: () throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    try Self.refuseForked()
    guard let result = try mutex.withLock(until: Deadline(after: Self.longPatience), body) else {
      throw PKCS11Error(.deviceError, in: function, message)
    }
    return result
  }

  /// As ``call(_:_:)``, with nobody else inside the library.
  func callAlone(_ body: (Functions) throws(PKCS11Error) -> Void) throws(PKCS11Error) {
    try alone(Self.patience) { () throws(PKCS11Error) in try body(functions) }
  }

  private func alone(_ limit: Duration, _ body: () throws(PKCS11Error) -> Void) throws(PKCS11Error) {
    try Self.refuseForked()
    guard try gate.writing(within: limit, turn: Self.longPatience, body) != nil else {
      throw PKCS11Error(.deviceError, in: "C_Finalize", "calls are still inside the module")
    }
  }

  /// True while nobody has a session: initialising again costs nobody anything.
  public var isIdle: Bool { sessions.load(ordering: .acquiring) == 0 }

  /// Counts a session opened (+1) or closed (-1); inside ``call(_:_:)``.
  func countSession(_ change: Int) { sessions.wrappingAdd(change, ordering: .acquiringAndReleasing) }
}

/// Turns a return value into an error.
func check(_ value: CK_RV, _ function: String, file: String = #fileID, line: UInt = #line) throws(PKCS11Error) {
  guard value == CKR_OK else { throw PKCS11Error(.init(rawValue: value), in: function, file: file, line: line) }
}
