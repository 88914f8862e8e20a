import HSMCustody
import KeyHierarchy
@_spi(Testing) import PKCS11
import TestSupport
import Testing

extension HSMFaults {
  /// Faults in the middle of load. Time stands still but for the pauses between attempts, and a deadline is months away: what
  /// would wait for one hangs, and the process is killed.
  @Suite("Faults: under load")
  struct LoadTests {
    private static let uses: [Use] = [
      .sign, .sign, .sign, .sign, .checkpoint, .authenticate, .authenticate, .encrypt, .encrypt, .decrypt, .decrypt,
      .wrap,
      .load, .random,
    ]

    @Test("The token is pulled and put back, again and again")
    func pulled() async {
      await #expect(processExitsWith: .success) {
        let bench = try await patientBench()
        let load = Load(bench, LoadTests.uses)
        try await load.during {
          let roles: [TokenRole] = [.identity, .data, .log, .identity, .data]
          for role in roles {
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            let slot = try bench.slot(role)
            bench.faults.removeToken(slot)
            await load.fails([role])
            #expect(bench.health(role)?.state == .down || bench.health(role)?.state == .recovering)
            bench.faults.returnToken(slot)
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            let codes = load.takeCodes()
            #expect(codes.isSubset(of: [.unavailable]), "\(codes)")
          }
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        #expect(bench.custodian.health().allSatisfy { $0.state == .ready })
      }
    }

    @Test("Logins expire, again and again")
    func expired() async {
      await #expect(processExitsWith: .success) {
        let bench = try await patientBench()
        let load = Load(bench, LoadTests.uses)
        try await load.during {
          for _ in 0..<20 {
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            bench.faults.expireLogins()
          }
          await load.works { bench.clock.advance(by: .milliseconds(200)) }
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        let codes = load.takeCodes()
        #expect(codes.isSubset(of: [.unavailable]), "\(codes)")
        #expect(bench.custodian.health().allSatisfy { $0.state == .ready })
      }
    }

    @Test("All sessions are closed, again and again: nobody notices")
    func closed() async {
      await #expect(processExitsWith: .success) {
        let bench = try await patientBench()
        let load = Load(bench, LoadTests.uses)
        try await load.during {
          for round in 0..<20 {
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            try bench.hsm.module.closeAllSessions(bench.slot([.identity, .data, .log][round % 3]))
          }
          await load.works { bench.clock.advance(by: .milliseconds(200)) }
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        let codes = load.takeCodes()
        #expect(codes.isSubset(of: [.unavailable]), "\(codes)")
      }
    }

    @Test(
      "The module's process starts again, again and again", arguments: [PKCS11Error.Code.notInitialized, .deviceError])
    func reset(_ code: PKCS11Error.Code) async {
      await #expect(processExitsWith: .success) { [number = code.rawValue as UInt] in
        let bench = try await patientBench()
        let load = Load(bench, LoadTests.uses)
        let before = bench.faults.initialisations
        try await load.during {
          for _ in 0..<8 {
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            bench.faults.reset(PKCS11Error.Code(rawValue: number))
          }
          await load.works { bench.clock.advance(by: .milliseconds(200)) }
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        let codes = load.takeCodes()
        #expect(codes.isSubset(of: [.unavailable]), "\(codes)")
        #expect(bench.custodian.health().allSatisfy { $0.state == .ready })
        #expect(bench.faults.initialisations >= before + 8)
      }
    }

    @Test("Everything at once")
    func everything() async {
      await #expect(processExitsWith: .success) {
        let bench = try await patientBench()
        let load = Load(bench, LoadTests.uses)
        try await load.during {
          for round in 0..<6 {
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            let (identity, data) = (try bench.slot(.identity), try bench.slot(.data))
            bench.faults.removeToken(identity)
            bench.faults.expireLogins(data)
            bench.faults.reset(round.isMultiple(of: 2) ? .deviceError : .notInitialized)
            await load.fails([.identity])
            bench.faults.returnToken(identity)
          }
          await load.works { bench.clock.advance(by: .milliseconds(200)) }
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        let codes = load.takeCodes()
        #expect(codes.isSubset(of: [.unavailable]), "\(codes)")
        #expect(bench.custodian.health().allSatisfy { $0.state == .ready })
      }
    }
  }
}

/// A bench on which a deadline never comes.
func patientBench() async throws -> FaultBench {
  var limits = PKCS11Custodian.Limits()
  limits.deadline = .seconds(10_000_000)
  limits.loadedKeys = 4
  return try await FaultBench(limits)
}
