import Glibc
import KeyHierarchy

/// The threads of one token: calls that block in the HSM run on them, so that none blocks the cooperative pool or another
/// token. An operation has a deadline, in the queue and inside the HSM. A call that outlasts it keeps its thread, for
/// which another one is started, up to a limit; past that the token counts as unresponsive until a call comes back.
final class CustodyExecutor: Sendable {
  struct Limits {
    /// Threads that take operations.
    var threads = 2
    /// Operations that may wait for one.
    var waiting = 1024
    /// Calls that may hang before the token is left alone.
    var stuckCalls = 4
  }

  private let core: Core

  /// An executor; its threads are started as operations come.
  ///
  /// - Parameter name: What it runs operations of, for messages.
  init(_ name: String, _ limits: Limits, clock: any CustodyClock) { core = Core(name, limits, clock) }

  deinit { stop() }

  /// Takes an operation, or refuses it at once.
  func submit(_ operation: Operation) { core.submit(operation) }

  /// How many operations wait for a thread.
  var waiting: Int { core.queue.read { $0.waiting.count } }

  /// Calls past their deadline that have not come back.
  var stuck: Int { core.queue.read { $0.stuck.count } }

  /// Why further operations are refused; nil while they are not.
  var refusal: TokenFailure? { core.queue.read { core.refusal($0) } }

  /// Lets what waits finish, and the threads end.
  func stop() { core.queue.update { $0.stopped = true } }

  /// As ``stop()``, with a last operation.
  func stop(with last: Operation) { core.submit(last, isLast: true) }

  /// Waits until no thread but the caller's works, hanging ones aside; for the last operation.
  func waitUntilAlone(_ operation: Operation) {
    core.queue.wait { queue in
      operation.isSettled
        || queue.running.keys.allSatisfy { $0 == ObjectIdentifier(operation) || queue.stuck[$0] != nil }
        ? () : nil
    }
  }

  /// Runs `body` on a thread of its own: for what may hang and nobody waits for.
  func abandon(_ body: @escaping @Sendable () -> Void) {
    _ = Thread.start { body() }
  }
}

extension CustodyExecutor {
  struct Queue {
    var waiting: [Operation] = []
    var running: [ObjectIdentifier: Operation] = [:]
    /// Those of `running` that are past their deadline inside the HSM.
    var stuck: [ObjectIdentifier: Operation] = [:]
    /// Threads that take operations, or will once they come back from waiting.
    var threads = 0
    /// When the clock looks for what is late.
    var alarm: Duration?
    var stopped = false
  }

  final class Core: Sendable {
    let queue = Monitor(Queue())
    private let name: String
    private let limits: Limits
    private let clock: any CustodyClock

    init(_ name: String, _ limits: Limits, _ clock: any CustodyClock) {
      self.name = name
      self.limits = limits
      self.clock = clock
    }

    func refusal(_ queue: Queue) -> TokenFailure? {
      if queue.stopped { return TokenFailure(error: .init(.unavailable, "\(name) is closed: unseal first")) }
      guard queue.stuck.count < limits.stuckCalls else {
        return TokenFailure(
          error: .init(
            .unavailable, "\(name) is unresponsive: \(queue.stuck.count) calls hang; check the HSM and its network"),
          elsewhere: true)
      }
      return nil
    }

    func submit(_ operation: Operation, isLast: Bool = false) {
      var refused: TokenFailure?
      var starts = false
      var alarm: Duration?
      queue.update(waking: .one) { queue in
        refused = refusal(queue)
        if isLast { queue.stopped = true }
        if refused == nil, !isLast, queue.waiting.count >= limits.waiting {
          refused = TokenFailure(
            error: .init(.busy, "\(queue.waiting.count) operations wait for \(name) already: try again later"))
        }
        guard refused == nil else { return }
        queue.waiting.append(operation)
        if queue.threads < limits.threads {
          queue.threads += 1
          starts = true
        }
        if queue.alarm.map({ operation.deadline < $0 }) ?? true {
          queue.alarm = operation.deadline
          alarm = operation.deadline
        }
      }
      if let refused {
        if operation.settle() != .settled { operation.refuse(refused) }
        return
      }
      if starts { startThread() }
      if let alarm { setAlarm(alarm) }
    }

    private func setAlarm(_ time: Duration) { clock.run(at: time) { self.expire() } }

    /// Answers what is late: what waits is dropped, what hangs inside the HSM gives its place to another thread.
    private func expire() {
      let late = TokenFailure(
        error: .init(.timedOut, "\(name) did not answer in time: whether it did the operation is not known"))
      var answers: [(Operation, TokenFailure)] = []
      var starts = 0
      let alarm = queue.update { queue -> Duration? in
        let now = clock.now
        for operation in queue.running.values where operation.deadline <= now {
          switch operation.settle() {
          case .settled: continue
          case .calling:
            queue.stuck[ObjectIdentifier(operation)] = operation
            queue.threads -= 1
          case .queued, .waiting: break
          }
          answers.append((operation, late))
        }
        let refusal = queue.stopped ? nil : refusal(queue)
        queue.waiting.removeAll { operation in
          guard operation.deadline <= now || refusal != nil else { return false }
          if operation.settle() != .settled {
            let dropped = TokenFailure(
              error: .init(.timedOut, "\(name) was too busy: the operation waited in vain and was not started"))
            answers.append((operation, operation.deadline <= now ? dropped : refusal ?? dropped))
          }
          return true
        }
        starts = max(0, min(limits.threads - queue.threads, queue.waiting.count))
        if queue.stuck.count >= limits.stuckCalls, !queue.stopped { starts = 0 }
        queue.threads += starts
        queue.alarm = (queue.waiting + queue.running.values.filter { !$0.isSettled }).map(\.deadline).min()
        return queue.alarm
      }
      for _ in 0..<starts { startThread() }
      for (operation, failure) in answers { operation.refuse(failure) }
      if let alarm { setAlarm(alarm) }
    }

    private func startThread() {
      let status = Thread.start { [self] in
        var last: Operation?
        while let operation = next(after: last) {
          operation.perform()
          last = operation
        }
      }
      guard status != 0 else { return }
      let dropped = queue.update { queue -> [Operation] in
        queue.threads -= 1
        // Others may be at work and will come to it.
        guard queue.threads == 0 else { return [] }
        defer { queue.waiting = [] }
        return queue.waiting.filter { $0.settle() != .settled }
      }
      for operation in dropped {
        operation.refuse(
          TokenFailure(
            error: .init(.unavailable, "no thread for HSM calls (errno \(status)): raise RLIMIT_NPROC"), elsewhere: true
          ))
      }
    }

    private func next(after last: Operation?) -> Operation? {
      if let last {
        let (goesOn, wakes) = queue.update(waking: .none) { queue -> (Bool, Bool) in
          queue.running[ObjectIdentifier(last)] = nil
          // Another thread may have been started in the place of one that hung.
          guard queue.stuck.removeValue(forKey: ObjectIdentifier(last)) != nil else { return (true, queue.stopped) }
          guard queue.threads < limits.threads else { return (false, true) }
          queue.threads += 1
          return (true, true)
        }
        if wakes { queue.update { _ in } }
        guard goesOn else { return nil }
      }
      return queue.wait { queue -> Operation?? in
        while !queue.waiting.isEmpty {
          let operation = queue.waiting.removeFirst()
          guard operation.start() else { continue }
          queue.running[ObjectIdentifier(operation)] = operation
          return .some(operation)
        }
        guard queue.stopped else { return nil }
        queue.threads -= 1
        return .some(nil)
      }
    }
  }

  /// A detached thread.
  private final class Thread: Sendable {
    private let body: @Sendable () -> Void
    private init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    /// - Returns: 0, or why there is none.
    static func start(_ body: @escaping @Sendable () -> Void) -> Int32 {
      let entry = unsafe Unmanaged.passRetained(Thread(body))
      var thread = pthread_t()
      let status = unsafe pthread_create(
        &thread, nil,
        { argument in
          guard let argument = unsafe argument else { return nil }
          unsafe Unmanaged<Thread>.fromOpaque(argument).takeRetainedValue().body()
          return nil
        }, entry.toOpaque())
      if status == 0 { pthread_detach(thread) } else { unsafe entry.release() }
      return status
    }
  }
}
