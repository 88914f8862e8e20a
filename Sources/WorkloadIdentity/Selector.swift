/// What attestation says of a workload, one fact each: `unix:uid:1000` has the type `unix` and the value `uid:1000`.
public struct Selector: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// What kind of attestation gives it; up to the first colon.
  public let type: String
  /// The fact.
  public let value: String

  /// The most bytes of a selector's text.
  public static let maximumBytes = 4096 + 256

  /// Reads `type:value`; the type has 1 to 32 characters of a-z, 0-9 and `_`, the value at least one byte and no control
  /// characters.
  public init(_ text: some StringProtocol) throws(SPIFFEError) {
    // By code points: to Swift a colon and a combining mark after it are one character.
    let parts = String(text).unicodeScalars.split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == ":" }
      .map { String(Substring($0)) }
    guard text.utf8.count <= Self.maximumBytes, parts.count == 2, !parts[1].isEmpty,
      (1...32).contains(parts[0].utf8.count), parts[0].utf8.allSatisfy(Self.allows),
      parts[1].utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
    else {
      throw SPIFFEError(
        .selector, "a selector is 'type:value', such as 'unix:uid:1000', of at most \(Self.maximumBytes) bytes")
    }
    (type, value) = (parts[0], parts[1])
  }

  private static func allows(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
    default: false
    }
  }

  /// `type:value`.
  public var description: String { type + ":" + value }

  /// Byte by byte: Swift's equality of texts would fold canonical equivalents, which to a file system are two names.
  public static func == (a: Selector, b: Selector) -> Bool { a.description.utf8.elementsEqual(b.description.utf8) }

  /// Hashes the bytes.
  public func hash(into hasher: inout Hasher) { for byte in description.utf8 { hasher.combine(byte) } }

  /// By text, byte by byte.
  public static func < (a: Selector, b: Selector) -> Bool {
    a.description.utf8.lexicographicallyPrecedes(b.description.utf8)
  }
}
