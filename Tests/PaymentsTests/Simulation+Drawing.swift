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
import TestSupport
import TransparencyLog
import Wire

// What happens next, drawn from the seed.

extension Simulation {
  /// Time passes: seconds, hours by a millisecond, to a midnight, over the day on which clocks change.
  func moveClock() {
    let now = world.clock.now()
    let edge = [-1, 0, 1, 1][dice.below(4)] as Int64
    let move: Int64
    switch dice.below(50) {
    case 0...39: move = Int64(dice.below(20_000))
    case 40...42: move = Int64(dice.below(600_000))
    case 43, 44:
      // Where an hour ends whose payments are used up, and the next one is asked for.
      let full = model.consents.values.filter { model.hour($0.id, now) >= $0.hourly }.map(\.id).sorted()
      focus = full.isEmpty ? nil : dice.pick(full)
      let began = focus.flatMap {
        model.counting($0).first { $0.time.milliseconds > now.milliseconds - 3_600_000 }?.time
      }
      move = (began?.milliseconds ?? now.milliseconds) + 3_600_000 + edge - now.milliseconds
    case 45, 46:
      // Where a day ends in some consent's place.
      let consent = dice.pick(model.consents.values.sorted { $0.id < $1.id })
      let zone = consent.zone
      focus = consent.id
      let calendar = Model.calendar(zone)
      let moment = Date(timeIntervalSince1970: Double(now.milliseconds) / 1000)
      let midnight = calendar.dateInterval(of: .day, for: moment)?.end ?? moment
      move = Int64(midnight.timeIntervalSince1970) * 1000 - now.milliseconds + edge
    case 47, 48:
      // Where a hold ends.
      let ends = model.payments.filter { $0.state == .held }.compactMap { $0.expires?.milliseconds }.sorted()
      move = (ends.first ?? now.milliseconds) - now.milliseconds + edge
    default: move = Int64(dice.below(14 * 3_600_000))
    }
    world.clock.advance(milliseconds: max(0, move))
  }

  func drawDeeds() async throws -> [Deed] {
    let count = dice.below(3) > 0 ? 1 : 1 + dice.below(10)
    var deeds: [Deed] = []
    if let focus, let deed = try await drawPayment(under: focus) { deeds.append(deed) }
    focus = nil
    while deeds.count < count { if let deed = try await drawDeed() { deeds.append(deed) } }
    if dice.below(2) == 0 { deeds += try await drawQuorum() }
    // The sweeper comes by.
    if dice.below(3) == 0 { deeds += due() }
    if dice.below(8) == 0 { deeds.append(.cutFile) }
    return deeds
  }

  private func due() -> [Deed] {
    let now = world.clock.now()
    return model.payments.filter { $0.state == .held && $0.expires.map { $0 <= now } ?? false }
      .map { .expirePayment($0.id) }
      + model.holds.filter { $0.state == .held && $0.expires <= now }.map { .expireHold($0.id) }
  }

  private var held: [ModelPayment] { model.payments.filter { $0.state == .held } }

  private func drawDeed() async throws -> Deed? {
    switch dice.below(100) {
    case 0..<36: return try await drawPayment()
    case 36..<62: return try await drawDecision()
    case 62, 63:
      guard let payment = (dice.below(4) == 0 ? model.payments : held).randomElement(dice) else { return nil }
      let party = dice.below(8) == 0 ? dice.pick(world.agents) : agentOrOwner(of: payment)
      return try await command("/v1/payments/\(payment.id)/void", [:], .void(payment.id), by: party)
    case 64..<71: return try await drawTransfer()
    case 71..<76: return try await drawHold()
    case 76..<79: return try await drawAmendment()
    case 79..<82: return try await drawDecision()
    case 82:
      guard dice.below(3) == 0 else { return nil }
      let consent = dice.pick(model.consents.values.sorted { $0.id < $1.id })
      let party = dice.pick([world.officer, world.owners[0], world.owners[1]])
      return try await command("/v1/consents/\(consent.id)/revoke", [:], .revoke(consent.id), by: party)
    case 83, 84: return try await drawPolicy()
    case 85: return try await drawDecision()
    case 86:
      let group = dice.pick(model.groups.keys.sorted())
      guard dice.below(4) == 0, let person = (model.groups[group] ?? []).randomElement(dice) else { return nil }
      return try await command(
        "/v1/groups/\(group)/remove", ["person": .string(person)], .remove(group: group, person: person),
        by: world.officer)
    case 87:
      guard dice.below(6) == 0 else { return nil }
      return try await command("/v1/rails/ach", try railBody, .configure, by: world.officer)
    case 88:
      guard dice.below(12) == 0, step > 30 else { return nil }
      let agent = dice.pick(world.agents)
      return try await command("/v1/agents/\(agent.id)/revoke", [:], .revokeAgent(agent.id), by: world.officer)
    default: return try await drawBankAnswer()
    }
  }

  private func agentOrOwner(of payment: ModelPayment) -> Party {
    let all = (world.agents + world.owners).filter { $0.principal.owner == payment.consent.owner }
    return dice.pick(all)
  }

  /// A command that a party signs.
  func command(_ path: String, _ body: JSONValue, _ intent: Intent, by party: Party) async throws -> Deed {
    let signed = try await life.sign(path, body, by: party)
    let kind: ModelCommand.Signer =
      switch party.principal.kind {
      case .agent: .agent
      case .owner: .owner
      case .officer: .officer
      case .approver: .person
      // No registrar is drawn.
      case .bank, .registrar: .bank
      }
    return .command(
      signed,
      ModelCommand(
        intent: intent, by: party.id, kind: kind, owner: party.principal.owner, notAfter: signed.notAfter))
  }

  // MARK: - Payments

  private func drawPayment(under id: String? = nil) async throws -> Deed? {
    let now = world.clock.now()
    let all = model.consents.values.sorted { $0.id < $1.id }
    let usable = all.filter { !$0.isRevoked && now < $0.expires && model.agents[$0.agent]?.isRevoked == false }
    let drawn = dice.pick(usable.isEmpty || dice.below(12) == 0 ? all : usable)
    let consent = id.flatMap { model.consents[$0] } ?? drawn
    let payee = dice.below(25) == 0 ? "stranger" : dice.pick(consent.payees).id
    let rails = consent.payees.first { $0.id == payee }.map {
      ($0.ach == nil ? [] : ["ach"]) + ($0.book == nil ? [] : ["book"])
    }
    let rail = dice.below(25) == 0 ? "wire" : dice.pick(rails ?? ["ach", "book"])
    // Around each limit, by a unit.
    let rest = consent.daily - model.spent(consent, on: now)
    let around = [
      consent.single, min(rest, consent.single + 1), min(model.available(consent.account), consent.single + 1),
      consent.cosign?.above ?? 100, consent.single / 2, Int64(1 + dice.below(Int(consent.single))),
      Int64(1 + dice.below(Int(consent.single))), Int64(1 + dice.below(500)), Int64(1 + dice.below(100)),
    ]
    let amount = max(1, dice.pick(around) + [-1, 0, 0, 0, 1][dice.below(5)])
    let currency = dice.below(40) == 0 ? "GBP" : consent.currency
    let agent = dice.below(25) == 0 ? dice.pick(world.agents) : world.agents.first { $0.id == consent.agent }
    guard let agent else { return nil }
    let seconds = Int64([1, 60, 300, 3600, 3600, 86_400, 86_400, 604_800][dice.below(8)])
    return try await command(
      "/v1/payments/authorize",
      [
        "consent": .string(consent.id), "counterparty": .string(payee), "rail": .string(rail),
        "amount": .integer(amount), "currency": .string(currency), "expires_in": .integer(seconds),
      ],
      .pay(
        consent: consent.id, payee: payee, rail: rail, amount: amount, currency: currency, expiresIn: seconds),
      by: agent)
  }

  /// Taps on a payment; what was tapped may be sent later, when much has changed.
  private func drawDecision() async throws -> Deed? {
    if !tapped.isEmpty, dice.below(3) == 0 { return tapped.remove(at: dice.below(tapped.count)) }
    let now = world.clock.now()
    let open = held.filter { $0.expires.map { now < $0 } ?? false }
    guard let payment = (dice.below(12) == 0 ? model.payments : open).randomElement(dice) else { return nil }
    let members = payment.needs.flatMap(\.members)
    let person = try dice.below(10) == 0 || members.isEmpty ? dice.pick(people) : person(dice.pick(members))
    let decision: ApprovalTerms.Decision = dice.below(12) == 0 ? .decline : .approve
    guard let deed = try await tap(decision, payment.id, by: person) else { return nil }
    guard dice.below(6) > 0 else {
      tapped.append(deed)
      return nil
    }
    return deed
  }

  /// Those whose approval a payment still needs, all at once, and sometimes one more than it needs.
  private func drawQuorum() async throws -> [Deed] {
    let now = world.clock.now()
    let open = held.filter { $0.expires.map { now < $0 } ?? false && $0.policy == model.policy.version }
    guard let payment = open.randomElement(dice) else { return [] }
    var deeds: [Deed] = []
    for need in payment.needs {
      let given = need.members.filter { member in payment.approvals.contains { $0.person == member } }
      let more = need.count - given.count + (dice.below(4) == 0 ? 1 : 0)
      let willing = shuffled(need.members.filter { !given.contains($0) && $0 != payment.consent.owner })
      for member in willing.prefix(max(0, more)) {
        if let deed = try await tap(.approve, payment.id, by: try person(member)) { deeds.append(deed) }
      }
    }
    return deeds
  }

  /// What a person signs about a payment, as things stand; nil where the person is told why there is nothing to sign.
  func tap(_ decision: ApprovalTerms.Decision, _ id: String, by person: Person) async throws -> Deed? {
    let (now, nonce, payments) = (world.clock.now(), world.random.bytes(32), life.payments)
    var expected: String?
    do { try model.mayDecide(id, person.id, decision == .approve, now) } catch let refused as Refused {
      expected = refused.code
    }
    let who = person.id
    let terms: ApprovalTerms
    do {
      terms = try await life.read { unit in
        guard let principal = try unit.principal(id: who) else { throw Discrepancy("\(who) is not enrolled") }
        return try payments.terms(of: id, decision: decision, by: principal, nonce: nonce, at: now, in: &unit).terms
      }
    } catch let problem as Problem {
      guard problem.code == expected else {
        throw Discrepancy("\(who) is told \(problem.code) about \(id), and not \(expected ?? "what to sign")")
      }
      tally["asked: \(problem.code)", default: 0] += 1
      return nil
    }
    if let expected { throw Discrepancy("\(who) is asked about \(id), and had to be told \(expected)") }
    let signed = try await life.sign("/v1/approvals/\(id)/decisions", .approval, terms.json, by: person)
    return .command(
      signed,
      ModelCommand(
        intent: .decide(
          payment: id, approves: decision == .approve, count: signed.asserted?.assertion.signCount ?? 0),
        by: who, kind: .person, owner: signed.principal.ownership, notAfter: signed.notAfter))
  }

  // MARK: - The ledger

  private func drawTransfer() async throws -> Deed? {
    let ids = model.accounts.keys.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    let from = dice.pick(ids)
    guard let account = model.accounts[from] else { return nil }
    let to = dice.pick(
      ids.filter { $0 != from && (dice.below(10) == 0 || model.accounts[$0]?.currency == account.currency) }
        + (dice.below(30) == 0 ? ["acc_none"] : []))
    let parties = [world.officer] + world.owners + world.agents
    let party =
      dice.below(8) == 0 ? dice.pick(parties) : dice.pick(parties.filter { $0.principal.owner == account.owner })
    let amount = max(
      1,
      dice.pick([
        dice.below(3) == 0 ? model.available(from) : 100, 1 + Int64(dice.below(5_000)), 1 + Int64(dice.below(5_000)),
      ]) + [-1, 0, 1][dice.below(3)])
    return try await command(
      "/v1/ledger/transfers", .transfer(from, to, amount, account.currency),
      .transfer(from: from, to: to, amount, account.currency), by: party)
  }

  private func drawHold() async throws -> Deed? {
    if dice.below(2) == 0, let hold = model.holds.randomElement(dice) {
      let party = dice.pick(
        (world.agents + world.owners).filter { $0.principal.owner == hold.owner || dice.below(8) == 0 })
      return dice.below(2) == 0
        ? try await command("/v1/ledger/holds/\(hold.id)/capture", [:], .capture(hold.id), by: party)
        : try await command("/v1/ledger/holds/\(hold.id)/void", [:], .release(hold.id), by: party)
    }
    let agent = dice.pick(world.agents)
    let ids = model.accounts.keys.sorted()
    let own = ids.filter { model.accounts[$0]?.owner == agent.principal.owner }
    let from = dice.pick(own)
    let currency = model.accounts[from]?.currency ?? ""
    guard let to = ids.filter({ $0 != from && model.accounts[$0]?.currency == currency }).randomElement(dice) else {
      return nil
    }
    let (amount, seconds) = (Int64(1 + dice.below(3_000)), Int64(1 + dice.below(7_200)))
    return try await command(
      "/v1/ledger/holds", .hold(from, to, amount, seconds: seconds, currency),
      .hold(from: from, to: to, amount, currency, seconds: seconds), by: agent)
  }

  // MARK: - Consents and policies

  private func drawAmendment() async throws -> Deed? {
    let all = model.consents.values.sorted { $0.id < $1.id }
    let active = all.filter { !$0.isRevoked }
    var consent = dice.pick(active.isEmpty || dice.below(10) == 0 ? all : active)
    if dice.below(6) == 0 || active.count < 4 {
      consent.id = "con_" + Base64.URL.encode(world.random.bytes(16))
      (consent.version, consent.previous) = (1, nil)
    } else {
      consent.version += dice.below(15) == 0 ? 2 : 1
      consent.previous = consent.nonce
    }
    consent.isRevoked = false
    drawLimits(&consent)
    if dice.below(4) == 0 {
      consent.zone = dice.pick(["America/New_York", "Europe/Berlin", "Asia/Kolkata", "Africa/Cairo", "UTC"])
    }
    let terms = try terms(&consent)
    let path = consent.version == 1 ? "/v1/consents" : "/v1/consents/\(consent.id)/amend"
    let owner = try person(consent.owner)
    let signed = try await life.sign(path, .consent, terms.json, by: owner)
    return .command(
      signed,
      ModelCommand(
        intent: .put(consent, count: signed.asserted?.assertion.signCount ?? 0), by: consent.owner, kind: .owner,
        owner: consent.owner, notAfter: signed.notAfter))
  }

  private func drawPolicy() async throws -> Deed? {
    var (rules, json): ([ModelRule], [JSONValue]) = ([], [])
    for number in 0..<dice.below(4) {
      let condition: ModelRule.Condition
      let text: JSONValue
      switch dice.below(6) {
      case 0:
        let currency = dice.pick(["USD", "EUR", "JPY"])
        let amount = Int64(dice.below(15_000))
        condition = .above(amount, currency)
        text = ["kind": "amount_above", "amount": .integer(amount), "currency": .string(currency)]
      case 1: (condition, text) = (.first, ["kind": "first_payment"])
      case 2:
        let rail = dice.pick(["ach", "book"])
        (condition, text) = (.rail(rail), ["kind": "rail", "rails": [.string(rail)]])
      case 3:
        let payee = dice.pick(["acme", "zeta", "ivo", "kim"])
        (condition, text) = (.payee(payee), ["kind": "counterparty", "counterparties": [.string(payee)]])
      case 4:
        condition = .outside(from: 480, to: 1200, weekdays: [1, 2, 3, 4, 5, 6], zone: "America/New_York")
        text = [
          "kind": "outside_hours", "from": 480, "to": 1200, "zone": "America/New_York",
          "weekdays": ["sun", "mon", "tue", "wed", "thu", "fri"],
        ]
      default: (condition, text) = (.young(86_400), ["kind": "agent_younger_than", "seconds": 86_400])
      }
      let action: ModelRule.Action
      var actionText: JSONObject
      switch dice.below(9) {
      case 0: (action, actionText) = (.deny, ["kind": "deny"])
      case 1: (action, actionText) = (.allow, ["kind": "allow"])
      default:
        let group = dice.below(2) == 0 ? dice.pick(model.groups.keys.sorted()) : nil
        let count = 1 + dice.below(3)
        (action, actionText) = (.hold(count, group), ["kind": "hold", "approvals": .integer(Int64(count))])
        actionText["group"] = group.map { .string($0) }
      }
      rules.append(ModelRule(condition: condition, action: action))
      json.append(["id": .string("r\(number)"), "condition": text, "action": .object(actionText)])
    }
    let version = model.policy.version + (dice.below(10) == 0 ? 2 : 1)
    return try await command(
      "/v1/policies", ["policy": ["version": .integer(Int64(version)), "rules": .array(json)]],
      .publish(version, rules), by: world.officer)
  }

  // MARK: - The bank

  private func drawBankAnswer() async throws -> Deed? {
    guard !model.files.isEmpty else { return dice.below(3) == 0 ? .cutFile : nil }
    let number = dice.below(20) == 0 ? model.files.count + 1 : 1 + dice.below(model.files.count)
    let entries = model.payments.filter { $0.file == number }
    let traces = entries.compactMap(\.trace)
    switch dice.below(5) {
    case 0, 1:
      let some = dice.below(3) == 0 ? traces.filter { _ in dice.below(2) == 0 } : nil
      var body: JSONObject = ["accepted_file": .integer(Int64(number))]
      body["trace_numbers"] = some.map { .array($0.map { .string(Self.text($0)) }) }
      return try await command(
        "/v1/rails/ach/answers", .object(body), .accept(file: number, traces: some), by: world.bank)
    case 2, 3:
      let chosen = Set(traces.filter { _ in dice.below(3) == 0 }.prefix(3))
      guard !chosen.isEmpty else { return nil }
      let payments = life.payments
      let bytes = try await life.read { unit -> [UInt8]? in
        try unit.file(tenant: TestWorld.tenant, number: number).map { try payments.bytes(of: $0, in: &unit) }
      }
      guard let bytes else { return nil }
      let file = try ACHFile(parsing: bytes, .originated)
      let items = file.entries.filter { chosen.contains($0.traceNumber?.value ?? 0) }
      guard let created = file.creationDate, let code = ACHReturnCode([1, 3][dice.below(2)]) else { return nil }
      let day = BankingCalendar.nextBankingDay(after: created)
      let answer = try ACHReturnFile.build(
        items.map { ACHReturnFile.Item($0, code) },
        header: ACHFileHeader(
          immediateDestination: "021000021", immediateOrigin: " 021000021", destinationName: "TRUSTCORE",
          originName: "TEST BANK", creationDate: day, creationTime: CivilTime.morning, fileIDModifier: "A"),
        settlement: day)
      let order = try ACHFile(parsing: answer).returns.map(\.originalTraceNumber.value)
      return try await command(
        "/v1/rails/ach/answers", ["returns": .string(String(decoding: answer, as: UTF8.self))], .sendBack(order),
        by: world.bank)
    default: return nil
    }
  }

  private static func text(_ trace: UInt64) -> String {
    let text = String(trace)
    return String(repeating: "0", count: max(0, 15 - text.count)) + text
  }
}

extension Array {
  /// Any element, from the seed.
  fileprivate func randomElement(_ dice: SeededRandom) -> Element? { isEmpty ? nil : dice.pick(self) }
}
