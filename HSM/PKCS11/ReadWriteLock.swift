internal import CP11Kit
internal import Glibc
internal import Synchronization

/// Many readers or one writer. A waiting writer goes first, so a stream of calls cannot starve a re-initialisation;
/// in return a reader must not lock twice.
///
/// Everybody waits for a limited time, as whoever is inside may be in a call that never returns.
@safe
final class ReadWriteLock: @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
  // Writers wait here one by one: were each to wait in the lock for its own time, readers would wait for the sum.
  private let turn = TimedMutex()
  private let failures = Atomic<UInt64>(0)

  init() {
    var attributes = pthread_rwlockattr_t()
    unsafe pthread_rwlockattr_init(&attributes)
    unsafe pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
    unsafe pthread_rwlock_init(lock, &attributes)
    unsafe pthread_rwlockattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_rwlock_destroy(lock)
    unsafe lock.deallocate()
  }

  /// Runs `body` with no writer inside.
  ///
  /// - Returns: Nil when a writer did not let go within `limit`.
  func reading<R: ~Copyable, E: Error>(within limit: Duration, _ body: () throws(E) -> R) throws(E) -> R? {
    // The time is asked for only when there is a wait.
    if unsafe pthread_rwlock_tryrdlock(lock) != 0 {
      var time = Deadline(after: limit).time
      guard unsafe pthread_rwlock_clockrdlock(lock, CLOCK_MONOTONIC, &time) == 0 else { return nil }
    }
    defer { unsafe pthread_rwlock_unlock(lock) }
    return try body()
  }

  /// Runs `body` with no reader inside. A writer that waited behind one that gave up gives up as well.
  ///
  /// - Parameters:
  ///   - limit: How long readers may stay; new ones wait meanwhile.
  ///   - turn: How long the writers before this one may take; readers do not wait for that.
  /// - Returns: Nil when it took longer.
  func writing<R, E: Error>(
    within limit: Duration, turn patience: Duration, _ body: () throws(E) -> R
  ) throws(E) -> R? {
    let before = failures.load(ordering: .acquiring)
    let result = try turn.withLock(until: Deadline(after: patience)) { () throws(E) -> R? in
      guard failures.load(ordering: .acquiring) == before else { return nil }
      var time = Deadline(after: limit).time
      guard unsafe pthread_rwlock_clockwrlock(lock, CLOCK_MONOTONIC, &time) == 0 else {
        failures.wrappingAdd(1, ordering: .acquiringAndReleasing)
        return nil
      }
      defer { unsafe pthread_rwlock_unlock(lock) }
      return try body()
    }
    return result ?? nil
  }
}

/// A mutex that is waited for until a time.
@safe
final class TimedMutex: @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init() { unsafe pthread_mutex_init(lock, nil) }

  deinit {
    unsafe pthread_mutex_destroy(lock)
    unsafe lock.deallocate()
  }

  /// - Returns: Nil when somebody else had it until then.
  func withLock<R, E: Error>(until deadline: Deadline, _ body: () throws(E) -> R) throws(E) -> R? {
    var time = deadline.time
    guard unsafe pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &time) == 0 else { return nil }
    defer { unsafe pthread_mutex_unlock(lock) }
    return try body()
  }
}

/// A time on the monotonic clock.
struct Deadline {
  let seconds: Int
  let nanoseconds: Int

  /// A time from now; a negative one is now.
  init(after duration: Duration) {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    let (whole, attoseconds) = max(duration, .zero).components
    let part = now.tv_nsec + Int(attoseconds / 1_000_000_000)
    seconds = now.tv_sec + min(Int(whole), 1 << 32) + part / 1_000_000_000
    nanoseconds = part % 1_000_000_000
  }

  fileprivate var time: timespec { timespec(tv_sec: seconds, tv_nsec: nanoseconds) }
}
