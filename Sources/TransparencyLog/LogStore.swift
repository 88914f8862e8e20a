/// What the log keeps: entries, tiles, the database's head and the signed checkpoints.
///
/// Synchronous and taken `inout` in a unit of work: writes take effect together when the unit commits, and not at all
/// when it is rolled back. Reads within a unit see its own writes. `logStoreContract` in TestSupport holds every
/// implementation to what is written here.
public protocol LogStore: TileReader, ~Copyable {
  /// Appends entries.
  ///
  /// - Parameters:
  ///   - firstIndex: the index of the first of them, which must be the number of entries stored.
  ///   - entries: each at most ``EntryBundle/maximumEntrySize`` bytes.
  /// - Throws: ``LogError/Code-swift.struct/outOfOrder`` or ``LogError/Code-swift.struct/tooLarge``, and then nothing
  ///   is stored.
  mutating func appendEntries(firstIndex: UInt64, _ entries: [[UInt8]]) throws

  /// An entry, or nil when none is stored at `index`.
  func entry(at index: UInt64) throws -> [UInt8]?

  /// The entries of a range, in order.
  ///
  /// - Throws: ``LogError/Code-swift.struct/outOfRange`` unless all of them are stored.
  func entries(in range: Range<UInt64>) throws -> [[UInt8]]

  /// Stores tiles, replacing narrower versions.
  ///
  /// - Throws: ``LogError/Code-swift.struct/outOfOrder`` for a tile narrower than its stored version.
  mutating func writeTiles(_ tiles: [Tile]) throws

  /// The widest stored version of a tile, or nil when there is none; 32 bytes a hash.
  func tile(level: Int, index: UInt64) throws -> [UInt8]?

  /// The head of the last committed batch, signed or not; nil before genesis.
  func head() throws -> TreeHead?

  /// Replaces the head.
  ///
  /// - Throws: ``LogError/Code-swift.struct/outOfOrder`` for a smaller size, or the same size with another root.
  mutating func setHead(_ head: TreeHead) throws

  /// The signed checkpoint (the note's text) of a tree size, or nil.
  func checkpoint(size: UInt64) throws -> String?

  /// The signed checkpoint of the largest size, or nil before the first.
  func latestCheckpoint() throws -> String?

  /// Stores a signed checkpoint, replacing one of the same size, which may lack cosignatures.
  mutating func putCheckpoint(size: UInt64, _ note: String) throws
}

extension LogStore where Self: ~Copyable {
  /// Cuts the widest stored version to `width` hashes.
  ///
  /// - Throws: ``LogError/Code-swift.struct/storeInconsistent`` when the tile is absent or narrower.
  public func tile(level: Int, index: UInt64, width: Int) throws -> [UInt8] {
    guard let bytes = try tile(level: level, index: index), bytes.count >= width * MerkleHash.byteCount else {
      throw LogError(.storeInconsistent, "tile \(level)/\(index) of width \(width) is not stored: restore the database")
    }
    return Array(bytes.prefix(width * MerkleHash.byteCount))
  }
}
