import AgentIdentity
import DemoClient
import JOSE
import Rails
import SoftwareAuthenticator
import Synchronization
import Testing
import TrustCoreAPI
import Wire

/// Someone with a hardware key who is enrolled and signed in.
struct Member: Sendable {
  let person: Person
  let id: String
  /// `name=value` of the session's cookie.
  let cookie: String
}

/// What payments need: people with hardware keys, a consent, and a rail with its bank.
struct Treasury: Sendable {
  /// The group of approvers; its members are ``alice``, ``bob`` and, so that it can be refused, ``owner``.
  let group: String
  let alice: Member
  let bob: Member
  /// The owner of the development roster, with a hardware key.
  let owner: Member
  /// An agent that pays under consents.
  let agent: Party
  /// The account under consent, with 1,000,000.00 USD.
  let account: String
  /// A book account of the owner.
  let savings: String
  /// The external account that stands for the bank.
  let settlement: String
  let bank: Party
  /// The consent: above 1,000.00 one approval, by ACH to `acme` and by book to `savings`.
  let consent: String
  /// A payment by ACH of 4.20 USD that is in a file.
  let sent: (payment: String, file: Int64, trace: String)
  /// The policy's version, as these tests publish new ones.
  let policyVersion = Counter()

  final class Counter: Sendable {
    private let value = Mutex<Int64>(0)
    func next() -> Int64 {
      value.withLock {
        $0 += 1
        return $0
      }
    }
  }

  static let originator: JSONValue = [
    "immediate_destination": "021000021", "immediate_origin": "1234567890", "destination_name": "SANDBOX BANK",
    "origin_name": "TRUSTCORE TESTS", "company_name": "TRUSTCORE", "company_identification": "1234567890",
    "odfi": "02100002", "entry_description": "PAYMENT",
  ]
  static let acme: JSONValue = [
    "id": "acme", "name": "Acme Supplies",
    "ach": [
      "routing_number": "021000021", "account_number": "4711004711", "account_type": "checking", "class": "ccd",
      "receiver_name": "Acme Supplies",
    ],
  ]

  init(_ deployment: Deployment, _ client: TrustCoreClient) async throws {
    let (officer, roster) = (deployment.officer, deployment.owner)
    func made(_ party: Party, _ path: String, _ body: JSONValue, _ member: String...) async throws -> String {
      let answer = try await party.submit(client, path, body)
      return try #require(
        member.reduce(answer["result"]) { $0?.object?[$1] }?.string, "\(path): \(answer.summary) \(answer.text)")
    }
    let group = try await made(officer, "/v1/groups", ["name": "treasury"], "group")
    func enrolled(_ name: String, _ person: JSONValue) async throws -> Member {
      let (answer, token) = try await officer.invite(client, person: person, group: group)
      try #require(answer.status == 201, "\(answer.text)")
      return try await Member.enrolled(Person(name, deployment.ready), token, client)
    }
    self.group = group
    alice = try await enrolled("Alice", ["kind": "approver", "name": "Alice"])
    bob = try await enrolled("Bob", ["kind": "approver", "name": "Bob"])
    owner = try await enrolled("Olivia", ["kind": "owner", "id": .string(roster.id), "name": "Olivia"])

    agent = try await deployment.enrol(try deployment.newKey(.p256), name: "payer", client)
    try #require(try await deployment.approve(agent, client).status == 200)
    account = try await made(roster, "/v1/ledger/accounts", ["currency": "USD"], "account", "id")
    savings = try await made(roster, "/v1/ledger/accounts", ["currency": "USD"], "account", "id")
    settlement = try await made(
      officer, "/v1/ledger/accounts", ["currency": "USD", "kind": "external"], "account", "id")
    let funding = Transfer.body(from: settlement, to: account, "1000000.00", currency: "USD")
    try #require(try await officer.submit(client, "/v1/ledger/transfers", funding).status == 201)

    let key = try deployment.newKey(.p256)
    let id = try await made(
      officer, "/v1/rails/ach",
      [
        "originator": Self.originator, "settlement_account": .string(settlement), "bank": key.publicJWK.bareJSON,
      ], "bank")
    bank = deployment.party(id: id, key: key)
    let draft = Self.draft(agent: agent, account: account, savings: savings, group: group)
    let given = try await owner.person.consent(client, as: roster, draft)
    consent = try #require(given["result", "consent"]?.string, "\(given.text)")

    let payment = try await made(
      agent, "/v1/payments/authorize",
      [
        "consent": .string(consent), "counterparty": "acme", "rail": "ach", "amount": "4.20", "currency": "USD",
      ], "payment")
    var read = try await agent.get(client, "/v1/payments/\(payment)")
    while read["state"]?.string == "posted" { read = try await agent.get(client, "/v1/payments/\(payment)") }
    sent = (
      payment, try #require(read["file", "file"]?.integer, "\(read.text)"),
      try #require(read["trace_number"]?.string)
    )
  }

  /// What a consent is drawn up from.
  static func draft(
    agent: Party, account: String, savings: String, group: String, above: String = "1000.00", approvals: Int64 = 1
  ) -> JSONValue {
    [
      "agent": .string(agent.id), "account": .string(account), "currency": "USD", "rails": ["ach", "book"],
      "counterparties": [acme, ["id": "savings", "name": "Own savings", "book": .string(savings)]],
      "limits": ["single": "50000.00", "daily": "10000000.00", "hourly": 10_000, "zone": "America/New_York"],
      "cosign": ["above": .string(above), "approvals": .integer(approvals), "group": .string(group)],
      "expires_in": 86_400,
    ]
  }

  /// The same with the accounts and the group that are here.
  func draft(agent: Party? = nil, above: String = "1000.00", approvals: Int64 = 1) -> JSONValue {
    Self.draft(
      agent: agent ?? self.agent, account: account, savings: savings, group: group, above: above, approvals: approvals)
  }
}

extension Member {
  /// Enrols a person and signs them in.
  static func enrolled(_ person: Person, _ token: String, _ client: TrustCoreClient) async throws -> Member {
    let enrolled = try await person.enrol(client, invitation: token)
    try #require(enrolled.status == 201, "\(enrolled.text)")
    let signedIn = try await person.signIn(client)
    let cookie = signedIn.header("set-cookie")?.split(separator: ";").first.map(String.init)
    return Member(person: person, id: person.id, cookie: try #require(cookie, "\(signedIn.text)"))
  }
}

// MARK: - Requests whose answers are held to the description

extension Fixture {
  /// Posts JSON with whatever credentials a browser has.
  @discardableResult
  func post(
    _ path: String, _ body: JSONValue, bearer: String? = nil, cookie: String? = nil, site: String? = nil,
    at location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    try await send(
      OutgoingRequest(
        "POST", path, headers: Self.browser(bearer: bearer, cookie: cookie, site: site, hasBody: true),
        body: body.canonical()), at: location)
  }

  /// Reads within a session.
  @discardableResult
  func get(
    _ path: String, as member: Member, site: String? = nil, at location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    try await send(OutgoingRequest("GET", path, headers: Self.browser(cookie: member.cookie, site: site)), at: location)
  }

  static func browser(
    bearer: String? = nil, cookie: String? = nil, site: String? = nil, hasBody: Bool = false
  ) -> [HTTPMessage.Field] {
    var fields = hasBody ? [HTTPMessage.Field("Content-Type", "application/json")] : []
    if let bearer { fields.append(HTTPMessage.Field("Authorization", "Bearer " + bearer)) }
    if let cookie { fields.append(HTTPMessage.Field("Cookie", cookie)) }
    if let site { fields.append(HTTPMessage.Field("Sec-Fetch-Site", site)) }
    return fields
  }

  /// Invites a person, and gives the token.
  func invitation(
    _ person: JSONValue = ["kind": "approver", "name": "Carol"], group: String? = nil, seconds: Int64 = 3600,
    at location: SourceLocation = #_sourceLocation
  ) async throws -> String {
    let (answer, token) = try await deployment.officer.invite(client, person: person, group: group, seconds: seconds)
    try #require(answer.status == 201, "\(answer.text)", sourceLocation: location)
    return token
  }

  /// A new approver, enrolled and signed in.
  func newcomer(_ name: String, group: String? = nil) async throws -> Member {
    let token = try await invitation(["kind": "approver", "name": .string(name)], group: group)
    return try await Member.enrolled(Person(name, deployment.ready), token, client)
  }

  /// What the agent asks to pay.
  func payment(
    _ amount: String, by rail: String = "book", under consent: String? = nil, seconds: Int64? = nil,
    reference: String? = nil
  ) -> JSONValue {
    var body: JSONObject = [
      "consent": .string(consent ?? treasury.consent), "counterparty": rail == "ach" ? "acme" : "savings",
      "rail": .string(rail), "amount": .string(amount), "currency": "USD",
    ]
    body["expires_in"] = seconds.map { .integer($0) }
    body["reference"] = reference.map { .string($0) }
    return .object(body)
  }

  /// Asks for a payment that is held, and gives its identifier.
  func held(
    _ amount: String = "1500.00", by rail: String = "book", under consent: String? = nil, as agent: Party? = nil,
    reference: String? = nil, at location: SourceLocation = #_sourceLocation
  ) async throws -> String {
    let answer = try await submit(
      "/v1/payments/authorize", payment(amount, by: rail, under: consent, reference: reference),
      as: agent ?? treasury.agent, at: location)
    try #require(answer.status == 202, "\(answer.text)", sourceLocation: location)
    return try #require(answer["result", "payment"]?.string, sourceLocation: location)
  }

  /// A consent of its own.
  func newConsent(_ draft: JSONValue, at location: SourceLocation = #_sourceLocation) async throws -> String {
    let answer = try await treasury.owner.person.consent(client, as: deployment.owner, draft)
    return try #require(answer["result", "consent"]?.string, "\(answer.text)", sourceLocation: location)
  }

  /// Asks for the terms of a decision.
  @discardableResult
  func question(
    _ payment: String, _ member: Member, _ decision: String = "approve", at location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    try await post(
      "/v1/approvals/\(payment)/challenge", ["decision": .string(decision)], cookie: member.cookie, at: location)
  }

  /// Hands a decision in.
  @discardableResult
  func decide(
    _ payment: String, _ body: JSONValue, at location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    try await post("/v1/approvals/\(payment)/decisions", body, at: location)
  }

  /// Reads, taps and decides.
  @discardableResult
  func decide(
    _ payment: String, _ member: Member, _ decision: String = "approve", _ faults: Faults = Faults(),
    at location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    let question = try await question(payment, member, decision, at: location)
    guard question.status == 200 else { return question }
    return try await decide(payment, try member.person.decision(question, faults), at: location)
  }

  /// Publishes the next version of the policy, which ends the approvals of everything held before it.
  @discardableResult
  func publishPolicy(at location: SourceLocation = #_sourceLocation) async throws -> Answer {
    let policy: JSONValue = ["version": .integer(treasury.policyVersion.next()), "rules": []]
    return try await submit("/v1/policies", ["policy": policy], as: deployment.officer, at: location)
  }

  /// The state of a payment.
  func state(of payment: String) async throws -> String {
    try await read("/v1/payments/\(payment)", as: treasury.agent)["state"]?.string ?? ""
  }

  /// Asks until a payment is in a state.
  func reaches(_ state: String, _ payment: String, at location: SourceLocation = #_sourceLocation) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while try await self.state(of: payment) != state {
      try #require(ContinuousClock.now < end, "\(payment) does not become \(state)", sourceLocation: location)
    }
  }
}
