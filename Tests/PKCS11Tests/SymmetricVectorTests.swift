import Foundation
@_spi(Testing) import PKCS11
import SecretMemory
import TestSupport
import Testing

/// Wycheproof's symmetric cases, through SoftHSM's mechanisms. The keys are session objects. An "acceptable" case may
/// go either way.
///
/// What SoftHSM 2.6.1 itself does otherwise, asserted below as it is: wrapping a secret of another length than a multiple
/// of 8 bytes (it fills up with zeros first), and HMAC with keys shorter than the digest (it refuses).
@Suite("PKCS#11: Wycheproof, symmetric", .enabled(if: Vectors.has("wycheproof")))
final class SymmetricVectorTests {
  let session: Session

  init() throws {
    let module = try SoftHSMFixture.shared.module
    session = try Session(module, slot: try module.token(labelled: "data").slot)
  }

  private func key(_ bytes: [UInt8], _ type: KeyType, _ uses: [AttributeType]) throws -> ObjectHandle {
    let template: [Attribute] = [
      .objectClass(.secretKey), .keyType(type), .flag(.token, false), .flag(.private, true), .flag(.sensitive, false),
      .flag(.extractable, true),
    ]
    guard !bytes.isEmpty else {
      return try session.createObject(template + uses.map { .flag($0, true) } + [.bytes(.value, [])])
    }
    return try session.createObject(
      template + uses.map { .flag($0, true) }, secretValue: try unsafe SecretBytes(copying: bytes.span.bytes))
  }

  @Test("AES-GCM") func gcm() throws {
    var tally = Tally("PKCS#11 SoftHSM aes_gcm")
    for group in try VectorFile("aes_gcm").groups {
      for test in group.tests {
        guard group.number("ivSize") == 96 else { tally.leaveOut("IV other than 96 bits: never asked for"); continue }
        guard group.number("tagSize") == 128 else { tally.leaveOut("tag other than 128 bits"); continue }
        let key = try key(test.bytes("key"), .aes, [.encrypt, .decrypt])
        defer { try? session.destroyObject(key) }
        let (iv, aad, text) = (test.bytes("iv"), test.bytes("aad"), test.bytes("msg"))
        let sealed = test.bytes("ct") + test.bytes("tag")
        let opened = Result { try session.decryptPublicGCM(sealed, iv: iv, aad: aad, with: key) }
        guard test.isValid else {
          tally.expect(opened.refusal == .aeadDecryptFailed, test.label)
          continue
        }
        let made = try unsafe session.encryptGCM(text.span.bytes, iv: iv, aad: aad, with: key)
        var holds = made == sealed && (try? opened.get()) == text
        if !text.isEmpty {
          let secret = try session.decryptGCM(sealed, iv: iv, aad: aad, with: key)
          let bytes = unsafe secret.withUnsafeBytes { unsafe Array($0) }
          holds = holds && bytes == text
        }
        tally.expect(holds, test.label)
      }
    }
    tally.report()
  }

  @Test(
    "AES key wrap", arguments: [("aes_wrap", .aesKeyWrap), ("aes_kwp", .aesKeyWrapPad)] as [(String, MechanismType)])
  func wrap(_ file: String, _ mechanism: MechanismType) throws {
    var tally = Tally("PKCS#11 SoftHSM \(file), unwrap")
    var wraps = Tally("PKCS#11 SoftHSM \(file), wrap")
    let shape: [Attribute] = [
      .objectClass(.secretKey), .keyType(.genericSecret), .flag(.token, false), .flag(.sensitive, false),
      .flag(.extractable, true),
    ]
    for group in try VectorFile(file).groups {
      for test in group.tests {
        let (text, wrapped) = (test.bytes("msg"), test.bytes("ct"))
        let kek = try key(test.bytes("key"), .aes, [.wrap, .unwrap])
        defer { try? session.destroyObject(kek) }
        func unwrap(_ wrapped: [UInt8]) throws -> [UInt8] {
          let handle = try session.unwrapKey(wrapped, with: kek, mechanism: mechanism, shape)
          defer { try? session.destroyObject(handle) }
          return try session.attribute(.value, of: handle)
        }
        let back = Result { try unwrap(wrapped) }
        let holds = (try? back.get()) == text
        guard test.isValid else {
          tally.expect(back.refusal != nil || test.result == "acceptable" && holds, test.label)
          continue
        }
        tally.expect(holds, test.label)
        let handle = try key(text, .genericSecret, [])
        defer { try? session.destroyObject(handle) }
        let made = try session.wrapKey(handle, with: kek, mechanism: mechanism)
        if text.count.isMultiple(of: 8) {
          wraps.expect(made == wrapped, test.label)
        } else {
          let padded = text + Array(repeating: 0, count: 8 - text.count % 8)
          #expect(try made != wrapped && unwrap(made) == padded, "\(test.label), SoftHSM's zeros")
          wraps.leaveOut("no multiple of 8 bytes: SoftHSM fills up with zeros, what it wraps comes back longer")
        }
      }
    }
    wraps.report()
    tally.report()
  }

  @Test(
    "MACs",
    arguments: [
      ("aes_cmac", .aes, 0x108a, 16), ("hmac_sha256", .genericSecret, 0x251, 32),
      ("hmac_sha512", .genericSecret, 0x271, 64),
    ] as [(String, KeyType, UInt, Int)])
  func mac(_ file: String, _ type: KeyType, _ mechanism: UInt, _ length: Int) throws {
    var tally = Tally("PKCS#11 SoftHSM \(file)")
    for group in try VectorFile(file).groups {
      for test in group.tests {
        let (message, tag) = (test.bytes("msg"), test.bytes("tag"))
        let key = try key(test.bytes("key"), type, [.sign])
        defer { try? session.destroyObject(key) }
        let made = Result {
          try session.sign(message, with: key, mechanism: MechanismType(rawValue: mechanism), length: length)
        }
        if type == .genericSecret, test.bytes("key").count < length {
          #expect(made.refusal == PKCS11Error.Code(rawValue: 0x62))
          tally.leaveOut("key shorter than the digest: SoftHSM answers CKR_KEY_SIZE_RANGE")
          continue
        }
        // Truncated tags are compared in their length.
        let holds = (try? made.get())?.prefix(tag.count) == tag[...]
        tally.expect(holds == test.isValid, test.label + ": \(made)")
      }
    }
    tally.report()
  }
}
