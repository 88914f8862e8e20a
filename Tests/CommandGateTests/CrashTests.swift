import CommandGate
import Seal
import StorageSQLite
import Synchronization
import Testing
import TestSupport
import Wire

@Suite struct CrashTests {
  /// A process that is killed right after each step, at every occurrence in a burst, answers after its restart as if
  /// nothing had happened.
  @Test func everyNamedStepCanBeTheLast() async throws {
    let folder = try TemporaryFolder.make()
    let bench = try await CrashBench.found(seed: 1, in: folder)
    let camera = CrashCamera(folder) { _, number in number < 40 }
    let commands = try await bench.running(in: folder, camera) { d in
      var commands: [SignedCommand] = []
      // Alone, in a burst, and one that is refused.
      for size in [1, 6, 1, 12] {
        let burst = try await GateTests.several(size) { try await bench.transfer(Int64(10 + $0), d) }
        let refused = try await bench.transfer(10_000_000, d)
        commands += burst + [refused]
        let answers = await CrashBench.submit(burst + [refused], to: d, camera)
        #expect(answers[refused.idempotencyKey] == .refused("account_overdrawn") && answers.count == size + 1)
      }
      return commands
    }
    let images = camera.images
    #expect(Set(images.map(\.step)) == Set(GateStep.allCases))
    for image in images { try await bench.verify(image, commands) }
    let counts = GateStep.allCases.map { step in "\(step.rawValue) \(images.filter { $0.step == step }.count)" }
    print("vectors: crashes at named steps: \(images.count) ran (\(counts.joined(separator: ", ")))")
  }

  /// What T1 recorded and nobody sealed in time has an outcome all the same: expired, and the reservation is given back.
  @Test func whatExpiredWhileTheProcessWasDownIsReleased() async throws {
    let folder = try TemporaryFolder.make()
    let bench = try await CrashBench.found(seed: 2, in: folder)
    let camera = CrashCamera(folder) { step, _ in step == .t1 }
    let command = try await bench.running(in: folder, camera) { d in
      let command = try await bench.transfer(500, d)
      _ = await CrashBench.submit([command], to: d, camera)
      return command
    }
    let image = try #require(camera.images.first)
    bench.world.clock.advance(seconds: 300)
    let answers = try await bench.running(in: image.folder) { d in await CrashBench.submit([command], to: d) }
    #expect(answers == [command.idempotencyKey: .refused("seal_expired")])
    let report = try DeploymentAudit(database: image.folder + "/db", genesis: bench.world.genesisText).run()
    #expect(report.findings == [] && report.failed == 1 && report.inFlight == 0)
  }

  /// Life after life from one seed: bursts, an HSM that comes and goes, a crash after a random step, the next life from
  /// what the crash left. What was answered once stays the answer; at the end each command counts once.
  @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func randomLives(_ seed: UInt64) async throws {
    var folder = try TemporaryFolder.make()
    let bench = try await CrashBench.found(seed: seed, in: folder)
    let random = SeededRandom(seed &* 31)
    var commands: [SignedCommand] = []
    var promised: [String: Answer] = [:]
    var crashes = 0
    for _ in 0..<6 {
      let last = random.below(24)
      let camera = CrashCamera(folder) { _, number in number == last }
      let world = bench.world
      let isAwayAtFirst = random.below(3) == 0
      commands = try await bench.running(in: folder, camera) { [commands] d in
        var commands = commands
        for _ in 0..<(1 + random.below(4)) {
          let amounts = (0..<(1 + random.below(8))).map { _ in
            Int64(random.below(9) == 0 ? 90_000 : 1 + random.below(900))
          }
          var burst: [SignedCommand] = []
          for amount in amounts { burst.append(try await bench.transfer(amount, d)) }
          commands += burst
          if random.below(2) == 0 { burst += commands.suffix(3) + [random.pick(commands)] }
          if isAwayAtFirst {
            world.custodian.setAway(true)
            async let answers = CrashBench.submit(burst, to: d, camera)
            await world.custodian.waitForAttempts(2)
            world.custodian.setAway(false)
            _ = await answers
          } else {
            _ = await CrashBench.submit(burst, to: d, camera)
          }
        }
        return commands
      }
      guard let image = camera.images.first else { continue }
      crashes += 1
      promised.merge(image.answers) { old, new in
        #expect(old == new)
        return new
      }
      folder = image.folder
    }
    let final = commands
    let answers = try await bench.running(in: folder) { d in await CrashBench.submit(final, to: d) }
    for (key, answer) in promised { #expect(answers[key] == answer, "the answer to \(key) is another one now") }
    try bench.audit(folder, commands, answers)
    print(
      "vectors: random lives, seed \(seed): \(commands.count) commands, \(promised.count) promised, \(crashes) crashes")
  }
}
