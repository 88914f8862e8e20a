import KeyHierarchy
import PKCS11

// Key-encryption keys: session objects of the anchor, which every session of the token may use.
extension TokenConnection {
  private enum KEKAnswer {
    case table(KEKTable.Answer, login: UInt64)
    case reopen
  }

  /// Uses a key-encryption key, which is loaded when it is not there; once more when the login was lost.
  func withKEK<R>(
    _ kek: WrappedKey, _ operation: Operation,
    _ body: (borrowing Session, ObjectHandle) throws(PKCS11Error) -> R
  ) throws(TokenFailure) -> R {
    try repeating(operation, "a key-encryption key") { () throws(TokenFailure) -> Outcome<R> in
      switch try load(kek, operation) {
      case .failed(let error, let isCurable): return .failed(error, isCurable: isCurable)
      case .stale: return .stale
      case .done((let handle, let login)):
        defer {
          monitor.update { state in
            if state.login == login { state.keks.release(kek) }
          }
        }
        return try attempt(operation, login: login) { lease throws(PKCS11Error) in try body(lease.session, handle) }
      }
    }
  }

  /// The key's object; it counts as used until it is released.
  private func load(
    _ kek: WrappedKey, _ operation: Operation
  ) throws(TokenFailure) -> Outcome<(ObjectHandle, UInt64)> {
    while true {
      let answer = try monitor.wait { state throws(TokenFailure) -> KEKAnswer? in
        guard !operation.isSettled else { throw late }
        guard case .open = state.status else { return .reopen }
        let answer = state.keks.acquire(kek)
        return answer == .wait ? nil : .table(answer, login: state.login)
      }
      switch answer {
      case .reopen: try ensureOpen(operation)
      case .table(.use(let handle), let login): return .done((handle, login))
      case .table(.load(let evicted), let login): return try unwrap(kek, evicted, login, operation)
      case .table(.wait, _): continue
      }
    }
  }

  private func unwrap(
    _ kek: WrappedKey, _ evicted: ObjectHandle?, _ login: UInt64, _ operation: Operation
  ) throws(TokenFailure) -> Outcome<(ObjectHandle, UInt64)> {
    var isLoaded = false
    defer {
      monitor.update { state in
        if !isLoaded, state.login == login { state.keks.failed(kek) }
      }
    }
    let outcome = try attempt(operation, on: .anchor, login: login) { lease throws(PKCS11Error) -> ObjectHandle in
      if let evicted { try lease.session.destroyObject(evicted, isSessionObject: true) }
      let root = try rootKEK(lease)
      do throws(PKCS11Error) {
        return try unwrap(kek, root, lease)
      } catch {
        guard error.isFull else { throw error }
        // The token is full of keys that nobody uses at the moment: those can be loaded again.
        for handle in monitor.update({ state in state.login == login ? state.keks.removeUnused() : [] }) {
          try lease.session.destroyObject(handle, isSessionObject: true)
        }
        return try unwrap(kek, root, lease)
      }
    }
    guard case .done(let handle) = outcome else {
      if case .failed(let error, let isCurable) = outcome { return .failed(error, isCurable: isCurable) }
      return .stale
    }
    isLoaded = monitor.update { state in
      guard state.login == login else { return false }
      state.keks.loaded(kek, handle)
      return true
    }
    return isLoaded ? .done((handle, login)) : .stale
  }

  private func unwrap(
    _ kek: WrappedKey, _ root: (ObjectHandle, MechanismType), _ lease: Lease
  ) throws(PKCS11Error) -> ObjectHandle {
    do throws(PKCS11Error) {
      return try lease.session.unwrapKey(
        kek.bytes, with: root.0, mechanism: root.1,
        Session.transient(extractable: false, [.encrypt, .decrypt]))
    } catch {
      // It may be there all the same: forgetting a key has the anchor closed then.
      monitor.update(waking: .none) { state in
        if state.login == lease.login { state.hasOrphans = true }
      }
      guard error.kind == .data || error.kind == .fatal else { throw error }
      // Tokens have many names for a wrapped key that does not open (SoftHSM: CKR_GENERAL_ERROR).
      try lease.session.checkLogin()
      throw PKCS11Error(.aeadDecryptFailed, in: "C_UnwrapKey", "\(error.code): it was not wrapped by this root-kek")
    }
  }

  /// The root key and how it wraps.
  func rootKEK(_ lease: Lease) throws(PKCS11Error) -> (ObjectHandle, MechanismType) {
    guard let key = try key(.rootKEK, lease), let wrapping = key.wrapping else {
      throw PKCS11Error(.rootMissing, in: "C_FindObjects", "\(KeyName.rootKEK) is not on its token")
    }
    return (key.handle, wrapping.mechanism)
  }

  /// Destroys a key's object once nobody uses it.
  func forget(_ kek: WrappedKey, _ operation: Operation) throws(TokenFailure) {
    while true {
      let answer = try monitor.wait { state throws(TokenFailure) -> KEKAnswer?? in
        guard !operation.isSettled else { throw late }
        guard state.quarantinedAnchors == 0 else {
          throw TokenFailure(
            error: CustodyError(.unavailable, "a call that hangs may still hold the key: try again once it came back"))
        }
        if state.hasOrphans {
          switch state.status {
          case .latched(let failure): throw failure
          case .closed: throw closed
          default: state.lose()
          }
          return .some(.reopen)
        }
        switch state.keks.remove(kek) {
        case nil: return .some(nil)
        case .wait: return nil
        case .some(let answer): return .some(.table(answer, login: state.login))
        }
      }
      if case .reopen = answer {
        // What closes the sessions destroys what they have; whether the token comes back is another matter.
        try? ensureOpen(operation)
        continue
      }
      guard case .table(.use(let handle), let login) = answer else { return }
      switch try attempt(
        operation, on: .anchor, login: login,
        { lease throws(PKCS11Error) in try lease.session.destroyObject(handle, isSessionObject: true) })
      {
      case .done: return
      // It went with its login.
      case .stale: return
      case .failed(let error, _):
        // What closes the sessions destroys it too.
        monitor.update { state in
          if state.login == login { state.lose() }
        }
        guard !error.isAboutObject else { continue }
        try? ensureOpen(operation)
      }
    }
  }
}

extension PKCS11Error.Code {
  /// There is no root key: ours, beyond the 32 bits of any CKR.
  static let rootMissing = Self(rawValue: 0x1_0000_0002)
}
