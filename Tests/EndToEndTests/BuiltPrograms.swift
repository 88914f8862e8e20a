import Foundation
import Glibc
import Synchronization
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
    atexit {
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
