import Foundation
import Glibc
import Synchronization
public import TrustCoreAPI

/// A `trustcored serve --dev` in a process of its own, driven by signals and `ready.json` alone.
public actor DaemonProcess {
  /// The state folder.
  public nonisolated let state: String
  /// The file that takes the daemon's standard output and error.
  public nonisolated let log: String
  private let executable: String
  private let arguments: [String]
  private let environment: [String: String]
  private var process: Process?
  private var exited: AsyncStream<Int32>?
  private let spawned = Atomic<Int32>(0)

  /// Prepares a daemon; ``start(within:)`` runs it.
  /// - Parameters:
  ///   - executable: the path of `trustcored`.
  ///   - state: the state folder; it need not exist.
  ///   - log: where its output goes; `state` with `.log` behind it unless stated.
  ///   - arguments: further arguments of `serve`.
  ///   - environment: variables to set beside the inherited ones.
  public init(
    executable: String, state: String, log: String? = nil, arguments: [String] = [], environment: [String: String] = [:]
  ) {
    self.executable = executable
    self.state = state
    self.log = log ?? state + ".log"
    self.arguments = arguments
    self.environment = environment
  }

  /// Whether the process runs.
  public var isRunning: Bool { process?.isRunning ?? false }

  /// The process identifier; nil where nothing runs.
  public var pid: Int32? { isRunning ? process?.processIdentifier : nil }

  /// Starts the daemon and waits until it serves.
  /// - Parameter limit: how long it may take until `ready.json` is there.
  /// - Throws: ``DemoError`` with the end of its log where it exits or takes longer; it does not run then.
  public func start(within limit: Duration = .seconds(60)) async throws -> ReadyFile {
    guard !isRunning else { throw DemoError("the daemon on \(state) runs already") }
    // A killed daemon leaves its file behind; the new one must not be mistaken for it.
    unsafe unlink(state + "/ready.json")
    let descriptor = unsafe open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw DemoError("\(log) cannot be written") }
    let output = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = ["serve", "--dev", "--state", state] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
    process.terminationHandler = { [weak self] process in
      self?.spawned.store(0, ordering: .relaxed)
      continuation.yield(process.terminationStatus)
      continuation.finish()
    }
    try process.run()
    spawned.store(process.processIdentifier, ordering: .relaxed)
    (self.process, exited) = (process, stream)
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
      guard process.isRunning else {
        throw DemoError("trustcored ended with status \(process.terminationStatus) before it served:\n\(logTail)")
      }
      if let data = FileManager.default.contents(atPath: state + "/ready.json"),
        let ready = try? ReadyFile(decoding: [UInt8](data)), ready.pid == process.processIdentifier
      {
        return ready
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    await kill()
    throw DemoError("trustcored did not serve within \(limit):\n\(logTail)")
  }

  /// Asks the daemon to stop and waits until it has; after `limit` it is killed.
  /// - Returns: the exit status; nil where nothing ran.
  /// - Throws: ``DemoError`` where it had to be killed.
  @discardableResult
  public func stop(within limit: Duration = .seconds(30)) async throws -> Int32? {
    guard let process, process.isRunning else { return nil }
    process.terminate()
    let pid = process.processIdentifier
    let killer = Task {
      try await Task.sleep(for: limit)
      Glibc.kill(pid, SIGKILL)
    }
    defer { killer.cancel() }
    let status = await wait()
    guard process.terminationReason == .exit else {
      throw DemoError("trustcored did not stop within \(limit) and was killed:\n\(logTail)")
    }
    return status
  }

  /// Kills the daemon as `kill -9` does and waits until it is gone.
  public func kill() async {
    guard let process, process.isRunning else { return }
    Glibc.kill(process.processIdentifier, SIGKILL)
    _ = await wait()
  }

  /// Sends SIGKILL and does not wait, from wherever the caller is: for a program that is being interrupted.
  public nonisolated func abandon() {
    let pid = spawned.load(ordering: .relaxed)
    if pid > 0 { Glibc.kill(pid, SIGKILL) }
  }

  private func wait() async -> Int32? {
    guard let exited else { return nil }
    for await status in exited { return status }
    return process?.terminationStatus
  }

  /// The last lines of the log.
  public nonisolated var logTail: String {
    let text = FileManager.default.contents(atPath: log).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return text.split(separator: "\n").suffix(12).joined(separator: "\n")
  }

  deinit {
    if let process, process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
  }
}
