import Testing
import Wire

/// What the strict parser must refuse, as data: a name, the text in bytes, the code.
struct Refusal: Sendable {
  let name: String
  let bytes: [UInt8]
  let code: JSONError.Code

  init(_ name: String, _ text: String, _ code: JSONError.Code = .syntax) {
    self.init(name, bytes: Array(text.utf8), code)
  }

  init(_ name: String, bytes: [UInt8], _ code: JSONError.Code) {
    self.name = name
    self.bytes = bytes
    self.code = code
  }

  /// A string literal with raw bytes inside.
  static func string(_ name: String, _ inner: [UInt8], _ code: JSONError.Code = .invalidUnicode) -> Refusal {
    Refusal(name, bytes: [0x22] + inner + [0x22], code)
  }

  static let groups: [String: [Refusal]] = [
    "structure": [
      Refusal("empty", ""), Refusal("white space only", " \n\t"), Refusal("open object", "{"),
      Refusal("open array", "["), Refusal("closed only", "]"), Refusal("mismatched", "[}"),
      Refusal("mismatched the other way", "{\"a\":1]"), Refusal("trailing comma in array", "[1,]"),
      Refusal("trailing comma in object", "{\"a\":1,}"), Refusal("leading comma", "[,1]"),
      Refusal("double comma", "[1,,2]"), Refusal("comma alone", "[,]"), Refusal("no comma", "[1 2]"),
      Refusal("no comma in object", "{\"a\":1 \"b\":2}"), Refusal("no colon", "{\"a\" 1}"),
      Refusal("two colons", "{\"a\"::1}"), Refusal("no value", "{\"a\":}"), Refusal("no name", "{:1}"),
      Refusal("name is a number", "{1:1}"), Refusal("name is a literal", "{null:1}"),
      Refusal("name without quotes", "{a:1}"), Refusal("name in single quotes", "{'a':1}"),
      Refusal("string in single quotes", "['a']"), Refusal("two values", "1 2"), Refusal("text after object", "{}x"),
      Refusal("text after array", "[] []"), Refusal("comma after value", "1,"),
      Refusal("NUL after value", bytes: [0x31, 0x00], .syntax), Refusal("line comment", "[1]//x"),
      Refusal("block comment", "[/* */1]"), Refusal("hash comment", "#x\n1"),
      Refusal("byte-order mark", bytes: [0xEF, 0xBB, 0xBF, 0x31], .syntax),
      Refusal("UTF-16", bytes: [0x00, 0x31], .syntax), Refusal("form feed as space", "[\u{C}1]"),
      Refusal("no-break space", "[\u{A0}1]"), Refusal("line separator", "\u{2028}1"),
      Refusal("backtick", "`a`"), Refusal("star", "*"), Refusal("brace in array", "[{]}"),
    ],
    "literals": [
      Refusal("True", "True"), Refusal("TRUE", "TRUE"), Refusal("tru", "tru"), Refusal("truee", "truee"),
      Refusal("nul", "nul"), Refusal("undefined", "undefined"), Refusal("NaN", "NaN"), Refusal("Infinity", "Infinity"),
      Refusal("-Infinity", "-Infinity"), Refusal("nan", "nan"),
    ],
    "numbers": [
      Refusal("leading zero", "01"), Refusal("two zeros", "00"), Refusal("negative leading zero", "-01"),
      Refusal("plus", "+1"), Refusal("minus alone", "-"), Refusal("two minuses", "--1"), Refusal("point first", ".5"),
      Refusal("point last", "1."), Refusal("minus point", "-.5"), Refusal("two points", "1.2.3"),
      Refusal("point then exponent", "1.e1"), Refusal("exponent empty", "1e"), Refusal("exponent sign only", "1e+"),
      Refusal("exponent fraction", "1e1.5"), Refusal("two exponents", "1e1e1"), Refusal("hexadecimal", "0x10"),
      Refusal("octal", "0o7"), Refusal("underscore", "1_000"), Refusal("space inside", "- 1"),
      Refusal("full-width digit", "\u{FF11}"), Refusal("Arabic digit", "\u{661}"), Refusal("letter", "1a"),
      Refusal("too great", "1e309", .numberOutOfRange), Refusal("too small", "-1e309", .numberOutOfRange),
      Refusal("great exponent", "1e999999999999", .numberOutOfRange),
      Refusal("many digits", String(repeating: "9", count: 400), .numberOutOfRange),
    ],
    "names": [
      Refusal("twice", "{\"a\":1,\"a\":2}", .duplicateMember),
      Refusal("twice with the same value", "{\"a\":1,\"a\":1}", .duplicateMember),
      Refusal("twice, escaped", "{\"a\":1,\"\\u0061\":2}", .duplicateMember),
      Refusal("twice, both escaped", "{\"\\u00e9\":1,\"\\u00E9\":2}", .duplicateMember),
      Refusal("twice, surrogates escaped", "{\"\u{1F600}\":1,\"\\ud83d\\ude00\":2}", .duplicateMember),
      Refusal("twice, escaped slash", "{\"a/b\":1,\"a\\/b\":2}", .duplicateMember),
      Refusal("empty name twice", "{\"\":1,\"\":2}", .duplicateMember),
      Refusal("twice, inside", "{\"a\":{\"b\":1,\"b\":2}}", .duplicateMember),
      Refusal("twice, in an array", "[{\"b\":1,\"b\":2}]", .duplicateMember),
      Refusal("twice among many", object(names: (0..<40).map { "n\($0)" } + ["n3"]), .duplicateMember),
      Refusal("twice at the ninth", object(names: (0..<8).map { "n\($0)" } + ["n0"]), .duplicateMember),
      Refusal("twice at the eighth", object(names: (0..<7).map { "n\($0)" } + ["n6"]), .duplicateMember),
      Refusal("NUL in name twice", "{\"\\u0000\":1,\"\\u0000\":2}", .duplicateMember),
    ],
    "strings": [
      Refusal("does not end", "\"a"), Refusal("ends in an escape", "\"a\\"),
      Refusal("quote escaped at the end", "\"\\\""),
      .string("newline", [0x0A], .syntax), .string("tab", [0x09], .syntax), .string("NUL", [0x00], .syntax),
      .string("unit separator", [0x1F], .syntax), .string("newline after an escape", [0x5C, 0x6E, 0x0A], .syntax),
      Refusal("unknown escape", "\"\\a\""), Refusal("hexadecimal escape", "\"\\x41\""),
      Refusal("single quote escaped", "\"\\'\""), Refusal("short u", "\"\\u12\""),
      Refusal("u without digits", "\"\\u\""),
      Refusal("u with a letter", "\"\\u12G4\""), Refusal("capital U", "\"\\U0041\""),
      Refusal("u with plus", "\"\\u+041\""), Refusal("u with braces", "\"\\u{41}\""),
      Refusal("high surrogate alone", "\"\\ud800\"", .invalidUnicode),
      Refusal("high surrogate and text", "\"\\ud800a\"", .invalidUnicode),
      Refusal("high surrogate and another escape", "\"\\ud800\\n\"", .invalidUnicode),
      Refusal("two high surrogates", "\"\\ud800\\ud800\"", .invalidUnicode),
      Refusal("high surrogate and scalar", "\"\\ud800\\u0041\"", .invalidUnicode),
      Refusal("low surrogate alone", "\"\\udc00\"", .invalidUnicode),
      Refusal("surrogates reversed", "\"\\udc00\\ud800\"", .invalidUnicode),
      Refusal("lone surrogate in a name", "{\"\\ud800\":1}", .invalidUnicode),
      .string("continuation byte alone", [0x80]), .string("start byte alone", [0xC3]),
      .string("byte FF", [0xFF]), .string("byte FE", [0xFE]), .string("overlong slash", [0xC0, 0xAF]),
      .string("overlong NUL", [0xC0, 0x80]), .string("overlong in three", [0xE0, 0x80, 0xAF]),
      .string("overlong in four", [0xF0, 0x80, 0x80, 0xAF]), .string("surrogate in UTF-8", [0xED, 0xA0, 0x80]),
      .string("surrogate pair in UTF-8", [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]),
      .string("beyond U+10FFFF", [0xF4, 0x90, 0x80, 0x80]), .string("five bytes", [0xF8, 0x88, 0x80, 0x80, 0x80]),
      .string("cut short", [0xE2, 0x82]), .string("Latin-1", [0xE9]),
      .string("bad byte after an escape", [0x5C, 0x6E, 0xFF]),
    ],
  ]

  private static func object(names: [String]) -> String {
    "{" + names.map { "\"\($0)\":0" }.joined(separator: ",") + "}"
  }
}

@Suite("Strict JSON (RFC 8259, RFC 7493)")
struct JSONRefusalTests {
  @Test("refuses", arguments: Refusal.groups.keys.sorted())
  func refuses(group: String) throws {
    for refusal in try #require(Refusal.groups[group]) {
      do throws(JSONError) {
        _ = try JSONValue(parsing: refusal.bytes)
        Issue.record("\(refusal.name) was accepted")
      } catch {
        #expect(error.code == refusal.code, "\(refusal.name): \(error)")
      }
    }
  }

  @Test("the suite of refusals is not smaller than it was")
  func size() { #expect(Refusal.groups.values.map(\.count).reduce(0, +) >= 120) }

  @Test("nesting: 64 is accepted, 65 is refused", arguments: [("[", "]"), ("{\"a\":", "}")])
  func depth(open: String, close: String) throws {
    func text(_ depth: Int) -> String {
      String(repeating: open, count: depth) + (open == "[" ? "" : "0") + String(repeating: close, count: depth)
    }
    _ = try JSONValue(parsing: text(64))
    #expect(throws: JSONError.self) { try JSONValue(parsing: text(65)) }
    do throws(JSONError) { _ = try JSONValue(parsing: text(65)) } catch { #expect(error.code == .tooDeep) }
    // Depth is nesting, not the number of arrays in one text.
    _ = try JSONValue(parsing: "[" + Array(repeating: "[]", count: 200).joined(separator: ",") + "]")
    do throws(JSONError) { _ = try JSONValue(parsing: text(100_000)) } catch { #expect(error.code == .tooDeep) }
  }

  @Test("length: at the limit and one byte beyond")
  func length() throws {
    let text = Array("\"\(String(repeating: "a", count: 98))\"".utf8)
    _ = try JSONValue(parsing: text, maximumBytes: 100)
    do throws(JSONError) {
      _ = try JSONValue(parsing: text, maximumBytes: 99)
      Issue.record("too long a text was accepted")
    } catch { #expect(error.code == .tooLong) }
  }

  @Test("accepts what RFC 8259 allows")
  func accepts() throws {
    #expect(try JSONValue(parsing: " \t\r\n[ 1 , 2 ] \n") == [1, 2])
    #expect(try JSONValue(parsing: "{}") == [:])
    #expect(try JSONValue(parsing: #""\u0041\/\b\f\n\r\t\"\\\ud83d\ude00""#) == "A/\u{8}\u{C}\n\r\t\"\\\u{1F600}")
    #expect(try JSONValue(parsing: "\"\u{7F}\u{80}\u{10FFFF}\"").string == "\u{7F}\u{80}\u{10FFFF}")
    #expect(try JSONValue(parsing: "9007199254740991").integer == 9_007_199_254_740_991)
    #expect(try JSONValue(parsing: "9007199254740992").integer == nil)
    #expect(try JSONValue(parsing: "1.0").integer == nil)
    #expect(try JSONValue(parsing: "1e2").integer == nil)
    #expect(try JSONValue(parsing: "-0").integer == nil)
    #expect(try JSONValue(parsing: "-1").integer == -1)
    #expect(try JSONValue(parsing: "true").bool == true)
    #expect(try JSONValue(parsing: "null") == .null)
  }

  @Test("names are code points: canonical equivalents are different names")
  func namesAreCodePoints() throws {
    // U+212A, the Kelvin sign, is canonically the letter K, and Swift's == says so.
    let value = try JSONValue(parsing: "{\"\u{212A}\":1,\"K\":2}")
    #expect(value.object?["K"] == 2)
    #expect(value.object?["\u{212A}"] == 1)
    #expect(try JSONValue(parsing: "{\"\u{212A}\":1}").object?["K"] == nil)
    #expect(JSONValue.string("\u{E9}") != JSONValue.string("e\u{301}"))
    #expect(JSONValue.object(["K": 1]) != JSONValue.object(["\u{212A}": 1]))
    var reader = try ObjectReader(["\u{212A}": 1] as JSONValue, "the test")
    #expect(reader.optional("K") == nil)
    #expect(throws: JSONError.self) { try reader.finish() }
  }
}
