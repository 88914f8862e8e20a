import AgentIdentity
import Crypto
import DemoClient
import JOSE
import SoftwareAuthenticator
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// Decisions that are refused, each with its code and nothing moved; what a clock brings about is tested in process.
  @Suite(.serialized) struct Approvals {
    /// What the page, the API and the command line show, and what is signed, is one text.
    @Test func theStatementIsTheSameEverywhere() async throws {
      let fixture = try await Fixture.shared
      let (alice, treasury) = (fixture.treasury.alice, fixture.treasury)
      let id = try await fixture.held("12500.00", by: "ach", reference: "INV-4711 \\ <b>&amp;\"'")
      let shown = try await fixture.get("/v1/approvals/\(id)", as: alice)
      let statement = try #require(shown["statement"]?.string)
      let question = try await fixture.question(id, alice)
      #expect(question["statement"]?.string == statement)
      #expect(question["approval", "statement_digest"] == shown["statement_digest"])
      let digest = Array(SHA256.hash(data: Array(("trustcore/statement/v1" + statement).utf8)))
      #expect(shown["statement_digest"]?.string == Base64.URL.encode(digest))
      for part in [
        "USD 12,500.00", "Acme Supplies", "021000021", "4711004711 (checking)", treasury.account, treasury.agent.id,
        treasury.agent.thumbprint, treasury.consent, id, "INV-4711 \\\\ <b>&amp;\"'",
      ] { #expect(statement.contains(part), "\(part) is not in\n\(statement)") }
      let page = try await fixture.get("/console/approvals/\(id)", as: alice).text
      let marked = try #require(page.firstMatch(of: /(?s)<pre id="statement">(.*?)<\/pre>/)?.1)
      let text = String(marked).replacing(/<[^>]*>/, with: "")
        .replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&quot;", with: "\"")
        .replacing("&#39;", with: "'").replacing("&amp;", with: "&")
      #expect(text == statement)
      let tool = try Built.program("trustcore")
      let (status, output) = try await Built.run(tool, ["approvals", "show", id, "--state", fixture.daemon.state])
      #expect(status == 0 && output.hasPrefix(statement), "\(output)")
      let (code, json) = try await Built.run(
        tool, ["approvals", "show", id, "--state", fixture.daemon.state, "--json"])
      let object = try JSONValue(parsing: Array(json.utf8)).object
      #expect(code == 0 && object?["statement"]?.string == statement)
      #expect(object?["statement_digest"] == shown["statement_digest"])
      #expect(try await fixture.decide(id, alice, "decline")["result", "state"] == "declined")
    }

    /// What a key or a browser does wrong with a decision.
    @Test func faultyAssertionsAreRefused() async throws {
      let fixture = try await Fixture.shared
      let (alice, id) = (fixture.treasury.alice, try await fixture.held())
      try await fixture.warm()
      let before = try await fixture.standing()
      let flip: @Sendable ([UInt8]) -> [UInt8] = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
      let cases: [(String, Faults, String)] = [
        ("nobody verified", Faults { $0.userVerified = false }, "401 webauthn_user_verification"),
        ("nobody there", Faults { $0.userPresent = false }, "401 webauthn_user_presence"),
        ("a credential that can be backed up", Faults { $0.backupEligible = true }, "401 webauthn_backup_eligible"),
        ("one that is backed up", Faults { $0.backupState = true }, "401 webauthn_backup_state"),
        ("another origin", Faults { $0.origin = "https://evil.example" }, "401 webauthn_origin"),
        ("in a frame", Faults { $0.clientDataMembers = ["crossOrigin": true] }, "401 webauthn_cross_origin"),
        ("a registration", Faults { $0.type = "webauthn.create" }, "401 webauthn_type"),
        ("the relying party of signing in", Faults { $0.relyingPartyID = "trustcore.localhost" }, "401 webauthn_rp_id"),
        ("a changed signature", Faults { $0.signature = flip }, "401 webauthn_signature"),
        ("changed data", Faults { $0.authenticatorDataAfterSigning = flip }, "401 webauthn_signature"),
        ("another challenge", Faults { $0.challenge = KernelRandom().bytes(32) }, "401 webauthn_challenge"),
        (
          "another person's handle", Faults { [bob = fixture.treasury.bob.id] in $0.userHandle = Array(bob.utf8) },
          "401 webauthn_user_handle"
        ),
        ("a credential of nobody", Faults { $0.credentialID = [9] }, "401 credential_unknown"),
      ]
      for (name, faults, wanted) in cases {
        let answer = try await fixture.decide(id, alice, "approve", faults)
        #expect(answer.summary == wanted, "\(name): \(answer.text)")
      }
      #expect(try await fixture.standing() == before)
      // None of that has used anything up.
      #expect(try await fixture.decide(id, alice)["result", "state"] == "posted")
      print("approvals: \(cases.count) faulty assertions were refused")
    }

    /// A decision is what was asked, of whom it was asked, for the payment it was asked for, once.
    @Test func decisionsCannotBeRearranged() async throws {
      let fixture = try await Fixture.shared
      let (treasury, alice, bob) = (fixture.treasury, fixture.treasury.alice, fixture.treasury.bob)
      let (id, other) = (try await fixture.held(), try await fixture.held("1600.00"))
      try await fixture.warm()
      let before = try await fixture.standing()
      var denied = 0
      func refused(
        _ payment: String, _ body: JSONValue, _ wanted: String, at location: SourceLocation = #_sourceLocation
      ) async throws {
        let answer = try await fixture.decide(payment, body, at: location)
        #expect(answer.summary == wanted, "\(answer.text)", sourceLocation: location)
        if answer["leaf_index"] != nil { denied += 1 }
      }
      func changed(_ body: JSONValue, _ name: String, _ value: JSONValue) -> JSONValue {
        var (body, terms) = (body.object ?? [:], body.object?["approval"]?.object ?? [:])
        terms[name] = value
        body["approval"] = .object(terms)
        return .object(body)
      }
      // Every member of the terms is signed.
      let question = try await fixture.question(id, alice)
      let good = try alice.person.decision(question)
      for member in try #require(question["approval"]?.object) {
        let value: JSONValue =
          switch member.value {
          case .integer(let number): .integer(number + 1)
          case .string(let text) where member.name == "decision": .string(text == "approve" ? "decline" : "approve")
          case .string(let text): .string(text + "x")
          default: .null
          }
        try await refused(id, changed(good, member.name, value), "401 webauthn_challenge")
      }
      // Terms that the server did not draw are worth nothing, however well they are signed.
      let path = "/v1/approvals/\(id)/challenge"
      let asked = try #require(
        try await fixture.post(path, ["decision": "decline"], cookie: alice.cookie).json?.object)
      for (name, value) in [
        ("decision", "approve" as JSONValue), ("approver", .string(bob.id)), ("renderer_version", "2"),
        ("statement_digest", .string(Base64.URL.encode(KernelRandom().bytes(32)))),
        ("expiry", .integer(4_000_000_000_000)),
        ("group_version", 999), ("policy_version", "policy/9999"),
      ] {
        var terms = try #require(asked["approval"]?.object)
        terms[name] = value
        var options = try #require(asked["options"]?.object)
        let text = Array("trustcore/approval/v1".utf8) + JSONValue.object(terms).canonical()
        options["challenge"] = .string(Base64.URL.encode(Array(SHA256.hash(data: text))))
        let body: JSONValue = ["approval": .object(terms), "assertion": try alice.person.tap(.object(options))]
        try await refused(id, body, "409 challenge_unknown")
      }
      // A question that was asked of Alice, answered by Bob's key.
      var options = try #require(question["options"]?.object)
      options["allowCredentials"] = []
      let asBob: JSONValue = [
        "approval": question["approval"] ?? .null, "assertion": try bob.person.tap(.object(options)),
      ]
      try await refused(id, asBob, "409 challenge_unknown")
      // The credential that signs in.
      options["rpId"] = "trustcore.localhost"
      let signIn: JSONValue = [
        "approval": question["approval"] ?? .null, "assertion": try alice.person.tap(.object(options)),
      ]
      try await refused(id, signIn, "403 credential_purpose")
      // Assertions of other ceremonies.
      let session = try await fixture.post("/v1/sessions/options", [:])
      let opening = try alice.person.tap(try #require(session.json))
      try await refused(
        id, ["approval": question["approval"] ?? .null, "assertion": opening], "403 credential_purpose")
      let drafted = try await fixture.deployment.owner.draft(fixture.client, treasury.draft())
      let consent = try treasury.owner.person.tap(try #require(drafted["options"]))
      try await refused(
        id, ["approval": question["approval"] ?? .null, "assertion": consent], "401 webauthn_challenge")
      let swapped: JSONValue = [
        "consent": try #require(drafted["consent"]), "assertion": good.object?["assertion"] ?? .null,
      ]
      #expect(try await fixture.post("/v1/consents", swapped).summary == "401 webauthn_challenge")
      let foreign: JSONValue = [
        "consent": question["approval"] ?? .null, "assertion": good.object?["assertion"] ?? .null,
      ]
      #expect(try await fixture.post("/v1/consents", foreign).summary == "400 assertion_malformed")
      try await refused(id, ["consent": drafted["consent"] ?? .null, "assertion": consent], "400 json_member")
      #expect(denied == 0)
      #expect(try await fixture.standing() == before)

      // From here on the refusals are on the record.
      try await refused(other, good, "403 approval_wrong_command")
      // The assertion was for that question, and the refusal stays its answer.
      try await refused(other, good, "403 approval_wrong_command")
      let (early, late) = (try await fixture.question(id, alice), try await fixture.question(id, alice))
      let first = try alice.person.decision(early)
      let second = try alice.person.decision(late)
      #expect(try await fixture.decide(id, second)["result", "state"] == "posted")
      try await refused(id, first, "401 webauthn_counter")
      // The same bytes get the same answer; other bytes with the same assertion get none.
      let answer = try await fixture.decide(id, second)
      #expect(answer.status == 200 && answer["result", "state"] == "posted")
      try await refused(other, second, "422 idempotency_key_reused")
      let after = try await fixture.standing()
      #expect(after.accounts != before.accounts)
      #expect(try await fixture.decide(other, bob, "decline").status == 200)
    }

    /// Every code of an approval that no clock brings about.
    @Test func everyObstacleHasItsCode() async throws {
      let fixture = try await Fixture.shared
      let (treasury, alice, bob) = (fixture.treasury, fixture.treasury.alice, fixture.treasury.bob)
      let (deployment, owner) = (fixture.deployment, fixture.deployment.owner)
      /// A person may not, sees why, and what was asked before is refused as well.
      func obstacle(
        _ payment: String, _ member: Member, _ code: String, pending: JSONValue? = nil, decision: String = "approve",
        isMember: Bool = true, at location: SourceLocation = #_sourceLocation
      ) async throws {
        let question = try await fixture.question(payment, member, decision, at: location)
        #expect(question.summary == code, "\(question.text)", sourceLocation: location)
        let view = try await fixture.get("/v1/approvals/\(payment)", as: member, at: location)
        let page = try await fixture.get("/console/approvals/\(payment)", as: member, at: location)
        if isMember {
          #expect(view.status == 200 && page.status == 200, "\(view.text)", sourceLocation: location)
          #expect(!page.text.contains("value=\"approve\""), sourceLocation: location)
        } else {
          #expect(view.summary == "404 payment_not_found" && page.status == 404, sourceLocation: location)
        }
        guard let pending else { return }
        let answer = try await fixture.decide(payment, pending, at: location)
        #expect(answer.summary == code && answer["leaf_index"] != nil, "\(answer.text)", sourceLocation: location)
      }
      func reserved() async throws -> String? {
        try await fixture.read("/v1/ledger/accounts/\(treasury.account)", as: owner)["debits_pending"]?.string
      }
      let atFirst = try await reserved()

      // Whose payment it is, and who is in the group.
      let id = try await fixture.held()
      try await obstacle(id, treasury.owner, "403 approval_by_initiator")
      let carol = try await fixture.newcomer("Carol")
      try await obstacle(id, carol, "403 approval_not_permitted", isMember: false)
      let posted = try await fixture.submit(
        "/v1/payments/authorize", fixture.payment("0.01"), as: treasury.agent)
      let free = try #require(posted["result", "payment"]?.string)
      try await obstacle(free, alice, "404 payment_not_found", isMember: false)
      try await obstacle("nobody", alice, "404 payment_not_found", isMember: false)
      // A member who left the group since, and one who came since.
      let dora = try await fixture.newcomer("Dora", group: treasury.group)
      try await obstacle(id, dora, "403 approval_not_permitted", isMember: false)
      let later = try await fixture.held("1700.00")
      let left = try dora.person.decision(try await fixture.question(later, dora))
      #expect(
        try await fixture.submit(
          "/v1/groups/\(treasury.group)/remove", ["person": .string(dora.id)], as: deployment.officer
        ).status == 200)
      try await obstacle(later, dora, "403 approval_not_permitted", pending: left)
      #expect(try await fixture.decide(later, alice, "decline").status == 200)

      // What has ended stays ended.
      let pending = try bob.person.decision(try await fixture.question(id, bob))
      #expect(try await fixture.decide(id, alice, "decline")["result", "state"] == "declined")
      try await obstacle(id, bob, "409 payment_ended", pending: pending)
      let voided = try await fixture.held()
      let overtaken = try bob.person.decision(try await fixture.question(voided, bob, "decline"))
      #expect(
        try await fixture.submit("/v1/payments/\(voided)/void", [:], as: owner)["result", "state"] == "voided")
      try await obstacle(voided, bob, "409 payment_ended", pending: overtaken, decision: "decline")

      // The same person twice.
      let both = try await fixture.newConsent(treasury.draft(approvals: 2))
      let two = try await fixture.held(under: both)
      let again = try alice.person.decision(try await fixture.question(two, alice))
      let half = try await fixture.decide(two, alice)
      #expect(half["result", "state"] == "held" && half["result", "approvals_given"] == 1, "\(half.text)")
      try await obstacle(two, alice, "409 approval_repeated")
      #expect(try await fixture.decide(two, again).summary == "401 webauthn_counter")
      #expect(try await reserved() != atFirst)

      // A consent that was amended, an agent and a consent that were revoked, a policy that was replaced.
      let asked = try bob.person.decision(try await fixture.question(two, bob))
      var amendment = try #require(treasury.draft(approvals: 2).object)
      amendment["consent"] = .string(both)
      #expect(
        try await treasury.owner.person.consent(fixture.client, as: owner, .object(amendment)).status == 200)
      try await obstacle(two, bob, "409 approval_consent_changed", pending: asked)
      let next = try await fixture.held(under: both)
      let before = try bob.person.decision(try await fixture.question(next, bob))
      #expect(try await fixture.submit("/v1/consents/\(both)/revoke", [:], as: owner).status == 200)
      try await obstacle(next, bob, "409 consent_revoked", pending: before)
      // A decline is safe whatever was changed.
      for payment in [two, next] {
        #expect(try await fixture.decide(payment, bob, "decline")["result", "state"] == "declined")
      }
      let third = try await fixture.held()
      let ready = try bob.person.decision(try await fixture.question(third, bob))
      #expect(try await fixture.publishPolicy().status == 201)
      try await obstacle(third, bob, "409 approval_policy_changed", pending: ready)
      #expect(try await fixture.decide(third, bob, "decline").status == 200)
      let agent = try await deployment.enrol(try deployment.newKey(.ed25519), name: "ends", fixture.client)
      #expect(try await deployment.approve(agent, fixture.client).status == 200)
      let consent = try await fixture.newConsent(treasury.draft(agent: agent))
      let last = try await fixture.held(under: consent, as: agent)
      let unsent = try bob.person.decision(try await fixture.question(last, bob))
      #expect(try await deployment.revoke(agent, fixture.client).status == 200)
      try await obstacle(last, bob, "409 agent_revoked", pending: unsent)
      #expect(try await fixture.decide(last, bob, "decline").status == 200)

      // All that was reserved came back.
      #expect(try await reserved() == atFirst)
    }
  }
}
