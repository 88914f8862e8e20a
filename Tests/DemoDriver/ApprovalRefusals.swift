import DemoClient
import JOSE
import Wire

/// Approvals that do not count, in step 8.
enum ApprovalRefusals {
  /// What two payments that wait give to try things on.
  private struct Waiting {
    let first: String
    let second: String
  }

  static func run(_ stage: Stage) async {
    var waiting: Waiting?
    do {
      waiting = Waiting(first: try await stage.hold("1500.00"), second: try await stage.hold("1600.00"))
      for name in ["Cleo", "the owner"] {
        try stage.demand(200, "signing in", try await stage.person(name).signIn(try stage.client))
      }
    } catch { stage.narrator.line("       \(error)") }
    await who(waiting, stage)
    await what(waiting, stage)
    await twice(stage)
    await when(waiting, stage)
    await policy(stage)
  }

  private static func payments(_ waiting: Waiting?) throws -> Waiting {
    guard let waiting else { throw NotReached(missing: "payments that wait") }
    return waiting
  }

  // MARK: - Who approves

  private static func who(_ waiting: Waiting?, _ stage: Stage) async {
    await stage.refusal(
      "8.10", "an approval for another command", "Ada signed the first payment; her tap is handed in for the second.",
      403, "approval_wrong_command"
    ) {
      let payments = try payments(waiting)
      return try await stage.answer("Ada", try await stage.question("Ada", payments.first), payments.second)
    }
    await stage.refusal(
      "8.11", "an approval by the initiator", "The owner is in the group too, but it is the owner's agent who asks.",
      403, "approval_by_initiator"
    ) { try await stage.person("the owner").question(try stage.client, try payments(waiting).first) }
    await stage.refusal(
      "8.12", "an approval from outside the group", "Cleo has a key and a session, and is in no group.", 403,
      "approval_not_permitted"
    ) { try await stage.person("Cleo").question(try stage.client, try payments(waiting).first) }
  }

  // MARK: - What is signed

  private static func what(_ waiting: Waiting?, _ stage: Stage) async {
    await stage.refusal(
      "8.13", "the sign-in credential approves", "The same hardware key, but the credential that opens the console.",
      403, "credential_purpose"
    ) {
      let payment = try payments(waiting).first
      let question = try await stage.question("Ada", payment)
      guard let approval = question["approval"], var options = question["options"]?.object else {
        throw NotReached(missing: "the question")
      }
      options["rpId"] = "trustcore.localhost"
      options["allowCredentials"] = []
      let assertion = try stage.person("Ada").tap(.object(options))
      return try await stage.client.decide(payment, ["approval": approval, "assertion": assertion])
    }
    await stage.refusal(
      "8.14", "another statement than the one signed",
      "The digest of what was read is exchanged after the tap; the key signed over it.", 401, "webauthn_challenge"
    ) {
      let payment = try payments(waiting).first
      var decision = try stage.person("Ada").decision(try await stage.question("Ada", payment)).object ?? [:]
      var approval = decision["approval"]?.object ?? [:]
      approval["statement_digest"] = .string(Base64.URL.encode([UInt8](repeating: 7, count: 32)))
      decision["approval"] = .object(approval)
      return try await stage.client.decide(payment, .object(decision))
    }
    var decision: JSONValue?
    await stage.item(
      "8.15", "a decision sent twice counts once",
      "A browser that lost the answer sends the same bytes again, and gets the first answer."
    ) {
      let payment = try payments(waiting).first
      let body = try stage.person("Ada").decision(try await stage.question("Ada", payment))
      let before = try await stage.account("payments account")
      let first = try stage.demand(200, "the approval", try await stage.client.decide(payment, body))
      let second = try stage.demand(200, "the approval again", try await stage.client.decide(payment, body))
      try expect("the second answer, byte for byte", second.text, first.text)
      try expect("state", first["result", "state"]?.string, "posted")
      let after = try await stage.account("payments account")
      try expect("debited", before.balance - after.balance, 1500_00)
      decision = body
      return .done("same \(first.body.count) bytes, one posting")
    }
    await stage.refusal(
      "8.16", "the same tap under a changed body", "An assertion is one command; it cannot come to mean a second.", 422,
      "idempotency_key_reused"
    ) {
      guard var changed = decision?.object, var assertion = changed["assertion"]?.object else {
        throw NotReached(missing: "the decision")
      }
      assertion["authenticatorAttachment"] = "platform"
      changed["assertion"] = .object(assertion)
      return try await stage.client.decide(try payments(waiting).first, .object(changed))
    }
  }

  // MARK: - How often

  private static func twice(_ stage: Stage) async {
    var payment: String?
    await stage.refusal(
      "8.17", "an approval by the same person twice",
      "This consent wants two people; Ada was asked twice and taps twice.",
      409, "approval_repeated",
      after: {
        try await stage.consent(
          "consent for two", Stage.Draft(above: "1000.00", approvals: 2))
        let held = try await stage.hold("1100.00", to: "supplier", by: "book", under: "consent for two")
        payment = held
        let second = try await stage.question("Ada", held)
        let first = try await stage.decide("Ada", held)
        try expect("state after one of two", first["result", "state"]?.string, "held")
        return (held, second)
      }
    ) { held, second in try await stage.answer("Ada", second, held) }
    await stage.item(
      "8.18", "a second person completes it", "Ben taps as well, and it goes through: two approvals, two people."
    ) {
      guard let payment else { throw NotReached(missing: "the payment for two") }
      let before = try await stage.account("payments account")
      let answer = try await stage.decide("Ben", payment)
      try expect("state", answer["result", "state"]?.string, "posted")
      try expect("approvals", answer["result", "approvals"]?.array?.count, 2)
      let after = try await stage.account("payments account")
      try expect("debited", before.balance - after.balance, 1100_00)
      return .done("2 of 2, posted in leaf \(answer["leaf_index"]?.integer ?? -1)")
    }
  }

  // MARK: - When

  private static func when(_ waiting: Waiting?, _ stage: Stage) async {
    await stage.refusal(
      "8.19", "an approval after its time", "The payment waited for two seconds; the tap comes later.", 401,
      "approval_expired",
      after: {
        let held = try await stage.hold("1200.00", seconds: 2)
        let decision = try stage.person("Ada").decision(try await stage.question("Ada", held))
        try await stage.poll("the payment expires", seconds: 15) {
          try await stage.state(of: held) == "expired" ? true : nil
        }
        return (held, decision)
      }
    ) { held, decision in try await stage.client.decide(held, decision) }
    await stage.refusal(
      "8.20", "an approval after the consent changed",
      "Ada was asked under version 2; version 3 is in force when she taps.",
      409, "approval_consent_changed",
      after: {
        let held = try payments(waiting).second
        let question = try await stage.question("Ada", held)
        try await stage.consent("consent", ApprovalStep.version2)
        return (held, question)
      }
    ) { held, question in try await stage.answer("Ada", question, held) }
    await stage.refusal(
      "8.21", "an approval after the policy changed", "An officer published the first policy between question and tap.",
      409, "approval_policy_changed",
      after: {
        try await stage.void(try payments(waiting).second)
        let held = try await stage.hold("1300.00")
        let question = try await stage.question("Ada", held)
        let rules: JSONValue = [
          [
            "id": "quiet-partners", "action": ["kind": "deny"],
            "condition": ["kind": "counterparty", "counterparties": ["quiet"]],
          ]
        ]
        let answer = try stage.demand(
          201, "the policy",
          try await stage.officer.submit(
            try stage.client, "/v1/policies", ["policy": ["version": 1, "rules": rules]]))
        stage.enrolments["policy"] = UInt64(answer["leaf_index"]?.integer ?? 0)
        return (held, question)
      }
    ) { held, question in try await stage.answer("Ada", question, held) }
  }

  // MARK: - Policy and invitations

  private static func policy(_ stage: Stage) async {
    await stage.refusal(
      "8.22", "what the policy denies", "Within the consent, and against the officers' rule.", 403, "policy_denied"
    ) { try await stage.pay(try stage.payment("1.00", to: "quiet", by: "ach", under: "consent")) }
    await stage.item(
      "8.23", "what it allows rests on it",
      "The receipt of a payment names the leaf of the policy beside the consent's."
    ) {
      let (client, agent) = (try stage.client, try stage.party("payer"))
      let body = try stage.payment("1.00", to: "supplier", under: "consent")
      let request = try agent.command(Stage.authorize, body, token: try await agent.token(client))
      let answer = try stage.demand(201, "the payment", try await client.send(request))
      let (consent, policy) = (stage.enrolments["consent"] ?? 0, stage.enrolments["policy"] ?? 0)
      _ = try stage.log.receipt(
        answer, to: request, by: agent, enrolment: stage.enrolments[agent.id] ?? 0,
        references: [("consent", consent), ("policy", policy)])
      return .done("consent, leaf \(consent); policy/1, leaf \(policy)")
    }
    await stage.refusal(
      "8.24", "a reused invitation", "A stranger makes credentials and presents the token that enrolled Ben.", 409,
      "invitation_used"
    ) {
      let stranger = try Person("Mallory", try stage.deployment.ready)
      let options: JSONValue = [
        "rp": ["id": "approve.trustcore.localhost", "name": "x"],
        "user": ["id": "bWFs", "name": "x", "displayName": "x"],
        "challenge": .string(Base64.URL.encode([UInt8](repeating: 1, count: 32))),
        "pubKeyCredParams": [["type": "public-key", "alg": -7]], "attestation": "direct",
      ]
      return try await stage.client.post(
        "/v1/enrolments", ["approval": try stranger.make(options)], bearer: try stage.named("Ben's invitation"))
    }
  }
}
