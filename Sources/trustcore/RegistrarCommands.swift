import ArgumentParser
import OperatorClient
import Wire

struct RegistrarCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "registrar", abstract: "Says whose keys may change registration entries.",
    discussion: "Example: trustcore registrar enrol --name deploy --key deploy.jwk --state .trustcore",
    subcommands: [List.self, Enrol.self, Revoke.self])

  struct List: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists the registrars, also those that were revoked.",
      discussion: "Example: trustcore registrar list --state .trustcore")

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      tell(try await deployment.client().registrars()) { answer in
        let rows = (answer["registrars"]?.array ?? []).compactMap(\.object)
        if rows.isEmpty { return "No registrars: officers alone change entries." }
        return Wording.table(
          ["Registrar", "State", "Leaf", "Key (thumbprint)"],
          rows.map { row in ["id", "state", "leaf_index", "thumbprint"].map { EntryReport.text(row[$0]) } })
      }
    }
  }

  struct Enrol: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lets a key change registration entries, and nothing else.",
      discussion: """
        The registrar then signs with --as FILE --id and the identifier that is printed.
        Example: trustcore registrar enrol --name deploy --key deploy.jwk --state .trustcore
        """)

    @Option(help: "A name for people.")
    var name: String

    @Option(help: "A file with the JWK, P-256 or Ed25519; of a private one only the public part is sent.")
    var key: String

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let key = try PublicKeyFile.read(key)
      let answer = try await deployment.client().enrolRegistrar(name, key: key, as: signer.who(unsaid: .officer))
      tell(answer) { EntryReport.done($0["registrar"]?.string ?? "-", "is enrolled", $0) }
    }
  }

  struct Revoke: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ends what a registrar may do, for good; the entries that it made stay.",
      discussion: "Example: trustcore registrar revoke reg_AAECAwQFBgcICQoLDA0ODw --state .trustcore")

    @Argument(help: "The registrar's identifier.")
    var registrar: String

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let answer = try await deployment.client().revokeRegistrar(registrar, as: signer.who(unsaid: .officer))
      tell(answer) { EntryReport.done(registrar, "is revoked", $0) }
    }
  }
}
