// RFC 9651 section 4.1. Appends to bytes, because what is serialised here becomes part of a signature base.

import Wire

extension StructuredField {
  /// Appends the strict text of a member.
  static func write(_ member: Member, to out: inout [UInt8]) {
    switch member {
    case .item(let item): write(item, to: &out)
    case .innerList(let list): write(list, to: &out)
    }
  }

  static func write(_ list: InnerList, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "("))
    for (index, item) in list.items.enumerated() {
      if index > 0 { out.append(0x20) }
      write(item, to: &out)
    }
    out.append(UInt8(ascii: ")"))
    write(list.parameters, to: &out)
  }

  static func write(_ item: Item, to out: inout [UInt8]) {
    write(item.value, to: &out)
    write(item.parameters, to: &out)
  }

  static func write(_ parameters: Parameters, to out: inout [UInt8]) {
    for parameter in parameters.list {
      out.append(UInt8(ascii: ";"))
      out.append(contentsOf: parameter.key.utf8)
      if case .boolean(true) = parameter.value { continue }
      out.append(UInt8(ascii: "="))
      write(parameter.value, to: &out)
    }
  }

  static func write(_ value: BareItem, to out: inout [UInt8]) {
    switch value {
    case .integer(let number): out.append(contentsOf: String(number).utf8)
    case .decimal(let thousandths): write(decimal: thousandths, to: &out)
    case .string(let text):
      out.append(UInt8(ascii: "\""))
      for byte in text.utf8 {
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { out.append(UInt8(ascii: "\\")) }
        out.append(byte)
      }
      out.append(UInt8(ascii: "\""))
    case .token(let text): out.append(contentsOf: text.utf8)
    case .bytes(let bytes):
      out.append(UInt8(ascii: ":"))
      out.append(contentsOf: Base64.encode(bytes).utf8)
      out.append(UInt8(ascii: ":"))
    case .boolean(let value): out.append(contentsOf: (value ? "?1" : "?0").utf8)
    case .date(let seconds): out.append(contentsOf: "@\(seconds)".utf8)
    case .displayString(let text):
      out.append(contentsOf: "%\"".utf8)
      for byte in text.utf8 {
        if byte == UInt8(ascii: "%") || byte == UInt8(ascii: "\"") || byte < 0x20 || byte >= 0x7F {
          out.append(UInt8(ascii: "%"))
          out.append(contentsOf: Hex.encode([byte]).utf8)
        } else {
          out.append(byte)
        }
      }
      out.append(UInt8(ascii: "\""))
    }
  }

  /// At least one digit after the point, and no zeros that say nothing.
  private static func write(decimal thousandths: Int64, to out: inout [UInt8]) {
    if thousandths < 0 { out.append(UInt8(ascii: "-")) }
    let magnitude = thousandths.magnitude
    out.append(contentsOf: String(magnitude / 1000).utf8)
    out.append(UInt8(ascii: "."))
    var fraction = String(magnitude % 1000 + 1000).dropFirst()
    while fraction.count > 1, fraction.last == "0" { fraction.removeLast() }
    out.append(contentsOf: fraction.utf8)
  }

  /// The strict text of a list.
  static func serialize(_ list: [Member]) -> String {
    var out: [UInt8] = []
    for (index, member) in list.enumerated() {
      if index > 0 { out.append(contentsOf: ", ".utf8) }
      write(member, to: &out)
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The strict text of a dictionary.
  static func serialize(_ dictionary: Dictionary) -> String {
    var out: [UInt8] = []
    for (index, entry) in dictionary.entries.enumerated() {
      if index > 0 { out.append(contentsOf: ", ".utf8) }
      out.append(contentsOf: entry.key.utf8)
      if case .item(let item) = entry.value, item.value == .boolean(true) {
        write(item.parameters, to: &out)
      } else {
        out.append(UInt8(ascii: "="))
        write(entry.value, to: &out)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The strict text of an item.
  static func serialize(_ item: Item) -> String {
    var out: [UInt8] = []
    write(item, to: &out)
    return String(decoding: out, as: UTF8.self)
  }
}
