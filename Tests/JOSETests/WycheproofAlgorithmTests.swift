import Foundation
import TestSupport
import Testing
import Wire

@testable import JOSE

/// The algorithms of JWT-SVIDs beyond P-256, on raw signatures.
@Suite("Wycheproof: RS, PS and ES512", .enabled(if: Vectors.has("wycheproof")))
struct WycheproofAlgorithmTests {
  typealias Group = [String: Any]

  private func bytes(_ value: Any?) throws -> [UInt8] {
    let text = try #require(value as? String)
    return try #require(Hex.decode(text))
  }

  private func key(_ group: Group) throws -> VerificationKey {
    let key = try #require(group["publicKey"] as? Group)
    if let point = key["uncompressed"] { return try VerificationKey(curve: .p521, uncompressed: bytes(point)) }
    return try VerificationKey(
      rsaModulus: Array(bytes(key["modulus"]).drop { $0 == 0 }),
      exponent: Array(bytes(key["publicExponent"]).drop { $0 == 0 }))
  }

  @Test(
    "signatures",
    arguments: [
      ("rsa_signature_2048_sha256", .rs256), ("rsa_signature_3072_sha256", .rs256),
      ("rsa_signature_2048_sha384", .rs384), ("rsa_signature_2048_sha512", .rs512),
      ("rsa_pss_2048_sha256_mgf1_32", .ps256), ("rsa_pss_2048_sha384_mgf1_48", .ps384),
      ("rsa_pss_4096_sha512_mgf1_64", .ps512), ("ecdsa_secp521r1_sha512_p1363", .es512),
    ] as [(String, JWSAlgorithm)])
  func signatures(_ file: String, _ algorithm: JWSAlgorithm) throws {
    var tally = Tally("wycheproof \(file)")
    for group in try #require(try Vectors.object("wycheproof/\(file)_test.json")["testGroups"] as? [Group]) {
      let tests = try #require(group["tests"] as? [Group])
      if (group["publicKey"] as? Group)?["publicExponent"] as? String == "03" {
        #expect(throws: JOSEError(.unsupportedKey, "")) { try key(group) }
        for _ in tests { tally.leaveOut("the exponent is 3: such keys are refused (FIPS 186-5 section 5.4)") }
        continue
      }
      let known = try key(group)
      for test in tests {
        let (signature, message) = (try bytes(test["sig"]), try bytes(test["msg"]))
        let holds = (try? known.verify(signature: signature, message: message, algorithm: algorithm)) != nil
        // What Wycheproof calls acceptable, encodings that older software made, is refused.
        tally.expect(
          holds == (test["result"] as? String == "valid"), "\(test["tcId"] ?? "") \(test["comment"] ?? "")")
      }
    }
    tally.report()
  }
}
