import ArgumentParser
import OperatorClient
import Wire
import WorkloadIdentity

extension EntryCommands {
  struct Apply: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes the entries those of a file.",
      discussion: """
        The file is {"entries": [...]} in JSON, with the members that 'entry list --json' prints. An entry with an 'id'
        changes that one, another the one with its SPIFFE ID, parent and selectors. A second run does nothing. At most
        1,000 changes go together; of more, those that were made stay where one is refused.
        Example: trustcore entry apply -f entries.json --dry-run --state .trustcore
        """)

    @Option(name: .shortAndLong, help: "The file; - for standard input.")
    var file: String

    @Flag(help: "Delete the entries that the file does not have.")
    var prune = false

    @Flag(name: .customLong("dry-run"), help: "Print what would be done, and do nothing.")
    var dryRun = false

    @Flag(help: "Do not refuse a file without entries that would delete all.")
    var yes = false

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let bytes = try SmallFile.read(file, maximumBytes: EntryFile.maximumBytes)
      let wanted: EntryFile
      do { wanted = try EntryFile(parsing: bytes) } catch {
        throw OperatorError(.malformed, "\(Wording.visible(file)): \(error.message).")
      }
      guard !prune || yes || !wanted.entries.isEmpty else {
        throw OperatorError(.usage, "The file has no entries: say --yes if --prune shall delete all that there are.")
      }
      let client = try deployment.client()
      let terms = try await client.workloadTerms()
      let plan = try WorkloadEntryPlan(
        wanted, present: try await client.entries(), trustDomain: terms.domain, parent: terms.node, prune: prune)
      var leaves: [JSONValue] = []
      if !dryRun {
        var done = 0
        for (body, changes) in plan.commands() {
          do throws(OperatorError) {
            leaves.append(
              try await client.changeEntries(body, as: signer.who(unsaid: .officer))["leaf_index"] ?? .null)
          } catch {
            guard done > 0 else { throw error }
            throw OperatorError(
              error.code,
              "\(error.message) Of \(Wording.number(plan.count)) changes the first \(Wording.number(done)) are made.",
              status: error.status)
          }
          done += changes
        }
      }
      var answer = plan.summary
      answer["leaves"] = .array(leaves)
      if dryRun {
        answer["dry_run"] = true
        answer["create"] = .array(plan.creations.map(JSONValue.object))
        answer["update"] = .array(plan.updates.map { ["id": .string($0.id), "entry": .object($0.entry)] })
        answer["delete"] = .array(plan.deletions.map(JSONValue.string))
      }
      tell(answer) { EntryReport.applied($0, plan, isDryRun: dryRun) }
      await EntryReport.warn(plan.creations + plan.updates.map(\.entry), client, json: json)
    }
  }
}
