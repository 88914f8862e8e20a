/// The entries of one level-0 tile (C2SP tlog-tiles, "Log entries"), each after its length in 16 bits, big-endian.
public enum EntryBundle {
  /// The most bytes that one entry may have.
  public static let maximumEntrySize = Int(UInt16.max)

  /// Encodes 1 to 256 entries.
  ///
  /// - Throws: ``LogError/Code-swift.struct/tooLarge`` for an entry above ``maximumEntrySize`` or more than 256 of
  ///   them, ``LogError/Code-swift.struct/malformed`` for none.
  public static func encode(_ entries: some Collection<[UInt8]>) throws(LogError) -> [UInt8] {
    guard !entries.isEmpty else { throw LogError(.malformed, "an entry bundle holds at least one entry") }
    guard entries.count <= Tile.fullWidth else {
      throw LogError(.tooLarge, "an entry bundle holds at most 256 entries")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(entries.reduce(0) { $0 + 2 + $1.count })
    for entry in entries {
      guard entry.count <= maximumEntrySize else {
        throw LogError(.tooLarge, "an entry of \(entry.count) bytes exceeds the limit of \(maximumEntrySize)")
      }
      bytes.append(UInt8(entry.count >> 8))
      bytes.append(UInt8(entry.count & 0xFF))
      bytes.append(contentsOf: entry)
    }
    return bytes
  }

  /// Decodes a bundle that must hold exactly `width` entries and nothing else.
  public static func decode(_ bytes: [UInt8], width: Int) throws(LogError) -> [[UInt8]] {
    guard (1...Tile.fullWidth).contains(width) else { throw LogError(.outOfRange, "no bundle holds \(width) entries") }
    var entries: [[UInt8]] = []
    var at = 0
    while entries.count < width {
      guard bytes.count - at >= 2 else { throw short(width) }
      let length = Int(bytes[at]) << 8 | Int(bytes[at + 1])
      guard bytes.count - at - 2 >= length else { throw short(width) }
      entries.append(Array(bytes[(at + 2)..<(at + 2 + length)]))
      at += 2 + length
    }
    guard at == bytes.count else { throw LogError(.malformed, "the bundle has bytes after its \(width) entries") }
    return entries
  }

  private static func short(_ width: Int) -> LogError {
    LogError(.malformed, "the bundle ends before its \(width) entries do: fetch it again")
  }
}
