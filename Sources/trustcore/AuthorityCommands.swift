public import ArgumentParser
public import OperatorClient
import SecretMemory
import Wire
import WorkloadIdentity

extension WorkloadAuthority.Kind: ExpressibleByArgument {}

struct AuthorityCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ca", abstract: "Prepares, rotates and ends the authorities that sign workloads' identities.",
    discussion: "Example: trustcore ca list --state .trustcore",
    subcommands: [
      List.self, Prepare.self, Rotate.self, Activate.self, Request.self, Import.self, Taint.self, Revoke.self,
    ])

  struct List: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists the authorities, and what stands in their way.",
      discussion: "Example: trustcore ca list --state .trustcore")

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) { tell(try await deployment.client().workloads(), AuthorityReport.list) }
  }

  /// What every order has in common.
  struct Common: ParsableArguments {
    @OptionGroup var deployment: DeploymentOptions
    @OptionGroup var signer: SignerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func carryOut(_ step: WorkloadAuthorityStep) async throws(OperatorError) -> JSONObject {
      try await deployment.client().carryOut(step, as: signer.who(unsaid: .officer)) {
        try await Task.sleep(for: .milliseconds(500))
      }
    }
  }

  struct Prepare: AuthorityOrder {
    static let configuration = CommandConfiguration(
      abstract: "Has the next authority of a kind made, which bundles carry from then on.",
      discussion: "Example: trustcore ca prepare x509 --state .trustcore")

    @Argument(help: "x509, jwt or jwt-rs256.")
    var kind: WorkloadAuthority.Kind

    @OptionGroup var common: Common
    var step: WorkloadAuthorityStep { .order(.prepare, kind) }
  }

  struct Rotate: AuthorityOrder {
    static let configuration = CommandConfiguration(
      abstract: "Has another authority take over at once; every workload gets new identities.",
      discussion: "Example: trustcore ca rotate jwt --state .trustcore")

    @Argument(help: "x509, jwt or jwt-rs256.")
    var kind: WorkloadAuthority.Kind

    @OptionGroup var common: Common
    var step: WorkloadAuthorityStep { .order(.rotate, kind) }
  }

  struct Activate: AuthorityOrder {
    static let configuration = CommandConfiguration(
      abstract: "Lets the prepared authority take over.",
      discussion: "Example: trustcore ca activate x509 --state .trustcore")

    @Argument(help: "x509, jwt or jwt-rs256.")
    var kind: WorkloadAuthority.Kind

    @OptionGroup var common: Common
    var step: WorkloadAuthorityStep { .order(.activate, kind) }
  }

  struct Request: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Has an authority made whose certificate somebody else's root signs, and prints its request in PEM.",
      discussion: "Example: trustcore ca request x509 --out authority.csr --state .trustcore")

    @Argument(help: "x509, for no other kind has a certificate.")
    var kind: WorkloadAuthority.Kind

    @Option(name: .customLong("out"), help: "The file for the request; standard output unless stated.")
    var output: String?

    @OptionGroup var common: Common
    var json: Bool { common.json }

    func validate() throws {
      guard kind == .x509 else { throw ValidationError("Only x509 has a certificate to ask for.") }
    }

    func perform() async throws(OperatorError) {
      let authority = try await common.carryOut(.order(.request, kind))
      let request = authority["request"]?.string ?? ""
      if let output {
        var file = try OutputFile(output)
        try file.descriptor.write(request)
        try file.commit()
      } else if !json {
        // Nothing but the request goes where a pipe may be; what to do with it is for the person.
        try Descriptor.output.write(request)
      }
      let next = "Have it signed, then: trustcore ca import \(authority["id"]?.string ?? "ID") --chain FILE"
      if output != nil || json {
        tell(authority) { AuthorityReport.done($0) + "\n" + next }
      } else {
        complainRaw(AuthorityReport.done(authority) + "\n" + next + "\n")
      }
    }
  }

  struct Import: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Gives an authority the certificate that it asked for.",
      discussion: """
        The file has the authority's certificate first, then its issuers, the root last; all in PEM. Or name a root on
        disk, which signs here: its key goes no further.
        Example: trustcore ca import aut_AAECAwQFBgcICQoLDA0ODw --chain chain.pem --state .trustcore
        """)

    @Argument(help: "The authority's identifier.")
    var authority: String

    @Option(help: "The file with the chain.")
    var chain: String?

    @Option(help: "The file with a root's certificate, PEM.")
    var upstreamCertificate: String?

    @Option(help: "The file with the root's private key, PEM, of mode 0600.")
    var upstreamKey: String?

    @OptionGroup var common: Common
    var json: Bool { common.json }

    func validate() throws {
      let isDisk = upstreamCertificate != nil && upstreamKey != nil
      guard (chain != nil) != isDisk, isDisk || (upstreamCertificate == nil && upstreamKey == nil) else {
        throw ValidationError("Name --chain, or both --upstream-certificate and --upstream-key.")
      }
    }

    /// What the root on disk makes of the authority's request.
    private func signed(_ certificate: String, _ key: String) async throws(OperatorError) -> [[UInt8]] {
      let listed = try await common.deployment.client().workloads()
      let row = (listed["authorities"]?.array ?? []).compactMap(\.object).first { $0["id"]?.string == authority }
      guard let text = row?["request"]?.string, let domain = listed["trust_domain"]?.string else {
        throw OperatorError(.malformed, "The authority asks for no certificate: see 'trustcore ca list'.")
      }
      let request = try WorkloadPEM.certificates(Array(text.utf8), "CERTIFICATE REQUEST")[0]
      let root = try WorkloadPEM.certificates(try SmallFile.read(certificate, maximumBytes: 65_536))[0]
      do {
        return try await DiskAuthority(certificate: root, key: try SecretBytes(contentsOfFile: key))
          .chain(for: request, trustDomain: try TrustDomain(domain), now: SystemClock().now(), random: SystemRandom())
      } catch {
        throw OperatorError(.malformed, Wording.visible("The root does not sign it: \(error)."))
      }
    }

    func perform() async throws(OperatorError) {
      let chain: [[UInt8]]
      if let file = self.chain {
        chain = try WorkloadPEM.certificates(try SmallFile.read(file, maximumBytes: 65_536))
      } else {
        chain = try await signed(upstreamCertificate ?? "", upstreamKey ?? "")
      }
      let certificates = WorkloadPEM.encode(chain)
      let step = WorkloadAuthorityStep.certify(authority, chain: String(decoding: certificates, as: UTF8.self))
      tell(try await common.carryOut(step), AuthorityReport.done)
    }
  }

  struct Taint: AuthorityOrder {
    static let configuration = CommandConfiguration(
      abstract: "Has everything replaced that an old authority signed.",
      discussion: "Example: trustcore ca taint aut_AAECAwQFBgcICQoLDA0ODw --state .trustcore")

    @Argument(help: "The authority's identifier.")
    var authority: String

    @OptionGroup var common: Common
    var step: WorkloadAuthorityStep { .taint(authority) }
  }

  struct Revoke: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ends the trust in an authority, and in everything that it signed.",
      discussion: """
        Asks for the authority's identifier once more, unless --yes is given.
        Example: trustcore ca revoke aut_AAECAwQFBgcICQoLDA0ODw --yes --state .trustcore
        """)

    @Argument(help: "The authority's identifier.")
    var authority: String

    @OptionGroup var common: Common
    var json: Bool { common.json }

    @Flag(help: "Do not ask.")
    var yes = false

    func perform() async throws(OperatorError) {
      try Self.confirm(authority, yes: yes, isTerminal: Descriptor.input.isTerminal && Descriptor.error.isTerminal) {
        complainRaw("Nobody will trust what \(Wording.visible(authority)) signed. Type its identifier: ")
        return readLine()
      }
      tell(try await common.carryOut(.revoke(authority)), AuthorityReport.done)
    }

    /// Makes sure that a person means it.
    static func confirm(
      _ authority: String, yes: Bool, isTerminal: Bool, ask: () -> String?
    ) throws(OperatorError) {
      if yes { return }
      guard isTerminal else {
        throw OperatorError(
          .usage, "Nobody can be asked here: say --yes if \(Wording.visible(authority)) shall end for good.")
      }
      guard ask() == authority else {
        throw OperatorError(.usage, "That is not the authority's identifier: nothing was done.")
      }
    }
  }
}

/// An order that says all by itself.
protocol AuthorityOrder: OperatorCommand {
  var common: AuthorityCommands.Common { get }
  /// What is ordered.
  var step: WorkloadAuthorityStep { get }
}

extension AuthorityOrder {
  var json: Bool { common.json }

  func perform() async throws(OperatorError) { tell(try await common.carryOut(step), AuthorityReport.done) }
}

/// Authorities in words.
enum AuthorityReport {
  static func list(_ status: JSONObject) -> String {
    let authorities = (status["authorities"]?.array ?? []).compactMap(\.object)
    var blocks = [
      Wording.list(
        [
          ("Trust domain", "trust_domain"), ("Issuer", "issuer"), ("Entries", "entries"), ("Processes", "processes"),
        ].map { ($0.0, EntryReport.text(status[$0.1])) })
    ]
    blocks.append(
      authorities.isEmpty
        ? "No authorities yet: look at the daemon's log."
        : Wording.table(
          ["Authority", "Kind", "Slot", "State", "Until"],
          authorities.map { one in
            ["id", "kind", "slot", "state", "not_after"].map { EntryReport.text(one[$0]) }
          }))
    let obstacles = (status["obstacles"]?.object ?? [:]).map { "\($0.name) waits: \(EntryReport.text($0.value))" }
    if !obstacles.isEmpty { blocks.append(obstacles.map(Wording.visible).joined(separator: "\n")) }
    return blocks.joined(separator: "\n\n")
  }

  /// `aut_… (x509, slot b) is active until …`
  static func done(_ authority: JSONObject) -> String {
    let parts = ["id", "kind", "slot", "state", "not_after"].map { EntryReport.text(authority[$0]) }
    return Wording.visible(
      "\(parts[0]) (\(parts[1]), slot \(parts[2])) is \(parts[3]), until \(parts[4])\(EntryReport.leaf(authority)).")
  }
}
