import ArgumentParser
import Foundation
import Glibc
import Logging
import TrustCoreAPI
import TrustCoreDaemon
import UnixSignals

@main
struct Trustcored: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trustcored", abstract: "The TrustCore daemon.",
    discussion: "Example: trustcored serve --dev --state .trustcore", subcommands: [Serve.self])
}

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serves until it is told to stop.", discussion: "Example: trustcored serve --dev --state .trustcore")

  @Flag(help: "Run a development deployment: SoftHSM tokens and a roster of its own, loopback only.")
  var dev = false

  @Option(help: "The folder that holds the deployment's state.")
  var state = "/var/lib/trustcore"

  @Option(help: "The port to listen on; 0 picks a free one on the first start and keeps it.")
  var port = 0

  func validate() throws {
    guard dev else {
      throw ValidationError("This version serves development deployments only: start it with --dev.")
    }
    guard (0...65_535).contains(port) else { throw ValidationError("--port takes a number from 0 to 65535.") }
  }

  func run() async throws {
    var logger = Logger(label: "trustcored") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = .notice
    let path = URL(fileURLWithPath: state, isDirectory: true).standardizedFileURL.path
    do {
      var configuration = Daemon.Configuration(state: path, port: port)
      configuration.onReady = { ready in
        FileHandle.standardOutput.write(Data(Self.summary(ready, state: path).utf8))
      }
      let daemon = try await Daemon(development: configuration, logger: logger)
      try await daemon.run(gracefulShutdownSignals: [.sigterm, .sigint])
      // Everything is closed. SoftHSM's destructors may crash after C_Finalize, so none runs.
      _exit(0)
    } catch {
      FileHandle.standardError.write(Data("trustcored: \(error)\n".utf8))
      // EX_SOFTWARE of sysexits.
      throw ExitCode(70)
    }
  }

  /// Where everything is, for the person who started it.
  private static func summary(_ ready: ReadyFile, state: String) -> String {
    let rows: [(String, String?)] = [
      ("API", ready["api"]), ("CA certificate", ready["ca"]), ("trust domain", ready["trust_domain"]),
      ("log key", ready.logKeys.first), ("enrol agents with", ready["registration_token_file"]),
      ("audit with", ready["auditor_token_file"]), ("owner's key", ready["owner_key_file"]),
      ("officer's key", ready["officer_key_file"]), ("all of it", state + "/ready.json"),
    ]
    let lines = rows.map { label, value in
      "  " + label.padding(toLength: 19, withPad: " ", startingAt: 0) + (value ?? "")
    }
    return """
      trustcored serves a development deployment: SoftHSM tokens, loopback only, keys of owner and officer in files.
      \(lines.joined(separator: "\n"))
      Stop it with Control-C.

      """
  }
}
