import DemoClient
import Foundation
import Seal
import StorageSQLite
import TransparencyLog

/// What the log and its storage can do by themselves.
enum LogStorage {
  static func measure(folder: String) async throws -> [Row] {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let time = WallClock().now()
    let entries = (0..<200_000).map { number in
      Leaf.event(.init(kind: "benchmark.event", commitment: commitment(number))).encoded(at: time)
    }
    let hashing = Timing.seconds {
      var tree = MerkleTree()
      for entry in entries { tree.append(.leaf(entry)) }
      _ = tree.head
    }
    var rows = [Row("Merkle tree, leaves hashed and appended", Double(entries.count) / hashing, "/s")]
    for batch in [1, 32, 256] {
      let store = try SQLiteStore(path: "\(folder)/\(batch).sqlite")
      let commits = batch == 1 ? 1000 : 300
      let start = ContinuousClock.now
      for number in 0..<commits {
        let new = Array(entries[(number * batch % 100_000)..<(number * batch % 100_000 + batch)])
        try await store.write { unit in
          var tree = try unit.head().map { try MerkleTree(restoring: $0, from: unit) } ?? MerkleTree()
          try unit.appendEntries(firstIndex: tree.size, new)
          for entry in new { tree.append(.leaf(entry)) }
          try unit.writeTiles(tree.drainChangedTiles())
          try unit.setHead(tree.head)
        }
      }
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      rows.append(Row("durable log commits of \(batch)", Double(commits) / seconds, "/s"))
      try store.close()
    }
    return rows
  }

  /// 32 bytes that stand for a commitment.
  static func commitment(_ number: Int) -> [UInt8] {
    (0..<32).map { UInt8(truncatingIfNeeded: number &* 0x9E37_79B1 >> ($0 & 15)) }
  }
}
