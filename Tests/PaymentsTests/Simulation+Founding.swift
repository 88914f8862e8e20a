import AgentIdentity
import CommandGate
import Consent
import Cosign
import Ledger
import Payments
import Rails
import Seal
import TestSupport
import TransparencyLog
import Wire

// The world before the first step: owners, agents, accounts, approvers, the rail, and a consent for each use.

extension Simulation {
  func populate() async throws {
    let (officer, owners) = (world.officer, world.owners)
    for (index, agent) in world.agents.enumerated() {
      try await life.enrol(agent, by: owners[index / 2])
      let id = agent.id
      let since = try await life.read { unit in try unit.principal(id: id)?.since }
      model.agents[agent.id] = (owners[index / 2].id, since ?? world.clock.now(), false)
    }
    var outside: [String: String] = [:]
    for currency in ["USD", "EUR", "JPY"] {
      outside[currency] = try await open(currency, kind: "external", by: officer)
    }
    model.settlement = outside["USD"] ?? ""
    model.odfi = 2_100_002
    try await configureRail()
    // Own: two in USD, one under consent, and one in EUR. The other owner's: two in USD and one in JPY.
    var accounts: [String] = []
    for (owner, currency) in [(0, "USD"), (0, "USD"), (0, "EUR"), (1, "USD"), (1, "USD"), (1, "JPY")] {
      let overdraft = Int64(dice.below(3) == 0 ? 5_000 : 0)
      let id = try await open(currency, overdraft: overdraft, by: owners[owner])
      accounts.append(id)
      let amount = Int64(200_000 + dice.below(300_000))
      let funded = try await life.submit(
        "/v1/ledger/transfers", .transfer(outside[currency] ?? "", id, amount, currency), by: officer)
      model.posted.append(
        .init(leaf: funded.command.leafIndex, from: outside[currency] ?? "", to: id, amount: amount))
    }
    var groups: [String] = []
    for (index, name) in ["Treasury", "Board"].enumerated() {
      let group = try await life.submit("/v1/groups", ["name": .string(name)], by: officer).text("group")
      groups.append(group)
      for number in 0..<(3 + index) { people.append(try await life.enrolPerson("\(name) \(number)", group: group)) }
    }
    // An owner may approve for others, not for himself.
    for (index, group) in [(0, nil), (1, groups[0])] {
      let person = try await life.enrolPerson("Owner \(index)", owner: owners[index], group: group)
      hardware[person.id] = person
      people.append(person)
    }
    for group in groups { model.groups[group] = try await life.read { unit in try unit.group(group)?.members } }

    let plans: [(agent: Int, account: Int, zone: String, payees: [ModelConsent.Payee])] = [
      (0, 0, "America/New_York", [.init(id: "acme", ach: "111"), .init(id: "zeta", ach: "222", book: accounts[3])]),
      (1, 0, "Europe/Berlin", [.init(id: "ivo", book: accounts[4]), .init(id: "acme", ach: "333")]),
      (
        1, 2, "Asia/Tokyo",
        [
          .init(id: "nobody", book: "acc_missing"), .init(id: "yen", book: accounts[5]),
          .init(id: "acme", ach: "444"), .init(id: "bank", book: outside["EUR"]),
        ]
      ),
      (2, 3, "Africa/Cairo", [.init(id: "kim", ach: "555", book: accounts[1])]),
      (3, 5, "Pacific/Auckland", [.init(id: "bank", book: outside["JPY"])]),
    ]
    for plan in plans {
      let agent = world.agents[plan.agent]
      let owner = owners[plan.agent / 2]
      let account = accounts[plan.account]
      var consent = ModelConsent(
        id: "con_" + Base64.URL.encode(world.random.bytes(16)), nonce: "", owner: owner.id, agent: agent.id,
        account: account, currency: model.accounts[account]?.currency ?? "", payees: plan.payees, single: 0, daily: 0,
        zone: plan.zone, hourly: 1, expires: world.clock.now())
      drawLimits(&consent)
      let terms = try terms(&consent)
      let receipt = try await life.gate.submit(
        try await life.sign("/v1/consents", .consent, terms.json, by: try person(owner.id)), to: "consent")
      guard receipt.command.state == .done else { throw Discrepancy("a consent was not taken") }
      model.consents[consent.id] = consent
      model.accounts[account]?.isUnderConsent = true
    }
    try await life.settle()
    for person in people {
      let id = person.id
      model.counts[id] = try await life.read { unit in try unit.credentials(of: id).first?.signCount }
    }
    told = try await life.read { unit in try unit.head()?.size ?? 0 }
    try await checkInvariants()
  }

  func person(_ id: String) throws -> Person {
    guard let person = people.first(where: { $0.id == id }) else { throw Discrepancy("there is no person \(id)") }
    return person
  }

  func open(_ currency: String, kind: String = "customer", overdraft: Int64 = 0, by party: Party) async throws -> String
  {
    let id = try await life.openAccount(currency, kind: kind, overdraft: overdraft, by: party)
    model.accounts[id] = ModelAccount(
      owner: party.principal.owner, currency: currency, isExternal: kind == "external", overdraft: overdraft)
    return id
  }

  var railBody: JSONValue {
    get throws {
      [
        "originator": [
          "immediate_destination": "021000021", "immediate_origin": "1234567890", "destination_name": "TEST BANK",
          "origin_name": "TRUSTCORE", "company_name": "TRUSTCORE", "company_identification": "1234567890",
          "odfi": "02100002", "entry_description": "PAYMENTS",
        ], "settlement_account": .string(model.settlement), "bank": try JSONValue(parsing: world.bank.principal.key),
      ]
    }
  }

  private func configureRail() async throws {
    try await life.submit("/v1/rails/ach", try railBody, by: world.officer)
  }

  /// Limits that a few payments reach.
  func drawLimits(_ consent: inout ModelConsent) {
    consent.single = Int64(500 + dice.below(20_000))
    consent.daily = consent.single * Int64(1 + dice.below(5)) + Int64(dice.below(300))
    consent.hourly = 1 + dice.below(8)
    consent.expires = world.clock.now().adding(seconds: 3600 * Int64(2 + dice.below(24 * 30)))
    consent.cosign = nil
    if dice.below(4) > 0 {
      let group = dice.pick(model.groups.keys.sorted())
      consent.cosign = .init(
        above: Int64(dice.below(Int(consent.single))), approvals: 1 + dice.below(dice.below(3) == 0 ? 4 : 2),
        group: group)
      if !canApprove(consent) { consent.cosign = nil }
    }
  }

  private func canApprove(_ consent: ModelConsent) -> Bool {
    guard let cosign = consent.cosign else { return true }
    // Once in a while a consent asks for more than there are.
    if step > 0, dice.below(10) == 0 { return true }
    return (model.groups[cosign.group] ?? []).count { $0 != consent.owner } >= cosign.approvals
  }

  /// The document of a consent, under a nonce of its own.
  func terms(_ consent: inout ModelConsent) throws -> ConsentTerms {
    consent.nonce = Base64.URL.encode(world.random.bytes(32))
    guard let currency = Currency(consent.currency),
      let agent = world.agents.first(where: { [consent] in $0.id == consent.agent })
    else { throw Discrepancy("there is no such currency or agent") }
    func decimal(_ units: Int64) -> JSONValue { .string(Money(minorUnits: units, currency: currency).decimal) }
    var json: JSONObject = [
      "id": .string(consent.id), "version": .integer(Int64(consent.version)), "nonce": .string(consent.nonce),
      "owner": .string(consent.owner), "tenant": .string(TestWorld.tenant), "agent": .string(consent.agent),
      "agent_thumbprint": .string(agent.principal.thumbprint), "account": .string(consent.account),
      "currency": .string(consent.currency), "rails": .array(consent.rails.map { .string($0) }),
      "counterparties": .array(
        consent.payees.map { payee in
          var object: JSONObject = ["id": .string(payee.id), "name": .string("\(payee.id) Ltd")]
          object["book"] = payee.book.map { .string($0) }
          object["ach"] = payee.ach.map {
            [
              "routing_number": "021000021", "account_number": .string($0), "account_type": "checking",
              "class": "ccd", "receiver_name": .string(payee.id.uppercased()),
            ]
          }
          return .object(object)
        }),
      "limits": [
        "single": decimal(consent.single), "daily": decimal(consent.daily), "hourly": .integer(Int64(consent.hourly)),
        "zone": .string(consent.zone),
      ],
      "issued_at": .integer(world.clock.now().milliseconds), "expires": .integer(consent.expires.milliseconds),
    ]
    json["previous"] = consent.previous.flatMap { drafts[$0] }.map { .string(Base64.URL.encode($0.digest)) }
    json["cosign"] = consent.cosign.map {
      ["above": decimal($0.above), "approvals": .integer(Int64($0.approvals)), "group": .string($0.group)]
    }
    let terms = try ConsentTerms(.object(json), validate: RailDestination.validate)
    drafts[consent.nonce] = terms
    return terms
  }
}
