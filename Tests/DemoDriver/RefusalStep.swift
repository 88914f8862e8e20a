import DemoClient
import JOSE
import Wire

/// Step 4: what must not pass does not, says why, and moves nothing.
enum RefusalStep {
  static func run(_ stage: Stage) async {
    stage.narrator.heading("4  Refusals")
    await identity(stage)
    await signature(stage)
    await rules(stage)
    await seals(stage)
  }

  private static let transfers = "/v1/ledger/transfers"

  // MARK: - Who

  private static func identity(_ stage: Stage) async {
    await stage.refusal(
      "4.1", "unsigned", "A token alone moves nothing: the command itself must be signed.", 401, "signature_missing"
    ) {
      var options = Party.CommandOptions()
      options.isSigned = false
      return try await submit(stage, options)
    }
    await stage.refusal(
      "4.2", "unknown key", "A key that never enrolled signs, with a good agent's token.", 401, "key_unknown"
    ) {
      var options = Party.CommandOptions()
      options.signer = try stage.deployment.newKey(.p256)
      return try await submit(stage, options)
    }
    await stage.refusal(
      "4.3", "pending agent", "The agent enrolled, but its owner never approved the thumbprint.", 403, "agent_pending",
      after: { try await stage.deployment.enrol(try stage.deployment.newKey(.p256), name: "pending", try stage.client) }
    ) { pending in
      var options = Party.CommandOptions()
      options.signer = pending.key
      return try await submit(stage, options)
    }
    await stage.refusal(
      "4.4", "revoked agent",
      "The owner ended this agent a moment ago; its token has nine minutes left and does not help.",
      403, "agent_revoked",
      after: {
        let (client, deployment) = (try stage.client, try stage.deployment)
        let agent = try await deployment.enrol(try deployment.newKey(.ed25519), name: "revoked", client)
        try stage.demand(200, "approval", try await deployment.approve(agent, client))
        let body = try stage.transfer(100)
        try stage.demand(201, "its transfer before", try await agent.submit(client, transfers, body))
        try stage.demand(200, "revocation", try await deployment.revoke(agent, client))
        return agent
      }
    ) { agent in
      try await agent.submit(try stage.client, transfers, try stage.transfer(100))
    }
  }

  // MARK: - What was signed, and when

  private static func signature(_ stage: Stage) async {
    await stage.refusal(
      "4.5", "body changed after signing", "On its way, USD 1.00 becomes USD 100.00.", 400, "digest_mismatch"
    ) {
      var options = Party.CommandOptions()
      options.bodyAfterSigning = try stage.transfer(10_000).canonical()
      return try await submit(stage, options)
    }
    await stage.refusal(
      "4.6", "replayed", "The same bytes a second time, as someone who recorded them would send them.", 401,
      "signature_replayed",
      after: {
        let agent = try stage.party("P-256")
        let request = try agent.command(
          transfers, try stage.transfer(100), token: try await agent.token(try stage.client))
        try stage.demand(201, "the first time", try await stage.client.send(request))
        return request
      }
    ) { request in try await stage.client.send(request) }
    await stage.refusal(
      "4.7", "signature too old", "It was made 301 seconds ago; signatures live for at most 300.", 401,
      "signature_expired"
    ) {
      var options = Party.CommandOptions()
      options.created = stage.time.now().adding(seconds: -301)
      return try await submit(stage, options)
    }
    await stage.refusal(
      "4.8", "token of another key", "The P-256 agent signs, under the token of the Ed25519 agent.", 401,
      "token_key_mismatch"
    ) {
      let token = try await stage.party("Ed25519").token(try stage.client)
      let request = try stage.party("P-256").command(transfers, try stage.transfer(100), token: token)
      return try await stage.client.send(request)
    }
    await stage.refusal(
      "4.9", "same idempotency key, another body", "A key stands for one command; it cannot come to mean a second.",
      422,
      "idempotency_key_reused",
      after: {
        let options = Party.CommandOptions(idempotencyKey: try stage.party("P-256").fresh())
        try stage.demand(201, "the first command", try await submit(stage, options))
        return options
      }
    ) { options in try await submit(stage, options, units: 200) }
  }

  // MARK: - The ledger's rules

  private static func rules(_ stage: Stage) async {
    await stage.refusal(
      "4.10", "unbalanced", "USD 10.00 leaves and USD 9.99 arrives.", 422, "transfer_unbalanced"
    ) { try await post(stage, try stage.entries("10.00", "9.99")) }
    await stage.refusal(
      "4.11", "overdrawn", "More than the account has; the denial goes on the record as a leaf of its own.", 422,
      "account_overdrawn"
    ) {
      let answer = try await post(stage, try stage.entries("90000.00", "90000.00"))
      if let command = answer["command_id"]?.string { stage.setName("denial", command) }
      return answer
    }
    await stage.refusal(
      "4.12", "wrong currency", "EUR cannot move between accounts that hold USD.", 422, "currency_mismatch"
    ) {
      try await post(
        stage, try stage.entries("1.00", "1.00", "operating account", "supplier account", "EUR"))
    }
    await stage.refusal(
      "4.13", "excess precision", "USD has two decimals; half a cent is refused, never rounded.", 422,
      "amount_excess_precision"
    ) { try await post(stage, try stage.entries("1.005", "1.005")) }
  }

  // MARK: - Straight to the ledger

  private static func seals(_ stage: Stage) async {
    let door = "/v1/ledger/sealed-commands"
    await stage.item(
      "4.14", "a true seal at the ledger's own door",
      "For comparison: the ledger verifies the whole evidence, knows the command as carried out, and posts nothing again."
    ) {
      let answer = try stage.demand(201, "transfer", try await submit(stage, Party.CommandOptions()))
      let seal = try await seal(stage, answer["command_id"]?.string ?? "", by: try stage.party("P-256"))
      let before = try await stage.balances()
      let known = try stage.demand(200, "the seal", try await stage.client.post(door, seal))
      try expect("status", known["status"]?.string, "done")
      try expect("balances", try await stage.balances(), before)
      return .done("known as done, not posted again")
    }
    await stage.refusal(
      "4.15", "no seal", "A command handed straight to the ledger, past the gate.", 403, "seal_missing"
    ) { try await stage.client.post(door, [:]) }
    await stage.refusal(
      "4.16", "inclusion proof of a denial",
      "The denial of 4.11 is truly in the log, but being in the log is no leave.",
      403, "seal_not_authorized"
    ) {
      let seal = try await seal(stage, try stage.named("denial"), by: try stage.party("P-256"))
      return try await stage.client.post(door, seal)
    }
    await stage.refusal(
      "4.17", "seal made for another module", "The approval of an agent's key is sealed for the identity module.", 403,
      "seal_wrong_audience"
    ) {
      let seal = try await seal(stage, try stage.named("approval"), by: try stage.owner)
      return try await stage.client.post(door, seal)
    }
    await stage.refusal(
      "4.18", "seal past its not_after", "Signed to count for five seconds, carried out, and presented again too late.",
      403, "seal_expired",
      after: {
        var options = Party.CommandOptions()
        let created = stage.time.now()
        options.created = created
        options.expires = created.adding(seconds: 5)
        let answer = try stage.demand(201, "transfer", try await submit(stage, options))
        let seal = try await seal(stage, answer["command_id"]?.string ?? "", by: try stage.party("P-256"))
        try await stage.poll("not_after passes", seconds: 10) {
          stage.time.now() > created.adding(seconds: 5) ? true : nil
        }
        return seal
      }
    ) { seal in try await stage.client.post(door, seal) }
  }

  // MARK: - Requests

  /// A transfer of USD 1.00 by the P-256 agent, spoilt as stated.
  private static func submit(
    _ stage: Stage, _ options: Party.CommandOptions, units: Int = 100
  ) async throws -> Answer {
    try await stage.party("P-256").submit(try stage.client, transfers, try stage.transfer(units), options)
  }

  private static func post(_ stage: Stage, _ body: JSONObject) async throws -> Answer {
    try await stage.party("P-256").submit(try stage.client, transfers, .object(body))
  }

  /// The seal of a command, as whoever may read its receipt gets it. A receipt is whole once the outcome is sealed too,
  /// which comes a moment after the answer.
  private static func seal(_ stage: Stage, _ command: String, by party: Party) async throws -> JSONValue {
    let answer = try await stage.poll("the receipt", seconds: 10) { () -> Answer? in
      let answer = try await party.get(try stage.client, "/v1/receipts/\(command)")
      return answer.code == "not_sealed_yet" ? nil : answer
    }
    try stage.demand(200, "receipt", answer)
    guard let seal = answer["seal"] else { throw Deviation("receipt", expected: "a seal", actual: answer.text) }
    return seal
  }
}
