/// A CBOR data item (RFC 8949) of the subset that CTAP2's canonical form allows: definite lengths, no tags, no floats.
public enum CBOR: Sendable {
  /// Major type 0.
  case unsigned(UInt64)
  /// Major type 1: the value −1 − n.
  case negative(UInt64)
  /// Major type 2.
  case bytes([UInt8])
  /// Major type 3.
  case text(String)
  /// Major type 4.
  case array([CBOR])
  /// Major type 5.
  case map(CBORMap)
  /// Simple values 20 and 21.
  case bool(Bool)
  /// Simple value 22.
  case null
  /// Simple value 23.
  case undefined

  /// An integer.
  public init(_ value: Int) {
    self = value >= 0 ? .unsigned(UInt64(value)) : .negative(UInt64(bitPattern: Int64(~value)))
  }

  /// The integer, if this is one and fits.
  public var integer: Int? {
    switch self {
    case .unsigned(let value): Int(exactly: value)
    case .negative(let value): Int(exactly: value).map { ~$0 }
    default: nil
    }
  }
  /// The byte string, if this is one.
  public var bytes: [UInt8]? { if case .bytes(let bytes) = self { bytes } else { nil } }
  /// The text, if this is one.
  public var text: String? { if case .text(let text) = self { text } else { nil } }
  /// The elements, if this is an array.
  public var array: [CBOR]? { if case .array(let items) = self { items } else { nil } }
  /// The map, if this is one.
  public var map: CBORMap? { if case .map(let map) = self { map } else { nil } }
}

/// A CBOR map: entries in the order received.
public struct CBORMap: Sendable, Equatable, Sequence, ExpressibleByDictionaryLiteral {
  /// A key with its value.
  public struct Entry: Sendable, Equatable {
    /// The key.
    public let key: CBOR
    /// The value.
    public var value: CBOR
  }

  /// The entries, in order.
  public private(set) var entries: [Entry]

  /// A map of the given entries; a key that is given twice keeps its first place and its last value.
  public init(dictionaryLiteral elements: (CBOR, CBOR)...) {
    entries = []
    for (key, value) in elements { self[key] = value }
  }

  /// A map of entries whose keys the decoder found to be unique.
  init(unique entries: [Entry]) { self.entries = entries }

  /// The number of entries.
  public var count: Int { entries.count }

  /// The value of a key; setting nil removes the entry.
  public subscript(key: CBOR) -> CBOR? {
    get { entries.first { $0.key == key }?.value }
    set {
      let index = entries.firstIndex { $0.key == key }
      switch (index, newValue) {
      case (let index?, let value?): entries[index].value = value
      case (let index?, nil): entries.remove(at: index)
      case (nil, let value?): entries.append(Entry(key: key, value: value))
      case (nil, nil): break
      }
    }
  }

  /// Iterates over the entries, in order.
  public func makeIterator() -> IndexingIterator<[Entry]> { entries.makeIterator() }

  /// Maps are equal when their canonical encodings are: in any order.
  public static func == (a: CBORMap, b: CBORMap) -> Bool {
    a.count == b.count && CBOR.map(a).encoded == CBOR.map(b).encoded
  }
}

extension CBOR: Equatable {
  /// Items are equal when their canonical encodings are; texts therefore by code points, not as Swift compares them.
  public static func == (a: CBOR, b: CBOR) -> Bool {
    switch (a, b) {
    case (.unsigned(let a), .unsigned(let b)), (.negative(let a), .negative(let b)): a == b
    case (.bytes(let a), .bytes(let b)): a == b
    case (.text(let a), .text(let b)): a.utf8.elementsEqual(b.utf8)
    case (.array(let a), .array(let b)): a == b
    case (.map(let a), .map(let b)): a == b
    case (.bool(let a), .bool(let b)): a == b
    case (.null, .null), (.undefined, .undefined): true
    default: false
    }
  }
}

extension CBOR: ExpressibleByIntegerLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral, ExpressibleByBooleanLiteral
{
  /// An integer.
  public init(integerLiteral value: Int) { self.init(value) }
  /// A text.
  public init(stringLiteral value: String) { self = .text(value) }
  /// An array.
  public init(arrayLiteral elements: CBOR...) { self = .array(elements) }
  /// A map; of a key given twice the last value counts.
  public init(dictionaryLiteral elements: (CBOR, CBOR)...) {
    var map: CBORMap = [:]
    for (key, value) in elements { map[key] = value }
    self = .map(map)
  }
  /// A truth value.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
}

extension CBOR {
  /// The one encoding that CTAP2 section 8 ("Message Encoding") calls canonical: heads as short as can be, map keys
  /// sorted by major type, then by length, then by bytes.
  public var encoded: [UInt8] {
    var out: [UInt8] = []
    write(to: &out)
    return out
  }

  private func write(to out: inout [UInt8]) {
    switch self {
    case .unsigned(let value): Self.writeHead(0, value, to: &out)
    case .negative(let value): Self.writeHead(1, value, to: &out)
    case .bytes(let bytes):
      Self.writeHead(2, UInt64(bytes.count), to: &out)
      out.append(contentsOf: bytes)
    case .text(let text):
      Self.writeHead(3, UInt64(text.utf8.count), to: &out)
      out.append(contentsOf: text.utf8)
    case .array(let items):
      Self.writeHead(4, UInt64(items.count), to: &out)
      for item in items { item.write(to: &out) }
    case .map(let map):
      Self.writeHead(5, UInt64(map.count), to: &out)
      let entries = map.map { (key: $0.key.encoded, value: $0.value) }
      for entry in entries.sorted(by: { Self.precedes($0.key, $1.key) }) {
        out.append(contentsOf: entry.key)
        entry.value.write(to: &out)
      }
    case .bool(let value): out.append(value ? 0xF5 : 0xF4)
    case .null: out.append(0xF6)
    case .undefined: out.append(0xF7)
    }
  }

  private static func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    let (majorA, majorB) = ((a.first ?? 0) >> 5, (b.first ?? 0) >> 5)
    if majorA != majorB { return majorA < majorB }
    return a.count != b.count ? a.count < b.count : a.lexicographicallyPrecedes(b)
  }

  private static func writeHead(_ major: UInt8, _ value: UInt64, to out: inout [UInt8]) {
    let (code, size): (UInt8, Int) =
      switch value {
      case 0..<24: (UInt8(value), 0)
      case 24...0xFF: (24, 1)
      case 0x100...0xFFFF: (25, 2)
      case 0x1_0000...0xFFFF_FFFF: (26, 4)
      default: (27, 8)
      }
    out.append(major << 5 | code)
    for index in 0..<size { out.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * (size - 1 - index)))) }
  }
}
