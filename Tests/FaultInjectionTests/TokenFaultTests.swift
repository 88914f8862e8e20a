import Foundation
import PKCS11
import SecretMemory
import TestSupport
import Testing

/// Each test in a process of its own: SoftHSM is initialised once per process.
@Suite("Faults of tokens and of the module")
struct TokenFaultTests {
  @Test("Sessions beyond the limit", arguments: [1, 16])
  func sessionLimit(_ limit: Int) async {
    await #expect(processExitsWith: .success) { [limit] in
      let hsm = try FaultyHSM()
      let (faults, module) = (hsm.faults, hsm.module)
      let slot = try module.token(labelled: "identity").slot
      faults.limitSessions(to: limit)
      func open(_ remaining: Int) throws {
        guard remaining > 0 else {
          #expect(code { () throws(PKCS11Error) in _ = try Session(module, slot: slot) } == .sessionCount)
          #expect(faults.sessions == limit)
          return
        }
        let session = try Session(module, slot: slot)
        try open(remaining - 1)
        _ = try session.findObjects([])
      }
      for _ in 0..<3 {
        try open(limit)
        #expect(faults.sessions == 0)
      }
      #expect(faults.mostSessions == limit)
      faults.limitSessions(to: nil)
      #expect(code { () throws(PKCS11Error) in try openMany(limit + 1, module, slot) } == nil)
    }
  }

  @Test("A token goes and comes back")
  func removal() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let (faults, module, slot) = (bench.faults, bench.module, bench.slot)
      let tokens = try module.tokens().count
      let elsewhere = try Session(module, slot: try module.token(labelled: "log").slot)
      for _ in 0..<3 {
        faults.removeToken(slot)
        #expect(faults.sessions == 1)
        #expect(bench.sign() == .deviceRemoved)
        #expect(code { () throws(PKCS11Error) in _ = try Session(module, slot: slot) } == .tokenNotPresent)
        #expect(code { () throws(PKCS11Error) in _ = try module.mechanisms(in: slot) } == .tokenNotPresent)
        #expect(try module.tokens().count == tokens - 1)
        #expect(code { () throws(PKCS11Error) in _ = try module.token(labelled: "identity") } == .tokenNotPresent)
        #expect(try elsewhere.findObjects([]).isEmpty == false)

        faults.returnToken(slot)
        #expect(try module.tokens().count == tokens)
        #expect(bench.sign() == .sessionHandleInvalid)
        // The login went with the token.
        let session = try Session(module, slot: slot)
        #expect(code { () throws(PKCS11Error) in try session.checkLogin() } == .userNotLoggedIn)
        #expect(try session.findObjects([.objectClass(.privateKey)]).isEmpty)
        let pin = try bench.hsm.pin("identity")
        try session.login(.user, pin: pin)
        let key = try #require(try session.findObjects([.objectClass(.privateKey), .label("oauth-a")]).first)
        #expect(try Bench.signatureLength(session, key) == 64)
        #expect(bench.sign() == .sessionHandleInvalid)
        #expect(faults.sessions == 2)
      }
    }
  }

  @Test("A call that is inside when the token goes has no answer")
  func removalDuringCall() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let (faults, module, slot) = (bench.faults, bench.module, bench.slot)
      let rule = faults.hold(.generateRandom, calling: true)
      let results = AsyncStream<PKCS11Error.Code?>.makeStream()
      Thread.detachNewThread {
        results.continuation.yield(
          code { () throws(PKCS11Error) in try drawByte(module, slot) })
      }
      try await rule.waitUntilHeld()
      faults.removeToken(slot, slotCode: .deviceError, sessionCode: .deviceError)
      rule.remove()
      var iterator = results.stream.makeAsyncIterator()
      #expect(await iterator.next() == .deviceError)
      faults.returnToken(slot)
      #expect(code { () throws(PKCS11Error) in _ = try Session(module, slot: slot) } == nil)
    }
  }

  @Test("Logins expire until the next login")
  func expiry() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let (faults, session) = (bench.faults, bench.hsm)
      let pin = try session.pin("identity")
      let logins = faults.logins
      #expect(bench.sign() == nil)
      for round in 1...3 {
        if round == 2 { faults.expireLogins(bench.slot) } else { faults.expireLogins() }
        #expect(bench.sign() == .userNotLoggedIn)
        #expect(code { () throws(PKCS11Error) in try bench.session.checkLogin() } == .userNotLoggedIn)
        #expect(try bench.session.findObjects([.objectClass(.privateKey)]).isEmpty)
        #expect(bench.sign() == .userNotLoggedIn)
        try bench.session.login(.user, pin: pin)
        try bench.session.checkLogin()
        let key = try Bench.makeKey(bench.session)
        #expect(try Bench.signatureLength(bench.session, key) == 64)
        #expect(faults.logins == logins + round)
      }
      faults.expireLogins(try bench.module.token(labelled: "log").slot)
      try bench.session.checkLogin()
    }
  }

  @Test("A restarted module answers nothing until it is initialised again", arguments: [0x190, 0x30] as [UInt])
  func reset(_ value: UInt) async {
    await #expect(processExitsWith: .success) { [value] in
      let bench = try Bench()
      let (faults, module) = (bench.faults, bench.module)
      for round in 1...3 {
        let wanted = PKCS11Error.Code(rawValue: value)
        faults.reset(wanted)
        let generation = module.generation
        #expect(code { () throws(PKCS11Error) in _ = try module.tokens() } == wanted)
        #expect(code { () throws(PKCS11Error) in _ = try Session(module, slot: bench.slot) } == wanted)
        if round == 1 { #expect(bench.sign() == wanted) }
        let before = faults.initialisations
        try module.reinitialize(ifStill: generation)
        #expect(faults.initialisations == before + 1)
        #expect(faults.sessions == 0)
        let session = try Session(module, slot: try module.token(labelled: "identity").slot)
        #expect(code { () throws(PKCS11Error) in try session.checkLogin() } == .userNotLoggedIn)
        try session.login(.user, pin: try bench.hsm.pin("identity"))
        #expect(try session.findObjects([.objectClass(.privateKey)]).isEmpty == false)
      }
    }
  }

  @Test("A token without room makes no object, and works on")
  func full() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let (faults, elsewhere) = (bench.faults, try bench.module.token(labelled: "log").slot)
      func make() -> PKCS11Error.Code? {
        do { _ = try Bench.makeKey(bench.session) } catch { return (error as? PKCS11Error)?.code }
        return nil
      }
      faults.setFull(true)
      #expect(make() == .deviceMemory)
      #expect(bench.sign() == nil)
      faults.setFull(false)
      #expect(make() == nil)
      faults.setFull(true, elsewhere)
      #expect(make() == nil)
      faults.setFull(true, bench.slot)
      #expect(make() == .deviceMemory)
      faults.setFull(false, bench.slot)
      #expect(make() == nil)
    }
  }

  private static let asked: [Attribute] = [
    .objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.private, true), .flag(.extractable, true),
    .flag(.sensitive, false),
  ]

  @Test("The hostile unwrap: refused, obeyed, and answered with a locked key")
  func unwrapping() async {
    await #expect(processExitsWith: .success) {
      let hsm = try FaultyHSM()
      let (faults, module) = (hsm.faults, hsm.module)
      let session = try Session(module, slot: try module.token(labelled: "data").slot)
      try session.login(.user, pin: try hsm.pin("data"))
      let root = try #require(try session.findObjects([.label("root-kek")]).first)
      let key = try session.generateKey(
        .aes256, [.flag(.token, false), .flag(.private, true), .flag(.extractable, true), .flag(.sensitive, true)])
      let wrapped = try session.wrapKey(key, with: root)
      #expect(
        code { () throws(PKCS11Error) in _ = try session.unwrapKey(wrapped, with: root, Self.asked) }
          == .templateInconsistent)

      faults.setUnwrapping(.locked)
      let locked = try session.unwrapKey(wrapped, with: root, Self.asked)
      #expect(try session.flag(.extractable, of: locked) == false)
      #expect(try session.flag(.sensitive, of: locked))
      #expect(
        code { () throws(PKCS11Error) in _ = try session.attribute(.value, of: locked) } == .attributeSensitive)

      faults.setUnwrapping(.asAsked)
      let obeyed = try session.unwrapKey(wrapped, with: root, Self.asked)
      #expect(try session.flag(.extractable, of: obeyed))
      #expect(try session.flag(.sensitive, of: obeyed) == false)
      #expect(try session.flag(.neverExtractable, of: obeyed) == false)
      // This one was generated inside, so nobody saw its value.
      #expect(
        code { () throws(PKCS11Error) in _ = try session.attribute(.value, of: obeyed) } == .attributeSensitive)
      // Of one that was created and wrapped the value is told.
      let secret = try SecretBytes.random(count: 32)
      let value = unsafe secret.withUnsafeBytes { unsafe Array($0) }
      let made = try session.createObject(
        [
          .objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.private, true),
          .flag(.extractable, true), .flag(.sensitive, true),
        ], secretValue: secret)
      let leaked = try session.unwrapKey(try session.wrapKey(made, with: root), with: root, Self.asked)
      #expect(try session.attribute(.value, of: leaked) == value)
      let half = try session.unwrapKey(
        try session.wrapKey(made, with: root), with: root,
        [
          .objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.private, true),
          .flag(.extractable, true), .flag(.sensitive, true),
        ])
      #expect(try session.flag(.extractable, of: half))
      #expect(try session.flag(.sensitive, of: half))
      #expect(code { () throws(PKCS11Error) in _ = try session.attribute(.value, of: half) } == .attributeSensitive)
      faults.setUnwrapping(.lying)
      let lying = try session.unwrapKey(try session.wrapKey(made, with: root), with: root, Self.asked)
      #expect(try session.flag(.extractable, of: lying) == false)
      #expect(try session.flag(.sensitive, of: lying))
      #expect(try session.attribute(.value, of: lying) == value)
      // An honest unwrap is none of its business.
      faults.setUnwrapping(.honest)
      #expect(
        code { () throws(PKCS11Error) in _ = try session.unwrapKey(wrapped, with: root, Self.asked) }
          == .templateInconsistent)
    }
  }
}

/// Opens so many sessions at once.
private func openMany(_ count: Int, _ module: Module, _ slot: SlotID) throws(PKCS11Error) {
  guard count > 0 else { return }
  let session = try Session(module, slot: slot)
  try openMany(count - 1, module, slot)
  _ = try session.findObjects([])
}
