import TransparencyLog

/// RFC 9162 §2.1 written as the text defines it, recursively: the oracle for the tree.
struct NaiveTree {
  var leaves: [MerkleHash]

  init(size: Int) { leaves = (0..<size).map { MerkleHash.leaf(NaiveTree.entry($0)) } }

  static func entry(_ index: Int) -> [UInt8] { Array("leaf \(index)".utf8) }

  /// The largest power of two below n.
  private static func split(_ n: Int) -> Int {
    var k = 1
    while k * 2 < n { k *= 2 }
    return k
  }

  // The definition hashes the same ranges over and over; their roots never change.
  private final class Memo { var roots: [Range<Int>: MerkleHash] = [:] }
  private let memo = Memo()

  func root(_ range: Range<Int>) -> MerkleHash {
    if let root = memo.roots[range] { return root }
    let root = computeRoot(range)
    memo.roots[range] = root
    return root
  }

  private func computeRoot(_ range: Range<Int>) -> MerkleHash {
    if range.isEmpty { return .emptyTree }
    if range.count == 1 { return leaves[range.lowerBound] }
    let middle = range.lowerBound + Self.split(range.count)
    return .node(root(range.lowerBound..<middle), root(middle..<range.upperBound))
  }

  func inclusion(_ index: Int, _ range: Range<Int>) -> [MerkleHash] {
    guard range.count > 1 else { return [] }
    let middle = range.lowerBound + Self.split(range.count)
    let (left, right) = (range.lowerBound..<middle, middle..<range.upperBound)
    return index < middle ? inclusion(index, left) + [root(right)] : inclusion(index, right) + [root(left)]
  }

  func consistency(_ from: Int, _ to: Int) -> [MerkleHash] { subproof(from, 0..<to, true) }

  private func subproof(_ m: Int, _ range: Range<Int>, _ complete: Bool) -> [MerkleHash] {
    if m == range.upperBound { return complete ? [] : [root(range)] }
    let middle = range.lowerBound + Self.split(range.count)
    let (left, right) = (range.lowerBound..<middle, middle..<range.upperBound)
    return m <= middle
      ? subproof(m, left, complete) + [root(right)] : subproof(m, right, false) + [root(left)]
  }
}
