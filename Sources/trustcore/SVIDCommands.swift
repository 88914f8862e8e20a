import ArgumentParser
import OperatorClient
import Wire
import WorkloadAPI
import WorkloadIdentity

struct SVIDCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "svid", abstract: "Fetches, follows and verifies identities, as the workload that runs it.",
    discussion: "Example: trustcore svid fetch --socket /run/trustcore/workload.sock",
    subcommands: [Fetch.self, SVIDWatch.self, Token.self, SVIDVerify.self, SVIDShow.self, Revoke.self])

  /// What a folder holds, for the help of those that write one.
  static let layout = """
    The folder gets svid.pem (certificate and issuers), svid.key (mode 0600), bundle.pem (roots), crl.pem (revocation \
    lists, perhaps empty) and federated/DOMAIN.pem. They are links into ..data, itself a link to a folder of one \
    version, so that one rename changes them all. Who must not get a certificate and a key of two versions reads \
    ..data once and opens both below it; the version before stays until the next one comes.
    """

  struct Fetch: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Fetches the X.509-SVIDs once and prints them without keys, or writes one with its key.",
      discussion: """
        \(layout)
        Example: trustcore svid fetch --out /run/web/tls
        """)

    @OptionGroup var socket: SocketOptions
    @OptionGroup var identity: IdentityOptions

    @Option(name: .customLong("out"), help: "The folder for the files; without it, the SVIDs are printed.")
    var output: String?

    @Flag(help: "Make the key here and have it certified; the entry must permit 'own_key'. Needs --out.")
    var ownKey = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard !ownKey || output != nil else { throw ValidationError("--own-key needs a folder: name it with --out.") }
    }

    /// A certificate for a key that the daemon never sees.
    private func certified() async throws(OperatorError) -> ClientX509Update {
      let (id, pair, request): (SPIFFEID?, WorkloadKeyPair, [UInt8])
      do {
        (id, pair) = (identity.spiffeID, try WorkloadKeyPair(in: SVIDKeyStore(capacity: 1)))
        request = try pair.request()
      } catch {
        throw OperatorError(.failed, "The key could not be made: \(error).")
      }
      let svid = try await socket.call { try await $0.x509SVID(request: request, id: id) }
      return ClientX509Update(alone: svid.with(key: pair.key))
    }

    func perform() async throws(OperatorError) {
      let update =
        try await ownKey ? certified() : socket.first { (client, step) in try await client.x509SVIDs(step) }
      let now = SystemClock().now()
      guard let output else {
        return tell(try await SVIDFiles.json(update, id: identity.spiffeID, now: now), SVIDFiles.words)
      }
      let files = try await SVIDFiles(update, id: identity.spiffeID, now: now)
      try files.write(to: try WorkloadFolder(output))
      var answer = SVIDFiles.json(files.svid, files.verified)
      answer["out"] = .string(output)
      tell(answer) { _ in
        Wording.visible("\(files.svid.id) is in \(output), until \(files.verified.notAfter).")
      }
    }
  }

  struct Token: OperatorCommand {
    static let configuration = CommandConfiguration(
      commandName: "jwt",
      abstract: "Fetches a JWT-SVID and prints the token of the default identity; in JSON, those of all.",
      discussion: "Example: trustcore svid jwt --audience https://api.example.org")

    @Option(help: "Who the token is for; may be given 64 times, at least once.")
    var audience: [String] = []

    @OptionGroup var socket: SocketOptions
    @OptionGroup var identity: IdentityOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard (1...64).contains(audience.count), !audience.contains("") else {
        throw ValidationError("Name 1 to 64 times an --audience.")
      }
    }

    func perform() async throws(OperatorError) {
      let (audiences, id) = (audience, identity.spiffeID)
      let tokens = try await socket.call { try await $0.jwtSVIDs(audiences: audiences, id: id) }
      guard let first = tokens.first else {
        throw OperatorError(.unexpectedAnswer, "The daemon answered without a token.")
      }
      let rows = tokens.map { token -> JSONValue in
        ["spiffe_id": .string(token.id.description), "token": .string(token.token), "hint": .string(token.hint)]
      }
      tell(["svids": .array(rows)]) { _ in Wording.visible(first.token) }
    }
  }

  struct Revoke: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Revokes one certificate or token before its time; an officer or registrar signs this.",
      discussion: "Example: trustcore svid revoke --serial 5f3a9c01 --state .trustcore")

    @Option(help: "A certificate's serial number in hexadecimal, as openssl prints it.")
    var serial: String?

    @Option(parsing: .unconditional, help: "A token's 'jti'.")
    var jti: String?

    @Option(name: .customLong("expires-in"), help: "How long it would have lived at most, as in 1h.")
    var expiresIn: EntryTime?

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard (serial == nil) != (jti == nil) else { throw ValidationError("Name either --serial or --jti.") }
      guard expiresIn?.number != .unstated else { throw ValidationError("--expires-in needs a time, as in 1h.") }
    }

    func perform() async throws(OperatorError) {
      var seconds: Int64?
      if case .value(let value)? = expiresIn?.number { seconds = value }
      let name: OperatorClient.SVIDName = serial.map { .serial($0) } ?? .token(jti ?? "")
      let client = try deployment.client()
      var answer = try await client.revokeSVID(name, seconds: seconds, as: signer.who(unsaid: .officer))
      // It is revoked whatever comes of this.
      var isUnknown = false
      do throws(OperatorError) {
        let issuance = try await client.issuance(name)
        answer["issued_leaf_index"] = issuance?["leaf_index"] ?? .null
        isUnknown = issuance == nil
      } catch {}
      tell(answer) { answer in
        EntryReport.done(answer["revoked"]?.string ?? "-", "is revoked", answer)
          + (isUnknown ? "\nIt is not on the record as issued here: see whether it is mistyped." : "")
      }
    }
  }
}
