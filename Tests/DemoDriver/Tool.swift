import DemoClient
import Foundation

/// Another program, run to its end.
enum Tool {
  struct Result {
    let status: Int32
    /// Standard output and error.
    let output: String
  }

  /// Runs a program; `name` is a path, or is looked up in PATH.
  static func run(_ name: String, _ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    guard let path = path(name) else { throw DemoError("there is no program '\(name)'") }
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return Result(status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
  }

  static func path(_ name: String) -> String? {
    if name.contains("/") { return FileManager.default.isExecutableFile(atPath: name) ? name : nil }
    let folders = ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":") ?? []
    return folders.map { $0 + "/" + name }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }
}
