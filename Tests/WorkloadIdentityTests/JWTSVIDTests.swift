import JOSE
import TestSupport
import Testing
import Wire

@testable import WorkloadIdentity

@Suite("JWT-SVIDs")
struct JWTSVIDTests {
  let now = Timestamp(seconds: 1_800_000_000)
  let key = SigningKey(.p256, random: SeededRandom(1))

  private func bundle(_ name: String = "example.org") throws -> JWTBundle {
    try JWTBundle(trustDomain: TrustDomain(name), keys: [key.publicJWK])
  }

  private func token(_ claims: JSONObject, _ key: SigningKey? = nil) async throws -> String {
    try await JWSSigner(key ?? self.key).jwt(claims, type: "JWT")
  }

  private func claims(_ audience: [String] = ["a", "b"]) throws -> JSONObject {
    JWTSVID.claims(
      id: try SPIFFEID("spiffe://example.org/web"), audience: audience, issued: now, expires: now.adding(seconds: 300),
      issuer: "https://example.org", jti: "j")
  }

  @Test("what is made is verified")
  func roundTrip() async throws {
    let claims = try claims()
    let bundle = try bundle()
    let unverified = try UnverifiedJWTSVID(try await token(claims))
    #expect(unverified.unverifiedID.path == "/web")
    let svid = try unverified.verified(keys: { $0.name == "example.org" ? bundle : nil }, audience: "b", now: now)
    #expect(svid.id.description == "spiffe://example.org/web" && svid.audience == ["a", "b"] && svid.jti == "j")
    #expect(svid.issued == now && svid.expires == now.adding(seconds: 300) && svid.claims == claims)
    #expect(try self.claims(["a"])["aud"] == ["a"])
  }

  @Test("clocks may differ by five seconds, and no more")
  func time() async throws {
    let bundle = try bundle()
    let svid = try UnverifiedJWTSVID(try await token(try claims()))
    for (offset, holds) in [(-6, false), (-5, true), (0, true), (304, true), (305, false)] as [(Int64, Bool)] {
      let result = Result { try svid.verified(keys: { _ in bundle }, audience: "a", now: now.adding(seconds: offset)) }
      #expect(((try? result.get()) != nil) == holds, "\(offset)")
    }
  }

  @Test("only the subject's bundle is asked for, and one of another trust domain is no bundle")
  func trust() async throws {
    let svid = try UnverifiedJWTSVID(try await token(try claims()))
    var asked: [String] = []
    #expect(throws: SPIFFEError(.untrusted, "")) {
      try svid.verified(
        keys: {
          asked.append($0.name)
          return nil
        }, audience: "a", now: now)
    }
    #expect(asked == ["example.org"])
    let other = try bundle("example.net")
    #expect(throws: SPIFFEError(.untrusted, "")) { try svid.verified(keys: { _ in other }, audience: "a", now: now) }
    let empty = try JWTBundle(trustDomain: TrustDomain("example.org"), keys: [])
    #expect(throws: SPIFFEError(.untrusted, "")) { try svid.verified(keys: { _ in empty }, audience: "a", now: now) }
    let bundle = try bundle()
    #expect(throws: SPIFFEError(.jwtSVID, "")) { try svid.verified(keys: { _ in bundle }, audience: "c", now: now) }
  }

  @Test("every bit of the signature counts, and some of every part")
  func flips() async throws {
    let bundle = try bundle()
    let good = Array(try await token(try claims()).utf8)
    for index in stride(from: 0, to: good.count, by: 3) {
      var bad = good
      bad[index] = bad[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
      guard bad != good else { continue }
      #expect(throws: SPIFFEError.self, "byte \(index)") {
        try UnverifiedJWTSVID(String(decoding: bad, as: UTF8.self))
          .verified(keys: { _ in bundle }, audience: "a", now: now)
      }
    }
  }

  @Test("a bundle's keys have each a kid, and fit an algorithm")
  func keys() throws {
    let domain = try TrustDomain("example.org")
    let ed25519 = SigningKey(.ed25519, random: SeededRandom(2)).publicJWK
    #expect(throws: SPIFFEError(.bundle, "")) { try JWTBundle(trustDomain: domain, keys: [ed25519]) }
    #expect(throws: SPIFFEError(.bundle, "")) {
      try JWTBundle(trustDomain: domain, keys: [key.publicJWK, key.publicJWK])
    }
    let nameless = try JWK(key.publicJWK.bareJSON)
    #expect(throws: SPIFFEError(.bundle, "")) { try JWTBundle(trustDomain: domain, keys: [nameless]) }
    func many(_ count: Int) -> [JWK] { (0..<count).map { JWK(key.verificationKey, keyID: "k\($0)") } }
    #expect(try JWTBundle(trustDomain: domain, keys: many(256)).keys.count == 256)
    #expect(throws: SPIFFEError(.bundle, "")) { try JWTBundle(trustDomain: domain, keys: many(257)) }
    let bundle = try JWTBundle(trustDomain: domain, keys: [JWK(key.verificationKey, keyID: "\u{E9}")])
    #expect(bundle["\u{E9}"] != nil && bundle["e\u{301}"] == nil)
    #expect(bundle.jwks(.svid).object?["keys"]?.array?[0].object?["use"] == "jwt-svid")
    let other = try #require(bundle.jwks(.signature).object?["keys"]?.array?[0].object)
    #expect(other["use"] == "sig" && other["alg"] == "ES256" && other["kid"] == "\u{E9}" && other["d"] == nil)
    #expect(try JWKSet(bundle.jwks(.signature)).keys.count == 1)
  }
}
