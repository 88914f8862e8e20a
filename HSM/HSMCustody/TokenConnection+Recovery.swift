import KeyHierarchy
import PKCS11
import SecretMemory

// Opening the token, at first and again.
extension TokenConnection {
  /// Makes sure that the token is open.
  func ensureOpen(_ operation: Operation) throws(TokenFailure) {
    try repeating(operation, subject) { () throws(TokenFailure) in
      try attempt(operation, on: .anchor) { (_) throws(PKCS11Error) in }
    }
  }

  /// Opens the token: the caller has set the status to `recovering`.
  func recover(_ operation: Operation) throws(TokenFailure) {
    // A session that is closed while another thread uses it is freed there (SoftHSM). Hanging ones are left out, and
    // close when their calls come back.
    let isDrained = monitor.wait { state -> Bool? in
      if operation.isSettled { return false }
      return state.lent.isEmpty ? true : nil
    }
    guard isDrained, operation.enter() else {
      monitor.update { state in
        if case .recovering(ObjectIdentifier(operation)) = state.status { state.status = .lost }
      }
      throw late
    }
    let failure = reopen()
    guard operation.leave() else { throw late }
    if let failure { throw failure }
  }

  private func reopen() -> TokenFailure? {
    closeSessions()
    let (pin, login, known, failures) = monitor.read { state in
      (state.pin, state.login + 1, state.keys, state.failures)
    }
    do throws(PKCS11Error) {
      let opened = try open(pin, login, known, failures)
      let isStillWanted = monitor.update { state -> Bool in
        guard case .recovering = state.status else { return false }
        state.adopt(opened, login)
        return true
      }
      return isStillWanted ? nil : closed
    } catch {
      let failure = TokenFailure(error: CustodyError(error, subject), elsewhere: true)
      let now = clock.now
      monitor.update { state in
        guard case .recovering = state.status else { return }
        state.isOverdue = false
        if error.latches, !(error.code == .userAlreadyLoggedIn && state.quarantined > 0) {
          state.reason = failure.error.message
          state.status = .latched(failure)
        } else {
          state.goDown(failure, now)
        }
      }
      return failure
    }
  }

  /// Closes what is not in use, outside the lock.
  private func closeSessions() {
    _ = monitor.update { state in
      defer {
        (state.anchor, state.idle, state.pool, state.lent) = (nil, [], 0, [:])
        state.keks.removeAll()
        state.hasOrphans = false
      }
      return (state.anchor, state.idle)
    }
  }

  struct Opened {
    let token: TokenInfo
    let anchor: Lease
    var idle: [Lease] = []
    var keys: [KeyName: CustodyKey] = [:]
  }

  private func open(
    _ pin: SharedSecret?, _ login: UInt64, _ known: [KeyName: CustodyKey], _ failures: Int
  ) throws(PKCS11Error) -> Opened {
    guard let pin else { throw PKCS11Error(.userNotLoggedIn, in: "C_Login", "the PIN is gone: unseal first") }
    let generation = module.generation
    do throws(PKCS11Error) {
      return try connect(pin, login, known)
    } catch {
      // Sessions may be lost again while they are being opened. A refused PIN is another class and is never repeated.
      if error.kind == .relogin, login > 1 { return try connect(pin, login, known) }
      guard error.kind == .reinitialise, login > 1 || failures > 0,
        module.isIdle || Self.isWorthDisturbing(failures)
      else { throw error }
      try module.reinitialize(ifStill: generation)
      return try connect(pin, login, known)
    }
  }

  /// Initialising the module again costs every token its sessions: where there are any, at the first failure of an
  /// outage, then at the 8th, the 64th and so on.
  static func isWorthDisturbing(_ failures: Int) -> Bool {
    var step = failures
    while step > 1, step.isMultiple(of: 8) { step /= 8 }
    return failures == 0 || (step == 1 && failures > 1)
  }

  private func connect(
    _ pin: SharedSecret, _ login: UInt64, _ known: [KeyName: CustodyKey]
  ) throws(PKCS11Error) -> Opened {
    let token = try module.token(uri)
    monitor.update { state in (state.label, state.serial) = (token.label, token.serial) }
    guard token.pinState != .finalTry, token.pinState != .locked else {
      throw PKCS11Error(.pinLocked, in: "C_Login", "the token takes one more PIN or none: log in by hand first")
    }
    var opened = Opened(token: token, anchor: Lease(try anchorSession(token.slot), login: login, isAnchor: true))
    do throws(PKCS11Error) {
      try opened.anchor.session.login(.user, pin: pin.secret)
    } catch {
      // At first it would leave the PIN unproven; later it means that the login outlived the sessions.
      guard error.code == .userAlreadyLoggedIn, login > 1 else { throw error }
      try opened.anchor.session.checkLogin()
    }
    for _ in 0..<max(1, limits.sessionsPerToken) {
      do throws(PKCS11Error) {
        opened.idle.append(Lease(try Session(module, slot: token.slot), login: login))
      } catch {
        // Fewer have to do, the anchor alone even.
        guard error.code == .sessionCount else { throw error }
        break
      }
    }
    for name in Set(self.known.names).union(known.keys) where !self.known.isUnsettled(name) {
      if let key = try find(name, known: known[name], opened.anchor) { opened.keys[name] = key }
    }
    return opened
  }

  /// The anchor makes the keys that are replaced, so that a token with one session can do that too.
  private func anchorSession(_ slot: SlotID) throws(PKCS11Error) -> Session {
    guard KeyName.replaceable.contains(where: { $0.token == role }) else { return try Session(module, slot: slot) }
    do throws(PKCS11Error) { return try Session(module, slot: slot, writable: true) } catch {
      guard error.code == .tokenWriteProtected else { throw error }
      return try Session(module, slot: slot)
    }
  }

  private func find(_ name: KeyName, known: CustodyKey?, _ lease: Lease) throws(PKCS11Error) -> CustodyKey? {
    let key: CustodyKey?
    do throws(PKCS11Error) { key = try CustodyKey.find(name, known: known, lease.session) } catch {
      // Replacing it helps, and the other keys do not wait for that.
      guard error.code == .unfit, name.isReplaceable else { throw error }
      return nil
    }
    if let key { try self.known.check(key.identity, of: name) }
    return key
  }

  /// A key, from memory once it was found.
  func key(_ name: KeyName, _ lease: Lease) throws(PKCS11Error) -> CustodyKey? {
    if let found = monitor.read({ state in state.login == lease.login ? state.keys[name] : nil }) { return found }
    guard let found = try find(name, known: nil, lease) else { return nil }
    monitor.update { state in
      if state.login == lease.login { state.remember(found, name) }
    }
    return found
  }
}

extension TokenConnection.State {
  fileprivate mutating func adopt(_ opened: TokenConnection.Opened, _ login: UInt64) {
    (anchor, idle, pool, poolLimit) = (opened.anchor, opened.idle, opened.idle.count, opened.idle.count)
    (self.login, status, isOverdue) = (login, .open, false)
    keys = [:]
    for (name, key) in opened.keys { remember(key, name) }
  }

  fileprivate mutating func remember(_ key: CustodyKey, _ name: KeyName) {
    keys[name] = key
    if let found = key.wrapping?.hostileUnwrap { hostileUnwrap = found }
  }
}
