import Glibc
import KeyHierarchy

/// Threads for calls that block in the HSM, so that none blocks the cooperative pool. Two by default: SoftHSM loses
/// throughput with more.
final class CustodyExecutor: Sendable {
  typealias Work = @Sendable () -> Void

  private struct Queue {
    var waiting: [Work] = []
    var next = 0
    var stopped = false
  }

  private let queue = Monitor(Queue())
  private let limit: Int

  /// Starts the threads.
  ///
  /// - Parameters:
  ///   - threads: How many.
  ///   - limit: How many operations may wait before further ones are refused.
  init(threads: Int, limit: Int) throws(CustodyError) {
    self.limit = limit
    for _ in 0..<threads {
      let entry = unsafe Unmanaged.passRetained(ThreadEntry(queue: queue))
      var thread = pthread_t()
      let status = unsafe pthread_create(
        &thread, nil,
        { argument in
          guard let argument = unsafe argument else { return nil }
          unsafe Unmanaged<ThreadEntry>.fromOpaque(argument).takeRetainedValue().run()
          return nil
        }, entry.toOpaque())
      guard status == 0 else {
        unsafe entry.release()
        stop()
        throw CustodyError(.unavailable, "no thread for HSM calls (errno \(status)): raise RLIMIT_NPROC")
      }
      pthread_detach(thread)
    }
  }

  deinit { stop() }

  /// Runs `body` on one of the threads.
  ///
  /// - Throws: ``CustodyError/Code-swift.struct/unavailable`` when too many wait or the threads are stopped; what `body`
  ///   throws.
  func run<R: Sendable>(_ body: @escaping @Sendable () throws(CustodyError) -> R) async throws(CustodyError) -> R {
    let result: Result<R, CustodyError> = await unsafe withUnsafeContinuation { continuation in
      let refusal: CustodyError? = queue.update(waking: .one) { queue in
        if queue.stopped { return CustodyError(.unavailable, "the custodian is closed: unseal first") }
        guard queue.waiting.count - queue.next < limit else {
          return CustodyError(.unavailable, "\(limit) HSM operations wait already: try again later")
        }
        queue.waiting.append {
          // The loop catches, so that the continuation meets exactly one result.
          unsafe continuation.resume(returning: Result { () throws(CustodyError) in try body() })
        }
        return nil
      }
      if let refusal { unsafe continuation.resume(returning: .failure(refusal)) }
    }
    return try result.get()
  }

  /// How many operations wait for a thread.
  var waiting: Int { queue.read { $0.waiting.count - $0.next } }

  /// Lets what waits finish, and the threads end.
  func stop() { queue.update { $0.stopped = true } }

  private final class ThreadEntry: Sendable {
    private let queue: Monitor<Queue>
    init(queue: Monitor<Queue>) { self.queue = queue }

    func run() {
      while let work = next() { work() }
    }

    private func next() -> Work? {
      queue.wait { queue -> Work?? in
        guard queue.next < queue.waiting.count else { return queue.stopped ? .some(nil) : nil }
        let work = queue.waiting[queue.next]
        queue.next += 1
        if queue.next == queue.waiting.count || queue.next == 256 {
          queue.waiting.removeFirst(queue.next)
          queue.next = 0
        }
        return .some(work)
      }
    }
  }
}
