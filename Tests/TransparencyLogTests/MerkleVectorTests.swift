import Foundation
import TestSupport
import Testing
import TransparencyLog

/// transparency-dev/merkle's test data; each case's `wantErr` decides.
@Suite("Merkle vectors", .enabled(if: Vectors.has("merkle")))
struct MerkleVectorTests {
  private struct Case: Decodable {
    let leafIdx: UInt64
    let treeSize: UInt64?
    let start: UInt64?
    let end: UInt64?
    let root: String
    let leafHash: String
    let proof: [String]?
    let desc: String
    let wantErr: Bool
  }

  private func cases(_ group: String) throws -> [(String, Case)] {
    let folder = Vectors.root.appendingPathComponent("merkle/testdata/\(group)")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)?.allObjects as? [URL]
    return try #require(files).filter { $0.pathExtension == "json" }.sorted { $0.path < $1.path }
      .map { ($0.path.replacingOccurrences(of: folder.path, with: ""), try Data(contentsOf: $0)) }
      .map { ($0, try JSONDecoder().decode(Case.self, from: $1)) }
  }

  /// A hash of another length than 32 bytes is refused when it is parsed, which counts as an error of the case.
  private func verifies(_ item: Case, index: UInt64, size: UInt64) -> Bool {
    let proof = (item.proof ?? []).compactMap { MerkleHash(base64: $0) }
    guard let leaf = MerkleHash(base64: item.leafHash), let root = MerkleHash(base64: item.root),
      proof.count == item.proof?.count ?? 0
    else { return false }
    do {
      try MerkleProof.verifyInclusion(leafHash: leaf, index: index, size: size, proof: proof, root: root)
      return true
    } catch {
      return false
    }
  }

  @Test func inclusion() throws {
    var tally = Tally("merkle/inclusion")
    for (name, item) in try cases("inclusion") {
      let size = try #require(item.treeSize)
      tally.expect(verifies(item, index: item.leafIdx, size: size) == !item.wantErr, "\(name): \(item.desc)")
    }
    tally.report()
  }

  /// The product has no subtree proofs, but a subtree's proof is an inclusion proof of a tree of its own leaves; what
  /// makes a range a subtree (draft-ietf-plants-merkle-tree-certs §4.1) is checked here.
  @Test func subtreeInclusion() throws {
    var tally = Tally("merkle/subtreeinclusion")
    for (name, item) in try cases("subtreeinclusion") {
      let (start, end) = (try #require(item.start), try #require(item.end))
      var aligned = start < end && end - start <= 1 << 62
      if aligned {
        var width: UInt64 = 1
        while width < end - start { width *= 2 }
        aligned = start % width == 0
      }
      let holds =
        aligned && item.leafIdx >= start && verifies(item, index: item.leafIdx - start, size: end - start)
      tally.expect(holds == !item.wantErr, "\(name): \(item.desc)")
    }
    tally.report()
  }
}
