import Crypto
public import Wire

/// A rule: where its condition holds, its action is the least that happens.
public struct PolicyRule: Sendable, Equatable {
  /// 1 to 64 of the letters, digits, `.`, `_` and `-`; unique in a document.
  public let id: String
  /// When it matches.
  public let condition: PolicyCondition
  /// What it asks for.
  public let action: PolicyAction

  init(_ json: JSONValue) throws {
    var reader = try ObjectReader(json, "a rule")
    id = try reader.identifier("id")
    condition = try PolicyCondition(try reader.value("condition"))
    action = try PolicyAction(try reader.value("action"))
    try reader.finish()
  }

  var json: JSONValue { ["id": .string(id), "condition": condition.json, "action": action.json] }
}

/// Rules under a version. What is unknown is refused when a document is read; deciding never fails.
public struct PolicyDocument: Sendable, Equatable {
  /// 1 or greater; 0 for ``builtin``, so that the first document of a deployment is version 1.
  public let version: Int
  /// `policy/` and the version, or `builtin/1`.
  public let name: String
  /// The rules, in the order written, which does not matter to a decision.
  public let rules: [PolicyRule]
  /// SHA-256("trustcore/policy/v1" ‖ JCS(``json``)).
  public let digest: [UInt8]

  /// A document has at most this many rules.
  public static let maximumRules = 256

  /// What holds before the officers have set a policy: no rules, so a payment within its consent passes.
  public static let builtin = PolicyDocument(version: 0, name: "builtin/1", rules: [])

  /// Reads a document.
  /// - Throws: 400 where the form is wrong, 422 with the rule's code where a value is.
  public init(_ json: JSONValue) throws(Problem) {
    self = try Problem.reading {
      var reader = try ObjectReader(json, "the policy")
      let version = Int(try reader.integer("version", in: 1...JSONValue.greatestInteger))
      let rules = try reader.array("rules", limit: Self.maximumRules).map { try PolicyRule($0) }
      try reader.finish()
      guard Set(rules.map(\.id)).count == rules.count else {
        throw Problem(422, "policy_rule_repeated", "Two rules have one id; give each its own.")
      }
      return PolicyDocument(version: version, name: "policy/\(version)", rules: rules)
    }
  }

  private init(version: Int, name: String, rules: [PolicyRule]) {
    self.version = version
    self.name = name
    self.rules = rules
    let json = Self.json(version, name, rules)
    digest = Array(SHA256.hash(data: Array("trustcore/policy/v1".utf8) + JSONValue.object(json).canonical()))
  }

  /// The document in its one form: amounts as decimal strings with all digits, sets sorted.
  public var json: JSONObject { Self.json(version, name, rules) }

  private static func json(_ version: Int, _ name: String, _ rules: [PolicyRule]) -> JSONObject {
    // The built-in document has a text for a version, which no document that is read can have, hence a digest of its own.
    ["version": version == 0 ? .string(name) : .integer(Int64(version)), "rules": .array(rules.map(\.json))]
  }

  /// Decides a payment: the strictest action of all rules that match, `allow` where none does, with every hold.
  public func decide(_ facts: PolicyFacts) -> PolicyDecision {
    // A condition that a missing score leaves open counts as met: a policy fails closed.
    let matching = rules.filter { $0.condition.holds(facts) ?? true }
    return PolicyDecision(
      action: matching.map(\.action).max() ?? .allow,
      holds: matching.map(\.action).filter { if case .hold = $0 { true } else { false } },
      matched: matching.map(\.id), policyVersion: name,
      policyDigest: digest, factsDigest: facts.digest)
  }
}

/// What a policy said of a payment, with all that is needed to say why.
public struct PolicyDecision: Sendable, Equatable {
  /// What happens.
  public let action: PolicyAction
  /// Every hold that matched, in the document's order: the approvals of each must be given.
  public let holds: [PolicyAction]
  /// The rules that matched, in the document's order.
  public let matched: [String]
  /// The document's name.
  public let policyVersion: String
  /// The document's digest.
  public let policyDigest: [UInt8]
  /// The digest of the facts.
  public let factsDigest: [UInt8]

  /// The decision as it is recorded; digests in base64url.
  public var record: JSONObject {
    [
      "policy_version": .string(policyVersion), "policy_digest": .string(Base64.URL.encode(policyDigest)),
      "facts_digest": .string(Base64.URL.encode(factsDigest)), "matched": .array(matched.map { .string($0) }),
      "action": action.json,
    ]
  }
}
