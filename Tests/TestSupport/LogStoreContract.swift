import Testing
public import TransparencyLog

/// Holds a log store to what ``LogStore`` promises.
///
/// - Parameter inFreshStore: opens an empty store, hands it to the closure in one unit of work, and closes it.
public func logStoreContract<Store: LogStore & ~Copyable>(
  _ inFreshStore: ((inout Store) throws -> Void) throws -> Void
) throws {
  try inFreshStore { try entriesContract(&$0) }
  try inFreshStore { try tilesContract(&$0) }
  try inFreshStore { try headContract(&$0) }
  try inFreshStore { try checkpointContract(&$0) }
  try inFreshStore { try treeContract(&$0) }
}

private func refuses(_ code: LogError.Code, _ body: () throws -> Void, at location: SourceLocation = #_sourceLocation) {
  do {
    try body()
    Issue.record("was not refused with \(code)", sourceLocation: location)
  } catch {
    #expect((error as? LogError)?.code == code, "refused with \(error)", sourceLocation: location)
  }
}

private func entriesContract<Store: LogStore & ~Copyable>(_ store: inout Store) throws {
  let none = try store.entry(at: 0)
  #expect(none == nil)
  try store.appendEntries(firstIndex: 0, [[1], [], [2, 3]])
  try store.appendEntries(firstIndex: 3, [])
  refuses(.outOfOrder) { try store.appendEntries(firstIndex: 2, [[9]]) }
  refuses(.outOfOrder) { try store.appendEntries(firstIndex: 4, [[9]]) }
  let largest = [UInt8](repeating: 7, count: EntryBundle.maximumEntrySize)
  refuses(.tooLarge) { try store.appendEntries(firstIndex: 3, [[4], largest + [7]]) }
  try store.appendEntries(firstIndex: 3, [largest])
  let (first, empty, last, beyond) = try (
    store.entry(at: 0), store.entry(at: 1), store.entry(at: 3), store.entry(at: 4)
  )
  #expect(first == [1] && empty == [] && last == largest && beyond == nil)
  let (range, nothing) = try (store.entries(in: 1..<4), store.entries(in: 4..<4))
  #expect(range == [[], [2, 3], largest] && nothing.isEmpty)
  refuses(.outOfRange) { _ = try store.entries(in: 3..<5) }
}

private func tilesContract<Store: LogStore & ~Copyable>(_ store: inout Store) throws {
  func tile(_ level: Int, _ index: UInt64, _ width: Int) throws -> Tile {
    try #require(Tile(level: level, index: index, bytes: (0..<(32 * width)).map { UInt8($0 % 251) }))
  }
  let (one, two, three) = try (tile(0, 0, 1), tile(0, 0, 2), tile(0, 0, 256))
  try store.writeTiles([one, tile(1, 0, 3)])
  try store.writeTiles([two])
  var stored = try store.tile(level: 0, index: 0)
  #expect(stored == two.bytes)
  refuses(.outOfOrder) { try store.writeTiles([one]) }
  refuses(.storeInconsistent) { _ = try store.tile(level: 0, index: 0, width: 3) }
  refuses(.storeInconsistent) { _ = try store.tile(level: 0, index: 1, width: 1) }
  try store.writeTiles([two])
  try store.writeTiles([three])
  stored = try store.tile(level: 0, index: 0)
  #expect(stored == three.bytes)
  let prefix = try store.tile(level: 0, index: 0, width: 2)
  #expect(prefix == two.bytes)
  let (other, absent) = try (store.tile(level: 1, index: 0), store.tile(level: 2, index: 0))
  #expect(other?.count == 96 && absent == nil)
}

private func headContract<Store: LogStore & ~Copyable>(_ store: inout Store) throws {
  var head = try store.head()
  #expect(head == nil)
  let (a, b) = (MerkleHash.leaf([1]), MerkleHash.leaf([2]))
  try store.setHead(.empty)
  try store.setHead(TreeHead(size: 5, root: a))
  try store.setHead(TreeHead(size: 5, root: a))
  refuses(.outOfOrder) { try store.setHead(TreeHead(size: 5, root: b)) }
  refuses(.outOfOrder) { try store.setHead(TreeHead(size: 4, root: b)) }
  head = try store.head()
  #expect(head == TreeHead(size: 5, root: a))
  try store.setHead(TreeHead(size: TreeHead.maximumSize, root: b))
  head = try store.head()
  #expect(head == TreeHead(size: TreeHead.maximumSize, root: b))
}

private func checkpointContract<Store: LogStore & ~Copyable>(_ store: inout Store) throws {
  var latest = try store.latestCheckpoint()
  #expect(latest == nil)
  try store.putCheckpoint(size: 9, "nine\n\n— é\n")
  try store.putCheckpoint(size: 10, "ten")
  try store.putCheckpoint(size: 2, "two")
  latest = try store.latestCheckpoint()
  let (nine, absent) = try (store.checkpoint(size: 9), store.checkpoint(size: 3))
  #expect(latest == "ten" && nine == "nine\n\n— é\n" && absent == nil)
  try store.putCheckpoint(size: 10, "ten, cosigned")
  latest = try store.latestCheckpoint()
  #expect(latest == "ten, cosigned")
}

/// A log that grows in batches, is restored from the store and proves leaves that left memory.
private func treeContract<Store: LogStore & ~Copyable>(_ store: inout Store) throws {
  var tree = MerkleTree()
  for batch in [1, 254, 1, 1, 300, 5000] {
    let entries = (0..<batch).map { offset in Array("entry \(tree.size + UInt64(offset))".utf8) }
    try store.appendEntries(firstIndex: tree.size, entries)
    for entry in entries { tree.append(.leaf(entry)) }
    try store.writeTiles(tree.drainChangedTiles())
    try store.setHead(tree.head)
  }
  let head = try #require(try store.head())
  let restored = try MerkleTree(restoring: head, from: store)
  for index in [0, 255, 256, 1000, head.size - 1] as [UInt64] {
    let proof = try restored.inclusionProof(index: index, size: head.size, from: store)
    let entry = try #require(try store.entry(at: index))
    try MerkleProof.verifyInclusion(
      leafHash: .leaf(entry), index: index, size: head.size, proof: proof, root: head.root)
  }
}
