public import Wire

/// What a rule asks for. Actions compare by strictness: the greater is the stricter.
public enum PolicyAction: Sendable, Equatable, Comparable {
  /// Let it pass.
  case allow
  /// Wait for so many approvals, of the members of a group where one is named: what the design calls hold and escalate.
  case hold(approvals: Int, group: String?)
  /// Refuse it.
  case deny

  /// A hold asks for at most this many approvals.
  public static let maximumApprovals: Int64 = 16

  /// `allow` < `hold` < `deny`; holds by approvals, then a named group after none, then by the group's name, so that
  /// the strictest of several is the same in any order.
  public static func < (a: PolicyAction, b: PolicyAction) -> Bool { a.strictness < b.strictness }

  private var strictness: (Int, Int, String) {
    switch self {
    case .allow: (0, 0, "")
    case .hold(let approvals, let group): (1, approvals, group ?? "")
    case .deny: (2, 0, "")
    }
  }

  init(_ json: JSONValue) throws {
    var reader = try ObjectReader(json, "an action")
    switch try reader.string("kind", maximumBytes: 64) {
    case "allow": self = .allow
    case "deny": self = .deny
    case "hold":
      let approvals = Int(try reader.integer("approvals", in: 1...Self.maximumApprovals))
      self = .hold(approvals: approvals, group: try reader.optional("group") == nil ? nil : reader.identifier("group"))
    default:
      throw Problem(422, "policy_action_unknown", "An action's kind is 'allow', 'hold' or 'deny'.")
    }
    try reader.finish()
  }

  /// The action as documents and records write it.
  public var json: JSONValue {
    switch self {
    case .allow: return ["kind": "allow"]
    case .deny: return ["kind": "deny"]
    case .hold(let approvals, let group):
      var members: JSONObject = ["kind": "hold", "approvals": .integer(Int64(approvals))]
      members["group"] = group.map { .string($0) }
      return .object(members)
    }
  }
}
