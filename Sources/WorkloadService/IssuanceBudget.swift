import Synchronization
import Wire
import WorkloadIdentity

/// A rate limit: a bucket that fills at a rate and is emptied one by one.
struct TokenBucket: Sendable {
  let perMinute: Int64
  private let burst: Int64
  /// In units of a 60,000th, so that a bucket of one a minute fills by one unit each millisecond.
  private var level: Int64
  private var last: Timestamp

  private static let unit: Int64 = 60_000

  /// A full bucket.
  init(perMinute: Int, burst: Int, at now: Timestamp) {
    self.perMinute = Int64(perMinute)
    self.burst = Int64(burst) * Self.unit
    level = self.burst
    last = now
  }

  /// Takes one.
  /// - Returns: nil where there was one; else in how many milliseconds there will be.
  mutating func take(at now: Timestamp) -> Int64? {
    // A clock that is set back adds nothing.
    let passed = max(0, now.milliseconds - last.milliseconds)
    last = now
    let (added, overflow) = passed.multipliedReportingOverflow(by: perMinute)
    level = overflow || added > burst - level ? burst : level + added
    guard level < Self.unit else {
      level -= Self.unit
      return nil
    }
    return (Self.unit - level + perMinute - 1) / perMinute
  }

  /// Whether it would be full by now, so that it need not be kept.
  func isFull(at now: Timestamp) -> Bool {
    let (added, overflow) = max(0, now.milliseconds - last.milliseconds).multipliedReportingOverflow(by: perMinute)
    return overflow || added >= burst - level
  }
}

/// How many signatures of the HSM callers get: each process, each user, each entry that says so, and all together. What is above is
/// shed with a hint when to come again; renewals that the service makes by itself wait instead.
final class IssuanceBudget: Sendable {
  /// The limits.
  struct Limits: Sendable {
    /// Signatures a minute for everybody.
    var global = 180_000
    /// Signatures a minute for all processes of one user.
    var perUser = 60_000
    /// Signatures a minute for one attested process.
    var perCaller = 1200
    /// How much of a minute's budget may be used at once, as a divisor.
    var burstDivisor = 20
    /// At most so many callers and entries are counted.
    var counted = 65_536
  }

  private struct State {
    var global: TokenBucket
    var users: [UInt32: TokenBucket] = [:]
    var callers: [[UInt8]: TokenBucket] = [:]
    var entries: [EntryID: TokenBucket] = [:]
  }

  private let limits: Limits
  private let state: Mutex<State>

  init(_ limits: Limits = Limits(), at now: Timestamp) {
    self.limits = limits
    state = Mutex(State(global: limits.bucket(limits.global, at: now)))
  }

  /// Takes a signature for a process, or throws a refusal that says when to come again.
  func take(
    caller: [UInt8], user: UInt32, entry: EntryID, entryLimit: Int?, at now: Timestamp
  ) throws(WorkloadRefusal) {
    try state.withLock { state throws(WorkloadRefusal) in
      try limits.take(&state.callers, caller, limits.perCaller, at: now, "caller_rate", "This process asks too often")
      if let entryLimit {
        try limits.take(&state.entries, entry, entryLimit, at: now, "entry_rate", "The entry's rate is used up")
      }
      try limits.take(&state.users, user, limits.perUser, at: now, "user_rate", "This user's processes ask too often")
      if let wait = state.global.take(at: now) { throw Self.shed("signature_budget", "The HSM is busy", wait) }
    }
  }

  /// Takes from an entry's own limit, where it has one, for what the service issues by itself.
  func take(entry: EntryID, limit: Int?, at now: Timestamp) throws(WorkloadRefusal) {
    guard let limit else { return }
    try state.withLock { state throws(WorkloadRefusal) in
      try limits.take(&state.entries, entry, limit, at: now, "entry_rate", "The entry's rate is used up")
    }
  }

  /// Takes a signature for a renewal.
  /// - Returns: nil, or in how many milliseconds to try again.
  func takeForRenewal(at now: Timestamp) -> Int64? { state.withLock { $0.global.take(at: now) } }

  fileprivate static func shed(_ code: String, _ what: String, _ wait: Int64) -> WorkloadRefusal {
    WorkloadRefusal(.unavailable, code, "\(what); try again in \(wait) ms.", retryAfter: wait)
  }
}

extension IssuanceBudget.Limits {
  fileprivate func bucket(_ perMinute: Int, at now: Timestamp) -> TokenBucket {
    TokenBucket(perMinute: perMinute, burst: max(1, perMinute / burstDivisor), at: now)
  }

  fileprivate func take<Key: Hashable>(
    _ buckets: inout [Key: TokenBucket], _ key: Key, _ perMinute: Int, at now: Timestamp, _ code: String,
    _ what: String
  ) throws(WorkloadRefusal) {
    // A changed entry may have another rate than its bucket.
    if buckets[key]?.perMinute != Int64(perMinute) {
      if buckets[key] == nil, buckets.count >= counted { buckets = buckets.filter { !$0.value.isFull(at: now) } }
      guard buckets[key] != nil || buckets.count < counted else {
        throw IssuanceBudget.shed("callers_many", "Too many callers", 1000)
      }
      buckets[key] = bucket(perMinute, at: now)
    }
    if let wait = buckets[key]?.take(at: now) { throw IssuanceBudget.shed(code, what, wait) }
  }
}
