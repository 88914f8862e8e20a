import DemoClient
import Foundation
import JOSE
import Testing
import TrustCoreAPI
import Wire

/// The part of the walk that entries, authorities and what is published of them take.
extension EndToEndTests.Description {
  func workloads(_ fixture: Fixture) async throws {
    let (deployment, auditor) = (fixture.deployment, fixture.deployment.auditorToken)
    let (officer, agent) = (deployment.officer, fixture.agent)
    let domain = try #require(deployment.ready["trust_domain"])
    for path in [
      "/.well-known/spiffe-bundle", "/workload/.well-known/openid-configuration", "/workload/keys",
      "/workload/revoked-tokens",
    ] { #expect(try await fixture.get(path).status == 200, "\(path)") }
    // The first list is signed a moment after the start.
    try await Built.eventually("a revocation list") { try await fixture.get("/workload/crl").status == 200 }

    // A registrar changes entries and nothing else.
    let key = try deployment.newKey(.p256)
    let registration: JSONValue = ["name": "a pipeline", "key": key.publicJWK.bareJSON]
    #expect(try await fixture.submit("/v1/registrars", registration, as: agent).summary == "403 officer_required")
    let enrolled = try await fixture.submit("/v1/registrars", registration, as: officer)
    #expect(enrolled.status == 201, "\(enrolled.text)")
    #expect(try await fixture.submit("/v1/registrars", registration, as: officer).summary == "409 key_enrolled")
    let registrar = deployment.party(id: try #require(enrolled["result", "registrar"]?.string), key: key)
    func change(_ changes: JSONValue, as party: Party) async throws -> Answer {
      try await fixture.submit("/v1/entries", changes, as: party)
    }
    let entry = GoodBody.workload(domain, "walk")
    #expect(try await change(["create": [entry]], as: agent).summary == "403 entries_right_required")
    let made = try await change(["create": [entry]], as: registrar)
    #expect(made.status == 200, "\(made.text)")
    #expect(try await change(["create": [entry]], as: registrar).summary == "409 entry_exists")
    #expect(
      try await change(["create": [GoodBody.workload("elsewhere.test", "walk")]], as: registrar).summary
        == "422 entry_invalid")
    #expect(
      try await change(["create": [GoodBody.workload(domain, "trustcore/x")]], as: registrar).summary
        == "422 entry_reserved")
    let id = try #require(made["result", "created"]?.array?.first?.string)
    #expect(try await fixture.get("/v1/entries", bearer: auditor).status == 200)
    #expect(try await fixture.get("/v1/entries/after/\(id)", bearer: auditor).status == 200)
    #expect(try await fixture.get("/v1/entries/\(id)", bearer: auditor)["spiffe_id"] != nil)
    #expect(try await fixture.get("/v1/entries/nobody", bearer: auditor).summary == "404 entry_not_found")
    #expect(try await change(["delete": [.string(id)]], as: registrar).status == 200)
    #expect(try await change(["delete": [.string(id)]], as: registrar).summary == "404 entry_not_found")
    let listed = try await fixture.get("/v1/registrars", bearer: auditor)["registrars"]?.array?.compactMap(\.object)
    #expect(listed?.last { $0["id"] == .string(registrar.id) }?["state"] == "active")

    // Authorities.
    func order(_ path: String, _ body: JSONValue = [:], as party: Party? = nil) async throws -> Answer {
      try await fixture.submit("/v1/authorities/" + path, body, as: party ?? officer)
    }
    func authorities() async throws -> [JSONObject] {
      let answer = try await fixture.get("/v1/authorities", bearer: auditor)
      #expect(answer.status == 200)
      return (answer["authorities"]?.array ?? []).compactMap(\.object)
    }
    func named(_ state: String, _ kind: String = "x509") async throws -> String? {
      try await authorities().last { $0["state"]?.string == state && $0["kind"]?.string == kind }?["id"]?.string
    }
    #expect(try await order("x509/rotate", as: registrar).summary == "403 officer_required")
    #expect(try await order("x509/activate").summary == "409 authority_not_prepared")
    #expect(try await order("jwt/request").summary == "422 authority_kind")
    #expect(try await order("x509/prepare").status == 200)
    try await Built.eventually("a prepared authority") { try await named("prepared") != nil }
    #expect(try await order("x509/prepare").summary == "409 authority_prepared")
    #expect(try await order("x509/activate").status == 200)
    let old = try #require(try await named("old"))
    #expect(try await order("\(old)/taint", as: agent).summary == "403 officer_required")
    #expect(try await order("\(old)/taint").status == 200)
    #expect(try await order("\(old)/taint").summary == "409 authority_tainted")
    #expect(try await order("\(old)/revoke", ["confirm": "another"]).summary == "422 confirmation_mismatch")
    #expect(try await order("\(old)/revoke", ["confirm": .string(old)]).status == 200)
    #expect(try await order("nobody/taint").summary == "404 authority_not_found")
    #expect(try await order("x509/request").status == 200)
    try await Built.eventually("a requested authority") { try await named("requested") != nil }
    let requested = try #require(try await named("requested"))
    #expect(try await order("\(requested)/certificate", ["chain": "none"]).summary == "422 chain_malformed")
    let wish = try #require(try await authorities().first { $0["id"] == .string(requested) }?["request"]?.string)
    let file = Built.fresh("walk.csr")
    try Data(wish.utf8).write(to: URL(filePath: file))
    let files = try await Upstream.certify(request: file)
    let (alone, chain) = (
      try String(contentsOfFile: files.root, encoding: .utf8), try String(contentsOfFile: files.chain, encoding: .utf8)
    )
    #expect(
      try await order("\(requested)/certificate", ["chain": .string(alone)]).summary == "422 authority_invalid")
    // A repeat gets the same answer, though the authority waits for no certificate any more.
    let path = "/v1/authorities/\(requested)/certificate"
    let certified = try await fixture.submit(
      path, ["chain": .string(chain)], as: officer, .init(idempotencyKey: "walk-certificate"))
    #expect(certified.status == 200)
    try await Built.eventually("a certified authority") { try await named("prepared") == requested }
    let repeated = try await fixture.submit(
      path, ["chain": .string(chain)], as: officer, .init(idempotencyKey: "walk-certificate"))
    #expect(repeated.status == 200 && repeated["command_id"] == certified["command_id"], "\(repeated.summary)")
    #expect(try await order("\(requested)/certificate", ["chain": .string(chain)]).status == 409)
    #expect(try await order("\(requested)/revoke", ["confirm": .string(requested)]).status == 200)
    #expect(try await order("jwt/rotate").status == 200)

    // Who got what.
    let fetched = try await Built.pipe(
      try Built.program("trustcore"),
      ["svid", "jwt", "--audience", "walk", "--socket", deployment.ready["workload_socket"] ?? ""])
    let claims = try #require(fetched.text.split(separator: ".").dropFirst().first, "\(fetched.complaint)")
    let token = try JSONValue(parsing: Base64.URL.decode(String(claims))).object?["jti"]?.string ?? ""
    let issuance = try await fixture.get("/v1/svids/jwt/\(token)", bearer: auditor)
    #expect(issuance.status == 200 && issuance["issuance", "audiences"] == ["walk"], "\(issuance.text)")
    for path in ["x509/\(token)", "jwt/nothing", "pgp/\(token)"] {
      #expect(try await fixture.get("/v1/svids/" + path, bearer: auditor).summary == "404 svid_not_found", "\(path)")
    }

    // Revocations and federations.
    func revoke(_ body: JSONValue) async throws -> Answer {
      try await fixture.submit("/v1/svids/revoke", body, as: registrar)
    }
    #expect(try await revoke(["jti": "walk", "expires_in": 60]).status == 200)
    #expect(try await revoke(["jti": "walk", "expires_in": 60]).summary == "409 svid_revoked")
    #expect(try await revoke([:]).summary == "422 svid_unnamed")
    let federation: JSONValue = ["trust_domain": "far.test", "bundle": ["keys": []]]
    #expect(try await fixture.submit("/v1/federations", federation, as: registrar).summary == "403 officer_required")
    #expect(try await fixture.submit("/v1/federations", federation, as: officer).status == 200)
    #expect(try await fixture.submit("/v1/federations/far.test/delete", [:], as: officer).status == 200)
    #expect(
      try await fixture.submit("/v1/federations/far.test/delete", [:], as: officer).summary
        == "404 federation_not_found")
  }
}
