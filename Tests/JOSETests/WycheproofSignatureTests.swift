import Crypto
import Foundation
import TestSupport
import Testing
import Wire

@testable import JOSE

@Suite("Wycheproof: signatures", .enabled(if: Vectors.has("wycheproof")))
struct WycheproofSignatureTests {
  typealias Group = [String: Any]

  private func groups(_ file: String) throws -> [Group] {
    try #require(try Vectors.object("wycheproof/\(file).json")["testGroups"] as? [Group])
  }

  private func cases(_ group: Group) throws -> [Group] { try #require(group["tests"] as? [Group]) }

  private func bytes(_ value: Any?) throws -> [UInt8] {
    let text = try #require(value as? String)
    return try #require(Hex.decode(text))
  }

  @Test("ECDSA on P-256 with SHA-256, r ‖ s as JWS has it")
  func p1363() throws {
    var tally = Tally("wycheproof ecdsa_secp256r1_sha256_p1363")
    for group in try groups("ecdsa_secp256r1_sha256_p1363_test") {
      let key = try VerificationKey(curve: .p256, uncompressed: bytes((group["publicKey"] as? Group)?["uncompressed"]))
      for test in try cases(group) {
        let holds = try verifies(key, bytes(test["sig"]), bytes(test["msg"]), .es256)
        tally.expect(holds == (test["result"] as? String == "valid"), "\(test["tcId"] ?? "")")
      }
    }
    tally.report()
  }

  @Test("ECDSA on P-256 with SHA-256, DER")
  func der() throws {
    // No interface of JOSE takes DER. Each case checks two things: the library's verdict, and that ours is the same on
    // r ‖ s where the DER is a signature at all, and a refusal where the DER itself is given.
    var tally = Tally("wycheproof ecdsa_secp256r1_sha256 (DER)")
    for group in try groups("ecdsa_secp256r1_sha256_test") {
      let key = try VerificationKey(curve: .p256, uncompressed: bytes((group["publicKey"] as? Group)?["uncompressed"]))
      for test in try cases(group) {
        let signature = try bytes(test["sig"])
        let message = try bytes(test["msg"])
        var holds = false
        if let parsed = try? P256.Signing.ECDSASignature(derRepresentation: signature) {
          holds = verifies(key, Array(parsed.rawRepresentation), message, .es256)
        }
        tally.expect(holds == (test["result"] as? String == "valid"), "\(test["tcId"] ?? "") \(test["comment"] ?? "")")
        #expect(!verifies(key, signature, message, .es256), "DER passed for r ‖ s")
      }
    }
    tally.report()
  }

  @Test("Ed25519")
  func ed25519() throws {
    var tally = Tally("wycheproof ed25519")
    for group in try groups("ed25519_test") {
      let key = try VerificationKey(ed25519: bytes((group["publicKey"] as? Group)?["pk"]))
      for test in try cases(group) {
        let holds = try verifies(key, bytes(test["sig"]), bytes(test["msg"]), .edDSA)
        tally.expect(holds == (test["result"] as? String == "valid"), "\(test["tcId"] ?? "") \(test["comment"] ?? "")")
      }
    }
    tally.report()
  }

  private func verifies(_ key: VerificationKey, _ signature: [UInt8], _ message: [UInt8], _ algorithm: JWSAlgorithm)
    -> Bool
  {
    (try? key.verify(signature: signature, message: message, algorithm: algorithm)) != nil
  }
}
