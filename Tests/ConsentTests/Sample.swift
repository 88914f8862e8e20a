import Consent
import Testing
import Wire

/// A consent to start from, and ways to change it.
enum Sample {
  static let digest7 = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
  static let thumbprint = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk"

  /// Version 2 of a consent with every member there is.
  static let full: JSONValue = [
    "id": "con_AAECAwQFBgcICQoLDA0ODw", "version": 2, "previous": .string(digest7),
    "nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "owner": "owner-1", "tenant": "tenant-1",
    "agent": "agent-1", "agent_thumbprint": .string(thumbprint), "account": "acc-1", "currency": "USD",
    "rails": ["ach", "book"],
    "counterparties": [
      ["id": "acme", "name": "Acme Café GmbH", "ach": ["routing": "021000021", "account": "123456789"]],
      ["id": "bob", "name": "Bob 鈴木", "book": "acc-2"],
    ],
    "limits": ["single": "100.00", "daily": "250.00", "zone": "America/New_York", "hourly": 5],
    "cosign": ["above": "50.00", "approvals": 2, "group": "treasury"], "issued_at": 1_760_000_000_000,
    "expires": 1_791_536_000_000,
  ]

  /// Reads with a rail's rule that wants a routing number.
  static func read(_ json: JSONValue) throws(Problem) -> ConsentTerms {
    try ConsentTerms(json) { rail, destination throws(Problem) in
      guard rail == "ach", destination.object?["routing"]?.string?.utf8.count == 9 else {
        throw Problem(422, "rail_refused", "")
      }
    }
  }

  /// The code with which a document is refused; nil where it is accepted.
  static func refusal(_ json: JSONValue) -> Problem? {
    do {
      _ = try read(json)
      return nil
    } catch {
      return error
    }
  }

  static func terms(_ changes: [String: JSONValue?] = [:]) throws -> ConsentTerms { try read(full.with(changes)) }

  /// An intent that the full consent permits by book.
  static func intent(
    _ units: Int64 = 1000, rail: String = "book", to counterparty: String = "bob", currency: String = "USD"
  ) throws -> PaymentIntent {
    PaymentIntent(
      agent: "agent-1", agentThumbprint: thumbprint, owner: "owner-1", tenant: "tenant-1", rail: rail,
      counterparty: counterparty,
      money: Money(minorUnits: units, currency: try #require(Currency(currency))))
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
