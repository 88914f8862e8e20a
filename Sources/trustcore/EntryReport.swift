import OperatorClient
import Wire

/// Registration entries and what became of them, in words.
enum EntryReport {
  /// Those that were asked for.
  /// - Parameter count: how many there are.
  static func list(_ entries: [JSONObject], of count: Int) -> String {
    switch (entries.count, count) {
    case (0, 0): "No entries: make one with 'trustcore entry create'."
    case (0, 1): "The one entry does not match."
    case (0, _): "None of the \(Wording.number(count)) entries matches."
    default:
      Wording.table(
        ["Entry", "SPIFFE ID", "Hint"], entries.map { [text($0["id"]), text($0["spiffe_id"]), text($0["hint"])] },
        below: entries.map { ($0["selectors"]?.array ?? []).map { text($0) } })
    }
  }

  /// Tells whoever asked for more than there is.
  static func warn(_ entries: [JSONObject], _ client: OperatorClient, json: Bool) async {
    var notes: [String] = []
    if entries.contains(where: { $0["admin"] == true || $0["downstream"] == true }) {
      notes.append("'admin' and 'downstream' grant nothing yet: only officers may change such an entry.")
    }
    let wanted = Set(entries.flatMap { $0["federates_with"]?.array ?? [] }.compactMap(\.string))
    if !wanted.isEmpty, let federations = try? await client.workloads()["federations"]?.array {
      let known = federations.compactMap(\.object).filter { $0["has_bundle"] == true }
      notes += wanted.subtracting(known.map { text($0["trust_domain"]) }).sorted().map {
        Wording.visible("No bundle of '\($0)' is here yet, so no workload gets one: see 'trustcore federation set'.")
      }
    }
    for note in notes { if json { complainJSON(["note": .string(note)]) } else { complain(note) } }
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
