import ArgumentParser
import OperatorClient
import SecretMemory
import Wire

/// A command that may fail as ``OperatorError`` says: the reason goes to standard error, its exit status to the shell.
protocol OperatorCommand: AsyncParsableCommand {
  /// Whether to speak JSON.
  var json: Bool { get }
  /// Whether PKCS#11 modules come into the process.
  static var usesModules: Bool { get }
  /// Does the work.
  func perform() async throws(OperatorError)
}

extension OperatorCommand {
  static var usesModules: Bool { false }

  func run() async throws {
    do throws(OperatorError) {
      do throws(SecretMemoryError) { try hardenProcess() } catch { throw OperatorError(.failed, error.message) }
      try await perform()
    } catch {
      if json {
        complainJSON(error.json)
      } else {
        complain(error.description)
      }
      if Self.usesModules { leaveModules(error.exitCode) }
      throw ExitCode(error.exitCode)
    }
  }

  /// Prints an answer: as it came for programs, in words for people.
  func tell(_ answer: JSONObject, _ words: (JSONObject) -> String) {
    say(json ? String(decoding: JSONValue.object(answer).canonical(), as: UTF8.self) : words(answer))
  }
}

/// Which deployment a command is about.
struct DeploymentOptions: ParsableArguments {
  @Option(help: "The deployment's state folder.")
  var state = "/var/lib/trustcore"

  func client() throws(OperatorError) -> OperatorClient { try OperatorClient(Deployment(state: state)) }
}

/// Who signs a command.
struct SignerOptions: ParsableArguments {
  @Option(name: .customLong("as"), help: "Who signs: officer, owner, or a file of mode 0600 with a private JWK.")
  var signer: String?

  @Option(help: "The client id that the key in the file belongs to.")
  var id: String?

  func validate() throws {
    let isRoster = ["officer", "owner", nil].contains(signer)
    guard isRoster == (id == nil) else {
      throw ValidationError(
        isRoster ? "--id belongs to a key file: name it with --as FILE." : "Name the key's client with --id.")
    }
  }

  /// Whom the options name.
  /// - Parameter unsaid: who signs where they name nobody.
  func who(unsaid: Deployment.Who) -> Deployment.Who {
    switch signer {
    case nil: unsaid
    case "officer": .officer
    case "owner": .owner
    case .some(let path): .file(path: path, id: id ?? "")
    }
  }
}
