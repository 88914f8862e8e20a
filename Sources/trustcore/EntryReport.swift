import OperatorClient
import Wire

/// Registration entries and what became of them, in words.
enum EntryReport {
  static func list(_ answer: JSONObject) -> String {
    let entries = (answer["entries"]?.array ?? []).compactMap(\.object)
    if entries.isEmpty { return "No entries: make one with 'trustcore entry create'." }
    return Wording.table(
      ["Entry", "SPIFFE ID", "Selectors", "Hint"],
      entries.map { entry in
        [text(entry["id"]), text(entry["spiffe_id"]), text(entry["selectors"]), text(entry["hint"])]
      })
  }

  static func show(_ entry: JSONObject) -> String {
    Wording.list(entry.map { ($0.name, text($0.value)) })
  }

  /// `ent_… is made (leaf 17).`
  static func done(_ subject: String, _ what: String, _ answer: JSONObject) -> String {
    Wording.visible("\(subject) \(what)\(leaf(answer)).")
  }

  static func leaf(_ answer: JSONObject) -> String {
    answer["leaf_index"]?.integer.map { " (leaf \(Wording.number($0)))" } ?? ""
  }

  /// What `apply` did or would do: a line for each entry where they are few, and the numbers.
  static func applied(_ answer: JSONObject, _ plan: WorkloadEntryPlan, isDryRun: Bool) -> String {
    var lines: [String] = []
    if plan.count <= 50 {
      lines += plan.creations.map { "+ " + text($0["spiffe_id"]) + "  " + text($0["selectors"]) }
      lines += plan.updates.map { "~ " + $0.id + "  " + text($0.entry["spiffe_id"]) }
      lines += plan.deletions.map { "- " + $0 }
    }
    let numbers = ["created", "updated", "deleted", "unchanged"].map { name in
      "\(Wording.number(answer[name]?.integer ?? 0)) \(name)"
    }
    lines.append(numbers.joined(separator: ", ") + (isDryRun ? "; nothing was sent." : "."))
    return lines.map(Wording.visible).joined(separator: "\n")
  }

  static func text(_ value: JSONValue?) -> String {
    switch value {
    case .string(let text)?: text.isEmpty ? "-" : text
    case .integer(let number)?: Wording.number(number)
    case .bool(let flag)?: flag ? "yes" : "no"
    case .array(let values)?: values.isEmpty ? "-" : values.map { text($0) }.joined(separator: " ")
    case nil, .null?: "-"
    case let value?: String(decoding: value.canonical(), as: UTF8.self)
    }
  }
}

/// Files that a command line names.
enum SmallFile {
  /// Reads a file, or standard input where it is `-`.
  /// - Throws: `no_input` where it is not there, `malformed` where it is longer.
  static func read(_ path: String, maximumBytes: Int) throws(OperatorError) -> [UInt8] {
    let input = path == "-" ? Descriptor.input : try Descriptor(reading: path)
    var bytes = [UInt8](repeating: 0, count: min(maximumBytes, 1 << 16) + 1)
    var count = 0
    while true {
      count = try input.read(into: &bytes, from: count)
      guard count == bytes.count else { break }
      guard count <= maximumBytes else {
        throw OperatorError(.malformed, "\(Wording.visible(path)) has more than \(maximumBytes) bytes.")
      }
      bytes += [UInt8](repeating: 0, count: min(count, maximumBytes + 1 - count))
    }
    return Array(bytes.prefix(count))
  }
}
