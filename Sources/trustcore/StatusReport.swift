import OperatorClient
import Wire

/// What `GET /v1/status` and `GET /v1/hsm` say, in words.
struct StatusReport {
  let json: JSONObject

  /// One token of a role.
  struct Token {
    let role: String
    let member: Int64
    let label: String
    let state: String
    let isInUse: Bool
    let reason: String

    init(_ json: JSONObject) {
      role = json["role"]?.string ?? "-"
      member = json["member"]?.integer ?? 0
      label = json["label"]?.string ?? ""
      state = json["state"]?.string ?? "unknown"
      isInUse = json["in_use"]?.bool ?? false
      reason = json["reason"]?.string ?? ""
    }

    /// The root token is logged in during ceremonies only.
    var isAsItShouldBe: Bool { state == "ready" || (role == "root" && state == "closed") }
  }

  var tokens: [Token] { (json["tokens"]?.array ?? []).compactMap(\.object).map(Token.init) }

  /// What stands in the way of work; empty where nothing does.
  var obstacles: [String] {
    var result = tokens.filter { !$0.isAsItShouldBe }.map { "token \($0.role)/\($0.member) is \($0.state)" }
    if let mode = json["mode"]?.string, mode != "running" { result.append("the daemon is \(mode)") }
    if let mode = json["keys_mode"]?.string, mode != "open" {
      result.append("keys are \(mode)" + (json["keys_reason"]?.string.map { " (\($0))" } ?? ""))
    }
    return result
  }

  /// Throws where something stands in the way.
  func demandReadiness() throws(OperatorError) {
    let obstacles = obstacles
    guard obstacles.isEmpty else {
      throw OperatorError(
        .notReady, Wording.visible("Not ready: \(obstacles.joined(separator: ", ")). The lines above tell the reason.")
      )
    }
  }

  var text: String {
    var facts: [(name: String, value: String)] = []
    func fact(_ name: String, _ value: String?) { if let value { facts.append((name, value)) } }
    fact("Mode", json["mode"]?.string)
    fact("Environment", json["environment"]?.string)
    fact("Trust domain", json["trust_domain"]?.string)
    fact(
      "Log",
      json["log_origin"]?.string.map { origin in
        origin + (json["log_size"]?.integer.map { ", " + Wording.count($0, "leaf", "leaves") } ?? "")
      })
    fact(
      "HSM",
      json["hsm"]?.string.map { hsm in
        hsm + (json["hsm_operations"]?.integer.map { ", " + Wording.count($0, "operation") } ?? "")
      })
    fact("Hostile unwrap", json["hostile_unwrap"].map(Self.hostileUnwrap))
    fact("Keys", json["keys"]?.object.map(Self.states))
    fact("Data-key cache", json["data_key_cache"]?.object.map(Self.cache))
    fact("Waiting", json["tasks"]?.array.map(Self.tasks))
    return [facts.isEmpty ? nil : Wording.list(facts), tokens.isEmpty ? nil : tokenTable].compactMap(\.self)
      .joined(separator: "\n\n")
  }

  /// The tokens.
  var tokenTable: String {
    Wording.table(
      ["Role", "Member", "Label", "State", "Used", "Reason"], numbers: [1],
      tokens.map {
        [
          $0.role, String($0.member), $0.label, $0.state, $0.isInUse ? "yes" : "no",
          $0.reason.isEmpty ? "-" : $0.reason,
        ]
      })
  }

  private static func hostileUnwrap(_ value: JSONValue) -> String {
    switch value.string {
    case "refused": "refused by the token (tried at start)"
    case "locked": "let in, but locked: the key came out non-extractable (tried at start)"
    default: "not tried: the data token was not open yet"
    }
  }

  private static func states(_ counts: JSONObject) -> String {
    let parts = counts.compactMap { member in
      member.value.integer.flatMap { $0 > 0 ? "\(Wording.number($0)) \(member.name)" : nil }
    }
    return parts.isEmpty ? "none" : parts.joined(separator: ", ")
  }

  private static func cache(_ cache: JSONObject) -> String {
    func count(_ name: String) -> Int64 { max(0, cache[name]?.integer ?? 0) }
    var text = Wording.number(count("held"))
    if count("capacity") > 0 { text += " of \(Wording.number(count("capacity")))" }
    text += " held"
    let asked = count("hits").addingReportingOverflow(count("misses"))
    if !asked.overflow, asked.partialValue > 0 {
      text += ", \(Int(Double(count("hits")) / Double(asked.partialValue) * 100)) % of look-ups found there"
    }
    return text
  }

  private static func tasks(_ tasks: [JSONValue]) -> String {
    let words = tasks.compactMap(\.object).map { task -> String in
      var text = task["kind"]?.string ?? "task"
      if let key = task["key"]?.string { text += " of \(key)" }
      if let progress = RewrapProgress(["rewrap": .object(task)]) { text += " (\(progress))" }
      if let obstacle = task["obstacle"]?.string { text += " (\(obstacle))" }
      return text
    }
    return words.isEmpty ? "nothing" : words.joined(separator: "; ")
  }
}
