import DemoClient
import JOSE
import TransparencyLog
import Wire

/// Step 2: agents enrol, their owner vouches for them, and there is money to move.
enum EnrolmentStep {
  static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("2  Agents, accounts and funds")

    for (index, kind) in [SigningKey.Kind.p256, .ed25519].enumerated() {
      let name = kind.rawValue
      await stage.item(
        "2.\(index + 1)", "the \(name) agent enrols and is approved",
        "Its key enters under an ownership record and stays pending, without tokens, until the owner's key approves "
          + "the thumbprint."
      ) {
        let (client, deployment) = (try stage.client, try stage.deployment)
        let agent = try await deployment.enrol(try deployment.newKey(kind), name: "demo \(name)", client)
        say.value("client id", agent.id)
        say.value("key thumbprint", agent.thumbprint)
        let early = try await client.send(try agent.tokenRequest())
        try expect("token while pending", early.summary, "400 agent_pending")
        say.value("while pending", early.summary)
        let approval = try stage.demand(200, "approval", try await deployment.approve(agent, client))
        guard let leaf = approval["leaf_index"]?.integer, let command = approval["command_id"]?.string else {
          throw Deviation("approval", expected: "leaf_index and command_id", actual: approval.text)
        }
        stage.enrolments[agent.id] = UInt64(leaf)
        stage.setParty(name, agent)
        stage.setName("approval", command)
        let answer = try stage.demand(200, "token after approval", try await client.send(try agent.tokenRequest()))
        try expect("token_type", answer["token_type"]?.string, "DPoP")
        let standing = try stage.demand(200, "the agent", try await agent.get(client, "/v1/agents/\(agent.id)"))
        try expect("status", standing["status"]?.string, "active")
        return .done("approved in leaf \(leaf), token issued")
      }
    }

    await stage.item(
      "2.3", "accounts are opened and funded",
      "A security officer opens the account of the outside world, the owner opens two, and the officer pays in."
    ) {
      let client = try stage.client
      let accounts: [(String, Party, JSONValue)] = [
        ("external account", try stage.officer, ["currency": "USD", "kind": "external"]),
        ("operating account", try stage.owner, ["currency": "USD"]),
        ("supplier account", try stage.owner, ["currency": "USD"]),
      ]
      for (name, party, body) in accounts {
        let answer = try stage.demand(201, name, try await party.submit(client, "/v1/ledger/accounts", body))
        guard let id = answer["result", "account", "id"]?.string else {
          throw Deviation(name, expected: "result.account.id", actual: answer.text)
        }
        say.value(name, id)
        stage.setName(name, id)
      }
      let body = try stage.transfer(100_000, from: "external account", to: "operating account")
      try stage.demand(201, "funding", try await (try stage.officer).submit(client, "/v1/ledger/transfers", body))
      let operating = try await stage.account("operating account")
      try expect("balance of the operating account", operating.balance, 100_000)
      return .done("USD \(Stage.decimal(operating.balance)) paid in")
    }
  }
}
