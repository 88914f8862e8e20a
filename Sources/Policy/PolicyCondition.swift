public import Wire

/// When a rule matches: a closed set of tests over ``PolicyFacts``.
public indirect enum PolicyCondition: Sendable, Equatable {
  /// The amount is greater; an amount in another currency never is.
  case amountAbove(Money)
  /// The payment goes by one of these rails.
  case rail(Set<String>)
  /// The payment goes to one of these.
  case counterparty(Set<String>)
  /// It is the first payment to the counterparty under the consent.
  case firstPayment
  /// The local clock is outside the hours.
  case outsideHours(BusinessHours)
  /// The agent was approved less than so many seconds ago.
  case agentYoungerThan(seconds: Int64)
  /// The score is greater than a threshold of 0 to 1000; a score that is missing is not known to be either.
  case scoreAbove(name: String, threshold: Int)
  /// All of these.
  case all([PolicyCondition])
  /// At least one of these.
  case any([PolicyCondition])
  /// The opposite.
  case not(PolicyCondition)

  /// Conditions nest at most this deeply; one without others inside has depth 1.
  public static let maximumDepth = 8
  /// `all`, `any` and sets have at most this many elements.
  public static let maximumElements = 256
  /// The rails that a condition can name.
  public static let knownRails: Set<String> = ["ach", "book"]

  // MARK: - Deciding

  /// Whether the facts meet the condition, or nil where a missing score leaves that open. What is open stays open through
  /// `not`, so that a rule can take it for met wherever the score stands in it.
  func holds(_ facts: PolicyFacts) -> Bool? {
    switch self {
    case .amountAbove(let limit):
      return facts.money.currency == limit.currency && facts.money.minorUnits > limit.minorUnits
    case .rail(let names): return names.contains(facts.rail)
    case .counterparty(let names): return names.contains(facts.counterparty)
    case .firstPayment: return facts.isFirstPayment
    case .outsideHours(let hours): return !hours.contains(facts.at)
    case .agentYoungerThan(let seconds): return facts.at < facts.agentSince.adding(seconds: seconds)
    case .scoreAbove(let name, let threshold):
      let values = facts.scores.filter { $0.name == name }.map(\.value)
      guard !values.isEmpty, values.allSatisfy((0...1000).contains) else { return nil }
      return values.contains { $0 > threshold }
    case .all(let conditions):
      let results = conditions.map { $0.holds(facts) }
      return results.contains(false) ? false : results.contains(nil) ? nil : true
    case .any(let conditions):
      let results = conditions.map { $0.holds(facts) }
      return results.contains(true) ? true : results.contains(nil) ? nil : false
    case .not(let condition): return condition.holds(facts).map { !$0 }
    }
  }

  // MARK: - The document

  init(_ json: JSONValue, depth: Int = 1) throws {
    guard depth <= Self.maximumDepth else {
      throw Problem(422, "policy_too_deep", "Conditions may nest at most \(Self.maximumDepth) deep.")
    }
    var reader = try ObjectReader(json, "a condition")
    let kind = try reader.string("kind", maximumBytes: 64)
    switch kind {
    case "amount_above":
      let code = try reader.string("currency", maximumBytes: 3)
      guard let currency = Currency(code) else {
        throw Problem(422, "currency_unknown", "Use an ISO 4217 code such as USD; '\(code)' is none that is known.")
      }
      self = .amountAbove(try Money(amount: try reader.value("amount"), currency: currency, allowZero: true))
    case "rail":
      self = .rail(try reader.set("rails", limit: Self.maximumElements, Self.knownRails.contains))
    case "counterparty":
      self = .counterparty(try reader.set("counterparties", limit: Self.maximumElements, \.isIdentifier))
    case "first_payment": self = .firstPayment
    case "outside_hours": self = .outsideHours(try BusinessHours(&reader))
    case "agent_younger_than":
      self = .agentYoungerThan(seconds: try reader.integer("seconds", in: 1...3653 * 86_400))
    case "score_above":
      self = .scoreAbove(
        name: try reader.identifier("name"), threshold: Int(try reader.integer("threshold", in: 0...1000)))
    case "all": self = .all(try Self.list(&reader, depth))
    case "any": self = .any(try Self.list(&reader, depth))
    case "not": self = .not(try PolicyCondition(try reader.value("of"), depth: depth + 1))
    default:
      throw Problem(422, "policy_condition_unknown", "'\(kind)' is no kind of condition that is known.")
    }
    try reader.finish()
  }

  private static func list(_ reader: inout ObjectReader, _ depth: Int) throws -> [PolicyCondition] {
    let conditions = try reader.array("of", limit: maximumElements)
    guard !conditions.isEmpty else {
      throw Problem(422, "policy_empty", "'all' and 'any' need at least one condition.")
    }
    return try conditions.map { try PolicyCondition($0, depth: depth + 1) }
  }

  /// The condition as documents write it, sets sorted.
  var json: JSONValue {
    var members: JSONObject = [:]
    func list(_ names: Set<String>) -> JSONValue { .array(names.sorted().map { .string($0) }) }
    switch self {
    case .amountAbove(let limit):
      members = [
        "kind": "amount_above", "amount": .string(limit.decimal), "currency": .string(limit.currency.code),
      ]
    case .rail(let names): members = ["kind": "rail", "rails": list(names)]
    case .counterparty(let names): members = ["kind": "counterparty", "counterparties": list(names)]
    case .firstPayment: members = ["kind": "first_payment"]
    case .outsideHours(let hours):
      members = hours.members
      members["kind"] = "outside_hours"
    case .agentYoungerThan(let seconds): members = ["kind": "agent_younger_than", "seconds": .integer(seconds)]
    case .scoreAbove(let name, let threshold):
      members = ["kind": "score_above", "name": .string(name), "threshold": .integer(Int64(threshold))]
    case .all(let conditions): members = ["kind": "all", "of": .array(conditions.map(\.json))]
    case .any(let conditions): members = ["kind": "any", "of": .array(conditions.map(\.json))]
    case .not(let condition): members = ["kind": "not", "of": condition.json]
    }
    return .object(members)
  }
}
