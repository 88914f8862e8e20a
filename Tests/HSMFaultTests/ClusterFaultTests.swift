@_spi(Testing) import HSMCustody
import KeyHierarchy
import PKCS11
import TestSupport
import Testing

extension HSMFaults {
  /// Two members of a cluster, one of which fails in the middle of load.
  @Suite("Faults: clusters")
  struct ClusterFaultTests {
    private enum Outage: String, CaseIterable, Codable {
      case removed, refused, full, hanging
    }

    @Test("The other member serves during each kind of outage, and the first one afterwards")
    func outages() async {
      await #expect(processExitsWith: .success) {
        FaultBench.watch()
        let hsm = try FaultyHSM()
        let data = try hsm.hsm.makeCluster(for: .data, labels: ["data-a", "data-b"])
        let identity = try hsm.hsm.makeCluster(for: .identity, labels: ["identity-a", "identity-b"])
        try hsm.settleSlots()
        var limits = PKCS11Custodian.Limits()
        limits.deadline = .seconds(10_000_000)
        let bench = try await FaultBench(
          hsm, [.data, .identity], limits, clusters: [.data: data, .identity: identity])
        let faults = bench.faults
        func inUse() -> [Bool] { bench.custodian.health().map(\.isInUse) }
        let uses: [Use] = [
          .sign, .sign, .sign, .authenticate, .authenticate, .encrypt, .decrypt, .decrypt, .wrap, .random,
        ]
        #expect(inUse() == [true, false, true, false])
        for outage in Outage.allCases {
          let load = Load(bench, uses)
          let slots = try ["identity-a", "data-a"].map { try hsm.module.token(labelled: $0).slot }
          try await load.during {
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
            var held: [[FaultyModule.Rule]] = []
            for slot in slots {
              switch outage {
              case .removed: faults.removeToken(slot)
              case .refused:
                faults.fail(.openSession, with: .deviceError, times: nil, .slot(slot))
                faults.expireLogins(slot)
              case .full:
                faults.fail(.openSession, with: .sessionCount, times: nil, .slot(slot))
                faults.expireLogins(slot)
              case .hanging: held.append([faults.hold(.sign, .slot(slot)), faults.hold(.signInit, .slot(slot))])
              }
            }
            // Both threads of both tokens, twice: then they are passed over.
            for count in [2, 4] where outage == .hanging {
              await until { held.allSatisfy { $0.reduce(0) { $0 + $1.held } >= count } }
              bench.clock.advance(by: .seconds(10_000_000))
            }
            // Attempts of the one that is away initialise the module again at times, which costs the other its sessions:
            // whom that meets twice is refused, until the pause is over.
            await until {
              bench.clock.advance(by: .milliseconds(200))
              return inUse() == [false, true, false, true]
            }
            _ = load.takeCodes()
            await load.works(4) { bench.clock.advance(by: .milliseconds(200)) }
            let codes = load.takeCodes()
            // Moving the clock on for what hangs made everything late that was under way.
            #expect(
              codes.isSubset(of: outage == .hanging ? [.unavailable, .timedOut] : [.unavailable]), "\(outage): \(codes)"
            )
            faults.removeRules()
            for slot in slots { faults.returnToken(slot) }
            await until {
              bench.clock.advance(by: .milliseconds(200))
              return inUse() == [true, false, true, false]
            }
            await load.works { bench.clock.advance(by: .milliseconds(200)) }
          }
          #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
          #expect(bench.custodian.health().allSatisfy { $0.state == .ready }, "\(outage)")
        }
      }
    }

    @Test("Members with other keys are latched and never used, also when nothing else is left")
    func foreign() async {
      await #expect(processExitsWith: .success) {
        FaultBench.watch()
        let hsm = try FaultyHSM()
        let foreign = try hsm.hsm.makeToken(for: .data, label: "foreign")
        try hsm.settleSlots()
        let own = try #require(hsm.hsm.tokens[.data])
        let bench = try await FaultBench(hsm, [.data], clusters: [.data: [own, foreign]])
        #expect(bench.custodian.health().map(\.state) == [.ready, .latched])
        let (slot, other) = (try bench.slot(.data), try hsm.module.token(labelled: "foreign").slot)
        let functions: [PKCS11Function] = [
          .signInit, .encryptInit, .decryptInit, .wrapKey, .unwrapKey, .generateRandom,
        ]
        let before = functions.map { bench.faults.calls($0, other) }
        bench.faults.removeToken(slot)
        for _ in 0..<20 {
          for use in Use.allCases where use.role == .data {
            let code = try await custodyCode { try await use.run(bench) }
            #expect(code == .unavailable || code == .keyChanged)
          }
          bench.clock.advance(by: .seconds(5))
        }
        #expect(functions.map { bench.faults.calls($0, other) } == before)
        bench.faults.returnToken(slot)
        bench.clock.advance(by: .seconds(5))
        for use in Use.allCases where use.role == .data { try await use.run(bench) }
        #expect(bench.custodian.health().map(\.state) == [.ready, .latched])
      }
    }
  }
}
