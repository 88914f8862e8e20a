import Foundation
@_spi(Testing) import HSMCustody
import KeyHierarchy
@_spi(Testing) import PKCS11
import SecretMemory
import TestSupport
import Testing

/// New keys in the slots that rotate.
@Suite("Custodian: replacing keys")
struct ReplacementTests {
  let fixture: SoftHSMFixture
  let tokens: [TokenRole: PKCS11Custodian.TokenLocation]

  init() throws {
    fixture = try SoftHSMFixture.shared
    tokens = try fixture.makeTokens(.identity)
  }

  private func open(expecting: [KeyName: KeyIdentity] = [:]) throws(CustodyError) -> PKCS11Custodian {
    try PKCS11Custodian.open(
      provider: fixture.hsm.provider, tokens: tokens, roles: [.identity], expecting: expecting)
  }

  private func slot() throws -> SlotID { try fixture.module.token(#require(tokens[.identity]).uri).slot }

  /// How many halves there are under a key's label, private and public.
  private func halves(_ key: KeyName) throws -> [Int] {
    let session = try Session(fixture.module, slot: try slot())
    return try [ObjectClass.privateKey, .publicKey].map {
      try session.findObjects([.objectClass($0), .label(key.label)]).count
    }
  }

  @Test("A new key, locked in like the ceremony's; the old one signs nothing any more", arguments: KeyName.replaceable)
  func replaces(_ key: KeyName) async throws {
    let custodian = try open()
    defer { custodian.close() }
    let isPrepared = KeyName.prepared.contains(key)
    #expect(try halves(key) == (isPrepared ? [0, 0] : [1, 1]))
    if isPrepared {
      #expect(await custodyCode { _ = try custodian.publicKey(key) } == .keyNotFound)
      #expect(await custodyCode { _ = try await custodian.sign([1], with: key) } == .keyNotFound)
    }
    let old = isPrepared ? try await custodian.replace(key) : try custodian.publicKey(key)
    let before = try await custodian.sign([1], with: key, expecting: old)
    #expect(try old.verifies(before, of: [1]))
    let count = custodian.operationCount
    let new = try await custodian.replace(key)
    #expect(custodian.operationCount == count + 1)
    #expect(new != old && new.algorithm == key.algorithm)
    #expect(try custodian.publicKey(key) == new)
    #expect(await custodyCode { _ = try await custodian.sign([1], with: key, expecting: old) } == .keyReplaced)
    for message in [[], [1], [UInt8](repeating: 7, count: 100_000)] as [[UInt8]] {
      let signature = try await custodian.sign(message, with: key, expecting: new)
      #expect(try new.verifies(signature, of: message))
      #expect(try !new.verifies(signature, of: message + [0]))
      #expect(try !old.verifies(signature, of: message))
      #expect(try new.verifies(custodian.signBlocking(message, with: key), of: message))
    }
    #expect(custodian.health().map(\.state) == [.ready])
    #expect(try halves(key) == [1, 1])
    let session = try Session(fixture.module, slot: try slot())
    let half = try #require(try session.findObjects([.objectClass(.privateKey), .label(key.label)]).first)
    for type in [AttributeType.token, .private, .sensitive, .alwaysSensitive, .neverExtractable, .local, .sign] {
      #expect(try session.flag(type, of: half), "\(type)")
    }
    for type in [AttributeType.extractable, .modifiable, .copyable, .derive, .decrypt, .unwrap] {
      #expect(try !session.flag(type, of: half), "\(type)")
    }
  }

  @Test("A destroyed key is not there, which is no failure; it can be made again") func destroys() async throws {
    let custodian = try open()
    defer { custodian.close() }
    #expect(custodian.absentKeys.isEmpty)
    for key in [KeyName.svidJWTA, .svidJWTB] {
      for _ in 0..<2 {
        try await custodian.destroy(key)
        #expect(try halves(key) == [0, 0])
        #expect(await custodyCode { _ = try await custodian.sign([1], with: key) } == .keyNotFound)
      }
    }
    #expect(custodian.absentKeys == [.svidJWTA])
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    let new = try await custodian.replace(.svidJWTA)
    #expect(try await custodian.sign([1], with: .svidJWTA, expecting: new).count == 64)
    #expect(custodian.absentKeys.isEmpty)
  }

  @Test("Keys that do not rotate stay") func refused() async throws {
    let custodian = fixture.custodian
    let misplaced = KeyName(.log, "svid-jwt-a", .ecdsaP256)
    for key in [KeyName.oauthA, .apiTLSA, .logA, .rootCA, .rootKEK, .recordMAC, misplaced] {
      #expect(await custodyCode { _ = try await custodian.replace(key) } == .notPermitted)
      #expect(await custodyCode { try await custodian.destroy(key) } == .notPermitted)
    }
    let mistaken = KeyName(.identity, "svid-jwt-a", .rsa2048)
    #expect(await custodyCode { _ = try await custodian.replace(mistaken) } == .notPermitted)
  }

  @Test("A cluster's keys stay, as a new one would be on one member alone") func clusters() async throws {
    let name = UUID().uuidString.prefix(8)
    let members = try fixture.hsm.makeCluster(for: .identity, labels: ["x-\(name)-a", "x-\(name)-b"])
    let custodian = try PKCS11Custodian.open(
      provider: fixture.hsm.provider, tokens: [.identity: members], roles: [.identity])
    defer { custodian.close() }
    let key = try custodian.publicKey(.svidJWTA)
    #expect(await custodyCode { _ = try await custodian.replace(.svidJWTA) } == .notPermitted)
    #expect(await custodyCode { try await custodian.destroy(.svidJWTA) } == .notPermitted)
    #expect(try await custodian.sign([1], with: .svidJWTA, expecting: key).count == 64)
  }

  @Test("A token without RSA serves, and the RSA key is reported") func withoutRSA() async throws {
    let name = UUID().uuidString.prefix(8)
    let members = try fixture.hsm.makeCluster(for: .identity, labels: ["y-\(name)"])
    let custodian = try PKCS11Custodian.open(
      provider: fixture.hsm.provider, tokens: [.identity: members], roles: [.identity])
    defer { custodian.close() }
    #expect(custodian.absentKeys == [.svidJWTRSA])
    #expect(await custodyCode { _ = try custodian.publicKey(.svidJWTRSA) } == .keyNotFound)
  }

  @Test("The new key outlives lost sessions, a new custodian and what was pinned before") func lasts() async throws {
    let custodian = try open()
    let pinned = try custodian.identity(.x509IssuingA)
    var new = try await custodian.replace(.x509IssuingA)
    for _ in 0..<3 {
      try await fixture.module.resetToken(try slot())
      #expect(try new.verifies(await custodian.sign([2], with: .x509IssuingA, expecting: new), of: [2]))
      try await fixture.module.resetToken(try slot())
      new = try await custodian.replace(.x509IssuingA)
    }
    custodian.close()
    #expect(await custodyCode { _ = try await custodian.replace(.x509IssuingA) } == .unavailable)
    let second = try open()
    #expect(try second.publicKey(.x509IssuingA) == new)
    second.close()
    // Whoever pinned the old key is told.
    #expect(throws: CustodyError(.keyChanged, "")) { try open(expecting: [.x509IssuingA: pinned]) }
    let third = try open(expecting: [.x509IssuingA: .publicKey(new)])
    defer { third.close() }
    let last = try await third.replace(.x509IssuingA)
    try await fixture.module.resetToken(try slot())
    #expect(try await third.sign([1], with: .x509IssuingA, expecting: last).count == 64)
  }

  @Test("What another process left half done: the token opens, the slot is refused until it is replaced")
  func leftovers() async throws {
    let location = try #require(tokens[.identity])
    func session() throws -> Session {
      let session = try Session(fixture.module, slot: try slot(), writable: true)
      try session.login(.user, pin: try location.pin())
      return session
    }
    do {
      let session = try session()
      // Two keys, a private half alone, a public half alone, a key of another kind.
      func add(_ key: KeyName, _ id: UInt8, _ kind: KeyPairKind = .p256) throws -> [ObjectHandle] {
        let name: [Attribute] = [.flag(.token, true), .label(key.label), .bytes(.id, [id])]
        let pair = try session.generateKeyPair(
          kind, publicKey: name, privateKey: name + [.flag(.private, true), .flag(.sign, true)])
        return [pair.publicKey, pair.privateKey]
      }
      _ = try add(.svidJWTA, 1)
      try session.destroyObject(try add(.svidJWTB, 2)[0])
      try session.destroyObject(try add(.svidJWTRSB, 3, .rsa2048)[1])
      _ = try add(.x509IssuingB, 4, .p384)
    }
    let custodian = try open()
    defer { custodian.close() }
    #expect(custodian.absentKeys == [.svidJWTA])
    for key in [KeyName.svidJWTA, .svidJWTB, .svidJWTRSB, .x509IssuingB] {
      #expect(await custodyCode { _ = try await custodian.sign([1], with: key) } == .keyNotFound, "\(key)")
      let new = try await custodian.replace(key)
      #expect(try new.verifies(await custodian.sign([1], with: key, expecting: new), of: [1]))
      #expect(try halves(key) == [1, 1])
    }
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
  }

  @Test("Under load: each signature is the expected key's, or refused; other keys notice nothing")
  func underLoad() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let key = KeyName.svidJWTA
    let oauth = try custodian.publicKey(.oauthA)
    let first = try custodian.publicKey(key)
    let (signed, refused) = try await withThrowingTaskGroup(of: (Int, Int).self) { group in
      for task in 0..<6 {
        group.addTask {
          var (signed, refused, expected) = (0, 0, first)
          for round in 0..<300 {
            let message = [UInt8(task), UInt8(round & 0xFF)]
            if task == 5 {
              let signature = try await custodian.sign(message, with: .oauthA)
              #expect(try oauth.verifies(signature, of: message))
              continue
            }
            do throws(CustodyError) {
              let signature = try await custodian.sign(message, with: key, expecting: expected)
              let isRight = try? expected.verifies(signature, of: message)
              #expect(isRight == true)
              signed += 1
            } catch {
              #expect(error.code == .keyReplaced)
              refused += 1
              if let next = try? custodian.publicKey(key) { expected = next }
            }
          }
          return (signed, refused)
        }
      }
      group.addTask {
        for _ in 0..<20 { _ = try await custodian.replace(key) }
        return (0, 0)
      }
      return try await group.reduce((0, 0)) { ($0.0 + $1.0, $0.1 + $1.1) }
    }
    #expect(signed > 0 && refused > 0)
    #expect(custodian.health().map(\.state) == [.ready])
    #expect(custodian.health().map(\.logins) == [1])
    #expect(try halves(key) == [1, 1])
  }

  @Test("Two at once: one of them is told so, and one pair is there") func twoAtOnce() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let outcomes = await withTaskGroup { group in
      for _ in 0..<4 { group.addTask { await custodyCode { _ = try await custodian.replace(.svidJWTRSA) } } }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.contains(nil))
    #expect(outcomes.allSatisfy { $0 == nil || $0 == .busy })
    let key = try custodian.publicKey(.svidJWTRSA)
    #expect(try key.verifies(await custodian.sign([1], with: .svidJWTRSA, expecting: key), of: [1]))
    #expect(try halves(.svidJWTRSA) == [1, 1])
  }

  @Test("The root token for a moment, beside the others") func rootForAMoment() async {
    await #expect(processExitsWith: .success) {
      let hsm = try DevelopmentHSM.openOrCreate(directory: try TemporaryFolder.make())
      ProcessEnd.skipDestructors()
      let custodian = try hsm.openCustodian(roles: [.log, .identity, .data])
      var last: PKCS11Custodian?
      for round in 0..<3 {
        let isRight = try await hsm.withRootCustodian { root in
          last = root
          // It is one custodian's at a time.
          #expect(await custodyCode { try await hsm.withRootCustodian { _ in } } == .unavailable)
          _ = try await custodian.replace(.x509IssuingB)
          return try root.publicKey(.rootCA).verifies(await root.sign([7], with: .rootCA), of: [7])
        }
        #expect(isRight)
        // That token is logged out, the others are not: nobody logged in again.
        let root = try #require(last)
        #expect(await custodyCode { _ = try await root.sign([1], with: .rootCA) } == .unavailable)
        #expect(await custodyCode { _ = try await custodian.sign([1], with: .rootCA) } == .unavailable)
        #expect(try await custodian.sign([1], with: .oauthA).count == 64, "\(round)")
        #expect(try await custodian.authenticate([1], with: .recordMAC).count == 32)
        #expect(custodian.health().map(\.logins) == [1, 1, 1])
        let session = try Session(
          Module.load(hsm.provider), slot: Module.load(hsm.provider).token(labelled: "root").slot)
        #expect(try session.findObjects([.objectClass(.privateKey)]).isEmpty)
      }
      // Also when what it is for fails.
      await #expect(throws: CustodyError(.notPermitted, "")) {
        try await hsm.withRootCustodian { root in _ = try await root.sign([1], with: .rootKEK) }
      }
      _ = try await hsm.withRootCustodian { root in try await root.sign([1], with: .rootCA) }
      custodian.close()
    }
  }

  @Test("A custodian whose keys stay what they are compares before it signs") func defaultImplementation() async throws
  {
    let custodian: any KeyCustodian = StillCustodian()
    let right = CustodyPublicKey(algorithm: .ecdsaP256, bytes: [1])
    #expect(try await custodian.sign([5], with: .oauthA, expecting: right) == [5])
    let wrong = CustodyPublicKey(algorithm: .ecdsaP256, bytes: [2])
    #expect(await custodyCode { _ = try await custodian.sign([5], with: .oauthA, expecting: wrong) } == .keyReplaced)
  }
}

private struct StillCustodian: KeyCustodian {
  func publicKey(_ key: KeyName) -> CustodyPublicKey { CustodyPublicKey(algorithm: .ecdsaP256, bytes: [1]) }
  func sign(_ message: [UInt8], with key: KeyName) async -> [UInt8] { message }
  func signBlocking(_ message: [UInt8], with key: KeyName) -> [UInt8] { message }
  func signCheckpoint(_ body: [UInt8], with key: KeyName) async -> [UInt8] { body }
  func authenticate(_ message: [UInt8], with key: KeyName) async -> [UInt8] { message }
  func randomBytes(_ count: Int) -> [UInt8] { [] }
  var operationCount: UInt64 { 0 }
}
