import DemoClient
import Rails
import TrustCoreAPI
import Wire

// Consents, payments and approvals: what steps 5 to 8 do over and over.

extension Stage {
  // MARK: - Consents

  /// Terms of a consent to draw up; what is not stated is wide.
  struct Draft {
    var single = "10000.00"
    var daily = "25000.00"
    var hourly: Int64 = 20
    /// From which amount on approvals are needed; nil for never.
    var above: String?
    var approvals: Int64 = 1
    var rails = ["book"]
    /// Identifiers of those in ``Stage/counterparties``.
    var counterparties = ["supplier"]
    var seconds: Int64 = 30 * 86_400
    /// The name of the consent that this amends.
    var amends: String?
  }

  /// Those who can be paid, by identifier, as terms name them.
  func counterparties() throws -> [String: JSONValue] {
    func account(_ number: String, _ kind: String, _ holder: String) -> JSONValue {
      [
        "routing_number": "091000019", "account_number": .string(number), "account_type": "checking",
        "class": .string(kind), "receiver_name": .string(holder),
      ]
    }
    return [
      "acme": ["id": "acme", "name": "Acme Supplies", "ach": account(Self.acme, "ccd", "Acme Supplies Inc")],
      "jane": ["id": "jane", "name": "Jane Doe", "ach": account(Self.jane, "ppd", "Jane Doe")],
      "empty": ["id": "empty", "name": "Empty Pockets", "ach": account("5550000101", "ccd", "Empty Pockets LLC")],
      "nobody": ["id": "nobody", "name": "Nobody Home", "ach": account("5550000103", "ppd", "Nobody Home")],
      "quiet": ["id": "quiet", "name": "Quiet Partners", "ach": account("5550000199", "ccd", "Quiet Partners")],
      "supplier": ["id": "supplier", "name": "The supplier next door", "book": .string(try named("supplier account"))],
    ]
  }

  static let acme = "5550000001"
  static let jane = "5550000002"

  /// What the sandbox bank does with an account.
  static let script: [String: SandboxBank.Outcome] = [
    acme: .accepted, jane: .accepted, "5550000101": .returned(.insufficientFunds),
    "5550000103": .returned(.noAccount), "5550000199": .silence,
  ]

  /// The zone of the consents' days: one whose midnight does not fall into the run.
  private var zone: String {
    (3...5).contains(time.now().seconds / 3600 % 24) ? "Asia/Tokyo" : "America/New_York"
  }

  /// The owner draws a consent up for the paying agent, signs it with the hardware key and puts it in force under a name.
  @discardableResult
  func consent(_ name: String, _ draft: Draft) async throws -> Answer {
    let all = try counterparties()
    var body: JSONObject = [
      "rails": .array(draft.rails.map { .string($0) }),
      "counterparties": .array(draft.counterparties.compactMap { all[$0] }),
      "limits": [
        "single": .string(draft.single), "daily": .string(draft.daily), "zone": .string(zone),
        "hourly": .integer(draft.hourly),
      ],
      "expires_in": .integer(draft.seconds),
    ]
    if let above = draft.above {
      body["cosign"] = [
        "above": .string(above), "approvals": .integer(draft.approvals), "group": .string(try named("group")),
      ]
    }
    if let amended = draft.amends {
      body["consent"] = .string(try named(amended))
    } else {
      body["agent"] = .string(try party("payer").id)
      body["account"] = .string(try named("payments account"))
      body["currency"] = "USD"
    }
    let answer = try await person("the owner").consent(try client, as: try owner, .object(body))
    try demand(draft.amends == nil ? 201 : 200, "the consent", answer)
    guard let id = answer["result", "consent"]?.string, let digest = answer["result", "digest"]?.string,
      let leaf = answer["leaf_index"]?.integer
    else { throw Deviation("the consent", expected: "consent, digest and leaf", actual: answer.text) }
    setName(name, id)
    setName(name + " digest", digest)
    enrolments[name] = UInt64(leaf)
    return answer
  }

  // MARK: - Payments

  /// The body of a payment under a named consent.
  func payment(
    _ amount: String, to counterparty: String, by rail: String = "book", under consent: String,
    reference: String? = nil, seconds: Int64? = nil
  ) throws -> JSONValue {
    var body: JSONObject = [
      "consent": .string(try named(consent)), "counterparty": .string(counterparty), "rail": .string(rail),
      "amount": .string(amount), "currency": "USD",
    ]
    body["reference"] = reference.map { .string($0) }
    body["expires_in"] = seconds.map { .integer($0) }
    return .object(body)
  }

  /// The paying agent asks.
  func pay(_ body: JSONValue) async throws -> Answer {
    try await party("payer").submit(try client, Self.authorize, body)
  }

  static let authorize = "/v1/payments/authorize"

  /// A payment that must wait for approvals.
  /// - Returns: its identifier.
  func hold(
    _ amount: String, to counterparty: String = "acme", by rail: String = "ach", under consent: String = "consent",
    seconds: Int64? = nil
  ) async throws -> String {
    let body = try payment(amount, to: counterparty, by: rail, under: consent, seconds: seconds)
    let answer = try demand(202, "a payment above the threshold", try await pay(body))
    guard let id = answer["result", "payment"]?.string else {
      throw Deviation("a held payment", expected: "result.payment", actual: answer.text)
    }
    return id
  }

  /// A payment as its agent reads it.
  func read(_ payment: String) async throws -> Answer {
    try demand(200, "the payment", try await party("payer").get(try client, "/v1/payments/\(payment)"))
  }

  func state(of payment: String) async throws -> String { try await read(payment)["state"]?.string ?? "" }

  /// The agent ends a held payment.
  func void(_ payment: String) async throws {
    try demand(200, "the void", try await party("payer").submit(try client, "/v1/payments/\(payment)/void", [:]))
  }

  // MARK: - Approvals

  /// What a person is asked to sign about a payment.
  func question(_ name: String, _ payment: String, _ decision: String = "approve") async throws -> Answer {
    try demand(200, "the challenge", try await person(name).question(try client, payment, decision))
  }

  /// A person answers what it was asked.
  func answer(_ name: String, _ question: Answer, _ payment: String) async throws -> Answer {
    try await client.decide(payment, try person(name).decision(question))
  }

  /// A person reads, taps and decides.
  @discardableResult
  func decide(_ name: String, _ payment: String, _ decision: String = "approve") async throws -> Answer {
    try demand(200, "the decision", try await person(name).decide(try client, payment, decision))
  }
}
