import KeyHierarchy
import PKCS11

// New keys in slots. While a key is being replaced it is refused at once; signatures that had begun with it end first,
// as far as they end in time. From the first object that is destroyed until the new key is known nobody can tell what is
// in the slot: it is unsettled, and refused, until a replacement succeeds.
extension TokenConnection {
  /// Destroys the pair under a name and, when asked to, generates a new one; safe to repeat.
  ///
  /// - Returns: The new key.
  func renew(_ name: KeyName, generating: Bool, _ operation: Operation) throws(TokenFailure) -> CustodyPublicKey? {
    guard monitor.update({ $0.replacing.insert(name).inserted }) else {
      throw TokenFailure(error: CustodyError(.busy, "\(name) is being replaced already: try again once that has ended"))
    }
    defer { monitor.update { state in _ = state.replacing.remove(name) } }
    try monitor.wait { state throws(TokenFailure) -> Void? in
      guard !operation.isSettled else { throw late }
      return state.users.values.contains(name) ? nil : ()
    }
    // The anchor is writable, and lent to one at a time.
    let renewal = try repeating(operation, "replacing \(name)") { () throws(TokenFailure) in
      try attempt(operation, on: .anchor) { lease throws(PKCS11Error) in
        try renew(name, generating, lease, operation)
      }
    }
    switch renewal {
    case .empty: return nil
    case .made(let publicKey): return publicKey
    case .hindered:
      throw TokenFailure(
        error: CustodyError(.unavailable, "a call that hangs may still make a key: try again once it came back"))
    }
  }

  private enum Renewal {
    case made(CustodyPublicKey)
    case empty
    case hindered
  }

  private func renew(
    _ name: KeyName, _ generating: Bool, _ lease: Lease, _ operation: Operation
  ) throws(PKCS11Error) -> Renewal {
    // What hung on an earlier anchor goes on where it was when it comes back, and ends with the next step.
    guard monitor.read({ $0.quarantinedAnchors == 0 }) else { return .hindered }
    let old = try Self.objects(of: name, lease)
    try checkWanted(operation)
    known.unsettle(name)
    monitor.update { $0.keys[name] = nil }
    for object in old {
      try lease.session.destroyObject(object)
      try checkWanted(operation)
    }
    guard try Self.objects(of: name, lease).isEmpty else {
      throw PKCS11Error(.functionFailed, in: "C_DestroyObject", "objects of \(name) are still on the token")
    }
    guard generating else {
      known.settle(name, nil)
      return .empty
    }
    let id = try lease.session.generate(name)
    guard let new = try CustodyKey.find(name, known: nil, lease.session), new.id == id,
      case .publicKey(let publicKey) = new.identity
    else { throw PKCS11Error(.functionFailed, in: "C_GenerateKeyPair", "the new \(name) is not to be found") }
    guard try Self.isLocked(new.handle, lease) else {
      try lease.session.destroyObject(new.handle)
      throw PKCS11Error(.templateInconsistent, in: "C_GenerateKeyPair", "the token would hand the new \(name) out")
    }
    try checkWanted(operation)
    monitor.update { state in state.keys[name] = state.login == lease.login ? new : nil }
    known.settle(name, new.identity)
    return .made(publicKey)
  }

  /// Once its caller was told that it is late, it must change nothing any more.
  private func checkWanted(_ operation: Operation) throws(PKCS11Error) {
    guard !operation.isSettled else { throw PKCS11Error(.functionFailed, in: "Module", "nobody waits for it any more") }
  }

  /// Both halves, the private ones first: without them the rest is of no use.
  private static func objects(of name: KeyName, _ lease: Lease) throws(PKCS11Error) -> [ObjectHandle] {
    var found: [ObjectHandle] = []
    for half in [ObjectClass.privateKey, .publicKey] {
      found += try lease.session.findObjects([.objectClass(half), .flag(.token, true), .label(name.label)])
    }
    return found
  }

  private static func isLocked(_ key: ObjectHandle, _ lease: Lease) throws(PKCS11Error) -> Bool {
    guard try lease.session.flag(.sensitive, of: key), try lease.session.flag(.local, of: key),
      try !lease.session.flag(.extractable, of: key)
    else { return false }
    return true
  }
}
