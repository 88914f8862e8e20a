import ArgumentParser
import Foundation
import Glibc
import Logging
import SecretMemory
import TrustCoreDaemon

struct Recover: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Wraps every key to the present data token with the offline recovery key, and ends.",
    discussion: """
      What a lost data token is replaced by: every key-encryption key was wrapped to the recovery key when it was made.
      The daemon must not run meanwhile. Each record is held to the log before it is opened.
      Example: trustcored recover --dev --state .trustcore --recovery-key .trustcore/development-recovery.key
      """)

  @Flag(help: "A development deployment: where its data token is gone, a new one is made first.")
  var dev = false

  @Option(help: "The folder that holds the deployment's state.")
  var state = "/var/lib/trustcore"

  @Option(help: "The file with the recovery key's private half: 64 hexadecimal digits, mode 0600.")
  var recoveryKey: String

  func validate() throws {
    guard dev else {
      throw ValidationError("This version serves development deployments only: start it with --dev.")
    }
  }

  func run() async throws {
    var logger = Logger(label: "trustcored") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = .notice
    let path = URL(fileURLWithPath: state, isDirectory: true).standardizedFileURL.path
    do {
      try hardenProcess()
      let seed = try SecretBytes(contentsOfFile: recoveryKey, droppingNewline: true).decodedHexadecimal()
      let count = try await Daemon.recoverKeys(
        development: Daemon.Configuration(state: path, port: 0), with: seed, logger: logger)
      FileHandle.standardOutput.write(
        Data("Wrapped \(count) version\(count == 1 ? "" : "s") of keys to the data token.\n".utf8))
      _exit(0)
    } catch {
      FileHandle.standardError.write(Data("trustcored: \(error)\n".utf8))
      throw ExitCode(70)
    }
  }
}
