import DemoClient
import TransparencyLog
import Wire

/// Step 3: transfers, holds and repeats.
enum MoneyStep {
  static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("3  Money moves, on the record")

    for (number, name) in [("3.1", "P-256"), ("3.2", "Ed25519")] {
      await stage.item(
        number, "the \(name) agent transfers, with receipt",
        "The receipt is checked offline: log key, inclusion, and that the leaf commits to the very request that was sent."
      ) {
        let (client, agent) = (try stage.client, try stage.party(name))
        let before = (try await stage.account("operating account"), try await stage.account("supplier account"))
        let request = try agent.command(
          "/v1/ledger/transfers", try stage.transfer(2500, memo: "invoice 4711"), token: try await agent.token(client))
        let answer = try stage.demand(201, "transfer", try await client.send(request))
        let receipt = try stage.log.receipt(
          answer, to: request, by: agent, enrolment: stage.enrolments[agent.id] ?? 0)
        let after = (try await stage.account("operating account"), try await stage.account("supplier account"))
        try expect("debit of the operating account", before.0.balance - after.0.balance, 2500)
        try expect("credit of the supplier account", after.1.balance - before.1.balance, 2500)
        say.value("command", answer["command_id"]?.string ?? "")
        say.value("operating account", "\(Stage.decimal(before.0.balance)) to \(Stage.decimal(after.0.balance))")
        say.value("supplier account", "\(Stage.decimal(before.1.balance)) to \(Stage.decimal(after.1.balance))")
        return .done(
          "USD 25.00, in leaf \(receipt.index), done in leaf \(answer["outcome_leaf_index"]?.integer ?? -1)")
      }
    }

    await stage.item(
      "3.3", "a hold is captured in part",
      "Held funds are not available to anyone else; a capture posts what is due and releases the rest."
    ) {
      let before = try await stage.account("operating account")
      let hold = try await authorise(stage, 4000, seconds: 600)
      let held = try await stage.account("operating account")
      try expect("balance while held", held.balance, before.balance)
      try expect("available while held", before.available - held.available, 4000)
      let agent = try stage.party("P-256")
      try stage.demand(
        200, "capture",
        try await agent.submit(try stage.client, "/v1/ledger/holds/\(hold)/capture", ["amount": "15.00"]))
      let after = try await stage.account("operating account")
      try expect("balance after the capture", before.balance - after.balance, 1500)
      try expect("available after the capture", after.available, after.balance)
      try expect("state", try await state(stage, hold), "captured")
      let again = try await agent.submit(try stage.client, "/v1/ledger/holds/\(hold)/capture", [:])
      try expect("a second capture", again.summary, "409 hold_ended")
      say.value("available", [before, held, after].map { Stage.decimal($0.available) }.joined(separator: " to "))
      return .done("USD 40.00 held, 15.00 captured")
    }

    await stage.item("3.4", "a hold is voided", "Whoever holds can let go: the funds are available again at once.") {
      let before = try await stage.account("operating account")
      let hold = try await authorise(stage, 1000, seconds: 600)
      try stage.demand(
        200, "void", try await (try stage.party("P-256")).submit(try stage.client, "/v1/ledger/holds/\(hold)/void", [:])
      )
      try expect("state", try await state(stage, hold), "voided")
      let after = try await stage.account("operating account")
      try expect("available after the void", after.available, before.available)
      try expect("balance after the void", after.balance, before.balance)
      return .done("USD 10.00 held and released")
    }

    await stage.item(
      "3.5", "a hold expires by itself",
      "After one second nobody may capture it; the daemon releases it and records that as an event."
    ) {
      let before = try await stage.account("operating account")
      let hold = try await authorise(stage, 500, seconds: 1)
      try await stage.poll("the hold expires", seconds: 15) {
        try await state(stage, hold) == "expired" ? true : nil
      }
      let after = try await stage.account("operating account")
      try expect("available after the expiry", after.available, before.available)
      let late = try await (try stage.party("P-256"))
        .submit(try stage.client, "/v1/ledger/holds/\(hold)/capture", [:])
      try expect("a late capture", late.summary, "409 hold_expired")
      return .done("USD 5.00 held and released after 1 s")
    }

    await stage.item(
      "3.6", "the same command twice posts once",
      "A client that lost an answer repeats the request under the same Idempotency-Key, signed anew, and gets the "
        + "first answer."
    ) {
      let (client, agent) = (try stage.client, try stage.party("Ed25519"))
      let options = Party.CommandOptions(idempotencyKey: agent.fresh())
      let body = try stage.transfer(750)
      let before = try await stage.account("operating account")
      let first = try stage.demand(
        201, "transfer", try await agent.submit(client, "/v1/ledger/transfers", body, options))
      let second = try await agent.submit(client, "/v1/ledger/transfers", body, options)
      try expect("status of the repeat", second.status, first.status)
      try expect("the repeat's answer, byte for byte", second.text, first.text)
      let after = try await stage.account("operating account")
      try expect("debit after both", before.balance - after.balance, 750)
      return .done("same \(first.body.count) bytes, one posting")
    }
  }

  private static func authorise(_ stage: Stage, _ units: Int, seconds: Int64) async throws -> String {
    var body = try stage.transfer(units).object ?? [:]
    body["expires_in"] = .integer(seconds)
    let answer = try stage.demand(
      201, "hold", try await (try stage.party("P-256")).submit(try stage.client, "/v1/ledger/holds", .object(body)))
    guard let id = answer["result", "hold"]?.string else {
      throw Deviation("hold", expected: "result.hold", actual: answer.text)
    }
    return id
  }

  private static func state(_ stage: Stage, _ hold: String) async throws -> String {
    let answer = try await (try stage.party("P-256")).get(try stage.client, "/v1/ledger/holds/\(hold)")
    return try stage.demand(200, "the hold", answer)["state"]?.string ?? ""
  }
}
