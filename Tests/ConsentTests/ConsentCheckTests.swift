import Consent
import Testing
import TestSupport
import Wire

@Suite struct ConsentCheckTests {
  static let now = Timestamp(milliseconds: 1_770_000_000_000)
  static let expires = Timestamp(milliseconds: 1_791_536_000_000)

  static func outcome(
    _ terms: ConsentTerms, _ intent: PaymentIntent, spent: Int64 = 0, count: Int = 0, at moment: Timestamp = now
  ) -> Result<CosignNeed, Problem> {
    Result { () throws(Problem) in
      try terms.check(
        intent, usage: ConsentUsage(spentInWindow: spent, countInHour: count, isFirstToCounterparty: true), at: moment)
    }
  }

  /// A payment that is wrong in one thing, with the code and status; nil for a payment that passes.
  struct Case {
    var change: @Sendable (inout PaymentIntent) -> Void = { _ in }
    var units: Int64 = 1000
    var currency = "USD"
    var spent: Int64 = 0
    var count = 0
    var at = now
    let code: String?
    var status = 422
  }

  /// In the documented order.
  static let cases: [Case] = [
    Case(change: { $0.tenant = "tenant-2" }, code: "consent_wrong_tenant", status: 403),
    Case(change: { $0.owner = "owner-2" }, code: "consent_wrong_owner", status: 403),
    Case(change: { $0.agent = "agent-2" }, code: "consent_wrong_agent", status: 403),
    Case(change: { $0.agentThumbprint = Sample.digest7 }, code: "consent_wrong_key", status: 403),
    Case(at: expires, code: "consent_expired", status: 403),
    Case(currency: "EUR", code: "consent_currency"),
    Case(change: { $0.rail = "wire" }, code: "consent_rail_not_permitted", status: 403),
    Case(change: { $0.counterparty = "eve" }, code: "consent_counterparty_not_permitted", status: 403),
    Case(units: 10_001, code: "consent_single_limit"),
    Case(spent: 24_001, code: "consent_daily_limit"),
    Case(count: 5, code: "consent_hourly_limit"),
  ]

  static let others: [Case] = [
    Case(code: nil), Case(at: Timestamp(milliseconds: expires.milliseconds - 1), code: nil),
    Case(at: Timestamp(milliseconds: .max), code: "consent_expired", status: 403),
    Case(at: Timestamp(milliseconds: .min), code: nil),
    Case(units: 10_000, code: nil), Case(units: .max, code: "consent_single_limit"), Case(units: 1, code: nil),
    Case(units: 0, code: "amount_not_positive"), Case(units: -1, code: "amount_not_positive"),
    Case(units: .min, code: "amount_not_positive"),
    Case(spent: 24_000, code: nil), Case(spent: .max, code: "consent_daily_limit"),
    Case(units: 10_000, spent: -5000, code: nil), Case(units: 10_001, spent: .min, code: "consent_single_limit"),
    Case(spent: 25_000, code: "consent_daily_limit"), Case(count: 4, code: nil),
    Case(count: .max, code: "consent_hourly_limit"), Case(count: .min, code: nil),
    Case(change: { $0.rail = "BOOK" }, code: "consent_rail_not_permitted", status: 403),
    Case(change: { $0.rail = "boo\u{212A}" }, code: "consent_rail_not_permitted", status: 403),
    Case(change: { $0.counterparty = "acme" }, code: "consent_counterparty_not_permitted", status: 403),
    Case(change: { ($0.counterparty, $0.rail) = ("acme", "ach") }, code: nil),
    Case(change: { $0.rail = "ach" }, code: "consent_counterparty_not_permitted", status: 403),
    Case(change: { $0.counterparty = "" }, code: "consent_counterparty_not_permitted", status: 403),
    Case(change: { $0.counterparty = "Bob" }, code: "consent_counterparty_not_permitted", status: 403),
    Case(change: { $0.agent = "" }, code: "consent_wrong_agent", status: 403),
  ]

  @Test func everyRuleHoldsOnBothSides() throws {
    let terms = try Sample.terms()
    var tally = Tally("consent checks")
    for item in Self.cases + Self.others {
      var intent = try Sample.intent(item.units, currency: item.currency)
      item.change(&intent)
      switch Self.outcome(terms, intent, spent: item.spent, count: item.count, at: item.at) {
      case .success: tally.expect(item.code == nil, "accepted, not \(item.code ?? "")")
      case .failure(let problem):
        tally.expect(problem.code == item.code && problem.status == item.status, "\(problem), not \(item.code ?? "")")
      }
    }
    tally.report()
  }

  @Test func theFirstBrokenRuleIsNamed() throws {
    let terms = try Sample.terms()
    for (index, first) in Self.cases.enumerated() {
      // Everything from `first` on is wrong at once.
      let wrong = Self.cases[index...]
      var intent = try Sample.intent(
        wrong.map(\.units).max() ?? 0, currency: wrong.contains { $0.currency != "USD" } ? "EUR" : "USD")
      for item in wrong { item.change(&intent) }
      let result = Self.outcome(
        terms, intent, spent: wrong.map(\.spent).max() ?? 0, count: wrong.map(\.count).max() ?? 0,
        at: wrong.map(\.at).max() ?? Self.now)
      guard case .failure(let problem) = result else {
        Issue.record("accepted, not \(first.code ?? "")")
        continue
      }
      #expect(problem.code == first.code)
    }
  }

  @Test func kelvinIsNotK() throws {
    let terms = try Sample.terms(["agent": "K", "counterparties.1.id": "K"])
    var intent = try Sample.intent(to: "K")
    intent.agent = "K"
    #expect(Self.outcome(terms, intent) == .success(.none))
    intent.agent = "\u{212A}"
    #expect(Self.outcome(terms, intent) == .failure(Problem(403, "consent_wrong_agent", "")))
    (intent.agent, intent.counterparty) = ("K", "\u{212A}")
    #expect(Self.outcome(terms, intent) == .failure(Problem(403, "consent_counterparty_not_permitted", "")))
  }

  @Test func approvalsAreNeededAboveTheAmount() throws {
    let two = CosignNeed.approvals(2, group: "treasury")
    let terms = try Sample.terms()
    #expect(Self.outcome(terms, try Sample.intent(5000)) == .success(.none))
    #expect(Self.outcome(terms, try Sample.intent(5001)) == .success(two))
    #expect(Self.outcome(terms, try Sample.intent(10_000)) == .success(two))
    #expect(Self.outcome(try Sample.terms(["cosign": nil]), try Sample.intent(10_000)) == .success(.none))
    #expect(Self.outcome(try Sample.terms(["cosign.above": 0]), try Sample.intent(1)) == .success(two))
  }

  @Test func limitsAtTheGreatestAmountDoNotOverflow() throws {
    let terms = try Sample.terms([
      "limits.single": .integer(Money.greatest), "limits.daily": .integer(Money.greatest), "cosign": nil,
    ])
    #expect(Self.outcome(terms, try Sample.intent(Money.greatest)) == .success(.none))
    for spent in [1, Int64.max - Money.greatest, .max - 1, .max] {
      let result = Self.outcome(terms, try Sample.intent(Money.greatest), spent: spent)
      #expect(result == .failure(Problem(422, "consent_daily_limit", "")))
    }
  }

  /// Random payments against a model that keeps them all and adds up by scanning, with local dates from the calendar.
  @Test(arguments: ["America/Sao_Paulo", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
  func sequencesNeverPassALimit(zone: String) throws {
    let terms = try Sample.terms(["limits.zone": .string(zone), "limits.hourly": 4])
    let random = SeededRandom(UInt64(zone.utf8.count))
    var cache = DayWindowCache()
    // Four days around a change of the clocks there in November 2018, December 2011 or October 2025.
    let starts = [
      "America/Sao_Paulo": 1_541_214_000, "Pacific/Apia": 1_325_152_800, "Australia/Lord_Howe": 1_759_500_000,
    ]
    var at = Timestamp(seconds: Int64(starts[zone] ?? 1_762_000_000))
    var made: [(at: Timestamp, units: Int64, date: String)] = []
    var codes: [String: Int] = [:]
    let model = LocalDates(zone)
    for _ in 0..<1500 {
      at = Timestamp(milliseconds: at.milliseconds + Int64(random.below(480_000)))
      let date = model.date(of: at)
      let units = Int64(random.below(12_000)) + 1
      let day = cache.containing(at, zone: terms.limits.zone)
      let hour = HourWindow(endingAt: at)
      let usage = ConsentUsage(
        spentInWindow: made.filter { day.contains($0.at) }.map(\.units).reduce(0, +),
        countInHour: made.count { hour.contains($0.at) }, isFirstToCounterparty: false)
      let spent = made.filter { $0.date == date }.map(\.units).reduce(0, +)
      let recent = made.count { $0.at.milliseconds > at.milliseconds - 3_600_000 }
      #expect(usage.spentInWindow == spent && usage.countInHour == recent)
      let expected =
        units > 10_000
        ? "consent_single_limit"
        : spent + units > 25_000 ? "consent_daily_limit" : recent >= 4 ? "consent_hourly_limit" : "paid"
      let code: String
      do {
        _ = try terms.check(try Sample.intent(units), usage: usage, at: Self.now)
        made.append((at, units, date))
        code = "paid"
      } catch let problem as Problem {
        code = problem.code
      }
      #expect(code == expected)
      codes[code, default: 0] += 1
    }
    for total in Dictionary(grouping: made, by: \.date).values { #expect(total.map(\.units).reduce(0, +) <= 25_000) }
    #expect(Set(codes.keys).isSuperset(of: ["paid", "consent_single_limit", "consent_daily_limit"]))
  }
}
