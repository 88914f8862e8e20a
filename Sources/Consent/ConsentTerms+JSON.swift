public import Wire

extension ConsentTerms {
  /// The one document of these terms: amounts as decimal strings with all digits of the currency, lists sorted, moments
  /// in milliseconds since the epoch, members without a value left out.
  public var json: JSONObject {
    var members: JSONObject = [
      "id": .string(id), "version": .integer(Int64(version)), "nonce": .string(nonce), "owner": .string(owner),
      "tenant": .string(tenant), "agent": .string(agent), "agent_thumbprint": .string(agentThumbprint),
      "account": .string(account), "currency": .string(currency.code), "rails": .array(rails.map { .string($0) }),
      "counterparties": .array(counterparties.map(\.json)), "limits": limits.json,
      "issued_at": .integer(issuedAt.milliseconds), "expires": .integer(expires.milliseconds),
    ]
    members["previous"] = previous.map { .string($0) }
    members["cosign"] = cosign?.json
    return members
  }

  static func identifier(of reader: inout ObjectReader) throws -> String {
    let id = try reader.string("id", maximumBytes: 64)
    guard id.hasPrefix("con_"), let bytes = try? Base64.URL.decode(id.dropFirst(4)), bytes.count == 16 else {
      throw Problem(422, "consent_id", "A consent's id is 'con_' and 22 characters of base64url: 16 random bytes.")
    }
    return id
  }

  static func rails(_ reader: inout ObjectReader) throws -> [String] {
    let rails = try reader.array("rails", limit: knownRails.count).map { value in
      guard let rail = value.string, let known = knownRails.first(where: rail.isExactly) else {
        throw Problem(
          422, "consent_rail_unknown", "Name rails among \(knownRails.joined(separator: " and ")) in 'rails'.")
      }
      return known
    }
    guard !rails.isEmpty, Set(rails).count == rails.count else {
      throw Problem(422, "consent_rails", "Name at least one rail, and each one once.")
    }
    return rails.sorted()
  }

  static func counterparties(
    _ reader: inout ObjectReader, _ rails: [String], _ validate: (String, JSONValue) throws(Problem) -> Void
  ) throws -> [Counterparty] {
    var (all, reached): ([String: Counterparty], Set<String>) = ([:], [])
    for value in try reader.array("counterparties", limit: maximumCounterparties) {
      let counterparty = try Counterparty(value, validate: validate)
      guard all.updateValue(counterparty, forKey: counterparty.id) == nil else {
        throw Problem(
          422, "consent_counterparty_repeated", "The counterparty '\(counterparty.id)' stands twice; name each once.")
      }
      if let rail = counterparty.rails.first(where: { !rails.contains($0) }) {
        throw Problem(
          422, "consent_counterparty_rail",
          "The counterparty '\(counterparty.id)' has the rail '\(rail)', which 'rails' does not permit.")
      }
      reached.formUnion(counterparty.rails)
    }
    guard !all.isEmpty else {
      throw Problem(422, "consent_counterparties", "Name 1 to \(maximumCounterparties) counterparties.")
    }
    if let rail = rails.first(where: { !reached.contains($0) }) {
      throw Problem(
        422, "consent_rail_unused", "No counterparty has the rail '\(rail)'; give it to one or do not permit it.")
    }
    return all.values.sorted { $0.id < $1.id }
  }
}

extension ConsentTerms.Limits {
  /// A consent permits at most this many payments in an hour.
  public static let greatestHourly: Int64 = 100_000

  init(_ json: JSONValue, _ currency: Currency) throws {
    var reader = try ObjectReader(json, "the limits")
    single = try Money(amount: try reader.value("single"), currency: currency)
    daily = try Money(amount: try reader.value("daily"), currency: currency)
    let name = try reader.string("zone", maximumBytes: 64)
    guard let zone = Zone(name) else {
      throw Problem(
        422, "consent_zone_unknown",
        "Use an IANA zone such as America/New_York, or UTC; '\(name)' is none that is known.")
    }
    self.zone = zone
    hourly = Int(try reader.integer("hourly", in: 1...Self.greatestHourly))
    try reader.finish()
    guard single.minorUnits <= daily.minorUnits else {
      throw Problem(422, "consent_single_above_daily", "The limit of one payment may not exceed that of a day.")
    }
  }

  var json: JSONValue {
    [
      "single": .string(single.decimal), "daily": .string(daily.decimal), "zone": .string(zone.name),
      "hourly": .integer(Int64(hourly)),
    ]
  }
}

extension ConsentTerms.Cosign {
  init(_ json: JSONValue, _ currency: Currency, single: Money) throws {
    var reader = try ObjectReader(json, "the cosign rule")
    above = try Money(amount: try reader.value("above"), currency: currency, allowZero: true)
    approvals = Int(try reader.integer("approvals", in: 1...16))
    group = try reader.identifier("group")
    try reader.finish()
    guard above.minorUnits < single.minorUnits else {
      throw Problem(
        422, "consent_cosign_never_reached",
        "No payment within 'single' is greater than 'above'; lower 'above', or leave 'cosign' out.")
    }
  }

  var json: JSONValue {
    ["above": .string(above.decimal), "approvals": .integer(Int64(approvals)), "group": .string(group)]
  }
}

extension ObjectReader {
  /// The text of 32 bytes in base64url.
  mutating func digest(_ name: String) throws -> String {
    _ = try base64URL(name, count: 32)
    return try string(name, maximumBytes: 43)
  }
}
