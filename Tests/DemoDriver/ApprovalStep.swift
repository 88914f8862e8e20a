import DemoClient
import Foundation
import JOSE
import TrustCoreAPI
import Wire

/// Step 7: above the threshold a payment waits for people.
enum ApprovalStep {
  @Sendable static func run(_ stage: Stage) async {
    stage.narrator.heading("7  A larger payment waits for a hardware key")
    await released(stage)
    await ended(stage)
    await amended(stage)
  }

  // MARK: - Approved

  private static func released(_ stage: Stage) async {
    let say = stage.narrator
    var known: Statement.Known?
    var question: Answer?

    await stage.item(
      "7.1", "a payment above the threshold is held",
      "202: its leaf says 'hold', no seal can be made of it, and funds and budget are reserved."
    ) {
      let (client, agent) = (try stage.client, try stage.party("payer"))
      let before = try await stage.account("payments account")
      let body = try stage.payment(
        "2500.00", to: "acme", by: "ach", under: "consent", reference: "invoice <4712> & more", seconds: 3600)
      let request = try agent.command(Stage.authorize, body, token: try await agent.token(client))
      let answer = try stage.demand(202, "the payment", try await client.send(request))
      let receipt = try stage.log.receipt(
        answer, to: request, by: agent, enrolment: stage.enrolments[agent.id] ?? 0,
        references: [("consent", stage.enrolments["consent"] ?? 0)], isHeld: true)
      try expect("state", answer["result", "state"]?.string, "held")
      let after = try await stage.account("payments account")
      try expect("balance", after.balance, before.balance)
      try expect("reserved", before.available - after.available, 2500_00)
      known = Statement.Known(
        request: request, answer: answer, amount: "USD 2,500.00", reference: "invoice <4712> & more", seconds: 3600)
      stage.setName("held payment", answer["result", "payment"]?.string ?? "")
      return .done("USD 2500.00, held in leaf \(receipt.index)")
    }

    await stage.item(
      "7.2", "Ada reads what she signs, in two places",
      "She signs in and opens the page. Page, command line and challenge show one text, which the demo writes once "
        + "more from what it knows: the same letter by letter."
    ) {
      guard let known else { throw NotReached(missing: "the held payment") }
      let (client, ada, payment) = (try stage.client, try stage.person("Ada"), try stage.named("held payment"))
      try stage.demand(200, "signing in", try await ada.signIn(client))
      let expected = try Statement.written(known, stage)
      let page = try stage.demand(200, "the page", try await ada.send(client, "GET", "/console/approvals/\(payment)"))
      try expect("the statement on the page", try Statement.onPage(page), expected)
      try expect("the statement of trustcore approvals show", try Statement.inTool(payment, stage), expected)
      let asked = try await stage.question("Ada", payment)
      try expect("the statement of the challenge", asked["statement"]?.string, expected)
      question = asked
      for line in expected.split(separator: "\n").prefix(8) {
        let parts = line.split(separator: ":", maxSplits: 1)
        say.value(String(parts[0]), parts[1].trimmingPrefix { $0 == " " }.description)
      }
      return .done("\(expected.split(separator: "\n").count) lines, three times the same")
    }

    await stage.item(
      "7.3", "Ada taps, and the payment goes through",
      "Her key signs a challenge over command, consent, policy, group and statement; that approval is the command whose "
        + "seal posts the payment."
    ) {
      guard let question else { throw NotReached(missing: "the question") }
      let payment = try stage.named("held payment")
      let before = try await stage.account("payments account")
      let decision = try stage.person("Ada").decision(question)
      let answer = try stage.demand(200, "the approval", try await stage.client.decide(payment, decision))
      try expect("state", answer["result", "state"]?.string, "posted")
      let after = try await stage.account("payments account")
      try expect("debited", before.balance - after.balance, 2500_00)
      try expect("available", after.available, after.balance)
      let command = answer["command_id"]?.string ?? ""
      stage.setName("approval command", command)
      stage.setName("approval body", String(decoding: decision.canonical(), as: UTF8.self))
      stage.enrolments[command] = UInt64(answer["leaf_index"]?.integer ?? 0)
      return .done("approved and posted in leaf \(answer["leaf_index"]?.integer ?? -1)")
    }

    await stage.item(
      "7.4", "the receipt names the approval",
      "From the receipt and genesis.json alone: each leaf is under a signed checkpoint, each signature and each tap is "
        + "verified again, and each key is vouched for back to genesis."
    ) { try await chain(stage) }
  }

  private static func chain(_ stage: Stage) async throws -> Outcome {
    let (client, agent, ada) = (try stage.client, try stage.party("payer"), try stage.person("Ada"))
    let (payment, command) = (try stage.named("held payment"), try stage.named("approval command"))
    let receipt = try await stage.poll("the entry in a file", seconds: 15) { () -> Answer? in
      let answer = try await agent.get(client, "/v1/receipts/\(payment)")
      return answer["payment", "file", "file"] == nil ? nil : answer
    }
    let approval = receipt["payment", "approvals"]?.array?.first?.object
    try expect("approver", approval?["approver"]?.string, ada.id)
    try expect("command of the approval", approval?["command_id"]?.string, command)
    let genesis = FileManager.default.contents(atPath: try stage.deployment.ready["genesis"] ?? "") ?? Data()
    let held = try stage.log.bundle(receipt, genesis: Array(genesis)).sealed
    let bundle = try stage.log.bundle(
      try stage.demand(200, "the approval's receipt", try await agent.get(client, "/v1/receipts/\(command)")),
      genesis: Array(genesis))
    let (released, consent) = (bundle.sealed, stage.enrolments["consent"] ?? 0)
    try expect("kind of the payment's leaf", held.kind, "held")
    try expect("kind of the approval's leaf", released.kind, "authorized")
    try expect("who approved", released.principal, ada.id)
    try expect("Ada's enrolment", released.vouchedBy, stage.enrolments[ada.id] ?? 0)
    try expect("posted under", receipt["payment", "posted_leaf_index"]?.integer, Int64(released.index))
    try expect(
      "what the approval rests on", released.references.map { "\($0.role) \($0.index)" },
      ["held \(held.index)", "consent \(consent)"])
    let say = stage.narrator
    say.value("agent's key", "approved in leaf \(held.vouchedBy)")
    say.value("consent", "leaf \(consent), by a key enrolled in leaf \(bundle.parts[consent]?.vouchedBy ?? 0)")
    say.value("policy", released.policy)
    say.value("held payment", "leaf \(held.index)")
    say.value("approval, posting", "leaf \(released.index), by \(released.principal)")
    say.value(
      "approver's key",
      "enrolled in leaf \(released.vouchedBy), invited in leaf \(bundle.parts[released.vouchedBy]?.vouchedBy ?? 0)")
    say.value(
      "file entry",
      "trace \(receipt["payment", "trace_number"]?.string ?? ""), file \(receipt["payment", "file", "file"]?.integer ?? -1)"
        + ", leaf \(receipt["payment", "file", "leaf_index"]?.integer ?? -1)")
    return .done("by Ada in leaf \(released.index), \(bundle.parts.count) leaves proven")
  }

  // MARK: - Not approved

  private static func ended(_ stage: Stage) async {
    await stage.item(
      "7.5", "a payment is declined",
      "It had taken up the day's budget of a smaller consent. One tap later funds and budget are back."
    ) {
      try await stage.consent(
        "small consent", Stage.Draft(single: "2000.00", daily: "2000.00", above: "1000.00"))
      let before = try await stage.account("payments account")
      let payment = try await stage.hold("1900.00", to: "supplier", by: "book", under: "small consent")
      try await fullBudget(stage)
      let answer = try await stage.decide("Ada", payment, "decline")
      try expect("state", answer["result", "state"]?.string, "declined")
      try await spend(stage, before)
      return .done("USD 1900.00 held and given back")
    }
    await stage.item(
      "7.6", "a held payment expires by itself",
      "Nobody decides within two seconds; the daemon ends it, on the record, and gives funds and budget back."
    ) {
      let before = try await stage.account("payments account")
      let payment = try await stage.hold("1700.00", to: "supplier", by: "book", under: "small consent", seconds: 2)
      try await fullBudget(stage)
      try await stage.poll("the payment expires", seconds: 15) {
        try await stage.state(of: payment) == "expired" ? true : nil
      }
      try await spend(stage, before)
      return .done("USD 1700.00 given back after 2 s")
    }
  }

  /// Another payment does not fit into the budget of the day.
  private static func fullBudget(_ stage: Stage) async throws {
    let answer = try await stage.pay(try stage.payment("200.00", to: "supplier", under: "small consent"))
    try expect("a payment beside the held one", answer.summary, "422 consent_daily_limit")
  }

  /// It does again, and the funds are those of before.
  private static func spend(_ stage: Stage, _ before: (balance: Int, available: Int)) async throws {
    let after = try await stage.account("payments account")
    try expect("balance", after.balance, before.balance)
    try expect("available", after.available, before.available)
    try stage.demand(
      201, "the payment that did not fit",
      try await stage.pay(try stage.payment("200.00", to: "supplier", under: "small consent")))
  }

  // MARK: - Amended

  private static func amended(_ stage: Stage) async {
    var old: String?
    await stage.item(
      "7.7", "version 2 of the consent takes effect",
      "The owner amends it with a tap. An amount that version 1 forbids is held, approved by Ben, and goes through."
    ) {
      old = try await stage.hold("3000.00")
      let body = try stage.payment("12000.00", to: "acme", by: "ach", under: "consent")
      try expect("under version 1", try await stage.pay(body).summary, "422 consent_single_limit")
      let answer = try await stage.consent("consent", version2)
      try expect("version", answer["result", "version"]?.integer, 2)
      let payment = try await stage.hold("12000.00")
      try stage.demand(200, "signing in", try await stage.person("Ben").signIn(try stage.client))
      try expect("state", try await stage.decide("Ben", payment)["result", "state"]?.string, "posted")
      return .done("version 2, USD 12000.00 paid under it")
    }
    await stage.refusal(
      "7.8", "release of what version 1 held",
      "A payment held under version 1 can no longer be approved; the agent lets go of it and may ask again.", 409,
      "approval_consent_changed"
    ) {
      guard let old else { throw NotReached(missing: "the payment under version 1") }
      return try await stage.person("Ada").question(try stage.client, old)
    }
    await stage.item("7.9", "the agent voids a held payment", "What nobody can approve any more is given back.") {
      guard let old else { throw NotReached(missing: "the payment under version 1") }
      let before = try await stage.account("payments account")
      try await stage.void(old)
      let after = try await stage.account("payments account")
      try expect("available again", after.available - before.available, 3000_00)
      try expect("balance", after.balance, before.balance)
      return .done("USD 3000.00 available again")
    }
  }

  /// Higher limits for the same parties.
  static let version2 = Stage.Draft(
    single: "20000.00", daily: "60000.00", hourly: 100, above: "1000.00", rails: ["ach", "book"],
    counterparties: ["acme", "jane", "empty", "nobody", "quiet", "supplier"], amends: "consent")
}
