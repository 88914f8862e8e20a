/// A reader of the HTML that the console writes, strict where a browser is lenient: it shares nothing with the builder.
struct Markup {
  /// A start tag, an end tag or a text, in order.
  enum Token: Equatable {
    case start(String, attributes: [String: String])
    case end(String)
    case text(String)
  }

  struct Malformed: Error { let reason: String }

  static let empty: Set<String> = ["meta", "link", "input", "!DOCTYPE"]

  let tokens: [Token]

  init(_ page: String) throws {
    var tokens: [Token] = []
    var open: [String] = []
    var rest = page.unicodeScalars[...]
    while let first = rest.first {
      if first != "<" {
        let text = rest.prefix { $0 != "<" }
        rest = rest[text.endIndex...]
        tokens.append(.text(try Self.unescaped(String(text))))
        continue
      }
      guard let close = rest.firstIndex(of: ">") else { throw Malformed(reason: "a tag without end") }
      let tag = String(rest[rest.index(after: rest.startIndex)..<close])
      rest = rest[rest.index(after: close)...]
      if tag.hasPrefix("/") {
        let name = String(tag.dropFirst())
        guard open.popLast() == name else { throw Malformed(reason: "</\(name)> closes nothing") }
        tokens.append(.end(name))
      } else {
        let name = String(tag.prefix { $0 != " " })
        guard name == "!DOCTYPE" || name.wholeMatch(of: /[a-z][a-z0-9]*/) != nil else {
          throw Malformed(reason: "<\(tag)>")
        }
        if !Self.empty.contains(name) { open.append(name) }
        tokens.append(
          .start(name, attributes: name == "!DOCTYPE" ? [:] : try Self.attributes(tag.dropFirst(name.count))))
      }
    }
    guard open.isEmpty else { throw Malformed(reason: "left open: \(open)") }
    self.tokens = tokens
  }

  /// The tags alone, `name#id` for those that have one, without what stands for a character.
  var outline: String {
    var out: [String] = []
    for token in tokens {
      switch token {
      case .start("mark", _), .start("bdi", _), .end("mark"), .end("bdi"), .text: continue
      case .start(let name, let attributes): out.append(name + (attributes["id"].map { "#" + $0 } ?? ""))
      case .end(let name): out.append("/" + name)
      }
    }
    return out.joined(separator: " ")
  }

  /// All attributes of all tags.
  var attributes: [(tag: String, name: String, value: String)] {
    tokens.flatMap { token -> [(tag: String, name: String, value: String)] in
      guard case .start(let tag, let attributes) = token else { return [] }
      return attributes.map { (tag, $0.key, $0.value) }
    }
  }

  /// What stands inside the only element with this identifier, with each `mark` as the character that it names.
  func text(of id: String) throws -> String {
    let places = tokens.indices.filter {
      if case .start(_, let attributes) = tokens[$0] { attributes["id"] == id } else { false }
    }
    guard places.count == 1 else { throw Malformed(reason: "\(places.count) elements #\(id)") }
    var depth = 0
    var names = false
    var out = ""
    for token in tokens[places[0]...] {
      switch token {
      case .start(let name, _):
        depth += 1
        names = name == "mark"
      case .end:
        depth -= 1
        names = false
        if depth == 0 { return out }
      case .text(let text) where names:
        guard text.hasPrefix("U+"), let value = UInt32(text.dropFirst(2), radix: 16), let scalar = Unicode.Scalar(value)
        else { throw Malformed(reason: "no name of a character: \(text)") }
        out.unicodeScalars.append(scalar)
      case .text(let text): out += text
      }
    }
    throw Malformed(reason: "#\(id) does not end")
  }

  private static func attributes(_ source: Substring) throws -> [String: String] {
    var out: [String: String] = [:]
    var rest = source
    while !rest.isEmpty {
      guard let match = rest.prefixMatch(of: /\ ([a-z-]+)(?:="([^"<]*)")?/) else {
        throw Malformed(reason: String(rest))
      }
      guard out.updateValue(try unescaped(String(match.2 ?? "")), forKey: String(match.1)) == nil else {
        throw Malformed(reason: "\(match.1) twice")
      }
      rest = rest[match.range.upperBound...]
    }
    return out
  }

  private static func unescaped(_ text: String) throws -> String {
    let names = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "#39": "'", "#13": "\r"]
    var parts = text.unicodeScalars.split(separator: "&", omittingEmptySubsequences: false)
    var out = String(parts.removeFirst())
    for part in parts {
      guard let end = part.firstIndex(of: ";"), let character = names[String(part[..<end])] else {
        throw Malformed(reason: "a bare ampersand: \(part)")
      }
      out += character + String(part[part.index(after: end)...])
    }
    return out
  }
}
