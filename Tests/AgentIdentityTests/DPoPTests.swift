import Foundation
import JOSE
import TestSupport
import Testing
import Wire

@testable import AgentIdentity

@Suite("DPoP (RFC 9449)")
struct DPoPTests {
  static let now = Timestamp(seconds: 1_800_000_000)
  static let uri = "https://api.example/oauth/token"
  let key = SigningKey(.p256, random: SeededRandom(seed: 1))
  let ed25519 = SigningKey(.ed25519, random: SeededRandom(seed: 2))

  @Test("the RFC's proofs", .enabled(if: Vectors.has("dpop")))
  func vectors() throws {
    var tally = Tally("dpop")
    for test in try #require(try Vectors.object("dpop/rfc9449-examples.json")["cases"] as? [[String: Any]]) {
      let text = try #require(test["proof"] as? String)
      let url = try #require(test["url"] as? String)
      let issued = try #require(test["iat"] as? Int)
      let expected = DPoPExpectations(
        method: try #require(test["method"] as? String), uri: try #require(HTTPURI(url)),
        accessToken: test["access_token"] as? String)
      let verified = try? DPoPProof(text).verified(expected, now: Timestamp(seconds: Int64(issued)))
      tally.expect((verified != nil) == (test["valid"] as? Bool), "\(test["id"] ?? "")")
      tally.expect(verified?.thumbprint == test["jkt"] as? String, "\(test["id"] ?? ""): thumbprint")
    }
    tally.report()
  }

  private func verify(
    _ text: String, method: String = "POST", uri: String = uri, token: String? = nil, nonces: Set<String>? = nil,
    now: Timestamp = now
  ) throws -> ProofError.Code? {
    let expected = DPoPExpectations(
      method: method, uri: try #require(HTTPURI(uri)), accessToken: token, nonces: nonces)
    do throws(ProofError) {
      _ = try DPoPProof(text).verified(expected, now: now)
      return nil
    } catch { return error.code }
  }

  private func proof(_ key: SigningKey? = nil, token: String? = nil, nonce: String? = nil, id: String = "j") throws
    -> String
  {
    try DPoPProof.make(
      key: key ?? self.key, method: "POST", uri: Self.uri, id: id, issuedAt: Self.now, accessToken: token, nonce: nonce)
  }

  /// A proof with header and claims changed, signed all the same.
  private func crafted(
    _ change: (inout JSONObject, inout JSONObject) -> Void, signedBy other: SigningKey? = nil
  ) throws -> String {
    var header: JSONObject = ["typ": "dpop+jwt", "jwk": key.publicJWK.bareJSON]
    var claims: JSONObject = ["htm": "POST", "htu": .string(Self.uri), "iat": 1_800_000_000, "jti": "j"]
    change(&header, &claims)
    return try (other ?? key).jws(JSONValue.object(claims).canonical(), header: header)
  }

  @Test("a good proof says whose it is, and is good once")
  func good() throws {
    let cache = ReplayCache()
    for key in [key, ed25519] {
      let expected = DPoPExpectations(method: "POST", uri: try #require(HTTPURI(Self.uri)), accessToken: "t")
      let verified = try DPoPProof(fields: [proof(key, token: "t")]).verified(expected, now: Self.now)
      #expect(verified.thumbprint == key.verificationKey.thumbprint)
      #expect(verified.id == "j" && verified.issuedAt == Self.now)
      #expect(try cache.insert(verified.replayKey, expires: verified.notAfter, now: Self.now))
      #expect(try !cache.insert(verified.replayKey, expires: verified.notAfter, now: Self.now))
    }
    #expect(cache.count == 2)
  }

  @Test("exactly one header")
  func oneHeader() throws {
    let text = try proof()
    for fields in [[], [text, text], [text + ", " + text]] {
      #expect(throws: ProofError(.invalidDPoPProof, "")) { try DPoPProof(fields: fields) }
    }
  }

  @Test("headers that are refused")
  func headers() throws {
    let changes: [(String, (inout JSONObject) -> Void)] = [
      ("no typ", { $0["typ"] = nil }), ("typ jwt", { $0["typ"] = "JWT" }),
      ("typ in capitals", { $0["typ"] = "DPoP+JWT" }),
      ("typ with application/", { $0["typ"] = "application/dpop+jwt" }), ("no jwk", { $0["jwk"] = nil }),
      ("jwk a text", { $0["jwk"] = "x" }), ("private jwk", { $0["jwk"] = self.key.privateJWK }),
      ("another's jwk", { $0["jwk"] = self.ed25519.publicJWK.bareJSON }), ("crit", { $0["crit"] = ["x"] }),
      ("symmetric jwk", { $0["jwk"] = ["kty": "oct", "k": "AAAA"] }), ("b64", { $0["b64"] = false }),
    ]
    for (name, change) in changes {
      #expect(try verify(crafted { header, _ in change(&header) }) == .invalidDPoPProof, "\(name)")
    }
    #expect(
      try verify(
        crafted { header, _ in
          header["kid"] = "x"; header["jku"] = "https://evil.example"
        }) == nil)
    #expect(
      try verify(crafted({ _, _ in }, signedBy: SigningKey(.p256, random: SeededRandom(seed: 8)))) == .invalidDPoPProof)
    let none = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6Im5vbmUifQ.e30."
    #expect(try verify(none) == .invalidDPoPProof)
  }

  @Test("claims that are refused")
  func claims() throws {
    for (name, value) in [
      ("jti", nil), ("jti", ""), ("jti", 1), ("jti", .string(String(repeating: "j", count: 129))), ("htm", nil),
      ("htm", "GET"), ("htm", "post"), ("htu", nil), ("htu", 1), ("htu", "/oauth/token"),
      ("htu", "https://api.example/oauth/token/"), ("htu", "http://api.example/oauth/token"),
      ("htu", "https://api.example:8443/oauth/token"), ("htu", "https://user@api.example/oauth/token"),
      ("htu", "https://api.example.evil/oauth/token"), ("iat", nil), ("iat", "1800000000"),
      ("iat", .double(1_800_000_000.5)), ("iat", -1), ("nonce", 1), ("nonce", .null),
    ] as [(String, JSONValue?)] {
      #expect(
        try verify(crafted { _, claims in claims[name] = value }) == .invalidDPoPProof,
        "\(name) \(String(describing: value))")
    }
    #expect(try verify(crafted { _, claims in claims["jti"] = .string(String(repeating: "j", count: 128)) }) == nil)
    #expect(try verify(crafted { _, claims in claims["other"] = [1] }) == nil)
    for htu in [
      "HTTPS://API.example:443/oauth/token", "https://api.example/oauth/token?q=1#f",
      "https://api.example/oauth/./token",
      "https://api.example/x/../oauth/%74oken", "https://api.example:/oauth/token",
    ] { #expect(try verify(crafted { _, claims in claims["htu"] = .string(htu) }) == nil, "\(htu)") }
  }

  @Test("age: both sides of each limit")
  func age() throws {
    let text = try proof()
    for (offset, code) in [(60, nil), (61, .invalidDPoPProof), (-5, nil), (-6, .invalidDPoPProof)]
      as [(Int64, ProofError.Code?)]
    {
      #expect(try verify(text, now: Self.now.adding(seconds: offset)) == code, "\(offset)")
    }
  }

  @Test("ath binds the token, to the byte")
  func tokens() throws {
    #expect(try verify(proof(token: "abc"), token: "abc") == nil)
    for (made, sent) in [("abc", "abd"), ("abc", "abc "), ("abc", ""), (nil, "abc")] as [(String?, String)] {
      #expect(try verify(proof(token: made), token: sent) == .invalidDPoPProof)
    }
    #expect(try verify(crafted { _, claims in claims["ath"] = 1 }, token: "abc") == .invalidDPoPProof)
  }

  @Test("nonces: where one is demanded")
  func nonces() throws {
    #expect(try verify(proof(nonce: "n1"), nonces: ["n1", "n2"]) == nil)
    #expect(try verify(proof(nonce: "n3"), nonces: ["n1", "n2"]) == .useDPoPNonce)
    #expect(try verify(proof(), nonces: ["n1"]) == .useDPoPNonce)
    #expect(try verify(proof(), nonces: [""]) == .useDPoPNonce)
    #expect(try verify(proof(nonce: "n3")) == nil)
  }

  @Test("every changed character of a proof is refused")
  func mutation() throws {
    let bytes = Array(try proof().utf8)
    for index in bytes.indices {
      var changed = bytes
      changed[index] = bytes[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
      #expect(try verify(String(decoding: changed, as: UTF8.self)) == .invalidDPoPProof, "\(index)")
    }
  }

  @Test(
    "URIs in normal form (RFC 3986 section 6.2.2)",
    arguments: [
      ("https://a", "https://a/"), ("HTTP://A:80", "http://a/"), ("http://a:443/", "http://a:443/"),
      ("https://a/%7Eb/%2f%c3", "https://a/~b/%2F%C3"), ("https://a/b/../../c", "https://a/c"),
      ("https://a/b/.", "https://a/b/"), ("https://a/b/..", "https://a/"), ("https://a//b", "https://a//b"),
      ("https://a?x=/../y", "https://a/"), ("https://a/b#x?y", "https://a/b"),
      ("https://[::1]:443/a", "https://[::1]/a"),
      ("https://[::1]:8443/a", "https://[::1]:8443/a"), ("https://a/%2e%2E/b", "https://a/b"),
      ("https://a/..", "https://a/"),
      ("https://a:65535/", "https://a:65535/"),
    ])
  func uris(text: String, normal: String) throws {
    #expect(HTTPURI(text)?.description == normal)
    #expect(HTTPURI(normal)?.description == normal)
  }

  @Test(
    "texts that are no URI of ours",
    arguments: [
      "", "a", "/a", "//a/b", "ftp://a/", "https:/a", "https:a", "https://", "https:///a", "https://u@a/",
      "https://u:p@a/",
      "https://a:x/", "https://a:1:2/", "https://a/%", "https://a/%4", "https://a/%zz", "https://a/ b",
      "https://a/\u{E9}",
      "https://a\\b/", "https://a:123456/", "javascript://a/", " https://a/", "https://a/\n",
    ])
  func noURIs(text: String) { #expect(HTTPURI(text) == nil) }

  @Test("length of URIs: both sides of the limit")
  func uriLength() {
    let text = "https://a/" + String(repeating: "b", count: HTTPURI.maximumBytes - 10)
    #expect(HTTPURI(text) != nil)
    #expect(HTTPURI(text + "b") == nil)
  }
}
