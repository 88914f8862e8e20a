import Foundation
@_spi(Benchmarks) import PKCS11
import TestSupport
import Testing

/// Each test in a process of its own: SoftHSM is initialised once per process.
@Suite("Faults of single calls")
struct CallFaultTests {
  @Test("Calls are refused, after some and for some")
  func refuse() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let rule = bench.faults.fail(.sign, with: .deviceError, times: 2, after: 1)
      #expect((0..<5).map { _ in bench.sign() } == [nil, .deviceError, .deviceError, nil, nil])
      #expect(rule.met == 2)
      #expect(bench.faults.calls(.sign) == 5)
      #expect(bench.faults.errors(.sign) == 2)
      // Without an end, until it is removed.
      let standing = bench.faults.fail(.signInit, with: .generalError, times: nil)
      #expect((0..<4).map { _ in bench.sign() } == Array(repeating: .generalError, count: 4))
      standing.remove()
      standing.remove()
      #expect(bench.sign() == nil)
      // Two of one function come one after the other.
      bench.faults.fail(.sign, with: .deviceError)
      bench.faults.fail(.sign, with: .generalError)
      #expect((0..<3).map { _ in bench.sign() } == [.deviceError, .generalError, nil])
    }
  }

  @Test("A refused operation is over, as the token's own errors leave it")
  func refusedIsOver() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      for function in [PKCS11Function.sign, .findObjectsFinal] {
        bench.faults.fail(function, with: .deviceError)
        _ = bench.sign()
        _ = code { () throws(PKCS11Error) in _ = try bench.session.findObjects([]) }
        #expect(bench.sign() == nil)
        #expect(try bench.session.findObjects([]).isEmpty == false)
      }
    }
  }

  @Test("An answer that is lost: the call was made")
  func lostAnswer() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let before = try bench.session.findObjects([.objectClass(.privateKey)]).count
      bench.faults.fail(.generateKeyPair, with: .deviceError, calling: true)
      #expect(throws: PKCS11Error(.deviceError, in: "")) { try Bench.makeKey(bench.session) }
      #expect(try bench.session.findObjects([.objectClass(.privateKey)]).count == before + 1)
      bench.faults.fail(.generateKeyPair, with: .deviceError)
      #expect(throws: PKCS11Error(.deviceError, in: "")) { try Bench.makeKey(bench.session) }
      #expect(try bench.session.findObjects([.objectClass(.privateKey)]).count == before + 1)
    }
  }

  @Test("Faults of one slot, and of one session")
  func narrowed() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let other = try Session(bench.module, slot: bench.slot)
      let elsewhere = try bench.module.token(labelled: "log").slot
      let signs = bench.faults.calls(.sign)
      bench.faults.fail(.sign, with: .deviceError, times: nil, .session(other.rawHandle))
      #expect(bench.sign() == nil)
      #expect(bench.sign(on: other) == .deviceError)
      bench.faults.fail(.openSession, with: .deviceError, times: nil, .slot(elsewhere))
      #expect(code { () throws(PKCS11Error) in _ = try Session(bench.module, slot: elsewhere) } == .deviceError)
      #expect(code { () throws(PKCS11Error) in _ = try Session(bench.module, slot: bench.slot) } == nil)
      #expect(bench.faults.calls(.sign, bench.slot) == signs + 2)
      #expect(bench.faults.calls(.sign, elsewhere) == 0)
      bench.faults.removeRules()
      #expect(bench.sign(on: other) == nil)
    }
  }

  @Test("Calls and answers are held until they are released", arguments: [false, true])
  func hold(_ calling: Bool) async {
    await #expect(processExitsWith: .success) { [calling] in
      let hsm = try FaultyHSM()
      let (faults, module) = (hsm.faults, hsm.module)
      let slot = try module.token(labelled: "identity").slot
      let rule = faults.hold(.generateRandom, times: 2, calling: calling)
      let made = faults.calls(.generateRandom)
      // Blocking calls, so each has a thread.
      let results = AsyncStream<PKCS11Error.Code?>.makeStream()
      for _ in 0..<2 {
        Thread.detachNewThread {
          results.continuation.yield(
            code { () throws(PKCS11Error) in try drawByte(module, slot) })
        }
      }
      try await rule.waitUntilHeld(2)
      #expect(rule.held == 2)
      #expect(faults.callsInFlight == 2)
      // Others pass: the rule is for two calls.
      try drawByte(module, slot)
      #expect(rule.held == 2)
      #expect(faults.mostCallsInFlight == 3)
      faults.release()
      var iterator = results.stream.makeAsyncIterator()
      for _ in 0..<2 { #expect(await iterator.next() == .some(nil)) }
      #expect(faults.calls(.generateRandom) == made + 3)
      #expect(rule.held == 0)
    }
  }

  @Test("A flipped bit: the next signature does not verify")
  func flip() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let mac = try bench.session.generateKey(.generic(bytes: 32), Bench.template)
      let tag = try bench.authenticate(with: mac)
      bench.faults.flipBit(in: .sign, times: 1, after: 1)
      #expect(try bench.authenticate(with: mac) == tag)
      var flipped = tag
      flipped[0] ^= 1
      #expect(try bench.authenticate(with: mac) == flipped)
      #expect(try bench.authenticate(with: mac) == tag)
    }
  }
}
