import DemoClient
import JOSE
import Rails
import Wire

/// Step 6: an owner consents, an agent pays within it, and the money leaves through a bank.
enum ConsentStep {
  /// The payments that go through without anyone's approval: to whom, and how much.
  private static let payments = [
    ("acme", 950_00), ("jane", 120_50), ("empty", 300_00), ("nobody", 400_00), ("quiet", 500_00),
    ("supplier", 1000_00),
  ]

  /// A payment that was made.
  struct Made {
    let id: String
    let counterparty: String
    let units: Int
    let leaf: UInt64
  }

  @Sendable static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("6  Consent, and payments within it")
    var made: [Made] = []
    var files: [ConsentFiles.File] = []

    await stage.item(
      "6.1", "an agent, and an account to pay from",
      "A new agent, approved by the owner, and a new account of the owner's with funds."
    ) {
      let (client, deployment) = (try stage.client, try stage.deployment)
      let agent = try await deployment.enrol(try deployment.newKey(.p256), name: "payer", client)
      let approval = try stage.demand(200, "approval", try await deployment.approve(agent, client))
      stage.enrolments[agent.id] = UInt64(approval["leaf_index"]?.integer ?? 0)
      stage.setParty("payer", agent)
      let opened = try stage.demand(
        201, "the account", try await (try stage.owner).submit(client, "/v1/ledger/accounts", ["currency": "USD"]))
      guard let id = opened["result", "account", "id"]?.string else {
        throw Deviation("the account", expected: "result.account.id", actual: opened.text)
      }
      stage.setName("payments account", id)
      let funding = try stage.transfer(100_000_00, from: "external account", to: "payments account")
      try stage.demand(201, "funding", try await (try stage.officer).submit(client, "/v1/ledger/transfers", funding))
      say.value("agent", agent.id)
      say.value("account", id)
      return .done("USD \(Stage.decimal(try await stage.account("payments account").balance)) paid in")
    }

    await stage.item(
      "6.2", "the owner consents with a hardware key",
      "The key signs the digest of the terms, which the demo computes itself: agent, key, account, rails, "
        + "counterparties, limits, and from which amount people must agree."
    ) {
      let answer = try await stage.consent(
        "consent",
        Stage.Draft(
          above: "1000.00", rails: ["ach", "book"],
          counterparties: ["acme", "jane", "empty", "nobody", "quiet", "supplier"]))
      say.value("consent", try stage.named("consent"))
      say.value("digest", try stage.named("consent digest"))
      say.value("limits", "10000.00 a payment, 25000.00 a day in New York, 20 an hour, approval above 1000.00")
      try expect("version", answer["result", "version"]?.integer, 1)
      return .done("version 1, in leaf \(answer["leaf_index"]?.integer ?? -1)")
    }

    await stage.item(
      "6.3", "\(payments.count) payments within every limit",
      "Each goes through at once; its receipt is checked offline as in step 3 and names the consent's leaf."
    ) {
      let (client, agent) = (try stage.client, try stage.party("payer"))
      let before = try await stage.account("payments account")
      for (counterparty, units) in payments {
        let body = try stage.payment(
          Stage.decimal(units), to: counterparty, by: counterparty == "supplier" ? "book" : "ach", under: "consent",
          reference: "invoice \(units)")
        let request = try agent.command(Stage.authorize, body, token: try await agent.token(client))
        let answer = try stage.demand(201, "the payment to \(counterparty)", try await client.send(request))
        let receipt = try stage.log.receipt(
          answer, to: request, by: agent, enrolment: stage.enrolments[agent.id] ?? 0,
          references: [("consent", stage.enrolments["consent"] ?? 0)])
        try expect("state", answer["result", "state"]?.string, "posted")
        made.append(
          Made(
            id: answer["result", "payment"]?.string ?? "", counterparty: counterparty, units: units,
            leaf: receipt.index))
        say.value("to \(counterparty)", "USD \(Stage.decimal(units)), leaf \(receipt.index)")
      }
      let after = try await stage.account("payments account")
      let sum = payments.reduce(0) { $0 + $1.1 }
      try expect("debited", before.balance - after.balance, sum)
      try expect("available", after.available, after.balance)
      return .done("USD \(Stage.decimal(sum)) in all, without approval")
    }

    await stage.item(
      "6.4", "five of them leave in a NACHA file",
      "The bank fetches it with its own token. Its bytes are the same at every read, and each entry's trace number "
        + "comes from the leaf of its payment."
    ) {
      files = try await ConsentFiles.fetch(made.filter { $0.counterparty != "supplier" }, stage)
      return .done("\(files.reduce(0) { $0 + $1.entries }) entries, the bytes are stable")
    }

    await stage.item(
      "6.5", "the bank accepts, returns, keeps silent",
      "R01 and R03 come back as a NACHA file, and the ledger follows; of one entry nothing is heard, and it stays sent."
    ) {
      guard !files.isEmpty else { throw NotReached(missing: "a file") }
      return try await ConsentFiles.answer(files, made, stage)
    }

    await stage.item(
      "6.6", "a file is never taken twice",
      "The bank knows the file by its header and refuses it; the list still names each file once."
    ) {
      guard !files.isEmpty, stage.bank != nil else { throw NotReached(missing: "a file") }
      for file in files {
        do {
          _ = try stage.bank?.receive(file.bytes)
          throw Deviation("the second time", expected: SandboxBank.seen, actual: "taken")
        } catch let error as ACHError {
          try expect("code", error.code, SandboxBank.seen)
        }
      }
      let numbers = try await ConsentFiles.list(stage).compactMap { $0["file"]?.integer }
      try expect("files", numbers.sorted(), files.map(\.number).sorted())
      return .refused(code: "\(SandboxBank.seen)", "by the bank")
    }
  }
}
