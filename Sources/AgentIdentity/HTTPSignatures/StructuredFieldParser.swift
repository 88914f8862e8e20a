// RFC 9651 section 4.2, one function a production.

import Wire

struct StructuredFieldParser {
  typealias Invalid = StructuredField.Invalid
  private let bytes: [UInt8]
  private var at = 0
  private var sawDuplicate = false

  init(_ bytes: [UInt8]) throws(Invalid) {
    guard bytes.count <= StructuredField.maximumBytes else {
      throw Invalid(reason: "longer than \(StructuredField.maximumBytes) bytes")
    }
    self.bytes = bytes
  }

  /// Section 4.2: spaces around the value, and nothing behind it.
  mutating func whole<T>(_ body: (inout StructuredFieldParser) throws(Invalid) -> T) throws(Invalid) -> T {
    skipSpaces()
    let value = try body(&self)
    skipSpaces()
    guard at == bytes.count else { throw Invalid(reason: "text follows the value") }
    return value
  }

  private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func skipSpaces() {
    while at < bytes.count, bytes[at] == 0x20 { at += 1 }
  }

  private mutating func skipOptionalWhitespace() {
    while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 { at += 1 }
  }

  private mutating func take(_ character: UInt8) -> Bool {
    guard at < bytes.count, bytes[at] == character else { return false }
    at += 1
    return true
  }

  // MARK: Structures

  mutating func list() throws(Invalid) -> [StructuredField.Member] {
    var members: [StructuredField.Member] = []
    guard next != nil else { return members }
    repeat { members.append(try member()) } while try separator()
    return members
  }

  mutating func dictionary() throws(Invalid) -> StructuredField.Dictionary {
    var dictionary = StructuredField.Dictionary()
    guard next != nil else { return dictionary }
    // Where each key stands, so that a long field costs no more than its length.
    var places: [String: Int] = [:]
    repeat {
      let key = try self.key()
      let value: StructuredField.Member =
        take(UInt8(ascii: "="))
        ? try member() : .item(StructuredField.Item(.boolean(true), try parameters()))
      if let place = places[key] {
        dictionary.entries[place].value = value
        sawDuplicate = true
      } else {
        places[key] = dictionary.entries.count
        dictionary.entries.append(StructuredField.Dictionary.Entry(key: key, value: value))
      }
    } while try separator()
    dictionary.hasDuplicates = sawDuplicate
    return dictionary
  }

  /// A comma with optional white space, after which another member must follow; false at the end.
  private mutating func separator() throws(Invalid) -> Bool {
    skipOptionalWhitespace()
    guard next != nil else { return false }
    guard take(UInt8(ascii: ",")) else { throw Invalid(reason: "a comma was expected") }
    skipOptionalWhitespace()
    guard next != nil else { throw Invalid(reason: "it ends with a comma") }
    return true
  }

  private mutating func member() throws(Invalid) -> StructuredField.Member {
    guard take(UInt8(ascii: "(")) else { return .item(try item()) }
    var items: [StructuredField.Item] = []
    while true {
      skipSpaces()
      if take(UInt8(ascii: ")")) {
        return .innerList(StructuredField.InnerList(items, try parameters()))
      }
      items.append(try item())
      guard next == 0x20 || next == UInt8(ascii: ")") else {
        throw Invalid(reason: "an inner list does not end, or its items are not parted by spaces")
      }
    }
  }

  mutating func item() throws(Invalid) -> StructuredField.Item {
    StructuredField.Item(try bareItem(), try parameters())
  }

  private mutating func parameters() throws(Invalid) -> StructuredField.Parameters {
    var parameters = StructuredField.Parameters()
    while take(UInt8(ascii: ";")) {
      skipSpaces()
      let key = try self.key()
      let value = take(UInt8(ascii: "=")) ? try bareItem() : .boolean(true)
      if !parameters.set(key, value) { sawDuplicate = true }
      // Parameters are searched in order; more than these would make that slow, and nobody sends them.
      guard parameters.list.count <= 256 else { throw Invalid(reason: "more than 256 parameters") }
    }
    return parameters
  }

  private mutating func key() throws(Invalid) -> String {
    let start = at
    guard let first = next, first == UInt8(ascii: "*") || Self.isLowercase(first) else {
      throw Invalid(reason: "a key was expected")
    }
    while let byte = next {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "*"):
        at += 1
      default: return text(from: start)
      }
    }
    return text(from: start)
  }

  // MARK: Values

  private mutating func bareItem() throws(Invalid) -> StructuredField.BareItem {
    switch next {
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: ":"): return .bytes(try byteSequence())
    case UInt8(ascii: "?"):
      at += 1
      if take(UInt8(ascii: "1")) { return .boolean(true) }
      if take(UInt8(ascii: "0")) { return .boolean(false) }
      throw Invalid(reason: "a boolean is ?0 or ?1")
    case UInt8(ascii: "@"):
      at += 1
      guard case .integer(let seconds) = try number() else { throw Invalid(reason: "a date has no fraction") }
      return .date(seconds)
    case UInt8(ascii: "%"): return .displayString(try displayString())
    case .some(let byte) where byte == UInt8(ascii: "-") || Self.isDigit(byte): return try number()
    case .some(let byte) where byte == UInt8(ascii: "*") || Self.isLowercase(byte | 0x20): return .token(token())
    default: throw Invalid(reason: "a value was expected")
    }
  }

  private mutating func number() throws(Invalid) -> StructuredField.BareItem {
    let negative = take(UInt8(ascii: "-"))
    let start = at
    var value: Int64 = 0
    while let byte = next, Self.isDigit(byte) {
      guard at - start < 15 else { throw Invalid(reason: "a number is too long") }
      value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      at += 1
    }
    let digits = at - start
    guard digits > 0 else { throw Invalid(reason: "a digit was expected") }
    guard take(UInt8(ascii: ".")) else { return .integer(negative ? -value : value) }
    guard digits <= 12 else { throw Invalid(reason: "a number is too long") }
    let fraction = at
    while let byte = next, Self.isDigit(byte) {
      guard at - fraction < 3 else { throw Invalid(reason: "a fraction is too long") }
      value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      at += 1
    }
    guard at > fraction else { throw Invalid(reason: "a digit was expected") }
    for _ in at - fraction..<3 { value *= 10 }
    return .decimal(thousandths: negative ? -value : value)
  }

  private mutating func string() throws(Invalid) -> String {
    at += 1
    let start = at
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20, byte < 0x7F { at += 1 }
    if next == UInt8(ascii: "\"") {
      defer { at += 1 }
      return text(from: start)
    }
    var out = Array(bytes[start..<at])
    while let byte = next, byte >= 0x20, byte < 0x7F {
      at += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: out, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let escaped = next, escaped == UInt8(ascii: "\"") || escaped == UInt8(ascii: "\\") else {
          throw Invalid(reason: "only quote and backslash may be escaped")
        }
        out.append(escaped)
        at += 1
      default: out.append(byte)
      }
    }
    throw Invalid(reason: "a string does not end, or holds what is not printable ASCII")
  }

  private mutating func token() -> String {
    let start = at
    at += 1
    while let byte = next, Self.isTokenCharacter(byte) { at += 1 }
    return text(from: start)
  }

  private mutating func byteSequence() throws(Invalid) -> [UInt8] {
    at += 1
    let start = at
    while let byte = next, byte != UInt8(ascii: ":") { at += 1 }
    guard next != nil, let decoded = try? Base64.decode(text(from: start)) else {
      throw Invalid(reason: "a byte sequence is canonical base64 between colons")
    }
    at += 1
    return decoded
  }

  private mutating func displayString() throws(Invalid) -> String {
    at += 1
    guard take(UInt8(ascii: "\"")) else { throw Invalid(reason: "a quote was expected") }
    var out: [UInt8] = []
    while let byte = next, byte >= 0x20, byte < 0x7F {
      at += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: out, as: UTF8.self) else {
          throw Invalid(reason: "a display string is not UTF-8")
        }
        return text
      case UInt8(ascii: "%"):
        guard at + 2 <= bytes.count,
          let octet = Hex.decode(String(decoding: bytes[at..<at + 2], as: UTF8.self))?.first
        else { throw Invalid(reason: "two lower-case hexadecimal digits were expected") }
        out.append(octet)
        at += 2
      default: out.append(byte)
      }
    }
    throw Invalid(reason: "a display string does not end")
  }

  // MARK: Characters

  private func text(from start: Int) -> String { String(decoding: bytes[start..<at], as: UTF8.self) }

  private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

  private static func isLowercase(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") }

  /// RFC 9110's `tchar`, colon and slash.
  static func isTokenCharacter(_ byte: UInt8) -> Bool {
    if isDigit(byte) || isLowercase(byte | 0x20) { return true }
    switch byte {
    case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
      UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
      UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"),
      UInt8(ascii: ":"), UInt8(ascii: "/"):
      return true
    default: return false
    }
  }
}
