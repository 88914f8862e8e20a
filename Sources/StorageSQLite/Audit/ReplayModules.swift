import AgentIdentity
import CommandGate
import Consent
import Cosign
import Crypto
import JOSE
import KeyService
import Ledger
import Payments
import Rails
import Seal
import Wire
import WorkloadIdentity
import WorkloadService

/// The modules that carried the record out, once more, over a state of the auditor's own; and the events that change
/// that state beside them.
struct ReplayModules {
  private let ledger: LedgerModule<ReplayUnit>
  private let identity: IdentityModule<ReplayUnit>
  private let governance: GovernanceModule<ReplayUnit>
  private let consent: ConsentModule<ReplayUnit>
  private let payments: PaymentsModule<ReplayUnit>
  private let keys: KeyModule<ReplayUnit>
  let workloads: WorkloadModule<ReplayUnit>
  let environment: String
  private let console: ConsoleIdentity?

  /// Modules with verifiers of their own, which trust the genesis.
  init(_ genesis: Genesis) throws {
    func verifier(_ audience: String) -> SealVerifier {
      SealVerifier(
        audience: audience, environment: genesis.environment, origin: genesis.origin, logKeys: genesis.logKeys)
    }
    ledger = LedgerModule(verifier: verifier(LedgerModule<ReplayUnit>.audience))
    identity = IdentityModule(verifier: verifier(IdentityModule<ReplayUnit>.audience))
    governance = GovernanceModule(verifier: verifier(GovernanceModule<ReplayUnit>.audience))
    consent = ConsentModule(verifier: verifier(ConsentModule<ReplayUnit>.audience)) {
      (rail, destination) throws(Problem) in
      guard rail == "ach" else { return }
      do throws(ACHError) { _ = try ACHAccount(json: destination) } catch { throw error.problem }
    }
    payments = PaymentsModule(verifier: verifier(PaymentsModule<ReplayUnit>.audience))
    keys = KeyModule(verifier: verifier(KeyModule<ReplayUnit>.audience))
    workloads = WorkloadModule(
      verifier: verifier(WorkloadModule<ReplayUnit>.audience), trustDomain: try TrustDomain(genesis.trustDomain))
    environment = genesis.environment
    console = genesis.console
  }

  private var all: [any CommandModule<ReplayUnit>] {
    [ledger, identity, governance, consent, payments, keys, workloads]
  }

  /// The modules' verifiers, each of which must accept every checkpoint.
  var verifiers: [SealVerifier] { all.map(\.verifier) }

  /// A command with the module that a leaf names.
  func prepared(_ signed: SignedCommand, for audience: String) throws -> PreparedCommand<ReplayUnit> {
    guard let module = all.first(where: { $0.verifier.audience == audience }) else {
      throw Mismatch("it names the module '\(audience)', which does not exist.")
    }
    return try prepare(module, signed)
  }

  // MARK: - Events

  /// Lets an event have its effect; a kind that has none passes.
  /// - Parameters:
  ///   - bytes: the event's content.
  ///   - index: the leaf that records it.
  func replay(
    _ kind: String, _ bytes: [UInt8], at time: Timestamp, leafIndex index: UInt64, in state: inout ReplayUnit
  ) throws {
    let json = try JSONValue(parsing: bytes)
    guard let content = json.object, json.canonical() == bytes else {
      throw Mismatch("its content is not a JSON object in canonical form.")
    }
    switch kind {
    case "agent.registered": try register(content, in: &state)
    case "invitation.created":
      guard let digest = Hex.decode(try content.text("digest")), digest.count == 32 else {
        throw Mismatch("its digest is not 64 lower-case hexadecimal digits.")
      }
      try state.insert(
        Invitation(digest: digest, owner: try content.text("owner"), tenant: try content.text("tenant")))
    case "hold.expired":
      let again = try ledger.expire(try content.text("hold"), at: time, in: &state)
      try demand(again != nil, "its hold was not held or not yet due.")
      try demand(again == content, "it does not say what expired.")
    case "payment.expired":
      let again = try payments.expire(try content.text("payment"), at: time, in: &state)
      try demand(again != nil, "its payment was not held or not yet due.")
      try demand(again == content, "it does not say what expired.")
    case "rail.file":
      let again = try payments.cutFile(tenant: try content.text("tenant"), at: time, leafIndex: index, in: &state)
      try demand(again == content, "the file that was due then is another, or none.")
    case "session.opened": try openSession(content, in: &state)
    case CredentialEnrolment.eventKind: try enrol(json, at: time, leafIndex: index, in: &state)
    case _ where WorkloadTransition.kinds.contains(kind):
      try replayWorkloads(kind, content, at: time, leafIndex: index, in: &state)
    default: try replayKeys(kind, content, at: time, leafIndex: index, in: &state)
    }
  }

  private func register(_ content: JSONObject, in state: inout ReplayUnit) throws {
    let key = try JWK(content["key"] ?? .null)
    try demand(try content.text("thumbprint") == key.thumbprint, "its thumbprint is not that of its key.")
    try state.insert(
      Principal(
        id: try content.text("agent"), kind: .agent, tenant: try content.text("tenant"),
        owner: try content.text("owner"), thumbprint: key.thumbprint, key: key.bareJSON.canonical(), status: .pending,
        enrolmentIndex: 0))
  }

  private func openSession(_ content: JSONObject, in state: inout ReplayUnit) throws {
    guard let id = try? Base64.URL.decode(try content.text("credential")), let credential = state.credential(id: id),
      credential.person == (try content.text("person")), credential.purpose == .signIn,
      let count = content["sign_count"]?.integer.flatMap({ UInt32(exactly: $0) }),
      let backupState = content["backup_state"]?.bool
    else { throw Mismatch("it does not name a credential with which the person signs in, and what its use told.") }
    try state.setUse(signCount: count, backupState: backupState, ofCredential: id)
  }

  private func enrol(
    _ json: JSONValue, at time: Timestamp, leafIndex index: UInt64, in state: inout ReplayUnit
  ) throws {
    guard let console else { throw Mismatch("genesis names no console where anyone could enrol.") }
    let enrolment = try CredentialEnrolment(json)
    let credentials = try enrolment.credentials(of: console, enrolmentIndex: index, at: time).map(\.credential)
    try GovernanceModule.enrol(
      enrolment, credentials, digest: Array(SHA256.hash(data: enrolment.token)), leafIndex: index, at: time,
      in: &state)
  }
}

extension JSONObject {
  func text(_ name: String) throws(Mismatch) -> String {
    guard let text = self[name]?.string else { throw Mismatch("its content lacks '\(name)'.") }
    return text
  }
}
