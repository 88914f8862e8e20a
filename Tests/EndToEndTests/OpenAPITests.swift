import AgentIdentity
import DemoClient
import Foundation
import JOSE
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// `/openapi.json` is a valid description, and it is true.
  @Suite(.serialized) struct Description {
    @Test func isValidOpenAPI31() async throws {
      let fixture = try await Fixture.shared
      guard let python = try Built.python(for: "openapi-spec-validator") else { return }
      let answer = try await fixture.get("/openapi.json")
      let file = Built.fresh("openapi") + ".json"
      try Data(answer.body).write(to: URL(fileURLWithPath: file))
      let (status, output) = try await Built.run(python, ["-m", "openapi_spec_validator", "--schema", "3.1", file])
      #expect(status == 0, "\(output.suffix(2000))")
    }

    @Test func saysWhereItIsAndNamesEachOperationOnce() async throws {
      let fixture = try await Fixture.shared
      let root = try #require(fixture.description.document.object)
      #expect(root["openapi"]?.string?.hasPrefix("3.1") == true)
      #expect(root["servers"]?.array?.first?.object?["url"]?.string == fixture.deployment.api)
      let ids = fixture.description.operations.map(\.id)
      #expect(Set(ids).count == ids.count)
      for operation in fixture.description.operations {
        // Every mutating route of /v1 needs a signed request, but for those with a proof of their own.
        if operation.method == "POST", operation.path.hasPrefix("/v1") {
          #expect(operation.isSigned != Self.unsigned.contains(operation.id), "\(operation.id)")
          if operation.isSigned { #expect(operation.schemes == ["dpopToken"], "\(operation.id)") }
        }
        #expect(
          operation.statuses.filter { $0 < 300 }
            == (Self.mayWait.contains(operation.id) ? [operation.success, 202] : [operation.success]),
          "\(operation.id)")
      }
      let schemes = try #require(root["components"]?.object?["securitySchemes"]?.object)
      for operation in fixture.description.operations {
        for name in operation.schemes { #expect(schemes[name] != nil, "\(operation.id): \(name)") }
      }
    }

    /// A seal holds a signed request; an assertion is a person's signature; the rest opens what people sign in, or
    /// changes nothing.
    private static let unsigned: Set = [
      "presentSeal", "giveConsent", "amendConsent", "decide", "enrolmentOptions", "enrol", "signInOptions", "signIn",
      "signOut", "draftConsent", "challengeApproval",
    ]

    /// What may be on the record before it is done.
    private static let mayWait: Set = [
      "authorizePayment", "createKey", "rotateKey", "disableKey", "enableKey", "destroyKey",
    ]

    /// One walk over all operations: the success of each, and the refusals that a caller can bring about. Every answer
    /// on the way is held to its schema by the fixture.
    @Test func everyOperationAnswersAsDescribed() async throws {
      let fixture = try await Fixture.shared
      let (deployment, client, agent) = (fixture.deployment, fixture.client, fixture.agent)
      try await fixture.warm()

      // Open.
      for path in [
        "/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server",
        "/log/checkpoint",
      ] { #expect(try await fixture.get(path).status == 200, "\(path)") }
      let status = try await fixture.get("/v1/status", bearer: deployment.auditorToken)
      let size = try #require(status["log_size"]?.integer)
      let partial = size < 256 ? ".p/\(size)" : ""
      #expect(try await fixture.get("/log/tile/0/000\(partial)").status == 200)
      #expect(try await fixture.get("/log/tile/0/999").status == 404)
      #expect(try await fixture.get("/log/tile/entries/000\(partial)", bearer: deployment.auditorToken).status == 200)
      #expect(try await fixture.get("/log/tile/entries/999", bearer: deployment.auditorToken).status == 404)

      // An agent's life.
      let key = try deployment.newKey(.ed25519)
      let registration = OutgoingRequest(
        "POST", "/oauth/register",
        headers: [
          HTTPMessage.Field("Content-Type", "application/json"),
          HTTPMessage.Field("Authorization", "Bearer " + deployment.registrationToken),
        ],
        body: JSONValue.object(["client_name": "walker", "jwks": ["keys": [key.publicJWK.bareJSON]]]).canonical())
      let enrolled = try await fixture.send(registration)
      #expect(enrolled.status == 201)
      #expect(try await fixture.send(registration).summary == "409 key_enrolled")
      let walker = deployment.party(id: try #require(enrolled["client_id"]?.string), key: key)
      #expect(try await fixture.send(try walker.tokenRequest()).summary == "400 agent_pending")
      let approve = "/v1/agents/\(walker.id)/approve"
      let approval: JSONValue = ["thumbprint": .string(walker.thumbprint)]
      let owner = deployment.owner
      #expect(try await fixture.submit(approve, approval, as: agent).status == 403)
      #expect(
        try await fixture.submit(approve, ["thumbprint": .string(agent.thumbprint)], as: owner).summary
          == "422 thumbprint_mismatch")
      #expect(
        try await fixture.submit("/v1/agents/nobody/approve", approval, as: owner).summary == "404 agent_not_found")
      #expect(try await fixture.submit(approve, approval, as: owner).status == 200)
      #expect(try await fixture.submit(approve, approval, as: owner).summary == "409 agent_not_pending")
      #expect(try await fixture.send(try walker.tokenRequest()).status == 200)
      #expect(try await fixture.read("/v1/agents/\(walker.id)").status == 200)
      #expect(try await fixture.read("/v1/agents/nobody").summary == "404 agent_not_found")
      let revoke = "/v1/agents/\(walker.id)/revoke"
      _ = try await walker.token(client)
      #expect(try await fixture.submit("/v1/agents/nobody/revoke", [:], as: owner).summary == "404 agent_not_found")
      #expect(try await fixture.submit(revoke, ["reason": "done"], as: agent).summary == "403 revocation_not_permitted")
      #expect(try await fixture.submit(revoke, ["reason": "done"], as: deployment.officer).status == 200)
      #expect(try await fixture.submit(revoke, [:], as: owner).summary == "409 agent_revoked")
      #expect(try await fixture.send(try walker.tokenRequest()).summary == "400 agent_revoked")
      #expect(try await fixture.read("/v1/ledger/accounts", as: walker).summary == "403 agent_revoked")
      #expect(try await fixture.submit("/v1/ledger/transfers", [:], as: walker).summary == "403 agent_revoked")

      // Money.
      let accounts = "/v1/ledger/accounts"
      #expect(try await fixture.submit(accounts, ["currency": "EUR"], as: owner).status == 201)
      #expect(try await fixture.submit(accounts, ["currency": "XXX"], as: owner).summary == "422 currency_unknown")
      #expect(try await fixture.submit(accounts, ["currency": "EUR"]).summary == "403 account_kind_not_permitted")
      #expect(try await fixture.read(accounts).status == 200)
      #expect(try await fixture.read(accounts + "/\(fixture.account)").status == 200)
      #expect(try await fixture.read(accounts + "/nobody").summary == "404 account_not_found")
      let transfer = Transfer.body(from: fixture.account, to: fixture.other, "12.50")
      var options = Party.CommandOptions(idempotencyKey: agent.fresh())
      let first = try await fixture.submit("/v1/ledger/transfers", transfer, options)
      #expect(first.status == 201)
      let again = try await fixture.submit("/v1/ledger/transfers", transfer, options)
      #expect(again.status == 201 && again.body == first.body)
      let otherBody = Transfer.body(from: fixture.account, to: fixture.other, "12.51")
      #expect(
        try await fixture.submit("/v1/ledger/transfers", otherBody, options).summary == "422 idempotency_key_reused")
      for (from, to, amount, summary) in [
        (fixture.account, fixture.other, "99999999.00", "422 account_overdrawn"),
        (fixture.account, "nobody", "1.00", "422 account_not_found"),
        (fixture.bank, fixture.account, "1.00", "403 account_not_permitted"),
        (fixture.account, fixture.other, "1.001", "422 amount_excess_precision"),
        (fixture.account, fixture.other, "0.00", "422 amount_not_positive"),
        (fixture.account, fixture.account, "1.00", "422 transfer_account_repeated"),
      ] {
        let answer = try await fixture.submit("/v1/ledger/transfers", Transfer.body(from: from, to: to, amount))
        #expect(answer.summary == summary)
      }

      // Holds.
      let entries = JSONValue.array(Transfer.entries(from: fixture.account, to: fixture.other, "5.00"))
      func hold() async throws -> String {
        let answer = try await fixture.submit("/v1/ledger/holds", ["entries": entries, "expires_in": 600])
        #expect(answer.status == 201)
        return try #require(answer["result", "hold"]?.string)
      }
      let holds = "/v1/ledger/holds"
      let (captured, voided) = (try await hold(), try await hold())
      #expect(try await fixture.read(holds + "/\(captured)").status == 200)
      #expect(try await fixture.read(holds + "/nobody").summary == "404 hold_not_found")
      #expect(
        try await fixture.submit(holds + "/\(captured)/capture", ["amount": "9.00"]).summary
          == "422 capture_exceeds_hold")
      #expect(try await fixture.submit(holds + "/\(captured)/capture", [:]).status == 200)
      #expect(try await fixture.submit(holds + "/\(captured)/capture", [:]).summary == "409 hold_ended")
      #expect(
        try await fixture.submit(holds + "/\(captured)/capture", [:], as: deployment.officer).summary
          == "403 hold_not_permitted")
      #expect(try await fixture.submit(holds + "/nobody/capture", [:]).summary == "404 hold_not_found")
      #expect(try await fixture.submit(holds + "/\(voided)/void", [:]).status == 200)
      #expect(try await fixture.submit(holds + "/\(voided)/void", [:]).summary == "409 hold_ended")
      #expect(
        try await fixture.submit(holds + "/\(voided)/void", [:], as: deployment.officer).summary
          == "403 hold_not_permitted")
      #expect(try await fixture.submit(holds + "/nobody/void", [:]).summary == "404 hold_not_found")

      // Receipts and seals.
      let id = try #require(first["command_id"]?.string)
      let receipt = try await fixture.read("/v1/receipts/\(id)")
      #expect(receipt.status == 200)
      #expect(try await fixture.read("/v1/receipts/AAAAAAAAAAAAAAAAAAAAAA").summary == "404 receipt_not_found")
      func present(_ body: JSONValue) async throws -> Answer {
        try await fixture.send(
          OutgoingRequest(
            "POST", "/v1/ledger/sealed-commands", headers: [HTTPMessage.Field("Content-Type", "application/json")],
            body: body.canonical()))
      }
      #expect(try await present(try #require(receipt["seal"])).status == 200)
      #expect(try await present([:]).summary == "403 seal_missing")
      options.created = WallClock().now().adding(seconds: -301)
      options.idempotencyKey = nil
      #expect(try await fixture.submit("/v1/ledger/transfers", transfer, options).summary == "401 signature_expired")

      try await people(fixture)
      try await consents(fixture)
      try await payments(fixture)
      try await rail(fixture)
      try await pages(fixture)
      try await keys(fixture)
      try await workloads(fixture)

      // Without credentials, and with a body that is cut off.
      let good = try await GoodBody.all(fixture)
      for operation in fixture.description.operations {
        let path = RouteContract.path(operation.path)
        let headers = operation.bodyType.map { [HTTPMessage.Field("Content-Type", $0)] } ?? []
        let bare = OutgoingRequest(
          operation.method, path, headers: headers, body: operation.bodyType == nil ? [] : Array("{".utf8))
        let answer = try await fixture.send(bare)
        if operation.security != nil {
          #expect([400, 401].contains(answer.status), "\(operation.id): \(answer.summary)")
        }
        guard operation.bodyType == "application/json" else { continue }
        let sender = try #require(good[operation.id], "\(operation.id) has no good body: add one")
        let cut = try await fixture.send(try await sender.request(Array("{".utf8), fixture))
        #expect(cut.summary == "400 json_syntax", "\(operation.id)")
      }

      // What is described was seen.
      var missing: [String] = []
      var (described, observed) = (0, 0)
      for operation in fixture.description.operations {
        let seen = fixture.description.seen(operation.id)
        #expect(seen.contains(operation.success), "\(operation.id): success \(operation.success) was not seen")
        // Limits have tests of their own; 500 and 503 are not to be had from a healthy server.
        for status in operation.statuses where ![413, 415, 431, 500, 503].contains(status) {
          described += 1
          if seen.contains(status) { observed += 1 } else { missing.append("\(operation.id) \(status)") }
        }
      }
      print(
        "openapi: \(observed) of \(described) described statuses seen in one walk; not: \(missing.joined(separator: ", "))"
      )
      #expect(observed * 10 >= described * 7)
    }
  }
}
