// JSON Canonicalization Scheme (RFC 8785): the only form in which this project writes JSON, so that what is hashed,
// signed, stored and sent is one text.

extension JSONValue {
  /// The canonical text in UTF-8.
  public func canonical() -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(256)
    write(to: &out)
    return out
  }

  private func write(to out: inout [UInt8]) {
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): out.append(contentsOf: String(value).utf8)
    case .double(let value): out.append(contentsOf: Self.text(of: value).utf8)
    case .string(let text): Self.write(text, to: &out)
    case .array(let values):
      out.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        value.write(to: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let object):
      out.append(UInt8(ascii: "{"))
      // Section 3.2.3: names sort by UTF-16 code units.
      let members = object.members.sorted { Self.precedes($0.name, $1.name) }
      for (index, member) in members.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        Self.write(member.name, to: &out)
        out.append(UInt8(ascii: ":"))
        member.value.write(to: &out)
      }
      out.append(UInt8(ascii: "}"))
    }
  }

  /// The order of UTF-16 code units, told from UTF-8: it differs only in that surrogates, which UTF-8 writes with a lead
  /// byte from 0xF0 on, come before U+E000 to U+FFFF, whose lead bytes are 0xEE and 0xEF.
  private static func precedes(_ a: String, _ b: String) -> Bool {
    func rank(_ byte: UInt8) -> UInt8 { byte >= 0xF0 ? byte - 2 : byte >= 0xEE ? byte + 8 : byte }
    return a.utf8.lexicographicallyPrecedes(b.utf8) { rank($0) < rank($1) }
  }

  private static func write(_ text: String, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    defer { out.append(UInt8(ascii: "\"")) }
    guard text.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) else {
      return out.append(contentsOf: text.utf8)
    }
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): out.append(contentsOf: "\\\"".utf8)
      case UInt8(ascii: "\\"): out.append(contentsOf: "\\\\".utf8)
      case 0x08: out.append(contentsOf: "\\b".utf8)
      case 0x09: out.append(contentsOf: "\\t".utf8)
      case 0x0A: out.append(contentsOf: "\\n".utf8)
      case 0x0C: out.append(contentsOf: "\\f".utf8)
      case 0x0D: out.append(contentsOf: "\\r".utf8)
      case 0..<0x20: out.append(contentsOf: ("\\u00" + Hex.encode([byte])).utf8)
      default: out.append(byte)
      }
    }
  }

  /// Section 3.2.2.3: numbers as ECMAScript's Number::toString writes them.
  static func text(of value: Double) -> String {
    if value == 0 { return "0" }
    // Swift prints the shortest digits that read back; only their layout differs from ECMAScript's.
    let printed = "\(value.magnitude)"
    let parts = printed.split(separator: "e")
    let mantissa = parts[0].split(separator: ".")
    let whole = String(mantissa[0])
    let fraction = mantissa.count > 1 && mantissa[1] != "0" ? String(mantissa[1]) : ""
    var digits = whole + fraction
    // `point`: where the decimal point stands, counted from the start of `digits`.
    var point = whole.count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
    while digits.hasPrefix("0") {
      digits.removeFirst()
      point -= 1
    }
    while digits.hasSuffix("0") { digits.removeLast() }
    let count = digits.count
    let sign = value < 0 ? "-" : ""
    switch point {
    case count...21 where count <= point: return sign + digits + String(repeating: "0", count: point - count)
    case 1...21: return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    case -5...0: return sign + "0." + String(repeating: "0", count: -point) + digits
    default:
      let exponent = point - 1
      let tail = (exponent < 0 ? "-" : "+") + String(abs(exponent))
      return sign + digits.prefix(1) + (count > 1 ? "." + digits.dropFirst(1) : "") + "e" + tail
    }
  }
}
