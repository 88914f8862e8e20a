/// Base64 (RFC 4648), strict: only canonical encodings decode, so that each byte string has one text.
public enum Base64 {
  /// Why a text is not canonical base64.
  public struct Invalid: Error, Equatable, Sendable, CustomStringConvertible {
    /// A sentence for the person who sent the text.
    public var description: String { "not canonical base64: check alphabet, padding and trailing bits" }
  }

  static let standardAlphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  static let urlAlphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
  static let standardValues = values(of: standardAlphabet)
  static let urlValues = values(of: urlAlphabet)

  private static func values(of alphabet: [UInt8]) -> [UInt8] {
    var table = [UInt8](repeating: 0xFF, count: 256)
    for (value, character) in alphabet.enumerated() { table[Int(character)] = UInt8(value) }
    return table
  }

  /// The padded text of section 4.
  public static func encode(_ bytes: some Collection<UInt8>) -> String {
    encode(bytes, standardAlphabet, padded: true)
  }

  /// Decodes the padded text of section 4.
  public static func decode(_ text: some StringProtocol) throws(Invalid) -> [UInt8] {
    var characters = Array(text.utf8)
    guard characters.count % 4 == 0 else { throw Invalid() }
    var padding = 0
    while padding < 2, characters.last == UInt8(ascii: "=") {
      characters.removeLast()
      padding += 1
    }
    guard (characters.count + padding) % 4 == 0, padding == (4 - characters.count % 4) % 4 else { throw Invalid() }
    return try decode(characters, standardValues)
  }

  /// The unpadded, URL-safe text of section 5, which JOSE uses.
  public enum URL {
    /// Encodes without padding.
    public static func encode(_ bytes: some Collection<UInt8>) -> String {
      Base64.encode(bytes, urlAlphabet, padded: false)
    }

    /// Decodes; padding is refused.
    public static func decode(_ text: some StringProtocol) throws(Invalid) -> [UInt8] {
      try Base64.decode(Array(text.utf8), urlValues)
    }
  }

  private static func encode(_ bytes: some Collection<UInt8>, _ alphabet: [UInt8], padded: Bool) -> String {
    let bytes = Array(bytes)
    let (source, alphabet) = (bytes.span, alphabet.span)
    return unsafe String(unsafeUninitializedCapacity: (source.count + 2) / 3 * 4) { out in
      var count = 0
      func put(_ group: UInt32, digits: Int) {
        for digit in 0..<digits {
          unsafe out[count + digit] = alphabet[Int(group >> (18 - 6 * UInt32(digit)) & 0x3F)]
        }
        count += digits
      }
      let whole = source.count - source.count % 3
      for index in stride(from: 0, to: whole, by: 3) {
        put(UInt32(source[index]) << 16 | UInt32(source[index + 1]) << 8 | UInt32(source[index + 2]), digits: 4)
      }
      switch source.count - whole {
      case 1: put(UInt32(source[whole]) << 16, digits: 2)
      case 2: put(UInt32(source[whole]) << 16 | UInt32(source[whole + 1]) << 8, digits: 3)
      default: break
      }
      while padded, count % 4 != 0 {
        unsafe out[count] = UInt8(ascii: "=")
        count += 1
      }
      return count
    }
  }

  private static func decode(_ characters: [UInt8], _ values: [UInt8]) throws(Invalid) -> [UInt8] {
    let rest = characters.count % 4
    guard rest != 1 else { throw Invalid() }
    let (source, values) = (characters.span, values.span)
    // A character that is none of the alphabet sets bits that no value has; so do bits left over that are not zero, or
    // two texts would decode to the same bytes.
    var foreign: UInt32 = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: characters.count * 3 / 4) { out, count in
      func value(_ index: Int) -> UInt32 {
        let value = UInt32(values[Int(source[index])])
        foreign |= value & 0xC0
        return value
      }
      func put(_ group: UInt32, bytes: Int) {
        for byte in 0..<bytes {
          unsafe out[count + byte] = UInt8(truncatingIfNeeded: group >> (16 - 8 * UInt32(byte)))
        }
        count += bytes
      }
      let whole = source.count - rest
      for index in stride(from: 0, to: whole, by: 4) {
        put(value(index) << 18 | value(index + 1) << 12 | value(index + 2) << 6 | value(index + 3), bytes: 3)
      }
      if rest > 0 {
        let third = rest == 3 ? value(whole + 2) : 0
        let group = value(whole) << 18 | value(whole + 1) << 12 | third << 6
        put(group, bytes: rest - 1)
        foreign |= group & (rest == 3 ? 0xFF : 0xFFFF)
      }
    }
    guard foreign == 0 else { throw Invalid() }
    return bytes
  }
}

/// Lower-case hexadecimal.
public enum Hex {
  private static let digits = Array("0123456789abcdef".utf8)

  /// Two lower-case digits a byte.
  public static func encode(_ bytes: some Sequence<UInt8>) -> String {
    var out = [UInt8]()
    for byte in bytes {
      out.append(digits[Int(byte >> 4)])
      out.append(digits[Int(byte & 15)])
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// Decodes lower-case hexadecimal; nil for anything else.
  public static func decode(_ text: some StringProtocol) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count % 2 == 0 else { return nil }
    var out = [UInt8]()
    out.reserveCapacity(characters.count / 2)
    for pair in stride(from: 0, to: characters.count, by: 2) {
      guard let high = nibble(characters[pair]), let low = nibble(characters[pair + 1]) else { return nil }
      out.append(high << 4 | low)
    }
    return out
  }

  private static func nibble(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
