/// Verification of Merkle proofs (RFC 9162 §2.1.3.2 and §2.1.4.2).
public enum MerkleProof {
  /// The most hashes that any proof for a tree of at most ``TreeHead/maximumSize`` leaves can hold.
  public static let maximumLength = 64

  /// Verifies that the leaf is at `index` of the tree.
  ///
  /// - Parameters:
  ///   - leafHash: ``MerkleHash/leaf(_:)`` of the entry.
  ///   - index: the leaf's position, from zero.
  ///   - size: the number of leaves of the tree.
  ///   - proof: the sibling hashes from the leaf upwards.
  ///   - root: the tree's root.
  /// - Throws: ``LogError/Code-swift.struct/outOfRange`` for an index outside the tree,
  ///   ``LogError/Code-swift.struct/proofInvalid`` for a proof that does not lead to the root.
  public static func verifyInclusion(
    leafHash: MerkleHash, index: UInt64, size: UInt64, proof: [MerkleHash], root: MerkleHash
  ) throws(LogError) {
    guard index < size else {
      throw LogError(.outOfRange, "leaf \(index) is outside a tree of \(size) leaves: fetch a newer checkpoint")
    }
    var (node, last) = (index, size - 1)
    var hash = leafHash
    for sibling in proof {
      guard last != 0 else { throw wrongLength(proof) }
      if node & 1 == 1 || node == last {
        hash = .node(sibling, hash)
        // A node without a right sibling climbs until it is a right child.
        while node & 1 == 0, node != 0 {
          node >>= 1
          last >>= 1
        }
      } else {
        hash = .node(hash, sibling)
      }
      node >>= 1
      last >>= 1
    }
    guard last == 0 else { throw wrongLength(proof) }
    guard hash == root else {
      throw LogError(.proofInvalid, "the inclusion proof leads to another root: fetch proof and checkpoint together")
    }
  }

  /// Verifies that the tree `to` begins with all leaves of the tree `from`.
  ///
  /// A proof from the empty tree has no hashes; so has one between equal sizes, whose roots must then be equal.
  ///
  /// - Throws: ``LogError/Code-swift.struct/outOfRange`` when `to` is smaller than `from`,
  ///   ``LogError/Code-swift.struct/proofInvalid`` for a proof that does not lead to both roots.
  public static func verifyConsistency(from: TreeHead, to: TreeHead, proof: [MerkleHash]) throws(LogError) {
    guard from.size <= to.size else {
      throw LogError(.outOfRange, "a tree of \(to.size) leaves cannot extend one of \(from.size)")
    }
    if from.size == 0 || from.size == to.size {
      guard proof.isEmpty else { throw wrongLength(proof) }
      guard from.root == (from.size == 0 ? .emptyTree : to.root), to.size > 0 || to.root == .emptyTree else {
        throw LogError(.proofInvalid, "two roots are claimed for one tree size: keep both heads as evidence of a fork")
      }
      return
    }
    // §2.1.4.2: a complete subtree is not part of its own proof.
    var path = proof[...]
    guard let start = from.size & (from.size - 1) == 0 ? from.root : path.popFirst() else { throw wrongLength(proof) }
    let shift = (~(from.size - 1)).trailingZeroBitCount
    var (node, last) = ((from.size - 1) >> shift, (to.size - 1) >> shift)
    var (old, new) = (start, start)
    for sibling in path {
      guard last != 0 else { throw wrongLength(proof) }
      if node & 1 == 1 || node == last {
        old = .node(sibling, old)
        new = .node(sibling, new)
        while node & 1 == 0, node != 0 {
          node >>= 1
          last >>= 1
        }
      } else {
        new = .node(new, sibling)
      }
      node >>= 1
      last >>= 1
    }
    guard last == 0 else { throw wrongLength(proof) }
    guard old == from.root, new == to.root else {
      throw LogError(
        .proofInvalid, "the consistency proof leads to other roots: the tree is no extension, or was forked")
    }
  }

  private static func wrongLength(_ proof: [MerkleHash]) -> LogError {
    LogError(.proofInvalid, "\(proof.count) hashes are not the length that a proof for these sizes has")
  }
}
