import Crypto
import CryptoExtras
import Foundation
import TestSupport
import Testing

/// The primitives of swift-crypto that this module and the custody stand on. ECDSA on P-256 with SHA-256 and Ed25519 run
/// in JOSETests, through our own verification.
@Suite("Wycheproof: the library", .enabled(if: Vectors.has("wycheproof")))
struct WycheproofLibraryTests {
  @Test("AES-GCM") func gcm() throws {
    var tally = Tally("wycheproof aes_gcm")
    for test in try WycheproofCase.all(in: "aes_gcm_test") {
      let key = SymmetricKey(data: try test.bytes("key"))
      let (message, aad, iv) = try (test.bytes("msg"), test.bytes("aad"), test.bytes("iv"))
      let sealed = try test.bytes("ct") + test.bytes("tag")
      guard let nonce = try? AES.GCM.Nonce(data: iv) else {
        if test.isValid {
          tally.leaveOut("IV below 96 bits, which the library refuses")
        } else {
          tally.expect(true, "")
        }
        continue
      }
      let box = try AES.GCM.SealedBox(nonce: nonce, ciphertext: sealed.dropLast(16), tag: sealed.suffix(16))
      let opened = try? AES.GCM.open(box, using: key, authenticating: aad)
      if test.isValid {
        let again = try AES.GCM.seal(message, using: key, nonce: nonce, authenticating: aad)
        tally.expect(opened.map(Array.init) == message && again.ciphertext + again.tag == Data(sealed), test.label)
      } else {
        tally.expect(opened == nil, test.label)
      }
    }
    tally.report()
  }

  @Test("AES-CMAC") func cmac() throws {
    var tally = Tally("wycheproof aes_cmac")
    for test in try WycheproofCase.all(in: "aes_cmac_test") {
      var holds = false
      // Keys of other sizes are cases too: they must be refused.
      let key = try test.bytes("key")
      if !key.isEmpty, var mac = try? AES.CMAC(key: SymmetricKey(data: key)) {
        mac.update(data: try test.bytes("msg"))
        holds = try mac.finalize() == test.bytes("tag")
      }
      tally.expect(holds == test.isValid, test.label)
    }
    tally.report()
  }

  @Test("HMAC") func hmac() throws {
    try hmac("hmac_sha256", SHA256.self)
    try hmac("hmac_sha512", SHA512.self)
  }

  private func hmac<H: HashFunction>(_ file: String, _ hash: H.Type) throws {
    var tally = Tally("wycheproof \(file)")
    for test in try WycheproofCase.all(in: "\(file)_test") {
      let code = try HMAC<H>.authenticationCode(
        for: test.bytes("msg"), using: SymmetricKey(data: test.bytes("key")))
      let tag = try Array(code).prefix(test.number("tagSize") / 8)
      tally.expect(try (Array(tag) == test.bytes("tag")) == test.isValid, test.label)
    }
    tally.report()
  }

  @Test("HKDF") func hkdf() throws {
    try hkdf("hkdf_sha256", SHA256.self)
    try hkdf("hkdf_sha384", SHA384.self)
  }

  private func hkdf<H: HashFunction>(_ file: String, _ hash: H.Type) throws {
    var tally = Tally("wycheproof \(file)")
    for test in try WycheproofCase.all(in: "\(file)_test") {
      let size = try test.number("size")
      guard size <= 255 * H.Digest.byteCount else {
        // RFC 5869, section 2.3. The library stops the process; our sizes are constants.
        tally.leaveOut("more output than HKDF gives, a precondition of the library")
        continue
      }
      let key = try HKDF<H>.deriveKey(
        inputKeyMaterial: SymmetricKey(data: test.bytes("ikm")), salt: test.bytes("salt"), info: test.bytes("info"),
        outputByteCount: size)
      let output = unsafe key.withUnsafeBytes { unsafe Array($0) }
      tally.expect(try (output == test.bytes("okm")) == test.isValid, test.label)
    }
    tally.report()
  }

  // MARK: RSA

  @Test(
    "RSA signatures",
    arguments: [
      ("rsa_pss_2048_sha256_mgf1_32", true), ("rsa_pss_2048_sha384_mgf1_48", true),
      ("rsa_pss_4096_sha512_mgf1_64", true), ("rsa_signature_2048_sha256", false),
      ("rsa_signature_2048_sha384", false), ("rsa_signature_2048_sha512", false), ("rsa_signature_3072_sha256", false),
    ])
  func rsa(_ file: String, pss: Bool) throws {
    var tally = Tally("wycheproof \(file)")
    for test in try WycheproofCase.all(in: "\(file)_test") {
      let key = try _RSA.Signing.PublicKey(derRepresentation: test.groupBytes("publicKeyDer"))
      let signature = _RSA.Signing.RSASignature(rawRepresentation: try test.bytes("sig"))
      let padding: _RSA.Signing.Padding = pss ? .PSS : .insecurePKCS1v1_5
      let message = try test.bytes("msg")
      let holds =
        switch test.group["sha"] as? String {
        case "SHA-256": key.isValidSignature(signature, for: SHA256.hash(data: message), padding: padding)
        case "SHA-384": key.isValidSignature(signature, for: SHA384.hash(data: message), padding: padding)
        default: key.isValidSignature(signature, for: SHA512.hash(data: message), padding: padding)
        }
      tally.expect(test.isAcceptable || holds == test.isValid, test.label)
    }
    tally.report()
  }

  @Test("RSA-OAEP") func oaep() throws {
    var tally = Tally("wycheproof rsa_oaep_2048_sha256_mgf1sha256")
    for test in try WycheproofCase.all(in: "rsa_oaep_2048_sha256_mgf1sha256_test") {
      guard try test.bytes("label").isEmpty else {
        tally.leaveOut("with a label, which the library does not take")
        continue
      }
      let key = try _RSA.Encryption.PrivateKey(derRepresentation: test.groupBytes("privateKeyPkcs8"))
      let opened = try? Array(key.decrypt(test.bytes("ct"), padding: .PKCS1_OAEP_SHA256))
      tally.expect(try opened == (test.isValid ? test.bytes("msg") : nil), test.label)
    }
    tally.report()
  }

  // MARK: Elliptic curves and lattices

  @Test(
    "ECDSA",
    arguments: [
      ("ecdsa_secp256r1_sha512", "P-256", false), ("ecdsa_secp384r1_sha384", "P-384", false),
      ("ecdsa_secp521r1_sha512", "P-521", false), ("ecdsa_secp521r1_sha512_p1363", "P-521", true),
    ])
  func ecdsa(_ file: String, curve: String, raw: Bool) throws {
    var tally = Tally("wycheproof \(file)")
    for test in try WycheproofCase.all(in: "\(file)_test") {
      let point = try test.groupBytes("publicKey", "uncompressed")
      let (signature, message) = try (test.bytes("sig"), test.bytes("msg"))
      let holds =
        switch curve {
        case "P-256":
          try P256.Signing.PublicKey(x963Representation: point).isValid(signature, SHA512.hash(data: message))
        case "P-384":
          try P384.Signing.PublicKey(x963Representation: point).isValid(signature, SHA384.hash(data: message))
        default:
          try P521.Signing.PublicKey(x963Representation: point).isValid(signature, SHA512.hash(data: message), raw: raw)
        }
      tally.expect(holds == test.isValid, test.label)
    }
    tally.report()
  }

  @Test("X25519") func x25519() throws {
    var tally = Tally("wycheproof x25519")
    for test in try WycheproofCase.all(in: "x25519_test") {
      let key = try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: test.bytes("private"))
      let other = try Curve25519.KeyAgreement.PublicKey(rawRepresentation: test.bytes("public"))
      let shared = (try? key.sharedSecretFromKeyAgreement(with: other)).map {
        unsafe $0.withUnsafeBytes { unsafe Array($0) }
      }
      // Acceptable: points on the twist and non-canonical ones, which RFC 7748 computes as well, and an all-zero result,
      // which the library leaves to its caller to refuse (section 6.1). X-Wing hashes it, and needs no such check.
      tally.expect(try shared == test.bytes("shared"), test.label)
    }
    tally.report()
  }

  @Test("ML-KEM-768") func mlkem() throws {
    var tally = Tally("wycheproof mlkem_768")
    for test in try WycheproofCase.all(in: "mlkem_768_test") {
      var shared: [UInt8]?
      if let key = try? MLKEM768.PrivateKey(seedRepresentation: test.bytes("seed"), publicKey: nil) {
        if test.isValid, test.test["ek"] != nil {
          #expect(try Array(key.publicKey.rawRepresentation) == test.bytes("ek"), "\(test.label)")
        }
        shared = (try? key.decapsulate(test.bytes("c"))).map { unsafe $0.withUnsafeBytes { unsafe Array($0) } }
      }
      tally.expect(try shared == (test.isValid ? test.bytes("K") : nil), test.label)
    }
    tally.report()
  }
}

extension P256.Signing.PublicKey {
  fileprivate func isValid(_ der: [UInt8], _ digest: some Digest) -> Bool {
    guard let signature = try? P256.Signing.ECDSASignature(derRepresentation: der) else { return false }
    return isValidSignature(signature, for: digest)
  }
}

extension P384.Signing.PublicKey {
  fileprivate func isValid(_ der: [UInt8], _ digest: some Digest) -> Bool {
    guard let signature = try? P384.Signing.ECDSASignature(derRepresentation: der) else { return false }
    return isValidSignature(signature, for: digest)
  }
}

extension P521.Signing.PublicKey {
  fileprivate func isValid(_ bytes: [UInt8], _ digest: some Digest, raw: Bool) -> Bool {
    let signature =
      raw
      ? try? P521.Signing.ECDSASignature(rawRepresentation: bytes)
      : try? P521.Signing.ECDSASignature(derRepresentation: bytes)
    return signature.map { isValidSignature($0, for: digest) } ?? false
  }
}
