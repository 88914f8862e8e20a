import AgentIdentity
import CommandGate
import Cosign
import JOSE
import Ledger
import Payments
import Rails
import Seal
import TransparencyLog
import Wire

extension AuditReport {
  /// One link of a receipt's chain.
  public struct Link: Sendable, Equatable {
    /// What it is: `request`, `key`, `consent`, `credential`, `invitation`, `policy`, `approval`, `seal`, `outcome`,
    /// `posting`, `file` or `payment`.
    public let name: String
    /// The leaf that records it; nil where none does.
    public let leaf: UInt64?
    /// What it says.
    public let sentence: String
  }
}

/// What one receipt rests on, link by link, from the agent's key to the entry in a bank's file. The audit that makes it
/// has verified every leaf before; here the links of one command are looked up and named.
struct ReceiptChain {
  private let genesis: Genesis
  private var links: [AuditReport.Link] = []

  /// Follows a command.
  /// - Throws: ``Mismatch`` where a link is missing.
  static func links(of id: CommandID, genesis: Genesis, in unit: inout SQLiteUnit) throws -> [AuditReport.Link] {
    var chain = ReceiptChain(genesis: genesis)
    guard let command = try unit.command(id: id) else { throw Mismatch("there is no command \(id).") }
    let payment = try unit.payment(id.description)
    try chain.request(command, in: &unit)
    if let payment { try chain.terms(of: payment, in: &unit) }
    let releasing = try payment?.endedBy.flatMap { CommandID(text: $0) }.flatMap { try unit.command(id: $0) }
    try chain.seal(releasing ?? command, in: &unit)
    if let payment { try chain.money(payment, in: &unit) } else { try chain.posting(command.leafIndex, in: &unit) }
    return chain.links
  }

  private init(genesis: Genesis) { self.genesis = genesis }

  private mutating func add(_ name: String, _ leaf: UInt64?, _ sentence: String) {
    links.append(AuditReport.Link(name: name, leaf: leaf, sentence: sentence))
  }

  private static func evidence(_ index: UInt64, in unit: inout SQLiteUnit) throws -> CommandEvidence {
    guard let content = try unit.content(leafIndex: index) else {
      throw Mismatch("the content of leaf \(index) is missing.")
    }
    return try CommandEvidence(decoding: content.content)
  }

  // MARK: - Who asked

  private mutating func request(_ command: CommandRecord, in unit: inout SQLiteUnit) throws {
    let evidence = try Self.evidence(command.leafIndex, in: &unit)
    if evidence.request.isAsserted {
      add("assertion", command.leafIndex, "\(command.state.rawValue): \(evidence.principal) signed with a hardware key")
      return try credential(evidence.enrolmentIndex, in: &unit)
    }
    let thumbprint = try JWK(try JSONValue(parsing: evidence.key)).thumbprint
    add(
      "request", command.leafIndex,
      "\(command.state.rawValue): \(evidence.request.method) \(evidence.request.path), signed by \(evidence.principal)")
    if evidence.enrolmentIndex == 0 {
      add("key", 0, "\(thumbprint), named in genesis")
    } else {
      let sponsor = try Self.evidence(evidence.enrolmentIndex, in: &unit).principal
      add("key", evidence.enrolmentIndex, "\(thumbprint), approved by \(sponsor), whom genesis names")
    }
  }

  /// A credential back to the officer who invited its person.
  private mutating func credential(_ index: UInt64, in unit: inout SQLiteUnit) throws {
    guard let content = try unit.content(leafIndex: index) else {
      throw Mismatch("the content of leaf \(index) is missing.")
    }
    let enrolment = try CredentialEnrolment(try JSONValue(parsing: content.content))
    let officer = try Self.evidence(enrolment.invitationIndex, in: &unit).principal
    add("credential", index, "enrolled by \(enrolment.person) at \(enrolment.origin)")
    add("invitation", enrolment.invitationIndex, "by \(officer), whom genesis names")
  }

  // MARK: - Under what

  private mutating func terms(of payment: Payment, in unit: inout SQLiteUnit) throws {
    guard let consent = try unit.consent(payment.consent, version: payment.consentVersion) else {
      throw Mismatch("version \(payment.consentVersion) of \(payment.consent) is missing.")
    }
    add(
      "consent", consent.leafIndex,
      "\(payment.consent) version \(payment.consentVersion), by \(payment.owner), digest "
        + Base64.URL.encode(payment.consentDigest))
    try credential(try Self.evidence(consent.leafIndex, in: &unit).enrolmentIndex, in: &unit)
    let references = try Self.evidence(payment.leafIndex, in: &unit).references
    let policy = references.first { $0.role == "policy" }
    add("policy", policy?.index, payment.policyVersion)
    for approval in try unit.approvals(payment: payment.id) {
      add(
        approval.approves ? "approval" : "decline", approval.leafIndex,
        "by \(approval.person), command \(approval.command)")
      try credential(try Self.evidence(approval.leafIndex, in: &unit).enrolmentIndex, in: &unit)
    }
  }

  // MARK: - What came of it

  private mutating func seal(_ command: CommandRecord, in unit: inout SQLiteUnit) throws {
    guard let size = command.checkpointSize else { throw Mismatch("the command is not sealed yet.") }
    let keys = genesis.logKeys.map(\.name)
    switch command.state {
    case .done, .failed, .expired:
      add(
        "seal", command.leafIndex, "under the checkpoint of \(size) leaves, signed by \(keys.joined(separator: ", "))")
      add("outcome", command.outcomeIndex, command.state.rawValue)
    default:
      add(
        "record", command.leafIndex,
        "under the checkpoint of \(size) leaves, signed by \(keys.joined(separator: ", ")); \(command.state.rawValue)")
    }
  }

  private mutating func posting(_ index: UInt64, in unit: inout SQLiteUnit) throws {
    for entry in try unit.postings(leafIndex: index) {
      add(
        "posting", index, "\(entry.side.rawValue) \(entry.money.currency.code) \(entry.money.decimal), \(entry.account)"
      )
    }
  }

  private mutating func money(_ payment: Payment, in unit: inout SQLiteUnit) throws {
    if let index = payment.postedIndex { try posting(index, in: &unit) }
    if let entry = try unit.entry(payment: payment.id) {
      let trace = ACHTraceNumber(entry.trace)?.description ?? ""
      if let number = entry.file, let file = try unit.file(tenant: payment.tenant, number: number) {
        add("file", file.leafIndex, "entry \(trace) in file \(number), SHA-256 \(Hex.encode(file.digest))")
      } else {
        add("entry", entry.leafIndex, "\(trace), waits for the next file")
      }
    }
    add("payment", nil, payment.state.rawValue + (payment.returnCode.map { " with \($0)" } ?? ""))
  }
}
