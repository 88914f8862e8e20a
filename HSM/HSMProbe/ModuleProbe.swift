public import PKCS11
public import SecretMemory

/// Finds out what a token can do by asking it and by trying it, with session objects alone, all of which it destroys.
///
/// It makes calls that the typed client refuses, past the module's own order of calls: nobody else writes objects or
/// reinitialises the module meanwhile. It never tries a PIN that may be wrong, unless told to, and then on SoftHSM alone,
/// which does not count.
public struct ModuleProbe: Sendable {
  private let module: Module
  private let token: TokenInfo
  /// Tries C_Login with a wrong PIN while logged in. Does nothing on tokens that could lock the PIN.
  public var triesSecondLogin = false

  /// A probe for one token.
  ///
  /// - Parameters:
  ///   - module: The library.
  ///   - token: An RFC 7512 URI, as ``PKCS11/Module/token(_:)`` takes it.
  public init(_ module: Module, token: String) throws(PKCS11Error) {
    self.module = module
    self.token = try module.token(token)
  }

  /// Logs in, probes and logs out.
  ///
  /// - Throws: What the login answers, or what ended the session.
  public func run(pin: borrowing SecretBytes) throws(PKCS11Error) -> HSMProfile {
    let session = try Session(module, slot: token.slot, writable: true)
    try session.login(.user, pin: pin)
    let profile = try run(session)
    try session.logout()
    return profile
  }

  /// Probes in a session that is writable and logged in.
  ///
  /// - Throws: What ended the session. A refusal of a single trial is a finding.
  public func run(_ session: borrowing Session) throws(PKCS11Error) -> HSMProfile {
    var mechanisms: [HSMProfile.Mechanism] = []
    for type in try module.mechanisms(in: token.slot) {
      guard let info = try module.mechanism(type, in: token.slot) else { continue }
      mechanisms.append(.init(type, info.uses, keys: info.keySizes))
    }
    let raw = RawSession(session)
    defer { raw.destroyAll() }
    let facts = try raw.describe(token.slot)
    var trial = Trial(session: raw, offered: Set(mechanisms.map(\.type)))
    var behaviour = Behaviour()
    behaviour.random = attempt { () throws(PKCS11Error) in try random(session) }
    behaviour.sessionObjects = trial.sessionObjects()
    if behaviour.sessionObjects.value == .stored { trial.restraint = "session objects are stored on the token" }
    (behaviour.sharedAmongSessions, behaviour.outlivesItsSession) = siblings(trial, behaviour.sessionObjects)
    if triesSecondLogin { behaviour.secondLogin = secondLogin(session) }
    behaviour.keyWrap = trial.wrap(Probed.keyWrap)
    behaviour.keyWrapPad = trial.wrap(Probed.keyWrapPad)
    behaviour.keyWrapKWP = trial.wrap(Probed.keyWrapKWP)
    behaviour.unwrapTemplate = trial.unwrapTemplate()
    behaviour.gcm = trial.gcm()
    behaviour.ecdsa = trial.ecdsa()
    behaviour.eddsa = trial.eddsa()
    behaviour.oaep = trial.oaep()
    // What looked like a refusal may have been the end of the session.
    try session.checkLogin()
    return HSMProfile(
      library: facts.0, token: facts.1, limits: facts.2, mechanisms: mechanisms, behaviour: behaviour)
  }

  private func random(_ session: borrowing Session) throws(PKCS11Error) -> Finding<Behaviour.Works> {
    func draw(_ session: borrowing Session) throws(PKCS11Error) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: 32)
      // Typed throws do not pass through the closure's rethrowing in the standard library.
      let result = unsafe bytes.withUnsafeMutableBytes { target -> Result<Void, PKCS11Error> in
        do throws(PKCS11Error) { return .success(try unsafe session.generateRandom(into: target)) } catch {
          return .failure(error)
        }
      }
      try result.get()
      return bytes
    }
    let (first, second) = (try draw(session), try draw(session))
    return first != second ? .found(.works) : .untried("it gave the same 32 bytes twice")
  }

  /// An object of a session of its own, seen from the main one before and after that session ends.
  private func siblings(
    _ trial: Trial, _ sessionObjects: Finding<Behaviour.SessionObjects>
  ) -> (Finding<Behaviour.Answer>, Finding<Behaviour.Answer>) {
    guard sessionObjects.value == .works else {
      return (.untried("no session objects"), .untried("no session objects"))
    }
    func made() throws(PKCS11Error) -> (key: UInt, shared: Bool) {
      let sibling = try Session(module, slot: token.slot, writable: true)
      let key = try Trial(session: RawSession(sibling), offered: trial.offered).anyKey()
      return (key, trial.sees(key))
    }
    do throws(PKCS11Error) {
      let (key, shared) = try made()
      let outlives = trial.sees(key)
      if outlives { trial.session.adopt(key) }
      return (.found(shared ? .yes : .no), .found(outlives ? .yes : .no))
    } catch {
      let why = "a second session was refused with \(error.code)"
      return (.untried(why), .untried(why))
    }
  }

  private func secondLogin(_ session: borrowing Session) -> Finding<Behaviour.SecondLogin> {
    guard token.manufacturer == "SoftHSM project" else { return .untried("it could lock the PIN") }
    do throws(PKCS11Error) {
      let wrong: SecretBytes
      do throws(SecretMemoryError) { wrong = try SecretBytes.random(count: 8) } catch {
        return .untried("no locked memory")
      }
      try session.login(.user, pin: wrong)
      return .found(.pinIgnored)
    } catch {
      switch error.code {
      case .userAlreadyLoggedIn: return .found(.pinIgnored)
      case .pinIncorrect: return .found(.pinChecked)
      default: return .refused(error.code.description)
      }
    }
  }
}

/// Runs a trial; an error is what the token answered.
func attempt<V>(_ body: () throws(PKCS11Error) -> Finding<V>) -> Finding<V> {
  do throws(PKCS11Error) { return try body() } catch { return .refused(error.code.description) }
}
