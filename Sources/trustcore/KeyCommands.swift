import ArgumentParser
import OperatorClient
import Wire

struct KeyCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Makes, rotates and ends keys, and encrypts files with them.",
    discussion: "Example: trustcore keys list --state .trustcore",
    subcommands: [
      List.self, Show.self, Create.self, Rotate.self, Rewrap.self, Disable.self, Enable.self, Destroy.self,
      EncryptCommand.self, DecryptCommand.self,
    ])

  struct List: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists all keys.", discussion: "Example: trustcore keys list --state .trustcore")

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) { tell(try await deployment.client().keys(), KeyReport.list) }
  }

  struct Show: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Shows a key, its versions and what is under way.",
      discussion: "Example: trustcore keys show key_7f3a --state .trustcore")

    @Argument(help: "The key's identifier.")
    var key: String

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) { tell(try await deployment.client().key(key), KeyReport.show) }
  }

  struct Create: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes the key of a data class.",
      discussion: "Example: trustcore keys create --class files --state .trustcore")

    @Option(name: .customLong("class"), help: "A data class of the key manifest.")
    var dataClass: String

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let answer = try await deployment.client().createKey(class: dataClass, as: signer.who(unsaid: .officer))
      tell(answer, KeyReport.done("is made"))
    }
  }

  /// What the commands that name one key have in common.
  struct OneKey: ParsableArguments {
    @Argument(help: "The key's identifier.")
    var key: String

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func ask(_ verb: OperatorClient.KeyVerb) async throws(OperatorError) -> JSONObject {
      try await deployment.client().key(key, verb, as: signer.who(unsaid: .officer))
    }
  }

  struct Rotate: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a new version of a key, which encrypts from now on.",
      discussion: "Example: trustcore keys rotate key_7f3a --state .trustcore")

    @OptionGroup var one: OneKey
    var json: Bool { one.json }

    func perform() async throws(OperatorError) { tell(try await one.ask(.rotate), KeyReport.done("is rotated")) }
  }

  struct Disable: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Stops a key: nothing is encrypted or opened with it until it is enabled.",
      discussion: "Example: trustcore keys disable key_7f3a --state .trustcore")

    @OptionGroup var one: OneKey
    var json: Bool { one.json }

    func perform() async throws(OperatorError) { tell(try await one.ask(.disable), KeyReport.done("is disabled")) }
  }

  struct Enable: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Puts a disabled key to work again.",
      discussion: "Example: trustcore keys enable key_7f3a --state .trustcore")

    @OptionGroup var one: OneKey
    var json: Bool { one.json }

    func perform() async throws(OperatorError) { tell(try await one.ask(.enable), KeyReport.done("is enabled")) }
  }
}
