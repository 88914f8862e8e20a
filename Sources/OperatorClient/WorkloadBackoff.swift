/// How long to wait before the next attempt: twice as long after each failure, up to half a minute, and never for as
/// long as everybody else who lost the same daemon.
public struct WorkloadBackoff: Sendable {
  private var failures = 0
  static let first: Int64 = 500
  static let longest: Int64 = 30_000

  /// Nothing has failed.
  public init() {}

  /// It worked: the next failure is the first one.
  public mutating func succeed() { failures = 0 }

  /// The wait after a failure.
  /// - Parameters:
  ///   - atLeast: how many milliseconds the daemon asks for; nil where it does not say.
  ///   - random: any number; it chooses within a half of the wait.
  public mutating func next(atLeast: Int64?, random: UInt64) -> Duration {
    let whole = min(Self.longest, Self.first << Int64(min(failures, 10)))
    failures += 1
    let jitter = Int64(random % UInt64(whole / 2))
    // A daemon that asks for more than that is asked sooner than it wants, not never.
    let asked = min(max(atLeast ?? 0, 0), 10 * Self.longest)
    return .milliseconds(max(whole / 2, asked) + jitter)
  }
}
