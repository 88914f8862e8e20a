import Crypto
import Foundation
import TestSupport
import Testing
import TransparencyLog

@Suite("Merkle tree")
struct MerkleTreeTests {
  @Test func hashesAreThoseOfTheRFC() throws {
    #expect(MerkleHash.emptyTree.bytes == Array(SHA256.hash(data: Data())))
    for size in [0, 1, 31, 55, 1023, 1024, 65535] {
      let entry = [UInt8](repeating: 0xA5, count: size)
      #expect(MerkleHash.leaf(entry).bytes == Array(SHA256.hash(data: [0x00] + entry)))
    }
    let (a, b) = (MerkleHash.leaf([1]), MerkleHash.leaf([2]))
    #expect(MerkleHash.node(a, b).bytes == Array(SHA256.hash(data: [0x01] + a.bytes + b.bytes)))
  }

  @Test func hashesHaveOneText() throws {
    let hash = MerkleHash.leaf([7])
    #expect(MerkleHash(base64: hash.base64) == hash)
    #expect(MerkleHash(hash.bytes) == hash)
    #expect(MerkleHash(hash.bytes + [0]) == nil)
    #expect(MerkleHash(hash.bytes.dropLast()) == nil)
    #expect(MerkleHash(base64: hash.base64.dropLast()) == nil)
    #expect(MerkleHash(base64: Data(hash.bytes + [0]).base64EncodedString()) == nil)
  }

  /// Roots and every proof for sizes 0 to 600, held to the recursive definition: all inclusion proofs of sizes around
  /// tile borders and a sample elsewhere, all consistency proofs to the size from a sample of older sizes.
  @Test func agreesWithTheDefinition() throws {
    let naive = NaiveTree(size: 600)
    var tree = MerkleTree()
    var proofs = 0
    for size in 0...600 {
      let root = naive.root(0..<size)
      try #require(tree.head == TreeHead(size: UInt64(size), root: root), "size \(size)")
      let step = size < 70 || [255, 256, 257, 511, 512, 513, 600].contains(size) ? 1 : 37
      for index in stride(from: size % max(step, 1), to: size, by: step) {
        let proof = try tree.inclusionProof(index: UInt64(index), size: UInt64(size))
        try #require(proof == naive.inclusion(index, 0..<size), "inclusion of \(index) in \(size)")
        try MerkleProof.verifyInclusion(
          leafHash: naive.leaves[index], index: UInt64(index), size: UInt64(size), proof: proof, root: root)
        proofs += 1
      }
      for from in stride(from: size % max(step, 1), through: size, by: step) {
        let proof = try tree.consistencyProof(from: UInt64(from), to: UInt64(size))
        if from > 0 { try #require(proof == naive.consistency(from, size), "consistency of \(from) with \(size)") }
        try MerkleProof.verifyConsistency(
          from: TreeHead(size: UInt64(from), root: naive.root(0..<from)),
          to: TreeHead(size: UInt64(size), root: root), proof: proof)
        proofs += 1
      }
      if size < 600 { #expect(tree.append(naive.leaves[size]) == UInt64(size)) }
    }
    #expect(proofs > 10_000)
  }

  @Test func provesForOlderSizes() throws {
    let naive = NaiveTree(size: 530)
    var tree = MerkleTree()
    for leaf in naive.leaves { tree.append(leaf) }
    for size in stride(from: 1, through: 530, by: 23) {
      for index in stride(from: 0, to: size, by: 19) {
        #expect(
          try tree.inclusionProof(index: UInt64(index), size: UInt64(size)) == naive.inclusion(index, 0..<size))
      }
      #expect(try tree.consistencyProof(from: UInt64(size), to: 530) == naive.consistency(size, 530))
    }
    let all = try tree.inclusionProofs(100..<300, size: 500)
    #expect(all == (100..<300).map { naive.inclusion($0, 0..<500) })
  }

  @Test func refusesWhatIsOutside() throws {
    var tree = MerkleTree()
    for byte in 0..<5 as Range<UInt8> { tree.append(.leaf([byte])) }
    #expect(throws: LogError(.outOfRange, "")) { try tree.inclusionProof(index: 5, size: 5) }
    #expect(throws: LogError(.outOfRange, "")) { try tree.inclusionProof(index: 0, size: 6) }
    #expect(throws: LogError(.outOfRange, "")) { try tree.inclusionProof(index: 0, size: 0) }
    #expect(throws: LogError(.outOfRange, "")) { try tree.consistencyProof(from: 4, to: 3) }
    #expect(throws: LogError(.outOfRange, "")) { try tree.consistencyProof(from: 4, to: 6) }
    #expect(try tree.consistencyProof(from: 0, to: 5) == [])
  }

  /// Every altered proof is refused, at every position.
  @Test func refusesAlteredProofs() throws {
    var tree = MerkleTree()
    var heads = [tree.head]
    for byte in 0..<21 as Range<UInt8> {
      tree.append(.leaf([byte]))
      heads.append(tree.head)
    }
    let invalid = LogError(.proofInvalid, "")
    for index in 0..<21 as Range<UInt64> {
      let proof = try tree.inclusionProof(index: index, size: 21)
      let leaf = MerkleHash.leaf([UInt8(index)])
      func verify(_ proof: [MerkleHash], _ index: UInt64, _ leaf: MerkleHash) throws {
        try MerkleProof.verifyInclusion(leafHash: leaf, index: index, size: 21, proof: proof, root: tree.root())
      }
      for altered in alterations(of: proof) { #expect(throws: invalid) { try verify(altered, index, leaf) } }
      #expect(throws: invalid) { try verify(proof, (index + 1) % 21, leaf) }
      #expect(throws: invalid) { try verify(proof, index, .leaf([99])) }
    }
    for from in 1..<21 {
      let proof = try tree.consistencyProof(from: UInt64(from), to: 21)
      for altered in alterations(of: proof) {
        #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: heads[from], to: heads[21], proof: altered) }
      }
      let forked = TreeHead(size: UInt64(from), root: .leaf([200]))
      #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: forked, to: heads[21], proof: proof) }
    }
    let (same, other) = (heads[4], TreeHead(size: 4, root: .leaf([1])))
    try MerkleProof.verifyConsistency(from: same, to: same, proof: [])
    #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: same, to: other, proof: []) }
    #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: same, to: same, proof: [.leaf([1])]) }
    #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: .empty, to: same, proof: [.leaf([1])]) }
    let notEmpty = TreeHead(size: 0, root: .leaf([1]))
    #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: notEmpty, to: same, proof: []) }
    #expect(throws: invalid) { try MerkleProof.verifyConsistency(from: .empty, to: notEmpty, proof: []) }
    #expect(throws: LogError(.outOfRange, "")) {
      try MerkleProof.verifyConsistency(from: heads[5], to: same, proof: [])
    }
  }

  private func alterations(of proof: [MerkleHash]) -> [[MerkleHash]] {
    var all = [proof + [.leaf([1])], [.leaf([1])] + proof]
    if !proof.isEmpty { all += [Array(proof.dropLast()), Array(proof.dropFirst())] }
    for position in proof.indices {
      var altered = proof
      altered[position] = .leaf([255])
      all.append(altered)
    }
    return all
  }

  @Test func copiesAreIndependent() throws {
    var tree = MerkleTree()
    for index in 0..<255 { tree.append(.leaf(NaiveTree.entry(index))) }
    let before = tree
    let (head, store) = (before.head, NaiveTree(size: 300))
    for index in 255..<300 { tree.append(store.leaves[index]) }
    #expect(before.head == head)
    #expect(tree.root() == store.root(0..<300))
    var again = before
    for index in 255..<300 { again.append(store.leaves[index]) }
    #expect(again.drainChangedTiles() == tree.drainChangedTiles())
  }

  /// C2SP tlog-tiles gives the tiles of trees of 256 and of 70,000 leaves.
  @Test func drainsTheTilesOfTheSpecification() throws {
    var tree = MerkleTree()
    var widths: [String: Int] = [:]
    func drain() {
      for tile in tree.drainChangedTiles() { widths["\(tile.level)/\(tile.index)"] = tile.width }
    }
    for _ in 0..<256 { tree.append(.emptyTree) }
    drain()
    #expect(widths == ["0/0": 256, "1/0": 1])
    for leaf in 256..<70_000 {
      tree.append(.emptyTree)
      if leaf % 1000 == 0 { drain() }
    }
    drain()
    #expect(widths.filter { $0.key.hasPrefix("0/") && $0.value == 256 }.count == 273)
    #expect(widths["0/273"] == 112 && widths["1/0"] == 256 && widths["1/1"] == 17 && widths["2/0"] == 1)
    #expect(widths.count == 277)
    #expect(tree.drainChangedTiles().isEmpty)
  }

  @Test(arguments: [0, 1, 255, 256, 257, 511, 512, 65_536, 70_000])
  func restoresFromTiles(size: Int) throws {
    var store = InMemoryLogStore()
    var tree = MerkleTree()
    for index in 0..<size {
      tree.append(.leaf(NaiveTree.entry(index)))
      if index % 777 == 0 { try store.writeTiles(tree.drainChangedTiles()) }
    }
    try store.writeTiles(tree.drainChangedTiles())
    var restored = try MerkleTree(restoring: tree.head, from: store)
    #expect(restored.head == tree.head)
    #expect(restored.drainChangedTiles().isEmpty)
    var older = MerkleHash.emptyTree
    for index in 0..<300 {
      older = tree.root()
      let hash = MerkleHash.leaf(NaiveTree.entry(size + index))
      tree.append(hash)
      restored.append(hash)
    }
    #expect(restored.drainChangedTiles() == tree.drainChangedTiles())
    let end = restored.size
    for index in stride(from: 0, to: end, by: Int(end / 17) + 1) {
      let proof = try restored.inclusionProof(index: index, size: end - 1, from: store)
      #expect(try tree.inclusionProof(index: index, size: end - 1, from: store) == proof)
      try MerkleProof.verifyInclusion(
        leafHash: .leaf(NaiveTree.entry(Int(index))), index: index, size: end - 1, proof: proof,
        root: older)
    }
    let wrong = TreeHead(size: UInt64(size), root: .leaf([1]))
    #expect(throws: LogError(.storeInconsistent, "")) { try MerkleTree(restoring: wrong, from: store) }
    if size > 0 {
      #expect(throws: LogError(.storeInconsistent, "")) { try MerkleTree(restoring: tree.head, from: NoTiles()) }
    }
  }

  @Test func recentLeavesNeedNoReader() throws {
    var tree = MerkleTree()
    for _ in 0..<10_000 { tree.append(.emptyTree) }
    let kept = UInt64(MerkleTree.recentTiles * Tile.fullWidth)
    _ = try tree.inclusionProofs((10_000 - kept)..<10_000, size: 10_000)
    #expect(throws: LogError(.storeInconsistent, "")) { try tree.inclusionProof(index: 0, size: 10_000) }
  }

  @Test func memoryStoreKeepsTheContract() throws {
    try logStoreContract { (body: (inout InMemoryLogStore) throws -> Void) in
      var store = InMemoryLogStore()
      try body(&store)
    }
  }

  @Test func bundlesRoundTrip() throws {
    let entries: [[UInt8]] = [[], [1], [UInt8](repeating: 3, count: 65_535)]
    let bytes = try EntryBundle.encode(entries)
    #expect(bytes.prefix(7) == [0, 0, 0, 1, 1, 0xFF, 0xFF])
    #expect(try EntryBundle.decode(bytes, width: 3) == entries)
    let full = [[UInt8]](repeating: [9], count: 256)
    #expect(try EntryBundle.decode(EntryBundle.encode(full), width: 256) == full)
    #expect(throws: LogError(.malformed, "")) { try EntryBundle.decode(bytes, width: 2) }
    #expect(throws: LogError(.malformed, "")) { try EntryBundle.decode(bytes, width: 4) }
    #expect(throws: LogError(.malformed, "")) { try EntryBundle.decode(Array(bytes.dropLast()), width: 3) }
    #expect(throws: LogError(.malformed, "")) { try EntryBundle.decode([0], width: 1) }
    #expect(throws: LogError(.outOfRange, "")) { try EntryBundle.decode([], width: 0) }
    #expect(throws: LogError(.outOfRange, "")) { try EntryBundle.decode(bytes, width: 257) }
    #expect(throws: LogError(.malformed, "")) { try EntryBundle.encode([]) }
    #expect(throws: LogError(.tooLarge, "")) { try EntryBundle.encode(full + [[9]]) }
    #expect(throws: LogError(.tooLarge, "")) { try EntryBundle.encode([[UInt8](repeating: 0, count: 65_536)]) }
  }

  @Test func tilesHaveLimits() {
    #expect(Tile(level: 0, index: 0, bytes: []) == nil)
    #expect(Tile(level: 0, index: 0, bytes: [UInt8](repeating: 0, count: 33)) == nil)
    #expect(Tile(level: 64, index: 0, bytes: [UInt8](repeating: 0, count: 32)) == nil)
    #expect(Tile(level: 63, index: 0, bytes: [UInt8](repeating: 0, count: 32))?.width == 1)
    #expect(Tile(level: 0, index: 0, bytes: [UInt8](repeating: 0, count: 8192))?.width == 256)
    #expect(Tile(level: 0, index: 0, bytes: [UInt8](repeating: 0, count: 8224)) == nil)
  }
}
