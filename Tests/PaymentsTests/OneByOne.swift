import CommandGate
import Dispatch
import Synchronization
import Wire

/// Runs the jobs of all tasks one after another, in the order in which they became ready: what a seed starts goes the
/// same way every time, down to which command reaches the gate first.
final class OneByOne: TaskExecutor {
  private let queue = DispatchQueue(label: "simulation")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  /// Runs a body, and whatever it awaits, one by one.
  static func run<Result: Sendable>(
    _ body: @Sendable @escaping (OneByOne) async throws -> Result
  ) async throws -> Result {
    let executor = OneByOne()
    return try await Task(executorPreference: executor) { try await body(executor) }.value
  }
}

/// A storage that has its caller wait for it, so that nothing else happens meanwhile.
final class BlockingStore<Base: UnitStore>: UnitStore {
  private let base: Base

  init(_ base: Base) { self.base = base }

  func write<Result: Sendable>(
    _ body: @Sendable @escaping (inout Base.Unit) throws -> Result
  ) async throws -> Result {
    let base = base
    return try Self.wait { try await base.write(body) }
  }

  func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout Base.Unit) throws -> Result
  ) async throws -> Result {
    let base = base
    return try Self.wait { try await base.read(body) }
  }

  private final class Place<Value: Sendable>: Sendable {
    let value = Mutex<Result<Value, any Error>?>(nil)
  }

  private struct Nothing: Error {}

  private static func wait<Value: Sendable>(_ body: @Sendable @escaping () async throws -> Value) throws -> Value {
    let (place, done) = (Place<Value>(), DispatchSemaphore(value: 0))
    Task.detached {
      do {
        let value = try await body()
        place.value.withLock { $0 = .success(value) }
      } catch {
        place.value.withLock { $0 = .failure(error) }
      }
      done.signal()
    }
    done.wait()
    return try place.value.withLock { $0 ?? .failure(Nothing()) }.get()
  }
}

/// A clock that moves by the millisecond, when it is told to.
final class SimulatedClock: TimeSource {
  private let moment: Mutex<Timestamp>

  init(_ moment: Timestamp) { self.moment = Mutex(moment) }

  func now() -> Timestamp { moment.withLock { $0 } }

  func advance(milliseconds: Int64) {
    moment.withLock { $0 = Timestamp(milliseconds: $0.milliseconds + milliseconds) }
  }
}
