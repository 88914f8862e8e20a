import OperatorClient
import Wire

/// What the routes of keys answer, in words.
enum KeyReport {
  /// `GET /v1/keys`.
  static func list(_ answer: JSONObject) -> String {
    let keys = (answer["keys"]?.array ?? []).compactMap(\.object)
    if keys.isEmpty { return "No keys yet: make one with 'trustcore keys create --class NAME'." }
    return Wording.table(
      ["Key", "Tenant", "Class", "Version", "State"], numbers: [3],
      keys.map { key in
        [id(key), text(key["tenant"]), text(key["class"]), text(key["version"]), text(key["state"])]
      })
  }

  /// `GET /v1/keys/{id}`: what is simple as a list, what repeats as tables.
  static func show(_ key: JSONObject) -> String {
    var blocks = [
      Wording.list(
        key.filter { $0.value.array == nil && $0.value.object == nil }.map { (label($0.name), text($0.value)) })
    ]
    if let progress = RewrapProgress(key) { blocks.append(progress.description) }
    for member in key {
      let rows = (member.value.array ?? []).compactMap(\.object)
      guard let names = rows.first?.members.map(\.name) else { continue }
      let numbers = Set(names.indices.filter { column in rows.allSatisfy { $0[names[column]]?.integer != nil } })
      blocks.append(
        Wording.table(names.map(label), numbers: numbers, rows.map { row in names.map { text(row[$0]) } }))
    }
    return blocks.joined(separator: "\n\n")
  }

  /// What became of a key: `key_1 is rotated to version 2 (leaf 17).`
  static func done(_ what: String) -> (JSONObject) -> String {
    { answer in
      // 202: it is decided and on the record, and waits for the HSM or for its time.
      let waits = answer["task_state"]?.string == "pending" && !what.hasPrefix("is being")
      var text = waits ? "\(id(answer)): ordered, and not done yet" : "\(id(answer)) \(what)"
      if let version = answer["version"]?.integer { text += ", version \(Wording.number(version))" }
      return Wording.visible(text + leaf(answer) + ".")
    }
  }

  /// The receipt of a destruction: what is gone, or waits, and what backups can still reach.
  static func destruction(_ answer: JSONObject) -> String {
    let event = content(of: answer["destruction"]?.object)
    let isDone = answer["task_state"]?.string == "done"
    let place = (answer["task_leaf_index"] ?? answer["leaf_index"])?.integer.map { " (leaf \(Wording.number($0)))" }
    var first = "\(id(answer)) is \(isDone ? "destroyed" : "going to be destroyed")\(place ?? "")"
    let facts = event?["facts"]?.object ?? [:]
    if let versions = event?["records"]?.array?.count { first += ": \(Wording.count(versions, "version"))" }
    if let keys = facts["data_keys"]?.integer { first += ", \(Wording.count(keys, "data key"))" }
    var lines = [first + "."]
    if !isDone {
      for task in (answer["tasks"]?.array ?? []).compactMap(\.object) where task["kind"]?.string == "destroy" {
        if let moment = task["not_before"]?.string { lines.append("Not before \(moment); 'keys enable' calls it off.") }
        if let obstacle = task["obstacle"]?.string { lines.append("It waits: \(obstacle)") }
      }
    }
    if let nodes = facts["nodes"]?.array?.compactMap(\.string), !nodes.isEmpty {
      lines.append("Dropped by: \(nodes.joined(separator: ", ")).")
    }
    if let reach = facts["reach"]?.object {
      lines.append("What backups can still reach:")
      lines += backups(reach).map { "  " + $0 }
    }
    if let command = answer["command_id"]?.string { lines.append("The receipt is that of command \(command).") }
    return lines.map(Wording.visible).joined(separator: "\n")
  }

  /// The content of a leaf that came with its seal.
  private static func content(of seal: JSONObject?) -> JSONObject? {
    seal?["content"]?.string.flatMap { try? Base64.URL.decode($0) }.flatMap { try? JSONValue(parsing: $0) }?.object
  }

  private static func backups(_ reach: JSONObject) -> [String] {
    let keys = (reach["open_with"]?.array ?? []).compactMap(\.string)
    if keys.isEmpty { return ["Nothing: no copy of the database holds the key."] }
    return [
      "Copies of the database made from \(text(reach["copies_since"])) to \(text(reach["copies_until"]))",
      "still hold the key, wrapped. It opens with any one of:",
    ] + keys.map { "  - \($0)" } + [
      "TrustCore replays this destruction before it serves from such a copy.",
      "To put the key out of everybody's reach, destroy those copies or those keys.",
    ]
  }

  private static func id(_ object: JSONObject) -> String { text(object["key"] ?? object["id"]) }

  private static func leaf(_ answer: JSONObject) -> String {
    answer["leaf_index"]?.integer.map { " (leaf \(Wording.number($0)))" } ?? ""
  }

  /// `leaf_index` becomes `Leaf index`.
  private static func label(_ name: String) -> String {
    let words = name.split(separator: "_").joined(separator: " ")
    return Wording.visible(words.prefix(1).uppercased() + words.dropFirst())
  }

  private static func text(_ value: JSONValue?) -> String {
    switch value {
    case nil, .null: "-"
    case .string(let text): text
    case .integer(let number): Wording.number(number)
    case .bool(let flag): flag ? "yes" : "no"
    case .array(let texts) where texts.allSatisfy({ $0.string != nil }):
      texts.compactMap(\.string).joined(separator: ", ")
    case .some(let other): String(decoding: other.canonical(), as: UTF8.self)
    }
  }
}
