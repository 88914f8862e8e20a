/// The append-only Merkle tree of the log: its right edge and its most recent full tiles, in memory.
///
/// A value: a copy costs a few references, and appending to one copy leaves the other as it was, so whoever commits a
/// batch keeps the old value until the commit is certain. Every node of a kept tile is a look-up; older nodes are
/// computed from tiles that a ``TileReader`` supplies.
public struct MerkleTree: Sendable {
  /// How many full tiles stay in memory at each tile level, 16 KiB each: 4,096 leaves at level 0.
  public static let recentTiles = 16

  private struct Level: Sendable {
    /// The tile being filled; never full.
    var edge = TileNodes()
    /// The full tiles before the edge, oldest first.
    var recent: [TileNodes] = []
    /// The edge's width when it was last drained.
    var drainedWidth = 0
  }

  /// The number of leaves.
  public private(set) var size: UInt64 = 0
  private var levels: [Level] = []
  private var completed: [Tile] = []

  /// A tree without leaves.
  public init() {}

  /// Restores the tree of a stored head from the tiles at its right edge.
  ///
  /// - Throws: what the reader throws; ``LogError/Code-swift.struct/storeInconsistent`` when the tiles hash to another
  ///   root.
  public init(restoring head: TreeHead, from reader: borrowing some TileReader & ~Copyable) throws {
    guard head.size <= TreeHead.maximumSize else { throw LogError(.outOfRange, "no tree has \(head.size) leaves") }
    size = head.size
    var hashes = head.size
    while hashes > 0 {
      var level = Level()
      let width = Int(hashes % UInt64(Tile.fullWidth))
      hashes /= UInt64(Tile.fullWidth)
      if width > 0 {
        level.edge = TileNodes(
          hashes: try Self.read(reader, level: levels.count, index: hashes, width: width))
        level.drainedWidth = width
      }
      levels.append(level)
    }
    guard root() == head.root else {
      throw LogError(.storeInconsistent, "the stored tiles do not hash to the stored root: restore the log's database")
    }
  }

  /// The size and root of the tree.
  public var head: TreeHead { TreeHead(size: size, root: root()) }

  /// The Merkle tree hash over all leaves (RFC 9162 §2.1.1).
  public func root() -> MerkleHash {
    var root: MerkleHash?
    for level in levels {
      let width = level.edge.width
      for height in 0..<Tile.height where width >> height & 1 == 1 {
        let subtree = level.edge[height, (width >> height) - 1]
        root = root.map { .node(subtree, $0) } ?? subtree
      }
    }
    return root ?? .emptyTree
  }

  /// Appends a leaf.
  ///
  /// - Parameter leafHash: ``MerkleHash/leaf(_:)`` of the entry.
  /// - Returns: the leaf's index.
  @discardableResult
  public mutating func append(_ leafHash: MerkleHash) -> UInt64 {
    precondition(size < TreeHead.maximumSize, "a tree has at most 2^63 - 1 leaves")
    var hash = leafHash
    var level = 0
    while true {
      if level == levels.count { levels.append(Level()) }
      levels[level].edge.append(hash)
      guard levels[level].edge.width == Tile.fullWidth else { break }
      // A full tile makes room for the next one, and its root is a hash of the level above.
      let full = levels[level].edge
      levels[level].edge = TileNodes()
      levels[level].drainedWidth = 0
      completed.append(Tile(unchecked: level, edgeIndex(level), full.bytes))
      levels[level].recent.append(full)
      if levels[level].recent.count > Self.recentTiles { levels[level].recent.removeFirst() }
      hash = full.root
      level += 1
    }
    size += 1
    return size - 1
  }

  /// The tiles that changed since the last call, or since the tree was restored: full ones once, partial ones at their
  /// present width. What is stored of a tile is always a prefix of what comes later.
  public mutating func drainChangedTiles() -> [Tile] {
    var tiles = completed
    completed = []
    for level in levels.indices where levels[level].edge.width != levels[level].drainedWidth {
      tiles.append(Tile(unchecked: level, edgeIndex(level), levels[level].edge.bytes))
      levels[level].drainedWidth = levels[level].edge.width
    }
    return tiles
  }

  // MARK: - Proofs

  /// The proof that a leaf is in the tree of the first `size` leaves (RFC 9162 §2.1.3.1).
  ///
  /// - Parameters:
  ///   - index: the leaf's position, below `size`.
  ///   - size: at most the tree's size.
  ///   - reader: supplies tiles that are no longer in memory.
  /// - Returns: the sibling hashes from the leaf upwards.
  /// - Throws: ``LogError/Code-swift.struct/outOfRange``, or what the reader throws.
  public func inclusionProof(
    index: UInt64, size: UInt64, from reader: borrowing some TileReader & ~Copyable = NoTiles()
  ) throws -> [MerkleHash] {
    guard index < size else { throw LogError(.outOfRange, "leaf \(index) is outside a tree of \(size) leaves") }
    return try inclusionProofs(index..<(index + 1), size: size, from: reader)[0]
  }

  /// As ``inclusionProof(index:size:from:)`` for a run of leaves, sharing the work at the right edge.
  public func inclusionProofs(
    _ indices: Range<UInt64>, size: UInt64, from reader: borrowing some TileReader & ~Copyable = NoTiles()
  ) throws -> [[MerkleHash]] {
    guard size <= self.size, indices.upperBound <= size else {
      throw LogError(.outOfRange, "leaves \(indices) of a tree of \(size) are outside the log's \(self.size)")
    }
    var loaded = LoadedTiles()
    let edge = try RightEdge(size) { try node($0, $1, &loaded, reader) }
    return try indices.map { index in
      try edge.path(index, from: 0) { try node($0, $1, &loaded, reader) }
    }
  }

  /// The proof that the tree of `to` leaves extends the tree of `from` leaves (RFC 9162 §2.1.4.1).
  ///
  /// - Parameters:
  ///   - from: the older size.
  ///   - to: the newer size, at most the tree's.
  ///   - reader: supplies tiles that are no longer in memory.
  /// - Returns: the proof; empty when `from` is zero or equals `to`.
  /// - Throws: ``LogError/Code-swift.struct/outOfRange``, or what the reader throws.
  public func consistencyProof(
    from: UInt64, to: UInt64, from reader: borrowing some TileReader & ~Copyable = NoTiles()
  ) throws -> [MerkleHash] {
    guard from <= to, to <= size else {
      throw LogError(.outOfRange, "no consistency proof from \(from) to \(to) in a log of \(size) leaves")
    }
    guard from > 0, from < to else { return [] }
    // The last complete subtree of the old tree is a node of the new one; its path there is the proof.
    var loaded = LoadedTiles()
    let height = from.trailingZeroBitCount
    let edge = try RightEdge(to) { try node($0, $1, &loaded, reader) }
    let path = try edge.path(from - 1, from: height) { try node($0, $1, &loaded, reader) }
    if from == 1 << height { return path }
    return try [node(height, (from - 1) >> height, &loaded, reader)] + path
  }

  // MARK: - Nodes

  private struct TilePosition: Hashable {
    let level: Int
    let index: UInt64
  }
  private typealias LoadedTiles = [TilePosition: TileNodes]

  /// The index of the tile being filled at `level`.
  private func edgeIndex(_ level: Int) -> UInt64 { size >> UInt64(Tile.height * (level + 1)) }

  /// The root of the complete subtree `index` of 2^`height` leaves.
  private func node(
    _ height: Int, _ index: UInt64, _ loaded: inout LoadedTiles, _ reader: borrowing some TileReader & ~Copyable
  ) throws -> MerkleHash {
    let (level, inner) = height.quotientAndRemainder(dividingBy: Tile.height)
    let perTile = UInt64(1) << UInt64(Tile.height - inner)
    let (tile, place) = index.quotientAndRemainder(dividingBy: perTile)
    let back = edgeIndex(level) - tile
    if back == 0 { return levels[level].edge[inner, Int(place)] }
    let recent = levels[level].recent
    if back <= UInt64(recent.count) { return recent[recent.count - Int(back)][inner, Int(place)] }
    let position = TilePosition(level: level, index: tile)
    if let nodes = loaded[position] { return nodes[inner, Int(place)] }
    let nodes = TileNodes(hashes: try Self.read(reader, level: level, index: tile, width: Tile.fullWidth))
    loaded[position] = nodes
    return nodes[inner, Int(place)]
  }

  private static func read(
    _ reader: borrowing some TileReader & ~Copyable, level: Int, index: UInt64, width: Int
  ) throws -> [UInt8] {
    let bytes = try reader.tile(level: level, index: index, width: width)
    guard bytes.count == width * MerkleHash.byteCount else {
      throw LogError(
        .storeInconsistent, "tile \(level)/\(index) was read with \(bytes.count) bytes, not \(width) hashes")
    }
    return bytes
  }
}

/// The complete subtrees that a tree of some size is made of, from the largest on the left to the smallest.
private struct RightEdge {
  private struct Subtree {
    let height: Int
    let end: UInt64
    let root: MerkleHash
    /// The hash over this subtree and all that follow it.
    let suffix: MerkleHash
  }
  private var subtrees: [Subtree] = []

  init(_ size: UInt64, node: (Int, UInt64) throws -> MerkleHash) rethrows {
    var suffix: MerkleHash?
    var end = size
    while end > 0 {
      let height = end.trailingZeroBitCount
      let root = try node(height, (end - 1) >> UInt64(height))
      let hash = suffix.map { .node(root, $0) } ?? root
      subtrees.append(Subtree(height: height, end: end, root: root, suffix: hash))
      suffix = hash
      end &= end - 1
    }
    subtrees.reverse()
  }

  /// The hashes that lead from the subtree of 2^`height` leaves that holds leaf `index` to the root.
  func path(_ index: UInt64, from height: Int, node: (Int, UInt64) throws -> MerkleHash) rethrows -> [MerkleHash] {
    guard let at = subtrees.firstIndex(where: { index < $0.end }) else { return [] }
    var path: [MerkleHash] = []
    path.reserveCapacity(subtrees[at].height - height + at + 1)
    for level in height..<subtrees[at].height { path.append(try node(level, index >> UInt64(level) ^ 1)) }
    if at + 1 < subtrees.count { path.append(subtrees[at + 1].suffix) }
    for subtree in subtrees[..<at].reversed() { path.append(subtree.root) }
    return path
  }
}
