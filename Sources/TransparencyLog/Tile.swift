/// A run of hashes at one height of the tree (C2SP tlog-tiles, "Merkle Tree"), full with 256 hashes or partial.
public struct Tile: Hashable, Sendable {
  /// The tree levels that one tile level spans.
  public static let height = 8
  /// The number of hashes in a full tile.
  public static let fullWidth = 256

  /// The tile level; hashes at level `l` are roots of complete subtrees of 256^l leaves.
  public let level: Int
  /// The tile's position within its level.
  public let index: UInt64
  /// The hashes, one after the other: 32 × ``width`` bytes.
  public let bytes: [UInt8]

  /// The number of hashes, 1...256.
  public var width: Int { bytes.count / MerkleHash.byteCount }

  /// Makes a tile; nil unless `level` is 0...63 and `bytes` holds 1 to 256 whole hashes.
  public init?(level: Int, index: UInt64, bytes: [UInt8]) {
    guard (0...63).contains(level), bytes.count % MerkleHash.byteCount == 0,
      (1...Self.fullWidth).contains(bytes.count / MerkleHash.byteCount)
    else { return nil }
    self.init(unchecked: level, index, bytes)
  }

  init(unchecked level: Int, _ index: UInt64, _ bytes: [UInt8]) {
    self.level = level
    self.index = index
    self.bytes = bytes
  }
}

/// Where stored tiles are read from.
public protocol TileReader: ~Copyable {
  /// Reads the first `width` hashes of a tile, which may be stored wider.
  ///
  /// - Parameters:
  ///   - level: the tile level.
  ///   - index: the tile's position within its level.
  ///   - width: how many hashes to return, 1...256.
  /// - Returns: exactly 32 × `width` bytes.
  /// - Throws: when the tile is absent or narrower.
  func tile(level: Int, index: UInt64, width: Int) throws -> [UInt8]
}

/// Reads nothing: for trees whose leaves are all in memory.
public struct NoTiles: TileReader {
  /// Makes a reader without tiles.
  public init() {}

  /// Always throws ``LogError/Code-swift.struct/storeInconsistent``.
  public func tile(level: Int, index: UInt64, width: Int) throws -> [UInt8] {
    throw LogError(.storeInconsistent, "tile \(level)/\(index) is no longer in memory: pass the store's tile reader")
  }
}

/// A tile with the nodes above its hashes up to its root, so that a node of a kept tile is a look-up.
struct TileNodes: Sendable {
  private(set) var width = 0
  // The level of height h starts at 512 − 2^(9−h); a complete tile has 256 + 128 + … + 1 nodes.
  private var nodes = [MerkleHash](repeating: .zero, count: 2 * Tile.fullWidth - 1)

  init() {}

  /// Rebuilds the nodes over stored hashes.
  init(hashes bytes: [UInt8]) {
    for start in stride(from: 0, to: bytes.count, by: MerkleHash.byteCount) {
      guard let hash = MerkleHash(bytes[start..<min(start + MerkleHash.byteCount, bytes.count)]) else { return }
      append(hash)
    }
  }

  private static func position(_ height: Int, _ index: Int) -> Int {
    2 * Tile.fullWidth - (2 * Tile.fullWidth >> height) + index
  }

  /// The root of the complete subtree `index` of 2^`height` of the tile's hashes.
  subscript(height: Int, index: Int) -> MerkleHash { nodes[Self.position(height, index)] }

  /// The root of a full tile.
  var root: MerkleHash { self[Tile.height, 0] }

  /// The tile's hashes as stored and served.
  var bytes: [UInt8] {
    unsafe nodes.withUnsafeBytes { unsafe Array($0.prefix(width * MerkleHash.byteCount)) }
  }

  /// Appends a hash and every node that it completes.
  mutating func append(_ hash: MerkleHash) {
    nodes[width] = hash
    width += 1
    var node = hash
    var height = 1
    while height <= Tile.height, width & ((1 << height) - 1) == 0 {
      let index = (width >> height) - 1
      node = .node(self[height - 1, 2 * index], node)
      nodes[Self.position(height, index)] = node
      height += 1
    }
  }
}
