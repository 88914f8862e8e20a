import Wire

extension SPIFFEBundle {
  /// `spiffe_sequence`, which section 4.1.1 wants with 64 bits of precision: the parser keeps 53, so a greater number is
  /// read from the text.
  static func sequence(_ value: JSONValue, _ text: [UInt8]) throws(SPIFFEError) -> UInt64 {
    switch value {
    case .integer(let number) where number >= 0: return UInt64(number)
    case .double: if let number = sequence(in: text) { return number }
    default: break
    }
    throw SPIFFEError(.bundle, "'spiffe_sequence' must be an integer from 0 to 2^64 - 1")
  }

  /// The whole number that stands for the member in a text that the parser took.
  private static func sequence(in text: [UInt8]) -> UInt64? {
    let name = Array("\"spiffe_sequence\"".utf8)
    var (at, depth) = (0, 0)
    while at < text.count {
      let start = at
      switch text[at] {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "\""):
        at += 1
        while text[at] != UInt8(ascii: "\"") { at += text[at] == UInt8(ascii: "\\") ? 2 : 1 }
        // After a value that has the name's text no colon follows, and so no digit.
        if depth == 1, text[start...at].elementsEqual(name) {
          let rest = text[(at + 1)...].drop { " \t\r\n:".utf8.contains($0) }
          let number = rest.prefix { !" \t\r\n,}".utf8.contains($0) }
          if let value = UInt64(String(decoding: number, as: UTF8.self)) { return value }
        }
      default: break
      }
      at += 1
    }
    return nil
  }
}
