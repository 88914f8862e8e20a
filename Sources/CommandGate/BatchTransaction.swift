package import AgentIdentity
import Cosign
package import Seal
package import TransparencyLog
public import Wire

/// What one transaction did: T2 of the sealed batch, then T1 of the new one, in one commit.
struct BatchResult<Unit>: Sendable {
  /// The tree after the new leaves.
  var tree: MerkleTree
  /// Commands of the new batch that now wait for their seal.
  var authorized: [InFlight<Unit>] = []
  /// Answers to give once the transaction is durable.
  var answers: [@Sendable () -> Void] = []
}

/// A batch whose head is signed, ready for T2.
struct SealedBatch<Unit>: Sendable {
  let commands: [InFlight<Unit>]
  /// The inclusion proof of each command's leaf under the checkpoint, in the same order.
  let proofs: [[MerkleHash]]
  /// The checkpoint as each module accepted it, by audience.
  let accepted: [String: AcceptedCheckpoint]
  /// The checkpoint as receipts carry it.
  let note: UnverifiedCheckpoint
}

/// The body of the gate's transaction. Pure but for the unit of work it is given.
struct BatchTransaction<Unit: GateUnit>: Sendable {
  let environment: String
  let random: any RandomSource

  func run(
    sealed: [SealedBatch<Unit>], checkpoint: UnverifiedCheckpoint?, new: [Submission<Unit>], tree: MerkleTree,
    now: Timestamp, in unit: inout Unit
  ) throws -> BatchResult<Unit> {
    var batch = LeafBatch(tree: tree, now: now, random: random)
    var result = BatchResult<Unit>(tree: tree)
    if let checkpoint { try unit.putCheckpoint(size: checkpoint.claimed.size, checkpoint.note.rendered) }
    for sealed in sealed {
      // Receipts are put together again from the checkpoint that they were made with.
      try unit.putCheckpoint(size: sealed.note.claimed.size, sealed.note.note.rendered)
      for (command, proof) in zip(sealed.commands, sealed.proofs) {
        try finish(command, proof: proof, of: sealed, &batch, &result, in: &unit)
      }
    }
    var principals: [String: Principal] = [:]
    for submission in new {
      switch submission.work {
      case .events(let change): try record(change, submission, &batch, &result, in: &unit)
      case .command(let prepared): try decide(prepared, submission, &principals, &batch, &result, in: &unit)
      }
    }
    try batch.write(to: &unit)
    result.tree = batch.tree
    return result
  }

  // MARK: - T2

  private func finish(
    _ command: InFlight<Unit>, proof: [MerkleHash], of sealed: SealedBatch<Unit>, _ batch: inout LeafBatch,
    _ result: inout BatchResult<Unit>, in unit: inout Unit
  ) throws {
    var record = command.record
    if record.state == .held {
      // Nothing is carried out: its leaf stands under a signed head now, and its answer may go out.
      record.checkpointSize = sealed.note.claimed.size
      try unit.update(record)
      return answer(
        command, record, proof: proof, under: sealed.note, .success(try? JSONValue(parsing: record.result)), &result)
    }
    let context = command.authorized.context
    let status: Leaf.Outcome.Status
    let outcome: JSONObject
    do {
      guard let checkpoint = sealed.accepted[command.prepared.audience] else {
        throw Problem(403, "seal_checkpoint_untrusted", "The module has not accepted the checkpoint.")
      }
      outcome = try unit.savepoint { unit in
        try command.prepared.apply(command.authorized, proof, checkpoint, batch.now, &unit)
      }
      status = .done
    } catch let problem as Problem {
      try command.prepared.release(context, &unit)
      status = problem.code == "seal_expired" ? .expired : .failed
      outcome = Refusal(problem).json
    }
    record.result = JSONValue.object(outcome).canonical()
    let content = batch.salted(record.result)
    record.outcomeIndex = try batch.append(
      .outcome(.init(authorizedIndex: record.leafIndex, status: status, commitment: content.commitment)),
      committing: content, in: &unit
    ).index
    record.checkpointSize = sealed.note.claimed.size
    record.state = status == .done ? .done : status == .expired ? .expired : .failed
    try unit.update(record)
    answer(
      command, record, proof: proof, under: sealed.note,
      status == .done ? .success(.object(outcome)) : .failure(Refusal(decoding: record.result).problem), &result)
  }

  private func answer(
    _ command: InFlight<Unit>, _ record: CommandRecord, proof: [MerkleHash], under note: UnverifiedCheckpoint,
    _ end: Result<JSONValue?, Problem>, _ result: inout BatchResult<Unit>
  ) {
    guard let answer = command.answer else { return }
    let authorized = command.authorized
    result.answers.append {
      answer(
        Result {
          let outcome = try end.get()
          return .receipt(
            Receipt(
              command: record, leaf: authorized.leaf, salt: authorized.salt,
              proof: try TLogProof(index: record.leafIndex, hashes: proof, checkpoint: note), result: outcome))
        })
    }
  }

  // MARK: - T1

  private func record(
    _ change: @Sendable (inout Unit, EventMoment) throws -> [EventRecord], _ submission: Submission<Unit>,
    _ batch: inout LeafBatch, _ result: inout BatchResult<Unit>, in unit: inout Unit
  ) throws {
    let answer = submission.answer
    do {
      let moment = EventMoment(time: batch.now, leafIndex: batch.nextIndex)
      for event in try unit.savepoint({ unit in try change(&unit, moment) }) { try batch.append(event, in: &unit) }
      let indices = moment.leafIndex..<batch.nextIndex
      result.answers.append { answer(.success(.recorded(indices))) }
    } catch let problem as Problem {
      result.answers.append { answer(.failure(problem)) }
    }
  }

  private func decide(
    _ prepared: PreparedCommand<Unit>, _ submission: Submission<Unit>, _ principals: inout [String: Principal],
    _ batch: inout LeafBatch, _ result: inout BatchResult<Unit>, in unit: inout Unit
  ) throws {
    let signed = prepared.signed
    let answer = submission.answer
    let idempotency = IdempotencyScope.digest(
      tenant: signed.principal.tenant, principal: signed.principal.id, key: signed.idempotencyKey)
    if let earlier = try unit.command(idempotency: idempotency) {
      let repeated = try self.repeated(earlier, digest: signed.commandDigest, in: &unit)
      result.answers.append { answer(repeated) }
      return
    }
    let known = try principals[signed.principal.id] ?? unit.principal(id: signed.principal.id)
    principals[signed.principal.id] = known
    let context = CommandContext(
      id: batch.identifier(), principal: known ?? signed.principal, decidedAt: batch.now, leafIndex: batch.nextIndex,
      signed: signed)
    let policyVersion = try prepared.policyVersion(context, &unit)
    func leaf(committing evidence: SaltedContent, notAfter: Timestamp) -> Leaf.Authorized {
      Leaf.Authorized(
        command: context.id, audience: prepared.audience, tenant: context.principal.tenant, environment: environment,
        commitment: evidence.commitment, policyVersion: policyVersion, notAfter: notAfter)
    }
    var record = CommandRecord(
      id: context.id, leafIndex: batch.nextIndex, idempotency: idempotency, digest: signed.commandDigest,
      principal: signed.principal.id, state: .authorized)
    do {
      try signed.permit(by: known, at: batch.now)
      let ruling = try unit.savepoint { unit in
        if let asserted = signed.asserted { try unit.use(asserted.credential, asserted.assertion) }
        return try prepared.reserve(context, &unit)
      }
      let evidence = batch.salted(signed.evidence(ruling.references))
      let decided: Leaf
      switch ruling.disposition {
      case .allow: decided = .authorized(leaf(committing: evidence, notAfter: signed.notAfter))
      case .hold(let end, let held):
        decided = .held(leaf(committing: evidence, notAfter: end))
        record.state = .held
        record.result = JSONValue.object(held).canonical()
      }
      let bytes = try batch.append(decided, committing: evidence, in: &unit).bytes
      try unit.insert(record)
      let authorized = AuthorizedCommand(
        context: context, leaf: bytes, salt: evidence.salt, references: ruling.references)
      result.authorized.append(
        InFlight(prepared: prepared, authorized: authorized, record: record, answer: submission.answer))
    } catch let problem as Problem {
      let evidence = batch.salted(signed.encoded)
      let leaf = leaf(committing: evidence, notAfter: signed.notAfter)
      record.state = .denied
      record.result = JSONValue.object(Refusal(problem).json).canonical()
      let refusal = Commitment.make(salt: evidence.salt, content: record.result)
      try batch.append(.denied(leaf, code: problem.code, refusal: refusal), committing: evidence, in: &unit)
      try unit.insert(record)
      let denied = Denied(problem: problem, command: record)
      result.answers.append { answer(.failure(denied)) }
    }
  }

  private static var inFlight: Problem {
    Problem(
      409, "idempotency_key_in_flight",
      "The first request with this Idempotency-Key is still being carried out; try again shortly.")
  }

  /// The answer to a request whose Idempotency-Key was used before.
  private func repeated(
    _ earlier: CommandRecord, digest: [UInt8], in unit: inout Unit
  ) throws -> Result<GateAnswer, any Error> {
    guard earlier.digest == digest else {
      return .failure(
        Problem(
          422, "idempotency_key_reused",
          "This Idempotency-Key was used for another request; use a new key for a new command."))
    }
    switch earlier.state {
    case .authorized: return .failure(Self.inFlight)
    case .denied: return .failure(Denied(problem: Refusal(decoding: earlier.result).problem, command: earlier))
    case .failed, .expired: return .failure(Refusal(decoding: earlier.result).problem)
    case .held where earlier.checkpointSize == nil: return .failure(Self.inFlight)
    case .done, .held: return .success(.receipt(try Receipt.rebuilt(earlier, in: &unit)))
    }
  }
}

extension SignedCommand {
  /// The full re-check of who signs, against the principal as it stands in the transaction that decides.
  package func permit(by known: Principal?, at now: Timestamp) throws(Problem) {
    guard let known, known.thumbprint == principal.thumbprint else {
      throw Problem(401, "key_unknown", "The signing key is not enrolled; enrol it first.")
    }
    switch known.status {
    case .active: break
    case .pending:
      throw Problem(
        403, "agent_pending", "The agent's owner has not approved its key yet; ask the owner to approve it.")
    case .revoked:
      throw known.kind == .agent
        ? Problem(403, "agent_revoked", "The agent is revoked; enrol a new one.")
        : Problem(403, "person_revoked", "Whoever signed this was revoked by a security officer.")
    }
    // The evidence names the leaf that approved the key: one that was not known when the request was verified is
    // missing. That of a credential is compared where its use is noted.
    guard asserted != nil || known.enrolmentIndex == principal.enrolmentIndex else {
      throw Problem(409, "agent_just_approved", "The agent was approved while this was under way; send a new request.")
    }
    guard now < notAfter else {
      throw asserted != nil
        ? Problem(401, "approval_expired", "The assertion came too late; open the page again.")
        : Problem(401, "signature_expired", "The signature has expired; sign the request again.")
    }
  }
}

extension Receipt {
  /// Puts a receipt together again from the log, byte for byte as it was first given.
  package static func rebuilt(_ command: CommandRecord, in unit: inout some GateUnit) throws -> Receipt {
    guard let size = command.checkpointSize, let note = try unit.checkpoint(size: size),
      let leaf = try unit.entry(at: command.leafIndex), let content = try unit.content(leafIndex: command.leafIndex)
    else { throw Problem(503, "receipt_unavailable", "The receipt's parts are not stored; restore the database.") }
    return Receipt(
      command: command, leaf: leaf, salt: content.salt,
      proof: try Self.proof(of: command.leafIndex, under: note, in: &unit),
      result: command.result.isEmpty ? nil : try? JSONValue(parsing: command.result))
  }

  /// The proof that a leaf is under a checkpoint.
  package static func proof(of index: UInt64, under note: String, in unit: inout some GateUnit) throws -> TLogProof {
    let checkpoint = try UnverifiedCheckpoint(note)
    guard let head = try unit.head() else {
      throw Problem(503, "log_empty", "The log has no head; restore the database.")
    }
    let tree = try MerkleTree(restoring: head, from: unit)
    return try TLogProof(
      index: index, hashes: try tree.inclusionProof(index: index, size: checkpoint.claimed.size, from: unit),
      checkpoint: checkpoint)
  }
}

/// A refusal as it is kept.
package struct Refusal {
  package let problem: Problem

  package init(_ problem: Problem) { self.problem = problem }

  package var json: JSONObject {
    ["status": .integer(Int64(problem.status)), "code": .string(problem.code), "detail": .string(problem.detail)]
  }

  package init(decoding bytes: [UInt8]) {
    let object = (try? JSONValue(parsing: bytes))?.object
    problem = Problem(
      Int(object?["status"]?.integer ?? 500), object?["code"]?.string ?? "command_failed",
      object?["detail"]?.string ?? "The command could not be carried out.")
  }
}

/// A refusal that is on the record: the problem, and the command that was denied.
public struct Denied: Error, Sendable {
  /// Why.
  public let problem: Problem
  /// The command, whose leaf records the denial.
  public let command: CommandRecord
}
