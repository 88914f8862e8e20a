internal import Dispatch

/// The time that deadlines and back-off go by. It is passed in: tests hand over one that they move.
public protocol CustodyClock: Sendable {
  /// Time since an origin of the clock's own, which never goes back.
  var now: Duration { get }

  /// Runs `body` once, as soon as ``now`` has reached `time`, on a thread of the clock's.
  func run(at time: Duration, _ body: @escaping @Sendable () -> Void)
}

/// The system's monotonic clock.
public struct MonotonicClock: CustodyClock {
  // A queue of its own: what fills the global ones does not hold up deadlines.
  private static let queue = DispatchQueue(label: "trustcore.hsm.deadlines")

  /// Makes a clock; all share one timer thread.
  public init() {}

  /// Time since the machine started.
  public var now: Duration { .nanoseconds(DispatchTime.now().uptimeNanoseconds) }

  /// Runs `body` once `time` is reached.
  public func run(at time: Duration, _ body: @escaping @Sendable () -> Void) {
    let (seconds, attoseconds) = time.components
    // Rounded up: a timer that fires early would only be set again.
    let nanoseconds = UInt64(clamping: seconds) * 1_000_000_000 + UInt64(clamping: attoseconds / 1_000_000_000) + 1
    Self.queue.asyncAfter(deadline: DispatchTime(uptimeNanoseconds: nanoseconds), execute: body)
  }
}
