import Consent
import Cosign
import Payments
import Seal
import Testing
import TestSupport
import Wire

/// Held payments, and all that may come between the hold and its end. The model of the simulation says what each command
/// must come to; the tests say it once more, in their own words.
@Suite struct ReleaseRaceTests {
  /// What a test does in a world of its own.
  typealias Body = @Sendable (Simulation<MemoryDisk>) async throws -> Void

  private static func world(_ body: @escaping Body) async throws {
    try await OneByOne.run { executor in
      let simulation = try await Simulation<MemoryDisk>(seed: 11, on: executor)
      try await body(simulation)
      try await simulation.finish()
    }
  }

  // MARK: - One winner

  static let ways = ["approve", "decline", "void", "expire"]
  static let orders: [[String]] = ways.flatMap { a in
    ways.flatMap { b in ways.flatMap { c in ways.map { [a, b, c, $0] } } }
  }.filter { Set($0).count == 4 }

  /// All four ways to end a hold, at once, in every order; before its time is over and after. Either they all stand in
  /// one batch, or the last three are recorded while the first waits for its signature.
  @Test(arguments: [false, true], [false, true]) func oneEndOfEachHold(_ isDue: Bool, _ isSlow: Bool) async throws {
    try await Self.world { s in
      try await s.reopen(isSlow: isSlow)
      for order in Self.orders {
        let payment = try await s.held(approvals: 1, seconds: 60)
        let (one, other) = (s.approvers[0], s.approvers[1])
        var deeds: [Deed] = []
        for way in order {
          switch way {
          case "approve": deeds.append(try #require(try await s.tap(.approve, payment, by: one)))
          case "decline": deeds.append(try #require(try await s.tap(.decline, payment, by: other)))
          case "void":
            deeds.append(
              try await s.command("/v1/payments/\(payment)/void", [:], .void(payment), by: s.world.owners[0]))
          default: deeds.append(.expirePayment(payment))
          }
        }
        if isDue { s.world.clock.advance(milliseconds: 60_000) }
        // A sweep of nothing takes the first place, so that all four stand in the second batch.
        try await s.carryOut(isSlow ? deeds : [.expirePayment("")] + deeds, delay: isSlow ? 1 : nil)
        let end = try #require(s.model.payments.first { $0.id == payment })
        let first = order.first { isDue ? $0 == "expire" || $0 == "void" : $0 != "expire" }
        let expected: ModelPayment.State =
          switch first {
          case "approve": .posted
          case "decline": .declined
          case "void": .voided
          default: .expired
          }
        #expect(end.state == expected && end.ends == 1, "\(order)")
      }
    }
  }

  /// Of several approvals that complete one quorum in a batch, one releases the payment and no more are taken.
  @Test func aQuorumIsCompletedOnce() async throws {
    try await Self.world { s in
      for (needed, before) in [(1, 0), (2, 0), (2, 1), (3, 1)] {
        let payment = try await s.held(approvals: needed)
        for person in s.approvers.prefix(before) {
          try await s.carryOut([try #require(try await s.tap(.approve, payment, by: person))])
        }
        var deeds: [Deed] = [.expirePayment("")]
        for person in s.approvers.dropFirst(before) {
          deeds.append(try #require(try await s.tap(.approve, payment, by: person)))
        }
        try await s.carryOut(deeds)
        let end = try #require(s.model.payments.first { $0.id == payment })
        #expect(end.state == .posted && end.approvals.count == needed)
        let verdicts = deeds.compactMap(\.key).compactMap { s.verdicts[$0] }
        #expect(verdicts.count { $0 == .done } == needed - before)
        #expect(verdicts.allSatisfy { $0 == .done || $0 == .refused("payment_ended") })
      }
    }
  }

  /// An approval whose time passes between its record and its seal gives the payment back to the hold, and the same
  /// person may approve again.
  @Test(arguments: ["approve", "decline", "void"]) func theSealComesTooLate(_ way: String) async throws {
    try await Self.world { s in
      try await s.reopen(isSlow: true)
      let payment = try await s.held(approvals: 1, seconds: 3600)
      let person = s.approvers[0]
      func deed() async throws -> Deed {
        if way == "void" {
          return try await s.command("/v1/payments/\(payment)/void", [:], .void(payment), by: s.world.agents[0])
        }
        return try #require(try await s.tap(way == "approve" ? .approve : .decline, payment, by: person))
      }
      let late = try await deed()
      try await s.carryOut([late], delay: 300_000)
      #expect(s.verdicts[late.key ?? []] == .refused("seal_expired"))
      var state = try #require(s.model.payments.first { $0.id == payment })
      #expect(state.state == .held && state.approvals.isEmpty && state.endedBy == nil)
      try await s.carryOut([try await deed()])
      state = try #require(s.model.payments.first { $0.id == payment })
      #expect(state.state == (way == "approve" ? .posted : way == "decline" ? .declined : .voided))
    }
  }

  /// A quorum that rests on an approval whose seal came too late is no quorum: the last approval fails, and is given
  /// again.
  @Test func anApprovalThatFailedDoesNotCount() async throws {
    try await Self.world { s in
      try await s.reopen(isSlow: true)
      let payment = try await s.held(approvals: 2, seconds: 3600)
      let first = try #require(try await s.tap(.approve, payment, by: s.approvers[0]))
      s.world.clock.advance(milliseconds: 200_000)
      let second = try #require(try await s.tap(.approve, payment, by: s.approvers[1]))
      try await s.carryOut([first, second], delay: 150_000)
      #expect(s.verdicts[first.key ?? []] == .refused("seal_expired"))
      #expect(s.verdicts[second.key ?? []] == .refused("approval_incomplete"))
      for person in s.approvers.prefix(2) {
        try await s.carryOut([try #require(try await s.tap(.approve, payment, by: person))])
      }
      #expect(s.model.payments.first { $0.id == payment }?.state == .posted)
    }
  }

  /// Whoever was taken out of the group has not approved: neither at once, nor in the place of an approval that failed.
  @Test(arguments: [false, true]) func aRemovedMemberHasNotApproved(_ fails: Bool) async throws {
    try await Self.world { s in
      try await s.reopen(isSlow: true)
      let payment = try await s.held(approvals: 2, seconds: 3600)
      let (gone, one, other) = (s.approvers[0], s.approvers[1], s.approvers[2])
      try await s.carryOut([try #require(try await s.tap(.approve, payment, by: gone))])
      let group = try #require(s.model.payments.last?.needs.first?.group)
      try await s.carryOut([
        try await s.command(
          "/v1/groups/\(group)/remove", ["person": .string(gone.id)], .remove(group: group, person: gone.id),
          by: s.world.officer)
      ])
      let first = try #require(try await s.tap(.approve, payment, by: one))
      guard fails else {
        try await s.carryOut([first])
        #expect(s.model.payments.last?.state == .held)
        return
      }
      s.world.clock.advance(milliseconds: 200_000)
      let second = try #require(try await s.tap(.approve, payment, by: other))
      try await s.carryOut([first, second], delay: 150_000)
      #expect(s.verdicts[first.key ?? []] == .refused("seal_expired"))
      #expect(s.verdicts[second.key ?? []] == .refused("approval_incomplete"))
      #expect(s.model.payments.last?.state == .held)
    }
  }

  // MARK: - What changes between hold and approval

  /// What was tapped before a change is refused after it, and so is whoever asks for something to sign; a decline is
  /// taken all the same.
  @Test(arguments: [
    ("amend", "approval_consent_changed"), ("revoke", "consent_revoked"), ("publish", "approval_policy_changed"),
    ("agent", "agent_revoked"), ("member", "approval_not_permitted"),
  ]) func aChangeVoidsOpenApprovals(_ change: String, _ code: String) async throws {
    try await Self.world { s in
      let payment = try await s.held(approvals: 1)
      let person = s.approvers[0]
      let approval = try #require(try await s.tap(.approve, payment, by: person))
      let held = try #require(s.model.payments.first { $0.id == payment })
      switch change {
      case "amend": try await s.carryOut([try await s.consent(approvals: 1, replacing: held.consent).deed])
      case "revoke":
        let path = "/v1/consents/\(held.consent.id)/revoke"
        try await s.carryOut([try await s.command(path, [:], .revoke(held.consent.id), by: s.world.owners[0])])
      case "publish":
        try await s.carryOut([
          try await s.command(
            "/v1/policies", ["policy": ["version": 1, "rules": []]], .publish(1, []), by: s.world.officer)
        ])
      case "agent":
        let path = "/v1/agents/\(held.agent)/revoke"
        try await s.carryOut([try await s.command(path, [:], .revokeAgent(held.agent), by: s.world.officer)])
      default:
        let group = held.needs[0].group
        try await s.carryOut([
          try await s.command(
            "/v1/groups/\(group)/remove", ["person": .string(person.id)], .remove(group: group, person: person.id),
            by: s.world.officer)
        ])
      }
      try await s.carryOut([approval])
      #expect(s.verdicts[approval.key ?? []] == .refused(code))
      #expect(try await s.tap(.approve, payment, by: person) == nil)
      #expect(s.model.payments.first { $0.id == payment }?.state == .held)
      // A decline is safe whatever has changed.
      let decline = try #require(try await s.tap(.decline, payment, by: s.approvers[1]))
      try await s.carryOut([decline])
      #expect(s.model.payments.first { $0.id == payment }?.state == .declined)
    }
  }

  /// The consent asks one group and the policy another: each must agree, and one cannot stand in for the other.
  @Test func twoGroups() async throws {
    try await Self.world { s in
      let board = try #require(s.model.groups.keys.first { s.model.groups[$0]?.contains(s.people[3].id) == true })
      let rule = ModelRule(condition: .above(100, "USD"), action: .hold(2, board))
      let json: JSONValue = [
        "id": "large", "condition": ["kind": "amount_above", "amount": 100, "currency": "USD"],
        "action": ["kind": "hold", "approvals": 2, "group": .string(board)],
      ]
      try await s.carryOut([
        try await s.command(
          "/v1/policies", ["policy": ["version": 1, "rules": [json]]], .publish(1, [rule]), by: s.world.officer)
      ])
      let payment = try await s.held(approvals: 1)
      #expect(s.model.payments.last?.needs.map(\.count) == [1, 2])
      for person in s.people[3...5] {
        #expect(s.model.payments.last?.state == .held)
        guard let deed = try await s.tap(.approve, payment, by: person) else { continue }
        try await s.carryOut([deed])
      }
      // Three of the board are not one of the treasury.
      #expect(s.model.payments.last?.state == .held)
      try await s.carryOut([try #require(try await s.tap(.approve, payment, by: s.approvers[0]))])
      #expect(s.model.payments.last?.state == .posted && s.model.payments.last?.approvals.count == 4)
    }
  }

  // MARK: - Crashes

  /// A payment that is held, released or voided while the process dies after any step: the 202 is given again byte for
  /// byte, and nothing happens twice.
  @Test func heldAcrossACrash() async throws {
    try await Self.world { s in
      for left in 0..<11 {
        let consent = try await s.consent(approvals: 1)
        try await s.carryOut([consent.deed])
        let pay = try await s.pay(consent.terms, 150)
        try await s.carryOut([pay], crashAfter: left)
        let payment = try #require(s.model.payments.last)
        #expect(payment.state == .held && s.verdicts[pay.key ?? []] == .held)
        let approval = try #require(try await s.tap(.approve, payment.id, by: s.approvers[0]))
        try await s.carryOut([approval, pay], crashAfter: left)
        #expect(s.model.payments.last?.state != .held)
        try await s.carryOut([pay, approval])
      }
    }
  }
}

extension Simulation {
  /// The members of the first group who are approvers and nothing else.
  var approvers: [Person] { Array(people[0..<3]) }

  /// A consent of the first owner that asks for approvals above one unit.
  func consent(approvals: Int, replacing old: ModelConsent? = nil) async throws -> (terms: ModelConsent, deed: Deed) {
    let first = model.consents.values.filter { $0.agent == world.agents[0].id }.sorted { $0.id < $1.id }[0]
    var consent = old ?? first
    if let old {
      (consent.version, consent.previous) = (old.version + 1, old.nonce)
    } else {
      consent.id = "con_" + Base64.URL.encode(world.random.bytes(16))
      (consent.version, consent.previous) = (1, nil)
    }
    (consent.single, consent.daily, consent.hourly) = (1_000, 100_000, 1_000)
    consent.expires = world.clock.now().adding(seconds: 86_400)
    let group = model.groups.keys.first { model.groups[$0]?.contains(people[0].id) == true } ?? ""
    consent.cosign = .init(above: 1, approvals: approvals, group: group)
    let terms = try terms(&consent)
    let path = consent.version == 1 ? "/v1/consents" : "/v1/consents/\(consent.id)/amend"
    let signed = try await life.sign(path, .consent, terms.json, by: try person(consent.owner))
    let command = ModelCommand(
      intent: .put(consent, count: signed.asserted?.assertion.signCount ?? 0), by: consent.owner, kind: .owner,
      owner: consent.owner, notAfter: signed.notAfter)
    return (consent, .command(signed, command))
  }

  func pay(_ consent: ModelConsent, _ amount: Int64, seconds: Int64 = 3600) async throws -> Deed {
    try await command(
      "/v1/payments/authorize",
      [
        "consent": .string(consent.id), "counterparty": "acme", "rail": "ach", "amount": .integer(amount),
        "currency": "USD", "expires_in": .integer(seconds),
      ],
      .pay(
        consent: consent.id, payee: "acme", rail: "ach", amount: amount, currency: "USD", expiresIn: seconds),
      by: world.agents[0])
  }

  /// A payment that is held under a consent of its own.
  func held(approvals: Int, seconds: Int64 = 3600) async throws -> String {
    let consent = try await consent(approvals: approvals)
    try await carryOut([consent.deed])
    try await carryOut([try await pay(consent.terms, 150, seconds: seconds)])
    guard let payment = model.payments.last, payment.state == .held else { throw Discrepancy("nothing is held") }
    return payment.id
  }
}
