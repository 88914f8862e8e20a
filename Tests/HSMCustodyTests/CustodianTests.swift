import Crypto
import HSMCustody
import KeyHierarchy
import PKCS11
import SecretMemory
import TestSupport
import Testing

/// True when swift-crypto, which made neither key nor signature, accepts the signature.
func verifies(_ signature: [UInt8], _ message: [UInt8], _ key: CustodyPublicKey) throws -> Bool {
  switch key.algorithm {
  case .rsa2048: try key.verifies(signature, of: message)
  case .ecdsaP256:
    try P256.Signing.PublicKey(x963Representation: key.bytes)
      .isValidSignature(P256.Signing.ECDSASignature(rawRepresentation: signature), for: message)
  case .ecdsaP384:
    try P384.Signing.PublicKey(x963Representation: key.bytes)
      .isValidSignature(P384.Signing.ECDSASignature(rawRepresentation: signature), for: message)
  case .ed25519:
    try Curve25519.Signing.PublicKey(rawRepresentation: key.bytes).isValidSignature(signature, for: message)
  case .aes256Wrap, .hmacSHA256: false
  }
}

/// The code of the error that `body` throws.
func custodyCode(_ body: () async throws -> Void) async -> CustodyError.Code? {
  do { try await body() } catch { return (error as? CustodyError)?.code }
  return nil
}

@Suite("Custodian")
struct CustodianTests {
  let fixture: SoftHSMFixture
  var custodian: PKCS11Custodian { fixture.custodian }

  init() throws { fixture = try SoftHSMFixture.shared }

  @Test("Signatures verify", arguments: [KeyName.rootCA, .x509IssuingA, .svidJWTA, .svidJWTRSA, .oauthA, .apiTLSA])
  func signs(_ key: KeyName) async throws {
    let publicKey = try custodian.publicKey(key)
    #expect(publicKey.algorithm == key.algorithm)
    for message in [[], [1], [UInt8](repeating: 7, count: 100_000)] as [[UInt8]] {
      let signature = try await custodian.sign(message, with: key)
      #expect(try verifies(signature, message, publicKey))
      #expect(try !verifies(signature, message + [0], publicKey))
      #expect(try verifies(custodian.signBlocking(message, with: key), message, publicKey))
    }
  }

  @Test("Every key has a public half of its own") func publicKeys() throws {
    let keys = try KeyName.all.filter { ![.aes256Wrap, .hmacSHA256].contains($0.algorithm) }
      .map { try custodian.publicKey($0).bytes }
    #expect(keys.count == 7)
    #expect(Set(keys).count == 7)
  }

  @Test("HMAC of a known key is swift-crypto's") func knownHMAC() throws {
    let session = try Session(fixture.module, slot: try fixture.module.token(labelled: "data").slot)
    let key = try session.generateKey(
      .generic(bytes: 32),
      [.flag(.token, false), .flag(.sign, true), .flag(.sensitive, false), .flag(.extractable, true)])
    let secret = SymmetricKey(data: try session.attribute(.value, of: key))
    for count in [0, 1, 63, 64, 65, 4096] {
      let message = [UInt8](repeating: 3, count: count)
      let tag = try session.sign(message.span, with: key, as: .hmacSHA256)
      #expect(HMAC<SHA256>.isValidAuthenticationCode(tag, authenticating: message, using: secret))
    }
  }

  @Test("Record MACs are stable and distinct") func authenticates() async throws {
    let a = try await custodian.authenticate([1, 2, 3], with: .recordMAC)
    #expect(a.count == 32)
    #expect(try await custodian.authenticate([1, 2, 3], with: .recordMAC) == a)
    #expect(try await custodian.authenticate([1, 2, 4], with: .recordMAC) != a)
    #expect(try await custodian.authenticate([], with: .recordMAC) != a)
  }

  @Test("Message limit") func messageLimit() async throws {
    let limit = PKCS11Custodian.Limits().messageBytes
    #expect(try await custodian.authenticate([UInt8](repeating: 0, count: limit), with: .recordMAC).count == 32)
    let code = await custodyCode {
      _ = try await custodian.authenticate([UInt8](repeating: 0, count: limit + 1), with: .recordMAC)
    }
    #expect(code == .notPermitted)
  }

  @Test("Random bytes and their limits") func random() async throws {
    let limit = PKCS11Custodian.Limits().messageBytes
    for count in [0, 1, 32, 4096, limit] { #expect(try custodian.randomBytes(count).count == count) }
    #expect(try custodian.randomBytes(32) != custodian.randomBytes(32))
    for count in [-1, limit + 1] {
      #expect(await custodyCode { _ = try custodian.randomBytes(count) } == .notPermitted)
    }
  }

  @Test("Each key in its own way only") func keyUse() async {
    func code(_ body: () async throws -> Void) async -> CustodyError.Code? { await custodyCode(body) }
    let message: [UInt8] = [1]
    let checkpoint = Array("example.dev.invalid/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".utf8)
    #expect(await code { _ = try await custodian.sign(message, with: .logA) } == .notPermitted)
    #expect(await code { _ = try custodian.signBlocking(message, with: .logA) } == .notPermitted)
    #expect(await code { _ = try await custodian.sign(checkpoint, with: .logA) } == .notPermitted)
    #expect(await code { _ = try await custodian.authenticate(message, with: .logA) } == .notPermitted)
    for key in [KeyName.rootKEK, .recordMAC] {
      #expect(await code { _ = try await custodian.sign(message, with: key) } == .notPermitted)
      #expect(await code { _ = try custodian.signBlocking(message, with: key) } == .notPermitted)
      #expect(await code { _ = try custodian.publicKey(key) } == .notPermitted)
    }
    for key in [KeyName.rootKEK, .rootCA, .x509IssuingA] {
      #expect(await code { _ = try await custodian.authenticate(message, with: key) } == .notPermitted)
    }
    for key in [KeyName.rootCA, .oauthA, .recordMAC, .rootKEK] {
      #expect(await code { _ = try await custodian.signCheckpoint(checkpoint, with: key) } == .notPermitted)
    }
  }

  @Test("Keys that are not there") func missing() async {
    let absent = KeyName(.identity, "absent", .ecdsaP256)
    #expect(await custodyCode { _ = try await custodian.sign([1], with: absent) } == .keyNotFound)
    #expect(await custodyCode { _ = try custodian.publicKey(absent) } == .keyNotFound)
    // On another token, or of another kind.
    #expect(await custodyCode { _ = try custodian.publicKey(KeyName(.root, "oauth-a", .ecdsaP256)) } == .keyNotFound)
    #expect(await custodyCode { _ = try custodian.publicKey(KeyName(.identity, "oauth-a", .ed25519)) } == .failed)
    #expect(await custodyCode { _ = try custodian.publicKey(KeyName(.identity, "oauth-a", .ecdsaP384)) } == .failed)
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == nil)
  }

  @Test("Many tasks at once, each operation counted once") func concurrency() async throws {
    let tokens = try fixture.makeTokens(.identity, .data)
    let own = try PKCS11Custodian.open(provider: fixture.hsm.provider, tokens: tokens, roles: [.identity, .data])
    defer { own.close() }
    let before = own.operationCount
    try await withThrowingTaskGroup { group in
      for task in 0..<100 {
        group.addTask {
          let message = Array("message \(task)".utf8)
          let key = [KeyName.x509IssuingA, .oauthA][task % 2]
          let signature = try await own.sign(message, with: key)
          guard try verifies(signature, message, own.publicKey(key)) else { throw CustodyError(.failed, "\(task)") }
          _ = try await own.authenticate(message, with: .recordMAC)
        }
      }
      try await group.waitForAll()
    }
    #expect(own.operationCount == before + 200)
    _ = try own.randomBytes(8)
    #expect(own.operationCount == before + 201)
    #expect(await custodyCode { _ = try await own.sign([1], with: .recordMAC) } != nil)
    #expect(own.operationCount == before + 201)
  }

  @Test("More callers of the blocking kind than sessions") func blockingCallers() async throws {
    let custodian = custodian
    let count = try await withThrowingTaskGroup { group in
      for _ in 0..<8 { group.addTask { try custodian.signBlocking([1], with: .apiTLSA).count } }
      return try await group.reduce(0, +)
    }
    #expect(count == 8 * 64)
  }
}

@Suite("Custodian: opening and closing")
struct OpeningTests {
  let fixture: SoftHSMFixture

  init() throws { fixture = try SoftHSMFixture.shared }

  private func open(
    _ tokens: [TokenRole: PKCS11Custodian.TokenLocation], _ roles: Set<TokenRole>, requiring: [KeyName] = KeyName.all
  ) throws(CustodyError) -> PKCS11Custodian {
    try PKCS11Custodian.open(provider: fixture.hsm.provider, tokens: tokens, roles: roles, requiring: requiring)
  }

  @Test("Tokens that are not logged in serve nothing") func roles() async throws {
    let tokens = try fixture.makeTokens(.root, .identity)
    let custodian = try open(tokens, [.identity])
    defer { custodian.close() }
    #expect(custodian.roles == [.identity])
    for key in [KeyName.rootCA, .logA, .recordMAC] {
      #expect(await custodyCode { _ = try custodian.publicKey(key) } != nil)
    }
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .rootCA) } == .unavailable)
    #expect(await custodyCode { _ = try custodian.signBlocking([1], with: .rootCA) } == .unavailable)
    #expect(await custodyCode { _ = try await custodian.authenticate([1], with: .recordMAC) } == .unavailable)
    let body = Array("example.dev.invalid/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".utf8)
    #expect(await custodyCode { _ = try await custodian.signCheckpoint(body, with: .logA) } == .unavailable)
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    // A ceremony opens the root token beside it.
    let ceremony = try open(tokens, [.root])
    #expect(try await ceremony.sign([1], with: .rootCA).count == 96)
    ceremony.close()
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
  }

  @Test("A wrong PIN") func wrongPIN() async throws {
    let tokens = try fixture.makeTokens(.log)
    let uri = try #require(tokens[.log]).uri
    let wrong = PKCS11Custodian.TokenLocation(uri: uri) { () throws(SecretMemoryError) in
      try SecretBytes.random(count: 16).hexadecimal()
    }
    let error = #expect(throws: CustodyError.self) { try open([.log: wrong], [.log]) }
    #expect(error?.code == .wrongPIN)
    // It left nothing logged in.
    let custodian = try open(tokens, [.log])
    custodian.close()
  }

  @Test("PIN files that others may read, or that are absent") func pinFiles() throws {
    let tokens = try fixture.makeTokens(.log)
    let uri = try #require(tokens[.log]).uri
    let error = #expect(throws: CustodyError.self) {
      try open([.log: .init(uri: uri, pinFile: "/proc/self/absent")], [.log])
    }
    #expect(error?.code == .unavailable)
  }

  @Test("What is not configured, or not there") func absent() {
    #expect(throws: CustodyError(.unavailable, "")) { try open([:], [.log]) }
    let nowhere = PKCS11Custodian.TokenLocation(uri: "pkcs11:token=nowhere", pinFile: "/absent")
    #expect(throws: CustodyError(.unavailable, "")) { try open([.log: nowhere], [.log]) }
    #expect(throws: CustodyError(.failed, "")) {
      try PKCS11Custodian.open(provider: "/absent.so", tokens: [:], roles: [])
    }
  }

  @Test("Required keys that are missing are listed") func required() throws {
    let tokens = try fixture.makeTokens(.identity)
    let wanted = [KeyName.oauthA, KeyName(.identity, "oauth-b", .ecdsaP256), KeyName(.identity, "x", .ecdsaP256)]
    let error = #expect(throws: CustodyError.self) { try open(tokens, [.identity], requiring: wanted) }
    #expect(error?.code == .keyNotFound)
    #expect(error?.message.contains("identity/oauth-b, identity/x;") == true)
    let custodian = try open(tokens, [.identity], requiring: [])
    custodian.close()
  }

  @Test("One custodian per token") func second() async throws {
    let tokens = try fixture.makeTokens(.identity)
    let first = try open(tokens, [.identity])
    // With a wrong PIN too: SoftHSM would not look at it, and neither counts as opened.
    let uri = try #require(tokens[.identity]).uri
    let wrong = PKCS11Custodian.TokenLocation(uri: uri) { () throws(SecretMemoryError) in
      try SecretBytes.random(count: 16).hexadecimal()
    }
    #expect(throws: CustodyError(.unavailable, "")) { try open([.identity: wrong], [.identity]) }
    let error = #expect(throws: CustodyError.self) { try open(tokens, [.identity]) }
    #expect(error?.code == .unavailable)
    #expect(try await first.sign([1], with: .oauthA).count == 64)
    first.close()
    let second = try open(tokens, [.identity])
    #expect(try await second.sign([1], with: .oauthA).count == 64)
    second.close()
  }

  @Test("Closed is closed") func closed() async throws {
    let tokens = try fixture.makeTokens(.identity, .data)
    let custodian = try open(tokens, [.identity, .data])
    custodian.close()
    custodian.close()
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .unavailable)
    #expect(await custodyCode { _ = try custodian.signBlocking([1], with: .oauthA) } == .unavailable)
    #expect(await custodyCode { _ = try await custodian.authenticate([1], with: .recordMAC) } == .unavailable)
    #expect(await custodyCode { _ = try custodian.publicKey(.oauthA) } == .unavailable)
    #expect(await custodyCode { _ = try custodian.randomBytes(1) } == .unavailable)
    // Private keys are out of sight: nobody is logged in.
    let uri = try #require(tokens[.identity]).uri
    let session = try Session(fixture.module, slot: try fixture.module.token(uri).slot)
    #expect(try session.findObjects([.objectClass(.privateKey)]).isEmpty)
  }

  @Test("What is under way when it closes finishes") func closingUnderLoad() async throws {
    let tokens = try fixture.makeTokens(.identity)
    let custodian = try open(tokens, [.identity])
    let outcomes = await withTaskGroup { group in
      for _ in 0..<50 {
        group.addTask { await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } }
      }
      group.addTask {
        custodian.close()
        return nil
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.allSatisfy { $0 == nil || $0 == .unavailable })
    #expect(outcomes.count == 51)
  }
}
