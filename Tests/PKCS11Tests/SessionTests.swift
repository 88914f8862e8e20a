import PKCS11
import TestSupport
import Testing

/// Sessions on the fixture's tokens, whose logins hold for the process; keys are session objects and die with them.
@Suite("PKCS#11 sessions")
struct SessionTests {
  let fixture: SoftHSMFixture
  var module: Module { fixture.module }

  init() throws { fixture = try SoftHSMFixture.shared }

  private func session(_ label: String = "identity", writable: Bool = false) throws -> Session {
    try Session(module, slot: try module.token(labelled: label).slot, writable: writable)
  }

  private let signing: [Attribute] = [.flag(.token, false), .flag(.sign, true), .flag(.sensitive, true)]

  private func error(_ body: () throws -> Void) -> PKCS11Error.Code? {
    do { try body() } catch { return (error as? PKCS11Error)?.code }
    return nil
  }

  @Test(
    "Digests of the scheme's length only",
    arguments: [
      (.p256, .ecdsaP256, [32], [0, 1, 20, 31, 33, 48, 64]), (.p384, .ecdsaP384, [48], [0, 32, 47, 49, 64]),
      (.ed25519, .ed25519, [0, 1, 32, 5000], []), (.rsa2048, .rsa2048, [51], [0, 20, 32, 50, 52, 245]),
    ] as [(KeyPairKind, SignatureScheme, [Int], [Int])])
  func digestLength(_ kind: KeyPairKind, _ scheme: SignatureScheme, _ good: [Int], _ bad: [Int]) throws {
    let session = try session()
    let pair = try session.generateKeyPair(kind, publicKey: [.flag(.token, false)], privateKey: signing)
    for count in good {
      let data = [UInt8](repeating: 0xa5, count: count)
      #expect(try session.sign(data.span, with: pair.privateKey, as: scheme).count == scheme.signatureLength)
    }
    for count in bad {
      let data = [UInt8](repeating: 0xa5, count: count)
      #expect(error { _ = try session.sign(data.span, with: pair.privateKey, as: scheme) } == .dataLengthRange)
    }
  }

  @Test("A session outlives a refused operation") func afterRefusal() throws {
    let session = try session()
    let pair = try session.generateKeyPair(.p256, publicKey: [.flag(.token, false)], privateKey: signing)
    let digest = [UInt8](repeating: 1, count: 32)
    for _ in 0..<3 {
      #expect(error { _ = try session.sign(digest.span, with: pair.publicKey, as: .ecdsaP256) } != nil)
      #expect(error { _ = try session.sign(digest.span, with: .init(rawValue: .max), as: .ecdsaP256) } != nil)
      #expect(try session.sign(digest.span, with: pair.privateKey, as: .ecdsaP256).count == 64)
    }
  }

  @Test("A key for signing does nothing else, and one without the flag does not sign") func usage() throws {
    let session = try session()
    let key = try session.generateKey(.generic(bytes: 32), [.flag(.token, false), .flag(.sign, false)])
    let message: [UInt8] = [1]
    #expect(error { _ = try session.sign(message.span, with: key, as: .hmacSHA256) } == .keyFunctionNotPermitted)
  }

  @Test("Attributes") func attributes() throws {
    let session = try session()
    let id: [UInt8] = [9, 8, 7]
    let pair = try session.generateKeyPair(
      .p256, publicKey: [.flag(.token, false), .bytes(.id, id)],
      privateKey: signing + [.bytes(.id, id), .label("attributes"), .flag(.extractable, false)])
    #expect(try session.attribute(.id, of: pair.privateKey) == id)
    #expect(try session.attribute(.label, of: pair.privateKey) == Array("attributes".utf8))
    #expect(try session.flag(.sign, of: pair.privateKey))
    #expect(try !session.flag(.extractable, of: pair.privateKey))
    #expect(try session.number(.keyType, of: pair.privateKey) == KeyType.ec.rawValue)
    #expect(try session.attribute(.ecParameters, of: pair.publicKey) == KeyPairKind.p256.parameters)
    #expect(error { _ = try session.attribute(.value, of: pair.privateKey) } == .attributeSensitive)
    #expect(error { _ = try session.attribute(.valueLength, of: pair.privateKey) } == .attributeTypeInvalid)
    #expect(error { _ = try session.flag(.id, of: pair.privateKey) } == .generalError)
    #expect(error { _ = try session.number(.id, of: pair.privateKey) } == .generalError)
  }

  @Test("Search and its limit") func search() throws {
    let session = try session()
    let template: [Attribute] = [.objectClass(.secretKey), .label("search")]
    #expect(try session.findObjects(template).isEmpty)
    var made: Set<ObjectHandle> = []
    for _ in 0..<5 { made.insert(try session.generateKey(.aes256, [.flag(.token, false), .label("search")])) }
    #expect(Set(try session.findObjects(template)) == made)
    #expect(try session.findObjects(template, limit: 5).count == 5)
    #expect(try session.findObjects(template, limit: 4).count == 4)
    for handle in made { try session.destroyObject(handle) }
    #expect(try session.findObjects(template).isEmpty)
  }

  @Test("Wrapped keys come back sensitive and not extractable") func wrapping() throws {
    let session = try session("data")
    let kek = try #require(try session.findObjects([.objectClass(.secretKey), .label("root-kek")]).first)
    let open: [Attribute] = [.flag(.token, false), .flag(.sensitive, false), .flag(.extractable, true)]
    let key = try session.generateKey(.aes256, open + [.flag(.encrypt, true)])
    let wrapped = try session.wrapKey(key, with: kek)
    #expect(wrapped.count == 40)
    let shape: [Attribute] = [.objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.encrypt, true)]
    #expect(error { _ = try session.unwrapKey(wrapped, with: kek, shape) } == .templateInconsistent)
    let loose: [Attribute] = [.flag(.sensitive, false), .flag(.extractable, true)]
    #expect(error { _ = try session.unwrapKey(wrapped, with: kek, shape + loose) } == .templateInconsistent)
    let closed: [Attribute] = [.flag(.sensitive, true), .flag(.extractable, false)]
    let back = try session.unwrapKey(wrapped, with: kek, shape + closed)
    #expect(try session.flag(.sensitive, of: back))
    #expect(try !session.flag(.extractable, of: back))
    #expect(error { _ = try session.attribute(.value, of: back) } == .attributeSensitive)
    #expect(error { _ = try session.wrapKey(back, with: kek) } != nil)
    for bytes in [[], [UInt8](wrapped.prefix(8)), wrapped + [0]] {
      #expect(error { _ = try session.unwrapKey(bytes, with: kek, shape + closed) } == .dataLengthRange)
    }
    var forged = wrapped
    forged[3] ^= 1
    #expect(error { _ = try session.unwrapKey(forged, with: kek, shape + closed) } != nil)
  }

  private static let writes = 4

  @Test("Token objects written by many tasks at once, on several tokens") func tokenWrites() async throws {
    let fixture = fixture
    let total = try await withThrowingTaskGroup(of: Int.self) { group in
      for task in 0..<8 {
        group.addTask {
          let label = ["identity", "data", "log"][task % 3]
          let slot = try fixture.module.token(labelled: label).slot
          let session = try Session(fixture.module, slot: slot, writable: true)
          var made = 0
          for _ in 0..<Self.writes {
            let name: [Attribute] = [.flag(.token, true), .label("writes-\(task)")]
            let pair = try session.generateKeyPair(.p256, publicKey: name, privateKey: name + [.flag(.private, true)])
            try session.destroyObject(pair.publicKey)
            try session.destroyObject(pair.privateKey)
            made += 1
          }
          return made
        }
      }
      return try await group.reduce(0, +)
    }
    #expect(total == 8 * Self.writes)
  }

  @Test("Read-only sessions write no token objects") func readOnly() throws {
    let session = try session()
    #expect(error { _ = try session.generateKey(.aes256, [.flag(.token, true)]) } != nil)
  }
}
