import JOSE
import TestSupport
import Testing
import Wire
import WorkloadIdentity
@testable import WorkloadService

/// JWT-SVIDs: whose, for whom, how often they are signed, and when one is no longer given again.
@Suite struct TokenTests {
  private typealias D = ServiceDeployment

  private func token(
    _ connection: any WorkloadConnection, _ audiences: [String] = ["x"], _ path: String? = nil
  ) async throws -> String {
    let id = try path.map { try SPIFFEID("spiffe://\(D.trustDomain)\($0)") }
    return try await connection.jwtSVIDs(audiences: audiences, id: id).map(\.token).joined(separator: " ")
  }

  @Test func areGivenAgainByEntryAndAudiences() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let (one, two) = (d.connect(uid: 1), d.connect(uid: 1))
    let first = try await token(one)
    #expect(try await token(one) == first)
    #expect(try await token(two) == first)
    #expect(d.custodian.signatures == 1)
    var others: Set<String> = [first]
    for audiences in [["x", "y"], ["y", "x"], ["x y"], ["x,y"], ["x", ""], ["é"], ["e\u{301}"]] {
      others.insert(try await token(one, audiences))
    }
    #expect(others.count == 8 && d.custodian.signatures == 8)
    // Half of five minutes.
    try await d.advance(seconds: 149)
    #expect(try await token(one) == first)
    try await d.advance(seconds: 1)
    #expect(try await token(one) != first)
    await d.stop()
  }

  @Test func aHerdCostsOneSignature() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let connection = d.connect(uid: 1)
    d.custodian.hold(true)
    let tokens = try await withThrowingTaskGroup(of: String.self) { group in
      for _ in 0..<1000 { group.addTask { try await token(connection) } }
      await d.custodian.waitUntilHeld()
      d.custodian.hold(false)
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(tokens.count == 1 && d.custodian.signatures == 1)
    #expect(try await d.events().count == 1)
    await d.stop()
  }

  @Test func changesEndTheCache() async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:2")])[0]
    let connection = d.connect(uid: 1)
    let other = try await token(d.connect(uid: 2))
    var seen: Set<String> = [try await token(connection)]
    _ = try await d.change(update: [(id, D.entry("/a", "unix:uid:1", with: ["hint": "h"]))])
    #expect(seen.insert(try await token(connection)).inserted, "after a change of the entry")
    let officer = d.world.officer
    try await d.submit("/v1/authorities/jwt/rotate", as: officer.principal, officer.key)
    try await d.service.tend()
    let (old, active) = (try await d.authorities(.jwt)[0], try await d.active(.jwt))
    #expect(old.id != active.id)
    #expect(seen.insert(try await token(connection)).inserted, "after a rotation")
    #expect(try await token(d.connect(uid: 2)) != other)
    let last = try await token(connection)
    let jti = try JSONValue(parsing: Base64.URL.decode(String(last.split(separator: ".")[1]))).object?["jti"]?.string
    #expect(try await connection.validate(jwtSVID: last, audience: "x").id.path == "/a")
    try await d.command("/v1/svids/revoke", ["jti": .string(jti ?? "")])
    #expect(seen.insert(try await token(connection)).inserted, "after a revocation")
    #expect(await code { _ = try await connection.validate(jwtSVID: last, audience: "x") } == "jwt_svid_invalid")
    #expect(await d.service.revokedTokens(at: d.clock.now())["revoked"]?.array?.count == 1)
    // What the old key signed is valid until nobody trusts the key.
    #expect(try await connection.validate(jwtSVID: other, audience: "x").id.path == "/b")
    try await d.command("/v1/authorities/\(old.id)/taint")
    #expect(try await connection.validate(jwtSVID: other, audience: "x").id.path == "/b")
    try await d.command("/v1/authorities/\(old.id)/revoke", ["confirm": .string(old.id)])
    #expect(await code { _ = try await connection.validate(jwtSVID: other, audience: "x") } == "trust_domain_unknown")
    _ = try await d.change(delete: [id])
    #expect(await code { _ = try await token(connection) } == "no_identity")
    await d.stop()
  }

  /// Who asks after a change gets nothing that was begun before it.
  @Test func aChangeDoesNotJoinWhatWasBegun() async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/a", "unix:uid:1")])[0]
    let connection = d.connect(uid: 1)
    d.custodian.hold(true)
    let before = Task { try await connection.jwtSVIDs(audiences: ["x"], id: nil)[0].id.path }
    await d.custodian.waitUntilHeld()
    _ = try await d.change(update: [(id, D.entry("/b", "unix:uid:1"))])
    let after = Task { try await connection.jwtSVIDs(audiences: ["x"], id: nil)[0].id.path }
    await d.custodian.waitUntilHeld(2)
    d.custodian.hold(false)
    _ = try await before.value
    #expect(try await after.value == "/b")
    #expect(try await connection.jwtSVIDs(audiences: ["x"], id: nil)[0].id.path == "/b")
    await d.stop()
  }

  @Test func audiences() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [
      D.entry("/a", "unix:uid:1", with: ["audiences": ["x", "é"]]), D.entry("/b", "unix:uid:1"),
      D.entry("/c", "unix:uid:2", with: ["audiences": ["z"]]),
      // One SPIFFE ID twice, with other selectors.
      D.entry("/d", "unix:uid:3", with: ["audiences": ["p"]]),
      D.entry("/d", "unix:gid:3", with: ["audiences": ["q"]]),
      D.entry("/e", "unix:uid:4", with: ["issues": ["x509"]]),
    ])
    let connection = d.connect(uid: 1)
    #expect(try await connection.jwtSVIDs(audiences: ["x"], id: nil).count == 2)
    #expect(try await connection.jwtSVIDs(audiences: ["x", "other"], id: nil).map(\.id.path) == ["/b"])
    #expect(try await connection.jwtSVIDs(audiences: ["é"], id: nil).count == 2)
    // The same to a reader, and not to who compares bytes.
    #expect(try await connection.jwtSVIDs(audiences: ["e\u{301}"], id: nil).map(\.id.path) == ["/b"])
    #expect(await code { _ = try await token(connection, ["other"], "/a") } == "audience_not_permitted")
    #expect(await code { _ = try await token(d.connect(uid: 2)) } == "audience_not_permitted")
    #expect(await code { _ = try await token(connection, ["x"], "/c") } == "identity_not_yours")
    #expect(await code { _ = try await token(d.connect(uid: 4)) } == "issuance_not_permitted")
    for audience in ["p", "q"] {
      let tokens = try await token(d.connect(uid: 3), [audience], "/d")
      #expect(tokens.split(separator: " ").count == 1)
    }
    await d.stop()
  }

  @Test func ourIssuerIsNoAudience() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let connection = d.connect(uid: 1)
    let spellings = [
      "https://trustcore.test", "https://trustcore.test/", "https://trustcore.test//", "HTTPS://TrustCore.TEST",
      "https://trustcore.test/oauth/token", "https://trustcore.test?x", "https://trustcore.test#x",
      "https://trustcore.test:443", "https://trustcore.test:443/oauth", "https://trustcore.test.",
      "https://user@trustcore.test", "https://user:word@trustcore.test/", " https://trustcore.test",
      "https://trustcore.test\n",
      "https:\\\\trustcore.test\\oauth", "https://%74rustcore.test", "https://trustcore%2Etest/",
      "https:trustcore.test",
      "https://trustcore.test%2foauth", "\thttps://trust\tcore.test",
      // The port as a number, and dots behind the host before it.
      "https://trustcore.test.:443", "https://trustcore.test:0443", "https://trustcore.test:00443/oauth",
      "https://trustcore.test:", "https://trustcore.test..:443/", "https://user@trustcore.test.:0443?x",
      // Other forms of the same characters, and what is not seen.
      "https://ｔｒｕｓｔｃｏｒｅ.test", "ｈttps://trustcore.test", "ｈｔｔｐｓ：／／ｔｒｕｓｔｃｏｒｅ．ｔｅｓｔ",
      "https：//trustcore.test", "https:／／trustcore.test", "https://trustcore。test", "https://trustcore.test：443",
      "https://tru\u{17F}tcore.test", "https://%EF%BD%94rustcore.test", "ht\u{AD}tps://trust\u{200B}core.test",
      // Which part is the host depends on who reads it.
      "https://other.example%2F@trustcore.test", "https://other.example／@trustcore.test", "https://%2574rustcore.test",
    ]
    for audience in spellings {
      #expect(await code { _ = try await token(connection, ["x", audience]) } == "audience_reserved", "\(audience)")
    }
    let free = [
      "https://trustcore.test.example", "https://trustcore.test:444", "https://trustcore.testing", "trustcore.test",
      "http://trustcore.test.", "spiffe://trustcore.test/a", "https://a.trustcore.test", "",
      "https://other.example/https://trustcore.test", "%", "https:", "https://", "https://trustcore.test:04430",
      "https://trustcore.test:99999999999999999999", "https://[::1]", "https://other.example/é%2F", "é:/trustcore.test",
      "urn:trustcore.test", "https://xn--bcher-kva.example",
    ]
    for audience in free {
      #expect(await code { _ = try await token(connection, [audience]) } == nil, "\(audience)")
    }
    await d.stop()
  }

  @Test func signedWithRSAWhereTheEntrySaysSo() async throws {
    let d = try await D.found(kinds: [.x509, .jwt, .jwtRS256])
    _ = try await d.change(create: [
      D.entry("/a", "unix:uid:1", with: ["jwt_algorithm": "RS256"]), D.entry("/b", "unix:uid:2"),
    ])
    for (uid, algorithm, kind) in [(1, "RS256", .jwtRS256), (2, "ES256", .jwt)] as [(UInt32, String, AuthorityKind)] {
      let connection = d.connect(uid: uid)
      let text = try await token(connection)
      let header = try JSONValue(parsing: Base64.URL.decode(String(text.split(separator: ".")[0]))).object
      #expect(header?["alg"]?.string == algorithm)
      #expect(try await header?["kid"]?.string == d.active(kind).id)
      #expect(try await connection.validate(jwtSVID: text, audience: "x").claims["iss"]?.string == D.issuer)
      #expect(await code { _ = try await connection.validate(jwtSVID: text, audience: "y") } == "jwt_svid_invalid")
    }
    await d.stop()
    let without = try await D.found()
    _ = try await without.change(create: [D.entry("/a", "unix:uid:1", with: ["jwt_algorithm": "RS256"])])
    #expect(await code { _ = try await token(without.connect(uid: 1)) } == "no_authority")
    await without.stop()
  }
}
