public import Wire

/// The name of a registration entry: `ent_` and 22 characters of base64url, which are 16 random bytes. It takes no more
/// memory than those bytes.
public struct EntryID: Hashable, Sendable, Comparable, CustomStringConvertible {
  private let high: UInt64
  private let low: UInt64
  private static let prefix = "ent_"

  /// A new name.
  public init(random: any RandomSource) { self.init(random.bytes(16)[...]) }

  /// Reads a name.
  /// - Throws: ``SPIFFEError/Code-swift.struct/entry``.
  public init(_ text: some StringProtocol) throws(SPIFFEError) {
    guard text.utf8.count == 26, text.utf8.starts(with: Self.prefix.utf8),
      let bytes = try? Base64.URL.decode(String(decoding: text.utf8.dropFirst(4), as: UTF8.self))
    else {
      throw SPIFFEError(.entry, "an entry's id is '\(Self.prefix)' and 22 characters of canonical base64url")
    }
    self.init(bytes[...])
  }

  private init(_ bytes: ArraySlice<UInt8>) {
    high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    low = bytes.dropFirst(8).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// The 16 bytes.
  public var bytes: [UInt8] {
    [high, low].flatMap { word in stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> $0) } }
  }

  /// The name as text.
  public var description: String { Self.prefix + Base64.URL.encode(bytes) }

  /// By text, byte by byte, as a database sorts it.
  public static func < (a: EntryID, b: EntryID) -> Bool {
    a != b && a.description.utf8.lexicographicallyPrecedes(b.description.utf8)
  }
}
