import ArgumentParser
import Foundation
import Wire

/// A ``WorkloadBench`` in a process of its own, so that its memory, its descriptors and its processor time are its alone:
/// it does what standard input says, a line each, and answers with a line of JSON.
struct ServeWorkloads: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "serve-workloads", shouldDisplay: false)

  @Argument var folder: String
  @Option var users: Int

  /// The entries that a line changes: of the first user, and of everybody.
  private enum Entry: Int {
    case first, everybody

    var selectors: [String] {
      self == .first ? ["unix:uid:\(WorkloadUsers.firstUser)"] : ["unix:gid:\(WorkloadUsers.group)"]
    }
  }

  func run() async throws {
    let bench = try await WorkloadBench(folder: folder, users: users)
    _ = try await bench.change(Entry.everybody.rawValue, Entry.everybody.selectors, hint: "")
    try bench.serve()
    try Self.answer(["load": .double(bench.opening.seconds), "memory": .double(bench.opening.memory)])
    var constant: Task<Void, any Error>?
    for await line in Self.lines() {
      let words = line.split(separator: " ")
      let number = words.dropFirst().first.flatMap { Int($0) } ?? 0
      switch words.first {
      case "change-first": try Self.answer(try await change(.first, bench, number))
      case "change-everybody": try Self.answer(try await change(.everybody, bench, number))
      case "constant": constant = try await Self.constant(folder + "/constant.sock", number)
      case "issue": try Self.answer(try await bench.issueRates(number))
      case "tokens": try Self.answer(try await bench.tokenRates(number))
      case "fill":
        try await bench.fill(number)
        try Self.answer([:])
      case "match": try Self.answer(try await bench.matching(number))
      default: throw BenchmarkError("what is '\(line)'?")
      }
    }
    constant?.cancel()
    try await bench.stop()
  }

  /// Changes an entry's hint, which takes a new certificate for each process that it concerns.
  private func change(_ entry: Entry, _ bench: WorkloadBench, _ number: Int) async throws -> JSONObject {
    let start = try await bench.change(entry.rawValue, entry.selectors, hint: "hint \(number)")
    return ["started": .integer(Int64(start))]
  }

  private static func constant(_ path: String, _ bytes: Int) async throws -> Task<Void, any Error> {
    let (ready, continuation) = AsyncStream.makeStream(of: Void.self)
    let task = Task { try await WorkloadConstant.serve(path: path, bytes: bytes) { continuation.yield() } }
    for await _ in ready { break }
    try answer([:])
    return task
  }

  private static func answer(_ object: JSONObject) throws {
    try FileHandle.standardOutput.write(contentsOf: Data(JSONValue.object(object).canonical() + [0x0A]))
  }

  /// Standard input, read where it may block.
  private static func lines() -> AsyncStream<String> {
    AsyncStream { continuation in
      Thread.detachNewThread {
        while let line = readLine() { continuation.yield(line) }
        continuation.finish()
      }
    }
  }
}

/// The other end of ``ServeWorkloads``.
final class WorkloadProcess {
  let socket: String
  let constantSocket: String
  /// What it said when it was ready.
  let ready: JSONObject
  private let process = Process()
  private let input: FileHandle
  private let output: FileHandle

  /// Starts the process on a folder, which need not exist.
  /// - Parameter users: how many users its connections are of.
  init(folder: String, users: Int = Int(Int32.max)) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    (socket, constantSocket) = (folder + "/workload.sock", folder + "/constant.sock")
    let (toPeer, fromPeer) = (Pipe(), Pipe())
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments = ["serve-workloads", folder, "--users", String(users)]
    process.standardInput = toPeer
    process.standardOutput = fromPeer
    (input, output) = (toPeer.fileHandleForWriting, fromPeer.fileHandleForReading)
    try process.run()
    ready = try Self.line(output)
  }

  var pid: Int32 { process.processIdentifier }

  /// Resident memory, in KiB.
  func memory() throws -> Double { try ProcessFigures.residentMiB(pid) * 1024 }

  /// Open descriptors.
  func descriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count }

  func ask(_ line: String) throws -> JSONObject {
    try input.write(contentsOf: Data((line + "\n").utf8))
    return try Self.line(output)
  }

  func stop() {
    try? input.close()
    process.waitUntilExit()
  }

  private static func line(_ output: FileHandle) throws -> JSONObject {
    var line: [UInt8] = []
    while let byte = try output.read(upToCount: 1)?.first {
      guard byte == 0x0A else {
        line.append(byte)
        continue
      }
      guard let object = try JSONValue(parsing: line).object else { break }
      return object
    }
    throw BenchmarkError("the workloads' process ended")
  }
}

extension JSONObject {
  /// A number that must be there.
  func number(_ name: String) throws -> Double {
    switch self[name] {
    case .integer(let value): return Double(value)
    case .double(let value): return value
    default: throw BenchmarkError("the workloads' process gave no '\(name)'")
    }
  }
}
