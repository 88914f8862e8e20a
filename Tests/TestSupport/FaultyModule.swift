internal import CFaultControl
internal import Dispatch
internal import Glibc
public import HSMCustody
public import PKCS11
public import SecretMemory
internal import Synchronization

/// A PKCS#11 library that passes every call to SoftHSM, and fails on command: Tests/FaultInjection.
///
/// The commands reach it through a file, so it may be loaded in this process (``activate()``, before the first load) or
/// in one that is spawned with ``environment``. SoftHSM takes one `C_Initialize` per process, so tests that use this
/// module run in an exit test or drive a spawned program, never beside ``SoftHSMFixture``.
@safe
public final class FaultyModule: Sendable {
  /// Why there is none.
  public struct Failure: Error, CustomStringConvertible {
    /// What happened.
    public let description: String

    /// Makes one.
    public init(_ description: String) { self.description = description }
  }

  /// The library, for `Module.load`.
  public let library: String
  /// What a process that loads the library has in its environment.
  public let environment: [String: String]
  nonisolated(unsafe) private let control: OpaquePointer
  private let rules = Mutex<Rules>(.init())

  private struct Rules {
    var made: UInt64 = 0
    var standing: [Int32: (made: UInt64, holds: Bool)] = [:]
  }

  /// Makes the control file in a folder of its own.
  ///
  /// - Parameter provider: The real library; SoftHSM when nil.
  public init(wrapping provider: String? = nil) throws {
    library = try Self.builtLibrary()
    let file = try TemporaryFolder.make() + "/control"
    environment = ["FAULT_PKCS11_MODULE": try provider ?? Self.softHSM(), "FAULT_PKCS11_CONTROL": file]
    guard let control = unsafe fault_create(file) else { throw Failure("\(file): errno \(errno)") }
    unsafe self.control = unsafe control
  }

  deinit {
    unsafe fault_unmap(control)
  }

  /// Sets this process's environment, for a library that it loads later.
  public func activate() { for (name, value) in environment { unsafe setenv(name, value, 1) } }

  // MARK: - Faults of single calls

  /// Which calls a fault meets.
  public struct Calls: Sendable {
    var slot: UInt64 = FAULT_ANY_SLOT
    var session: UInt64 = 0

    /// Those of every slot.
    public static let all = Calls()
    /// Those of a slot and its sessions.
    public static func slot(_ slot: SlotID) -> Calls { Calls(slot: UInt64(slot.rawValue)) }
    /// Those of a session (CK_SESSION_HANDLE).
    public static func session(_ handle: UInt) -> Calls { Calls(session: UInt64(handle)) }
  }

  /// A fault that was ordered.
  public struct Rule: Sendable {
    fileprivate let module: FaultyModule
    fileprivate let number: Int32
    fileprivate let made: UInt64

    /// How many calls it met.
    public var met: UInt64 { unsafe fault_rule_met(module.control, number) }
    /// How many calls it holds now.
    public var held: Int { unsafe Int(fault_rule_held(module.control, number)) }

    /// Returns once it holds so many calls; gives up after five minutes: a child process may be slow to start.
    public func waitUntilHeld(_ count: Int = 1) async throws {
      let reached = await withCheckedContinuation { continuation in
        DispatchQueue.global().async {
          continuation.resume(returning: unsafe fault_rule_wait(module.control, number, UInt32(count), 300))
        }
      }
      guard !reached else { return }
      let found = held
      // Whoever waits for what is held would wait for ever.
      remove()
      throw Failure("\(found) calls are held instead of \(count)")
    }

    /// Ends it; what it holds goes on.
    public func remove() { module.remove(self) }
  }

  /// Calls of `function` answer `code` instead of what the token says.
  ///
  /// An operation that such a call would have ended is ended, as after every error of the token's own.
  ///
  /// - Parameters:
  ///   - times: For so many calls; for ever when nil.
  ///   - skip: After so many others.
  ///   - calling: The call is made, and its answer lost.
  ///   - calls: Of these calls.
  @discardableResult
  public func fail(
    _ function: PKCS11Function, with code: PKCS11Error.Code, times: UInt64? = 1, after skip: UInt64 = 0,
    calling: Bool = false, _ calls: Calls = .all
  ) -> Rule {
    add(calling ? FAULT_LOSE_ANSWER : FAULT_REFUSE, function, times, skip, calls, UInt64(code.rawValue))
  }

  /// Calls of `function` wait until the rule is removed or ``release()``.
  ///
  /// - Parameter calling: They wait after the call instead of before it.
  @discardableResult
  public func hold(
    _ function: PKCS11Function, times: UInt64? = nil, after skip: UInt64 = 0, calling: Bool = false,
    _ calls: Calls = .all
  ) -> Rule {
    add(calling ? FAULT_HOLD_ANSWER : FAULT_HOLD_CALL, function, times, skip, calls, 0)
  }

  /// Outputs of `function` (a signature, a ciphertext, random bytes) come with the first byte's lowest bit flipped.
  @discardableResult
  public func flipBit(
    in function: PKCS11Function, times: UInt64? = 1, after skip: UInt64 = 0, _ calls: Calls = .all
  ) -> Rule {
    add(FAULT_FLIP_BIT, function, times, skip, calls, 0)
  }

  /// Lets every call that is held go on.
  public func release() { removeRules { $0.holds } }

  /// Ends every fault of single calls.
  public func removeRules() { removeRules { _ in true } }

  private func add(
    _ action: fault_action, _ function: PKCS11Function, _ times: UInt64?, _ skip: UInt64, _ calls: Calls,
    _ code: UInt64
  ) -> Rule {
    rules.withLock { rules in
      let number = unsafe fault_rule_add(
        control, action, function.rawValue, calls.slot, calls.session, skip, times ?? .max, code)
      precondition(number >= 0, "64 faults stand already: remove some")
      rules.made += 1
      rules.standing[number] = (rules.made, action == FAULT_HOLD_CALL || action == FAULT_HOLD_ANSWER)
      return Rule(module: self, number: number, made: rules.made)
    }
  }

  private func remove(_ rule: Rule) { removeRules { $0.made == rule.made } }

  private func removeRules(where chosen: ((made: UInt64, holds: Bool)) -> Bool) {
    rules.withLock { rules in
      for (number, rule) in rules.standing where chosen(rule) {
        unsafe fault_rule_remove(control, number)
        rules.standing[number] = nil
      }
    }
  }

  // MARK: - Faults of tokens and of the module

  /// C_OpenSession answers CKR_SESSION_COUNT while so many sessions are open; nil for no limit.
  public func limitSessions(to limit: Int?) { unsafe fault_session_limit(control, limit.map(UInt64.init) ?? .max) }

  /// Takes a token out. Its sessions are dead for good.
  ///
  /// - Parameters:
  ///   - slotCode: What calls of the slot answer.
  ///   - sessionCode: What calls of its sessions answer while it is out.
  public func removeToken(
    _ slot: SlotID, slotCode: PKCS11Error.Code = .tokenNotPresent,
    sessionCode: PKCS11Error.Code = .deviceRemoved
  ) {
    let done = unsafe fault_token_remove(
      control, UInt64(slot.rawValue), UInt64(slotCode.rawValue), UInt64(sessionCode.rawValue))
    precondition(done, "the control file holds 64 slots")
  }

  /// Puts a token back, logged out and without sessions: those of before answer CKR_SESSION_HANDLE_INVALID.
  public func returnToken(_ slot: SlotID) { _ = unsafe fault_token_return(control, UInt64(slot.rawValue)) }

  /// Logs out behind the caller's back: until the next C_Login what needs a login answers CKR_USER_NOT_LOGGED_IN.
  public func expireLogins(_ slot: SlotID? = nil) { unsafe fault_expire(control, Self.number(slot)) }

  /// Whatever makes objects answers CKR_DEVICE_MEMORY, or no longer does.
  public func setFull(_ full: Bool, _ slot: SlotID? = nil) { unsafe fault_full(control, Self.number(slot), full) }

  /// Everything answers `code` until C_Finalize and C_Initialize: the module's process was restarted.
  public func reset(_ code: PKCS11Error.Code = .notInitialized) { unsafe fault_reset(control, UInt64(code.rawValue)) }

  /// How C_UnwrapKey treats the unwrapping key's CKA_UNWRAP_TEMPLATE.
  public enum Unwrapping: UInt32, Sendable {
    /// As SoftHSM: what contradicts it is refused.
    case honest
    /// It is ignored: a key that is asked for as extractable comes out so. One that is not sensitive either tells its
    /// value, if it was made with C_CreateObject and wrapped since this was set.
    case asAsked
    /// The call always succeeds, and the key is sensitive and not extractable.
    case locked
    /// As ``locked``, and the value is told all the same, under the same condition.
    case lying
  }

  /// Sets how keys are unwrapped.
  public func setUnwrapping(_ how: Unwrapping) { unsafe fault_unwrap(control, fault_unwrap(rawValue: how.rawValue)) }

  // MARK: - Statistics

  /// The slot whose token has this label, as the process that has the module loaded was told it last.
  public func slot(labelled label: String) -> SlotID? {
    let padded = (Array(label.utf8) + Array(repeating: UInt8(ascii: " "), count: 32)).prefix(32)
    var slot: UInt64 = 0
    let found = unsafe fault_slot_labelled(control, padded.map(CChar.init(bitPattern:)), &slot)
    return found ? SlotID(rawValue: UInt(slot)) : nil
  }

  /// Calls of `function`, whatever they answered.
  public func calls(_ function: PKCS11Function, _ slot: SlotID? = nil) -> UInt64 {
    unsafe fault_calls(control, function.rawValue, Self.number(slot))
  }
  /// Those that did not answer CKR_OK.
  public func errors(_ function: PKCS11Function) -> UInt64 { unsafe fault_errors(control, function.rawValue) }
  /// Sessions open.
  public var sessions: Int { figure(FAULT_SESSIONS_NOW) }
  /// Most sessions that were open at once.
  public var mostSessions: Int { figure(FAULT_SESSIONS_MOST) }
  /// Calls in flight, held ones too.
  public var callsInFlight: Int { figure(FAULT_CALLS_NOW) }
  /// Most calls that were in flight at once.
  public var mostCallsInFlight: Int { figure(FAULT_CALLS_MOST) }
  /// Logins that succeeded.
  public var logins: Int { figure(FAULT_LOGINS) }
  /// C_Initialize calls that succeeded.
  public var initialisations: Int { figure(FAULT_INITIALISATIONS) }

  private func figure(_ which: fault_figure) -> Int { unsafe Int(fault_figure(control, which)) }

  private static func number(_ slot: SlotID?) -> UInt64 { slot.map { UInt64($0.rawValue) } ?? FAULT_ANY_SLOT }

  // MARK: - Libraries

  /// The build puts it beside the test bundle.
  private static func builtLibrary() throws -> String {
    guard let own = unsafe realpath("/proc/self/exe", nil) else { throw Failure("/proc is not mounted") }
    defer { unsafe free(own) }
    let folder = unsafe String(cString: own).split(separator: "/").dropLast().joined(separator: "/")
    let path = "/\(folder)/libFaultPKCS11.so"
    guard unsafe access(path, R_OK) == 0 else {
      throw Failure("\(path) is not built: run swift build --build-tests")
    }
    return path
  }

  private static func softHSM() throws -> String {
    let folders = [
      "/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm",
      "/usr/lib64/softhsm", "/usr/lib64/pkcs11",
    ]
    for folder in folders where unsafe access(folder + "/libsofthsm2.so", R_OK) == 0 {
      return folder + "/libsofthsm2.so"
    }
    throw Failure("SoftHSM is not installed: apt install softhsm2")
  }
}

/// A development HSM behind a ``FaultyModule``, loaded in this process: for exit tests.
public struct FaultyHSM: Sendable {
  /// The faults.
  public let faults: FaultyModule
  /// Its four tokens, with every key of `KeyName.all`; no session is open.
  public let hsm: DevelopmentHSM
  /// The module, loaded and initialised.
  public let module: Module

  /// Makes it in a folder of its own.
  public init() throws {
    faults = try FaultyModule()
    faults.activate()
    hsm = try DevelopmentHSM.openOrCreate(directory: try TemporaryFolder.make(), provider: faults.library)
    module = try Module.load(faults.library)
    ProcessEnd.skipDestructors()
    try settleSlots()
  }

  /// SoftHSM gives a new token its lasting slot at the next C_Initialize, and faults name slots: call it after making
  /// one.
  public func settleSlots() throws { try module.reinitialize(ifStill: module.generation) }

  /// A token's user PIN.
  public func pin(_ label: String) throws -> SecretBytes {
    try SecretBytes(contentsOfFile: "\(hsm.directory)/pins/\(label).pin")
  }
}
