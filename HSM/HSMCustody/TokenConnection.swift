import KeyHierarchy
import PKCS11
import SecretMemory
import Synchronization

/// One token, a member of its role's cluster: a persistent session (the anchor) that holds the login and the session
/// objects, a few sessions to work on, and what is known of the keys. Every call into the HSM happens on a thread of its
/// executor. When the sessions are lost, one thread opens, logs in and compares the keys while the others wait; each
/// operation is then repeated once.
final class TokenConnection: Sendable {
  /// A session that can be put in an array, and the login that it belongs to.
  final class Lease: Sendable {
    let session: Session
    let login: UInt64
    let isAnchor: Bool
    /// It may have an object that must not stay: it is closed once it comes back.
    let isTainted = Atomic(false)

    init(_ session: consuming Session, login: UInt64, isAnchor: Bool = false) {
      self.session = session
      self.login = login
      self.isAnchor = isAnchor
    }
  }

  /// What a session is lent for. With one session in all the anchor serves for both.
  enum Purpose { case work, anchor }

  enum Status {
    case open
    /// Not opened yet, or an operation found the sessions gone; the next one opens.
    case lost
    case recovering(ObjectIdentifier)
    /// Opening failed; until then nobody tries again.
    case down(TokenFailure, until: Duration)
    /// Trying again makes it worse: a refused PIN, a changed key. Opening a new custodian is a person's decision.
    case latched(TokenFailure)
    case closed
  }

  struct State {
    var status = Status.lost
    var pin: SharedSecret?
    var anchor: Lease?
    var idle: [Lease] = []
    /// Which operations have a session, and whether it is the anchor.
    var lent: [ObjectIdentifier: Bool] = [:]
    /// Working sessions that are open, lent ones among them.
    var pool = 0
    /// How many there may be: what was asked for, or what the token allowed.
    var poolLimit: Int
    /// Sessions inside calls that hang, and how many of them were anchors. They close when their calls come back.
    var quarantined = 0
    var quarantinedAnchors = 0
    /// Counts logins. What was leased under an earlier one is not used again.
    var login: UInt64 = 0
    /// Attempts to open, and operations right after one, that failed in a row.
    var failures = 0
    /// The operation that opens the token is past its deadline, inside the HSM.
    var isOverdue = false
    /// Somebody opens it in the background, or is about to.
    var isReopening = false
    var isFull = false
    var keys: [KeyName: CustodyKey] = [:]
    /// Which operations use a key that can be replaced, and those that are being replaced.
    var users: [ObjectIdentifier: KeyName] = [:]
    var replacing: Set<KeyName> = []
    var keks: KEKTable
    /// An object of a key-encryption key may be there whose handle nobody has.
    var hasOrphans = false
    var hostileUnwrap: HostileUnwrap?
    var label = ""
    var serial = ""
    var reason = ""
  }

  let role: TokenRole
  let member: Int
  let uri: String
  let module: Module
  let known: KnownKeys
  let clock: any CustodyClock
  let limits: PKCS11Custodian.Limits
  let executor: CustodyExecutor
  let monitor: Monitor<State>

  /// A token that is not opened yet.
  init(
    _ role: TokenRole, member: Int, uri: String, module: Module, known: KnownKeys, clock: any CustodyClock,
    limits: PKCS11Custodian.Limits
  ) {
    self.role = role
    self.member = member
    self.uri = uri
    self.module = module
    self.known = known
    self.clock = clock
    self.limits = limits
    executor = CustodyExecutor(
      "token \(role.rawValue)" + (member == 0 ? "" : ", member \(member)"),
      .init(threads: max(1, limits.threads), waiting: limits.waitingOperations, stuckCalls: max(1, limits.stuckCalls)),
      clock: clock)
    monitor = Monitor(
      State(
        poolLimit: max(1, limits.sessionsPerToken), keks: KEKTable(limit: limits.loadedKeys)))
  }

  var subject: String { "token \(role.rawValue)" }

  // MARK: Onto the threads

  /// Does `body` on one of the token's threads, answered by the deadline at the latest.
  func run<R: Sendable>(
    by deadline: Duration, _ body: @escaping @Sendable (TokenConnection, Operation) throws(TokenFailure) -> R
  ) async -> Result<R, TokenFailure> {
    await unsafe withUnsafeContinuation { continuation in
      executor.submit(
        operation(by: deadline, body) { result in unsafe continuation.resume(returning: result) })
    }
  }

  /// As ``run(by:_:)``, while the calling thread waits.
  func runBlocking<R: Sendable>(
    by deadline: Duration, _ body: @escaping @Sendable (TokenConnection, Operation) throws(TokenFailure) -> R
  ) -> Result<R, TokenFailure> {
    let answer = Monitor<Result<R, TokenFailure>?>(nil)
    executor.submit(operation(by: deadline, body) { result in answer.update { $0 = result } })
    return answer.wait { $0 }
  }

  func operation<R: Sendable>(
    by deadline: Duration, _ body: @escaping @Sendable (TokenConnection, Operation) throws(TokenFailure) -> R,
    answer: @escaping @Sendable (Result<R, TokenFailure>) -> Void
  ) -> Operation {
    Operation(
      by: deadline, late: { [self] operation in quarantine(operation) },
      { [self] operation throws(TokenFailure) in try body(self, operation) }, answer: answer)
  }

  /// An operation is past its deadline: the session that it hangs on is out of use, and who waits looks up.
  private func quarantine(_ operation: Operation) {
    monitor.update { state in
      if case .recovering(ObjectIdentifier(operation)) = state.status { state.isOverdue = true }
      // What it still signs is for nobody.
      state.users[ObjectIdentifier(operation)] = nil
      guard let isAnchor = state.lent.removeValue(forKey: ObjectIdentifier(operation)) else { return }
      state.quarantined += 1
      guard isAnchor else {
        state.pool -= 1
        return
      }
      state.quarantinedAnchors += 1
      state.anchor = nil
      state.lose()
    }
  }

  // MARK: Operations

  /// What one attempt came to.
  enum Outcome<R> {
    case done(R)
    case failed(PKCS11Error, isCurable: Bool)
    /// The token was opened again since the handles were found; nothing was done.
    case stale
  }

  /// Tries until it is done: once more after what can be cured. Only for what is safe to repeat.
  func repeating<R>(
    _ operation: Operation, _ subject: @autoclosure () -> String,
    _ attempt: () throws(TokenFailure) -> Outcome<R>
  ) throws(TokenFailure) -> R {
    var repeated = false
    while true {
      switch try attempt() {
      case .done(let result): return result
      case .stale: continue
      case .failed(let error, let isCurable):
        if !repeated, isCurable {
          repeated = true
          continue
        }
        let failure = TokenFailure(
          error: CustodyError(error, subject()),
          elsewhere: isCurable || error.kind == .fatal || error.code == .keyChanged)
        if repeated { backOff(error, failure) }
        throw failure
      }
    }
  }

  /// Uses a session, once.
  ///
  /// - Parameter login: That of the handles in use; any when nil.
  func attempt<R>(
    _ operation: Operation, on purpose: Purpose = .work, login: UInt64? = nil,
    _ body: (Lease) throws(PKCS11Error) -> R
  ) throws(TokenFailure) -> Outcome<R> {
    let outcome = try leased(operation, purpose, login, body)
    // The session is given back or closed by now: that is a call too.
    guard operation.leave() else { throw late }
    return outcome
  }

  private func leased<R>(
    _ operation: Operation, _ purpose: Purpose, _ login: UInt64?, _ body: (Lease) throws(PKCS11Error) -> R
  ) throws(TokenFailure) -> Outcome<R> {
    let lease: Lease
    switch try self.lease(operation, purpose) {
    case .success(let found): lease = found
    case .failure(let error): return .failed(error, isCurable: error.isCurable)
    }
    guard login.map({ $0 == lease.login }) ?? true else {
      giveBack(operation, lease, .whole)
      return .stale
    }
    do throws(PKCS11Error) {
      let result = try body(lease)
      giveBack(operation, lease, .worked)
      return .done(result)
    } catch {
      let (cause, isLost) = Self.cause(of: error, lease)
      if isLost {
        giveBack(operation, lease, .lost(cause))
      } else if cause.isFull {
        giveBack(operation, lease, .full(cause))
      } else if cause.kind == .retry, cause.code != .hostMemory {
        giveBack(operation, lease, .spoilt)
      } else if cause.code == .keyChanged || cause.code == .leaks {
        giveBack(operation, lease, .latch(cause))
      } else {
        giveBack(operation, lease, .whole)
      }
      return .failed(cause, isCurable: isLost || cause.isCurable)
    }
  }

  /// Sessions that close in the middle of an operation show as any error (SoftHSM: CKR_GENERAL_ERROR), so behind one
  /// that says nothing the session itself is asked.
  private static func cause(of error: PKCS11Error, _ lease: Lease) -> (PKCS11Error, isLost: Bool) {
    if error.kind == .relogin || error.kind == .reinitialise { return (error, true) }
    guard error.kind == .fatal, error.code != .leaks else { return (error, false) }
    do throws(PKCS11Error) { try lease.session.checkLogin() } catch let lost { return (lost, true) }
    return (error, false)
  }

  /// The second failure in a row: unless it is about one object, the token is left alone for a while.
  private func backOff(_ error: PKCS11Error, _ failure: TokenFailure) {
    guard error.kind == .relogin || error.kind == .reinitialise, !error.isAboutObject else { return }
    let now = clock.now
    monitor.update { state in
      if case .lost = state.status { state.goDown(failure, now) }
    }
  }

  var late: TokenFailure { TokenFailure(error: CustodyError(.timedOut, "\(subject) did not answer in time")) }

  var closed: TokenFailure {
    TokenFailure(error: CustodyError(.unavailable, "\(subject) is logged out: unseal first"))
  }
}

extension TokenConnection.State {
  /// How long a token that failed is left alone.
  static let pauses: (first: Duration, longest: Duration) = (.milliseconds(200), .seconds(5))

  /// Has the next operation open the token again.
  mutating func lose() {
    if case .open = status { status = .lost }
  }

  /// Leaves the token alone, twice as long after each failure.
  mutating func goDown(_ failure: TokenFailure, _ now: Duration) {
    let pause = min(Self.pauses.longest, Self.pauses.first * (1 << min(failures, 5)))
    failures += 1
    reason = failure.error.message
    isFull = failure.error.code == .full
    status = .down(failure, until: now + pause)
  }
}
