import KeyHierarchy
import PKCS11
import SecretMemory
import Synchronization

// What custody does with an open token.
extension TokenConnection {
  private enum Answer<R> {
    case done(R)
    case absent, replaced, replacing
  }

  /// Uses a key on a session of the token; once more when the session, the login or the handles were gone.
  ///
  /// - Parameter expected: What the key must be; nil when any that custody knows will do.
  func use<R>(
    _ name: KeyName, expecting expected: KeyIdentity? = nil, _ operation: Operation,
    _ body: (borrowing Session, CustodyKey) throws(PKCS11Error) -> R
  ) throws(TokenFailure) -> R {
    let answer = try repeating(operation, "key \(name)") { () throws(TokenFailure) in
      try attempt(operation) { lease throws(PKCS11Error) -> Answer<R> in
        guard !name.isReplaceable || borrow(name, operation) else { return .replacing }
        guard let key = try key(name, lease) else { return .absent }
        guard expected.map({ $0 == key.identity }) ?? true else { return .replaced }
        return .done(try body(lease.session, key))
      }
    }
    switch answer {
    case .done(let result): return result
    case .absent:
      throw TokenFailure(
        error: CustodyError(.keyNotFound, "\(name) is not on its token: run the ceremony that generates it"),
        elsewhere: true)
    case .replaced: throw TokenFailure(error: CustodyError(replaced: name))
    case .replacing:
      throw TokenFailure(
        error: CustodyError(
          .keyReplaced, "\(name) is being replaced, or that did not succeed: replace it, then use the new key"))
    }
  }

  /// Keeps a key in its slot until the session is given back; false when it is being replaced.
  private func borrow(_ name: KeyName, _ operation: Operation) -> Bool {
    monitor.update(waking: .none) { state in
      // Both under one lock: a replacement may fail between two looks.
      guard !state.replacing.contains(name), !known.isUnsettled(name) else { return false }
      state.users[ObjectIdentifier(operation)] = name
      return true
    }
  }

  /// Uses a session without a key, likewise.
  func use<R>(
    _ operation: Operation, _ body: (borrowing Session) throws(PKCS11Error) -> R
  ) throws(TokenFailure) -> R {
    try repeating(operation, subject) { () throws(TokenFailure) in
      try attempt(operation) { lease throws(PKCS11Error) in try body(lease.session) }
    }
  }

  /// Wraps a secret under the root key. It is an extractable object for the one C_WrapKey, and gone afterwards: when it
  /// cannot be destroyed, with its session.
  func wrap(_ secret: SharedSecret, _ operation: Operation) throws(TokenFailure) -> WrappedKey {
    try repeating(operation, "wrapping a key") { () throws(TokenFailure) in
      try attempt(operation) { lease throws(PKCS11Error) -> WrappedKey in
        let root = try rootKEK(lease)
        let key = try created(secret, lease)
        let wrapped: [UInt8]
        do throws(PKCS11Error) {
          wrapped = try lease.session.wrapKey(key, with: root.0, mechanism: root.1)
        } catch {
          try destroyed(key, lease)
          throw error
        }
        try destroyed(key, lease)
        return WrappedKey(wrapped)
      }
    }
  }

  private func created(_ secret: SharedSecret, _ lease: Lease) throws(PKCS11Error) -> ObjectHandle {
    do throws(PKCS11Error) {
      return try lease.session.createObject(
        Session.transient(extractable: true, []), secretValue: secret.secret)
    } catch {
      // It may be there all the same, without a handle.
      lease.isTainted.store(true, ordering: .relaxed)
      throw error
    }
  }

  private func destroyed(_ key: ObjectHandle, _ lease: Lease) throws(PKCS11Error) {
    do throws(PKCS11Error) { try lease.session.destroyObject(key, isSessionObject: true) } catch {
      // As of a session that is gone: it is closed, and its objects with it.
      throw PKCS11Error(.sessionClosed, in: error.function, "an extractable key could not be destroyed: \(error.code)")
    }
  }

  /// Bytes from the token's generator, in locked memory.
  func random(_ count: Int, _ operation: Operation) throws(TokenFailure) -> SharedSecret {
    var secret: SecretBytes
    do throws(SecretMemoryError) { secret = try SecretBytes(zeros: count) } catch {
      throw TokenFailure(error: CustodyError(error, subject))
    }
    try use(operation) { session throws(PKCS11Error) in
      try unsafe secret.withUnsafeMutableBytes { (target) throws(PKCS11Error) in
        try unsafe session.generateRandom(into: target)
      }
    }
    return SharedSecret(secret)
  }

  /// Lines of the table of missing mechanisms. It needs no login.
  func missingMechanisms(_ operation: Operation) throws(TokenFailure) -> [String] {
    guard operation.enter() else { throw late }
    let result = Result { () throws(PKCS11Error) in
      let slot = try module.token(uri).slot
      return try role.missingMechanisms { type throws(PKCS11Error) in try module.mechanism(type, in: slot)?.uses }
    }
    guard operation.leave() else { throw late }
    switch result {
    case .success(let missing): return missing
    case .failure(let error): throw TokenFailure(error: CustodyError(error, subject), elsewhere: true)
    }
  }

  // MARK: Standing and end

  /// Whether an operation is to be sent here.
  enum Standing {
    case ready
    /// It is being opened, or an operation would open it.
    case recovering
    /// It failed, and its pause is over.
    case due
    case refused(TokenFailure)
  }

  func standing(_ now: Duration) -> Standing {
    if let refusal = executor.refusal { return .refused(refusal) }
    return monitor.read { state in
      switch state.status {
      case .open, .lost: .ready
      case .recovering: state.isOverdue ? .refused(overdue) : .recovering
      case .down(let failure, let until): now >= until ? .due : .refused(failure)
      case .latched(let failure): .refused(failure)
      case .closed: .refused(closed)
      }
    }
  }

  /// Opens it again without anybody waiting, one at a time.
  func reopenInBackground(by deadline: Duration) {
    let isFirst = monitor.update { state in
      defer { state.isReopening = true }
      return !state.isReopening
    }
    guard isFirst else { return }
    executor.submit(
      operation(by: deadline) { (token, operation) throws(TokenFailure) in
        try token.ensureOpen(operation)
      } answer: { [self] _ in
        monitor.update { $0.isReopening = false }
      })
  }

  /// How it does.
  func health(isInUse: Bool) -> TokenHealth {
    let refusal = executor.refusal
    return monitor.read { state in
      let condition: TokenHealth.State =
        switch state.status {
        case .closed: .closed
        case .latched: .latched
        case _ where refusal != nil: .unresponsive
        case .open: state.isFull ? .full : .ready
        case .recovering: state.isOverdue ? .unresponsive : .recovering
        case .lost: .recovering
        case .down: state.isFull ? .full : .down
        }
      return TokenHealth(
        role: role, member: member, label: state.label, serial: state.serial, state: condition, isInUse: isInUse,
        reason: condition == .ready
          ? "" : condition == .unresponsive ? (refusal ?? overdue).error.message : state.reason,
        logins: state.login, sessions: (state.anchor == nil ? 0 : 1) + state.pool + state.quarantined,
        lent: state.lent.count + state.quarantined)
    }
  }

  /// Logs out, closes the sessions and drops the PIN; operations under way finish first, as far as they do in time.
  func close(by deadline: Duration) {
    let answer = Monitor(false)
    executor.stop(
      with: operation(by: deadline) { (token, operation) in
        token.logOut(operation)
      } answer: { _ in
        answer.update { $0 = true }
      })
    answer.wait { $0 ? () : nil }
    let left = monitor.update { state in
      defer {
        (state.status, state.pin) = (.closed, nil)
        (state.anchor, state.idle, state.pool, state.keys) = (nil, [], 0, [:])
        state.keks.removeAll()
      }
      return [state.anchor].compactMap(\.self) + state.idle
    }
    // Something hangs: closing may hang too, and not here.
    if !left.isEmpty { executor.abandon { _ = left } }
  }

  private func logOut(_ operation: Operation) {
    executor.waitUntilAlone(operation)
    guard operation.enter() else { return }
    let isOpen = monitor.read { state in if case .open = state.status { true } else { false } }
    if isOpen, let anchor = monitor.read({ state in state.anchor }) {
      // A login that is gone already needs no logout.
      try? anchor.session.logout()
    }
    _ = monitor.update { state in
      defer { (state.anchor, state.idle, state.pool) = (nil, [], 0) }
      return (state.anchor, state.idle)
    }
  }
}
