import Foundation
import Testing
import TestSupport

/// Gate, consent, policy, ledger, rail and crashes under one seed, with a model beside them.
@Suite struct PaymentsSimulationTests {
  private static let environment = ProcessInfo.processInfo.environment
  /// `TRUSTCORE_SEED` replays one; `SEEDS` says how many there are in memory, and a quarter of that on SQLite.
  static func seeds(_ count: Int, from first: UInt64) -> [UInt64] {
    if let seed = environment["TRUSTCORE_SEED"].flatMap(UInt64.init) { return [seed] }
    let start = environment["TRUSTCORE_SOAK"] == nil ? first : UInt64.random(in: 1_000..<1_000_000_000)
    return (0..<UInt64(count)).map { start + $0 }
  }
  static var count: Int? { environment["SEEDS"].flatMap(Int.init) }

  @discardableResult
  private static func run<Disk: SimulatedDisk>(_ seed: UInt64, steps: Int, on: Disk.Type) async throws -> String {
    let (root, tally, leaves) = try await OneByOne.run { executor in
      let simulation = try await Simulation<Disk>(seed: seed, on: executor)
      try await simulation.run(steps: steps)
      return (simulation.last, simulation.tally, simulation.told)
    }
    let counts = tally.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    print("vectors: simulation on \(Disk.self), seed \(seed): \(leaves) leaves ran, none left out; \(counts)")
    return root
  }

  @Test(arguments: seeds(count ?? 6, from: 1)) func inMemory(_ seed: UInt64) async throws {
    try await Self.run(seed, steps: 100, on: MemoryDisk.self)
  }

  @Test(arguments: seeds(count.map { ($0 + 3) / 4 } ?? 2, from: 101)) func onSQLite(_ seed: UInt64) async throws {
    try await Self.run(seed, steps: 60, on: SQLiteDisk.self)
  }

  /// One seed, one log, byte for byte, on either storage.
  @Test func aSeedReplaysToTheSameLog() async throws {
    let first = try await Self.run(7, steps: 30, on: MemoryDisk.self)
    #expect(!first.isEmpty)
    #expect(try await Self.run(7, steps: 30, on: MemoryDisk.self) == first)
    #expect(try await Self.run(7, steps: 30, on: SQLiteDisk.self) == first)
    #expect(try await Self.run(8, steps: 30, on: MemoryDisk.self) != first)
  }
}
