import Crypto
import Foundation
@_spi(Testing) import PKCS11
import TestSupport
import Testing

/// Wycheproof's signatures, verified by SoftHSM. RSA-OAEP is left out: SoftHSM takes SHA-1 alone, and the file's is
/// SHA-256.
@Suite("PKCS#11: Wycheproof, signatures", .enabled(if: Vectors.has("wycheproof")))
final class SignatureVectorTests {
  let session: Session

  init() throws {
    let module = try SoftHSMFixture.shared.module
    session = try Session(module, slot: try module.token(labelled: "identity").slot)
  }

  private func key(_ type: UInt, _ parts: [(UInt, [UInt8])]) throws -> ObjectHandle {
    try session.createObject(
      [
        .objectClass(.publicKey), .number(.keyType, type), .flag(.token, false), .flag(.private, false),
        .flag(.verify, true),
      ] + parts.map { .bytes(AttributeType(rawValue: $0.0), $0.1) })
  }

  private func rsaKey(_ group: VectorFile.Group) throws -> ObjectHandle {
    func number(_ name: String) -> [UInt8] { Array(group.key(name).drop { $0 == 0 }) }
    return try key(0, [(0x120, number("modulus")), (0x122, number("publicExponent"))])
  }

  /// Refused by the mechanism, or for its shape.
  private func verdict(_ verify: () throws -> Bool) throws -> Bool {
    do { return try verify() } catch let error as PKCS11Error where error.kind == .data { return false }
  }

  @Test(
    "RSA-PSS",
    arguments: [
      ("rsa_pss_2048_sha256_mgf1_32", .sha256), ("rsa_pss_2048_sha384_mgf1_48", .sha384),
      ("rsa_pss_4096_sha512_mgf1_64", .sha512),
    ] as [(String, Session.RSAHash)])
  func pss(_ file: String, _ hash: Session.RSAHash) throws {
    var tally = Tally("PKCS#11 SoftHSM \(file)")
    for group in try VectorFile(file).groups {
      let key = try rsaKey(group)
      let salt = try #require(group.number("sLen"))
      for test in group.tests {
        let holds = try verdict {
          try session.verifyPSS(test.bytes("sig"), of: test.bytes("msg"), with: key, hash: hash, salt: salt)
        }
        tally.expect(holds == test.isValid || test.result == "acceptable", test.label)
      }
      try session.destroyObject(key)
    }
    tally.report()
  }

  @Test(
    "RSA PKCS #1 v1.5",
    arguments: [
      ("rsa_signature_2048_sha256", 0x40), ("rsa_signature_2048_sha384", 0x41), ("rsa_signature_2048_sha512", 0x42),
      ("rsa_signature_3072_sha256", 0x40),
    ] as [(String, UInt)])
  func pkcs1(_ file: String, _ mechanism: UInt) throws {
    var tally = Tally("PKCS#11 SoftHSM \(file)")
    for group in try VectorFile(file).groups {
      let key = try rsaKey(group)
      for test in group.tests {
        let holds = try verdict {
          try session.verify(
            test.bytes("sig"), of: test.bytes("msg"), with: key, mechanism: MechanismType(rawValue: mechanism))
        }
        tally.expect(holds == test.isValid || test.result == "acceptable", test.label)
      }
      try session.destroyObject(key)
    }
    tally.report()
  }

  enum Curve: Sendable {
    case p256, p384, p521

    var parameters: [UInt8] {
      switch self {
      case .p256: KeyPairKind.p256.parameters
      case .p384: KeyPairKind.p384.parameters
      case .p521: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]
      }
    }

    /// r ‖ s out of strict DER; nil for anything else.
    func plain(_ der: [UInt8]) -> [UInt8]? {
      switch self {
      case .p256: (try? P256.Signing.ECDSASignature(derRepresentation: der)).map { Array($0.rawRepresentation) }
      case .p384: (try? P384.Signing.ECDSASignature(derRepresentation: der)).map { Array($0.rawRepresentation) }
      case .p521: (try? P521.Signing.ECDSASignature(derRepresentation: der)).map { Array($0.rawRepresentation) }
      }
    }

    /// The digest, cut to the order's length (FIPS 186-5, section 6.4.1), as SoftHSM must not be left to do it.
    func digest(_ message: [UInt8], _ hash: String) -> [UInt8] {
      let whole =
        switch hash {
        case "SHA-256": Array(SHA256.hash(data: message))
        case "SHA-384": Array(SHA384.hash(data: message))
        default: Array(SHA512.hash(data: message))
        }
      return self == .p256 ? Array(whole.prefix(32)) : whole
    }
  }

  @Test(
    "ECDSA",
    arguments: [
      ("ecdsa_secp256r1_sha256_p1363", .p256), ("ecdsa_secp256r1_sha256", .p256), ("ecdsa_secp256r1_sha512", .p256),
      ("ecdsa_secp384r1_sha384", .p384), ("ecdsa_secp521r1_sha512_p1363", .p521), ("ecdsa_secp521r1_sha512", .p521),
    ] as [(String, Curve)])
  func ecdsa(_ file: String, _ curve: Curve) throws {
    var tally = Tally("PKCS#11 SoftHSM \(file)")
    for group in try VectorFile(file).groups {
      let key = try key(3, [(0x180, curve.parameters), (0x181, octetString(group.key("uncompressed")))])
      for test in group.tests {
        let signature = file.hasSuffix("p1363") ? test.bytes("sig") : curve.plain(test.bytes("sig"))
        guard let signature else {
          tally.expect(!test.isValid, test.label + ", strict DER")
          continue
        }
        let digest = curve.digest(test.bytes("msg"), group.text("sha"))
        let holds = try verdict { try session.verify(signature, of: digest, with: key, mechanism: .ecdsa) }
        tally.expect(holds == test.isValid, test.label)
      }
      try session.destroyObject(key)
    }
    tally.report()
  }

  @Test("Ed25519") func ed25519() throws {
    var tally = Tally("PKCS#11 SoftHSM ed25519")
    for group in try VectorFile("ed25519").groups {
      let key = try key(0x40, [(0x180, KeyPairKind.ed25519.parameters), (0x181, octetString(group.key("pk")))])
      for test in group.tests {
        let holds = try verdict {
          try session.verify(test.bytes("sig"), of: test.bytes("msg"), with: key, mechanism: .eddsa)
        }
        tally.expect(holds == test.isValid, test.label)
      }
      try session.destroyObject(key)
    }
    tally.report()
  }

  private func octetString(_ bytes: [UInt8]) -> [UInt8] {
    [0x04] + (bytes.count < 128 ? [] : [0x81]) + [UInt8(bytes.count)] + bytes
  }
}
