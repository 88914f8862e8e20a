import Crypto
import Foundation
import HSMCustody
import HSMProbe
import KeyHierarchy
import PKCS11
import SecretMemory
import TestSupport
import Testing

/// Tokens other than SoftHSM, each test in a process of its own.
@Suite("Other tokens", .serialized)
struct OtherTokenTests {
  static let wanted: [OtherToken.Kind] = OtherToken.Kind.allCases.filter { kind in
    if !kind.isWanted { print("left out: \(kind.rawValue): \(kind.obstacle ?? "")") }
    return kind.isWanted
  }

  static let startable = wanted.filter { $0.obstacle == nil }

  @Test("Can be started here", arguments: wanted) func starts(_ kind: OtherToken.Kind) {
    #expect(kind.obstacle == nil, "\(kind.rawValue): \(kind.obstacle ?? "")")
  }

  @Test("The probe finds what the document says, and leaves nothing behind", arguments: startable)
  func profile(_ kind: OtherToken.Kind) async {
    await #expect(processExitsWith: .success) { [kind] in
      recording {
        let token = try kind.start()
        let session = try Session(token.module, slot: try token.module.token(token.uri).slot, writable: true)
        try session.login(.user, pin: try token.pin())
        let profile = try ModuleProbe(token.module, token: token.uri).run(session)
        #expect(try session.findObjects([]).isEmpty)
        let served = profile.roles.filter { $0.serves }.map { $0.role }
        switch kind {
        case .opencryptoki:
          try ProfileDocuments.check(profile, "opencryptoki-soft.yaml", packages: ["opencryptoki"])
          #expect(served.isEmpty)
        case .tpm2:
          try ProfileDocuments.check(profile, "tpm2-pkcs11.yaml", packages: ["libtpm2-pkcs11-1", "swtpm"])
          #expect(served == [.root, .identity])
        }
      }
    }
  }

  /// What each token's mechanisms allow; a TPM without a resource manager has room for three objects and tpm2-pkcs11
  /// leaves there what it loaded, so every kind of key has a token of its own.
  static let kinds: [(OtherToken.Kind, Conformance.Kind)] = [
    (.opencryptoki, .genericSecret), (.opencryptoki, .aes), (.tpm2, .p256), (.tpm2, .p384),
  ].filter { startable.contains($0.0) }

  @Test("The client does on it what the mechanisms allow", arguments: kinds)
  func client(_ kind: OtherToken.Kind, _ keys: Conformance.Kind) async {
    let others: [Conformance.Kind] = Conformance.Kind.allCases.filter { other in
      !Self.kinds.contains { $0.0 == kind && $0.1 == other }
    }
    await #expect(processExitsWith: .success) { [kind, keys, others = others as [Conformance.Kind]] in
      recording {
        let token = try kind.start()
        let conformance = Conformance(module: token.module, slot: try token.module.token(token.uri).slot)
        for other in others {
          guard kind == .tpm2, other == .aes else {
            #expect(try token.module.mechanism(other.generation, in: conformance.slot) == nil)
            continue
          }
          // It announces CKM_AES_KEY_GEN and has no C_GenerateKey.
          let session = try Session(token.module, slot: conformance.slot, writable: true)
          try session.login(.user, pin: try token.pin())
          var refused: String?
          do throws(PKCS11Error) { _ = try session.generateKey(.aes256, []) } catch {
            refused = error.code.description
          }
          #expect(refused == "CKR_FUNCTION_NOT_SUPPORTED")
          try session.logout()
        }
        try conformance.run(keys, pin: try token.pin())
      }
    }
  }

  @Test("Custody opens the roles that the mechanisms allow, and says why not the others", arguments: startable)
  func custody(_ kind: OtherToken.Kind) async {
    await #expect(processExitsWith: .success) { [kind] in
      recording {
        let token = try kind.start()
        let keys = KeyName.all.filter { kind == .tpm2 && $0.token == .root }
        for key in keys {
          let session = try Session(token.module, slot: try token.module.token(token.uri).slot, writable: true)
          try session.login(.user, pin: try token.pin())
          let names: [Attribute] = [.flag(.token, true), .label(key.label), .bytes(.id, Array(key.label.utf8))]
          let locked: [Attribute] = [.flag(.private, true), .flag(.sensitive, true), .flag(.extractable, false)]
          _ = try session.generateKeyPair(
            .p384, publicKey: names + [.flag(.verify, true)], privateKey: names + locked + [.flag(.sign, true)])
          try session.logout()
        }
        token.module.finalizeIfUnused()
        let text = token.pinText
        let location = PKCS11Custodian.TokenLocation(uri: token.uri) { () throws(SecretMemoryError) in
          try unsafe SecretBytes(copying: Array(text.utf8).span.bytes)
        }
        for role in TokenRole.allCases where !keys.contains(where: { $0.token == role }) && role != .identity {
          let error = #expect(throws: CustodyError.self) {
            try PKCS11Custodian.open(provider: token.module.path, tokens: [role: location], roles: [role])
          }
          #expect(error?.code == .mechanismMissing, "\(role): \(String(describing: error))")
        }
        for key in keys {
          let custodian = try PKCS11Custodian.open(
            provider: token.module.path, tokens: [key.token: location], roles: [key.token])
          let message = Array("custody".utf8)
          let signature = try custodian.signBlocking(message, with: key)
          let publicKey = try P384.Signing.PublicKey(x963Representation: try custodian.publicKey(key).bytes)
          #expect(publicKey.isValidSignature(try .init(rawRepresentation: signature), for: message))
        }
      }
    }
  }
}

/// An error that leaves an exit test would end it with a signal and no word.
func recording(_ body: () throws -> Void) {
  do { try body() } catch { Issue.record(error) }
}

/// What the typed client relies on, tried on a token with token objects, as the deployment's keys are.
struct Conformance {
  let module: Module
  let slot: SlotID

  /// A kind of key.
  enum Kind: String, CaseIterable, Codable, Sendable {
    case p256, p384, ed25519, genericSecret, aes

    var generation: MechanismType {
      switch self {
      case .p256, .p384: .ecKeyPairGeneration
      case .ed25519: .edwardsKeyPairGeneration
      case .genericSecret: .genericSecretGeneration
      case .aes: .aesKeyGeneration
      }
    }
  }

  func run(_ kind: Kind, pin: borrowing SecretBytes) throws {
    try login(pin)
    let session = try Session(module, slot: slot, writable: true)
    try session.login(.user, pin: pin)
    try session.checkLogin()
    try sessions()
    switch kind {
    case .p256: try ecdsa(session, .p256)
    case .p384: try ecdsa(session, .p384)
    case .ed25519: try eddsa(session)
    case .genericSecret: try hmac(session)
    case .aes: try aes(session)
    }
    try errors(session)
    #expect(try session.findObjects([]).isEmpty)
    try session.logout()
    var after: PKCS11Error.Code?
    do throws(PKCS11Error) { try session.checkLogin() } catch { after = error.code }
    #expect(after == .userNotLoggedIn)
  }

  private func login(_ pin: borrowing SecretBytes) throws {
    let session = try Session(module, slot: slot)
    #expect(throws: PKCS11Error(.userNotLoggedIn, in: "")) { try session.checkLogin() }
    try session.login(.user, pin: pin)
    var again: PKCS11Error.Code?
    do throws(PKCS11Error) { try session.login(.user, pin: pin) } catch { again = error.code }
    #expect(again == .userAlreadyLoggedIn)
    try session.logout()
  }

  /// The login holds for every session of the process.
  private func sessions() throws {
    for _ in 0..<3 {
      let other = try Session(module, slot: slot)
      try other.checkLogin()
      var bytes = [UInt8](repeating: 0, count: 16)
      try unsafe bytes.withUnsafeMutableBytes { try unsafe other.generateRandom(into: $0) }
      #expect(bytes.contains { $0 != 0 })
    }
  }

  private let names: [Attribute] = [.flag(.token, true), .label("conformance"), .bytes(.id, [1, 2, 3])]
  private let locked: [Attribute] = [.flag(.private, true), .flag(.sensitive, true), .flag(.extractable, false)]

  /// An EC_POINT without its OCTET STRING.
  private func point(_ key: ObjectHandle, _ session: borrowing Session, length: Int) throws -> [UInt8] {
    Array(try session.attribute(.ecPoint, of: key).suffix(length))
  }

  private func ecdsa(_ session: borrowing Session, _ kind: KeyPairKind) throws {
    let message = Array("conformance".utf8)
    let pair = try session.generateKeyPair(
      kind, publicKey: names + [.flag(.verify, true)], privateKey: names + locked + [.flag(.sign, true)])
    #expect(try session.flag(.sensitive, of: pair.privateKey))
    #expect(try !session.flag(.extractable, of: pair.privateKey))
    #expect(try session.attribute(.ecParameters, of: pair.publicKey) == kind.parameters)
    let found = try session.findObjects([.objectClass(.privateKey), .bytes(.id, [1, 2, 3])])
    #expect(found == [pair.privateKey])
    if case .p256 = kind {
      let signature = try session.sign(
        Array(SHA256.hash(data: message)).span, with: pair.privateKey, as: .ecdsaP256)
      let key = try P256.Signing.PublicKey(x963Representation: try point(pair.publicKey, session, length: 65))
      #expect(key.isValidSignature(try .init(rawRepresentation: signature), for: message))
    } else {
      let signature = try session.sign(
        Array(SHA384.hash(data: message)).span, with: pair.privateKey, as: .ecdsaP384)
      let key = try P384.Signing.PublicKey(x963Representation: try point(pair.publicKey, session, length: 97))
      #expect(key.isValidSignature(try .init(rawRepresentation: signature), for: message))
    }
    try session.destroyObject(pair.privateKey)
    for left in try session.findObjects([.bytes(.id, [1, 2, 3])]) { try session.destroyObject(left) }
  }

  private func eddsa(_ session: borrowing Session) throws {
    let pair = try session.generateKeyPair(
      .ed25519, publicKey: names + [.flag(.verify, true)], privateKey: names + locked + [.flag(.sign, true)])
    let message = Array("conformance".utf8)
    let signature = try session.sign(message.span, with: pair.privateKey, as: .ed25519)
    let key = try Curve25519.Signing.PublicKey(rawRepresentation: try point(pair.publicKey, session, length: 32))
    #expect(key.isValidSignature(signature, for: message))
    try session.destroyObject(pair.privateKey)
    try session.destroyObject(pair.publicKey)
  }

  /// A generated secret stays inside, so HMAC is held against itself: the same twice, another over another message.
  private func hmac(_ session: borrowing Session) throws {
    let key = try session.generateKey(
      .generic(bytes: 32), names + locked + [.flag(.sign, true), .flag(.verify, true)])
    let one = Array("one".utf8)
    let two = Array("two".utf8)
    let first = try session.sign(one.span, with: key, as: .hmacSHA256)
    #expect(first.count == 32)
    #expect(try session.sign(one.span, with: key, as: .hmacSHA256) == first)
    #expect(try session.sign(two.span, with: key, as: .hmacSHA256) != first)
    try session.destroyObject(key)
  }

  private func aes(_ session: borrowing Session) throws {
    let key = try session.generateKey(
      .aes256, names + locked + [.flag(.encrypt, true), .flag(.decrypt, true)])
    #expect(try session.number(.keyType, of: key) == KeyType.aes.rawValue)
    #expect(throws: PKCS11Error.self) { _ = try session.attribute(.value, of: key) }
    try session.destroyObject(key)
  }

  private func errors(_ session: borrowing Session) throws {
    let digest = [UInt8](repeating: 1, count: 32)
    var refused: PKCS11Error?
    do throws(PKCS11Error) {
      _ = try session.sign(digest.span, with: ObjectHandle(rawValue: 0xfff_fff0), as: .hmacSHA256)
    } catch { refused = error }
    #expect(refused != nil)
    #expect(try module.mechanism(MechanismType(rawValue: 0x7fff_fff0), in: slot) == nil)
    // The session has survived it.
    try session.checkLogin()
  }
}
