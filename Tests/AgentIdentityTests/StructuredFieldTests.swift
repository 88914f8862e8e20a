import Foundation
import TestSupport
import Testing
import Wire

@testable import AgentIdentity

@Suite("Structured fields (RFC 9651)")
struct StructuredFieldTests {
  static let files = [
    "binary", "boolean", "date", "dictionary", "display-string", "examples", "item", "key-generated",
    "large-generated", "list", "listlist", "number", "number-generated", "param-dict", "param-list", "param-listlist",
    "string", "string-generated", "token", "token-generated",
  ]

  /// Cases that the specification lets a parser refuse (`can_fail`), and that this one does refuse.
  static let leftOut: [String: String] = [
    "bad padding": "byte sequences are canonical base64 here",
    "non-zero pad bits": "byte sequences are canonical base64 here",
  ]

  @Test(
    "structured-field-tests: parse, compare, serialise", .enabled(if: Vectors.has("structured-fields")),
    arguments: files)
  func vectors(file: String) throws {
    var tally = Tally("structured-fields/\(file)")
    for test in try #require(try Vectors.json("structured-fields/\(file).json") as? [[String: Any]]) {
      let name = test["name"] as? String ?? ""
      let lines = try #require(test["raw"] as? [String])
      let parsed = try? Self.parse(lines.joined(separator: ", "), test["header_type"] as? String)
      if test["must_fail"] as? Bool == true {
        tally.expect(parsed == nil, name)
      } else if let reason = Self.leftOut[name] {
        #expect(test["can_fail"] as? Bool == true)
        #expect(parsed == nil, "\(name) is accepted now: run it")
        tally.leaveOut("'\(name)': \(reason)")
      } else {
        // The canonical form of an empty list or dictionary is no line at all.
        let canonical = (test["canonical"] as? [String] ?? lines).joined(separator: ", ")
        let expected = try JSONSerialization.data(
          withJSONObject: try #require(test["expected"]), options: [.sortedKeys, .fragmentsAllowed])
        let model = try parsed.map {
          try JSONSerialization.data(withJSONObject: $0.model, options: [.sortedKeys, .fragmentsAllowed])
        }
        tally.expect(model == expected && parsed?.text == canonical, "\(name): \(parsed?.text ?? "refused")")
      }
    }
    tally.report()
  }

  /// The vectors' JSON of a parsed value, and its strict text.
  private static func parse(_ text: String, _ kind: String?) throws -> (model: Any, text: String) {
    switch kind {
    case "item":
      let item = try StructuredField.item(text)
      return (model(item), StructuredField.serialize(item))
    case "list":
      let list = try StructuredField.list(text)
      return (list.map(model), StructuredField.serialize(list))
    default:
      let dictionary = try StructuredField.dictionary(text)
      return (dictionary.entries.map { [$0.key, model($0.value)] as [Any] }, StructuredField.serialize(dictionary))
    }
  }

  private static func model(_ member: StructuredField.Member) -> Any {
    switch member {
    case .item(let item): model(item)
    case .innerList(let list): [list.items.map(model), model(list.parameters)] as [Any]
    }
  }

  private static func model(_ item: StructuredField.Item) -> Any {
    [model(item.value), model(item.parameters)] as [Any]
  }

  private static func model(_ parameters: StructuredField.Parameters) -> Any {
    parameters.list.map { [$0.key, model($0.value)] as [Any] }
  }

  private static func model(_ value: StructuredField.BareItem) -> Any {
    func typed(_ type: String, _ value: Any) -> Any { ["__type": type, "value": value] }
    switch value {
    case .integer(let number): return number
    case .decimal(let thousandths): return Double(thousandths) / 1000
    case .string(let text): return text
    case .token(let text): return typed("token", text)
    case .bytes(let bytes): return typed("binary", base32(bytes))
    case .boolean(let value): return value
    case .date(let seconds): return typed("date", seconds)
    case .displayString(let text): return typed("displaystring", text)
    }
  }

  /// RFC 4648 section 6, in which the vectors write bytes.
  private static func base32(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    var bits = bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
    while bits.count % 5 != 0 { bits.append(0) }
    let text = stride(from: 0, to: bits.count, by: 5).map { start in
      alphabet[bits[start..<start + 5].reduce(0) { $0 << 1 | Int($1) }]
    }
    return String(text) + String(repeating: "=", count: (8 - text.count % 8) % 8)
  }

  @Test("tells where a key was given twice")
  func duplicates() throws {
    #expect(try StructuredField.dictionary("a=1, b=2").hasDuplicates == false)
    for text in ["a=1, a=2", "a=(1;x;x)", "a;x;x", "a=();x=1;x=1", "a, b, a"] {
      #expect(try StructuredField.dictionary(text).hasDuplicates, "\(text)")
    }
  }

  @Test("limits: both sides")
  func limits() throws {
    let longest = "\"" + String(repeating: "a", count: StructuredField.maximumBytes - 2) + "\""
    #expect(try StructuredField.item(longest).value == .string(String(longest.dropFirst().dropLast())))
    #expect(throws: StructuredField.Invalid.self) { try StructuredField.item(longest + " ") }
    let parameters = (0..<256).map { ";p\($0)" }.joined()
    #expect(try StructuredField.item("1" + parameters).parameters.list.count == 256)
    #expect(throws: StructuredField.Invalid.self) { try StructuredField.item("1\(parameters);q") }
  }

  @Test("what is not ASCII is refused, and nothing crashes under mutation")
  func mutation() {
    var random = SplitMix64(seed: 4)
    let seeds = [
      #"sig=("@method" "x";key="a" "y";sf);created=1618884473;keyid="k\"\\";alg="ed25519""#,
      #"a=1.5, b=:aGVsbG8=:, c=(1 2;x ?0), d;e=*tok/x, f=@123, g=%"f%c3%bc""#,
    ]
    let alphabet = Array(#"();=,"\:?@%*abcz019.- "#.utf8) + [0, 9, 10, 0x7F, 0xC3, 0xA9, 0xFF]
    for round in 0..<5000 {
      var text = Array(seeds[round % 2].utf8)
      for _ in 0...random.next() % 3 {
        let at = Int(random.next() % UInt64(text.count))
        let byte = alphabet[Int(random.next() % UInt64(alphabet.count))]
        switch random.next() % 3 {
        case 0: text[at] = byte
        case 1: text.insert(byte, at: at)
        default: text.remove(at: at)
        }
      }
      let string = String(decoding: text, as: UTF8.self)
      guard let parsed = try? StructuredField.dictionary(string) else { continue }
      let again = try? StructuredField.dictionary(StructuredField.serialize(parsed))
      #expect(again?.entries == parsed.entries, "\(string)")
    }
  }
}

/// Seeded, so that every run is the same.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
