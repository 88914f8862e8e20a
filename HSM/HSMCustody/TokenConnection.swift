import KeyHierarchy
import PKCS11
import SecretMemory

/// One token of a custodian: a persistent session that holds the login, a few sessions to work on, and what is known of
/// the keys. When the token loses its sessions, one caller opens, logs in and finds the keys again while the others
/// wait; each operation is then repeated once.
final class TokenConnection: Sendable {
  /// A session that can be put in an array, and the login that it belongs to.
  final class Lease: Sendable {
    let session: Session
    let login: UInt64

    init(_ session: consuming Session, login: UInt64) {
      self.session = session
      self.login = login
    }
  }

  /// A PIN that several may hold; the last one to let go wipes it.
  final class PIN: Sendable {
    let secret: SecretBytes
    init(_ secret: consuming SecretBytes) { self.secret = secret }
  }

  private enum Status {
    case open
    /// An operation found the sessions gone; the next caller opens again.
    case lost
    case recovering
    /// Opening again failed, for whoever waited for it; the next caller tries once more.
    case down(PKCS11Error)
    /// Trying again makes it worse: a refused PIN, a changed key. Opening a new custodian is a person's decision.
    case latched(PKCS11Error)
    case closed
  }

  private struct State {
    var status = Status.recovering
    var pin: PIN?
    /// Never lent: it holds the login.
    var anchor: Lease?
    var idle: [Lease] = []
    var onLoan = 0
    /// Counts logins. What was leased under an earlier one is not used again.
    var login: UInt64 = 0
    /// Counts attempts to open, so that those who waited for one share its failure.
    var attempts: UInt64 = 0
    /// Initialising the module again disturbs the other tokens, so it happens once per outage.
    var reinitialised = false
    var keys: [KeyName: CustodyKey] = [:]
  }

  let role: TokenRole
  private let uri: String
  private let module: Module
  private let sessions: Int
  private let monitor: Monitor<State>

  /// Opens the token and logs in.
  init(
    _ role: TokenRole, uri: String, pin: consuming SecretBytes, module: Module, sessions: Int
  ) throws(CustodyError) {
    self.role = role
    self.uri = uri
    self.module = module
    self.sessions = sessions
    monitor = Monitor(State(pin: PIN(pin)))
    try recover()
  }

  /// Uses a key on a session of the token; once more when the session, the login or the handles were gone. Only for
  /// operations that are safe to repeat.
  func perform<R>(
    with name: KeyName, _ body: (borrowing Session, CustodyKey) throws(PKCS11Error) -> R
  ) throws(CustodyError) -> R {
    let result = try perform("key \(name)") { lease throws(PKCS11Error) -> R? in
      guard let key = try key(name, lease) else { return nil }
      return try body(lease.session, key)
    }
    guard let result else {
      throw CustodyError(.keyNotFound, "\(name) is not on its token: run the ceremony that generates it")
    }
    return result
  }

  /// Uses a session without a key, likewise.
  func perform<R>(_ body: (borrowing Session) throws(PKCS11Error) -> R) throws(CustodyError) -> R {
    try perform("token \(role.rawValue)") { lease throws(PKCS11Error) in try body(lease.session) }
  }

  /// A key, from memory once it was found.
  func key(_ name: KeyName) throws(CustodyError) -> CustodyKey {
    let known = try monitor.read { state throws(CustodyError) -> CustodyKey? in
      if case .closed = state.status { throw closedError }
      return state.keys[name]
    }
    if let known { return known }
    return try perform(with: name) { (_, key) in key }
  }

  /// Logs out, closes the sessions and drops the PIN; operations under way finish first.
  func close() {
    monitor.wait { state -> Void? in
      if case .recovering = state.status { return nil }
      state.status = .closed
      return ()
    }
    let held = monitor.update { state in state.anchor }  // Wakes those who wait for a session: they get an error.
    monitor.wait { state in state.onLoan == 0 ? () : nil }
    // A login that is gone already needs no logout.
    try? held?.session.logout()
    monitor.update { state in
      (state.pin, state.anchor, state.idle, state.keys) = (nil, nil, [], [:])
    }
  }

  private var closedError: CustodyError {
    CustodyError(.unavailable, "token \(role.rawValue) is logged out: unseal first")
  }
}

// MARK: - Operations and recovery

extension TokenConnection {
  private func perform<R>(
    _ subject: String, _ body: (Lease) throws(PKCS11Error) -> R
  ) throws(CustodyError) -> R {
    var repeated = false
    while true {
      let lease = try lease()
      do throws(PKCS11Error) {
        return try attempt(lease, body)
      } catch {
        guard !repeated, error.isCurable else { throw CustodyError(error, subject) }
        repeated = true
      }
    }
  }

  private func attempt<R>(_ lease: Lease, _ body: (Lease) throws(PKCS11Error) -> R) throws(PKCS11Error) -> R {
    do throws(PKCS11Error) {
      let result = try body(lease)
      giveBack(lease, lost: false)
      return result
    } catch {
      let cause = Self.cause(of: error, lease)
      giveBack(lease, lost: cause.isCurable)
      throw cause
    }
  }

  /// Sessions that close in the middle of an operation show as any error (SoftHSM: CKR_GENERAL_ERROR), so behind one
  /// that says nothing the session itself is asked.
  private static func cause(of error: PKCS11Error, _ lease: Lease) -> PKCS11Error {
    guard error.kind == .fatal else { return error }
    do throws(PKCS11Error) { try lease.session.checkLogin() } catch let lost { return lost }
    return error
  }

  private func giveBack(_ lease: Lease, lost: Bool) {
    monitor.update { state in
      state.onLoan -= 1
      guard lease.login == state.login else { return }
      if !lost {
        state.idle.append(lease)
      } else if case .open = state.status {
        state.status = .lost
      }
    }
  }

  /// A working session: waits for one, and opens the token again when it is lost.
  private func lease() throws(CustodyError) -> Lease {
    var waitedFor: UInt64?
    while true {
      let lease = try monitor.wait { state throws(CustodyError) -> Lease?? in
        switch state.status {
        case .open:
          guard let lease = state.idle.popLast() else { return nil }
          state.onLoan += 1
          return lease
        case .recovering:
          waitedFor = waitedFor ?? state.attempts
          return nil
        case .down(let error) where waitedFor == state.attempts: throw CustodyError(error, "token \(role.rawValue)")
        case .lost, .down:
          state.status = .recovering
          state.attempts += 1
          return .some(nil)
        case .latched(let error): throw CustodyError(error, "token \(role.rawValue)")
        case .closed: throw closedError
        }
      }
      if let lease { return lease }
      try recover()
    }
  }

  /// Opens the token: the caller has set the status to `recovering`.
  private func recover() throws(CustodyError) {
    monitor.wait { state in state.onLoan == 0 ? () : nil }
    // What is returned here closes outside the lock.
    _ = monitor.update { state in
      defer { (state.anchor, state.idle) = (nil, []) }
      return (state.anchor, state.idle)
    }
    let (pin, login, known) = monitor.read { state in (state.pin, state.login + 1, state.keys) }
    do throws(PKCS11Error) {
      let opened = try open(pin, login, known)
      monitor.update { state in
        (state.anchor, state.idle, state.keys) = opened
        (state.login, state.reinitialised, state.status) = (login, false, .open)
      }
    } catch {
      monitor.update { state in state.status = error.kind == .caller ? .latched(error) : .down(error) }
      throw CustodyError(error, "token \(role.rawValue)")
    }
  }

  private typealias Opened = (anchor: Lease?, idle: [Lease], keys: [KeyName: CustodyKey])

  private func open(
    _ pin: PIN?, _ login: UInt64, _ known: [KeyName: CustodyKey]
  ) throws(PKCS11Error) -> Opened {
    guard let pin else { throw PKCS11Error(.userNotLoggedIn, in: "C_Login", "the PIN is gone: unseal first") }
    let generation = module.generation
    do throws(PKCS11Error) {
      return try connect(pin, login, known)
    } catch {
      // Sessions may be lost again while they are being opened. A refused PIN is another class and is never repeated.
      if error.kind == .relogin, login > 1 { return try connect(pin, login, known) }
      let once = monitor.update { state in
        defer { state.reinitialised = true }
        return !state.reinitialised
      }
      guard error.kind == .reinitialise, login > 1, once else { throw error }
      try module.reinitialize(ifStill: generation)
      return try connect(pin, login, known)
    }
  }

  private func connect(
    _ pin: PIN, _ login: UInt64, _ known: [KeyName: CustodyKey]
  ) throws(PKCS11Error) -> Opened {
    let slot = try module.token(uri).slot
    let anchor = Lease(try Session(module, slot: slot), login: login)
    do throws(PKCS11Error) {
      try anchor.session.login(.user, pin: pin.secret)
    } catch {
      // At first it would leave the PIN unproven; later it means that the login outlived the sessions.
      guard error.code == .userAlreadyLoggedIn, login > 1 else { throw error }
    }
    var idle: [Lease] = []
    for _ in 0..<sessions { idle.append(Lease(try Session(module, slot: slot), login: login)) }
    var keys: [KeyName: CustodyKey] = [:]
    for (name, key) in known {
      guard let found = try CustodyKey.find(name, id: key.id, anchor.session) else { continue }
      guard found.publicKey == key.publicKey else {
        throw PKCS11Error(.keyChanged, in: "C_FindObjects", "\(name) has another public key than before")
      }
      keys[name] = found
    }
    return (anchor, idle, keys)
  }

  private func key(_ name: KeyName, _ lease: Lease) throws(PKCS11Error) -> CustodyKey? {
    if let known = monitor.read({ state in state.login == lease.login ? state.keys[name] : nil }) { return known }
    guard let found = try CustodyKey.find(name, id: nil, lease.session) else { return nil }
    monitor.update { state in
      if state.login == lease.login { state.keys[name] = found }
    }
    return found
  }
}

extension PKCS11Error {
  /// True when opening the token again may help.
  fileprivate var isCurable: Bool { kind == .retry || kind == .relogin || kind == .reinitialise }
}
