// A strict JSON parser (RFC 8259 within I-JSON, RFC 7493). It exists because Foundation's accepts duplicate members,
// trailing commas and `1.0` as an integer, and because a signature must cover what every reader reads.

/// Why a text is not acceptable JSON, and where.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    init(_ text: String) { description = text }
    /// The grammar is violated.
    public static let syntax = Code("json_syntax")
    /// A name occurs twice in one object.
    public static let duplicateMember = Code("json_duplicate_member")
    /// Arrays and objects are nested too deeply.
    public static let tooDeep = Code("json_too_deep")
    /// The text or a string in it is not well-formed Unicode.
    public static let invalidUnicode = Code("json_invalid_unicode")
    /// A number does not fit a finite IEEE 754 double.
    public static let numberOutOfRange = Code("json_number_out_of_range")
    /// The text is longer than allowed.
    public static let tooLong = Code("json_too_long")
    /// A member is missing, unknown, or of the wrong type or form.
    public static let member = Code("json_member")
  }

  /// The reason.
  public let code: Code
  /// What is wrong, in a sentence.
  public let message: String
  /// Byte offset in the text, where there is one.
  public let offset: Int?

  init(_ code: Code, _ message: String, at offset: Int? = nil) {
    self.code = code
    self.message = message
    self.offset = offset
  }

  /// The message with the offset.
  public var description: String { offset.map { "\(message) (at byte \($0))" } ?? message }

  /// Errors are equal when their codes are.
  public static func == (a: JSONError, b: JSONError) -> Bool { a.code == b.code }
}

extension JSONValue {
  /// Parses one JSON text.
  /// - Parameters:
  ///   - bytes: the text in UTF-8, without byte-order mark.
  ///   - maximumDepth: how deeply arrays and objects may nest.
  ///   - maximumBytes: how long the text may be.
  public init(parsing bytes: [UInt8], maximumDepth: Int = 64, maximumBytes: Int = 1 << 20) throws(JSONError) {
    guard bytes.count <= maximumBytes else {
      throw JSONError(.tooLong, "the JSON text is longer than \(maximumBytes) bytes")
    }
    var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
    self = try parser.document()
  }

  /// Parses one JSON text.
  public init(parsing text: String, maximumDepth: Int = 64) throws(JSONError) {
    try self.init(parsing: Array(text.utf8), maximumDepth: maximumDepth)
  }
}

struct JSONParser {
  let bytes: [UInt8]
  let maximumDepth: Int
  private var at = 0
  private var depth = 0

  init(bytes: [UInt8], maximumDepth: Int) {
    self.bytes = bytes
    self.maximumDepth = maximumDepth
  }

  mutating func document() throws(JSONError) -> JSONValue {
    skipSpace()
    let value = try self.value()
    skipSpace()
    guard at == bytes.count else { throw syntax("text follows the JSON value") }
    return value
  }

  private func syntax(_ message: String) -> JSONError { JSONError(.syntax, message, at: at) }

  private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func skipSpace() {
    while at < bytes.count {
      switch bytes[at] {
      case 0x20, 0x09, 0x0A, 0x0D: at += 1
      default: return
      }
    }
  }

  private mutating func value() throws(JSONError) -> JSONValue {
    switch next {
    case UInt8(ascii: "{"): return try nested { (parser) throws(JSONError) in try parser.object() }
    case UInt8(ascii: "["): return try nested { (parser) throws(JSONError) in try parser.array() }
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case nil: throw syntax("the JSON text ends too early")
    case .some(let byte) where byte == UInt8(ascii: "-") || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")):
      return try number()
    default: throw syntax("a JSON value was expected")
    }
  }

  private mutating func nested(
    _ body: (inout JSONParser) throws(JSONError) -> JSONValue
  ) throws(JSONError) -> JSONValue {
    depth += 1
    guard depth <= maximumDepth else {
      throw JSONError(.tooDeep, "the JSON text nests deeper than \(maximumDepth)", at: at)
    }
    let value = try body(&self)
    depth -= 1
    return value
  }

  private mutating func literal(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    for character in "\(word)".utf8 {
      guard next == character else { throw syntax("a JSON value was expected") }
      at += 1
    }
    return value
  }

  private mutating func array() throws(JSONError) -> JSONValue {
    at += 1
    var values: [JSONValue] = []
    skipSpace()
    if next == UInt8(ascii: "]") {
      at += 1
      return .array(values)
    }
    while true {
      skipSpace()
      values.append(try value())
      skipSpace()
      switch next {
      case UInt8(ascii: ","): at += 1
      case UInt8(ascii: "]"):
        at += 1
        return .array(values)
      default: throw syntax("',' or ']' was expected")
      }
    }
  }

  private mutating func object() throws(JSONError) -> JSONValue {
    at += 1
    var members: [JSONObject.Member] = []
    var names: Set<String> = []
    skipSpace()
    if next == UInt8(ascii: "}") {
      at += 1
      return .object(JSONObject())
    }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw syntax("a member name was expected") }
      let start = at
      let name = try string()
      // Swift compares strings by canonical equivalence; JSON names are code points, so compare their UTF-8.
      let fresh = members.count < 8 ? !members.contains { $0.name.isSame(as: name) } : true
      if members.count == 8 { names = Set(members.map { Hex.encode($0.name.utf8) }) }
      guard fresh, members.count < 8 || names.insert(Hex.encode(name.utf8)).inserted else {
        throw JSONError(.duplicateMember, "a member name occurs twice in one object", at: start)
      }
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw syntax("':' was expected") }
      at += 1
      skipSpace()
      members.append(JSONObject.Member(name: name, value: try value()))
      skipSpace()
      switch next {
      case UInt8(ascii: ","): at += 1
      case UInt8(ascii: "}"):
        at += 1
        return .object(JSONObject(unique: members))
      default: throw syntax("',' or '}' was expected")
      }
    }
  }

  private mutating func string() throws(JSONError) -> String {
    at += 1
    let start = at
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { at += 1 }
    if next == UInt8(ascii: "\"") {
      let text = String(validating: bytes[start..<at], as: UTF8.self)
      at += 1
      guard let text else { throw JSONError(.invalidUnicode, "a string is not valid UTF-8", at: start) }
      return text
    }
    var out = Array(bytes[start..<at])
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        at += 1
        guard let text = String(validating: out, as: UTF8.self) else {
          throw JSONError(.invalidUnicode, "a string is not valid UTF-8", at: start)
        }
        return text
      case UInt8(ascii: "\\"):
        at += 1
        try escape(into: &out)
      case 0..<0x20: throw syntax("a control character stands unescaped in a string")
      default:
        out.append(byte)
        at += 1
      }
    }
    throw syntax("a string does not end")
  }

  private mutating func escape(into out: inout [UInt8]) throws(JSONError) {
    guard let character = next else { throw syntax("a string does not end") }
    at += 1
    switch character {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(character)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "u"):
      let unit = try codeUnit()
      var scalar = UInt32(unit)
      if (0xD800..<0xDC00).contains(unit) {
        guard next == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") else {
          throw JSONError(.invalidUnicode, "a surrogate stands alone", at: at)
        }
        at += 2
        let low = try codeUnit()
        guard (0xDC00..<0xE000).contains(low) else {
          throw JSONError(.invalidUnicode, "a surrogate stands alone", at: at)
        }
        scalar = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
      }
      guard let value = Unicode.Scalar(scalar) else {
        throw JSONError(.invalidUnicode, "a surrogate stands alone", at: at)
      }
      out.append(contentsOf: UTF8.encode(value) ?? .init())
    default: throw syntax("an unknown escape stands in a string")
    }
  }

  private mutating func codeUnit() throws(JSONError) -> UInt16 {
    var unit: UInt16 = 0
    for _ in 0..<4 {
      let digit: UInt8
      switch next {
      case .some(let c) where c >= UInt8(ascii: "0") && c <= UInt8(ascii: "9"): digit = c - UInt8(ascii: "0")
      case .some(let c) where c >= UInt8(ascii: "a") && c <= UInt8(ascii: "f"): digit = c - UInt8(ascii: "a") + 10
      case .some(let c) where c >= UInt8(ascii: "A") && c <= UInt8(ascii: "F"): digit = c - UInt8(ascii: "A") + 10
      default: throw syntax("four hexadecimal digits were expected")
      }
      unit = unit << 4 | UInt16(digit)
      at += 1
    }
    return unit
  }

  private mutating func digits() throws(JSONError) {
    let start = at
    while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at += 1 }
    guard at > start else { throw syntax("a digit was expected") }
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = at
    if next == UInt8(ascii: "-") { at += 1 }
    let first = at
    try digits()
    guard bytes[first] != UInt8(ascii: "0") || at == first + 1 else { throw syntax("a number has a leading zero") }
    var plain = true
    if next == UInt8(ascii: ".") {
      plain = false
      at += 1
      try digits()
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      plain = false
      at += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
      try digits()
    }
    let text = String(decoding: bytes[start..<at], as: UTF8.self)
    // "-0" is a double, since no integer keeps its sign.
    if plain, text != "-0", let value = Int64(text), value.magnitude <= UInt64(JSONValue.greatestInteger) {
      return .integer(value)
    }
    guard let value = Double(text), value.isFinite else {
      throw JSONError(.numberOutOfRange, "a number does not fit a finite IEEE 754 double", at: start)
    }
    return .double(value)
  }
}
