import DemoClient
import Foundation
import Wire

/// `trustcore log verify`, and copies of the database to try it on.
struct Audit {
  /// The exit status.
  let status: Int32
  private let report: JSONObject

  /// Verifies a database against a genesis, both as files, and follows the receipt of a command where one is named.
  init(_ stage: Stage, database: String, genesis: String, receipt: String? = nil) throws {
    let result = try Tool.run(
      stage.trustcore,
      ["log", "verify", "--json", "--database", database, "--genesis", genesis]
        + (receipt.map { ["--receipt", $0] } ?? []))
    status = result.status
    guard let report = try? JSONValue(parsing: Array(result.output.utf8)).object else {
      throw Deviation("trustcore log verify", expected: "a report", actual: "status \(result.status), \(result.output)")
    }
    self.report = report
  }

  /// `place: sentence` of each finding.
  var findings: [String] {
    (report["findings"]?.array ?? []).map { finding in
      "\(finding.object?["place"]?.string ?? ""): \(finding.object?["sentence"]?.string ?? "")"
    }
  }

  /// The links of the receipt.
  var chain: [(name: String, leaf: Int64?, sentence: String)] {
    (report["chain"]?.array ?? []).map { link in
      (
        link.object?["name"]?.string ?? "", link.object?["leaf"]?.integer, link.object?["sentence"]?.string ?? ""
      )
    }
  }

  /// One of the counts.
  func count(_ name: String) -> Int64 { report[name]?.integer ?? -1 }

  /// Demands that nothing was found.
  func demandSound() throws {
    guard status == 0, report["sound"] == true else {
      throw Deviation("trustcore log verify", expected: "sound", actual: findings.joined(separator: "; "))
    }
  }

  /// What was proven, in a line.
  var proven: String {
    "\(count("leaves")) leaves, \(count("receipts")) receipts"
  }
}

/// A database with the files that SQLite keeps beside it.
struct DatabaseFiles {
  let path: String
  private static let suffixes = ["", "-wal", "-shm"]

  /// Replaces these files by those of another database. Nobody may have either open.
  func replace(with other: DatabaseFiles) throws {
    let files = FileManager.default
    for suffix in Self.suffixes {
      if files.fileExists(atPath: path + suffix) { try files.removeItem(atPath: path + suffix) }
      // SQLite makes the shared-memory index anew.
      guard suffix != "-shm", files.fileExists(atPath: other.path + suffix) else { continue }
      try files.copyItem(atPath: other.path + suffix, toPath: path + suffix)
    }
  }

  /// Where some bytes lie in the main file.
  func offsets(of needle: [UInt8]) throws -> [Int] {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    var offsets: [Int] = []
    var start = data.startIndex
    while let range = data.range(of: Data(needle), in: start..<data.endIndex) {
      offsets.append(range.lowerBound)
      start = range.lowerBound + 1
    }
    return offsets
  }

  /// Flips the lowest bit of one byte.
  func flip(at offset: Int) throws {
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    defer { try? handle.close() }
    try handle.seek(toOffset: UInt64(offset))
    guard let byte = try handle.read(upToCount: 1)?.first else { throw DemoError("\(path) is shorter than it was") }
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: Data([byte ^ 1]))
  }
}
