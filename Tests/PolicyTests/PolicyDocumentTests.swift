import Policy
import Testing
import TestSupport
import Wire

@Suite struct PolicyDocumentTests {
  static let first: JSONValue = ["kind": "first_payment"]

  /// `not` around a condition, so often that the whole has a depth.
  static func nested(_ depth: Int) -> JSONValue {
    (1..<depth).reduce(first) { inner, _ in ["kind": "not", "of": inner] }
  }

  static func rules(_ count: Int) -> JSONValue {
    .array(
      (0..<count).map { ["id": .string("r\($0)"), "condition": first, "action": ["kind": "allow"]] as JSONValue })
  }

  static func names(_ count: Int) -> JSONValue { .array((0..<count).map { .string("p\($0)") }) }

  static func hours(_ changes: [String: JSONValue?]) -> JSONValue {
    let hours: JSONValue = [
      "kind": "outside_hours", "from": 480, "to": 1080, "weekdays": ["mon"], "zone": "Europe/Berlin",
    ]
    return hours.with(changes)
  }

  /// Conditions, with the code of the refusal, or nil where one stands.
  static let conditions: [(JSONValue, String?)] = [
    (first, nil), (["kind": "first_payment", "of": []], "json_member"), ([:], "json_member"), ([], "json_member"),
    ("first_payment", "json_member"), (["kind": 1], "json_member"), (["kind": ""], "json_member"),
    (["kind": "weather"], "policy_condition_unknown"), (["kind": "First_payment"], "policy_condition_unknown"),
    (["kind": "amount_above", "amount": "1", "currency": "USD"], nil),
    (["kind": "amount_above", "amount": 0, "currency": "USD"], nil),
    (["kind": "amount_above", "amount": "1", "currency": "XXX"], "currency_unknown"),
    (["kind": "amount_above", "amount": "1", "currency": "usd"], "currency_unknown"),
    (["kind": "amount_above", "amount": "1"], "json_member"),
    (["kind": "amount_above", "currency": "USD"], "json_member"),
    (["kind": "amount_above", "amount": "1.001", "currency": "USD"], "amount_excess_precision"),
    (["kind": "amount_above", "amount": "-1", "currency": "USD"], "amount_malformed"),
    (["kind": "amount_above", "amount": -1, "currency": "USD"], "amount_not_positive"),
    (["kind": "amount_above", "amount": .double(1.5), "currency": "USD"], "amount_malformed"),
    (["kind": "amount_above", "amount": .integer(Money.greatest), "currency": "USD"], nil),
    (["kind": "amount_above", "amount": .integer(Money.greatest + 1), "currency": "USD"], "amount_too_large"),
    (["kind": "amount_above", "amount": "1", "currency": "USD", "rail": "ach"], "json_member"),
    (["kind": "rail", "rails": ["ach"]], nil), (["kind": "rail", "rails": ["book", "ach"]], nil),
    (["kind": "rail", "rails": []], "policy_set"), (["kind": "rail", "rails": ["wire"]], "policy_set"),
    (["kind": "rail", "rails": ["ach", "ach"]], "policy_set"), (["kind": "rail", "rails": [1]], "policy_set"),
    (["kind": "rail", "rails": "ach"], "json_member"), (["kind": "rail"], "json_member"),
    (["kind": "counterparty", "counterparties": names(256)], nil),
    (["kind": "counterparty", "counterparties": names(257)], "json_member"),
    (["kind": "counterparty", "counterparties": []], "policy_set"),
    (["kind": "counterparty", "counterparties": ["a b"]], "policy_set"),
    (["kind": "counterparty", "counterparties": [""]], "policy_set"),
    (["kind": "counterparty", "counterparties": ["a", "a"]], "policy_set"),
    (["kind": "counterparty", "counterparties": ["\u{212A}"]], "policy_set"),
    (["kind": "counterparty", "counterparties": [.string(String(repeating: "a", count: 64))]], nil),
    (["kind": "counterparty", "counterparties": [.string(String(repeating: "a", count: 65))]], "policy_set"),
    (hours([:]), nil), (hours(["from": 0]), nil), (hours(["from": -1]), "json_member"),
    (hours(["from": 1079]), nil), (hours(["from": 1080]), "policy_hours"), (hours(["from": 1081]), "policy_hours"),
    (hours(["from": 1439, "to": 1440]), nil), (hours(["from": 1440, "to": 1440]), "json_member"),
    (hours(["to": 1441]), "json_member"), (hours(["to": 0]), "json_member"), (hours(["to": nil]), "json_member"),
    (hours(["from": .double(480)]), "json_member"), (hours(["weekdays": []]), "policy_set"),
    (hours(["weekdays": ["mon", "mon"]]), "policy_set"), (hours(["weekdays": ["Mon"]]), "policy_set"),
    (hours(["weekdays": [1]]), "policy_set"), (hours(["weekdays": nil]), "json_member"),
    (hours(["weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]), nil),
    (hours(["weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "sun"]]), "json_member"),
    (hours(["zone": "UTC"]), nil), (hours(["zone": "Europe/Atlantis"]), "policy_zone_unknown"),
    (hours(["zone": "EST"]), "policy_zone_unknown"), (hours(["zone": "GMT+1"]), "policy_zone_unknown"),
    (hours(["zone": "europe/berlin"]), "policy_zone_unknown"), (hours(["zone": nil]), "json_member"),
    (hours(["zone": ""]), "json_member"), (hours(["holidays": []]), "json_member"),
    (["kind": "agent_younger_than", "seconds": 1], nil), (["kind": "agent_younger_than", "seconds": 0], "json_member"),
    (["kind": "agent_younger_than", "seconds": 315_619_200], nil),
    (["kind": "agent_younger_than", "seconds": 315_619_201], "json_member"),
    (["kind": "agent_younger_than", "seconds": "60"], "json_member"), (["kind": "agent_younger_than"], "json_member"),
    (["kind": "score_above", "name": "fraud", "threshold": 0], nil),
    (["kind": "score_above", "name": "fraud", "threshold": 1000], nil),
    (["kind": "score_above", "name": "fraud", "threshold": -1], "json_member"),
    (["kind": "score_above", "name": "fraud", "threshold": 1001], "json_member"),
    (["kind": "score_above", "name": "fraud", "threshold": .double(0.5)], "json_member"),
    (["kind": "score_above", "name": "a b", "threshold": 1], "policy_identifier"),
    (["kind": "score_above", "threshold": 1], "json_member"), (["kind": "score_above", "name": "f"], "json_member"),
    (["kind": "all", "of": []], "policy_empty"), (["kind": "any", "of": []], "policy_empty"),
    (["kind": "all"], "json_member"), (["kind": "any", "of": first], "json_member"),
    (["kind": "all", "of": [first]], nil), (["kind": "any", "of": [["kind": "?"]]], "policy_condition_unknown"),
    (["kind": "all", "of": .array(Array(repeating: first, count: 256))], nil),
    (["kind": "all", "of": .array(Array(repeating: first, count: 257))], "json_member"),
    (["kind": "not", "of": [first]], "json_member"), (["kind": "not"], "json_member"),
    (["kind": "not", "of": first, "and": first], "json_member"), (nested(8), nil), (nested(9), "policy_too_deep"),
    (["kind": "all", "of": [nested(7)]], nil), (["kind": "any", "of": [first, nested(8)]], "policy_too_deep"),
  ]

  /// Changes to the full document.
  static let documents: [([String: JSONValue?], String?)] = [
    ([:], nil), (["version": 1], nil), (["version": 0], "json_member"), (["version": -1], "json_member"),
    (["version": "7"], "json_member"), (["version": "builtin/1"], "json_member"), (["version": nil], "json_member"),
    (["version": .integer(JSONValue.greatestInteger)], nil),
    (["version": .integer(JSONValue.greatestInteger + 1)], "json_member"),
    (["rules": nil], "json_member"), (["rules": [:]], "json_member"), (["rules": []], nil),
    (["rules": rules(256)], nil), (["rules": rules(257)], "json_member"), (["name": "x"], "json_member"),
    (["rules.0": 1], "json_member"), (["rules.0.id": nil], "json_member"), (["rules.0.id": ""], "json_member"),
    (["rules.0.id": "a b"], "policy_identifier"), (["rules.0.id": "night"], "policy_rule_repeated"),
    (["rules.0.id": .string(String(repeating: "a", count: 64))], nil),
    (["rules.0.id": .string(String(repeating: "a", count: 65))], "json_member"),
    (["rules.0.note": "x"], "json_member"), (["rules.0.condition": nil], "json_member"),
    (["rules.0.condition": .null], "json_member"), (["rules.0.action": nil], "json_member"),
    (["rules.0.action": "deny"], "json_member"), (["rules.0.action": ["kind": "escalate"]], "policy_action_unknown"),
    (["rules.0.action": ["kind": "DENY"]], "policy_action_unknown"), (["rules.0.action": [:]], "json_member"),
    (["rules.0.action": ["kind": "deny", "approvals": 1]], "json_member"),
    (["rules.0.action": ["kind": "allow", "group": "g"]], "json_member"),
    (["rules.0.action": ["kind": "hold"]], "json_member"), (["rules.0.action.group": nil], nil),
    (["rules.0.action.group": ""], "json_member"), (["rules.0.action.group": .null], "json_member"),
    (["rules.0.action.group": "a/b"], "policy_identifier"), (["rules.0.action.approvals": 0], "json_member"),
    (["rules.0.action.approvals": 1], nil), (["rules.0.action.approvals": 16], nil),
    (["rules.0.action.approvals": 17], "json_member"), (["rules.0.action.approvals": .double(2)], "json_member"),
  ]

  @Test func documentsAreHeldToEveryRule() {
    var tally = Tally("policy documents")
    let cases =
      Self.conditions.map { (Sample.denying($0.0), $0.1) } + Self.documents.map { (Sample.full.with($0.0), $0.1) }
    for (json, code) in cases {
      let refusal = Sample.refusal(json)
      let status = code == nil ? nil : code == "json_member" ? 400 : 422
      tally.expect(
        refusal?.code == code && refusal?.status == status,
        "\(String(decoding: json.canonical().prefix(300), as: UTF8.self)): \(refusal?.description ?? "accepted")")
    }
    tally.report()
    #expect(cases.count { $0.1 != nil } >= 60)
    for json: JSONValue in [.null, [], "x", 1] { #expect(Sample.refusal(json)?.code == "json_member") }
  }

  /// Digests that Python computed from its own writing of these documents.
  @Test func digestsAreKnown() throws {
    let full = try PolicyDocument(Sample.full)
    #expect(Hex.encode(full.digest) == "d2c27fb6cc17e9b6f338725eb389e2cbb4094d3d85449f61ba57e1823d3d420b")
    #expect(full.name == "policy/7" && full.version == 7)
    let builtin = PolicyDocument.builtin
    #expect(Hex.encode(builtin.digest) == "b3671d2a52d4c0934de56f0c8e191d1dc1f602729b2566ec97e5dc75b151dd1e")
    #expect(builtin.name == "builtin/1" && builtin.rules.isEmpty)
    #expect(Sample.refusal(.object(builtin.json))?.code == "json_member")
    #expect(try PolicyDocument(["version": 1, "rules": []]).digest != builtin.digest)
    #expect(
      Hex.encode(try Sample.facts().digest) == "72c2d015639f1eb9e827fc449d0ac7b70a36a4499f443efb424c44629a4d1d00")
  }

  @Test func theRecordIsKnown() throws {
    let decision = try PolicyDocument(Sample.full).decide(try Sample.facts())
    let record: JSONObject = [
      "policy_version": "policy/7", "policy_digest": "0sJ_tswX6bbzOHJes4niy7QJTT2FRJ9hulfhgj09Qgs",
      "facts_digest": "csLQFWOfHrnoJ_xEnQrHtwo2pEmfRD77QkxEYppNHQA", "matched": ["big", "rails"],
      "action": ["kind": "hold", "approvals": 2, "group": "treasury"],
    ]
    #expect(decision.record == record)
    #expect(decision.action == .hold(approvals: 2, group: "treasury") && decision.matched == ["big", "rails"])
  }

  @Test func oneMeaningHasOneText() throws {
    let full = try PolicyDocument(Sample.full)
    #expect(JSONValue.object(full.json) == Sample.full)
    let weekdays: JSONValue = ["mon", "tue", "wed", "thu", "fri"]
    let variants: [[String: JSONValue?]] = [
      ["rules.0.condition.amount": 100_000], ["rules.0.condition.amount": "1000"],
      ["rules.1.condition.of.0.weekdays": weekdays], ["rules.3.condition.rails": ["book", "ach"]],
      ["rules.1.condition.of.1.of.counterparties": ["bob", "acme"]],
    ]
    for variant in variants {
      let document = try PolicyDocument(Sample.full.with(variant))
      #expect(document.digest == full.digest && document == full, "\(variant)")
    }
  }

  @Test func everyMemberIsUnderTheDigest() throws {
    var digests: Set<[UInt8]> = [try PolicyDocument(Sample.full).digest]
    let changes: [[String: JSONValue?]] = [
      ["version": 8], ["rules.0.id": "x"], ["rules.0.condition.amount": "1000.01"],
      ["rules.0.condition.currency": "EUR"], ["rules.0.action.approvals": 3], ["rules.0.action.group": nil],
      ["rules.0.action.group": "g"], ["rules.0.action": ["kind": "deny"]], ["rules.1.condition.kind": "any"],
      ["rules.1.condition.of.0.from": 481], ["rules.1.condition.of.0.to": 1081],
      ["rules.1.condition.of.0.zone": "UTC"], ["rules.1.condition.of.0.weekdays": ["mon"]],
      ["rules.1.condition.of.1.of.counterparties": ["acme"]], ["rules.1.condition.of.1": Self.first],
      ["rules.2.condition.of.0.name": "x"], ["rules.2.condition.of.0.threshold": 901],
      ["rules.2.condition.of.1.seconds": 86401], ["rules.3.condition.rails": ["ach"]], ["rules.3": nil],
    ]
    for change in changes { #expect(digests.insert(try PolicyDocument(Sample.full.with(change)).digest).inserted) }
  }

  @Test func changedDocumentsNeverCrash() throws {
    let random = SeededRandom(0x90)
    let text = Sample.full.canonical()
    let facts = try Sample.facts()
    var (accepted, refused, unread) = (0, 0, 0)
    for _ in 0..<4000 {
      var bytes = text
      for _ in 0...random.below(3) {
        let at = random.below(bytes.count)
        switch random.below(4) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: at)
        case 2: bytes[at] = random.pick(Array("0123456789".utf8))
        default: bytes.insert(random.pick(text), at: at)
        }
      }
      guard let json = try? JSONValue(parsing: bytes) else {
        unread += 1
        continue
      }
      guard let document = try? PolicyDocument(json) else {
        refused += 1
        continue
      }
      accepted += 1
      _ = document.decide(facts)
      #expect(try PolicyDocument(.object(document.json)) == document)
    }
    print("vectors: policy mutations: \(accepted) accepted, \(refused) refused, \(unread) no JSON, none crashed")
    #expect(accepted > 0 && refused > 100)
  }
}
