import Foundation
import Glibc

@testable import WorkloadAttestation
import Wire

/// A clock that stands; unless told otherwise, a day after all that the tests made.
struct Clock: TimeSource {
  var seconds = Int64(Date().timeIntervalSince1970) + 86_400
  func now() -> Timestamp { Timestamp(seconds: seconds) }
}

/// What the tests need of the machine.
enum Host {
  static let isRoot = geteuid() == 0
  static let needsRoot = "needs root: another user's process, or namespaces"
  static let python = try! FileManager.default.destinationOfSymbolicLinkOrSelf("/usr/bin/python3")
  static let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "client.py").path

  /// A folder that other users may enter.
  static func folder() throws -> String {
    var template = Array("/tmp/attest-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    unsafe chmod(path, 0o755)
    return path
  }

  /// Copies a program by another process: a file that this one has open for writing is also open, for a moment, in each
  /// process that another test starts meanwhile, and the kernel runs no such file (ETXTBSY).
  static func copy(_ program: String, to path: String) throws {
    let copying = try Process.run(URL(filePath: "/bin/cp"), arguments: [program, path])
    copying.waitUntilExit()
    guard copying.terminationStatus == 0 else { throw POSIXError(.EIO) }
  }
}

extension FileManager {
  func destinationOfSymbolicLinkOrSelf(_ path: String) throws -> String {
    URL(filePath: path).resolvingSymlinksInPath().path
  }
}

/// A client process and this end of its connection.
final class Client {
  let peer: PeerProcess
  let folder: String
  private let connection: Int32
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()

  /// - Parameters:
  ///   - command: what runs the script; its arguments follow.
  ///   - identity: `uid:gid:groups`, or `-`.
  init(_ command: [String] = [Host.python], in folder: String? = nil, as identity: String = "-") throws {
    self.folder = try folder ?? Host.folder()
    let path = self.folder + "/s"
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    let bound = unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0, listen(listener, 1) == 0 else { throw POSIXError(.EADDRINUSE) }
    defer { close(listener) }
    unsafe chmod(path, 0o777)
    process.executableURL = URL(filePath: command[0])
    process.arguments = Array(command.dropFirst()) + [Host.script, path, identity]
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    guard Self.line(output) == "connected" else { throw POSIXError(.ECONNREFUSED) }
    connection = accept(listener, nil, nil)
    peer = try PeerProcess.pin(socket: connection)
  }

  deinit {
    close(connection)
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
    try? FileManager.default.removeItem(atPath: folder)
  }

  private static func line(_ pipe: Pipe) -> String {
    String(decoding: pipe.fileHandleForReading.availableData, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Sends a line and reads one.
  @discardableResult func tell(_ text: String) throws -> String {
    try input.fileHandleForWriting.write(contentsOf: Data((text + "\n").utf8))
    return Self.line(output)
  }

  /// Has the process become `cat`, which answers with what it is told.
  func becomeCat(_ path: String = "/bin/cat") throws {
    try input.fileHandleForWriting.write(contentsOf: Data("exec \(path)\n".utf8))
    // Read by the script and not by its successor: the first answer is the successor's only if the line is its own.
    while unreadBytes > 0 { sched_yield() }
    guard try tell("here") == "here" else { throw POSIXError(.ENOEXEC) }
  }

  private var unreadBytes: Int32 {
    var count: Int32 = 0
    unsafe _ = ioctl(input.fileHandleForWriting.fileDescriptor, UInt(FIONREAD), &count)
    return count
  }

  /// Has it exit, and waits until the kernel says so.
  func exit() throws {
    try input.fileHandleForWriting.close()
    var poll = pollfd(fd: peer.pidfd, events: Int16(POLLIN), revents: 0)
    _ = unsafe Glibc.poll(&poll, 1, -1)
  }
}

/// A tree such as the proc file system's, for a process that lives.
struct FakeTree {
  let root: String
  let pid: Int32
  var path: String { "\(root)/\(pid)" }

  init(for pid: Int32, cgroup: String = "0::/\n") throws {
    root = try Host.folder()
    self.pid = pid
    try FileManager.default.createDirectory(atPath: "\(root)/\(pid)/ns", withIntermediateDirectories: true)
    for name in ["status", "stat"] {
      try write(name, try String(contentsOf: URL(filePath: "/proc/\(pid)/\(name)"), encoding: .utf8))
    }
    try write("cgroup", cgroup)
    for name in ["exe"] + ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map({ "ns/\($0)" }) {
      try link(name, FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/\(name)"))
    }
  }

  func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(filePath: "\(path)/\(name)"))
  }

  func link(_ name: String, _ target: String) throws {
    try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
    try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
  }

  func remove() { try? FileManager.default.removeItem(atPath: root) }
}

/// SplitMix64, seeded.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
