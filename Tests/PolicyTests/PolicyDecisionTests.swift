import Policy
import Testing
import TestSupport
import Wire

@Suite struct PolicyDecisionTests {
  @Test func amountsAreComparedInTheirCurrency() throws {
    let above: JSONValue = ["kind": "amount_above", "amount": "1000.00", "currency": "USD"]
    for (units, currency, holds) in [
      (Int64(100_000), "USD", false), (100_001, "USD", true), (.max, "USD", true), (.min, "USD", false),
      (.max, "EUR", false), (.max, "JPY", false),
    ] {
      #expect(try Sample.matches(above, try Sample.facts(units, currency: currency)) == holds, "\(units) \(currency)")
    }
  }

  @Test func namesAreMembersOrNot() throws {
    var facts = try Sample.facts()
    #expect(try Sample.matches(["kind": "rail", "rails": ["ach"]], facts))
    #expect(try !Sample.matches(["kind": "rail", "rails": ["book"]], facts))
    #expect(try Sample.matches(["kind": "counterparty", "counterparties": ["x", "acme"]], facts))
    #expect(try !Sample.matches(["kind": "counterparty", "counterparties": ["Acme", "acm", "acmee"]], facts))
    #expect(try !Sample.matches(["kind": "first_payment"], facts))
    facts.isFirstPayment = true
    #expect(try Sample.matches(["kind": "first_payment"], facts))
  }

  @Test func agentsGrowOldToTheMillisecond() throws {
    let young: JSONValue = ["kind": "agent_younger_than", "seconds": 60]
    var facts = try Sample.facts()
    for (age, holds) in [(Int64(59_999), true), (60_000, false), (60_001, false), (0, true), (-1, true)] {
      facts.agentSince = Timestamp(milliseconds: facts.at.milliseconds - age)
      #expect(try Sample.matches(young, facts) == holds, "\(age)")
    }
    for (since, at, holds) in [
      (Int64.max, Int64.max, false), (.max, 0, true), (.min, .max, false), (.min, .min, true), (.max, .min, true),
    ] {
      (facts.agentSince, facts.at) = (Timestamp(milliseconds: since), Timestamp(milliseconds: at))
      #expect(try Sample.matches(young, facts) == holds, "\(since) \(at)")
    }
  }

  @Test func scoresAreAboveAndFailClosed() throws {
    let risky: JSONValue = ["kind": "score_above", "name": "fraud", "threshold": 500]
    func score(_ value: Int, _ name: String = "fraud") -> Score { Score(name: name, version: "v", value: value) }
    let cases: [(scores: [Score], holds: Bool?)] = [
      ([score(500)], false), ([score(501)], true), ([score(0)], false), ([score(1000)], true), ([], nil),
      ([score(1, "other")], nil), ([score(-1)], nil), ([score(1001)], nil), ([score(.max)], nil), ([score(.min)], nil),
      ([score(10), score(900)], true), ([score(10), score(20)], false), ([score(10), score(-1)], nil),
      ([score(1, "other"), score(500)], false),
    ]
    var facts = try Sample.facts()
    for (scores, holds) in cases {
      facts.scores = scores
      #expect(try Sample.matches(risky, facts) == (holds ?? true), "\(scores)")
      // The opposite of what is not known is not known either.
      let opposite: JSONValue = ["kind": "not", "of": risky]
      #expect(try Sample.matches(opposite, facts) == (holds.map { !$0 } ?? true), "\(scores)")
      #expect(try Sample.matches(["kind": "not", "of": opposite], facts) == (holds ?? true), "\(scores)")
    }
  }

  @Test func combinationsFollowKleenesTables() throws {
    // acme: true, bob: false, a missing score: unknown.
    let values: [(JSONValue, Bool?)] = [
      (["kind": "counterparty", "counterparties": ["acme"]], true),
      (["kind": "counterparty", "counterparties": ["bob"]], false),
      (["kind": "score_above", "name": "missing", "threshold": 0], nil),
    ]
    let facts = try Sample.facts()
    for (a, x) in values {
      for (b, y) in values {
        let both: Bool? = x == false || y == false ? false : x == nil || y == nil ? nil : true
        let either: Bool? = x == true || y == true ? true : x == nil || y == nil ? nil : false
        for (kind, value) in [("all", both), ("any", either)] {
          let condition: JSONValue = ["kind": .string(kind), "of": [a, b]]
          #expect(try Sample.matches(condition, facts) == (value ?? true), "\(kind) \(x as Any) \(y as Any)")
          #expect(
            try Sample.matches(["kind": "not", "of": condition], facts) == (value.map { !$0 } ?? true),
            "not \(kind) \(x as Any) \(y as Any)")
        }
      }
    }
  }

  /// Moments with what a clock on the wall says there; half-open, in the zone's own time on days of 23, 24 and 25 hours.
  static let hours: [(zone: String, from: Int64, to: Int64, days: JSONValue, at: Int64, outside: Bool)] = [
    // New York, Friday 2025-06-06, summer time: 09:00 is 13:00Z.
    ("America/New_York", 540, 1020, ["fri"], 1_749_214_800_000, false),
    ("America/New_York", 540, 1020, ["fri"], 1_749_214_799_999, true),
    ("America/New_York", 540, 1020, ["fri"], 1_749_243_599_999, false),
    ("America/New_York", 540, 1020, ["fri"], 1_749_243_600_000, true),
    ("America/New_York", 540, 1020, ["mon", "tue", "wed", "thu"], 1_749_214_800_000, true),
    // New York, Friday 2025-01-10, winter time: 09:00 is 14:00Z.
    ("America/New_York", 540, 1020, ["fri"], 1_736_517_600_000, false),
    ("America/New_York", 540, 1020, ["fri"], 1_736_517_599_999, true),
    // New York, Sunday 2025-03-09: 01:59:59.999, then 03:00.
    ("America/New_York", 120, 180, ["sun"], 1_741_503_599_999, true),
    ("America/New_York", 120, 180, ["sun"], 1_741_503_600_000, true),
    ("America/New_York", 180, 181, ["sun"], 1_741_503_600_000, false),
    // New York, Sunday 2025-11-02: 01:30 twice.
    ("America/New_York", 90, 91, ["sun"], 1_762_061_400_000, false),
    ("America/New_York", 90, 91, ["sun"], 1_762_065_000_000, false),
    // Lord Howe, Sunday 2025-04-06: 01:45 twice, half an hour apart.
    ("Australia/Lord_Howe", 105, 106, ["sun"], 1_743_864_300_000, false),
    ("Australia/Lord_Howe", 105, 106, ["sun"], 1_743_866_100_000, false),
    // Apia: Thursday 2011-12-29 23:59:59.999, then Saturday 00:00.
    ("Pacific/Apia", 0, 1440, ["fri"], 1_325_239_199_999, true),
    ("Pacific/Apia", 1439, 1440, ["thu"], 1_325_239_199_999, false),
    ("Pacific/Apia", 0, 1, ["sat"], 1_325_239_200_000, false),
    // Before 1970: Wednesday 1969-12-31 23:59:59.999.
    ("UTC", 1439, 1440, ["wed"], -1, false), ("UTC", 0, 1, ["thu"], 0, false), ("UTC", 0, 1440, ["thu"], -1, true),
  ]

  @Test func hoursAreThoseOfTheLocalClock() throws {
    var tally = Tally("policy hours")
    var facts = try Sample.facts()
    for (zone, from, to, days, at, outside) in Self.hours {
      facts.at = Timestamp(milliseconds: at)
      let condition: JSONValue = [
        "kind": "outside_hours", "from": .integer(from), "to": .integer(to), "weekdays": days, "zone": .string(zone),
      ]
      tally.expect(try Sample.matches(condition, facts) == outside, "\(zone) \(from) \(to) \(days) \(at)")
    }
    tally.report()
    let always: JSONValue = [
      "kind": "outside_hours", "from": 0, "to": 1440,
      "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "zone": "Asia/Kathmandu",
    ]
    for at in [Int64.min, -1, 0, .max] {
      facts.at = Timestamp(milliseconds: at)
      #expect(try !Sample.matches(always, facts))
    }
  }

  @Test func theStrictestActionWins() throws {
    let allow = PolicyAction.allow
    func hold(_ approvals: Int, _ group: String? = nil) -> PolicyAction { .hold(approvals: approvals, group: group) }
    let ascending: [PolicyAction] = [
      allow, hold(1), hold(1, "a"), hold(1, "b"), hold(2), hold(2, "a"), hold(16, "z"), .deny,
    ]
    for (i, a) in ascending.enumerated() {
      for (j, b) in ascending.enumerated() {
        #expect((a < b) == (i < j) && (a == b) == (i == j))
        let rules: [JSONValue] = [a, b].enumerated().map { index, action in
          ["id": .string("r\(index)"), "condition": ["kind": "rail", "rails": ["ach"]], "action": action.json]
        }
        let decision = try PolicyDocument(["version": 1, "rules": .array(rules)]).decide(try Sample.facts())
        #expect(decision.action == max(a, b) && decision.matched == ["r0", "r1"])
        // Neither hold stands in for the other: the approvals of both must be given.
        #expect(decision.holds == [a, b].filter { $0 != allow && $0 != .deny })
      }
    }
  }

  @Test func whatDoesNotMatchDoesNotCount() throws {
    let document = try PolicyDocument(Sample.full)
    var facts = try Sample.facts(1)
    #expect(document.decide(facts).action == .allow && document.decide(facts).matched == ["rails"])
    facts.counterparty = "eve"
    #expect(document.decide(facts).action == .hold(approvals: 1, group: nil))
    #expect(document.decide(facts).matched == ["night", "rails"])
    facts.scores = []
    #expect(document.decide(facts).action == .deny && document.decide(facts).matched == ["night", "risk", "rails"])
    let decision = PolicyDocument.builtin.decide(facts)
    #expect(decision.action == .allow && decision.matched.isEmpty && decision.policyVersion == "builtin/1")
  }

  @Test func everyFactIsUnderTheDigest() throws {
    let facts = try Sample.facts()
    let eur = try Sample.facts(currency: "EUR").money
    let changes: [(inout PolicyFacts) -> Void] = [
      { $0.tenant = "x" }, { $0.agent = "x" }, { $0.owner = "x" }, { $0.agentSince = $0.at }, { $0.consent = "x" },
      { $0.rail = "x" }, { $0.counterparty = "x" }, { $0.isFirstPayment = true }, { $0.money = eur },
      { $0.money = Money(minorUnits: 1, currency: $0.money.currency) }, { $0.at = $0.agentSince }, { $0.scores = [] },
      { $0.scores = [Score(name: "x", version: "v3", value: 12)] },
      { $0.scores = [Score(name: "fraud", version: "x", value: 12)] },
      { $0.scores = [Score(name: "fraud", version: "v3", value: 13)] },
    ]
    var digests: Set<[UInt8]> = [facts.digest]
    for change in changes {
      var changed = facts
      change(&changed)
      #expect(digests.insert(changed.digest).inserted)
    }
  }

  /// Random rules against a decision made by hand: the strictest by rank of those whose condition holds.
  @Test func randomPoliciesAgreeWithAModel() throws {
    let random = SeededRandom(0xF01)
    let actions: [(JSONValue, Int)] = [
      (["kind": "allow"], 0), (["kind": "hold", "approvals": 1], 1), (["kind": "hold", "approvals": 3], 3),
      (["kind": "hold", "approvals": 16], 16), (["kind": "deny"], 17),
    ]
    for _ in 0..<500 {
      let facts = try Sample.facts(Int64(random.below(1000)))
      var (rules, strictest, matched): ([JSONValue], Int, [String]) = ([], 0, [])
      for index in 0..<random.below(12) {
        let limit = Int64(random.below(1000))
        let (action, rank) = random.pick(actions)
        rules.append([
          "id": .string("r\(index)"),
          "condition": ["kind": "amount_above", "amount": .integer(limit), "currency": "USD"], "action": action,
        ])
        guard facts.money.minorUnits > limit else { continue }
        matched.append("r\(index)")
        strictest = max(strictest, rank)
      }
      let decision = try PolicyDocument(["version": 1, "rules": .array(rules)]).decide(facts)
      let rank: Int =
        switch decision.action {
        case .allow: 0
        case .hold(let approvals, _): approvals
        case .deny: 17
        }
      #expect(rank == strictest && decision.matched == matched)
    }
  }
}
