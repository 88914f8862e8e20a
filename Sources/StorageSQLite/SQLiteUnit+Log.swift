package import TransparencyLog

extension SQLiteUnit: LogStore {
  package mutating func appendEntries(firstIndex: UInt64, _ entries: [[UInt8]]) throws {
    let next = try first("SELECT coalesce(max(idx) + 1, 0) FROM log_entry", []) { $0[0] as Int64 }
    guard next == Int64(exactly: firstIndex) else {
      throw LogError(.outOfOrder, "entry \(firstIndex) does not continue the log: restart the server")
    }
    guard entries.allSatisfy({ $0.count <= EntryBundle.maximumEntrySize }) else {
      throw LogError(.tooLarge, "an entry has more than \(EntryBundle.maximumEntrySize) bytes")
    }
    for (offset, entry) in entries.enumerated() {
      try run("INSERT INTO log_entry (idx, leaf) VALUES (?, ?)", [Int64(firstIndex) + Int64(offset), entry])
    }
  }

  package func entry(at index: UInt64) throws -> [UInt8]? {
    try first("SELECT leaf FROM log_entry WHERE idx = ?", [Int64(clamping: index)]) { $0[0] }
  }

  package func entries(in range: Range<UInt64>) throws -> [[UInt8]] {
    let entries = try all(
      "SELECT leaf FROM log_entry WHERE idx >= ? AND idx < ? ORDER BY idx",
      [Int64(clamping: range.lowerBound), Int64(clamping: range.upperBound)]
    ) { $0[0] as [UInt8] }
    guard entries.count == range.count else { throw LogError(.outOfRange, "the log does not hold entries \(range)") }
    return entries
  }

  package mutating func writeTiles(_ tiles: [Tile]) throws {
    for tile in tiles {
      guard let position = Self.position(tile.level, tile.index) else {
        throw LogError(.tooLarge, "tile \(tile.level)/\(tile.index) lies beyond what the database can hold")
      }
      // What is stored of a tile is a prefix of what comes later, so that a crash or a second writer shows.
      try run(
        """
        INSERT INTO log_tile (position, hashes) VALUES (?, ?) ON CONFLICT (position)
        DO UPDATE SET hashes = excluded.hashes WHERE length(excluded.hashes) >= length(hashes)
        """, [position, tile.bytes])
      guard try changes() == 1 else {
        throw LogError(.outOfOrder, "tile \(tile.level)/\(tile.index) is stored wider: restart the server")
      }
    }
  }

  package func tile(level: Int, index: UInt64) throws -> [UInt8]? {
    guard let position = Self.position(level, index) else { return nil }
    return try first("SELECT hashes FROM log_tile WHERE position = ?", [position]) { $0[0] }
  }

  /// Level and index as one key: levels go to 7, so 56 bits are left for the index.
  private static func position(_ level: Int, _ index: UInt64) -> Int64? {
    (0...7).contains(level) && index < 1 << 56 ? Int64(level) << 56 | Int64(index) : nil
  }

  package func head() throws -> TreeHead? {
    try first("SELECT size, root FROM log_head WHERE id = 0", []) { row in
      TreeHead(size: try unsigned(row[0], "size"), root: try decoded(MerkleHash(row[1] as [UInt8]), "root"))
    }
  }

  package mutating func setHead(_ head: TreeHead) throws {
    if let present = try self.head(), head.size <= present.size, head != present {
      throw LogError(
        .outOfOrder, "a head of \(head.size) leaves does not follow one of \(present.size): restart the server")
    }
    try run(
      """
      INSERT INTO log_head (id, size, root) VALUES (0, ?, ?)
      ON CONFLICT (id) DO UPDATE SET size = excluded.size, root = excluded.root
      """, [Int64(head.size), head.root.bytes])
  }

  package func checkpoint(size: UInt64) throws -> String? {
    try first("SELECT note FROM log_checkpoint WHERE size = ?", [Int64(clamping: size)]) { $0[0] }
  }

  package func latestCheckpoint() throws -> String? {
    try first("SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1", []) { $0[0] }
  }

  package mutating func putCheckpoint(size: UInt64, _ note: String) throws {
    // The same head may be signed again after a crash; Ed25519 then gives the same note.
    try run("INSERT OR REPLACE INTO log_checkpoint (size, note) VALUES (?, ?)", [Int64(size), note])
  }
}
