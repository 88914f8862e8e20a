import Wire
import WorkloadIdentity

/// When each federation's bundle is fetched next. Pure: told what there is, what came of it, and what time it is.
///
/// A fetch follows the one before after the bundle's refresh hint (SPIFFE Federation section 4.1). After a failure the
/// first retry comes after ``floor``, and each further one after twice the time, up to the hint. Section 6.2 recommends to
/// wait for the next poll instead; with hints of hours that would leave a federation broken for hours after a moment's
/// failure, and a retry a minute later at most is not what its reason, overwhelmed endpoints, is about. Each wait is
/// drawn out by up to a tenth, so that many clients of one endpoint do not come together.
struct RefreshSchedule {
  /// The shortest wait in seconds, whatever the hint says; section 4.1 names none, SPIRE has this one.
  static let floor: Int64 = 60
  /// The longest one: who revokes its keys is noticed within a day.
  static let cap: Int64 = 86_400
  /// The hint of a bundle that has none (section 4.1).
  static let defaultHint: Int64 = 300

  /// What is known of a federation.
  struct Item {
    let terms: FederationTerms
    /// The leaf that wrote the federation last.
    var leaf: UInt64
    /// The present wait between successes, in seconds.
    var interval: Int64
    /// When ``due`` was set; before it, the clock was set back.
    var planned: Timestamp
    var due: Timestamp
    var failures = 0
    var lastSuccess: Timestamp?
    var lastFailure: (at: Timestamp, reason: String)?
  }

  private(set) var items: [TrustDomain: Item] = [:]
  /// Trust domains with a fetch under way, also of terms that have changed since, and their leaf when it started.
  private(set) var running: [TrustDomain: UInt64] = [:]

  /// The wait that a refresh hint asks for.
  static func interval(_ hint: Int64?) -> Int64 { min(max(hint ?? defaultHint, floor), cap) }

  /// The wait after so many failures in a row.
  static func retry(after failures: Int, interval: Int64) -> Int64 {
    min(floor << min(Int64(max(failures, 1) - 1), 16), interval)
  }

  /// The wait as it is kept: up to a tenth longer, at most ``cap``.
  /// - Parameter fraction: 0 to 255.
  static func drawnOut(_ wait: Int64, by fraction: UInt8) -> Int64 {
    min(wait + wait * Int64(fraction) / 2550, cap)
  }

  /// Takes up which federations there are, and picks those whose time has come, the longest overdue first: new ones and
  /// those that were set again at once, whatever they were set to.
  /// - Parameter limit: at most so many fetches at once, those under way among them.
  mutating func start(
    _ endpoints: [(terms: FederationTerms, leaf: UInt64, hint: Int64?)], limit: Int, at now: Timestamp
  ) -> [FederationTerms] {
    var present: [TrustDomain: Item] = [:]
    for (terms, leaf, hint) in endpoints {
      var item = items[terms.trustDomain]
      if item?.terms != terms || item?.leaf != leaf { item = nil }
      present[terms.trustDomain] =
        item ?? Item(terms: terms, leaf: leaf, interval: Self.interval(hint), planned: now, due: now)
    }
    items = present
    let due = items.values
      .filter { ($0.due <= now || now < $0.planned) && running[$0.terms.trustDomain] == nil }
      .sorted { ($0.due, $0.terms.trustDomain) < ($1.due, $1.terms.trustDomain) }
      .prefix(max(limit - running.count, 0))
    for item in due { running[item.terms.trustDomain] = item.leaf }
    return due.map(\.terms)
  }

  /// A fetch has come to its end.
  /// - Parameters:
  ///   - outcome: the refresh hint of the bundle that is at hand now and the federation's leaf, or why there is no new
  ///     one.
  ///   - now: when the fetch started.
  mutating func finish(
    _ terms: FederationTerms, _ outcome: Result<(hint: Int64?, leaf: UInt64), FederationFailure>, at now: Timestamp,
    fraction: UInt8
  ) {
    let started = running.removeValue(forKey: terms.trustDomain)
    // What came of another `set` says nothing of the present one; the new bundle's own leaf may be known already.
    guard var item = items[terms.trustDomain], item.terms == terms,
      item.leaf == started || item.leaf == (try? outcome.get())?.leaf
    else { return }
    let wait: Int64
    switch outcome {
    case .success(let (hint, leaf)):
      (item.interval, item.leaf) = (Self.interval(hint), leaf)
      (item.failures, item.lastSuccess, item.lastFailure) = (0, now, nil)
      wait = item.interval
    case .failure(let failure):
      item.failures += 1
      item.lastFailure = (now, failure.reason)
      wait = Self.retry(after: item.failures, interval: item.interval)
    }
    item.planned = now
    item.due = now.adding(seconds: Self.drawnOut(wait, by: fraction))
    items[terms.trustDomain] = item
  }
}

/// Why a bundle was not taken, in words.
struct FederationFailure: Error {
  let reason: String

  init(_ error: any Error) {
    reason = String(("\(error)").prefix(512))
  }
}
