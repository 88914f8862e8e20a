import AgentIdentity
import CommandGate
import Consent
import Ledger
import Payments
import Seal
import TransparencyLog
import Wire

/// Commands, which go through the gate, and what their senders may read.
struct CommandRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let gate: Gate<Store>
  let store: Store
  let ledger: LedgerModule<Store.Unit>
  let genesis: Genesis
  let authenticator: Authenticator<Store>
  let time: any TimeSource

  var routes: [Route] {
    commands + [
      Route(
        "GET", "/v1/agents/{id}", "readAgent", "An agent's standing.", access: .dpop, content: .json("Agent"),
        handle: agent),
      Route(
        "GET", "/v1/ledger/accounts", "listAccounts", "The accounts of the caller's owner.", access: .dpop,
        content: .json("Accounts"), handle: accounts),
      Route(
        "GET", "/v1/ledger/accounts/{id}", "readAccount", "An account with its balance.", access: .dpop,
        content: .json("Account"), handle: account),
      Route(
        "GET", "/v1/ledger/holds/{id}", "readHold", "A hold and where it stands.", access: .dpop,
        content: .json("Hold"), handle: hold),
      Route(
        "GET", "/v1/receipts/{command_id}", "readReceipt",
        "A decided command with its seal, its outcome and all the evidence that an offline verifier needs.",
        access: .caller, content: .json("ReceiptBundle"), handle: receipt),
      Route(
        "POST", "/v1/ledger/sealed-commands", "presentSeal",
        "Hands a sealed command to the ledger, whose own verifier decides whether the seal is one.", access: .seal,
        body: .json("Seal"), content: .json("SealedCommand"), handle: presentSeal),
    ]
  }

  // MARK: - Commands

  private var commands: [Route] {
    func command(
      _ path: String, _ operation: String, _ summary: String, _ schema: String, to audience: String, success: Int = 200,
      refusals: [Int] = []
    ) -> Route {
      Route(
        "POST", path, operation, summary, access: .signedCommand, body: .json(schema),
        // Its seal, with that of the signer's approval, must fit into a body again.
        maximumBody: ["identity", "consent"].contains(audience) ? 4096 : 1 << 19, success: success,
        content: .json("CommandResult"), refusals: refusals
      ) { request in
        let signed = try await authenticator.command(request)
        let receipt = try await gate.submit(signed, to: audience)
        if ["identity", "governance"].contains(audience), let id = request.parameters["id"] {
          authenticator.forget(id)
        }
        return receipt.response(success)
      }
    }
    return [
      command(
        "/v1/agents/{id}/approve", "approveAgent", "The owner vouches for an agent's key.", "AgentApproval",
        to: "identity"),
      command("/v1/agents/{id}/revoke", "revokeAgent", "Ends an agent for good.", "AgentRevocation", to: "identity"),
      command(
        "/v1/ledger/accounts", "openAccount", "Opens an account.", "AccountOpening", to: "ledger", success: 201),
      command(
        "/v1/ledger/transfers", "transfer", "Posts balanced entries at once.", "Transfer", to: "ledger", success: 201),
      command(
        "/v1/ledger/holds", "authorizeHold", "Reserves balanced entries until they are captured, voided or expire.",
        "HoldAuthorization", to: "ledger", success: 201),
      command(
        "/v1/ledger/holds/{id}/capture", "captureHold", "Posts a hold, or a part of it.", "Capture", to: "ledger"),
      command("/v1/ledger/holds/{id}/void", "voidHold", "Releases a hold.", "Void", to: "ledger"),
      command(
        "/v1/invitations", "invite", "A security officer invites a person to enrol credentials, once.", "Invitation",
        to: "governance", success: 201),
      command(
        "/v1/groups", "makeGroup", "A security officer makes a group of approvers.", "GroupMaking", to: "governance",
        success: 201),
      command(
        "/v1/groups/{id}/remove", "removeMember", "A security officer takes a member out of a group.", "MemberRemoval",
        to: "governance"),
      command(
        "/v1/people/{id}/revoke", "revokePerson",
        "A security officer ends what an approver, an owner, a bank or a registrar may do, for good.",
        "PersonRevocation",
        to: "governance"),
      command(
        "/v1/registrars", "enrolRegistrar",
        "A security officer lets a key change registration entries, and nothing else.", "Registrar", to: "governance",
        success: 201),
      command(
        "/v1/policies", "publishPolicy", "A security officer puts a policy in force.", "PolicyPublication",
        to: "governance", success: 201),
      command(
        "/v1/consents/{id}/revoke", "revokeConsent", "The owner or a security officer ends a consent for good.",
        "ConsentRevocation", to: "consent"),
      command(
        "/v1/payments/authorize", "authorizePayment",
        "An agent pays under a consent: 201 where it went through, 202 where it is held for approvals.",
        "PaymentAuthorization", to: "payments", success: 201, refusals: [404]),
      command(
        "/v1/payments/{id}/void", "voidPayment", "The agent or its owner ends a held payment.", "Void", to: "payments"),
      command(
        "/v1/rails/ach", "configureACH", "A security officer says how payments leave by ACH, and which bank answers.",
        "ACHConfiguration", to: "payments", success: 201),
      command(
        "/v1/rails/ach/answers", "answerACH", "The bank says what became of a file or of entries.", "ACHAnswer",
        to: "payments", refusals: [404]),
    ]
  }

  // MARK: - Reads

  private static func notFound(_ what: String) -> Problem {
    Problem(404, "\(what)_not_found", "There is no such \(what) that this caller may see; check the identifier.")
  }

  private func agent(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.reader(request)
    let id = request.parameters["id"] ?? ""
    guard let agent = try await store.read({ unit in try unit.principal(id: id) }), agent.kind == .agent,
      agent.tenant == caller.tenant, caller.kind == .officer || agent.owner == caller.ownership
    else { throw Self.notFound("agent") }
    return APIResponse([
      "id": .string(agent.id), "owner": .string(agent.owner), "tenant": .string(agent.tenant),
      "thumbprint": .string(agent.thumbprint), "status": .string(agent.status.rawValue),
    ])
  }

  private func accounts(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.reader(request)
    let accounts = try await store.read { unit in try unit.accounts(owner: caller.ownership) }
    return APIResponse(["accounts": .array(accounts.map { .object($0.description) })])
  }

  private func account(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.reader(request)
    let id = request.parameters["id"] ?? ""
    guard let account = try await store.read({ unit in try unit.account(id) }), account.tenant == caller.tenant,
      caller.kind == .officer || account.owner == caller.ownership
    else { throw Self.notFound("account") }
    return APIResponse(account.description)
  }

  private func hold(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.reader(request)
    let id = request.parameters["id"] ?? ""
    guard let hold = try await store.read({ unit in try unit.hold(id) }), hold.tenant == caller.tenant,
      caller.kind == .officer || hold.owner == caller.ownership
    else { throw Self.notFound("hold") }
    return APIResponse([
      "id": .string(hold.id), "state": .string(hold.state.rawValue),
      "expires_at": .string(Timestamp(milliseconds: hold.expiresAt).description),
      "entries": .array(hold.entries.map { .object($0.description) }),
    ])
  }

  private func receipt(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.caller(request)
    guard let id = CommandID(text: request.parameters["command_id"] ?? ""), let note = gate.published.note else {
      throw Self.notFound("receipt")
    }
    let answer = try await store.read { unit -> JSONObject? in
      guard let command = try unit.command(id: id), let signer = try unit.principal(id: command.principal),
        try signer.id == caller.id || (caller.kind == .owner && signer.owner == caller.id)
          || (caller.kind == .officer && signer.tenant == caller.tenant)
          || Self.decides(command, aboutPaymentOf: caller, in: &unit)
      else { return nil }
      return try Self.bundle(command, signer: signer, under: note, in: &unit)
    }
    guard let answer else { throw Self.notFound("receipt") }
    return APIResponse(answer)
  }

  /// Whether a command decided about a payment of the caller: then its receipt belongs to the payment's.
  private static func decides(
    _ command: CommandRecord, aboutPaymentOf caller: Principal, in unit: inout Store.Unit
  ) throws -> Bool {
    guard let content = try unit.content(leafIndex: command.leafIndex),
      let held = try CommandEvidence(decoding: content.content).references.first(where: { $0.role == "held" }),
      let id = try unit.command(leafIndex: held.index)?.id, let payment = try unit.payment(id.description)
    else { return false }
    return payment.agent == caller.id || payment.owner == caller.id
  }

  /// The leaves that a leaf's content rests on, and those that these rest on in turn.
  private static func chain(of content: [UInt8], in unit: inout Store.Unit) throws -> [UInt64] {
    var (found, open): (Set<UInt64>, [[UInt8]]) = ([], [content])
    while let content = open.popLast() {
      var indices: [UInt64] = []
      if let evidence = try? CommandEvidence(decoding: content) {
        indices = evidence.references.map(\.index) + [evidence.enrolmentIndex]
      } else if let enrolment = try? CredentialEnrolment(try JSONValue(parsing: content)) {
        indices = [enrolment.invitationIndex]
      }
      for index in indices where index > 0 && found.insert(index).inserted {
        if let next = try unit.content(leafIndex: index) { open.append(next.content) }
      }
    }
    return found.sorted()
  }

  /// A command with every part of its evidence, all under one checkpoint.
  private static func bundle(
    _ command: CommandRecord, signer: Principal, under note: String, in unit: inout Store.Unit
  ) throws -> JSONObject {
    func part(_ index: UInt64) throws -> SealBundle.Part {
      guard let leaf = try unit.entry(at: index), let content = try unit.content(leafIndex: index) else {
        throw Problem(503, "receipt_unavailable", "The receipt's parts are not stored; restore the database.")
      }
      do {
        return SealBundle.Part(
          leaf: leaf, salt: content.salt, content: content.content,
          proof: try Receipt.proof(of: index, under: note, in: &unit))
      } catch let error as LogError where error.code == .outOfRange {
        throw Problem(
          503, "not_sealed_yet", "The command is recorded and not sealed yet; ask again shortly.",
          headers: ["Retry-After": "1"])
      }
    }
    var object: JSONObject = [
      "command_id": .string(command.id.description), "status": .string(command.state.rawValue),
      "leaf_index": .integer(Int64(command.leafIndex)),
    ]
    let sealed = try part(command.leafIndex)
    let evidence = try CommandEvidence(decoding: sealed.content)
    let enrolment = evidence.enrolmentIndex == 0 ? nil : try part(evidence.enrolmentIndex)
    let chain = try Self.chain(of: sealed.content, in: &unit).filter { $0 != evidence.enrolmentIndex }
    object["seal"] = .object(
      SealBundle(sealed: sealed, enrolment: enrolment, chain: try chain.map(part)).json)
    if !evidence.references.isEmpty {
      object["references"] = .array(
        evidence.references.map { ["role": .string($0.role), "leaf_index": .integer(Int64($0.index))] })
    }
    if let payment = try unit.payment(command.id.description) {
      object["payment"] = .object(try payment.detail(in: &unit))
    }
    if let index = command.outcomeIndex {
      object["outcome_leaf_index"] = .integer(Int64(index))
      // The outcome's own leaf is sealed a moment after the answer; until then it has no proof.
      do { object["outcome"] = try part(index).json } catch let problem as Problem
        where problem.code == "not_sealed_yet"
      {}
    }
    if !command.result.isEmpty { object["result"] = try JSONValue(parsing: command.result) }
    return object
  }

  // MARK: - The ledger's own door

  private func presentSeal(_ request: APIRequest) async throws -> APIResponse {
    let bundle = try SealBundle(try JSONValue(parsing: request.body))
    let size = bundle.sealed.proof.checkpoint.claimed.size
    let newest = ledger.verifier.newestHead
    let consistency = try await store.read { unit -> [MerkleHash] in
      guard let head = try unit.head(), let newest, size <= newest.size, newest.size <= head.size else { return [] }
      return try MerkleTree(restoring: head, from: unit).consistencyProof(from: size, to: newest.size, from: unit)
    }
    let sealed = try ledger.verifier.verify(bundle, genesis: genesis, consistency: consistency, now: time.now()) {
      (signed) throws(Problem) in try ledger.read(signed)
    }
    // The gate's own pipeline carries out what it records, so a seal that is real has its outcome or is about to.
    guard let command = try await store.read({ unit in try unit.command(leafIndex: sealed.leafIndex) }),
      command.id == sealed.context.id
    else { throw Problem(409, "seal_unknown", "The ledger has no record of this leaf; restore the database.") }
    guard command.state != .authorized else {
      throw Problem(409, "command_in_flight", "The command is being carried out; ask for its receipt shortly.")
    }
    return APIResponse([
      "command_id": .string(command.id.description), "status": .string(command.state.rawValue),
      "leaf_index": .integer(Int64(command.leafIndex)), "result": try JSONValue(parsing: command.result),
    ])
  }
}
