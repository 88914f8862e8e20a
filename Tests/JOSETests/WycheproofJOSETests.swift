import Crypto
import Foundation
import TestSupport
import Testing
import Wire

@testable import JOSE

/// A symmetric key for the cases with HMAC. It lives here because the product offers HMAC to nobody; these cases
/// exercise the product's parser.
private struct HMACKey {
  let bytes: [UInt8]
  let algorithm: String
  let keyID: String?

  init?(_ jwk: JSONObject) {
    guard jwk["kty"] == "oct", let bytes = jwk["k"]?.string.flatMap({ try? Base64.URL.decode($0) }),
      (jwk["use"] ?? "sig") == "sig"
    else { return nil }
    let algorithm = jwk["alg"]?.string ?? "HS256"
    // RFC 7518 section 3.2: at least as long as the hash.
    guard let least = ["HS256": 32, "HS384": 48, "HS512": 64][algorithm], bytes.count >= least else { return nil }
    self.bytes = bytes
    self.algorithm = algorithm
    keyID = jwk["kid"]?.string
  }

  func verifies(_ jws: UnverifiedJWS) -> Bool {
    guard jws.header["alg"]?.string == algorithm, jws.keyID == nil || keyID == nil || jws.keyID == keyID else {
      return false
    }
    let key = SymmetricKey(data: bytes)
    switch algorithm {
    case "HS256":
      return HMAC<SHA256>.isValidAuthenticationCode(jws.signature, authenticating: jws.signingInput, using: key)
    case "HS384":
      return HMAC<SHA384>.isValidAuthenticationCode(jws.signature, authenticating: jws.signingInput, using: key)
    default:
      return HMAC<SHA512>.isValidAuthenticationCode(jws.signature, authenticating: jws.signingInput, using: key)
    }
  }
}

@Suite("Wycheproof: JOSE", .enabled(if: Vectors.has("wycheproof")))
struct WycheproofJOSETests {
  typealias Group = [String: Any]

  /// Cases whose expectation is not met, each with its reason.
  static let leftOut: [Int: String] = [
    367: "is to be refused, but is to the byte the valid case 357: its padding was lost in publication",
    370: "is to be refused, but is to the byte the valid case 357: its padding was lost in publication",
    346: "the key is for PS256 alone and the token is PS384: RFC 7517 section 4.4 is enforced",
    350: "the key is for PS256 alone and the token is PS384: RFC 7517 section 4.4 is enforced",
    347: "the key's 'alg' is ES521, which is not registered",
    351: "the key's 'alg' is ES521, which is not registered",
    372: "'?' inside base64url: RFC 7515 section 2 allows no other characters",
    373: "'?' inside base64url: RFC 7515 section 2 allows no other characters",
  ]

  private func object(_ value: Any?) throws -> JSONObject {
    let data = try JSONSerialization.data(withJSONObject: try #require(value))
    return try #require(try JSONValue(parsing: Array(data)).object)
  }

  @Test("json_web_signature")
  func signatures() throws {
    var tally = Tally("wycheproof json_web_signature")
    let groups = try #require(
      try Vectors.object("wycheproof/json_web_signature_test.json")["testGroups"] as? [Group])
    for group in groups {
      let name = group["comment"] as? String ?? ""
      let verify: (UnverifiedJWS) -> Bool
      if let publicKey = group["public"], let key = try? JWK(.object(object(publicKey))) {
        verify = { (try? $0.verified(with: key, allowed: .issuers)) != nil }
      } else if group["public"] != nil {
        verify = { _ in false }
      } else {
        let key = HMACKey(try object(group["private"]))
        verify = { key?.verifies($0) ?? false }
      }
      for test in try #require(group["tests"] as? [Group]) {
        let id = try #require(test["tcId"] as? Int)
        let text = try #require(test["jws"] as? String)
        let holds = (try? UnverifiedJWS(text)).map(verify) ?? false
        if let reason = Self.leftOut[id] {
          #expect(holds != (test["result"] as? String == "valid"), "\(id) meets its expectation now: run it")
          tally.leaveOut("#\(id) \(reason)")
          continue
        }
        tally.expect(holds == (test["result"] as? String == "valid"), "\(id) \(name) \(test["comment"] ?? "")")
      }
    }
    tally.report()
  }

  @Test("json_web_key")
  func keys() throws {
    var tally = Tally("wycheproof json_web_key")
    let groups = try #require(try Vectors.object("wycheproof/json_web_key_test.json")["testGroups"] as? [Group])
    for group in groups {
      for test in try #require(group["tests"] as? [Group]) {
        let jws = try UnverifiedJWS(try #require(test["jws"] as? String))
        let holds: Bool
        if let publicSet = group["public"] {
          let set = try? JWKSet(.object(object(publicSet)))
          holds = set?[jws.keyID].flatMap { try? jws.verified(with: $0, allowed: .issuers) } != nil
        } else {
          let set = try object(group["private"])
          // The product has no sets of symmetric keys, and says so of each of these.
          #expect(throws: JOSEError.self) { try JWKSet(.object(set)) }
          let members = try #require(set["keys"]?.array).compactMap(\.object)
          let keys = members.compactMap(HMACKey.init)
          let names = members.compactMap { $0["kid"]?.string }
          let isPlain = keys.count == members.count && Set(names).count == names.count
          holds = isPlain && keys.contains { $0.keyID == jws.keyID && $0.verifies(jws) }
        }
        tally.expect(
          holds == (test["result"] as? String == "valid"),
          "\(test["tcId"] ?? "") \(group["comment"] ?? "") \(test["comment"] ?? "")")
      }
    }
    tally.report()
  }
}
