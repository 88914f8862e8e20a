import HSMCustody
import KeyHierarchy
import PKCS11
import TestSupport
import Testing

extension HSMFaults {
  /// Replacing and destroying a key, with a fault in each of the calls that they make.
  @Suite("Faults: replacing keys")
  struct ReplacementFaultTests {
    @Test("Each call × refused or its answer lost: no wrong key is used, and the next replacement succeeds")
    func calls() async throws {
      let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
        let bench = try await FaultBench()
        let slot = try bench.slot(.identity)
        var tally = Tally()
        var key = try await bench.custodian.replace(.svidJWTB)
        for (function, isWriting) in ReplacementFault.functions {
          // Every call of the function that a replacement makes: each class of code where the token is changed, one
          // after the other where it is read.
          let before = bench.faults.calls(function, slot)
          key = try await bench.custodian.replace(.svidJWTB)
          let count = Int(bench.faults.calls(function, slot) - before)
          #expect(count > 0, "\(function.name)")
          for call in 0..<count {
            for (number, code) in ReplacementFault.codes.enumerated() {
              for lost in [false, true] where isWriting || (2 * call + (lost ? 1 : 0)) % 10 == number {
                for destroying in [false, true] where !destroying || call < 2 && function != .generateKeyPair {
                  key = try await ReplacementFault(
                    function: function, call: call, code: code, isLost: lost, isDestroying: destroying, times: 1
                  ).run(bench, old: key, &tally)
                }
              }
            }
          }
        }
        // Every code, of the two calls that change the token in turn, once or for good.
        for (number, code) in PKCS11Error.Code.all.enumerated() {
          key = try await ReplacementFault(
            function: number.isMultiple(of: 2) ? .destroyObject : .generateKeyPair, call: 0, code: code,
            isLost: number % 4 < 2, isDestroying: false, times: number % 8 < 4 ? 1 : nil
          ).run(bench, old: key, &tally)
        }
        tally.report()
      }
      print("HSM faults: replacing keys: \(Tally(try #require(result))), no wrong key")
    }

    @Test("A replacement that hangs: its caller knows in time, nothing is made behind the next one's back")
    func hanging() async {
      await #expect(processExitsWith: .success) {
        let bench = try await FaultBench()
        let slot = try bench.slot(.identity)
        for function in [PKCS11Function.findObjectsInit, .destroyObject, .generateKeyPair, .getAttributeValue] {
          for calling in [false, true] {
            let old = try await bench.custodian.replace(.svidJWTB)
            let held = bench.faults.hold(function, times: 1, calling: calling, .slot(slot))
            let slow = Task { try await custodyCode { _ = try await bench.custodian.replace(.svidJWTB) } }
            try await held.waitUntilHeld()
            // The key is refused at once, the others are not.
            #expect(try await bench.code(signing: .svidJWTB, expecting: old) == .keyReplaced)
            try await Use.sign.run(bench)
            bench.clock.advance(by: .seconds(10))
            #expect(try await slow.value == .timedOut)
            // Other keys are used, on a login that may be new; none is made while that call may still make one.
            try await Use.sign.run(bench)
            #expect(try await custodyCode { _ = try await bench.custodian.replace(.svidJWTB) } == .busy)
            #expect(try await custodyCode { _ = try await bench.custodian.replace(.x509IssuingB) } == .unavailable)
            #expect(try await bench.code(signing: .svidJWTB, expecting: old) == .keyReplaced)
            bench.faults.release()
            await until { bench.health(.identity)?.lent == 0 }
            // The late call's thread has let go once the key is no longer reserved.
            try await until { try await custodyCode { _ = try await bench.custodian.replace(.svidJWTB) } != .busy }
            let new = try bench.custodian.publicKey(.svidJWTB)
            #expect(new != old)
            #expect(try await bench.code(signing: .svidJWTB, expecting: new) == nil)
            #expect(try bench.halves(.svidJWTB) == [1, 1], "\(function.name)")
            _ = try await bench.custodian.replace(.x509IssuingB)
            #expect(bench.health(.identity)?.state == .ready)
          }
        }
      }
    }

    @Test(
      "A signature under way ends before its key does; one that hangs holds nothing up for longer than its deadline")
    func signatureUnderWay() async {
      await #expect(processExitsWith: .success) {
        // One thread is held by the signature, one waits for it with the replacement.
        var limits = PKCS11Custodian.Limits()
        limits.threads = 3
        let bench = try await FaultBench(limits)
        let slot = try bench.slot(.identity)
        let old = try await bench.custodian.replace(.svidJWTB)
        let destroyed = bench.faults.calls(.destroyObject, slot)
        var held = bench.faults.hold(.sign, times: 1, .slot(slot))
        let signing = Task { try await bench.custodian.sign([9], with: .svidJWTB, expecting: old) }
        try await held.waitUntilHeld()
        let replacing = Task { try await bench.custodian.replace(.svidJWTB) }
        try await until { try await bench.code(signing: .svidJWTB, expecting: old) == .keyReplaced }
        #expect(bench.faults.calls(.destroyObject, slot) == destroyed)
        held.remove()
        #expect(try verifies(try await signing.value, [9], old))
        let new = try await replacing.value
        #expect(try await bench.code(signing: .svidJWTB, expecting: old) == .keyReplaced)
        #expect(try await bench.code(signing: .svidJWTB, expecting: new) == nil)

        held = bench.faults.hold(.sign, times: 1, .slot(slot))
        let stuck = Task { try await custodyCode { _ = try await bench.custodian.sign([9], with: .svidJWTB) } }
        try await held.waitUntilHeld()
        bench.clock.advance(by: .seconds(10))
        #expect(try await stuck.value == .timedOut)
        let last = try await bench.custodian.replace(.svidJWTB)
        #expect(try await bench.code(signing: .svidJWTB, expecting: last) == nil)
        held.remove()
        await until { bench.health(.identity)?.lent == 0 }
        #expect(try await bench.code(signing: .svidJWTB, expecting: last) == nil)
        #expect(bench.health(.identity)?.state == .ready)
      }
    }
  }
}

/// One fault in a replacement.
struct ReplacementFault {
  let function: PKCS11Function
  let call: Int
  let code: PKCS11Error.Code
  let isLost: Bool
  let isDestroying: Bool
  let times: UInt64?

  static let functions: [(PKCS11Function, isWriting: Bool)] = [
    (.findObjectsInit, false), (.findObjects, false), (.findObjectsFinal, false), (.getAttributeValue, false),
    (.generateRandom, false), (.destroyObject, true), (.generateKeyPair, true),
  ]
  /// One of each class, and those that are treated apart.
  static let codes: [PKCS11Error.Code] = [
    .deviceMemory, .operationActive, .sessionHandleInvalid, .objectHandleInvalid, .userNotLoggedIn, .deviceRemoved,
    .templateInconsistent, .keyChanged, .dataInvalid, .generalError,
  ]

  /// - Returns: The key that is in the slot afterwards.
  func run(_ bench: FaultBench, old: CustodyPublicKey, _ tally: inout Tally) async throws -> CustodyPublicKey {
    let (key, slot) = (KeyName.svidJWTB, try bench.slot(.identity))
    let rule = bench.faults.fail(function, with: code, times: times, after: UInt64(call), calling: isLost, .slot(slot))
    var new: CustodyPublicKey?
    let outcome = try await custodyCode {
      if isDestroying { try await bench.custodian.destroy(key) } else { new = try await bench.custodian.replace(key) }
    }
    #expect(rule.met > 0 || isDestroying, "\(self): not met")
    rule.remove()
    tally.count(code, function, outcome)
    if let outcome {
      #expect(Expectation.code(code) == outcome || [.unavailable, .failed].contains(outcome), "\(self): \(outcome)")
    }
    bench.clock.advance(by: .seconds(5))
    if bench.health(.identity)?.state == .latched {
      #expect(code == .keyChanged, "\(self): latched: \(bench.health(.identity)?.reason ?? "")")
      tally.latched += 1
      try bench.reopen()
    }
    // Whoever expects the old key gets its signature, or none: the key is whole still, or is used no more.
    let asOld = try await bench.code(signing: key, expecting: old)
    #expect([nil, .keyReplaced, .keyNotFound].contains(asOld), "\(self): \(String(describing: asOld))")
    #expect(outcome != nil || asOld != nil, "\(self): the old key still signs")
    if let new { #expect(try await bench.code(signing: key, expecting: new) == nil, "\(self)") }
    // Whoever expects none gets one that fits what custody says is there.
    if let said = try? bench.custodian.publicKey(key) {
      #expect(try verifies(try await bench.custodian.sign([3], with: key), [3], said), "\(self)")
    }
    let last = try await bench.custodian.replace(key)
    #expect(last != old && last != new, "\(self)")
    #expect(try await bench.code(signing: key, expecting: last) == nil, "\(self)")
    #expect(try await bench.code(signing: key, expecting: old) == .keyReplaced, "\(self)")
    #expect(try bench.halves(key) == [1, 1], "\(self)")
    try await Use.sign.run(bench)
    return last
  }
}

extension FaultBench {
  /// What signing comes to; a signature of another key is never acceptable.
  func code(signing key: KeyName, expecting publicKey: CustodyPublicKey) async throws -> CustodyError.Code? {
    try await custodyCode {
      let signature = try await custodian.sign([1, 2], with: key, expecting: publicKey)
      guard try verifies(signature, [1, 2], publicKey) else { throw WrongAnswer(operation: .sign) }
    }
  }

  /// How many halves there are under a key's label, private and public.
  func halves(_ key: KeyName) throws -> [Int] {
    let session = try Session(hsm.module, slot: slot(key.token))
    return try [ObjectClass.privateKey, .publicKey].map {
      try session.findObjects([.objectClass($0), .label(key.label)]).count
    }
  }
}
