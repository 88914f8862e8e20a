@testable import HSMCustody
import KeyHierarchy
import TestSupport
import Testing

/// Waits for what other threads are about to do.
func until(_ condition: () -> Bool) async {
  while !condition() { await Task.yield() }
}

@Suite("Executor: queue and deadlines")
struct ExecutorTests {
  private let clock = ManualCustodyClock()

  private final class Bench: Sendable {
    let executor: CustodyExecutor
    let clock: ManualCustodyClock
    let gate = Monitor(Set<Int>())
    let started = Monitor<[Int]>([])
    let finished = Monitor<[Int]>([])

    init(_ clock: ManualCustodyClock, _ limits: CustodyExecutor.Limits) {
      self.clock = clock
      executor = CustodyExecutor("token x", limits, clock: clock)
    }

    /// An operation that is held inside the HSM until it is let go; the code of its error, or nil.
    func job(_ number: Int, inside: Bool = true, deadline: Duration = .seconds(10)) -> Task<CustodyError.Code?, Never> {
      let time = clock.now + deadline
      return Task {
        let result: Result<Int, TokenFailure> = await unsafe withUnsafeContinuation { continuation in
          executor.submit(
            Operation(by: time, late: { _ in }) { (operation) throws(TokenFailure) -> Int in
              if inside { _ = operation.enter() }
              self.started.update { $0.append(number) }
              self.gate.wait {
                inside ? ($0.contains(number) ? () : nil) : (operation.isSettled || $0.contains(number) ? () : nil)
              }
              if inside { _ = operation.leave() }
              self.finished.update { $0.append(number) }
              return number
            } answer: {
              unsafe continuation.resume(returning: $0)
            })
        }
        switch result {
        case .success: return nil
        case .failure(let failure): return failure.error.code
        }
      }
    }

    func letGo(_ number: Int) { gate.update { _ = $0.insert(number) } }
    func hasStarted(_ number: Int) -> Bool { started.read { $0.contains(number) } }
    /// Wakes those that look at their deadline.
    func wake() { gate.update { _ in } }
  }

  @Test("A bounded queue: full it refuses, drained it takes") func limit() async {
    let bench = Bench(clock, .init(threads: 1, waiting: 2))
    let first = bench.job(1)
    await until { bench.hasStarted(1) }
    let second = bench.job(2)
    let third = bench.job(3)
    await until { bench.executor.waiting == 2 }
    #expect(await bench.job(4).value == .busy)
    for number in 1...3 { bench.letGo(number) }
    for job in [first, second, third] { #expect(await job.value == nil) }
    bench.letGo(5)
    #expect(await bench.job(5).value == nil)
    bench.executor.stop()
    #expect(await bench.job(6).value == .unavailable)
  }

  @Test("What waits past its deadline is dropped unexecuted") func dropped() async {
    let bench = Bench(clock, .init(threads: 1))
    let first = bench.job(1, deadline: .seconds(100))
    await until { bench.hasStarted(1) }
    let second = bench.job(2)
    await until { bench.executor.waiting == 1 }
    clock.advance(by: .milliseconds(9999))
    #expect(bench.executor.waiting == 1)
    clock.advance(by: .milliseconds(1))
    #expect(await second.value == .timedOut)
    #expect(bench.executor.waiting == 0)
    bench.letGo(1)
    #expect(await first.value == nil)
    #expect(bench.finished.read { $0 } == [1])
  }

  @Test("A call that hangs is answered, replaced, and taken back") func hanging() async {
    let bench = Bench(clock, .init(threads: 1, stuckCalls: 3))
    let first = bench.job(1)
    await until { bench.hasStarted(1) }
    let second = bench.job(2, deadline: .seconds(30))
    await until { bench.executor.waiting == 1 }
    clock.advance(by: .seconds(10))
    #expect(await first.value == .timedOut)
    #expect(bench.executor.stuck == 1)
    // Another thread takes what waits.
    bench.letGo(2)
    #expect(await second.value == nil)
    bench.letGo(1)
    await until { bench.executor.stuck == 0 }
    bench.letGo(3)
    #expect(await bench.job(3).value == nil)
  }

  @Test("Too many that hang: refused at once, until one comes back") func unresponsive() async {
    let bench = Bench(clock, .init(threads: 2, stuckCalls: 2))
    let hung = [bench.job(1), bench.job(2)]
    await until { bench.hasStarted(1) && bench.hasStarted(2) }
    let waiting = bench.job(3, deadline: .seconds(60))
    await until { bench.executor.waiting == 1 }
    clock.advance(by: .seconds(10))
    for job in hung { #expect(await job.value == .timedOut) }
    #expect(await waiting.value == .unavailable)
    #expect(await bench.job(4).value == .unavailable)
    #expect(bench.executor.refusal != nil)
    bench.letGo(1)
    await until { bench.executor.stuck == 1 }
    bench.letGo(5)
    #expect(await bench.job(5).value == nil)
    bench.letGo(2)
  }

  @Test("Who waits outside the HSM is late, and hangs nowhere") func waitingOutside() async {
    let bench = Bench(clock, .init(threads: 1, stuckCalls: 1))
    let first = bench.job(1, inside: false)
    await until { bench.hasStarted(1) }
    clock.advance(by: .seconds(10))
    #expect(await first.value == .timedOut)
    #expect(bench.executor.stuck == 0)
    bench.wake()
    bench.letGo(2)
    #expect(await bench.job(2).value == nil)
  }

  @Test("One timer at a time, none when nothing is under way") func timers() async {
    let bench = Bench(clock, .init(threads: 1))
    for number in 0..<20 {
      bench.letGo(number)
      #expect(await bench.job(number).value == nil)
    }
    #expect(clock.timers == 1)
    await until { bench.finished.read { $0.count } == 20 }
    clock.advance(by: .seconds(10))
    #expect(clock.timers <= 1)
  }

  @Test("What a stopped executor holds still runs") func stopping() async {
    let executor = CustodyExecutor("token x", .init(threads: 2, waiting: 1000), clock: clock)
    let results = await withTaskGroup { group in
      for number in 0..<500 {
        group.addTask {
          let result: Result<Int, TokenFailure> = await unsafe withUnsafeContinuation { continuation in
            executor.submit(
              Operation(by: .seconds(10), late: { _ in }) { (_) throws(TokenFailure) in
                number
              } answer: {
                unsafe continuation.resume(returning: $0)
              })
          }
          switch result {
          case .success(let got): return got == number
          case .failure(let failure): return failure.error.code == .unavailable
          }
        }
      }
      group.addTask {
        executor.stop()
        return true
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(results.count == 501)
    #expect(results.allSatisfy { $0 })
  }
}
