import HSMCustody
import KeyHierarchy
@_spi(Testing) import PKCS11
import TestSupport
import Testing

extension HSMFaults {
  /// Tokens with few sessions, and operations in a queue.
  @Suite("Faults: session limits and queues")
  struct SessionLimitTests {
    @Test("A token of 1, 2, 3 and 16 sessions under load", arguments: [1, 2, 3, 16])
    func limit(_ limit: Int) async {
      await #expect(processExitsWith: .success) { [limit = limit as Int] in
        FaultBench.watch()
        let hsm = try FaultyHSM()
        hsm.faults.limitSessions(to: limit)
        var limits = PKCS11Custodian.Limits()
        (limits.sessionsPerToken, limits.threads, limits.loadedKeys) = (20, 4, 3)
        limits.deadline = .seconds(10_000_000)
        let bench = try await FaultBench(hsm, [.data], limits)
        let load = Load(bench, [.encrypt, .encrypt, .encrypt, .decrypt, .decrypt, .wrap, .wrap, .load, .authenticate])
        try await load.during {
          for round in 0..<6 {
            await load.works(3) { bench.clock.advance(by: .milliseconds(200)) }
            // In the middle of it the sessions go, and come back as few.
            round.isMultiple(of: 2)
              ? bench.faults.expireLogins() : try bench.hsm.module.closeAllSessions(bench.slot(.data))
          }
          await load.works { bench.clock.advance(by: .milliseconds(200)) }
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        let codes = load.takeCodes()
        // Of a token with one session the next may be asked for before the last is closed.
        #expect(codes.isSubset(of: [.unavailable, .full]), "\(codes)")
        #expect(bench.faults.mostSessions <= limit, "\(bench.faults.mostSessions)")
        #expect(bench.health(.data)?.state == .ready, "\(String(describing: bench.health(.data)))")
        #expect(bench.health(.data)?.sessions ?? 0 <= limit, "\(String(describing: bench.health(.data)))")
      }
    }

    @Test("CKR_SESSION_COUNT in the middle: fewer sessions do")
    func shrinks() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        bench.faults.limitSessions(to: 6)
        for role in [TokenRole.data, .identity, .log] {
          try bench.hsm.module.closeAllSessions(bench.slot(role))
          let use: Use = role == .data ? .authenticate : role == .log ? .checkpoint : .sign
          // What takes the last sessions of the others is their affair; here there are two for each.
          _ = try await custodyCode { try await use.run(bench) }
        }
        #expect(bench.faults.sessions <= 6)
        bench.faults.limitSessions(to: nil)
        bench.clock.advance(by: .seconds(5))
        for use in Use.allCases { try await use.run(bench) }
      }
    }

    @Test("No session at all: full, and ready once there is one")
    func none() async {
      await #expect(processExitsWith: .success) {
        FaultBench.watch()
        let hsm = try FaultyHSM()
        hsm.faults.limitSessions(to: 0)
        #expect(
          try await custodyCode {
            _ = try PKCS11Custodian.open(provider: hsm.hsm.provider, tokens: hsm.hsm.tokens, roles: [.identity])
          } == .full)
        let clock = ManualCustodyClock()
        let custodian = try PKCS11Custodian.open(
          provider: hsm.hsm.provider, tokens: hsm.hsm.tokens, roles: [.identity], tolerating: [.identity], clock: clock)
        #expect(custodian.health().map(\.state) == [.full])
        #expect(try await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .full)
        hsm.faults.limitSessions(to: 1)
        clock.advance(by: .seconds(5))
        #expect(
          try verifies(try await custodian.sign([1], with: .oauthA), [1], try custodian.publicKey(.oauthA)))
        #expect(custodian.health().map(\.state) == [.ready])
      }
    }

    @Test("The queue is full: hsm_busy with the count, and nothing is lost")
    func queue() async {
      await #expect(processExitsWith: .success) {
        var limits = PKCS11Custodian.Limits()
        (limits.threads, limits.waitingOperations) = (1, 3)
        let bench = try await FaultBench(limits)
        let slot = try bench.slot(.identity)
        let held = bench.faults.hold(.sign, times: 1, .slot(slot))
        let first = Task { try await custodyCode { try await Use.sign.run(bench) } }
        try await held.waitUntilHeld()
        let results = AsyncStream<CustodyError?>.makeStream()
        for _ in 0..<8 {
          Task {
            do {
              try await Use.sign.run(bench)
              results.continuation.yield(nil)
            } catch { results.continuation.yield(error as? CustodyError) }
          }
        }
        // Three of the eight wait, whichever came first.
        var iterator = results.stream.makeAsyncIterator()
        for _ in 0..<5 {
          let error = try #require(await iterator.next())
          #expect(error?.code == .busy)
          #expect(error?.message.contains("3 operations wait") == true)
        }
        for use in Use.allCases where use.role != .identity { try await use.run(bench) }
        bench.faults.release()
        for _ in 0..<3 { #expect(await iterator.next() == .some(nil)) }
        #expect(try await first.value == nil)
      }
    }
  }
}
