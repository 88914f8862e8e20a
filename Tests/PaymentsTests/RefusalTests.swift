import AgentIdentity
import CommandGate
import Consent
import Cosign
import Foundation
import Ledger
import Payments
import Policy
import Rails
import Seal
import StorageSQLite
import TestSupport
import Testing
import TransparencyLog
import Wire

/// A deployment with one of everything, and what a refusal must look like: its code on the record, and nothing else.
struct RefusalBench {
  typealias D = TestDeployment<InMemoryStore>

  let d: D
  let own, other, euros, outside, group, board: String
  let olga, sten, ada, ben, eve: TestPerson
  let terms: ConsentTerms
  var world: TestWorld { d.world }
  var agent: TestParty { d.world.agents[0] }

  init(hasRail: Bool = true) async throws {
    let world = try TestWorld(seed: 3)
    let (store, headFile) = (InMemoryStore(), try TemporaryFolder.make() + "/head")
    try await world.found(store, headFile: headFile)
    d = try await TestDeployment(world, store: store, headFile: headFile)
    d.start()
    for agent in world.agents.prefix(2) { try await d.enrol(agent) }
    try await d.register(world.agents[2])
    (group, board) = (try await d.makeGroup("Treasury"), try await d.makeGroup("Board"))
    outside = try await d.openAccount(by: world.officer, kind: "external")
    (own, other) = (try await d.openAccount(by: world.owner), try await d.openAccount(by: world.stranger))
    euros = try await d.openAccount(by: world.owner, currency: "EUR")
    olga = try await d.enrolPerson("Olga", owner: world.owner, group: group)
    sten = try await d.enrolPerson("Sten", owner: world.stranger)
    ada = try await d.enrolPerson("Ada", group: group)
    ben = try await d.enrolPerson("Ben", group: group)
    eve = try await d.enrolPerson("Eve", group: board)
    try await d.submit("/v1/ledger/transfers", .transfer(outside, own, 1_000_000), by: world.officer)
    if hasRail { try await d.configureRail(settlementAccount: outside) }
    terms = try d.draftConsent(
      owner: olga, agent: world.agents[0], account: own,
      counterparties: [
        .payee("acme", account: "111"), .payee("ivo", book: other), .payee("lost", book: "acc_none"),
        .payee("euro", book: euros),
      ], single: "12000.00", cosign: ["above": "1000.00", "approvals": 1, "group": .string(group)])
    try await d.issueConsent(terms, by: olga)
  }

  func pay(_ amount: String = "10.00", to: String = "acme", by rail: String = "ach") async throws -> Receipt {
    try await d.authorize(amount, to: to, by: rail, under: terms.id, agent: agent)
  }

  func held() async throws -> String { try await pay("2000.00").command.id.description }

  /// Sends a decision whose terms were changed after they were drawn.
  func decide(
    _ payment: String, by person: TestPerson, asking asked: TestPerson? = nil, _ change: (inout JSONObject) -> Void
  ) async throws {
    var json = try await d.approvalTerms(of: payment, .approve, by: asked ?? person).json
    change(&json)
    try await d.submit("/v1/approvals/\(payment)/decisions", .approval, .object(json), by: person)
  }

  /// Signs and sends changed terms of a consent.
  func consent(
    _ path: String = "/v1/consents", by person: TestPerson? = nil, new: Bool = true,
    _ change: (inout JSONObject) -> Void
  ) async throws {
    var json = terms.json
    if new { json["id"] = .string("con_" + Base64.URL.encode(world.random.bytes(16))) }
    json["nonce"] = .string(Base64.URL.encode(world.random.bytes(32)))
    json["issued_at"] = .integer(world.clock.now().milliseconds)
    change(&json)
    try await d.submit(path, .consent, .object(json), by: person ?? olga)
  }

  private struct Standing: Equatable {
    let accounts: [Account], holds: [Hold], payments: [Payment], approvals: [GivenApproval]
    let credentials: [[UInt8]: Credential], groups: [String: ApproverGroup]
    let consents: [String: [ConsentTerms]], statuses: [String: ConsentRecord.Status], policies: [String: Int]
    let budgets: [String: [BudgetWindow]], rails: [UInt64: ACHRail], entries: [UInt64: RailEntry]
    let invitations: [[UInt8]: PersonInvitation], principals: [String: Principal]

    init(_ unit: InMemoryUnit) {
      let tables = unit.tables
      (accounts, holds, payments) = (unit.allAccounts, unit.allHolds, unit.allPayments)
      approvals = tables.approvals.values.sorted { $0.leafIndex < $1.leafIndex }
      (credentials, groups, budgets) = (tables.credentials, tables.groups, tables.budgets)
      consents = tables.consents.mapValues { $0.all.map(\.terms) }
      statuses = tables.consents.mapValues(\.status)
      policies = tables.policies.mapValues(\.count)
      (rails, entries) = (tables.rails, tables.entries)
      (invitations, principals) = (tables.personInvitations, tables.principals)
    }
  }

  /// A denied leaf with the code, the same refusal when it is asked again, and not one row else.
  func denies(
    _ code: String, _ note: Comment? = nil, _ body: (RefusalBench) async throws -> Void,
    at location: SourceLocation = #_sourceLocation
  ) async throws {
    try await d.settle()
    let before = Standing(d.store.image)
    do {
      try await body(self)
      Issue.record("it had to be refused with \(code)", sourceLocation: location)
    } catch let denied as Denied {
      #expect(denied.problem.code == code, note, sourceLocation: location)
      let leaf = try await d.store.read { unit in try unit.entry(at: denied.command.leafIndex) }
      guard case .denied(_, let recorded, _) = try Leaf.decode(try #require(leaf)).leaf else {
        Issue.record("the leaf is no denial", sourceLocation: location)
        return
      }
      #expect(recorded == code, sourceLocation: location)
      #expect(denied.command.state == .denied && denied.command.outcomeIndex == nil, sourceLocation: location)
    } catch {
      Issue.record("\(code) must be on the record, and not just \(error)", sourceLocation: location)
    }
    #expect(Standing(d.store.image) == before, note, sourceLocation: location)
  }

  /// A refusal before anything is decided: no leaf.
  func rejects(
    _ code: String, _ body: (RefusalBench) async throws -> Void, at location: SourceLocation = #_sourceLocation
  ) async throws {
    try await d.settle()
    let before = try await d.store.read { unit in try unit.head() }
    do {
      try await body(self)
      Issue.record("it had to be refused with \(code)", sourceLocation: location)
    } catch let problem as Problem {
      #expect(problem.code == code, sourceLocation: location)
    } catch {
      Issue.record("\(error) instead of \(code)", sourceLocation: location)
    }
    #expect(try await d.store.read { unit in try unit.head() } == before, sourceLocation: location)
  }
}

@Suite struct PaymentRefusalTests {
  // Left out, because no sequence of commands leads there: group_not_found in a payment (groups never vanish),
  // account_not_permitted in a payment (accounts keep their owner), consent_wrong_tenant (there is one tenant),
  // consent_wrong_owner and consent_wrong_key (terms are checked against the agent when they are signed, and keys do not
  // change), a second decision with one credential by another person (a credential has one person).

  @Test func authorize() async throws {
    let b = try await RefusalBench()
    let (d, world, terms) = (b.d, b.world, b.terms)
    func ask(_ members: KeyValuePairs<String, JSONValue>, by party: TestParty? = nil) async throws {
      var body: JSONObject = [
        "consent": .string(terms.id), "counterparty": "acme", "rail": "ach", "amount": "10.00", "currency": "USD",
      ]
      for (member, value) in members { body[member] = value }
      try await d.submit("/v1/payments/authorize", .object(body), by: party ?? b.agent)
    }
    try await b.denies("payment_not_permitted") { _ in try await ask([:], by: world.owner) }
    try await b.denies("consent_not_found") { _ in try await ask(["consent": "con_none"]) }
    try await b.denies("consent_wrong_agent") { _ in try await ask([:], by: world.agents[1]) }
    try await b.denies("agent_pending") { _ in try await ask([:], by: world.agents[2]) }
    try await b.denies("consent_currency") { _ in try await ask(["currency": "EUR"]) }
    try await b.denies("consent_rail_not_permitted") { _ in try await ask(["rail": "wire"]) }
    try await b.denies("consent_counterparty_not_permitted") { _ in try await ask(["counterparty": "nobody"]) }
    try await b.denies("consent_counterparty_not_permitted") { _ in try await ask(["counterparty": "ivo"]) }
    try await b.denies("consent_single_limit") { _ in try await ask(["amount": "12000.01"]) }
    try await b.denies("account_overdrawn") { _ in try await ask(["amount": "10000.01"]) }
    try await b.denies("account_not_found") { _ in try await ask(["counterparty": "lost", "rail": "book"]) }
    try await b.denies("currency_mismatch") { _ in try await ask(["counterparty": "euro", "rail": "book"]) }

    try await b.rejects("currency_unknown") { _ in try await ask(["currency": "XXX"]) }
    try await b.rejects("amount_not_positive") { _ in try await ask(["amount": 0]) }
    try await b.rejects("amount_excess_precision") { _ in try await ask(["amount": "1.001"]) }
    try await b.rejects("reference_characters") { _ in try await ask(["reference": "caf\u{E9}"]) }
    try await b.rejects("route_not_found") { _ in try await d.submit("/v1/payments/else", [:], by: b.agent) }
    try await b.rejects("route_not_found") { _ in try await d.submit("/v1/approvals/x/decisions", [:], by: b.agent) }

    // Limits of the day and of the hour, at their edge.
    try await d.issueConsent(
      try d.draftConsent(
        owner: b.olga, agent: b.agent, account: b.own, counterparties: [.payee("acme", account: "111")],
        single: "10.00", daily: "25.00", hourly: 3, replacing: terms), by: b.olga)
    try await ask(["amount": "10.00"])
    try await ask(["amount": "10.00"])
    try await b.denies("consent_daily_limit") { _ in try await ask(["amount": "5.01"]) }
    try await ask(["amount": "4.99"])
    try await b.denies("consent_hourly_limit") { _ in try await ask(["amount": "0.01"]) }
    world.clock.advance(seconds: 30 * 86_400)
    try await b.denies("consent_expired") { _ in try await ask([:]) }
    try await d.submit("/v1/consents/\(terms.id)/revoke", [:], by: world.owner)
    try await b.denies("consent_revoked") { _ in try await ask([:]) }
    try await d.submit("/v1/agents/agt_1/revoke", [:], by: world.officer)
    try await b.denies("agent_revoked") { _ in try await ask([:]) }
  }

  @Test func policyAndRail() async throws {
    let b = try await RefusalBench(hasRail: false)
    func rule(_ action: JSONValue) -> JSONValue {
      [["id": "r", "condition": ["kind": "amount_above", "amount": 0, "currency": "USD"], "action": action]]
    }
    try await b.denies("rail_not_configured") { b in _ = try await b.pay() }
    try await b.d.publishPolicy(version: 1, rules: rule(["kind": "deny"]))
    try await b.denies("policy_denied") { b in _ = try await b.pay() }
    try await b.d.publishPolicy(version: 2, rules: rule(["kind": "hold", "approvals": 1]))
    try await b.denies("approval_group_missing") { b in _ = try await b.pay() }
    // Olga is of the group and can never approve what her own agent asks for.
    try await b.d.publishPolicy(
      version: 3, rules: rule(["kind": "hold", "approvals": 3, "group": .string(b.group)]))
    try await b.denies("group_too_small", "the owner does not count") { b in
      _ = try await b.pay(to: "ivo", by: "book")
    }
    let euros = try b.d.draftConsent(
      owner: b.olga, agent: b.agent, account: b.own, counterparties: [.payee("acme", account: "111")])
    var json = euros.json
    (json["account"], json["currency"]) = (.string(b.euros), "EUR")
    try await b.d.submit("/v1/consents", .consent, .object(json), by: b.olga)
    try await b.d.publishPolicy(version: 4, rules: [])
    try await b.d.configureRail(settlementAccount: b.outside)
    try await b.denies("rail_currency") { b in
      try await b.d.submit(
        "/v1/payments/authorize",
        [
          "consent": .string(euros.id), "counterparty": "acme", "rail": "ach", "amount": "1.00", "currency": "EUR",
        ], by: b.agent)
    }
  }

  @Test func voidAndDecide() async throws {
    let b = try await RefusalBench()
    let (d, world) = (b.d, b.world)
    try await d.submit("/v1/ledger/transfers", .transfer(b.outside, b.own, 10_000_000), by: world.officer)
    let payment = try await b.held()
    try await b.denies("payment_not_found") { _ in try await d.void("none", by: b.agent) }
    try await b.denies("payment_not_permitted") { _ in try await d.void(payment, by: world.stranger) }
    let unheld = try await b.pay().command.id.description
    try await b.denies("payment_ended") { _ in try await d.void(unheld, by: b.agent) }

    let another = try await b.pay("2000.01").command.id.description
    let twin = try await b.held()
    let zeros = JSONValue.string(Base64.URL.encode([UInt8](repeating: 0, count: 32)))
    try await b.denies("payment_not_found") { b in
      let json = JSONValue.object(try await d.approvalTerms(of: payment, .approve, by: b.ada).json)
      try await d.submit("/v1/approvals/none/decisions", .approval, json, by: b.ada)
    }
    try await b.denies("payment_not_found", "it was never held") { b in
      let json = JSONValue.object(try await d.approvalTerms(of: payment, .approve, by: b.ada).json)
      try await d.submit("/v1/approvals/\(unheld)/decisions", .approval, json, by: b.ada)
    }
    try await b.denies("approval_wrong_command") { b in
      let json = JSONValue.object(try await d.approvalTerms(of: another, .approve, by: b.ada).json)
      try await d.submit("/v1/approvals/\(payment)/decisions", .approval, json, by: b.ada)
    }
    try await b.denies("approval_statement_mismatch", "both were asked for in the same words") { b in
      let json = JSONValue.object(try await d.approvalTerms(of: twin, .approve, by: b.ada).json)
      try await d.submit("/v1/approvals/\(payment)/decisions", .approval, json, by: b.ada)
    }
    try await b.denies("approval_wrong_person") { b in try await b.decide(payment, by: b.ben, asking: b.ada) { _ in } }
    try await b.denies("approval_by_initiator") { b in
      try await b.decide(payment, by: b.olga, asking: b.ada) { $0["approver"] = .string(b.olga.id) }
    }
    for stranger in [b.eve, b.sten] {
      try await b.denies("approval_not_permitted") { b in
        try await b.decide(payment, by: stranger, asking: b.ada) { $0["approver"] = .string(stranger.id) }
      }
    }
    try await b.denies("approval_group_changed") { b in
      try await b.decide(payment, by: b.ada) { $0["group_version"] = 99 }
    }
    try await b.denies("approval_consent_changed") { b in
      try await b.decide(payment, by: b.ada) { $0["consent_digest"] = zeros }
    }
    try await b.denies("approval_policy_changed") { b in
      try await b.decide(payment, by: b.ada) { $0["policy_version"] = "policy/9" }
    }
    for (member, value) in [("statement_digest", zeros), ("renderer_version", "0"), ("locale", "de-DE")] {
      try await b.denies("approval_statement_mismatch") { b in
        try await b.decide(payment, by: b.ada) { $0[member] = value }
      }
    }
    // The same tap twice is one command; a second tap of one person is refused.
    let two = try await b.pay("2000.00")
    try await d.publishPolicy(
      version: 1,
      rules: [
        [
          "id": "two", "condition": ["kind": "amount_above", "amount": "1500.00", "currency": "USD"],
          "action": ["kind": "hold", "approvals": 2, "group": .string(b.group)],
        ]
      ])
    let old = try await d.store.read { unit in unit.payment(two.command.id.description) }
    #expect(old?.policyVersion == "builtin/1")
    let both = try await b.held()
    let json = JSONValue.object(try await d.approvalTerms(of: both, .approve, by: b.ada).json)
    let again = JSONValue.object(try await d.approvalTerms(of: both, .decline, by: b.ada).json)
    try await d.submit("/v1/approvals/\(both)/decisions", .approval, json, by: b.ada)
    try await b.denies("approval_repeated") { b in
      try await d.submit("/v1/approvals/\(both)/decisions", .approval, again, by: b.ada)
    }
    try await d.decide(.approve, both, by: b.ben)
    try await b.denies("payment_ended") { b in try await b.void(both) }
    let late = try await d.pay(b, seconds: 10)
    let signed = JSONValue.object(try await d.approvalTerms(of: late, .decline, by: b.ada).json)
    let kept = try await d.sign("/v1/approvals/\(late)/decisions", .approval, signed, by: b.ada)
    world.clock.advance(seconds: 10)
    try await b.denies("approval_expired") { _ in _ = try await d.gate.submit(kept, to: "payments") }
  }

  @Test func railAndBank() async throws {
    let b = try await RefusalBench()
    let (d, world) = (b.d, b.world)
    func configure(_ account: String, _ bank: JSONValue?, by party: TestParty) async throws {
      try await d.submit(
        "/v1/rails/ach",
        [
          "originator": [
            "immediate_destination": "021000021", "immediate_origin": "1234567890",
            "destination_name": "TEST BANK", "origin_name": "TRUSTCORE", "company_name": "TRUSTCORE",
            "company_identification": "1234567890", "odfi": "02100002", "entry_description": "PAYMENTS",
          ], "settlement_account": .string(account), "bank": try bank ?? JSONValue(parsing: world.bank.principal.key),
        ], by: party)
    }
    try await b.denies("officer_required") { b in try await configure(b.outside, nil, by: world.owner) }
    for account in [b.own, b.euros, "acc_none"] {
      try await b.denies("settlement_account") { _ in try await configure(account, nil, by: world.officer) }
    }
    try await b.denies("bank_key") { b in try await configure(b.outside, "no key", by: world.officer) }
    try await b.denies("key_enrolled") { b in
      try await configure(b.outside, try JSONValue(parsing: world.agents[0].principal.key), by: world.officer)
    }
    for amount in 1...70 { _ = try await b.pay("\(amount).00") }
    let (file, bytes) = try #require(try await d.cutFile())
    let waiting = try await b.pay("99.00").command.id.description
    try await b.denies("bank_required") { _ in
      try await d.submit("/v1/rails/ach/answers", ["accepted_file": 1], by: world.officer)
    }
    try await b.denies("file_not_found") { _ in try await d.bankAnswer(.accepted(file: 2)) }
    let unsent = try await d.store.read { unit in unit.entry(payment: waiting)?.trace }
    let trace = String(try #require(unsent))
    let padded = String(repeating: "0", count: 15 - trace.count) + trace
    try await b.denies("trace_number") { _ in
      try await d.submit(
        "/v1/rails/ach/answers", ["accepted_file": 1, "trace_numbers": [.string(padded)]], by: world.bank)
    }
    try await b.rejects("trace_number") { _ in
      try await d.submit("/v1/rails/ach/answers", ["accepted_file": 1, "trace_numbers": ["12"]], by: world.bank)
    }
    // The bank answers with entries of our own file, some of them changed.
    func sendBack(_ change: (String) -> String = { $0 }, first count: Int) async throws {
      let parsed = try ACHFile(parsing: Array(change(String(decoding: bytes, as: UTF8.self)).utf8), .originated)
      let day = BankingCalendar.nextBankingDay(after: try #require(parsed.creationDate))
      let answer = try ACHReturnFile.build(
        parsed.entries.prefix(count).map { ACHReturnFile.Item($0, .insufficientFunds) },
        header: ACHFileHeader(
          immediateDestination: "021000021", immediateOrigin: " 021000021", destinationName: "TRUSTCORE",
          originName: "TEST BANK", creationDate: day, creationTime: CivilTime.morning, fileIDModifier: "A"),
        settlement: day)
      try await d.submit(
        "/v1/rails/ach/answers", ["returns": .string(String(decoding: answer, as: UTF8.self))], by: world.bank)
    }
    #expect(file.count == 70)
    // The sums of a file are changed with the amount, so that only the ledger can tell.
    let amounts = [("0000000100", "0000000101"), ("000000248500", "000000248501")]
    try await b.denies("return_amount") { _ in
      try await sendBack({ text in amounts.reduce(text) { $0.replacingOccurrences(of: $1.0, with: $1.1) } }, first: 1)
    }
    try await b.denies("return_unknown_entry") { _ in
      let known = String(
        try #require(try await d.store.read { unit in unit.entries(tenant: TestWorld.tenant, file: 1).first?.trace }))
      try await sendBack({ $0.replacingOccurrences(of: known, with: "\(known.dropLast(7))0000001") }, first: 1)
    }
    try await b.denies("returns_too_many") { _ in try await sendBack(first: 65) }
    try await sendBack(first: 64)
    try await b.denies("return_repeated") { _ in try await sendBack(first: 1) }
    try await b.rejects("returns_repeated") { _ in
      let own = JSONValue.string(String(decoding: bytes, as: UTF8.self))
      try await d.submit("/v1/rails/ach/answers", ["returns": own], by: world.bank)
    }
  }
}

extension RefusalBench {
  func void(_ payment: String) async throws { try await d.void(payment, by: agent) }
}

extension TestDeployment<InMemoryStore> {
  fileprivate func pay(_ b: RefusalBench, seconds: Int64) async throws -> String {
    try await authorize("2000.00", to: "acme", under: b.terms.id, agent: b.agent, seconds: seconds).command.id
      .description
  }
}
