import AgentIdentity
import Crypto
import Synchronization
import Wire

/// WebAuthn challenges that wait for their answer, and sessions of people who signed in. Both are short, bounded and
/// forgotten when the process ends: whoever is caught by that starts again.
///
/// Anyone may ask to sign in, so those challenges are not kept: they carry their own end and a code of authenticity,
/// and only one that was answered with a good signature is remembered.
final class Ceremonies: Sendable {
  /// What a challenge was drawn for. It is good for that alone, once.
  enum Purpose: Hashable, Sendable {
    /// The registration of one credential under the invitation with this digest.
    case enrol(invitation: [UInt8], purpose: String)
    /// A consent or an approval by this person.
    case assert(person: String)

    /// Whose challenges are counted together.
    fileprivate var holder: String {
      switch self {
      case .enrol(let invitation, _): Hex.encode(invitation)
      case .assert(let person): person
      }
    }
  }

  private struct State {
    var challenges: [[UInt8]: (purpose: Purpose, expires: Timestamp)] = [:]
    /// The challenges of each holder, the oldest first.
    var held: [String: [[UInt8]]] = [:]

    mutating func remove(_ challenge: [UInt8]) {
      guard let holder = challenges.removeValue(forKey: challenge)?.purpose.holder else { return }
      held[holder]?.removeAll { $0 == challenge }
      if held[holder]?.isEmpty == true { held[holder] = nil }
    }
    var sessions: [[UInt8]: (person: String, expires: Timestamp)] = [:]
  }

  /// A challenge lives so many seconds.
  static let seconds: Int64 = 300
  /// A session lives so many seconds, however busy it is.
  static let sessionSeconds: Int64 = 1800
  private static let limit = 65_536
  /// One person, or one invitation, has at most so many challenges waiting; a further one ends the oldest, so that
  /// nobody can keep others from theirs.
  private static let holderLimit = 64

  private let state = Mutex(State())
  private let signInKey: SymmetricKey
  private let random: any RandomSource
  private let usedSignIns = ReplayCache(capacity: limit)

  init(random: any RandomSource) {
    self.random = random
    signInKey = SymmetricKey(data: random.bytes(32))
  }

  // MARK: - Signing in

  /// A challenge for signing in: its end (8 bytes), 8 random bytes, and a code over both (16 bytes).
  func signInChallenge(at now: Timestamp) -> [UInt8] {
    let end = UInt64(bitPattern: now.adding(seconds: Self.seconds).milliseconds)
    let stem = (0..<8).map { UInt8(truncatingIfNeeded: end >> (56 - 8 * $0)) } + random.bytes(8)
    return stem + code(stem)
  }

  /// Whether a challenge for signing in was drawn here and counts still.
  func isSignIn(_ challenge: [UInt8], at now: Timestamp) -> Bool {
    guard challenge.count == 32 else { return false }
    let stem = Array(challenge.prefix(16))
    let differences = zip(challenge.suffix(16), code(stem)).reduce(0) { $0 | ($1.0 ^ $1.1) }
    return differences == 0 && now < Self.end(of: stem)
  }

  /// Uses a challenge for signing in up, once its answer was verified.
  func useSignIn(_ challenge: [UInt8], at now: Timestamp) throws(Problem) {
    let key = ReplayCache.Key(
      scope: "sign_in", thumbprint: "", context: "", id: Base64.URL.encode(challenge))
    let fresh: Bool
    do { fresh = try usedSignIns.insert(key, expires: Self.end(of: challenge), now: now) } catch {
      throw Problem(503, error.code.description, error.message, headers: ["Retry-After": "60"])
    }
    guard fresh else { throw Self.unknown }
  }

  private func code(_ stem: [UInt8]) -> [UInt8] {
    Array(HMAC<SHA256>.authenticationCode(for: stem, using: signInKey).prefix(16))
  }

  private static func end(of stem: [UInt8]) -> Timestamp {
    Timestamp(milliseconds: Int64(bitPattern: stem.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }))
  }

  /// The answer to a challenge that does not wait.
  static var unknown: Problem {
    Problem(
      409, "challenge_unknown", "The challenge was not drawn here for this, was used, or is too old; start again.")
  }

  // MARK: - Challenges that are kept

  /// Remembers a challenge.
  func expect(_ challenge: [UInt8], for purpose: Purpose, at now: Timestamp) throws(Problem) {
    let kept = state.withLock { state in
      let holder = purpose.holder
      if let oldest = state.held[holder]?.first, state.held[holder]?.count ?? 0 >= Self.holderLimit {
        state.remove(oldest)
      }
      if state.challenges.count >= Self.limit {
        for (challenge, waiting) in state.challenges where waiting.expires <= now { state.remove(challenge) }
      }
      guard state.challenges.count < Self.limit else { return false }
      state.challenges[challenge] = (purpose, now.adding(seconds: Self.seconds))
      state.held[holder, default: []].append(challenge)
      return true
    }
    guard kept else {
      throw Problem(
        503, "ceremonies_full", "Too many ceremonies are open; try again later.", headers: ["Retry-After": "60"])
    }
  }

  /// Uses a challenge up.
  /// - Returns: whether it was waiting for this purpose.
  func take(_ challenge: [UInt8], for purpose: Purpose, at now: Timestamp) -> Bool {
    state.withLock { state in
      guard let waiting = state.challenges[challenge], waiting.purpose == purpose else { return false }
      state.remove(challenge)
      return now < waiting.expires
    }
  }

  // MARK: - Sessions

  /// Opens a session.
  func open(_ token: [UInt8], for person: String, at now: Timestamp) throws(Problem) {
    let kept = state.withLock { state in
      if state.sessions.count >= Self.limit { state.sessions = state.sessions.filter { now < $0.value.expires } }
      guard state.sessions.count < Self.limit else { return false }
      state.sessions[Self.digest(token)] = (person, now.adding(seconds: Self.sessionSeconds))
      return true
    }
    guard kept else {
      throw Problem(
        503, "sessions_full", "Too many people are signed in; try again later.", headers: ["Retry-After": "60"])
    }
  }

  /// Whose session a token opens. Only digests are compared, so the time that takes tells nothing.
  func person(_ token: [UInt8], at now: Timestamp) -> String? {
    state.withLock { state in
      guard let session = state.sessions[Self.digest(token)], now < session.expires else { return nil }
      return session.person
    }
  }

  /// Ends a session.
  func close(_ token: [UInt8]) { state.withLock { $0.sessions[Self.digest(token)] = nil } }

  private static func digest(_ token: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: token)) }
}
