import Seal
import TransparencyLog
import Wire

/// Collects the leaves of one transaction, gives them their indices, and writes them with tiles and head at its end.
struct LeafBatch {
  private(set) var tree: MerkleTree
  private let first: UInt64
  private var entries: [[UInt8]] = []
  let now: Timestamp
  private let random: any RandomSource

  init(tree: MerkleTree, now: Timestamp, random: any RandomSource) {
    self.tree = tree
    self.first = tree.size
    self.now = now
    self.random = random
  }

  /// The index that the next leaf gets.
  var nextIndex: UInt64 { first + UInt64(entries.count) }

  /// Salts a content.
  func salted(_ content: [UInt8]) -> SaltedContent { SaltedContent(salt: random.bytes(32), content: content) }

  /// Draws a command identifier.
  func identifier() -> CommandID { CommandID(from: random) }

  /// Appends a leaf and keeps the content that it commits to.
  @discardableResult
  mutating func append(
    _ leaf: Leaf, committing content: SaltedContent?, in unit: inout some GateUnit
  ) throws -> (index: UInt64, bytes: [UInt8]) {
    let index = nextIndex
    let bytes = leaf.encoded(at: now)
    if let content { try unit.insertContent(content, leafIndex: index) }
    entries.append(bytes)
    return (index, bytes)
  }

  /// Appends an event's leaf and keeps its content.
  @discardableResult
  mutating func append(_ event: EventRecord, in unit: inout some GateUnit) throws -> UInt64 {
    let content = salted(JSONValue.object(event.content).canonical())
    return try append(
      .event(.init(kind: event.kind, commitment: content.commitment)), committing: content, in: &unit
    ).index
  }

  /// Writes entries, tiles and the unsigned head.
  mutating func write(to unit: inout some GateUnit) throws {
    guard !entries.isEmpty else { return }
    try unit.appendEntries(firstIndex: first, entries)
    for entry in entries { tree.append(.leaf(entry)) }
    try unit.writeTiles(tree.drainChangedTiles())
    try unit.setHead(tree.head)
  }
}
