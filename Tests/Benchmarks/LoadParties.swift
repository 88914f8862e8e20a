import DemoClient
import JOSE
import TrustCoreAPI
import Wire

/// Who acts in the loads: agents that move their owner's money freely, agents that pay under consent, and people who
/// approve. Each agent has its own pair of accounts.
struct LoadParties: Sendable {
  /// Moves money between two accounts.
  private struct Mover: Sendable {
    let party: Party
    let token: String
    let debit: String
    let credit: String
  }

  /// Pays under a consent, with two people who approve what is above its threshold.
  struct Payer: Sendable {
    let party: Party
    let token: String
    let consent: String
    let approvers: [Person]
  }

  private static let pairs = 16
  private static let approversEach = DaemonLoad.connections / pairs
  /// A consent asks for an approval above this amount.
  private static let threshold = "100.00"

  private let movers: [Mover]
  /// One for each consent.
  let payers: [Payer]

  init(_ deployment: Deployment, _ client: TrustCoreClient) async throws {
    let setUp = SetUp(deployment: deployment, client: client)
    let (officer, roster) = (deployment.officer, deployment.owner)
    let source = try await setUp.open(officer, "external")
    var movers: [Mover] = []
    for number in 0..<Self.pairs {
      let agent = try await setUp.agent("load \(number)")
      let (debit, credit) = try await setUp.accounts(source)
      movers.append(Mover(party: agent, token: try await agent.token(client), debit: debit, credit: credit))
    }
    self.movers = movers
    _ = try await setUp.made(officer, "/v1/policies", ["policy": Self.policy], "policy")
    let owner = try await setUp.person("Owner", ["kind": "owner", "id": .string(roster.id), "name": "Owner"], nil)
    var payers: [Payer] = []
    for number in 0..<Self.pairs {
      let agent = try await setUp.agent("payer \(number)")
      let (debit, credit) = try await setUp.accounts(source)
      let group = try await setUp.made(officer, "/v1/groups", ["name": .string("treasury \(number)")], "group")
      var approvers: [Person] = []
      for index in 0..<Self.approversEach {
        let name = "Approver \(number).\(index)"
        approvers.append(try await setUp.person(name, ["kind": "approver", "name": .string(name)], group))
      }
      let given = try await owner.consent(client, as: roster, Self.draft(agent, debit, credit, group)).done()
      guard let consent = given["result", "consent"]?.string else { throw BenchmarkError("no consent: \(given.text)") }
      payers.append(
        Payer(party: agent, token: try await agent.token(client), consent: consent, approvers: approvers))
    }
    self.payers = payers
  }

  // MARK: - Requests

  /// The transfer of a number.
  func transfer(_ number: Int) throws -> OutgoingRequest {
    let mover = movers[number % movers.count]
    return try mover.party.command(
      "/v1/ledger/transfers", SetUp.transfer(from: mover.debit, to: mover.credit, "0.01"), token: mover.token)
  }

  /// The payment of a number, within every limit.
  func payment(_ number: Int) throws -> OutgoingRequest {
    try Self.payment("0.01", by: payers[number % payers.count])
  }

  /// A payment that waits for an approval.
  static func heldPayment(by payer: Payer) throws -> OutgoingRequest { try payment("100.01", by: payer) }

  private static func payment(_ amount: String, by payer: Payer) throws -> OutgoingRequest {
    try payer.party.command(
      "/v1/payments/authorize",
      [
        "consent": .string(payer.consent), "counterparty": "savings", "rail": "book", "amount": .string(amount),
        "currency": "USD",
      ], token: payer.token)
  }

  // MARK: - Documents

  /// Limits that no load reaches: a consent permits 100,000 payments an hour at most.
  private static func draft(_ agent: Party, _ debit: String, _ credit: String, _ group: String) -> JSONValue {
    [
      "agent": .string(agent.id), "account": .string(debit), "currency": "USD", "rails": ["book"],
      "counterparties": [["id": "savings", "name": "Own savings", "book": .string(credit)]],
      "limits": ["single": "1000.00", "daily": "10000000.00", "hourly": 100_000, "zone": "America/New_York"],
      "cosign": ["above": .string(threshold), "approvals": 1, "group": .string(group)], "expires_in": 86_400,
    ]
  }

  /// Ten rules, of which the last matches what is paid here.
  private static let policy: JSONValue = {
    func rule(_ id: String, _ action: JSONValue, _ conditions: JSONValue...) -> JSONValue {
      ["id": .string(id), "condition": ["kind": "all", "of": .array(conditions)], "action": action]
    }
    func above(_ amount: String) -> JSONValue {
      ["kind": "amount_above", "amount": .string(amount), "currency": "USD"]
    }
    let hold: JSONValue = ["kind": "hold", "approvals": 1]
    let deny: JSONValue = ["kind": "deny"]
    return [
      "version": 1,
      "rules": [
        rule("ceiling", deny, above("1000000.00")),
        rule("new-counterparty", hold, ["kind": "first_payment"], above("5000.00")),
        rule(
          "at-night", hold,
          [
            "kind": "outside_hours", "from": 480, "to": 1080, "weekdays": ["mon", "tue", "wed", "thu", "fri"],
            "zone": "America/New_York",
          ], above("2500.00")),
        rule("young-agent", hold, ["kind": "agent_younger_than", "seconds": 86_400], above("2000.00")),
        rule("fraud-score", hold, ["kind": "score_above", "name": "fraud", "threshold": 800], above("1500.00")),
        rule("blocked", deny, ["kind": "counterparty", "counterparties": ["mallory", "oscar", "trudy"]]),
        rule("large-by-ach", hold, ["kind": "rail", "rails": ["ach"]], above("10000.00")),
        rule(
          "not-by-book", hold, ["kind": "not", "of": ["kind": "rail", "rails": ["book"]]], above("20000.00")),
        rule(
          "either", hold, ["kind": "any", "of": [["kind": "first_payment"], ["kind": "rail", "rails": ["ach"]]]],
          above("7500.00")),
        rule("by-book", ["kind": "allow"], ["kind": "rail", "rails": ["book"]]),
      ],
    ]
  }()
}

/// What brings the parties into being, through the API as everyone else would.
private struct SetUp {
  let deployment: Deployment
  let client: TrustCoreClient

  static func transfer(from: String, to: String, _ amount: String) -> JSONValue {
    func entry(_ account: String, _ side: String) -> JSONValue {
      ["account": .string(account), "side": .string(side), "amount": .string(amount), "currency": "USD"]
    }
    return ["entries": [entry(from, "debit"), entry(to, "credit")]]
  }

  /// Submits a command and gives a text of its result.
  func made(_ party: Party, _ path: String, _ body: JSONValue, _ member: String...) async throws -> String {
    let answer = try await party.submit(client, path, body).done()
    guard let text = member.reduce(answer["result"], { $0?.object?[$1] })?.string else {
      throw BenchmarkError("\(path) gave no \(member.joined(separator: ".")): \(answer.text)")
    }
    return text
  }

  func open(_ party: Party, _ kind: String) async throws -> String {
    try await made(party, "/v1/ledger/accounts", ["currency": "USD", "kind": .string(kind)], "account", "id")
  }

  /// An account with a million, and an empty one.
  func accounts(_ source: String) async throws -> (debit: String, credit: String) {
    let debit = try await open(deployment.owner, "customer")
    let credit = try await open(deployment.owner, "customer")
    _ = try await deployment.officer.submit(
      client, "/v1/ledger/transfers", Self.transfer(from: source, to: debit, "1000000.00")
    ).done()
    return (debit, credit)
  }

  func agent(_ name: String) async throws -> Party {
    let agent = try await deployment.enrol(try deployment.newKey(.p256), name: name, client)
    _ = try await deployment.approve(agent, client).done()
    return agent
  }

  /// Someone with a hardware key, enrolled and signed in.
  func person(_ name: String, _ invitee: JSONValue, _ group: String?) async throws -> Person {
    let (invitation, token) = try await deployment.officer.invite(client, person: invitee, group: group)
    _ = try invitation.done()
    let person = try Person(name, deployment.ready)
    _ = try await person.enrol(client, invitation: token).done()
    _ = try await person.signIn(client).done()
    return person
  }
}
