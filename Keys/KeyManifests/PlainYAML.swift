internal import Yams

/// YAML without what makes it dangerous. The characters are judged before a parser sees them, since afterwards it is
/// too late: Yams composes recursively (deep nesting overflows the stack), replaces aliases by what they stand for
/// (which can grow exponentially) and keeps anchors only weakly, so that a finished tree no longer shows them.
enum PlainYAML {
  /// More spaces than this before a line, or more open brackets, are refused.
  static let maximumIndent = 16
  static let maximumBrackets = 4

  /// Parses one document.
  static func parse(_ bytes: [UInt8], maximumBytes: Int) throws(ManifestError) -> Node {
    guard bytes.count <= maximumBytes else {
      throw ManifestError(.tooLong, line: 0, "a manifest has at most \(maximumBytes) bytes; shorten it")
    }
    try check(bytes)
    do {
      // The encoding is given, as Yams otherwise reads it from the environment.
      let parser = try Parser(yaml: String(decoding: bytes, as: UTF8.self), encoding: .utf8)
      guard let root = try parser.nextRoot() else {
        throw ManifestError(.documents, line: 0, "the manifest is empty; start from Keys/Manifests/production.yaml")
      }
      if let second = try parser.nextRoot() {
        throw ManifestError(
          .documents, line: second.mark?.line ?? 0, "a second document starts; write one manifest per file")
      }
      return root
    } catch let error as ManifestError {
      throw error
    } catch {
      throw Self.error(from: error)
    }
  }

  private static func error(from error: any Error) -> ManifestError {
    switch error as? YamlError {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      ManifestError(.syntax, line: mark.line, "not YAML: \(problem); check indentation, colons and brackets")
    case .duplicatedKeysInMapping(let names, let context):
      ManifestError(
        .duplicate, line: context.mark.line,
        "'\(names.first?.prefix(64) ?? "")' stands more than once, first here; keep one")
    default: ManifestError(.syntax, line: 0, "not YAML; check indentation, colons and brackets")
    }
  }

  // MARK: - Characters

  /// Refuses every character that is not needed. Quotes enclose one word, so that they hide no structure and end on
  /// their line; hence `#` after a space outside of them starts a comment for us and for the parser alike.
  private static func check(_ bytes: [UInt8]) throws(ManifestError) {
    var brackets = 0
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      try check(line, number: index + 1, brackets: &brackets)
    }
  }

  private static func check(
    _ line: ArraySlice<UInt8>, number: Int, brackets: inout Int
  ) throws(ManifestError) {
    let text = line.drop { $0 == UInt8(ascii: " ") }
    guard text.startIndex - line.startIndex <= maximumIndent, !text.starts(with: "- -".utf8) else {
      throw ManifestError(.tooDeep, line: number, "nested too deeply; indent by at most \(maximumIndent) spaces")
    }
    var at = text.startIndex
    var comment = false
    while at < text.endIndex {
      let byte = text[at]
      comment = comment || byte == UInt8(ascii: "#") && (at == line.startIndex || line[at - 1] == UInt8(ascii: " "))
      if comment ? !(0x20..<0x7F).contains(byte) : !isPlain(byte) {
        throw ManifestError(.character, line: number, reason(for: byte))
      }
      switch byte {
      case _ where comment: break
      case UInt8(ascii: "["), UInt8(ascii: "{"):
        brackets += 1
        guard brackets <= maximumBrackets else {
          throw ManifestError(.tooDeep, line: number, "more than \(maximumBrackets) brackets are open; close some")
        }
      case UInt8(ascii: "]"), UInt8(ascii: "}"): brackets = max(0, brackets - 1)
      case UInt8(ascii: "\""), UInt8(ascii: "'"):
        at += 1
        while at < text.endIndex, isWord(text[at]) { at += 1 }
        guard at < text.endIndex, text[at] == byte else {
          throw ManifestError(
            .character, line: number,
            "quotes enclose one word of letters, digits and '*', ':', '.', '_', '-'; write it so, or without quotes")
        }
      default: break
      }
      at += 1
    }
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    isLetterOrDigit(byte) || "*:._-".utf8.contains(byte)
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    isLetterOrDigit(byte) || " -_.:,+/()[]{}#\"'".utf8.contains(byte)
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  private static func reason(for byte: UInt8) -> String {
    switch byte {
    case UInt8(ascii: "&"): "'&' makes an anchor; write the value out wherever it is meant"
    case UInt8(ascii: "*"): "'*' makes an alias; write \"*\" in quotes to mean all"
    case UInt8(ascii: "!"): "'!' makes a tag; leave it out"
    case UInt8(ascii: "|"), UInt8(ascii: ">"): "texts of several lines have no place in a manifest; write one word"
    case UInt8(ascii: "%"): "directives have no place in a manifest; leave the line out"
    case UInt8(ascii: "?"): "'?' makes a complex key; write 'name: value'"
    case UInt8(ascii: "<"): "'<<' merges members; write them out"
    case 0x09: "a tab stands here; indent with spaces"
    case 0x0D: "the line ends with a carriage return; end lines with a line feed alone"
    case 0x80...: "a character outside ASCII stands here; write ASCII"
    default: "the character 0x\(String(byte, radix: 16)) has no place in a manifest; leave it out"
    }
  }
}
