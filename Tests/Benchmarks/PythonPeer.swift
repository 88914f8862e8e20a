import Foundation
import Wire

/// py_webauthn in an interpreter of its own, asked round by round over a pipe, so that its rounds stand between ours.
final class PythonPeer {
  /// Why there is none.
  static let absent = "TRUSTCORE_PYTHON is not set, see .ci/python-tools"

  /// The library and its version.
  let name: String
  private let process: Process
  private let input: FileHandle
  private let output: FileHandle

  /// Starts the interpreter that `TRUSTCORE_PYTHON` names; nil where it names none.
  static func start() throws -> PythonPeer? {
    guard let python = ProcessInfo.processInfo.environment["TRUSTCORE_PYTHON"], !python.isEmpty else { return nil }
    return try PythonPeer(python)
  }

  private init(_ python: String) throws {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("webauthn_peer.py")
    let (toPeer, fromPeer) = (Pipe(), Pipe())
    process = Process()
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = [script.path]
    process.standardInput = toPeer
    process.standardOutput = fromPeer
    (input, output) = (toPeer.fileHandleForWriting, fromPeer.fileHandleForReading)
    try process.run()
    name = try Self.line(output)
  }

  /// Sets what the rounds that follow verify, and verifies it once.
  func prepare(_ question: JSONValue) throws {
    guard try ask(String(decoding: question.canonical(), as: UTF8.self)) == "ready" else {
      throw BenchmarkError("py_webauthn does not verify what was verified here")
    }
  }

  /// Verifies so many times.
  func seconds(for count: Int) throws -> Double {
    guard let seconds = Double(try ask(String(count))) else { throw BenchmarkError("py_webauthn gave no time") }
    return seconds
  }

  func stop() {
    try? input.close()
    process.waitUntilExit()
  }

  private func ask(_ line: String) throws -> String {
    try input.write(contentsOf: Data((line + "\n").utf8))
    return try Self.line(output)
  }

  private static func line(_ output: FileHandle) throws -> String {
    var line: [UInt8] = []
    while let byte = try output.read(upToCount: 1)?.first {
      if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
      line.append(byte)
    }
    throw BenchmarkError("the Python peer ended; what it wrote stands above")
  }
}
