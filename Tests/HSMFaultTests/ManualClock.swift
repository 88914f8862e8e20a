import HSMCustody
import Synchronization

/// Time that a test moves.
final class ManualClock: CustodyClock {
  private struct State {
    var now = Duration.zero
    var timers: [(time: Duration, body: @Sendable () -> Void)] = []
  }

  private let state = Mutex(State())

  var now: Duration { state.withLock { $0.now } }

  func run(at time: Duration, _ body: @escaping @Sendable () -> Void) {
    state.withLock { $0.timers.append((time, body)) }
  }

  /// Moves on, and runs what is due on the calling thread.
  func advance(by duration: Duration) {
    let due = state.withLock { state in
      state.now += duration
      let now = state.now
      let due = state.timers.filter { $0.time <= now }
      state.timers.removeAll { $0.time <= now }
      return due
    }
    for timer in due { timer.body() }
  }
}
