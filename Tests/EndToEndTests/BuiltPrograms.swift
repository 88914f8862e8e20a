import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// What the build has put beside the test bundle, and what a test process leaves behind.
enum Built {
  /// An executable of this package.
  static func program(_ name: String) throws -> String {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    let path = folder.appendingPathComponent(name).path
    try #require(
      FileManager.default.isExecutableFile(atPath: path), "\(path) is not built: run swift build --build-tests")
    return path
  }

  /// A folder for this test process; it is removed when the process ends, after every daemon in it was killed.
  static let folder: URL = {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("trustcore-e2e-\(getpid())")
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    ProcessEnd.add {
      for pid in Built.daemons.withLock({ $0 }) { kill(pid, SIGKILL) }
      try? FileManager.default.removeItem(at: Built.folder)
    }
    return folder
  }()

  /// A path in the folder that nothing uses yet.
  static func fresh(_ name: String) -> String {
    folder.appendingPathComponent("\(name)-\(UInt32.random(in: 0...UInt32.max))").path
  }

  /// Daemons that live until the process ends.
  static let daemons = Mutex<[pid_t]>([])

  /// Runs a program to its end.
  static func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:],
    within limit: Duration = .seconds(120)
  ) async throws -> (status: Int32, output: String) {
    let file = fresh("output")
    _ = FileManager.default.createFile(atPath: file, contents: nil)
    let handle = try #require(FileHandle(forWritingAtPath: file))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = handle
    process.standardError = handle
    let (ended, end) = AsyncStream.makeStream(of: Void.self)
    process.terminationHandler = { _ in end.finish() }
    try process.run()
    let pid = process.processIdentifier
    let guardian = Task {
      try await Task.sleep(for: limit)
      kill(pid, SIGKILL)
    }
    for await _ in ended {}
    guardian.cancel()
    let output = FileManager.default.contents(atPath: file).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return (process.terminationStatus, output)
  }

  /// The interpreter with the clients of `.ci/python-tools`; in continuous integration it must be there.
  static func python(for what: String) throws -> String? {
    let environment = ProcessInfo.processInfo.environment
    if let path = environment["TRUSTCORE_PYTHON"], !path.isEmpty { return path }
    try #require(environment["CI"] != "true", "TRUSTCORE_PYTHON is not set, and CI is: see .ci/python-tools")
    print("skipped: \(what): TRUSTCORE_PYTHON is not set, see .ci/python-tools")
    return nil
  }
}

/// What a program came to.
struct Outcome: Sendable {
  let status: Int32
  let output: [UInt8]
  let complaint: String

  var text: String { String(decoding: output, as: UTF8.self) }
  /// Status and code, as in `65 not_authentic`.
  var summary: String {
    let code = complaint.matches(of: /\[([a-z][a-z0-9_]*)\]\n/).last.map { " " + $0.1 } ?? ""
    return "\(status)\(code)"
  }
}

extension Built {
  /// Runs a program to its end, with its streams apart.
  /// - Parameters:
  ///   - input: the file that it reads as its standard input.
  ///   - output: the file that takes its standard output, which is not given back then.
  static func pipe(
    _ program: String, _ arguments: [String], input: String = "/dev/null", output: String? = nil,
    within limit: Duration = .seconds(60)
  ) async throws -> Outcome {
    let (out, err) = (output ?? fresh("out"), fresh("err"))
    for file in [out, err] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    try #require(FileManager.default.isReadableFile(atPath: input), "\(input) cannot be read")
    process.standardInput = FileHandle(forReadingAtPath: input)
    process.standardOutput = FileHandle(forWritingAtPath: out)
    process.standardError = FileHandle(forWritingAtPath: err)
    let (ended, end) = AsyncStream.makeStream(of: Void.self)
    process.terminationHandler = { _ in end.finish() }
    try process.run()
    let pid = process.processIdentifier
    let guardian = Task {
      try await Task.sleep(for: limit)
      kill(pid, SIGKILL)
    }
    for await _ in ended {}
    guardian.cancel()
    defer { for file in [out, err] where file != output { try? FileManager.default.removeItem(atPath: file) } }
    return Outcome(
      status: process.terminationStatus,
      output: output == nil ? [UInt8](FileManager.default.contents(atPath: out) ?? Data()) : [],
      complaint: String(decoding: FileManager.default.contents(atPath: err) ?? Data(), as: UTF8.self))
  }

  /// Asks again until it holds, which takes a running daemon a moment.
  /// - Throws: ``Patience`` after `limit`.
  static func eventually(
    _ what: String, within limit: Duration = .seconds(30), _ holds: () async throws -> Bool
  ) async throws {
    let end = ContinuousClock.now + limit
    while try await !holds() {
      guard ContinuousClock.now < end else { throw Patience(description: "not within \(limit): \(what)") }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Something did not come about in time.
  struct Patience: Error, CustomStringConvertible { let description: String }
}
