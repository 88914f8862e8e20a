import Glibc
import Synchronization

/// A few threads for calls that block, so that none blocks the cooperative pool. They start as work comes and end when
/// there is none.
final class BlockingThreads: Sendable {
  private typealias Work = @Sendable () -> Void
  private struct State {
    var waiting: [Work] = []
    var running = 0
  }

  private let state = Mutex(State())
  private let threads: Int
  private let limit: Int

  /// - Parameters:
  ///   - threads: how many run at once.
  ///   - limit: how many calls may wait for one.
  init(threads: Int, limit: Int) {
    self.threads = threads
    self.limit = limit
  }

  /// Runs `body` on a thread.
  /// - Throws: what `body` throws; ``AttestationError/Code-swift.struct/busy`` when too many wait.
  func run<R: Sendable>(
    _ body: @escaping @Sendable () throws(AttestationError) -> R
  ) async throws(AttestationError) -> R {
    let result: Result<R, AttestationError> = await withCheckedContinuation { continuation in
      let accepted = submit {
        continuation.resume(returning: Result { () throws(AttestationError) in try body() })
      }
      if !accepted {
        continuation.resume(
          returning: .failure(AttestationError(.busy, "too many processes wait to be attested: try again later")))
      }
    }
    return try result.get()
  }

  private func submit(_ work: @escaping Work) -> Bool {
    let (accepted, starts) = state.withLock { state in
      guard state.waiting.count < limit else { return (false, false) }
      state.waiting.append(work)
      guard state.running < threads else { return (true, false) }
      state.running += 1
      return (true, true)
    }
    // Where the system has no thread left, late is better than never: the caller's does the work.
    if starts, !startThread() { self.work() }
    return accepted
  }

  private func startThread() -> Bool {
    let entry = unsafe Unmanaged.passRetained(self)
    var thread = pthread_t()
    let status = unsafe pthread_create(
      &thread, nil,
      { argument in
        if let argument = unsafe argument {
          unsafe Unmanaged<BlockingThreads>.fromOpaque(argument).takeRetainedValue().work()
        }
        return nil
      }, entry.toOpaque())
    if status == 0 { pthread_detach(thread) } else { unsafe entry.release() }
    return status == 0
  }

  private func work() {
    while let next = state.withLock({ state -> Work? in
      guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
      state.running -= 1
      return nil
    }) {
      next()
    }
  }
}
