import Foundation
import Testing

/// Every data key that must open gives its exact bytes; every other is refused with the right code.
@Suite struct KeySimulationTests {
  private static let environment = ProcessInfo.processInfo.environment
  /// `TRUSTCORE_SEED` replays one; `SEEDS` says how many there are in memory, and a quarter of that on SQLite.
  static func seeds(_ count: Int, from first: UInt64) -> [UInt64] {
    if let seed = environment["TRUSTCORE_SEED"].flatMap(UInt64.init) { return [seed] }
    return (0..<UInt64(count)).map { first + $0 }
  }
  static var count: Int? { environment["SEEDS"].flatMap(Int.init) }

  private static func run<Disk: KeyDisk>(
    _ seed: UInt64, steps: Int, _ disk: (String) throws -> Disk
  ) async throws {
    var simulation = try await KeySimulation(seed: seed, disk: disk)
    do { try await simulation.run(steps: steps) } catch {
      Issue.record("seed \(seed): \(error); again: TRUSTCORE_SEED=\(seed) swift test --filter KeySimulation")
    }
    let counts = simulation.tally.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    print("vectors: key simulation on \(Disk.self), seed \(seed): \(steps) steps ran, none left out; \(counts)")
  }

  @Test(arguments: seeds(count ?? 8, from: 1)) func inMemory(_ seed: UInt64) async throws {
    try await Self.run(seed, steps: 150) { MemoryDisk(folder: $0) }
  }

  @Test(arguments: seeds(count.map { ($0 + 3) / 4 } ?? 2, from: 101)) func onSQLite(_ seed: UInt64) async throws {
    try await Self.run(seed, steps: 100) { try SQLiteDisk(folder: $0) }
  }
}
