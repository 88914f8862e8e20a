import ArgumentParser
import Foundation
import Glibc
import Logging
import TrustCoreDaemon
import UnixSignals

@main
struct Trustcored: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trustcored", abstract: "The TrustCore daemon.",
    discussion: "Example: trustcored serve --dev --state .trustcore", subcommands: [Serve.self, Recover.self])
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

  @Option(help: "The SoftHSM library; looked for where Debian and Fedora put it unless named.")
  var pkcs11Module: String?

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
      configuration.pkcs11Module = pkcs11Module
      configuration.onReady = { FileHandle.standardOutput.write(Data($0.utf8)) }
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
}
