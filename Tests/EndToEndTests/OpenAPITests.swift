import AgentIdentity
import Crypto
import DemoClient
import Foundation
import JOSE
import Rails
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
            == (operation.id == "authorizePayment" ? [201, 202] : [operation.success]),
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

    // MARK: - The walk's people and payments

    private func people(_ fixture: Fixture) async throws {
      let (officer, treasury) = (fixture.deployment.officer, fixture.treasury)
      let made = try await fixture.submit("/v1/groups", ["name": "walkers"], as: officer)
      #expect(made.status == 201)
      let group = try #require(made["result", "group"]?.string)
      #expect(try await fixture.submit("/v1/groups", ["name": "mine"]).summary == "403 officer_required")

      let token = officer.fresh()
      let digest = Base64.URL.encode(Array(SHA256.hash(data: try Base64.URL.decode(token))))
      let invitation: JSONValue = [
        "digest": .string(digest), "person": ["kind": "approver", "name": "Walker"], "group": .string(group),
        "expires_in": 60,
      ]
      #expect(try await fixture.submit("/v1/invitations", invitation).summary == "403 officer_required")
      #expect(try await fixture.submit("/v1/invitations", invitation, as: officer).status == 201)
      #expect(try await fixture.submit("/v1/invitations", invitation, as: officer).summary == "409 invitation_exists")

      let person = try Person("Walker", fixture.deployment.ready)
      let options = try await fixture.post("/v1/enrolments/options", [:], bearer: token)
      #expect(options.status == 200)
      let enrolment: JSONValue = [
        "approval": try person.make(try #require(options["approval"])),
        "sign_in": try person.make(try #require(options["sign_in"])),
      ]
      let enrolled = try await fixture.post("/v1/enrolments", enrolment, bearer: token)
      #expect(enrolled.status == 201)
      #expect(try await fixture.post("/v1/enrolments", enrolment, bearer: token).summary == "409 invitation_used")
      #expect(try await fixture.post("/v1/enrolments/options", [:], bearer: token).summary == "409 invitation_used")

      let challenge = try await fixture.post("/v1/sessions/options", [:])
      #expect(challenge.status == 200)
      let assertion = try person.tap(try #require(challenge.json))
      let signedIn = try await fixture.post("/v1/sessions", assertion)
      #expect(signedIn.status == 200 && signedIn["person"] == enrolled["person"])
      let cookie = try #require(signedIn.header("set-cookie")?.split(separator: ";").first.map(String.init))
      #expect(try await fixture.post("/v1/sessions", assertion).summary == "409 challenge_unknown")
      #expect(
        try await fixture.post("/v1/sessions/end", [:], cookie: cookie, site: "cross-site").summary == "403 cross_site")
      #expect(try await fixture.post("/v1/sessions/end", [:], cookie: cookie).status == 200)
      #expect(try await fixture.post("/v1/sessions/end", [:], cookie: cookie).summary == "401 session_missing")

      let member: JSONValue = ["person": try #require(enrolled["person"])]
      #expect(try await fixture.submit("/v1/groups/\(group)/remove", member).summary == "403 officer_required")
      #expect(try await fixture.submit("/v1/groups/\(group)/remove", member, as: officer).status == 200)
      #expect(
        try await fixture.submit("/v1/groups/nobody/remove", member, as: officer).summary == "422 group_not_found")
      let revoke = "/v1/people/\(enrolled["person"]?.string ?? "")/revoke"
      #expect(try await fixture.submit(revoke, [:]).summary == "403 officer_required")
      #expect(try await fixture.submit(revoke, ["reason": "left"], as: officer).status == 200)
      #expect(try await fixture.submit(revoke, [:], as: officer).summary == "409 person_revoked")
      #expect(try await fixture.submit("/v1/people/nobody/revoke", [:], as: officer).status == 404)
      #expect(try await fixture.publishPolicy().status == 201)
      let policy: JSONValue = ["policy": ["version": 999, "rules": []]]
      #expect(try await fixture.submit("/v1/policies", policy, as: officer).summary == "409 policy_version_conflict")
      #expect(try await fixture.submit("/v1/policies", policy, as: treasury.agent).summary == "403 officer_required")
    }

    private func consents(_ fixture: Fixture) async throws {
      let (owner, treasury) = (fixture.deployment.owner, fixture.treasury)
      func drafted(_ draft: JSONValue) async throws -> Answer {
        let request = try owner.read(
          "/v1/consents/draft", token: try await owner.token(fixture.client), method: "POST", body: draft.canonical())
        return try await fixture.send(request)
      }
      let draft = try await drafted(treasury.draft())
      #expect(draft.status == 200)
      func signed(_ draft: Answer) throws -> JSONValue {
        [
          "consent": try #require(draft["consent"]),
          "assertion": try treasury.owner.person.tap(draft["options"] ?? .null),
        ]
      }
      let body = try signed(draft)
      let given = try await fixture.post("/v1/consents", body)
      #expect(given.status == 201)
      #expect(try await fixture.post("/v1/consents", body).body == given.body)
      let id = try #require(given["result", "consent"]?.string)
      var amendment = try #require(treasury.draft().object)
      amendment["consent"] = .string(id)
      let second = try signed(try await drafted(.object(amendment)))
      #expect(try await fixture.post("/v1/consents/\(id)/amend", second).status == 200)
      amendment["consent"] = "nobody"
      #expect(try await drafted(.object(amendment)).summary == "404 consent_not_found")
      #expect(
        try await drafted(treasury.draft(agent: fixture.deployment.officer)).summary == "422 consent_agent_unknown")
      let foreign = try await fixture.get("/v1/consents", as: treasury.alice)
      #expect(foreign.status == 200 && foreign["consents"] == [])
      let list = try await fixture.read("/v1/consents", as: owner)
      #expect(list["consents"]?.array?.contains { $0.object?["consent"]?.object?["id"] == .string(id) } == true)
      let read = try await fixture.read("/v1/consents/\(id)", as: owner)
      #expect(read.status == 200 && read["consent", "version"] == 2)
      #expect(try await fixture.get("/v1/consents/\(id)", as: treasury.owner).body == read.body)
      #expect(try await fixture.get("/v1/consents/\(id)", as: treasury.alice).summary == "404 consent_not_found")
      #expect(try await fixture.get("/v1/consents/\(id)").summary == "401 token_missing")
      let revoke = "/v1/consents/\(id)/revoke"
      #expect(try await fixture.submit(revoke, [:], as: treasury.agent).summary == "403 consent_not_permitted")
      #expect(try await fixture.submit(revoke, ["reason": "done"], as: owner).status == 200)
      #expect(try await fixture.submit(revoke, [:], as: owner).summary == "409 consent_revoked")
      #expect(try await fixture.submit("/v1/consents/nobody/revoke", [:], as: owner).summary == "404 consent_not_found")
    }

    private func payments(_ fixture: Fixture) async throws {
      let (treasury, alice) = (fixture.treasury, fixture.treasury.alice)
      let authorize = "/v1/payments/authorize"
      func pay(_ body: JSONValue, as party: Party? = nil) async throws -> Answer {
        try await fixture.submit(authorize, body, as: party ?? treasury.agent)
      }
      let small = try await pay(fixture.payment("10.00"))
      #expect(small.status == 201 && small["result", "state"] == "posted")
      #expect(try await pay(fixture.payment("10.00"), as: fixture.agent).summary == "403 consent_wrong_agent")
      #expect(try await pay(fixture.payment("10.00", under: "nobody")).summary == "404 consent_not_found")
      #expect(try await pay(fixture.payment("50000.01")).summary == "422 consent_single_limit")
      let id = try await fixture.held()
      #expect(try await fixture.read("/v1/payments/\(id)", as: treasury.agent).status == 200)
      #expect(try await fixture.get("/v1/payments/\(id)", as: alice)["state"] == "held")
      #expect(try await fixture.read("/v1/payments/nobody").summary == "404 payment_not_found")
      let waiting = try await fixture.get("/v1/approvals", as: alice)
      #expect(waiting["approvals"]?.array?.contains { $0.object?["payment"] == .string(id) } == true)
      let shown = try await fixture.get("/v1/approvals/\(id)", as: alice)
      #expect(shown.status == 200 && shown["obstacle"] == nil)
      #expect(try await fixture.get("/v1/approvals/nobody", as: alice).summary == "404 payment_not_found")
      let challenge = "/v1/approvals/\(id)/challenge"
      #expect(
        try await fixture.post(challenge, ["decision": "maybe"], cookie: alice.cookie).summary == "422 decision_unknown"
      )
      #expect(
        try await fixture.post("/v1/approvals/nobody/challenge", ["decision": "approve"], cookie: alice.cookie).summary
          == "404 payment_not_found")
      let question = try await fixture.question(id, alice)
      #expect(question.status == 200 && question["statement"] == shown["statement"])
      let decision = try alice.person.decision(question)
      let decided = try await fixture.decide(id, decision)
      #expect(decided.status == 200 && decided["result", "state"] == "posted")
      #expect(try await fixture.decide(id, decision).body == decided.body)
      #expect(try await fixture.question(id, treasury.bob).summary == "409 payment_ended")
      #expect(try await fixture.get("/v1/receipts/\(id)", as: treasury.owner).status == 200)
      #expect(try await fixture.read("/v1/receipts/\(id)", as: treasury.agent)["payment", "state"] == "posted")

      let second = try await fixture.held()
      let void = "/v1/payments/\(second)/void"
      #expect(try await fixture.submit(void, [:], as: treasury.bank).summary == "403 payment_not_permitted")
      #expect(try await fixture.submit(void, [:], as: treasury.agent).status == 200)
      #expect(try await fixture.submit(void, [:], as: treasury.agent).summary == "409 payment_ended")
      #expect(
        try await fixture.submit("/v1/payments/nobody/void", [:], as: treasury.agent).summary == "404 payment_not_found"
      )
    }

    private func rail(_ fixture: Fixture) async throws {
      let (treasury, officer) = (fixture.treasury, fixture.deployment.officer)
      let configuration: JSONValue = [
        "originator": Treasury.originator, "settlement_account": .string(treasury.settlement),
        "bank": treasury.bank.key.publicJWK.bareJSON,
      ]
      #expect(try await fixture.submit("/v1/rails/ach", configuration).summary == "403 officer_required")
      let configured = try await fixture.submit("/v1/rails/ach", configuration, as: officer)
      #expect(configured.status == 201 && configured["result", "bank"] == .string(treasury.bank.id))
      let files = try await fixture.read("/v1/rails/ach/files", as: treasury.bank)
      #expect(files["files"]?.array?.isEmpty == false)
      #expect(try await fixture.read("/v1/rails/ach/files").summary == "403 bank_required")
      let path = "/v1/rails/ach/files/\(treasury.sent.file)"
      let file = try await fixture.read(path, as: treasury.bank)
      #expect(file.status == 200 && file.text.contains(treasury.sent.trace))
      #expect(try await fixture.read(path, as: officer).body == file.body)
      #expect(try await fixture.read(path).summary == "403 bank_required")
      #expect(try await fixture.read("/v1/rails/ach/files/99", as: treasury.bank).summary == "404 file_not_found")
      let answers = "/v1/rails/ach/answers"
      let accepted: JSONValue = ["accepted_file": .integer(treasury.sent.file)]
      #expect(try await fixture.submit(answers, accepted).summary == "403 bank_required")
      #expect(
        try await fixture.submit(answers, ["accepted_file": 99], as: treasury.bank).summary == "404 file_not_found")
      #expect(try await fixture.submit(answers, accepted, as: treasury.bank).status == 200)
      #expect(try await fixture.state(of: treasury.sent.payment) == "accepted")
      // The bank sends it back: the money is there again, and it cannot come back twice.
      var sandbox = SandboxBank(seed: 1, script: ["4711004711": .returned(.insufficientFunds)])
      let returns = try #require(try sandbox.receive(file.body).returns)
      let answer: JSONValue = ["returns": .string(String(decoding: returns, as: UTF8.self))]
      let account = "/v1/ledger/accounts/\(treasury.account)"
      let before = try await fixture.read(account, as: fixture.deployment.owner)["balance"]?.string
      #expect(try await fixture.submit(answers, answer, as: treasury.bank).status == 200)
      let after = try await fixture.read(account, as: fixture.deployment.owner)["balance"]?.string
      #expect(before != after)
      #expect(
        try await fixture.read("/v1/payments/\(treasury.sent.payment)", as: treasury.agent)["return_code"] == "R01")
      #expect(try await fixture.submit(answers, answer, as: treasury.bank).summary == "409 return_repeated")
    }

    private func pages(_ fixture: Fixture) async throws {
      let payment = try await fixture.held()
      for path in ["/console", "/console/approvals/\(payment)"] {
        let page = try await fixture.get(path, as: fixture.treasury.alice)
        #expect(page.status == 200 && page.text.contains("1,500.00"), "\(path)")
      }
      #expect(try await fixture.get("/console/approvals/nobody", as: fixture.treasury.alice).status == 404)
      for path in ["/console/enrol", "/console/assets/console.css", "/console/assets/console.js"] {
        #expect(try await fixture.get(path).status == 200, "\(path)")
      }
      #expect(try await fixture.decide(payment, fixture.treasury.alice, "decline").status == 200)
    }
  }
}
