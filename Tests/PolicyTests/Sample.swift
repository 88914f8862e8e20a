import Policy
import Testing
import Wire

/// A policy and facts to start from, and ways to change them.
enum Sample {
  /// A document with every kind of condition and of action.
  static let full: JSONValue = [
    "version": 7,
    "rules": [
      [
        "id": "big", "condition": ["kind": "amount_above", "amount": "1000.00", "currency": "USD"],
        "action": ["kind": "hold", "approvals": 2, "group": "treasury"],
      ],
      [
        "id": "night",
        "condition": [
          "kind": "all",
          "of": [
            [
              "kind": "outside_hours", "from": 480, "to": 1080, "weekdays": ["fri", "mon", "thu", "tue", "wed"],
              "zone": "America/New_York",
            ],
            ["kind": "not", "of": ["kind": "counterparty", "counterparties": ["acme", "bob"]]],
          ],
        ],
        "action": ["kind": "hold", "approvals": 1],
      ],
      [
        "id": "risk",
        "condition": [
          "kind": "any",
          "of": [
            ["kind": "score_above", "name": "fraud", "threshold": 900],
            ["kind": "agent_younger_than", "seconds": 86400], ["kind": "first_payment"],
          ],
        ],
        "action": ["kind": "deny"],
      ],
      ["id": "rails", "condition": ["kind": "rail", "rails": ["ach", "book"]], "action": ["kind": "allow"]],
    ],
  ]

  /// 2025-10-09T08:53:20Z, a Thursday: 04:53:20 in New York.
  static let at = Timestamp(milliseconds: 1_760_000_000_000)

  static func facts(_ units: Int64 = 100_001, currency: String = "USD") throws -> PolicyFacts {
    PolicyFacts(
      tenant: "tenant-1", agent: "agent-1", owner: "owner-1", agentSince: Timestamp(milliseconds: 1_750_000_000_000),
      consent: "con_AAECAwQFBgcICQoLDA0ODw", rail: "ach", counterparty: "acme", isFirstPayment: false,
      money: Money(minorUnits: units, currency: try #require(Currency(currency))), at: at,
      scores: [Score(name: "fraud", version: "v3", value: 12)])
  }

  /// A document of one rule that denies where the condition holds.
  static func denying(_ condition: JSONValue) -> JSONValue {
    ["version": 1, "rules": [["id": "r", "condition": condition, "action": ["kind": "deny"]]]]
  }

  /// True if the condition holds, or must be taken to hold.
  static func matches(_ condition: JSONValue, _ facts: PolicyFacts) throws -> Bool {
    try PolicyDocument(denying(condition)).decide(facts).action == .deny
  }

  /// Why a document is refused; nil where it is accepted.
  static func refusal(_ json: JSONValue) -> Problem? {
    do {
      _ = try PolicyDocument(json)
      return nil
    } catch {
      return error
    }
  }
}

extension JSONValue {
  /// The document with a value at a dotted path replaced, added, or, for nil, removed.
  func setting(_ path: some Collection<Substring>, to value: JSONValue?) -> JSONValue {
    guard let step = path.first else { return value ?? .null }
    let rest = path.dropFirst()
    if case .array(var values) = self, let index = Int(step) {
      if rest.isEmpty, value == nil {
        values.remove(at: index)
      } else if index < values.count {
        values[index] = values[index].setting(rest, to: value)
      } else {
        values.append(value ?? .null)
      }
      return .array(values)
    }
    var object = object ?? [:]
    let name = String(step)
    object[name] = rest.isEmpty ? value : (object[name] ?? [:]).setting(rest, to: value)
    return .object(object)
  }

  func with(_ changes: [String: JSONValue?]) -> JSONValue {
    changes.reduce(self) { $0.setting($1.key.split(separator: "."), to: $1.value) }
  }
}
