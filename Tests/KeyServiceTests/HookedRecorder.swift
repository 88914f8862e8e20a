import CommandGate
import KeyService
import Synchronization
import TrustCoreAPI
import Wire

/// The recorder of the product, which ends the process' part of the work where a test says so: from then on everything
/// fails, as if nobody were there any more.
final class HookedRecorder<Store: UnitStore>: KeyRecorder where Store.Unit: KeyStore {
  /// Where a process ends.
  enum Point: Hashable {
    /// The HSM has worked, and no leaf of this kind says so.
    case beforeLeaf(String)
    /// The leaf is durable, and nothing of what follows was done.
    case afterLeaf(String)
    case beforeScrub
    case beforeErase
  }

  struct Crash: Error {}

  private struct State {
    var point: Point?
    var isOver = false
    var scrubs = 0
    var failingScrubs = 0
  }

  private let base: GateKeyRecorder<Store>
  private let state = Mutex(State())

  init(_ base: GateKeyRecorder<Store>) { self.base = base }

  /// The process ends at a point.
  func crash(at point: Point) { state.withLock { $0.point = point } }
  /// True once it has ended.
  var isOver: Bool { state.withLock { $0.isOver } }
  /// How often the storage was scrubbed.
  var scrubs: Int { state.withLock { $0.scrubs } }
  /// The next scrubs fail.
  func failScrubs(_ count: Int) { state.withLock { $0.failingScrubs = count } }

  private func pass(_ point: Point? = nil) throws {
    try state.withLock { state in
      if let point, point == state.point { state.isOver = true }
      if state.isOver { throw Crash() }
    }
  }

  func demandLog() async throws { try await base.demandLog() }

  func record(
    _ kind: String, _ change: @Sendable @escaping (inout Store.Unit, Timestamp, UInt64) throws -> JSONObject?
  ) async throws -> UInt64? {
    try pass(.beforeLeaf(kind))
    let index = try await base.record(kind, change)
    try pass(.afterLeaf(kind))
    return index
  }

  func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout Store.Unit) throws -> Result
  ) async throws -> Result {
    try pass()
    return try await base.read(body)
  }

  func erase(_ keys: [String]) async throws {
    try pass(.beforeErase)
    try await base.erase(keys)
  }

  func scrub() async throws {
    try pass(.beforeScrub)
    let fails = state.withLock { state in
      defer { state.failingScrubs = max(0, state.failingScrubs - 1) }
      return state.failingScrubs > 0
    }
    if fails { throw Problem(503, "test", "The test has it fail.") }
    try await base.scrub()
    state.withLock { $0.scrubs += 1 }
  }

  func seal(ofLeaf index: UInt64) async throws -> JSONObject { try await base.seal(ofLeaf: index) }
}
