import Glibc

/// State behind a mutex with a condition to wait on, which `Mutex` has not. For threads that may block: nobody waits on
/// it from the cooperative pool.
@safe
final class Monitor<State>: @unchecked Sendable {
  enum Waking { case none, one, all }

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var state: State

  init(_ state: sending State) {
    self.state = state
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Runs `body` alone and wakes those who wait.
  func update<R, E: Error>(waking: Waking = .all, _ body: (inout State) throws(E) -> R) throws(E) -> R {
    unsafe pthread_mutex_lock(mutex)
    defer {
      switch waking {
      case .none: break
      case .one: unsafe pthread_cond_signal(condition)
      case .all: unsafe pthread_cond_broadcast(condition)
      }
      unsafe pthread_mutex_unlock(mutex)
    }
    return try body(&state)
  }

  /// Reads alone.
  func read<R, E: Error>(_ body: (State) throws(E) -> R) throws(E) -> R {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return try body(state)
  }

  /// Runs `body` alone, again after each ``update(waking:_:)``, until it gives something. It wakes nobody.
  func wait<R, E: Error>(_ body: (inout State) throws(E) -> R?) throws(E) -> R {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while true {
      if let result = try body(&state) { return result }
      unsafe pthread_cond_wait(condition, mutex)
    }
  }
}
