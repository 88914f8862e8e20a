import ArgumentParser
import OperatorClient
import Wire
import WorkloadIdentity

struct EntryCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "entry", abstract: "Says which workloads get which identity.",
    discussion: "Example: trustcore entry list --state .trustcore",
    subcommands: [Create.self, List.self, Show.self, Update.self, Delete.self, Apply.self])

  struct Create: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes an entry.",
      discussion: """
        Example: trustcore entry create --spiffe-id spiffe://example.org/web --selector unix:uid:1000 --state .trustcore
        """)

    @OptionGroup var members: EntryOptions
    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard members.spiffeID != nil, !members.selector.isEmpty else {
        throw ValidationError("Name --spiffe-id, and at least one --selector.")
      }
    }

    func perform() async throws(OperatorError) {
      let client = try deployment.client()
      var entry = members.changing([:])
      if entry["parent_id"] == nil { entry["parent_id"] = .string(try await client.workloadTerms().node) }
      let answer = try await client.changeEntries(
        ["create": [.object(entry)]], as: signer.who(unsaid: .officer))
      tell(answer) { EntryReport.done($0["created"]?.array?.first?.string ?? "-", "is made", $0) }
      await EntryReport.warn([entry], client, json: json)
    }
  }

  struct List: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists entries.",
      discussion: """
        What --json prints is also a file for 'entry apply'.
        Example: trustcore entry list --selector unix:uid:1000 --state .trustcore
        """)

    @Option(name: .customLong("spiffe-id"), help: "Only entries of this SPIFFE ID.")
    var spiffeID: String?

    @Option(help: "Only entries with this selector; may be given several times.")
    var selector: [String] = []

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      if let spiffeID, (try? SPIFFEID(spiffeID)) == nil { throw ValidationError("--spiffe-id is no SPIFFE ID.") }
      for selector in selector {
        do { _ = try Selector(selector) } catch { throw ValidationError("--selector: \(error.message).") }
      }
    }

    func perform() async throws(OperatorError) {
      let all = try await deployment.client().entries()
      let found = Self.filter(all, spiffeID: spiffeID, selectors: selector)
      tell(["entries": .array(found.map(JSONValue.object))]) { _ in EntryReport.list(found, of: all.count) }
    }

    static func filter(_ entries: [JSONObject], spiffeID: String?, selectors: [String]) -> [JSONObject] {
      entries.filter { entry in
        let own = (entry["selectors"]?.array ?? []).compactMap(\.string)
        return (spiffeID == nil || entry["spiffe_id"]?.string == spiffeID) && selectors.allSatisfy(own.contains)
      }
    }
  }

  struct Show: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Shows an entry.",
      discussion: "Example: trustcore entry show ent_AAECAwQFBgcICQoLDA0ODw --state .trustcore")

    @Argument(help: "The entry's identifier.")
    var entry: String

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) { tell(try await deployment.client().entry(entry), EntryReport.show) }
  }

  struct Update: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Changes an entry; what is not said stays.",
      discussion: """
        An option that may be given several times replaces all that there was. An empty text leaves none, and the word
        'default' takes a time or the rate away.
        Example: trustcore entry update ent_AAECAwQFBgcICQoLDA0ODw --x509-ttl 30m --state .trustcore
        """)

    @Argument(help: "The entry's identifier.")
    var entry: String

    @OptionGroup var members: EntryOptions
    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard !members.isEmpty else { throw ValidationError("Say what to change, such as --selector or --x509-ttl.") }
    }

    func perform() async throws(OperatorError) {
      let client = try deployment.client()
      var present = try await client.entry(entry)
      for name in ["id", "leaf_index"] { present[name] = nil }
      let update: JSONValue = ["id": .string(entry), "entry": .object(members.changing(present))]
      let answer = try await client.changeEntries(["update": [update]], as: signer.who(unsaid: .officer))
      tell(answer) { EntryReport.done(entry, "is changed", $0) }
      await EntryReport.warn([members.changing([:])], client, json: json)
    }
  }

  struct Delete: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ends entries, all of them or none; their workloads lose the identity at once.",
      discussion: "Example: trustcore entry delete ent_AAECAwQFBgcICQoLDA0ODw --state .trustcore")

    @Argument(help: "The entries' identifiers, at most 1,000.")
    var entries: [String]

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard (1...WorkloadEntryPlan.maximumChanges).contains(entries.count) else {
        throw ValidationError("Name 1 to \(WorkloadEntryPlan.maximumChanges) entries.")
      }
    }

    func perform() async throws(OperatorError) {
      let ids = try entries.map { (id) throws(OperatorError) in JSONValue.string(try OperatorClient.entryID(id)) }
      let answer = try await deployment.client()
        .changeEntries(["delete": .array(ids)], as: signer.who(unsaid: .officer))
      tell(answer) { EntryReport.done(Wording.count(ids.count, "entry", "entries"), "deleted", $0) }
    }
  }
}

extension OperatorClient {
  /// What entries are read against: the trust domain that is served, and the node that is their parent unless stated.
  func workloadTerms() async throws(OperatorError) -> (domain: TrustDomain, node: String) {
    let status = try await workloads()
    guard let domain = status["trust_domain"]?.string.flatMap({ try? TrustDomain($0) }),
      let node = status["node_id"]?.string
    else {
      throw OperatorError(
        .unexpectedAnswer, "The daemon names no trust domain: its version may not fit this program's.")
    }
    return (domain, node)
  }
}
