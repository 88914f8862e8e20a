import KeyHierarchy
import PKCS11
import Synchronization

// Lending sessions, and taking them back.
extension TokenConnection {
  /// In what state a session comes back.
  enum Return {
    /// Its operation succeeded.
    case worked
    /// Nothing is wrong with it.
    case whole
    /// The token had no room.
    case full(PKCS11Error)
    /// It is of no more use, the others are.
    case spoilt
    /// All are gone.
    case lost(PKCS11Error)
    /// The token must not be used.
    case latch(PKCS11Error)
  }

  enum Step {
    case use(Lease)
    /// Opens one more, of this login.
    case grow(UInt64)
    case recover
  }

  /// A session: waits for one, opens one more where that is allowed, and opens the token again when it is lost.
  ///
  /// - Returns: It, with the operation inside the HSM (``Operation/Phase/calling``); why none could be opened.
  func lease(_ operation: Operation, _ purpose: Purpose) throws(TokenFailure) -> Result<Lease, PKCS11Error> {
    let id = ObjectIdentifier(operation)
    while true {
      let step = try monitor.wait { state throws(TokenFailure) -> Step? in
        guard !operation.isSettled else { throw late }
        switch state.status {
        case .open: return state.lend(purpose, to: id)
        case .recovering:
          guard !state.isOverdue else { throw overdue }
          return nil
        case .down(let failure, let until):
          guard clock.now >= until else { throw failure }
        case .lost: break
        case .latched(let failure): throw failure
        case .closed: throw closed
        }
        state.status = .recovering(id)
        return .recover
      }
      switch step {
      case .use(let lease):
        guard operation.enter() else {
          giveBack(operation, lease, .whole)
          throw late
        }
        return .success(lease)
      case .grow(let login):
        guard operation.enter() else {
          monitor.update { state in
            // Unless it was quarantined, nothing having been opened.
            if state.lent.removeValue(forKey: id) != nil { state.pool -= 1 } else { state.quarantined -= 1 }
          }
          throw late
        }
        if let result = grow(operation, login) {
          guard case .success(let lease) = result, operation.isSettled else { return result }
          giveBack(operation, lease, .whole)
          throw late
        }
        guard operation.leave() else { throw late }
      case .recover: try recover(operation)
      }
    }
  }

  var overdue: TokenFailure {
    TokenFailure(
      error: CustodyError(.unavailable, "\(subject) does not answer the login: check the HSM and its network"),
      elsewhere: true)
  }

  /// Opens one more working session; nil when the token has none to give, and there are others to wait for.
  private func grow(_ operation: Operation, _ login: UInt64) -> Result<Lease, PKCS11Error>? {
    do throws(PKCS11Error) {
      return .success(Lease(try Session(module, slot: module.token(uri).slot), login: login))
    } catch {
      let goesOn = monitor.update { state in
        guard state.lent.removeValue(forKey: ObjectIdentifier(operation)) != nil else {
          state.quarantined -= 1
          return false
        }
        guard state.login == login else { return false }
        state.pool -= 1
        if error.code == .sessionCount { state.poolLimit = state.pool }
        if error.kind == .relogin || error.kind == .reinitialise, case .open = state.status { state.status = .lost }
        return error.code == .sessionCount
      }
      return goesOn ? nil : .failure(error)
    }
  }

  func giveBack(_ operation: Operation, _ lease: Lease, _ state: Return) {
    let failure: TokenFailure? =
      switch state {
      case .full(let error), .lost(let error), .latch(let error):
        TokenFailure(error: CustodyError(error, subject), elsewhere: true)
      default: nil
      }
    monitor.update { all in
      if !all.users.isEmpty { all.users[ObjectIdentifier(operation)] = nil }
      guard let isAnchor = all.lent.removeValue(forKey: ObjectIdentifier(operation)) else {
        // It hung. What it held closes with it, and there may be room again.
        all.quarantined -= 1
        if lease.isAnchor { all.quarantinedAnchors -= 1 }
        all.poolLimit = max(1, limits.sessionsPerToken)
        return
      }
      guard lease.login == all.login else { return }
      if case .worked = state { (all.failures, all.isFull) = (0, false) }
      if case .full = state { all.isFull = true }
      if let failure { all.reason = failure.error.message }
      switch state {
      case .worked, .whole, .full:
        if lease.isTainted.load(ordering: .relaxed) {
          if isAnchor { all.lose() } else { all.pool -= 1 }
        } else if !isAnchor {
          all.idle.append(lease)
        }
      case .spoilt:
        if !isAnchor { all.pool -= 1 } else { all.lose() }
      case .lost:
        if !isAnchor { all.pool -= 1 }
        all.lose()
      case .latch:
        if !isAnchor { all.pool -= 1 }
        if let failure { all.status = .latched(failure) }
      }
    }
  }
}

extension TokenConnection.State {
  /// Lends a session, or room for one more; nil while there is none.
  fileprivate mutating func lend(
    _ purpose: TokenConnection.Purpose, to operation: ObjectIdentifier
  ) -> TokenConnection.Step? {
    if purpose == .work {
      if let lease = idle.popLast() {
        lent[operation] = false
        return .use(lease)
      }
      if pool < poolLimit {
        pool += 1
        lent[operation] = false
        return .grow(login)
      }
      guard poolLimit == 0 else { return nil }
    }
    guard let anchor, !lent.values.contains(true) else { return nil }
    lent[operation] = true
    return .use(anchor)
  }
}
