// A strict CBOR decoder: of the encodings that RFC 8949 allows for a value it takes one, so that nobody can vary what
// was signed or hashed. Only the order of map entries is free, since section 4.2.1's order and CTAP2's differ.

extension CBOR {
  /// What a decoder takes at most.
  public struct Limits: Sendable {
    /// How long the item may be, in bytes.
    public let bytes: Int
    /// How many data items it may hold, itself included.
    public let items: Int
    /// How deeply arrays and maps may nest: an item that is neither has depth 0.
    public let depth: Int

    /// Sets the limits; `depth` is held to 16, since the decoder calls itself.
    public init(bytes: Int = 1 << 16, items: Int = 1 << 10, depth: Int = 16) {
      self.bytes = bytes
      self.items = items
      self.depth = min(depth, 16)
    }
  }

  /// Decodes one item that takes up all bytes.
  /// - Throws: ``COSEError`` with one of the codes `cbor_…`.
  public init(decoding bytes: [UInt8], limits: Limits = Limits()) throws(COSEError) {
    let (item, count) = try Self.first(in: bytes[...], limits: limits)
    guard count == bytes.count else {
      throw COSEError(.trailing, "bytes follow the CBOR item; send it alone", at: count)
    }
    self = item
  }

  /// Decodes the item at the front of a buffer.
  /// - Parameters:
  ///   - bytes: starts with the item; what follows it is not looked at.
  ///   - limits: the most that the item may take.
  /// - Returns: the item and how many bytes it takes.
  public static func first(
    in bytes: ArraySlice<UInt8>, limits: Limits = Limits()
  ) throws(COSEError) -> (item: CBOR, count: Int) {
    var decoder = CBORDecoder(bytes: bytes, limits: limits)
    let item = try decoder.item(depth: 0)
    return (item, decoder.at - bytes.startIndex)
  }
}

private struct CBORDecoder {
  /// Held to the limit, so that no length can reach beyond it.
  let bytes: ArraySlice<UInt8>
  let isCut: Bool
  let limits: CBOR.Limits
  var at: Int
  private var items = 0

  init(bytes: ArraySlice<UInt8>, limits: CBOR.Limits) {
    self.bytes = bytes.prefix(limits.bytes)
    isCut = bytes.count > limits.bytes
    self.limits = limits
    at = bytes.startIndex
  }

  private func error(_ code: COSEError.Code, _ message: String) -> COSEError {
    COSEError(code, message, at: at - bytes.startIndex)
  }

  private func tooLarge() -> COSEError {
    error(.tooLarge, "the CBOR item is longer than \(limits.bytes) bytes or holds more than \(limits.items) items")
  }

  /// The next bytes, of which the input must hold `count`.
  private mutating func take(_ count: UInt64) throws(COSEError) -> ArraySlice<UInt8> {
    guard count <= UInt64(bytes.endIndex - at) else {
      throw isCut ? tooLarge() : error(.malformed, "the CBOR ends too early")
    }
    defer { at += Int(count) }
    return bytes[at..<at + Int(count)]
  }

  /// Reads the initial byte and the argument (RFC 8949 section 3).
  private mutating func head() throws(COSEError) -> (major: UInt8, info: UInt8, argument: UInt64) {
    let initial = try take(1)[at - 1]
    let (major, info) = (initial >> 5, initial & 0x1F)
    switch info {
    case 0..<24: return (major, info, UInt64(info))
    case 24...27:
      let size = UInt64(1) << UInt64(info - 24)
      let argument = try take(size).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      // Section 3.3: what follows major type 7 is a float or a simple value, not a number that could be shorter.
      let smallest: UInt64 = info == 24 ? 24 : 1 << (4 * size)
      guard major == 7 || argument >= smallest else {
        throw error(.notMinimal, "a CBOR integer or length is longer than need be; encode it in the shortest form")
      }
      return (major, info, argument)
    case 31 where (2...5).contains(major) || major == 7:
      throw error(.indefinite, "the CBOR has an indefinite length; state each length")
    default: throw error(.malformed, "the CBOR has a reserved initial byte")
    }
  }

  mutating func item(depth: Int) throws(COSEError) -> CBOR {
    items += 1
    guard items <= limits.items else { throw tooLarge() }
    let (major, info, argument) = try head()
    switch major {
    case 0: return .unsigned(argument)
    case 1: return .negative(argument)
    case 2: return .bytes(Array(try take(argument)))
    case 3:
      guard let text = String(validating: try take(argument), as: UTF8.self) else {
        throw error(.invalidUTF8, "a CBOR text is not well-formed UTF-8")
      }
      return .text(text)
    case 4: return .array(try array(count: argument, depth: depth + 1))
    case 5: return .map(try map(count: argument, depth: depth + 1))
    case 7:
      switch info {
      case 20: return .bool(false)
      case 21: return .bool(true)
      case 22: return .null
      case 23: return .undefined
      case 24 where argument < 32: throw error(.malformed, "a CBOR simple value below 32 is written in two bytes")
      default: throw error(.unsupported, "the CBOR has a float or an unassigned simple value, which is not read here")
      }
    default: throw error(.unsupported, "the CBOR has a tag, which is not read here")
    }
  }

  /// Refuses counts beyond the limits before anything is read or reserved: each item takes a byte at least.
  private func enter(_ count: UInt64, perEntry: UInt64, depth: Int) throws(COSEError) {
    guard depth <= limits.depth else { throw error(.tooDeep, "the CBOR nests deeper than \(limits.depth)") }
    guard count <= UInt64(max(0, limits.items - items)) / perEntry else { throw tooLarge() }
    guard count * perEntry <= UInt64(bytes.endIndex - at) else {
      throw isCut ? tooLarge() : error(.malformed, "the CBOR ends too early")
    }
  }

  private mutating func array(count: UInt64, depth: Int) throws(COSEError) -> [CBOR] {
    try enter(count, perEntry: 1, depth: depth)
    var elements: [CBOR] = []
    elements.reserveCapacity(Int(count))
    for _ in 0..<count { elements.append(try item(depth: depth)) }
    return elements
  }

  private mutating func map(count: UInt64, depth: Int) throws(COSEError) -> CBORMap {
    try enter(count, perEntry: 2, depth: depth)
    var entries: [CBORMap.Entry] = []
    entries.reserveCapacity(Int(count))
    // By canonical encoding: as a key, a map is the same map in whatever order it came.
    var keys: Set<[UInt8]> = []
    // Among few keys a look at each is quicker than a set.
    let isSmall = count <= 8
    for _ in 0..<count {
      let key = try item(depth: depth)
      guard isSmall ? !entries.contains(where: { $0.key == key }) : keys.insert(key.encoded).inserted else {
        throw error(.duplicateKey, "a CBOR map has a key twice; send each once")
      }
      entries.append(CBORMap.Entry(key: key, value: try item(depth: depth)))
    }
    return CBORMap(unique: entries)
  }
}
