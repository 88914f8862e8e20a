internal import CP11Kit
internal import Glibc
internal import Synchronization

/// A PKCS#11 library, loaded and initialised once per process; everything else hangs on it.
///
/// p11-kit loads it unmanaged, so calls go straight to the library. `C_Initialize` is ours: with NULL arguments
/// SoftHSM turns its locking off and crashes under threads, so CKF_OS_LOCKING_OK is passed always.
///
/// A process that used SoftHSM calls ``finalizeIfUnused()`` and then leaves without running destructors (`_exit`):
/// OpenSSL's are apt to crash.
@safe
public final class Module: Sendable {
  private static let loaded = Mutex<[String: Module]>([:])

  /// The library, as a real path.
  public let path: String
  nonisolated(unsafe) let list: UnsafeMutablePointer<CK_FUNCTION_LIST>
  private let functions: Functions

  // Readers call the library, a writer initialises or finalises it; both values change under the writer only.
  private let gate = ReadWriteLock()
  private let current = Atomic<UInt64>(0)
  private let initialised = Atomic<Bool>(false)
  private let sessions = Atomic<Int>(0)

  // SoftHSM answers concurrent writes of token objects with CKR_GENERAL_ERROR now and then, and asserts in concurrent
  // C_GetSlotList when a slot appears.
  private let oneAtATime = Mutex<Void>(())

  /// The library at `path`, loaded and initialised when it was not. The same path gives the same module.
  ///
  /// - Parameter path: An absolute path; symbolic links are followed first, so that two names give one module.
  public static func load(_ path: String) throws(PKCS11Error) -> Module {
    guard path.hasPrefix("/"), let resolved = unsafe realpath(path, nil) else {
      throw PKCS11Error(.argumentsBad, in: "p11_kit_module_load", "\(path) must be the absolute path of a library")
    }
    defer { unsafe free(resolved) }
    let real = unsafe String(cString: resolved)
    return try loaded.withLock { modules throws(PKCS11Error) -> Module in
      let module: Module
      if let known = modules[real] { module = known } else { module = try Module(real) }
      modules[real] = module
      try module.gate.writing { () throws(PKCS11Error) in try module.initialize() }
      return module
    }
  }

  private init(_ path: String) throws(PKCS11Error) {
    guard let list = unsafe p11_kit_module_load(path, Int32(P11_KIT_MODULE_UNMANAGED)) else {
      let reason = unsafe p11_kit_message().map { unsafe String(cString: $0) } ?? "no reason given"
      throw PKCS11Error(.generalError, in: "p11_kit_module_load", "\(path): \(reason)")
    }
    self.path = path
    unsafe self.list = unsafe list
    functions = try unsafe Functions(list.pointee)
  }

  /// Counts initialisations. Handles carry it: one of an earlier initialisation may by now name somebody else's
  /// session, so it is refused here and never reaches the library.
  public var generation: UInt64 { current.load(ordering: .acquiring) }

  /// Finalises and initialises again: tokens made by another process appear, and every session and handle is void.
  ///
  /// - Parameter generation: Does nothing when the module has left this generation already.
  public func reinitialize(ifStill generation: UInt64) throws(PKCS11Error) {
    try gate.writing { () throws(PKCS11Error) in
      guard generation == self.generation else { return }
      finalize()
      try initialize()
    }
  }

  /// Finalises the library unless somebody still has a session; ``load(_:)`` initialises it again.
  public func finalizeIfUnused() {
    gate.writing {
      if sessions.load(ordering: .acquiring) == 0 { finalize() }
    }
  }

  private func initialize() throws(PKCS11Error) {
    guard !initialised.load(ordering: .acquiring) else { return }
    var arguments = unsafe CK_C_INITIALIZE_ARGS()
    unsafe arguments.flags = CKF_OS_LOCKING_OK
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
    try gate.reading { () throws(PKCS11Error) -> R in
      guard initialised.load(ordering: .acquiring) else { throw PKCS11Error(.notInitialized, in: "C_Initialize") }
      if let generation, generation != self.generation {
        throw PKCS11Error(.sessionHandleInvalid, in: "Module", "the handle is of an earlier initialisation")
      }
      return try body(functions)
    }
  }

  /// Runs `body`, which makes calls, for one caller at a time.
  func serially<R: Sendable>(_ body: () throws(PKCS11Error) -> R) throws(PKCS11Error) -> R {
    try oneAtATime.withLock { (_) throws(PKCS11Error) -> R in try body() }
  }

  /// As ``call(_:_:)``, for what writes token objects.
  func callWriting(
    _ generation: UInt64? = nil, _ body: (Functions) throws(PKCS11Error) -> Void
  ) throws(PKCS11Error) {
    try serially { () throws(PKCS11Error) in try call(generation, body) }
  }

  /// As ``call(_:_:)``, with nobody else inside the library.
  func callAlone(_ body: (Functions) throws(PKCS11Error) -> Void) throws(PKCS11Error) {
    try gate.writing { () throws(PKCS11Error) in try body(functions) }
  }

  /// Counts a session opened (+1) or closed (-1); inside ``call(_:_:)``.
  func countSession(_ change: Int) { sessions.wrappingAdd(change, ordering: .acquiringAndReleasing) }
}

/// Turns a return value into an error.
func check(_ value: CK_RV, _ function: String, file: String = #fileID, line: UInt = #line) throws(PKCS11Error) {
  guard value == CKR_OK else { throw PKCS11Error(.init(rawValue: value), in: function, file: file, line: line) }
}
