import AgentIdentity
import CommandGate
import Cosign
import KeyService
import Payments
import Seal
import TransparencyLog
import Wire
import WorkloadService

/// Carries the record out again, leaf by leaf, with the modules that carried it out first: every decision is taken a
/// second time from its evidence, every seal is minted a second time, every effect falls on a state of our own.
struct DecisionAudit {
  typealias Command = PreparedCommand<ReplayUnit>

  private struct Open {
    let command: Command
    let authorized: AuthorizedCommand
    /// The checkpoint that the command's row says it was sealed under; nil where it waits for its outcome.
    let checkpointSize: UInt64?
    var seal: (proof: [MerkleHash], accepted: TreeAudit.Accepted)?
  }

  private(set) var state = ReplayUnit()
  private let genesis: Genesis
  private let digest: [UInt8]
  private let modules: ReplayModules
  private let evidence: EvidenceVerifier
  /// Where the chain of an agent's key was verified.
  private var enrolled: [String: UInt64] = [:]
  /// Authorised leaves without outcome.
  private var open: [UInt64: Open] = [:]
  private var unsealed: [UInt64] = []
  /// Held leaves that no stored checkpoint was seen to cover yet, with the one that their row names.
  private var held: [UInt64: UInt64] = [:]
  /// Held leaves whose row names no checkpoint, with how many stored ones cover them.
  private var unsealedHolds: [UInt64: Int] = [:]
  private var contents = 0
  private var postings = 0
  private var keyEvents = 0
  private var issuances = 0

  var verifiers: [SealVerifier] { modules.verifiers }

  init(genesis: Genesis, digest: [UInt8]) throws {
    self.genesis = genesis
    self.digest = digest
    modules = try ReplayModules(genesis)
    evidence = EvidenceVerifier(genesis: genesis)
    for principal in genesis.roster { try state.insert(principal) }
  }

  // MARK: - Leaves

  /// Takes one leaf; `bytes` are known to be the entry at `index`.
  mutating func take(_ bytes: [UInt8], at index: UInt64, in unit: inout SQLiteUnit, _ report: inout AuditReport) throws
  {
    let (leaf, time) = try Leaf.decode(bytes)
    try demand(leaf.encoded(at: time) == bytes, "it is not in canonical form.")
    switch leaf {
    case .genesis(let digest):
      try demand(index == 0, "a genesis leaf stands where only leaf 0 may.")
      try demand(digest == self.digest, "it does not hold the digest of this genesis.json.")
    case .authorized(let leaf):
      try authorize(leaf, bytes, at: index, time, in: &unit, &report)
    case .held(let leaf):
      try hold(leaf, at: index, time, in: &unit, &report)
    case .denied(let leaf, let code, let refusal):
      try deny(leaf, code, refusal, at: index, time, in: &unit, &report)
    case .outcome(let outcome):
      try finish(outcome, at: index, time, in: &unit, &report)
    case .event(let event):
      let content = try self.content(of: event.commitment, at: index, in: &unit).content
      report.events += 1
      try modules.replay(event.kind, content, at: time, leafIndex: index, in: &state)
      try compareKeyEvents(in: &unit)
      try compareIssuances(in: &unit)
    }
    try demand(index > 0 || leaf == .genesis(digest: digest), "leaf 0 is not the genesis leaf.")
  }

  /// Proves the open commands under a checkpoint that the tree has just reached, each under the one that its row
  /// names: after a crash that is not always the first that covers its leaf.
  mutating func seal(_ tree: TreeAudit, in unit: SQLiteUnit, _ report: inout AuditReport) {
    guard let accepted = tree.accepted else { return }
    let due = unsealed.filter { open[$0]?.checkpointSize ?? 0 <= accepted.size }
    unsealed.removeAll { open[$0]?.checkpointSize ?? 0 <= accepted.size }
    for index in due {
      report.audit("leaf \(index)") { _ throws in
        open[index]?.seal = (try tree.tree.inclusionProof(index: index, size: accepted.size, from: unit), accepted)
      }
    }
    for (index, size) in held where size <= accepted.size {
      held[index] = nil
      report.audit("leaf \(index)") { _ throws in
        try demand(
          size == accepted.size && index < size, "its row in the table command names a checkpoint that is not stored.")
        _ = try tree.tree.inclusionProof(index: index, size: size, from: unit)
      }
    }
    for index in unsealedHolds.keys { unsealedHolds[index, default: 0] += 1 }
  }

  private mutating func content(of commitment: [UInt8], at index: UInt64, in unit: inout SQLiteUnit) throws
    -> SaltedContent
  {
    guard let content = try unit.content(leafIndex: index) else { throw Mismatch("its content is missing.") }
    contents += 1
    try demand(
      content.salt.count == 32 && content.commitment == commitment, "its content does not match the commitment.")
    return content
  }

  /// Compares what the leaf has added to the history of keys with the rows, so that memory does not grow with it.
  private mutating func compareKeyEvents(in unit: inout SQLiteUnit) throws {
    let added = state.takeKeyEvents()
    guard let first = added.first else { return }
    keyEvents += added.count
    try demand(
      try unit.keyEvents(after: first.sequence - 1, limit: added.count) == added,
      "its rows in the table key_event are not what it says.")
  }

  /// Likewise for what the leaf has issued.
  private mutating func compareIssuances(in unit: inout SQLiteUnit) throws {
    for issuance in state.takeIssuances() {
      issuances += 1
      try demand(
        try unit.issuance(issuance.kind, issuance.id) == issuance,
        "its row in the table issuance is not what it says.")
    }
  }

  // MARK: - T1

  /// A decision that was taken again.
  private struct Decision {
    let command: Command
    let context: CommandContext
    let row: CommandRecord
    let salted: SaltedContent
    /// What the rules say; or why they refuse it.
    let ruling: Result<Ruling, Problem>

    /// The ruling, which the evidence's references must be those of.
    func allowed(as decision: StaticString) throws -> Ruling {
      switch ruling {
      case .failure(let refusal):
        throw Mismatch("it is \(decision), but by the record before it the command had to be refused: \(refusal).")
      case .success(let ruling):
        let references = try CommandEvidence(decoding: salted.content).references
        try demand(references == ruling.references, "its evidence refers to other leaves than the decision rests on.")
        return ruling
      }
    }
  }

  /// Takes a decision again, in the order of the gate's T1; what a refusal has written must be undone by the caller.
  private mutating func decide(
    _ leaf: Leaf.Authorized, at index: UInt64, _ time: Timestamp, isDenied: Bool, in unit: inout SQLiteUnit,
    _ report: inout AuditReport
  ) throws -> Decision {
    let salted = try content(of: leaf.commitment, at: index, in: &unit)
    let signed = try self.signed(salted.content, leaf, time, isDenied: isDenied, in: &unit)
    report.evidenceChains += 1
    try demand(
      leaf.tenant == signed.principal.tenant && leaf.environment == genesis.environment,
      "it names another tenant or environment than its evidence.")
    guard let row = try unit.command(leafIndex: index) else {
      throw Mismatch("its row in the table command is missing.")
    }
    try demand(
      row.id == leaf.command && row.principal == signed.principal.id && row.digest == signed.commandDigest
        && row.idempotency
          == IdempotencyScope.digest(
            tenant: signed.principal.tenant, principal: signed.principal.id, key: signed.idempotencyKey),
      "its row in the table command has another id, principal, digest or idempotency digest.")
    let command = try modules.prepared(signed, for: leaf.audience)
    let known = state.principal(id: signed.principal.id)
    let context = CommandContext(
      id: leaf.command, principal: known ?? signed.principal, decidedAt: time, leafIndex: index, signed: signed)
    let policy = try command.policyVersion(context, &state)
    try demand(leaf.policyVersion == policy, "it names the policy \(leaf.policyVersion) where \(policy) was in force.")
    let ruling: Result<Ruling, Problem>
    do {
      try signed.permit(by: known, at: time)
      if let asserted = signed.asserted { try state.use(asserted.credential, asserted.assertion) }
      ruling = .success(try command.reserve(context, &state))
    } catch let problem as Problem {
      ruling = .failure(problem)
    }
    return Decision(command: command, context: context, row: row, salted: salted, ruling: ruling)
  }

  /// Verifies who signed: for a request its signature, and the chain of the signer's key the first time that it is
  /// used; for an assertion the whole chain each time.
  private mutating func signed(
    _ content: [UInt8], _ leaf: Leaf.Authorized, _ time: Timestamp, isDenied: Bool, in unit: inout SQLiteUnit
  ) throws -> SignedCommand {
    let claimed = try CommandEvidence(decoding: content)
    // A denial may say that the signature had expired, which must not keep it from being verified.
    let moment = isDenied ? min(time, leaf.notAfter.adding(seconds: -1)) : time
    let known = claimed.request.isAsserted ? nil : state.principal(id: claimed.principal)
    if let known, enrolled[known.id] == claimed.enrolmentIndex || (isDenied && claimed.enrolmentIndex == 0) {
      return try EvidenceVerifier.verify(content, as: known, at: moment)
    }
    let signed = try evidence.verify(content, at: moment) { index in
      guard let leaf = try? unit.entry(at: index), let content = try? unit.content(leafIndex: index) else { return nil }
      return (leaf, content)
    }
    if !claimed.request.isAsserted { enrolled[signed.principal.id] = claimed.enrolmentIndex }
    return signed
  }

  private mutating func authorize(
    _ leaf: Leaf.Authorized, _ bytes: [UInt8], at index: UInt64, _ time: Timestamp, in unit: inout SQLiteUnit,
    _ report: inout AuditReport
  ) throws {
    report.authorized += 1
    let decision = try decide(leaf, at: index, time, isDenied: false, in: &unit, &report)
    let ruling = try decision.allowed(as: "authorised")
    guard case .allow = ruling.disposition, leaf.notAfter == decision.command.signed.notAfter else {
      throw Mismatch(
        "it is authorised, but by the record before it the command had to be held, or its not_after is another.")
    }
    open[index] = Open(
      command: decision.command,
      authorized: AuthorizedCommand(
        context: decision.context, leaf: bytes, salt: decision.salted.salt, references: ruling.references),
      checkpointSize: decision.row.checkpointSize)
    unsealed.append(index)
  }

  private mutating func hold(
    _ leaf: Leaf.Authorized, at index: UInt64, _ time: Timestamp, in unit: inout SQLiteUnit,
    _ report: inout AuditReport
  ) throws {
    report.held += 1
    let decision = try decide(leaf, at: index, time, isDenied: false, in: &unit, &report)
    guard case .hold(let end, let held) = try decision.allowed(as: "held").disposition, leaf.notAfter == end else {
      throw Mismatch("it is held, but by the record before it the command had to be authorised, or held otherwise.")
    }
    let row = decision.row
    try demand(
      row.state == .held && row.outcomeIndex == nil && row.result == JSONValue.object(held).canonical(),
      "its row in the table command does not say what was held.")
    if let size = row.checkpointSize {
      self.held[index] = size
    } else {
      unsealedHolds[index] = 0
    }
  }

  private mutating func deny(
    _ leaf: Leaf.Authorized, _ code: String, _ commitment: [UInt8], at index: UInt64, _ time: Timestamp,
    in unit: inout SQLiteUnit, _ report: inout AuditReport
  ) throws {
    report.denied += 1
    let before = state
    defer { state = before }
    let decision = try decide(leaf, at: index, time, isDenied: true, in: &unit, &report)
    guard case .failure(let refusal) = decision.ruling else {
      throw Mismatch("it is denied, but by the record before it the command had to be allowed or held.")
    }
    try demand(
      refusal.code == code, "it is denied as \(code), but by the record before it the reason is \(refusal.code).")
    try demand(
      try leaf.notAfter == decision.command.signed.notAfter
        && CommandEvidence(decoding: decision.salted.content).references.isEmpty,
      "its not_after is another than its evidence's, or its evidence refers to other leaves.")
    let row = decision.row
    try demand(
      row.state == .denied && row.outcomeIndex == nil && row.checkpointSize == nil
        && Refusal(decoding: row.result).problem.code == code
        && Commitment.make(salt: decision.salted.salt, content: row.result) == commitment,
      "its row in the table command does not say what was refused and why.")
  }

  // MARK: - T2

  private mutating func finish(
    _ outcome: Leaf.Outcome, at index: UInt64, _ time: Timestamp, in unit: inout SQLiteUnit, _ report: inout AuditReport
  ) throws {
    let result = try content(of: outcome.commitment, at: index, in: &unit).content
    let authorized = outcome.authorizedIndex
    guard let command = open.removeValue(forKey: authorized) else {
      throw Mismatch("it is an outcome of leaf \(authorized), which is no authorised leaf that waits for one.")
    }
    unsealed.removeAll { $0 == authorized }
    guard let row = try unit.command(leafIndex: authorized) else {
      throw Mismatch("the row of leaf \(authorized) in the table command is missing.")
    }
    try demand(
      row.outcomeIndex == index && row.result == result && row.state == Self.state(of: outcome.status),
      "the row of leaf \(authorized) in the table command has another outcome, state or result.")
    guard let seal = command.seal, let accepted = seal.accepted.checkpoints[command.command.audience] else {
      throw Mismatch("leaf \(authorized) was carried out without standing under a signed checkpoint.")
    }
    try demand(
      row.checkpointSize == seal.accepted.size,
      "the row of leaf \(authorized) in the table command names another checkpoint than the one of \(seal.accepted.size) leaves."
    )
    guard outcome.status == .done else {
      let isExpired = Refusal(decoding: result).problem.code == "seal_expired"
      try demand(isExpired == (outcome.status == .expired), "its status does not fit the reason that it gives.")
      report.failed += 1
      return try command.command.release(command.authorized.context, &state)
    }
    let again = try command.command.apply(command.authorized, seal.proof, accepted, time, &state)
    try demand(JSONValue.object(again).canonical() == result, "its result is not what leaf \(authorized) comes to.")
    let posted = state.takePostings(leafIndex: authorized)
    postings += posted.count
    report.postings += posted.count
    try demand(
      try unit.postings(leafIndex: authorized) == posted,
      "the postings of leaf \(authorized) are not what the command says.")
    report.receipts += 1
  }

  private static func state(of status: Leaf.Outcome.Status) -> CommandRecord.State {
    switch status {
    case .done: .done
    case .failed: .failed
    case .expired: .expired
    }
  }

  // MARK: - The end

  /// Looks at what has no outcome, and compares the numbers of rows.
  mutating func finish(in unit: inout SQLiteUnit, _ report: inout AuditReport) {
    for index in open.keys.sorted() {
      report.inFlight += 1
      report.audit("leaf \(index)") { _ throws in
        let row = try unit.command(leafIndex: index)
        try demand(
          row?.state == .authorized && row?.outcomeIndex == nil && row?.checkpointSize == nil
            && row?.result.isEmpty == true,
          "it has no outcome leaf, but its row in the table command is not that of a command in flight.")
      }
    }
    // A crash between two transactions can leave one checkpoint stored that a hold's row does not name yet.
    for index in held.keys.sorted() + unsealedHolds.filter({ $0.value > 1 }).keys.sorted() {
      report.add("leaf \(index)", "its row in the table command does not name the checkpoint that seals it.")
    }
    report.count("content", contents, in: unit)
    report.count("command", report.authorized + report.held + report.denied, in: unit)
    report.count("posting", postings, in: unit)
    report.count("key_event", keyEvents, in: unit)
    report.count("issuance", issuances, in: unit)
  }
}
