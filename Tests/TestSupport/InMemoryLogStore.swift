public import TransparencyLog

/// A log store that forgets.
public struct InMemoryLogStore: LogStore, Sendable {
  private struct TilePosition: Hashable {
    let level: Int
    let index: UInt64
  }

  private var entries: [[UInt8]] = []
  private var tiles: [TilePosition: [UInt8]] = [:]
  private var currentHead: TreeHead?
  private var checkpoints: [UInt64: String] = [:]

  /// An empty store.
  public init() {}

  /// Appends entries, all or none.
  public mutating func appendEntries(firstIndex: UInt64, _ entries: [[UInt8]]) throws {
    guard firstIndex == UInt64(self.entries.count) else {
      throw LogError(.outOfOrder, "the next entry is \(self.entries.count), not \(firstIndex)")
    }
    guard entries.allSatisfy({ $0.count <= EntryBundle.maximumEntrySize }) else {
      throw LogError(.tooLarge, "an entry exceeds \(EntryBundle.maximumEntrySize) bytes")
    }
    self.entries += entries
  }

  /// An entry, or nil.
  public func entry(at index: UInt64) throws -> [UInt8]? {
    index < UInt64(entries.count) ? entries[Int(index)] : nil
  }

  /// The entries of a range.
  public func entries(in range: Range<UInt64>) throws -> [[UInt8]] {
    guard range.upperBound <= UInt64(entries.count) else {
      throw LogError(.outOfRange, "\(entries.count) entries are stored")
    }
    return Array(entries[Int(range.lowerBound)..<Int(range.upperBound)])
  }

  /// Stores tiles, replacing narrower versions.
  public mutating func writeTiles(_ tiles: [Tile]) throws {
    for tile in tiles {
      let position = TilePosition(level: tile.level, index: tile.index)
      guard tile.bytes.count >= self.tiles[position]?.count ?? 0 else {
        throw LogError(.outOfOrder, "tile \(tile.level)/\(tile.index) is stored wider")
      }
      self.tiles[position] = tile.bytes
    }
  }

  /// The widest stored version.
  public func tile(level: Int, index: UInt64) throws -> [UInt8]? { tiles[TilePosition(level: level, index: index)] }

  /// The head set last.
  public func head() throws -> TreeHead? { currentHead }

  /// Replaces the head.
  public mutating func setHead(_ head: TreeHead) throws {
    if let current = currentHead {
      guard head.size > current.size || head == current else {
        throw LogError(.outOfOrder, "head \(head.size) does not follow \(current.size)")
      }
    }
    currentHead = head
  }

  /// The checkpoint of a size.
  public func checkpoint(size: UInt64) throws -> String? { checkpoints[size] }

  /// The checkpoint of the largest size.
  public func latestCheckpoint() throws -> String? { checkpoints.max { $0.key < $1.key }?.value }

  /// Stores a checkpoint.
  public mutating func putCheckpoint(size: UInt64, _ note: String) throws { checkpoints[size] = note }
}
