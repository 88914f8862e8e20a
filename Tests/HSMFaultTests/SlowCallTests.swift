import HSMCustody
import KeyHierarchy
import TestSupport
import Testing

extension HSMFaults {
  /// Calls that do not come back for a while.
  @Suite("Faults: slow calls")
  struct SlowCallTests {
    @Test(
      "One call is past its deadline: its caller knows at once, everything else goes on",
      arguments: [Use.sign, .checkpoint, .authenticate, .encrypt, .decrypt, .wrap, .load, .random])
    func one(_ use: Use) async {
      await #expect(processExitsWith: .success) { [use = use as Use] in
        let bench = try await FaultBench()
        for (function, calling) in use.functions.flatMap({ [($0, false), ($0, true)] }) {
          try await use.prepare(bench)
          let held = bench.faults.hold(function, times: 1, calling: calling, .slot(try bench.slot(use.role)))
          let slow = Task { try await custodyCode { try await use.run(bench) } }
          try await held.waitUntilHeld()
          bench.clock.advance(by: .seconds(10))
          #expect(try await slow.value == .timedOut)
          #expect(bench.health(use.role)?.lent == 1)
          // The same token too, on another session.
          for other in Use.allCases {
            let code = try await custodyCode { try await other.run(bench) }
            #expect(code == nil, "\(other) while \(use) hangs in \(function.name): \(String(describing: code))")
          }
          bench.faults.release()
          await until { bench.health(use.role)?.lent == 0 }
          try await use.run(bench)
          #expect(bench.health(use.role)?.state == .ready)
        }
      }
    }

    @Test("As many hang as may: that token is refused at once, until one comes back")
    func many() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        let held = bench.faults.hold(.sign, .slot(try bench.slot(.identity)))
        var slow: [Task<CustodyError.Code?, any Error>] = []
        for count in [2, 4] {
          for _ in 0..<2 { slow.append(Task { try await custodyCode { try await Use.sign.run(bench) } }) }
          try await held.waitUntilHeld(count)
          bench.clock.advance(by: .seconds(10))
        }
        for task in slow { #expect(try await task.value == .timedOut) }
        let calls = bench.faults.calls(.signInit, try bench.slot(.identity))
        for _ in 0..<20 { #expect(try await custodyCode { try await Use.sign.run(bench) } == .unavailable) }
        #expect(bench.faults.calls(.signInit, try bench.slot(.identity)) == calls)
        #expect(bench.health(.identity)?.state == .unresponsive)
        for use in Use.allCases where use.role != .identity { try await use.run(bench) }
        bench.faults.release()
        await until { bench.health(.identity)?.state == .ready }
        try await Use.sign.run(bench)
        await until { bench.health(.identity)?.lent == 0 }
        // The token is looked at once more, and nothing hangs any longer.
        await until { bench.faults.callsInFlight == 0 }
      }
    }

    @Test("A login that hangs: who waits for it is refused, and it is taken when it comes")
    func login() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        let slot = try bench.slot(.identity)
        let held = bench.faults.hold(.login, times: 1, .slot(slot))
        bench.faults.expireLogins(slot)
        let slow = Task { try await custodyCode { try await Use.sign.run(bench) } }
        try await held.waitUntilHeld()
        bench.clock.advance(by: .seconds(10))
        #expect(try await slow.value == .timedOut)
        #expect(try await custodyCode { try await Use.sign.run(bench) } == .unavailable)
        #expect(bench.health(.identity)?.state == .unresponsive)
        bench.faults.release()
        await until { bench.health(.identity)?.state == .ready }
        try await Use.sign.run(bench)
      }
    }

    @Test("Initialising again is not held up by a call that hangs for longer than its patience")
    func reinitialise() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        let held = bench.faults.hold(.sign, times: 1, .slot(try bench.slot(.identity)))
        let slow = Task { try await custodyCode { try await Use.sign.run(bench) } }
        try await held.waitUntilHeld()
        bench.clock.advance(by: .seconds(10))
        #expect(try await slow.value == .timedOut)
        let before = bench.faults.initialisations
        // The log token asks for it, in vain: it is told so, and the others lose nothing.
        let log = try bench.slot(.log)
        bench.faults.removeToken(log)
        #expect(try await custodyCode { try await Use.checkpoint.run(bench) } == .unavailable)
        #expect(held.held == 1)
        #expect(bench.faults.initialisations == before)
        for use in Use.allCases where use.role == .data { try await use.run(bench) }
        bench.faults.release()
        await until { bench.health(.identity)?.lent == 0 }
        bench.faults.returnToken(log)
        bench.clock.advance(by: .seconds(5))
        for use in Use.allCases { try await use.run(bench) }
      }
    }
  }
}
