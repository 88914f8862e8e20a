import Foundation
import Glibc
import OperatorClient

/// Tells a program that there are new files: by a signal, by a command, or both.
struct SVIDReload: Sendable {
  /// A file with the process' number.
  var pidFile: String?
  /// What it is sent.
  var signal = SIGHUP
  /// A program with its arguments; none for none.
  var command: [String] = []

  /// How long a command may take.
  static let patience = Duration.seconds(60)

  /// The signals that programs reload on, by name.
  static let signals: [String: Int32] = [
    "HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "USR1": SIGUSR1, "USR2": SIGUSR2, "TERM": SIGTERM, "CONT": SIGCONT,
    "WINCH": SIGWINCH,
  ]

  /// A signal's number by its name, with or without `SIG`.
  static func signal(named name: String) -> Int32? {
    let name = name.uppercased()
    return signals[name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name]
  }

  /// Does it.
  /// - Returns: what could not be done, for the log: files that are new are worth having all the same.
  func run() async -> [String] {
    var complaints: [String] = []
    if let pidFile {
      do throws(OperatorError) { try send(to: pidFile) } catch { complaints.append(error.message) }
    }
    if !command.isEmpty {
      do throws(OperatorError) { try await execute() } catch { complaints.append(error.message) }
    }
    return complaints
  }

  private func send(to path: String) throws(OperatorError) {
    let text = String(decoding: try SmallFile.read(path, maximumBytes: 64), as: UTF8.self)
    // Numbers below 2 are init, groups and everybody.
    guard let pid = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)), pid > 1 else {
      throw OperatorError(.malformed, "\(path) holds no process' number.")
    }
    guard kill(pid, signal) == 0 else {
      throw OperatorError(.failed, "Process \(pid) of \(path) cannot be signalled (errno \(errno)): is it running?")
    }
  }

  /// Runs the command, found as a shell finds it, without an input.
  private func execute() async throws(OperatorError) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["--"] + command
    process.standardInput = FileHandle.nullDevice
    let (ended, end) = AsyncStream.makeStream(of: Void.self)
    process.terminationHandler = { _ in end.finish() }
    do { try Self.start(process) } catch {
      throw OperatorError(.failed, "\(Wording.visible(command[0])) cannot be run.")
    }
    let clock = Task {
      try await Task.sleep(for: Self.patience)
      process.terminate()
    }
    await withTaskCancellationHandler {
      for await _ in ended {}
    } onCancel: {
      process.terminate()
    }
    clock.cancel()
    guard !process.isRunning, process.terminationStatus == 0 else {
      throw OperatorError(
        .failed, "\(Wording.visible(command[0])) failed: its status says \(Self.status(of: process)).")
    }
  }

  /// Starts a process that signals reach. It gets the mask of the thread that makes it, and Swift's threads block all.
  static func start(_ process: Process) throws {
    // NIO has it ignored, which programs inherit; what a handler takes is theirs to decide again.
    Glibc.signal(SIGPIPE) { _ in }
    var (open, before) = (sigset_t(), sigset_t())
    unsafe sigemptyset(&open)
    unsafe pthread_sigmask(SIG_SETMASK, &open, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
  }

  private static func status(of process: Process) -> String {
    if process.isRunning { return "that it still runs" }
    return "\(process.terminationReason == .exit ? "exit" : "signal") \(process.terminationStatus)"
  }
}
