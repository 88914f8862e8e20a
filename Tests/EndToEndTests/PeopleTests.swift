import AgentIdentity
import DemoClient
import SoftwareAuthenticator
import Synchronization
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// Who gets credentials, who gets in, and for how long.
  @Suite(.serialized) struct People {
    private static func enrolment(
      _ person: Person, _ options: Answer, approval: Faults = Faults(), signIn: Faults = Faults()
    ) throws -> JSONValue {
      [
        "approval": try person.make(try #require(options["approval"], "\(options.text)"), approval),
        "sign_in": try person.make(try #require(options["sign_in"]), signIn),
      ]
    }

    // MARK: - Enrolment

    /// What a browser or a key does wrong, with the code that it gets; each under one invitation, which stays open.
    @Test func faultyRegistrationsAreRefused() async throws {
      let fixture = try await Fixture.shared
      let token = try await fixture.invitation()
      try await fixture.warm()
      let before = try await fixture.standing()
      let origin = try Person("x", fixture.deployment.ready).origin
      let cases: [(String, Faults, Faults, String)] = [
        (
          "an approval credential that can be backed up", Faults { $0.backupEligible = true }, Faults(),
          "400 webauthn_backup_eligible"
        ),
        (
          "one that is backed up and cannot be", Faults { $0.backupState = true }, Faults(), "400 webauthn_backup_state"
        ),
        ("nobody verified", Faults { $0.userVerified = false }, Faults(), "400 webauthn_user_verification"),
        ("nobody there", Faults { $0.userPresent = false }, Faults(), "400 webauthn_user_presence"),
        ("sign-in: nobody verified", Faults(), Faults { $0.userVerified = false }, "400 webauthn_user_verification"),
        ("another origin", Faults { $0.origin = "https://approve.trustcore.example" }, Faults(), "400 webauthn_origin"),
        (
          "the origin without its port", Faults { $0.origin = "https://approve.trustcore.localhost" }, Faults(),
          "400 webauthn_origin"
        ),
        ("the origin with a slash", Faults { $0.origin = origin + "/" }, Faults(), "400 webauthn_origin"),
        ("http", Faults { $0.origin = origin.replacing("https", with: "http") }, Faults(), "400 webauthn_origin"),
        (
          "in a frame of another site", Faults { $0.clientDataMembers = ["crossOrigin": true] }, Faults(),
          "400 webauthn_cross_origin"
        ),
        ("an assertion's client data", Faults { $0.type = "webauthn.get" }, Faults(), "400 webauthn_type"),
        ("another relying party", Faults { $0.relyingPartyID = "trustcore.localhost" }, Faults(), "400 webauthn_rp_id"),
        (
          "sign-in: that of approvals", Faults(), Faults { $0.relyingPartyID = "approve.trustcore.localhost" },
          "400 webauthn_rp_id"
        ),
        (
          "a challenge of nobody", Faults { $0.challenge = KernelRandom().bytes(32) }, Faults(), "409 challenge_unknown"
        ),
        (
          "client data changed after signing",
          Faults { $0.clientDataAfterSigning = { $0.dropLast() + Array(#","a":1}"#.utf8) } }, Faults(),
          "400 webauthn_attestation"
        ),
        ("an attestation of no format", Faults { $0.format = "own" }, Faults(), "400 webauthn_attestation"),
        (
          "an attestation that is no CBOR", Faults { $0.attestationObject = { _ in [0xFF] } }, Faults(),
          "400 webauthn_malformed"
        ),
        (
          "half an attestation", Faults { $0.attestationObject = { Array($0.prefix($0.count / 2)) } }, Faults(),
          "400 webauthn_malformed"
        ),
      ]
      for (name, approval, signIn, wanted) in cases {
        let person = try Person("Carol", fixture.deployment.ready)
        let options = try await fixture.post("/v1/enrolments/options", [:], bearer: token)
        let body = try Self.enrolment(person, options, approval: approval, signIn: signIn)
        let answer = try await fixture.post("/v1/enrolments", body, bearer: token)
        #expect(answer.summary == wanted, "\(name): \(answer.text)")
        // Its challenges are used up, whatever they were used for.
        let again = try await fixture.post("/v1/enrolments", body, bearer: token)
        #expect((400..<500).contains(again.status), "\(name): \(again.summary)")
      }
      #expect(try await fixture.standing() == before)
      // None of that used the invitation up.
      let person = try Person("Carol", fixture.deployment.ready)
      #expect(try await person.enrol(fixture.client, invitation: token).status == 201)
      print("people: \(cases.count) faulty registrations were refused")
    }

    /// Parts of good registrations, put together otherwise.
    @Test func registrationsCannotBeRearranged() async throws {
      let fixture = try await Fixture.shared
      let (mine, other) = (try await fixture.invitation(), try await fixture.invitation())
      let person = try Person("Carol", fixture.deployment.ready)
      func options(_ token: String) async throws -> Answer {
        try await fixture.post("/v1/enrolments/options", [:], bearer: token)
      }
      func enrol(_ body: JSONValue, _ token: String) async throws -> String {
        try await fixture.post("/v1/enrolments", body, bearer: token).summary
      }
      func swapped(_ body: JSONValue) -> JSONValue {
        ["approval": body.object?["sign_in"] ?? .null, "sign_in": body.object?["approval"] ?? .null]
      }
      // Challenges are for one purpose under one invitation.
      #expect(
        try await enrol(swapped(try Self.enrolment(person, try await options(mine))), mine) == "409 challenge_unknown")
      #expect(try await enrol(try Self.enrolment(person, try await options(other)), mine) == "409 challenge_unknown")
      // The same registration for both purposes, and a sign-in in the place of a registration.
      let body = try Self.enrolment(person, try await options(mine))
      #expect(
        try await enrol(
          ["approval": body.object?["approval"] ?? .null, "sign_in": body.object?["approval"] ?? .null], mine)
          == "409 challenge_unknown")
      let signIn = try await fixture.post("/v1/sessions/options", [:])
      let assertion = try fixture.treasury.alice.person.tap(try #require(signIn.json))
      #expect(try await enrol(["approval": assertion], mine) == "400 webauthn_malformed")
      // A credential that somebody has, under one more invitation.
      let carol = try Person("Carol", fixture.deployment.ready)
      let fixed = Faults { $0.credentialID = Array(repeating: 7, count: 32) }
      let first = try Self.enrolment(carol, try await options(mine), approval: fixed)
      #expect(try await enrol(first, mine) == "201")
      let second = try Self.enrolment(person, try await options(other), approval: fixed)
      #expect(try await enrol(second, other) == "409 credential_enrolled")
      // And the invitation that is used lets nobody in again.
      #expect(try await enrol(first, mine) == "409 invitation_used")
      // One credential is enough: who only approves by the command line of another needs no session.
      let only = try await options(other)
      #expect(try await enrol(["approval": try person.make(only["approval"] ?? .null)], other) == "201")
    }

    @Test func invitationsAreForOnceAndForAWhile() async throws {
      let fixture = try await Fixture.shared
      let short = try await fixture.invitation(seconds: 1)
      let end = ContinuousClock.now + .seconds(20)
      var answer = try await fixture.post("/v1/enrolments/options", [:], bearer: short)
      while answer.status == 200, ContinuousClock.now < end {
        answer = try await fixture.post("/v1/enrolments/options", [:], bearer: short)
      }
      #expect(answer.summary == "403 invitation_expired")
      #expect(
        try await fixture.post("/v1/enrolments", ["approval": [:]], bearer: short).summary == "403 invitation_expired")
      try await fixture.warm()
      let before = try await fixture.standing()
      for token in [
        "", "x", "%", fixture.agent.fresh(), fixture.deployment.registrationToken, fixture.deployment.auditorToken,
        String(repeating: "A", count: 4000), try await fixture.agent.token(fixture.client),
      ] {
        for path in ["/v1/enrolments/options", "/v1/enrolments"] {
          let body: JSONValue = path.hasSuffix("options") ? [:] : ["approval": [:]]
          let answer = try await fixture.post(path, body, bearer: token)
          #expect(answer.status == 401, "\(path) \(token.prefix(40)): \(answer.summary)")
        }
      }
      #expect(try await fixture.post("/v1/enrolments", ["approval": [:]]).summary == "401 token_missing")
      #expect(try await fixture.standing() == before)
      // Who is invited cannot be chosen by whoever is no officer, nor invited as somebody who does not exist.
      let digest: JSONValue = .string(Base64.URL.encode(KernelRandom().bytes(32)))
      for (person, code) in [
        (["kind": "owner", "id": "nobody", "name": "x"] as JSONValue, "422 owner_not_found"),
        (["kind": "owner", "id": .string(fixture.agent.id), "name": "x"], "422 owner_not_found"),
        (["kind": "officer", "name": "x"], "422 person_kind_unknown"),
        (["kind": "approver", "name": "a\u{202e}b"], "422 name_characters"),
        (["kind": "approver", "name": "a\u{0}b"], "422 name_characters"),
      ] {
        let body: JSONValue = ["digest": digest, "person": person, "expires_in": 60]
        #expect(try await fixture.submit("/v1/invitations", body, as: fixture.deployment.officer).summary == code)
      }
    }

    // MARK: - Signing in

    @Test func faultySignInsAreRefused() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let person = fixture.treasury.bob.person
      let before = try await fixture.standing()
      let flip: @Sendable ([UInt8]) -> [UInt8] = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
      let cases: [(String, Faults, Set<String>)] = [
        ("nobody verified", Faults { $0.userVerified = false }, ["401 webauthn_user_verification"]),
        ("nobody there", Faults { $0.userPresent = false }, ["401 webauthn_user_presence"]),
        ("another origin", Faults { $0.origin = "https://trustcore.localhost" }, ["401 webauthn_origin"]),
        ("the API's origin", Faults { [api = fixture.client.api] in $0.origin = api }, ["401 webauthn_origin"]),
        ("in a frame", Faults { $0.clientDataMembers = ["crossOrigin": true] }, ["401 webauthn_cross_origin"]),
        ("a registration", Faults { $0.type = "webauthn.create" }, ["401 webauthn_type"]),
        ("another relying party", Faults { $0.relyingPartyID = "localhost" }, ["401 webauthn_rp_id"]),
        ("a changed signature", Faults { $0.signature = flip }, ["401 webauthn_signature"]),
        ("no signature", Faults { $0.signature = { _ in [] } }, ["400 webauthn_malformed", "401 webauthn_signature"]),
        ("changed data", Faults { $0.authenticatorDataAfterSigning = flip }, ["401 webauthn_signature"]),
        (
          "another person's handle", Faults { [id = fixture.treasury.alice.id] in $0.userHandle = Array(id.utf8) },
          ["401 webauthn_user_handle"]
        ),
        ("a credential of nobody", Faults { $0.credentialID = [1, 2, 3] }, ["401 credential_unknown"]),
        ("a challenge of nobody", Faults { $0.challenge = KernelRandom().bytes(32) }, ["409 challenge_unknown"]),
        ("an empty challenge", Faults { $0.challenge = [] }, ["409 challenge_unknown"]),
        (
          "client data that is no JSON", Faults { $0.clientData = { _ in Array("{".utf8) } }, ["400 webauthn_malformed"]
        ),
        (
          "client data that is changed",
          Faults { $0.clientDataAfterSigning = { $0.dropLast() + Array(#","a":1}"#.utf8) } }, ["401 webauthn_signature"]
        ),
      ]
      for (name, faults, wanted) in cases {
        let options = try await fixture.post("/v1/sessions/options", [:])
        let assertion = try person.tap(try #require(options.json), faults)
        let answer = try await fixture.post("/v1/sessions", assertion)
        #expect(wanted.contains(answer.summary), "\(name): \(answer.text)")
        #expect(answer.header("set-cookie") == nil, "\(name)")
      }
      // An approval credential approves, and a challenge of an approval does not sign in.
      var options = try #require(try await fixture.post("/v1/sessions/options", [:]).json?.object)
      options["rpId"] = "approve.trustcore.localhost"
      let approving = try person.tap(.object(options))
      #expect(try await fixture.post("/v1/sessions", approving).summary == "403 credential_purpose")
      let drafted = try await fixture.deployment.owner.draft(fixture.client, fixture.treasury.draft())
      var foreign = try #require(drafted["options"]?.object)
      foreign["rpId"] = "trustcore.localhost"
      foreign["allowCredentials"] = []
      let other = try fixture.treasury.owner.person.tap(.object(foreign))
      #expect(try await fixture.post("/v1/sessions", other).summary == "409 challenge_unknown")
      #expect(try await fixture.standing() == before)
      print("people: \(cases.count + 2) faulty sign-ins were refused")
    }

    @Test func aSessionEndsWhenItsPersonSignsOut() async throws {
      let fixture = try await Fixture.shared
      let dora = try await fixture.newcomer("Dora", group: fixture.treasury.group)
      let signedIn = try await dora.person.signIn(fixture.client)
      let value = try #require(signedIn.header("set-cookie"))
      let second = Member(person: dora.person, id: dora.id, cookie: String(value.prefix { $0 != ";" }))
      for part in ["__Host-trustcore=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age="] {
        #expect(value.contains(part), "\(value)")
      }
      #expect(!value.contains("Domain"))
      #expect(second.cookie != dora.cookie)
      let ended = try await fixture.post("/v1/sessions/end", [:], cookie: dora.cookie)
      #expect(ended.header("set-cookie")?.contains("Max-Age=0") == true)
      #expect(try await fixture.get("/v1/approvals", as: dora).summary == "401 session_missing")
      #expect(try await fixture.get("/console", as: dora).text.contains("Sign in with your key"))
      // The other session of the same person is another one.
      #expect(try await fixture.get("/v1/approvals", as: second).status == 200)
      // Dora leaves the group, so that it is as it was.
      _ = try await fixture.submit(
        "/v1/groups/\(fixture.treasury.group)/remove", ["person": .string(dora.id)], as: fixture.deployment.officer)
    }

    /// A session reads. It moves nothing, decides nothing, and serves no other site.
    @Test func aSessionAloneDecidesNothing() async throws {
      let fixture = try await Fixture.shared
      let (treasury, alice) = (fixture.treasury, fixture.treasury.alice)
      let id = try await fixture.held()
      try await fixture.warm()
      let before = try await fixture.standing()
      let good = try await GoodBody.all(fixture)
      let standing = try await fixture.standing()
      for operation in fixture.description.operations where operation.isSigned {
        let body = try #require(good[operation.id])
        let answer = try await fixture.post(body.path, body.body, cookie: treasury.owner.cookie)
        #expect(answer.summary == "401 signature_missing", "\(operation.id)")
      }
      for site in ["cross-site", "same-site", "none", "nonsense"] {
        let challenge = try await fixture.post(
          "/v1/approvals/\(id)/challenge", ["decision": "approve"], cookie: alice.cookie, site: site)
        #expect(challenge.summary == "403 cross_site", "\(site)")
        let draft = try await fixture.post(
          "/v1/consents/draft", treasury.draft(), cookie: treasury.owner.cookie, site: site)
        #expect(draft.summary == "403 cross_site", "\(site)")
        let end = try await fixture.post("/v1/sessions/end", [:], cookie: alice.cookie, site: site)
        #expect(end.summary == "403 cross_site", "\(site)")
      }
      #expect(
        try await fixture.post(
          "/v1/approvals/\(id)/challenge", ["decision": "approve"], cookie: alice.cookie, site: "same-origin"
        ).status == 200)
      // With a cookie that is none, nothing is read either, also where a token would do.
      for path in ["/v1/approvals", "/v1/approvals/\(id)", "/v1/consents", "/v1/payments/\(id)", "/v1/receipts/\(id)"] {
        let fields = [HTTPMessage.Field("Cookie", "__Host-trustcore=" + fixture.agent.fresh())]
        let answer = try await fixture.send(OutgoingRequest("GET", path, headers: fields))
        #expect(answer.summary == "401 session_missing", "\(path)")
      }
      #expect(try await fixture.standing().accounts == standing.accounts)
      #expect(before.size <= standing.size)
      #expect(try await fixture.decide(id, alice, "decline").status == 200)
    }

    /// A restart ends sessions and open ceremonies; what is held stays, and is decided after signing in again.
    @Test func aRestartEndsSessionsAndKeepsPayments() async throws {
      let fixture = try await Fixture(state: Built.fresh("restart"))
      let alice = fixture.treasury.alice
      let id = try await fixture.held()
      let question = try await fixture.question(id, alice)
      let decision = try alice.person.decision(question)
      let shown = try await fixture.get("/v1/approvals/\(id)", as: alice)
      try await fixture.daemon.stop()
      let ready = try await fixture.daemon.start()
      Built.daemons.withLock { $0.append(ready.pid) }
      let client = try TrustCoreClient(ready)
      func get(_ path: String, _ cookie: String) async throws -> Answer {
        try await client.send(OutgoingRequest("GET", path, headers: Fixture.browser(cookie: cookie)))
      }
      #expect(try await get("/v1/approvals", alice.cookie).summary == "401 session_missing")
      #expect(
        try await client.post("/v1/approvals/\(id)/decisions", decision).summary == "409 challenge_unknown")
      let signedIn = try await alice.person.signIn(client)
      let cookie = try #require(signedIn.header("set-cookie")?.split(separator: ";").first.map(String.init))
      #expect(try await get("/v1/approvals/\(id)", cookie).body == shown.body)
      let decided = try await alice.person.decide(client, id)
      #expect(decided["result", "state"] == "posted", "\(decided.text)")
      await client.close()
      try await fixture.daemon.stop()
    }
  }
}
