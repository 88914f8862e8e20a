import Testing
import Wire

@testable import JOSE

@Suite("JWT (RFC 7519)")
struct JWTTests {
  let key = SigningKey(.ed25519, random: SeededRandom(seed: 3))
  static let now = Timestamp(seconds: 1_800_000_000)

  static let good: JSONObject = [
    "iss": "https://as.example", "sub": "agent-1", "aud": "https://api.example", "exp": 1_800_000_300,
    "nbf": 1_800_000_000, "iat": 1_800_000_000, "jti": "j1", "extra": [1],
  ]
  static let expected = JWTExpectations(
    type: "at+jwt", issuer: "https://as.example", audience: "https://api.example", subject: "agent-1",
    maximumLifetime: 300, required: ["jti"])

  private func verify(
    _ claims: JSONObject, _ expected: JWTExpectations = expected, type: JSONValue? = "at+jwt", now: Timestamp = now
  ) -> JOSEError.Code? {
    do {
      var header = JSONObject()
      header["typ"] = type
      let text = try key.jws(JSONValue.object(claims).canonical(), header: header)
      let jwt = try UnverifiedJWT(text).verified(
        with: key.publicJWK, allowed: .proofOfPossession, expectations: expected, now: now)
      #expect(jwt.claims.all == claims)
      return nil
    } catch { return error.code }
  }

  private func changed(_ name: String, _ value: JSONValue?) -> JSONObject {
    var claims = Self.good
    claims[name] = value
    return claims
  }

  @Test("a good token, and audiences as text and array")
  func good() {
    #expect(verify(Self.good) == nil)
    #expect(verify(changed("aud", ["https://other.example", "https://api.example"])) == nil)
    #expect(verify(Self.good, type: "application/at+JWT") == nil)
  }

  @Test("wrong or missing claims")
  func claims() {
    for (name, value) in [
      ("iss", "https://as.example/"), ("iss", nil), ("sub", "agent-2"), ("sub", nil), ("aud", "https://api.example/"),
      ("aud", nil), ("aud", ["x"]), ("aud", []), ("aud", [1]), ("aud", 1), ("jti", nil), ("jti", ""), ("jti", 1),
      ("exp", nil), ("exp", "1800000300"), ("exp", .double(1_800_000_300.5)), ("exp", -1), ("exp", 253_402_300_800),
      ("exp", 1_800_000_301), ("iat", .double(1.5)), ("nbf", "x"),
      ("iss", .string(String(repeating: "x", count: 1025))),
    ] as [(String, JSONValue?)] {
      #expect(verify(changed(name, value)) == .claimInvalid, "\(name) \(String(describing: value))")
    }
    #expect(verify(Self.good, type: "jwt") == .claimInvalid)
    #expect(verify(Self.good, type: nil) == .claimInvalid)
    var sole = Self.expected
    sole.soleAudience = true
    #expect(verify(changed("aud", ["https://api.example"]), sole) == nil)
    #expect(verify(changed("aud", ["https://api.example", "x"]), sole) == .claimInvalid)
    #expect(verify(changed("aud", .array(Array(repeating: "https://api.example", count: 16)))) == nil)
    #expect(verify(changed("aud", .array(Array(repeating: "https://api.example", count: 17)))) == .claimInvalid)
  }

  @Test("times: both sides of each limit, with 5 s of leeway")
  func times() {
    let end = Timestamp(seconds: 1_800_000_300)
    #expect(verify(Self.good, now: Timestamp(milliseconds: end.adding(seconds: 5).milliseconds - 1)) == nil)
    #expect(verify(Self.good, now: end.adding(seconds: 5)) == .expired)
    #expect(verify(Self.good, now: Self.now.adding(seconds: -5)) == nil)
    #expect(verify(Self.good, now: Self.now.adding(seconds: -6)) == .notYetValid)
    #expect(verify(changed("nbf", 1_800_000_005)) == nil)
    #expect(verify(changed("nbf", 1_800_000_006)) == .notYetValid)
    #expect(verify(changed("exp", 1_800_000_000), now: Self.now) == .claimInvalid)
    #expect(verify(changed("iat", nil)) == nil)
    #expect(verify(changed("iat", nil), now: Self.now.adding(seconds: -1)) == .claimInvalid)
  }

  @Test(
    "claims that are not a strict JSON object", arguments: ["[]", "1", "", "{\"iss\":\"a\",\"iss\":\"b\"}", "{} x"])
  func strict(payload: String) throws {
    let text = try key.jws(Array(payload.utf8), header: [:])
    #expect(throws: JOSEError(.malformed, "")) { try UnverifiedJWT(text) }
  }
}
