import PKCS11
import SecretMemory
import TestSupport
import Testing

@Suite("PKCS#11: encryption and imported keys")
final class CipherTests {
  let session: Session

  init() throws {
    let module = try SoftHSMFixture.shared.module
    session = try Session(module, slot: try module.token(labelled: "data").slot)
  }

  private let iv: [UInt8] = Array(1...12)
  private let aad: [UInt8] = [7, 7]

  private func makeKey() throws -> ObjectHandle {
    try session.generateKey(
      .aes256, [.flag(.token, false), .flag(.encrypt, true), .flag(.decrypt, true), .flag(.sensitive, true)])
  }

  private func encrypt(
    _ text: [UInt8], iv: [UInt8]? = nil, aad: [UInt8]? = nil, _ key: ObjectHandle
  ) throws(PKCS11Error) -> [UInt8] {
    try unsafe session.encryptGCM(text.span.bytes, iv: iv ?? self.iv, aad: aad ?? self.aad, with: key)
  }

  private func decrypt(
    _ text: [UInt8], iv: [UInt8]? = nil, aad: [UInt8]? = nil, _ key: ObjectHandle
  ) throws(PKCS11Error) -> [UInt8] {
    let secret = try session.decryptGCM(text, iv: iv ?? self.iv, aad: aad ?? self.aad, with: key)
    return unsafe secret.withUnsafeBytes { unsafe Array($0) }
  }

  private func error(_ body: () throws -> Void) -> PKCS11Error.Code? { Result { try body() }.refusal }

  @Test("Round trip, and each bit of tag, text, IV and context", arguments: [1, 15, 16, 17, 32, 64])
  func roundTrip(_ count: Int) throws {
    let key = try makeKey()
    let text = (0..<count).map { UInt8($0) }
    let sealed = try encrypt(text, key)
    #expect(sealed.count == count + 16)
    #expect(try decrypt(sealed, key) == text)
    func flipped(_ bytes: [UInt8], _ bit: Int) -> [UInt8] {
      var bytes = bytes
      bytes[bit / 8] ^= 1 << (bit % 8)
      return bytes
    }
    for bit in 0..<(8 * sealed.count) {
      #expect(error { _ = try decrypt(flipped(sealed, bit), key) } == .aeadDecryptFailed)
    }
    for bit in 0..<96 { #expect(error { _ = try decrypt(sealed, iv: flipped(iv, bit), key) } == .aeadDecryptFailed) }
    for bit in 0..<16 { #expect(error { _ = try decrypt(sealed, aad: flipped(aad, bit), key) } == .aeadDecryptFailed) }
    #expect(error { _ = try decrypt(sealed, aad: [], key) } == .aeadDecryptFailed)
    #expect(error { _ = try decrypt(sealed, makeKey()) } == .aeadDecryptFailed)
    #expect(PKCS11Error.Code.aeadDecryptFailed.kind == .data)
    #expect(try decrypt(sealed, key) == text)
  }

  @Test("IVs of 12 bytes only", arguments: [0, 1, 8, 11, 12, 13, 16]) func ivLength(_ count: Int) throws {
    let key = try makeKey()
    let iv = [UInt8](repeating: 1, count: count)
    if count == 12 {
      #expect(try decrypt(encrypt([1], iv: iv, key), iv: iv, key) == [1])
    } else {
      #expect(error { _ = try encrypt([1], iv: iv, key) } == .dataLengthRange)
      #expect(error { _ = try decrypt(Array(0..<17), iv: iv, key) } == .dataLengthRange)
    }
  }

  @Test("Lengths of texts") func lengths() throws {
    let key = try makeKey()
    let most = Session.gcmMaximumPlaintext
    #expect(try encrypt([], key).count == 16)
    let sealed = try encrypt(Array(repeating: 5, count: most), key)
    #expect(sealed.count == SecretBytes.maximumCount)
    #expect(try decrypt(sealed, key).count == most)
    #expect(error { _ = try encrypt(Array(repeating: 5, count: most + 1), key) } == .dataLengthRange)
    #expect(error { _ = try decrypt(sealed + [0], key) } == .dataLengthRange)
    for count in [0, 1, 15, 16] {
      #expect(error { _ = try decrypt(Array(repeating: 0, count: count), key) } == .dataLengthRange)
    }
    #expect(error { _ = try decrypt(Array(repeating: 0, count: 17), key) } == .aeadDecryptFailed)
  }

  @Test("A wrong key is not blamed on the text") func wrongKey() throws {
    let gone = try makeKey()
    let sealed = try encrypt([1], gone)
    try session.destroyObject(gone)
    #expect(error { _ = try decrypt(sealed, gone) }?.kind == .relogin)
    #expect(error { _ = try encrypt([1], gone) }?.kind == .relogin)
    let unfit = try session.generateKey(
      .aes256, [.flag(.token, false), .flag(.encrypt, false), .flag(.decrypt, false), .flag(.wrap, true)])
    #expect(error { _ = try encrypt([1], unfit) } == .keyFunctionNotPermitted)
    #expect(error { _ = try decrypt(sealed, unfit) } == .keyFunctionNotPermitted)
  }

  @Test("An operation that wants more room is not left behind") func noRoom() throws {
    let signing: [Attribute] = [.flag(.token, false), .flag(.sign, true)]
    let pair = try session.generateKeyPair(.p384, publicKey: [.flag(.token, false)], privateKey: signing)
    let digest = [UInt8](repeating: 3, count: 32)
    for _ in 0..<2 {
      // 96 bytes do not fit P-256's 64.
      #expect(error { _ = try session.sign(digest.span, with: pair.privateKey, as: .ecdsaP256) } == .bufferTooSmall)
      let whole = digest + digest[..<16]
      #expect(try session.sign(whole.span, with: pair.privateKey, as: .ecdsaP384).count == 96)
      #expect(try encrypt([1], makeKey()).count == 17)
    }
  }

  @Test("A secret becomes a key") func importSecret() throws {
    let secret = try SecretBytes.random(count: 32)
    let template: [Attribute] = [
      .objectClass(.secretKey), .keyType(.aes), .flag(.token, false), .flag(.sensitive, true),
      .flag(.extractable, false), .flag(.encrypt, true), .flag(.decrypt, true),
    ]
    let key = try session.createObject(template, secretValue: secret)
    #expect(try decrypt(encrypt([1, 2, 3], key), key) == [1, 2, 3])
    #expect(try session.number(.valueLength, of: key) == 32)
    #expect(try !session.flag(.extractable, of: key))
    #expect(try !session.flag(.local, of: key))
    #expect(error { _ = try session.attribute(.value, of: key) } == .attributeSensitive)
    // The same secret is the same key. SoftHSM takes any length for AES, and does nothing with it then.
    let twin = try session.createObject(template, secretValue: secret)
    #expect(try decrypt(encrypt([9], key), twin) == [9])
    let odd = try SecretBytes(zeros: 31)
    #expect(error { _ = try encrypt([1], session.createObject(template, secretValue: odd)) } != nil)
    #expect(error { _ = try session.createObject([]) } != nil)
    #expect(error { _ = try session.createObject([], secretValue: secret) } != nil)
  }

  @Test("Objects of data, with their value") func importData() throws {
    let object = try session.createObject(
      [.objectClass(.data), .flag(.token, false), .label("note"), .bytes(.value, [1, 2])])
    #expect(try session.attribute(.value, of: object) == [1, 2])
    #expect(try session.findObjects(ObjectURI("pkcs11:object=note;type=data")) == [object])
  }

  @Test("Ways to wrap") func wrapping() throws {
    let kek = try session.generateKey(.aes256, [.flag(.token, false), .flag(.wrap, true), .flag(.unwrap, true)])
    let key = try session.generateKey(.aes256, [.flag(.token, false), .flag(.extractable, true)])
    let shape: [Attribute] = [.objectClass(.secretKey), .keyType(.aes), .flag(.token, false)]
    let padded = try session.wrapKey(key, with: kek)
    let plain = try session.wrapKey(key, with: kek, mechanism: .aesKeyWrap)
    #expect(padded.count == 40 && plain.count == 40 && padded != plain)
    _ = try session.unwrapKey(padded, with: kek, shape)
    _ = try session.unwrapKey(padded, with: kek, mechanism: .aesKeyWrapPad, shape)
    _ = try session.unwrapKey(plain, with: kek, mechanism: .aesKeyWrap, shape)
    #expect(error { _ = try session.unwrapKey(plain, with: kek, shape) } != nil)
    #expect(error { _ = try session.unwrapKey(padded, with: kek, mechanism: .aesKeyWrap, shape) } != nil)
    // Names are the token's business, but only those of key wrap are asked for.
    #expect(error { _ = try session.wrapKey(key, with: kek, mechanism: .aesKeyWrapKWP) } == .mechanismInvalid)
    #expect(error { _ = try session.unwrapKey(padded, with: kek, mechanism: .aesKeyWrapKWP, shape) } != nil)
    #expect(error { _ = try session.wrapKey(key, with: kek, mechanism: .aesGCM) } == .mechanismInvalid)
    #expect(error { _ = try session.unwrapKey(padded, with: kek, mechanism: .aesGCM, shape) } == .mechanismInvalid)
    for (mechanism, least) in [(MechanismType.aesKeyWrap, 24), (.aesKeyWrapPad, 16)] {
      for (count, fits) in [(least - 8, false), (least - 1, false), (least, true), (8192, true), (8200, false)] {
        let code = error {
          _ = try session.unwrapKey([UInt8](repeating: 1, count: count), with: kek, mechanism: mechanism, shape)
        }
        #expect((code != .dataLengthRange) == fits, "\(mechanism), \(count) bytes")
      }
    }
  }
}
