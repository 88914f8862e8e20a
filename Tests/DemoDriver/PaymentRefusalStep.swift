import DemoClient
import JOSE
import Wire

/// Step 8: what neither consent nor approval permits does not happen.
enum PaymentRefusalStep {
  @Sendable static func run(_ stage: Stage) async {
    stage.narrator.heading("8  More refusals")
    await limits(stage)
    await consents(stage)
    await ApprovalRefusals.run(stage)
    await crowd(stage)
  }

  // MARK: - Limits

  private static func limits(_ stage: Stage) async {
    await stage.refusal(
      "8.1", "above the limit of one payment", "Version 2 permits USD 20000.00 at once, and not a cent more.", 422,
      "consent_single_limit"
    ) { try await stage.pay(try stage.payment("20000.01", to: "acme", by: "ach", under: "consent")) }
    await stage.refusal(
      "8.2", "above the limit of a day", "USD 400.00 of 2000.00 are spent; 1600.01 more do not fit.", 422,
      "consent_daily_limit"
    ) { try await stage.pay(try stage.payment("1600.01", to: "supplier", under: "small consent")) }
    await stage.refusal(
      "8.3", "above the count of an hour", "A consent for two payments an hour, and a third one.", 422,
      "consent_hourly_limit",
      after: {
        try await stage.consent("hourly consent", Stage.Draft(hourly: 2))
        for _ in 0..<2 {
          try stage.demand(
            201, "a payment", try await stage.pay(try stage.payment("1.00", to: "supplier", under: "hourly consent")))
        }
      }
    ) { try await stage.pay(try stage.payment("1.00", to: "supplier", under: "hourly consent")) }
    await stage.refusal(
      "8.4", "a rail that the consent does not name", "It permits book transfers, and this is ACH.", 403,
      "consent_rail_not_permitted"
    ) { try await stage.pay(try stage.payment("1.00", to: "supplier", by: "ach", under: "small consent")) }
    await stage.refusal(
      "8.5", "a counterparty that it does not name", "Whoever is not in the terms is not paid.", 403,
      "consent_counterparty_not_permitted"
    ) { try await stage.pay(try stage.payment("1.00", to: "mallory", under: "small consent")) }
  }

  // MARK: - The consent itself

  private static func consents(_ stage: Stage) async {
    await stage.refusal(
      "8.6", "a revoked consent", "The owner ended it a moment ago, with a signed command.", 403, "consent_revoked",
      after: {
        let id = try stage.named("hourly consent")
        try stage.demand(
          200, "the revocation",
          try await stage.owner.submit(try stage.client, "/v1/consents/\(id)/revoke", ["reason": "demo"]))
      }
    ) { try await stage.pay(try stage.payment("1.00", to: "supplier", under: "hourly consent")) }
    await stage.refusal(
      "8.7", "an expired consent", "It was given for two seconds.", 403, "consent_expired",
      after: {
        try await stage.consent("brief consent", Stage.Draft(seconds: 2))
        let end = stage.time.now().adding(seconds: 2)
        try await stage.poll("the consent expires", seconds: 10) { stage.time.now() > end ? true : nil }
      }
    ) { try await stage.pay(try stage.payment("1.00", to: "supplier", under: "brief consent")) }
    await stage.refusal(
      "8.8", "a consent for another agent's key", "Another agent of the same owner tries to pay under it.", 403,
      "consent_wrong_agent"
    ) {
      try await stage.party("Ed25519")
        .submit(try stage.client, Stage.authorize, try stage.payment("1.00", to: "supplier", under: "consent"))
    }
    await stage.refusal(
      "8.9", "around the consent", "The agent itself tries a plain transfer from the account under consent.", 403,
      "account_under_consent"
    ) {
      try await stage.party("payer")
        .submit(try stage.client, "/v1/ledger/transfers", try stage.transfer(100, from: "payments account"))
    }
  }

  // MARK: - All at once

  private static func crowd(_ stage: Stage) async {
    let (payments, fit) = (256, 100)
    await stage.item(
      "8.25", "\(payments) payments at once, \(fit) fit",
      "Each of USD 1.00 fits into the budget of USD \(fit).00 by itself; together exactly as many go through as fit."
    ) {
      try await stage.consent(
        "crowd consent", Stage.Draft(single: "1.00", daily: "\(fit).00", hourly: 1000))
      let (client, agent) = (try stage.client, try stage.party("payer"))
      let (body, token) = (
        try stage.payment("1.00", to: "supplier", under: "crowd consent"), try await agent.token(client)
      )
      let before = try await stage.account("payments account")
      let requests = try (0..<payments).map { _ in try agent.command(Stage.authorize, body, token: token) }
      let answers = try await withThrowingTaskGroup(of: String.self) { group in
        for request in requests { group.addTask { try await client.send(request).summary } }
        return try await group.reduce(into: [:]) { counts, answer in counts[answer, default: 0] += 1 }
      }
      for (answer, count) in answers.sorted(by: { $0.key < $1.key }) {
        stage.narrator.value(answer, "\(count) times")
      }
      try expect("answers", answers, ["201": fit, "422 consent_daily_limit": payments - fit])
      let after = try await stage.account("payments account")
      try expect("debited", before.balance - after.balance, fit * 100)
      try expect("available", after.available, after.balance - (before.balance - before.available))
      return .done("\(fit) went through, \(payments - fit) were refused")
    }
  }
}
