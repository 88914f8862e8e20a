import CommandGate
import DemoClient
import Foundation
import Seal
import StorageSQLite
import TransparencyLog
import TrustCoreAPI

/// How soon a daemon with a long log serves, and what it holds in memory then.
enum Recovery {
  private static let leaves = 1_000_000
  private static let perTransaction = 50_000

  static func measure(trustcored: String, state: String) async throws -> [Row] {
    let daemon = DaemonProcess(executable: trustcored, state: state)
    guard let database = try await daemon.start()["database"] else {
      throw BenchmarkError("ready.json names no database")
    }
    try await daemon.stop()
    try await fill(database)
    // The first start seals what was added; the ones that are measured find the log in step, as after any stop.
    _ = try await daemon.start()
    try await daemon.stop()
    var times: [Double] = []
    var memory: [Double] = []
    for _ in 0..<3 {
      let (seconds, pid) = try await start(daemon, state)
      times.append(seconds * 1000)
      try await Task.sleep(for: .seconds(1))
      memory.append(try ProcessFigures.residentMiB(pid))
      try await daemon.stop()
    }
    return [
      Row("start to ready, 1 M leaves", Timing.median(times), "ms", most: 500),
      Row("idle memory, 1 M leaves", Timing.median(memory), "MiB", most: 64),
    ]
  }

  private static func start(_ daemon: DaemonProcess, _ state: String) async throws -> (seconds: Double, pid: Int32) {
    let start = Date()
    let ready = try await daemon.start()
    // The daemon writes the file when it serves; whoever polls for it sees it later.
    let file = try FileManager.default.attributesOfItem(atPath: state + "/ready.json")
    guard let served = file[.modificationDate] as? Date else { throw BenchmarkError("ready.json has no date") }
    return (served.timeIntervalSince(start), ready.pid)
  }

  /// Extends the log by events, as the daemon would have written them, in large transactions.
  private static func fill(_ database: String) async throws {
    let store = try SQLiteStore(path: database)
    let time = WallClock().now()
    for start in stride(from: 0, to: leaves, by: perTransaction) {
      try await store.write { unit in
        guard let head = try unit.head() else { throw BenchmarkError("the database holds no log") }
        var tree = try MerkleTree(restoring: head, from: unit)
        let entries = (start..<(start + perTransaction)).map { number in
          Leaf.event(.init(kind: "benchmark.event", commitment: LogStorage.commitment(number))).encoded(at: time)
        }
        try unit.appendEntries(firstIndex: head.size, entries)
        for entry in entries { tree.append(.leaf(entry)) }
        try unit.writeTiles(tree.drainChangedTiles())
        try unit.setHead(tree.head)
      }
    }
    try store.close()
  }
}
