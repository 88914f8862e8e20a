import ArgumentParser
import OperatorClient
import Wire
import WorkloadIdentity

struct FederationCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "federation", abstract: "Says which other trust domains are trusted, and where their bundles are.",
    discussion: "Example: trustcore federation list --state .trustcore",
    subcommands: [List.self, Set.self, Delete.self])

  struct List: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists the federations.", discussion: "Example: trustcore federation list --state .trustcore")

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let status = try await deployment.client().workloads()
      tell(["federations": status["federations"] ?? []], FederationReport.list)
    }
  }

  struct Set: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Trusts another trust domain, or changes how its bundle is come by.",
      discussion: """
        With the profile https_spiffe the first bundle has to be given.
        Example: trustcore federation set --trust-domain other.org --url https://other.org/bundle --profile https_web
        """)

    @Option(name: .customLong("trust-domain"), help: "The other trust domain.")
    var trustDomain: String

    @Option(help: "Where its bundle is fetched from; without it, the bundle is the one given here.")
    var url: String?

    @Option(help: "How that endpoint proves itself: https_web or https_spiffe.")
    var profile: String?

    @Option(name: .customLong("endpoint-id"), help: "The endpoint's SPIFFE ID, with https_spiffe.")
    var endpointID: String?

    @Option(help: "A file with its bundle, in SPIFFE's JSON.")
    var bundle: String?

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard (try? TrustDomain(trustDomain)) != nil else { throw ValidationError("--trust-domain is no trust domain.") }
      guard url != nil || bundle != nil else { throw ValidationError("Give --url with --profile, --bundle, or both.") }
      guard (url == nil) == (profile == nil), profile.map({ ["https_web", "https_spiffe"].contains($0) }) ?? true,
        (profile == "https_spiffe") == (endpointID != nil)
      else {
        throw ValidationError("--url needs --profile https_web, or https_spiffe with --endpoint-id.")
      }
    }

    func perform() async throws(OperatorError) {
      let answer = try await deployment.client().federate(try terms(), as: signer.who(unsaid: .officer))
      tell(answer) { Wording.visible("\(trustDomain) is trusted\(EntryReport.leaf($0)).") }
    }

    func terms() throws(OperatorError) -> JSONObject {
      var terms: JSONObject = ["trust_domain": .string(trustDomain)]
      terms["bundle_endpoint_url"] = url.map(JSONValue.string)
      terms["bundle_endpoint_profile"] = profile.map(JSONValue.string)
      terms["endpoint_spiffe_id"] = endpointID.map(JSONValue.string)
      if let bundle {
        let bytes = try SmallFile.read(bundle, maximumBytes: SPIFFEBundle.maximumBytes)
        do {
          let read = try SPIFFEBundle(trustDomain: try TrustDomain(trustDomain), parsing: bytes)
          // As it will be kept: what nobody understands does not travel.
          terms["bundle"] = try JSONValue(parsing: read.json())
        } catch {
          throw OperatorError(.malformed, "\(Wording.visible(bundle)) is no bundle: \(error).")
        }
      }
      return terms
    }
  }

  struct Delete: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ends a federation; workloads no longer get that bundle.",
      discussion: "Example: trustcore federation delete other.org --state .trustcore")

    @Argument(help: "The other trust domain.")
    var trustDomain: String

    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let answer = try await deployment.client().unfederate(trustDomain, as: signer.who(unsaid: .officer))
      tell(answer) { Wording.visible("\(trustDomain) is not trusted any more\(EntryReport.leaf($0)).") }
    }
  }
}

/// Federations in words.
enum FederationReport {
  static func list(_ answer: JSONObject) -> String {
    let rows = (answer["federations"]?.array ?? []).compactMap(\.object)
    if rows.isEmpty { return "No other trust domain is trusted." }
    let table = Wording.table(
      ["Trust domain", "Bundle", "Profile"],
      rows.map { row in
        [
          EntryReport.text(row["trust_domain"]), row["has_bundle"]?.bool == true ? "there" : "missing",
          EntryReport.text(row["bundle_endpoint_profile"]),
        ]
      }, below: rows.map { row in ["bundle_endpoint_url", "endpoint_spiffe_id"].compactMap { row[$0]?.string } })
    let failures = rows.compactMap(failure)
    return failures.isEmpty ? table : table + "\n\n" + failures.joined(separator: "\n")
  }

  /// Why a bundle is not fetched; nil where it is.
  private static func failure(_ row: JSONObject) -> String? {
    guard let reason = row["last_error"]?.object?["reason"] else { return nil }
    let success = row["last_success"]?.string.map { "last fetched at \($0)" } ?? "never fetched"
    let next = row["next"]?.string.map { "at \($0)" } ?? "now"
    return Wording.folded(
      "\(EntryReport.text(row["trust_domain"])) fails: \(EntryReport.text(reason)) "
        + "(failures: \(EntryReport.text(row["failures"])), \(success), tried again \(next))")
  }
}
