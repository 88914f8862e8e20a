import Foundation
import Testing

/// Each stream sees in the end exactly what its process is entitled to, and never more on the way.
@Suite struct ServiceSimulationTests {
  private static let environment = ProcessInfo.processInfo.environment
  /// `TRUSTCORE_SEED` replays one; `SEEDS` says how many there are.
  static var seeds: [UInt64] {
    if let seed = environment["TRUSTCORE_SEED"].flatMap(UInt64.init) { return [seed] }
    return (0..<UInt64(environment["SEEDS"].flatMap(Int.init) ?? 6)).map { 1 + $0 }
  }

  @Test(arguments: seeds) func seeded(_ seed: UInt64) async throws {
    var simulation = try await ServiceSimulation(seed: seed)
    do { try await simulation.run(steps: 120) } catch {
      Issue.record("seed \(seed): \(error); again: TRUSTCORE_SEED=\(seed) swift test --filter ServiceSimulation")
    }
    let counts = simulation.tally.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    print("vectors: workload simulation, seed \(seed): 120 steps ran, none left out; \(counts)")
  }
}
