import AgentIdentity
import Crypto
import DemoClient
import JOSE
import Rails
import Testing
import TrustCoreAPI
import Wire

/// The part of the walk that people and payments take.
extension EndToEndTests.Description {
  func people(_ fixture: Fixture) async throws {
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
      try await fixture.submit("/v1/groups/nobody/remove", member, as: officer).summary == "404 group_not_found")
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

  func consents(_ fixture: Fixture) async throws {
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

  func payments(_ fixture: Fixture) async throws {
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

  func rail(_ fixture: Fixture) async throws {
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

  func pages(_ fixture: Fixture) async throws {
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
