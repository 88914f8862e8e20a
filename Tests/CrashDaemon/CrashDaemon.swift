import ArgumentParser
import CommandGate
import Foundation
import Glibc
import Logging
import Synchronization
import TrustCoreDaemon
import UnixSignals

/// `trustcored serve --dev` that kills itself, as `kill -9` would, when the gate has taken a named step for the Nth time.
@main
struct CrashDaemon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A daemon that dies at a named point, for crash tests.", subcommands: [Serve.self])
}

struct Serve: AsyncParsableCommand {
  @Flag(help: "As trustcored's.")
  var dev = false

  @Option(help: "The folder that holds the deployment's state; absolute.")
  var state: String

  @Option(help: "The step: T1, file, sign, publish or T2.")
  var at: String

  @Option(help: "How often the step is taken until the process dies.")
  var nth = 1

  func run() async throws {
    guard dev, nth > 0, let point = GateStep(rawValue: at) else {
      throw ValidationError("Name --dev, a step in --at and a positive --nth.")
    }
    var logger = Logger(label: "crashdaemon") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = .notice
    let left = CountDown(nth)
    var configuration = Daemon.Configuration(state: state, port: 0)
    configuration.onStep = { step in
      if step == point, left.reachesZero() { kill(getpid(), SIGKILL) }
    }
    do {
      let daemon = try await Daemon(development: configuration, logger: logger)
      try await daemon.run(gracefulShutdownSignals: [.sigterm])
    } catch {
      FileHandle.standardError.write(Data("crashdaemon: \(error)\n".utf8))
      throw ExitCode(70)
    }
  }
}

final class CountDown: Sendable {
  private let left: Mutex<Int>
  init(_ count: Int) { left = Mutex(count) }

  func reachesZero() -> Bool {
    left.withLock {
      $0 -= 1
      return $0 == 0
    }
  }
}
