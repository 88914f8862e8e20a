import HSMCustody
import KeyHierarchy
import PKCS11
import TestSupport
import Testing

extension HSMFaults {
  /// Every code that PKCS#11 names, from every function that an operation calls.
  @Suite("Faults: every code")
  struct CodeMatrixTests {
    @Test("Every code × every function × refused or its answer lost × every operation")
    func matrix() async throws {
      async let operations = await #expect(
        processExitsWith: .success, observing: [\.standardOutputContent]
      ) {
        var limits = PKCS11Custodian.Limits()
        limits.loadedKeys = 4
        let bench = try await FaultBench(limits)
        var tally = Tally()
        for use in Use.allCases {
          for function in use.functions {
            for code in PKCS11Error.Code.all {
              for lost in [false, true] {
                try await OperationFault(use: use, function: function, code: code, isLost: lost).run(bench, &tally)
              }
            }
          }
        }
        tally.report()
      }
      async let openings = await #expect(
        processExitsWith: .success, observing: [\.standardOutputContent]
      ) {
        let bench = try await FaultBench()
        var tally = Tally()
        for (use, functions) in OpeningFault.functions {
          for (index, function) in functions.enumerated() {
            for (number, code) in PKCS11Error.Code.all.enumerated() {
              // Each code of each function once, refused and lost in turn.
              try await OpeningFault(
                use: use, function: function, code: code, isLost: (index + number).isMultiple(of: 2)
              ).run(bench, &tally)
            }
          }
        }
        tally.report()
      }
      let (operated, opened) = await (operations, openings)
      let (first, second) = (Tally(try #require(operated)), Tally(try #require(opened)))
      print(
        "HSM faults: \(PKCS11Error.Code.all.count) codes; operations: \(first); opening again: \(second); "
          + "\(first.cases + second.cases) faults, no wrong answer")
      #expect(first.codes == PKCS11Error.Code.all.count)
      #expect(second.codes == PKCS11Error.Code.all.count)
      #expect(first.functions == Set(Use.allCases.flatMap(\.functions)).count)
      #expect(second.functions == Set(OpeningFault.functions.flatMap(\.1)).count)
    }

    @Test("Every code at the first opening: a clear error, one C_Login at most for what a PIN can be refused with")
    func firstOpening() async {
      await #expect(processExitsWith: .success) {
        FaultBench.watch()
        let hsm = try FaultyHSM()
        let slot = try hsm.module.token(labelled: "log").slot
        func open(_ tolerating: Set<TokenRole> = []) throws -> PKCS11Custodian {
          try PKCS11Custodian.open(
            provider: hsm.hsm.provider, tokens: hsm.hsm.tokens, roles: [.log], tolerating: tolerating,
            clock: ManualCustodyClock())
        }
        let functions: [PKCS11Function] = [
          .getTokenInfo, .getMechanismInfo, .openSession, .login, .findObjectsInit, .findObjects, .findObjectsFinal,
          .getAttributeValue,
        ]
        for (index, function) in functions.enumerated() {
          for (number, code) in PKCS11Error.Code.all.enumerated() {
            // What a role lacks is another suite's affair.
            if function == .getMechanismInfo, code == .mechanismInvalid { continue }
            let calling = (index + number).isMultiple(of: 2)
            let rule = hsm.faults.fail(function, with: code, times: nil, calling: calling, .slot(slot))
            let outcome = try await custodyCode { try open().close() }
            #expect(rule.met > 0)
            if function == .login, code.kind == .caller { #expect(rule.met == 1, "\(code): \(rule.met) logins") }
            rule.remove()
            // A pool without a session is one; a token that does not answer is absent.
            let expected: Set<CustodyError.Code> = [Expectation.code(code), .unavailable]
            #expect(outcome.map(expected.contains) ?? false, "\(function.name) \(code): \(String(describing: outcome))")
            if number.isMultiple(of: 16) { try open().close() }
          }
        }
        let custodian = try open()
        #expect(try custodian.publicKey(.logA).bytes.count == 32)
        custodian.close()
        #expect(hsm.faults.sessions == 0)
      }
    }
  }
}

/// One fault in an operation's own calls.
struct OperationFault {
  let use: Use
  let function: PKCS11Function
  let code: PKCS11Error.Code
  let isLost: Bool

  func run(_ bench: FaultBench, _ tally: inout Tally) async throws {
    let slot = try bench.slot(use.role)
    for isLasting in [false, true] {
      // Faults that last are met refused and lost in turn.
      if isLasting, (code.rawValue.isMultiple(of: 2)) == isLost { continue }
      try await use.prepare(bench)
      let rule = bench.faults.fail(
        function, with: code, times: isLasting ? nil : 1, calling: isLost, .slot(slot))
      let expected = Expectation(code, of: function, isLost: isLost, isLasting: isLasting)
      let outcome = try await custodyCode { try await use.run(bench) }
      let met = rule.met
      rule.remove()
      tally.count(self, outcome)
      #expect(met > 0, "\(self): not met")
      if let outcome {
        #expect(!expected.mustSucceed, "\(self), lasting: \(isLasting): \(outcome)")
        #expect(expected.codes.contains(outcome), "\(self), lasting: \(isLasting): \(outcome)")
      } else {
        #expect(!isLasting || expected.codes.isEmpty || function == .destroyObject, "\(self): succeeded")
      }
      // Twice at most, and once what no repetition cures; opening the token again makes calls of its own.
      if isLasting, use.role != .data {
        let room = code == .bufferTooSmall ? 2 : 1
        let isCurable = [.retry, .relogin, .reinitialise].contains(code.kind) || code == .bufferTooSmall
        #expect(met <= UInt64((isCurable ? 2 : 1) * room), "\(self): \(met) calls")
      }
      try await recovers(bench, &tally)
    }
  }

  /// The next operation works.
  private func recovers(_ bench: FaultBench, _ tally: inout Tally) async throws {
    bench.clock.advance(by: .seconds(5))
    if bench.health(use.role)?.state == .latched {
      #expect(Expectation.latches(code, of: function), "\(self): latched: \(bench.health(use.role)?.reason ?? "")")
      tally.latched += 1
      try bench.reopen()
    }
    let after = try await custodyCode { try await use.run(bench) }
    #expect(after == nil, "\(self): \(String(describing: after)) afterwards")
    if use == .wrap { try expectNoExtractable(bench) }
  }

  /// What was wrapped is gone, also when the answer of C_CreateObject was lost.
  private func expectNoExtractable(_ bench: FaultBench) throws {
    let session = try Session(bench.hsm.module, slot: bench.slot(.data))
    let left = try session.findObjects([.flag(.token, false), .flag(.extractable, true)])
    #expect(left.isEmpty, "\(self): an extractable key is left")
  }
}

/// One fault while a token is opened again, after its login was lost.
struct OpeningFault {
  let use: Use
  let function: PKCS11Function
  let code: PKCS11Error.Code
  let isLost: Bool

  static let functions: [(Use, [PKCS11Function])] = [
    (
      .sign,
      [
        .closeSession, .getSlotList, .getTokenInfo, .openSession, .login, .findObjectsInit, .findObjects,
        .findObjectsFinal, .getAttributeValue,
      ]
    ),
    (
      .authenticate,
      [.createObject, .wrapKey, .unwrapKey, .destroyObject, .signInit, .sign, .getSessionInfo]
    ),
  ]

  func run(_ bench: FaultBench, _ tally: inout Tally) async throws {
    let slot = try bench.slot(use.role)
    bench.faults.expireLogins(slot)
    let calls: FaultyModule.Calls = function == .getSlotList ? .all : .slot(slot)
    // The first C_SignInit and C_Sign find the login gone.
    let skip: UInt64 = [.signInit].contains(function) ? 1 : 0
    let rule = bench.faults.fail(function, with: code, after: skip, calling: isLost, calls)
    let outcome = try await custodyCode { try await use.run(bench) }
    #expect(rule.met > 0, "\(self): not met")
    rule.remove()
    tally.count(self, outcome)
    if let outcome {
      #expect(
        [Expectation.code(code), .unavailable, .full, .failed].contains(outcome), "\(self): \(outcome)")
      // Cured by opening once more; C_CloseSession's answer says nothing.
      #expect(code.kind != .relogin && code.kind != .reinitialise, "\(self): \(outcome)")
      #expect(function != .closeSession, "\(self): \(outcome)")
    }
    bench.clock.advance(by: .seconds(5))
    if bench.health(use.role)?.state == .latched {
      #expect(Expectation.latches(code, of: function), "\(self): latched: \(bench.health(use.role)?.reason ?? "")")
      tally.latched += 1
      try bench.reopen()
    }
    let after = try await custodyCode { try await use.run(bench) }
    #expect(after == nil, "\(self): \(String(describing: after)) afterwards")
  }
}

/// What ran; it comes from the child as a line of its output.
struct Tally: CustomStringConvertible {
  var cases = 0, right = 0, latched = 0, codes = 0
  var functions = 0
  private var seenCodes: Set<UInt> = []
  private var seenFunctions: Set<UInt32> = []

  init() {}

  init(_ result: ExitTest.Result) {
    let text = String(decoding: result.standardOutputContent, as: UTF8.self)
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("tally ") }) else { return }
    let numbers = line.split(separator: " ").dropFirst().compactMap { Int($0) }
    guard numbers.count == 5 else { return }
    (cases, right, latched, codes, functions) = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])
  }

  mutating func count(_ fault: OperationFault, _ outcome: CustodyError.Code?) {
    count(fault.code, fault.function, outcome)
  }

  mutating func count(_ fault: OpeningFault, _ outcome: CustodyError.Code?) {
    count(fault.code, fault.function, outcome)
  }

  mutating func count(_ code: PKCS11Error.Code, _ function: PKCS11Function, _ outcome: CustodyError.Code?) {
    cases += 1
    if outcome == nil { right += 1 }
    seenCodes.insert(code.rawValue)
    seenFunctions.insert(function.rawValue)
  }

  func report() { print("tally \(cases) \(right) \(latched) \(seenCodes.count) \(seenFunctions.count)") }

  var description: String {
    "\(functions) functions, \(cases) faults (\(right) right answers, \(cases - right) clear errors, \(latched) latched)"
  }
}
