import HSMCustody
import KeyHierarchy
import PKCS11
import SecretMemory
import TestSupport
import Testing

extension HSMFaults {
  /// What a person has to see: a full token, a refused PIN, a token that hands keys out.
  @Suite("Faults: full tokens, PINs and hostile tokens")
  struct StateTests {
    @Test("A full token: hsm_full, what is loaded goes on, and it is ready once there is room")
    func full() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        let slot = try bench.slot(.data)
        try await Use.encrypt.run(bench)
        bench.faults.setFull(true, slot)
        let o1 = try await custodyCode { try await Use.wrap.run(bench) }
        #expect(o1 == .full, "Use.wrap: \(String(describing: o1))")
        #expect(bench.health(.data)?.state == .full, "4 \(String(describing: bench.health(.data)))")
        #expect(bench.health(.data)?.reason.isEmpty == false)
        for use in Use.allCases where [.sign, .checkpoint, .authenticate, .random].contains(use) {
          try await use.run(bench)
        }
        try await Use.load.prepare(bench)
        let o2 = try await custodyCode { try await Use.load.run(bench) }
        #expect(o2 == .full, "Use.load: \(String(describing: o2))")
        #expect(bench.health(.data)?.state == .full, "5 \(String(describing: bench.health(.data)))")
        bench.faults.setFull(false, slot)
        bench.clock.advance(by: .seconds(5))
        // Nothing is lost: what was unloaded for room is loaded again.
        for use in Use.allCases { try await use.run(bench) }
        #expect(bench.health(.data)?.state == .ready, "6 \(String(describing: bench.health(.data)))")
        // Full while it is opened again: it has no room for the keys that are compared.
        bench.faults.setFull(true, slot)
        bench.faults.expireLogins(slot)
        let o3 = try await custodyCode { try await Use.authenticate.run(bench) }
        #expect(o3 == .full, "Use.authenticate: \(String(describing: o3))")
        #expect(bench.health(.data)?.state == .full, "7 \(String(describing: bench.health(.data)))")
        bench.faults.setFull(false, slot)
        bench.clock.advance(by: .seconds(5))
        for use in Use.allCases { try await use.run(bench) }
        #expect(bench.health(.data)?.state == .ready, "8 \(String(describing: bench.health(.data)))")
      }
    }

    @Test("A wrong PIN at the opening: one attempt, refused or tolerated")
    func wrongPIN() async {
      await #expect(processExitsWith: .success) {
        FaultBench.watch()
        let hsm = try FaultyHSM()
        var tokens = hsm.hsm.tokens
        tokens[.identity] = .init(uri: "pkcs11:token=identity") { () throws(SecretMemoryError) in
          try SecretBytes.random(count: 16).hexadecimal()
        }
        let slot = try hsm.module.token(labelled: "identity").slot
        let before = hsm.faults.calls(.login, slot)
        #expect(
          try await custodyCode {
            _ = try PKCS11Custodian.open(provider: hsm.hsm.provider, tokens: tokens, roles: [.identity, .log])
          } == .wrongPIN)
        #expect(hsm.faults.calls(.login, slot) == before + 1)
        let clock = ManualCustodyClock()
        let custodian = try PKCS11Custodian.open(
          provider: hsm.hsm.provider, tokens: tokens, roles: [.identity, .log], tolerating: [.identity], clock: clock)
        for _ in 0..<10 {
          clock.advance(by: .seconds(3600))
          #expect(try await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .wrongPIN)
          #expect(try await custodyCode { _ = try custodian.publicKey(.oauthA) } == .wrongPIN)
        }
        #expect(hsm.faults.calls(.login, slot) == before + 2)
        #expect(custodian.health().first { $0.role == .identity }?.state == .latched)
        #expect(try custodian.publicKey(.logA).bytes.count == 32)
      }
    }

    @Test("The PIN is changed under load: one attempt, latched, the others go on")
    func changedPIN() async {
      await #expect(processExitsWith: .success) {
        let bench = try await patientBench()
        let slot = try bench.slot(.identity)
        let load = Load(bench, [.sign, .sign, .sign, .sign, .checkpoint, .authenticate, .encrypt])
        try await load.during {
          await load.works { bench.clock.advance(by: .milliseconds(200)) }
          let before = bench.faults.calls(.login, slot)
          bench.faults.fail(.login, with: .pinIncorrect, times: nil, .slot(slot))
          bench.faults.expireLogins(slot)
          await load.fails([.identity])
          bench.faults.removeRules()
          // With the PIN right again a second attempt would succeed: there is none.
          for _ in 0..<20 {
            bench.clock.advance(by: .seconds(60))
            await load.fails([.identity])
          }
          #expect(bench.faults.calls(.login, slot) == before + 1)
        }
        #expect(load.count.wrong.isEmpty, "\(load.count.wrong)")
        #expect(load.takeCodes() == [.wrongPIN])
        #expect(bench.health(.identity)?.state == .latched)
        #expect(bench.health(.identity)?.reason.contains("C_Login: CKR_PIN_INCORRECT") == true)
        try bench.reopen()
        for use in Use.allCases { try await use.run(bench) }
      }
    }

    @Test("A token that hands keys out is not opened")
    func hostile() async {
      await #expect(processExitsWith: .success) {
        FaultBench.watch()
        let hsm = try FaultyHSM()
        let ways: [(FaultyModule.Unwrapping, HostileUnwrap?)] = [
          (.honest, .refused), (.asAsked, nil), (.locked, .locked), (.lying, nil), (.honest, .refused),
        ]
        for (way, expected) in ways {
          hsm.faults.setUnwrapping(way)
          for tolerating in [Set<TokenRole>(), [.data]] {
            var found: HostileUnwrap?
            let code = try await custodyCode {
              let custodian = try PKCS11Custodian.open(
                provider: hsm.hsm.provider, tokens: hsm.hsm.tokens, roles: [.data, .log], tolerating: tolerating)
              found = custodian.hostileUnwrap
              custodian.close()
            }
            #expect(code == (expected == nil ? .hostileUnwrap : nil), "\(way)")
            #expect(found == expected, "\(way)")
            #expect(hsm.faults.sessions == 0)
          }
        }
        // One that turns hostile is noticed when it is opened again.
        let bench = try await FaultBench(hsm, [.data, .log])
        hsm.faults.setUnwrapping(.lying)
        hsm.faults.expireLogins()
        #expect(try await custodyCode { try await Use.authenticate.run(bench) } == .hostileUnwrap)
        #expect(bench.health(.data)?.state == .latched)
        try await Use.checkpoint.run(bench)
      }
    }

    @Test("A flipped bit in a check value's operation is a changed key; the next opening is right")
    func flipped() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        let slot = try bench.slot(.data)
        for function in [PKCS11Function.wrapKey, .sign] {
          bench.faults.expireLogins(slot)
          let flip = bench.faults.flipBit(in: function, .slot(slot))
          #expect(
            try await custodyCode {
              try await Use.random.run(bench); try await Use.authenticate.run(bench)
            } == .keyChanged)
          #expect(flip.met == 1)
          #expect(bench.health(.data)?.state == .latched)
          #expect(try await custodyCode { try await Use.wrap.run(bench) } == .keyChanged)
          flip.remove()
          try bench.reopen()
          for use in Use.allCases { try await use.run(bench) }
        }
      }
    }
  }
}
