import HSMCustody
import KeyHierarchy
import Synchronization
import TestSupport

/// Tasks that use the HSM until they are stopped, each answer verified.
final class Load: Sendable {
  struct Count {
    var good: [Int]
    var refused: [Int]
    var codes: Set<CustodyError.Code> = []
    var wrong: [String] = []
  }

  private let bench: FaultBench
  private let uses: [Use]
  private let isStopped = Atomic(false)
  private let state: Mutex<Count>

  /// - Parameter uses: One task each.
  init(_ bench: FaultBench, _ uses: [Use]) {
    self.bench = bench
    self.uses = uses
    state = Mutex(Count(good: uses.map { _ in 0 }, refused: uses.map { _ in 0 }))
  }

  var count: Count { state.withLock { $0 } }

  /// What was refused since it was asked last.
  func takeCodes() -> Set<CustodyError.Code> {
    state.withLock { count in
      defer { count.codes = [] }
      return count.codes
    }
  }

  /// Runs `body` beside the load.
  func during(_ body: () async throws -> Void) async throws {
    let tasks = uses.indices.map { index in Task { await run(index) } }
    do { try await body() } catch {
      isStopped.store(true, ordering: .relaxed)
      throw error
    }
    isStopped.store(true, ordering: .relaxed)
    for task in tasks { await task.value }
  }

  private func run(_ index: Int) async {
    while !isStopped.load(ordering: .relaxed) {
      do {
        try await uses[index].run(bench)
        state.withLock { $0.good[index] += 1 }
      } catch let error as CustodyError {
        state.withLock { count in
          count.refused[index] += 1
          count.codes.insert(error.code)
        }
      } catch {
        state.withLock { $0.wrong.append("\(error)") }
      }
      await Task.yield()
    }
  }

  /// Returns once each task (of a role) has succeeded so often again.
  func works(_ times: Int = 2, _ meanwhile: () -> Void = {}) async {
    let before = count.good
    await until {
      meanwhile()
      return zip(count.good, before).allSatisfy { $0 - $1 >= times }
    }
  }

  /// Returns once each task that uses one of these tokens was refused so often again.
  func fails(_ roles: Set<TokenRole>, _ times: Int = 3) async {
    let before = count.refused
    await until {
      zip(uses, zip(count.refused, before)).allSatisfy { !roles.contains($0.role) || $1.0 - $1.1 >= times }
    }
  }
}
