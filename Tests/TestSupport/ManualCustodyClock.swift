import HSMCustody
import Synchronization

/// Time that a test moves, for custody's deadlines and pauses.
package final class ManualCustodyClock: CustodyClock {
  private struct State {
    var now = Duration.zero
    var timers: [(time: Duration, body: @Sendable () -> Void)] = []
  }

  private let state = Mutex(State())

  package init() {}

  package var now: Duration { state.withLock { $0.now } }

  /// How many timers wait.
  package var timers: Int { state.withLock { $0.timers.count } }

  package func run(at time: Duration, _ body: @escaping @Sendable () -> Void) {
    state.withLock { $0.timers.append((time, body)) }
  }

  /// Moves on, and runs what is due on the calling thread.
  package func advance(by duration: Duration) {
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
