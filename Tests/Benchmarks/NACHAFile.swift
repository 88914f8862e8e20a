import DemoClient
import Foundation
import Glibc
import Rails
import Wire

/// A NACHA file of a million credits written, and read again, each in a process of its own so that its memory can be told.
enum NACHAFile {
  static let entries = 1_000_000

  /// What a process did, printed as JSON for the one that started it.
  struct Figures {
    let seconds: Double
    /// How far resident memory rose above what the process held before, in MiB.
    let growth: Double
    let entries: Int

    init(seconds: Double, growth: Double, entries: Int) {
      (self.seconds, self.growth, self.entries) = (seconds, growth, entries)
    }

    init(json: JSONValue) throws {
      guard let object = json.object, let microseconds = object["microseconds"]?.integer,
        let kibibytes = object["growth_kib"]?.integer, let entries = object["entries"]?.integer
      else { throw BenchmarkError("the process that handled the file printed \(json)") }
      self.init(seconds: Double(microseconds) / 1e6, growth: Double(kibibytes) / 1024, entries: Int(entries))
    }

    var json: JSONValue {
      [
        "microseconds": .integer(Int64(seconds * 1e6)), "growth_kib": .integer(Int64(growth * 1024)),
        "entries": .integer(Int64(entries)),
      ]
    }
  }

  static func measure(folder: String) throws -> [Row] {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/payments.ach"
    let written = try median("write-nacha", path)
    let read = try median("read-nacha", path)
    guard written.entries == entries, read.entries == entries else {
      throw BenchmarkError("\(written.entries) entries were written and \(read.entries) read, not \(entries)")
    }
    return [
      Row("NACHA file of 1 M entries written", written.seconds, "s", most: 3),
      Row("  memory that it took", written.growth, "MiB", most: 64),
      Row("NACHA file of 1 M entries read", read.seconds, "s"),
      Row("  memory that it took", read.growth, "MiB", most: 64),
    ]
  }

  /// The median of three runs by time, with the greatest memory of them.
  private static func median(_ command: String, _ path: String) throws -> Figures {
    let runs = try (0..<3).map { _ in try run(command, path) }
    return Figures(
      seconds: Timing.median(runs.map(\.seconds)), growth: runs.map(\.growth).max() ?? .nan,
      entries: runs.map(\.entries).min() ?? 0)
  }

  private static func run(_ command: String, _ path: String) throws -> Figures {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments = [command, path]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw BenchmarkError("'\(command)' failed") }
    return try Figures(json: try JSONValue(parsing: [UInt8](text)))
  }

  // MARK: - In the process of its own

  /// Writes the file, a chunk at a time, and has the kernel store it.
  static func write(_ path: String) throws -> Figures {
    let credits = try Credits()
    let date = try day(2026, 11, 23)
    let builder = try ACHFileBuilder(
      originator: try ACHOriginator(
        immediateDestination: "231380104", immediateOrigin: "1121042882", destinationName: "Federal Reserve Bank",
        originName: "TrustCore Bench", companyName: "TrustCore", companyIdentification: "1121042882",
        odfi: "12104288", entryDescription: "PAYMENT"),
      fileIDModifier: "A", creationDate: date, creationTime: CivilTime.morning,
      effectiveEntryDate: try day(2026, 11, 24))
    return try measured {
      guard FileManager.default.createFile(atPath: path, contents: nil),
        let file = FileHandle(forWritingAtPath: path)
      else { throw BenchmarkError("\(path) cannot be written") }
      try builder.write(credits) { chunk in try file.write(contentsOf: chunk) }
      try file.synchronize()
      try file.close()
      return credits.count
    }
  }

  /// Reads the file, a chunk at a time, and checks all of it.
  static func read(_ path: String) throws -> Figures {
    try measured {
      guard let file = FileHandle(forReadingAtPath: path) else { throw BenchmarkError("\(path) cannot be read") }
      var reader = ACHReader(.originated)
      var grouper = ACHEntryGrouper()
      var count = 0
      var total: Int64 = 0
      let visit = { (record: ACHRecord) throws(ACHError) in
        guard let entry = grouper.take(record) else { return }
        count += 1
        total += entry.amount
      }
      while let chunk = try file.read(upToCount: 1 << 16), !chunk.isEmpty { try reader.read(chunk, visit) }
      try reader.finish(visit)
      guard total == (try Credits()).total else { throw BenchmarkError("the amounts read are not those written") }
      return count
    }
  }

  private static func measured(_ body: () throws -> Int) throws -> Figures {
    let before = try ProcessFigures.residentMiB(getpid())
    var count = 0
    let seconds = try Timing.seconds { count = try body() }
    return Figures(
      seconds: seconds, growth: try ProcessFigures.peakMiB(getpid()) - before, entries: count)
  }

  private static func day(_ year: Int, _ month: Int, _ day: Int) throws -> CivilDate {
    guard let date = CivilDate(year: year, month: month, day: day) else { throw BenchmarkError("no such day") }
    return date
  }
}

/// A million credits, made when they are asked for: to a thousand accounts, half of them of companies, a tenth with a
/// reference.
private struct Credits: RandomAccessCollection {
  private let accounts: [ACHAccount]
  private let first: ACHCredit
  let startIndex = 0
  let endIndex = NACHAFile.entries

  init() throws {
    accounts = try (0..<1000).map { number in
      try ACHAccount(
        routingNumber: number % 3 == 0 ? "231380104" : "021000021", accountNumber: "744-\(number)-5678",
        kind: number % 5 == 0 ? .savings : .checking, entryClass: number % 2 == 0 ? .ccd : .ppd,
        receiverName: "Receiver \(number)")
    }
    first = try ACHCredit(account: accounts[0], amount: 1, leafIndex: 1)
  }

  subscript(position: Int) -> ACHCredit {
    // One that cannot be made would repeat the first one's leaf, which the builder refuses.
    (try? ACHCredit(
      account: accounts[position % accounts.count], amount: amount(position), leafIndex: UInt64(position + 1),
      reference: position % 10 == 0 ? "Invoice \(position)" : nil)) ?? first
  }

  private func amount(_ position: Int) -> Int64 { Int64(1 + position % 99_991) }

  var total: Int64 { indices.reduce(0) { $0 + amount($1) } }
}
