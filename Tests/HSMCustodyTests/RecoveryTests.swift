import Crypto
@_spi(Testing) import HSMCustody
import KeyHierarchy
@_spi(Testing) import PKCS11
import SecretMemory
import TestSupport
import Testing

/// Sessions and logins that go away behind the custodian's back.
@Suite("Custodian: recovery")
struct RecoveryTests {
  let fixture: SoftHSMFixture
  let tokens: [TokenRole: PKCS11Custodian.TokenLocation]
  var module: Module { fixture.module }

  init() throws {
    fixture = try SoftHSMFixture.shared
    tokens = try fixture.makeTokens(.identity)
  }

  private func open() throws(CustodyError) -> PKCS11Custodian {
    try PKCS11Custodian.open(provider: fixture.hsm.provider, tokens: tokens, roles: [.identity])
  }

  private func slot() throws -> SlotID { try module.token(#require(tokens[.identity]).uri).slot }

  @Test("All sessions closed") func sessionsClosed() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let publicKey = try custodian.publicKey(.oauthA)
    for _ in 0..<5 {
      try await module.resetToken(try slot())
      let signature = try await custodian.sign([1, 2], with: .oauthA)
      #expect(try verifies(signature, [1, 2], publicKey))
      try await module.resetToken(try slot())
      #expect(try custodian.randomBytes(4).count == 4)
      try await module.resetToken(try slot())
      #expect(try custodian.signBlocking([1], with: .x509IssuingA).count == 64)
    }
  }

  @Test("Logged out, the sessions alive") func loggedOut() async throws {
    let custodian = try open()
    defer { custodian.close() }
    for _ in 0..<5 {
      try Session(module, slot: try slot()).logout()
      #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    }
  }

  @Test("Sessions closed under load cost nothing but time") func underLoad() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let slot = try slot()
    let module = module
    for round in 0..<5 {
      try await withThrowingTaskGroup { group in
        for task in 0..<20 {
          group.addTask {
            let message = Array("\(round) \(task)".utf8)
            let signature = try await custodian.sign(message, with: .oauthA)
            guard try verifies(signature, message, custodian.publicKey(.oauthA)) else {
              throw CustodyError(.failed, "round \(round), task \(task)")
            }
          }
        }
        // Once per round, as an operation is repeated once.
        group.addTask { try await module.resetToken(slot) }
        try await group.waitForAll()
      }
      // Sessions that were closed last, when nothing was under way, must not count against the next round.
      _ = try await custodian.sign([0], with: .oauthA)
    }
  }

  @Test("A PIN refused on the way is not tried again") func pinChanged() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let pinFile = "\(fixture.hsm.directory)/pins/\(try slotLabel())"
    func setPIN(_ pin: borrowing SecretBytes) async throws {
      try await module.resetToken(try slot())
      let session = try Session(module, slot: try slot(), writable: true)
      try session.login(.securityOfficer, pin: try SecretBytes(contentsOfFile: pinFile + "-so.pin"))
      try session.initPIN(pin)
      try session.logout()
    }
    try await setPIN(try SecretBytes.random(count: 16).hexadecimal())
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .wrongPIN)
    // With the old PIN back a further attempt would succeed, so there was none.
    try await setPIN(try SecretBytes(contentsOfFile: pinFile + ".pin"))
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .wrongPIN)
    #expect(await custodyCode { _ = try custodian.randomBytes(1) } == .wrongPIN)
    custodian.close()
    let again = try open()
    #expect(try await again.sign([1], with: .oauthA).count == 64)
    again.close()
  }

  private func slotLabel() throws -> String { try module.token(#require(tokens[.identity]).uri).label }

  @Test("A key that was replaced is not used") func keyReplaced() async throws {
    let custodian = try open()
    defer { custodian.close() }
    // The development HSM's keys cannot be changed, but destroyed.
    do {
      let session = try Session(module, slot: try slot(), writable: true)
      let half = try #require(try session.findObjects([.objectClass(.privateKey), .label("oauth-a")]).first)
      let id = try session.attribute(.id, of: half)
      for handle in try session.findObjects([.bytes(.id, id)]) { try session.destroyObject(handle) }
      let name: [Attribute] = [.flag(.token, true), .label("oauth-a"), .bytes(.id, id)]
      _ = try session.generateKeyPair(
        .p256, publicKey: name, privateKey: name + [.flag(.private, true), .flag(.sign, true)])
    }
    try await module.resetToken(try slot())
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .keyChanged)
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .x509IssuingA) } == .keyChanged)
    #expect(custodian.health().map(\.state) == [.latched])
  }

  @Test("A key that went away") func keyDestroyed() async throws {
    let custodian = try open()
    defer { custodian.close() }
    do {
      let session = try Session(module, slot: try slot(), writable: true)
      for handle in try session.findObjects([.label("oauth-a")]) { try session.destroyObject(handle) }
    }
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .keyNotFound)
    #expect(try await custodian.sign([1], with: .x509IssuingA).count == 64)
  }

  @Test("The module initialised again, and finalised") func moduleGone() async {
    await #expect(processExitsWith: .success) {
      let fixture = try SoftHSMFixture.shared
      for _ in 0..<3 {
        try fixture.module.reinitialize(ifStill: fixture.module.generation)
        #expect(try await fixture.custodian.sign([1], with: .oauthA).count == 64)
        #expect(try await fixture.custodian.authenticate([1], with: .recordMAC).count == 32)
        #expect(try fixture.custodian.signBlocking([1], with: .rootCA).count == 96)
      }
      try fixture.module.reinitialize(ifStill: fixture.module.generation)
      // No session is left, so this finalises under the custodian, which brings the module back.
      fixture.module.finalizeIfUnused()
      #expect(throws: PKCS11Error.self) { try fixture.module.tokens() }
      #expect(try await fixture.custodian.sign([1], with: .oauthA).count == 64)
      #expect(try await fixture.custodian.authenticate([1], with: .recordMAC).count == 32)
      fixture.custodian.close()
      #expect(throws: PKCS11Error.self) { try fixture.module.tokens() }
    }
  }
}
