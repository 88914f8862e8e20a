import Foundation
@testable @_spi(Testing) import HSMCustody
import KeyHierarchy
@_spi(Testing) import PKCS11
import SecretMemory
import TestSupport
import Testing

@Suite("Custodian: several tokens")
struct ClusterTests {
  typealias Location = PKCS11Custodian.TokenLocation
  let fixture: SoftHSMFixture
  let clock = ManualCustodyClock()
  private static let wrongPIN: @Sendable () throws(SecretMemoryError) -> SecretBytes = {
    () throws(SecretMemoryError) in try SecretBytes.random(count: 16).hexadecimal()
  }

  init() throws { fixture = try SoftHSMFixture.shared }

  private func open(
    _ tokens: [TokenRole: [Location]], requiring: [KeyName] = KeyName.required, tolerating: Set<TokenRole> = [],
    expecting: [KeyName: KeyIdentity] = [:]
  ) throws(CustodyError) -> PKCS11Custodian {
    try PKCS11Custodian.open(
      provider: fixture.hsm.provider, tokens: tokens, roles: Set(tokens.keys), requiring: requiring,
      tolerating: tolerating, expecting: expecting, clock: clock)
  }

  private func cluster(_ role: TokenRole) throws -> [Location] {
    let name = UUID().uuidString.prefix(8)
    return try fixture.hsm.makeCluster(for: role, labels: ["\(role.rawValue)-\(name)-a", "\(role.rawValue)-\(name)-b"])
  }

  private func closeAll(_ location: Location) async throws {
    try await fixture.module.resetToken(fixture.module.token(location.uri).slot)
  }

  /// Has the token refuse the PIN at its next login.
  private func changePIN(_ location: Location) async throws {
    let token = try fixture.module.token(location.uri)
    try await fixture.module.resetToken(token.slot)
    let session = try Session(fixture.module, slot: token.slot, writable: true)
    try session.login(
      .securityOfficer, pin: try SecretBytes(contentsOfFile: "\(fixture.hsm.directory)/pins/\(token.label)-so.pin"))
    try session.initPIN(try SecretBytes.random(count: 16).hexadecimal())
    try session.logout()
  }

  @Test("Members have the same keys, which sign", arguments: TokenRole.allCases)
  func members(_ role: TokenRole) async throws {
    let locations = try cluster(role)
    var identities: [[KeyIdentity]] = []
    for location in locations {
      let custodian = try open([role: [location]])
      defer { custodian.close() }
      let names = KeyName.all.filter { $0.token == role && !$0.isOptional }
      identities.append(try names.map { try custodian.identity($0) })
      for name in names where name.algorithm != .aes256Wrap && role != .log && role != .data {
        #expect(try verifies(try await custodian.sign([1, 2], with: name), [1, 2], custodian.publicKey(name)))
      }
      if role == .log {
        let body = Array("\(UUID())/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".utf8)
        // The second member has the first one's key, and so its log.
        if identities.count == 1 {
          #expect(try verifies(try await custodian.signCheckpoint(body, with: .logA), body, custodian.publicKey(.logA)))
        }
      }
    }
    #expect(identities[0] == identities[1])
  }

  @Test("The next member takes over, with the keys compared") func failover() async throws {
    let locations = try cluster(.data)
    let custodian = try open([.data: locations])
    defer { custodian.close() }
    #expect(custodian.health().map(\.state) == [.ready, .ready])
    #expect(custodian.health().map(\.isInUse) == [true, false])
    let (iv, context) = ([UInt8](repeating: 1, count: 12), [UInt8(1)])
    let kek = try await custodian.wrap(custodian.randomSecret(count: 32))
    let key = try await custodian.randomSecret(count: 32)
    let text = try await custodian.encrypt(key, iv: iv, context: context, under: kek)
    let tag = try await custodian.authenticate(record: [1])
    try await changePIN(locations[0])
    #expect(try await custodian.authenticate(record: [1]) == tag)
    #expect(try await custodian.decrypt(text, iv: iv, context: context, under: kek).secret.count == 32)
    #expect(custodian.health().map(\.state) == [.latched, .ready])
    #expect(custodian.health().map(\.isInUse) == [false, true])
    // Latched is latched, however long.
    clock.advance(by: .seconds(3600))
    #expect(try await custodian.authenticate(record: [1]) == tag)
    #expect(custodian.health().map(\.state) == [.latched, .ready])
    #expect(custodian.health()[0].reason.contains("C_Login: CKR_PIN_INCORRECT"))
  }

  @Test("A member with other keys is never used") func foreign() async throws {
    let own = try cluster(.identity)
    let foreign = try #require(try fixture.makeTokens(.identity)[.identity])
    let custodian = try open([.identity: [own[0], foreign]])
    defer { custodian.close() }
    #expect(custodian.health().map(\.state) == [.ready, .latched])
    #expect(custodian.health()[1].reason.contains("CKR_KEY_CHANGED"))
    try await changePIN(own[0])
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .wrongPIN)
    #expect(custodian.health().map(\.isInUse) == [true, false])
  }

  @Test("Pinned keys") func pinned() async throws {
    let locations = try cluster(.data)
    let first = try open([.data: [locations[0]]])
    let pins = [KeyName.rootKEK: try first.identity(.rootKEK), .recordMAC: try first.identity(.recordMAC)]
    first.close()
    let second = try open([.data: [locations[1]]], expecting: pins)
    #expect(try await second.rootCheckValue().bytes.count == 8)
    second.close()
    let foreign = try #require(try fixture.makeTokens(.data)[.data])
    #expect(throws: CustodyError(.keyChanged, "")) { try open([.data: [foreign]], expecting: pins) }
    // The first choice is the wrong one: the second serves.
    let third = try open([.data: [foreign, locations[1]]], expecting: pins)
    defer { third.close() }
    #expect(third.health().map(\.state) == [.latched, .ready])
    #expect(try await third.authenticate(record: [1]).count == 32)
  }

  @Test("A tolerated token that is absent is tried again, in time") func absent() async throws {
    let there = try #require(try fixture.makeTokens(.identity)[.identity])
    let elsewhere = Location(uri: "pkcs11:token=absent-\(UUID().uuidString.prefix(8))", pin: Self.wrongPIN)
    #expect(throws: CustodyError(.unavailable, "")) { try open([.log: [elsewhere], .identity: [there]]) }
    let custodian = try open([.log: [elsewhere], .identity: [there]], tolerating: [.log])
    defer { custodian.close() }
    #expect(custodian.health().map(\.state) == [.down, .ready])
    #expect(custodian.health()[0].reason.contains("CKR_TOKEN_NOT_PRESENT"))
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    #expect(throws: CustodyError(.unavailable, "")) { try custodian.publicKey(.logA) }
    // Within its pause nobody looks for it; afterwards the next operation does, and waits twice as long.
    let member = try #require(custodian.clusters[.log]?.members.first)
    func failures() -> Int { member.monitor.read { $0.failures } }
    #expect(failures() == 1)
    for (pause, expected) in [(200, 2), (399, 2), (1, 3), (799, 3), (1, 4)] {
      clock.advance(by: .milliseconds(pause))
      #expect(throws: CustodyError(.unavailable, "")) { try custodian.publicKey(.logA) }
      #expect(failures() == expected)
    }
    #expect(custodian.health().map(\.state) == [.down, .ready])
  }

  @Test("A tolerated token that refuses the PIN stays refused") func refusedPIN() async throws {
    let tokens = try fixture.makeTokens(.log, .identity)
    let wrong = Location(uri: try #require(tokens[.log]).uri, pin: Self.wrongPIN)
    let identity = try #require(tokens[.identity])
    #expect(throws: CustodyError(.wrongPIN, "")) { try open([.log: [wrong], .identity: [identity]]) }
    let custodian = try open([.log: [wrong], .identity: [identity]], tolerating: [.log])
    defer { custodian.close() }
    #expect(custodian.health().map(\.state) == [.latched, .ready])
    clock.advance(by: .seconds(60))
    #expect(throws: CustodyError(.wrongPIN, "")) { try custodian.publicKey(.logA) }
    #expect(custodian.health()[0].logins == 0)
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    // Tolerance is for tokens, not for their keys.
    let right = try #require(tokens[.log])
    #expect(throws: CustodyError(.keyNotFound, "")) {
      try open([.log: [right]], requiring: [KeyName(.log, "log-b", .ed25519)], tolerating: [.log])
    }
  }

  @Test("A token pulled under load, and put back: the other member serves, the first is taken back") func pulled() async
  {
    await #expect(processExitsWith: .success) {
      let fixture = try SoftHSMFixture.shared
      let clock = ManualCustodyClock()
      let files = FileManager.default
      let store = fixture.hsm.directory + "/tokens"
      let locations = try fixture.hsm.makeCluster(for: .identity, labels: ["pulled", "other"])
      let custodian = try PKCS11Custodian.open(
        provider: fixture.hsm.provider, tokens: [.identity: locations], roles: [.identity], clock: clock)
      let key = try custodian.publicKey(.oauthA)
      let serial = try #require(custodian.health().first?.serial)
      // SoftHSM names a token's folder by its UUID, whose end is the serial number.
      let folder = try #require(
        try files.contentsOfDirectory(atPath: store).first {
          $0.replacingOccurrences(of: "-", with: "").hasSuffix(serial)
        })
      func sign() async throws {
        try await withThrowingTaskGroup { group in
          for task in 0..<20 {
            group.addTask {
              let message = Array("\(task)".utf8)
              guard try verifies(try await custodian.sign(message, with: .oauthA), message, key) else {
                throw CustodyError(.failed, "\(task)")
              }
            }
          }
          try await group.waitForAll()
        }
      }
      try await sign()
      try files.moveItem(atPath: store + "/" + folder, toPath: fixture.hsm.directory + "/pulled")
      try fixture.module.reinitialize(ifStill: fixture.module.generation)
      try await sign()
      #expect(custodian.health().map(\.isInUse) == [false, true])
      #expect(custodian.health().map(\.state) == [.down, .ready])
      try files.moveItem(atPath: fixture.hsm.directory + "/pulled", toPath: store + "/" + folder)
      try fixture.module.reinitialize(ifStill: fixture.module.generation)
      // Not before its pause is over, and then without anybody waiting for it.
      try await sign()
      #expect(custodian.health().map(\.isInUse) == [false, true])
      clock.advance(by: .seconds(5))
      while custodian.health()[0].state != .ready {
        try await sign()
        clock.advance(by: .milliseconds(100))
      }
      try await sign()
      #expect(custodian.health().map(\.isInUse) == [true, false])
      custodian.close()
    }
  }
}
