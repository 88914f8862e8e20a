import AgentIdentity
import CommandGate
import Cosign
import Payments
import Rails
import Seal
import TransparencyLog
import Wire

/// Payments, the approvals that they wait for, and what the bank fetches.
struct PaymentRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let gate: Gate<Store>
  let store: Store
  let payments: PaymentsModule<Store.Unit>
  let console: ConsoleIdentity
  let authenticator: Authenticator<Store>
  let ceremonies: Ceremonies
  let time: any TimeSource
  let random: any RandomSource

  /// The console shows at most so many payments that wait.
  static var listLimit: Int { 100 }

  var routes: [Route] {
    [
      Route(
        "GET", "/v1/payments/{id}", "readPayment", "A payment, its approvals and where its entry went.",
        access: .caller, content: .json("Payment"), handle: payment),
      Route(
        "GET", "/v1/approvals", "listApprovals", "The payments that wait for the caller's decision.", access: .session,
        content: .json("Approvals"), handle: approvals),
      Route(
        "GET", "/v1/approvals/{payment}", "readApproval", "The exact statement that an approver is asked to sign.",
        access: .session, content: .json("Approval"), handle: approval),
      Route(
        "POST", "/v1/approvals/{payment}/challenge", "challengeApproval",
        "The terms that an approver signs, with the challenge that is their hash.", access: .session,
        body: .json("ApprovalQuestion"), maximumBody: 1024, content: .json("ApprovalChallenge"),
        refusals: [403, 409, 422], handle: challenge),
      Route(
        "POST", "/v1/approvals/{payment}/decisions", "decide", "An approver's decision, proven by the assertion in it.",
        access: .assertion, body: .json("ApprovalDecision"), maximumBody: 65_536, content: .json("CommandResult")
      ) { request in
        let signed = try await authenticator.asserted(request)
        return try await gate.submit(signed, to: PaymentsModule<Store.Unit>.audience).response(200)
      },
      Route(
        "GET", "/v1/rails/ach/files", "listACHFiles", "The newest files for the bank, newest first.", access: .dpop,
        content: .json("ACHFiles"), handle: files),
      Route(
        "GET", "/v1/rails/ach/files/{number}", "readACHFile", "A NACHA file; its bytes never change.", access: .dpop,
        content: .bytes, handle: file),
    ]
  }

  // MARK: - Payments

  private func payment(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.caller(request)
    let id = request.parameters["id"] ?? ""
    let answer = try await store.read { unit -> JSONObject? in
      guard let payment = try unit.payment(id), payment.tenant == caller.tenant,
        caller.kind == .officer || payment.agent == caller.id || payment.owner == caller.id
          || payment.needs.contains(where: { $0.members.contains(caller.id) })
      else { return nil }
      return try payment.detail(in: &unit)
    }
    guard let answer else {
      throw Problem(
        404, "payment_not_found", "There is no such payment that this caller may see; check the identifier.")
    }
    return APIResponse(answer)
  }

  // MARK: - Approvals

  /// A held payment as one of its approvers sees it.
  struct View: Sendable {
    let payment: Payment
    let statement: PaymentStatement
    let given: Int
    let mine: String?
    let obstacle: String?

    var needed: Int { payment.needs.reduce(0) { $0 + $1.approvals } }
  }

  /// The payments that wait for a person.
  func pending(for person: Principal) async throws -> [View] {
    let (now, payments) = (time.now(), payments)
    return try await store.read { unit in
      try unit.heldPayments(tenant: person.tenant, limit: Self.listLimit)
        .filter { payment in payment.needs.contains { $0.members.contains(person.id) } }
        .map { try Self.view($0, for: person, payments, at: now, in: &unit) }
    }
  }

  /// One payment as a member of its groups sees it.
  func view(_ id: String, for person: Principal) async throws -> View {
    let (now, payments) = (time.now(), payments)
    let view = try await store.read { unit -> View? in
      guard let payment = try unit.payment(id), payment.tenant == person.tenant,
        payment.needs.contains(where: { $0.members.contains(person.id) })
      else { return nil }
      return try Self.view(payment, for: person, payments, at: now, in: &unit)
    }
    guard let view else {
      throw Problem(404, "payment_not_found", "No payment '\(id)' waits for this person; check its identifier.")
    }
    return view
  }

  private static func view(
    _ payment: Payment, for person: Principal, _ payments: PaymentsModule<Store.Unit>, at now: Timestamp,
    in unit: inout Store.Unit
  ) throws -> View {
    let approvals = try unit.approvals(payment: payment.id)
    let mine = approvals.first { $0.person == person.id }
    var obstacle: String?
    if mine == nil {
      do {
        _ = try payments.terms(
          of: payment.id, decision: .approve, by: person, nonce: [UInt8](repeating: 0, count: 32), at: now, in: &unit)
      } catch let problem as Problem {
        obstacle = problem.detail
      }
    }
    return View(
      payment: payment, statement: try PaymentStatement(of: payment, in: &unit),
      given: approvals.count { $0.approves }, mine: mine.map { $0.approves ? "approve" : "decline" },
      obstacle: obstacle)
  }

  private func approvals(_ request: APIRequest) async throws -> APIResponse {
    let views = try await pending(for: try await authenticator.session(request))
    return APIResponse(
      200, ["approvals": .array(views.map { .object($0.json) })], headers: [("cache-control", "no-store")])
  }

  private func approval(_ request: APIRequest) async throws -> APIResponse {
    let person = try await authenticator.session(request)
    return APIResponse(
      200, try await view(request.parameters["payment"] ?? "", for: person).json,
      headers: [("cache-control", "no-store")])
  }

  private func challenge(_ request: APIRequest) async throws -> APIResponse {
    let person = try await authenticator.session(request)
    var reader = try ObjectReader(try JSONValue(parsing: request.body), "the question")
    let text = try reader.string("decision", maximumBytes: 16)
    try reader.finish()
    guard let decision = ApprovalTerms.Decision(rawValue: text) else {
      throw Problem(422, "decision_unknown", "'decision' is 'approve' or 'decline'.")
    }
    let (id, nonce, now, payments) = (request.parameters["payment"] ?? "", random.bytes(32), time.now(), payments)
    let (terms, statement, credentials) = try await store.read { unit in
      let (terms, statement) = try payments.terms(
        of: id, decision: decision, by: person, nonce: nonce, at: now, in: &unit)
      return (terms, statement, try unit.credentials(of: person.id))
    }
    try ceremonies.expect(terms.challenge, for: .assert(person: person.id), at: now)
    return APIResponse(
      200,
      [
        "approval": .object(terms.json), "statement": .string(statement.text),
        "options": .object(
          PeopleRoutes<Store>.assertionOptions(
            terms.challenge, relyingParty: console.approvalID,
            credentials: credentials.filter { $0.purpose == .approval })),
      ], headers: [("cache-control", "no-store")])
  }

  // MARK: - The bank

  private func tenant(_ request: APIRequest) async throws -> String {
    let caller = try await authenticator.reader(request)
    let bank = try await store.read { unit in try unit.rail(tenant: caller.tenant)?.bank }
    guard caller.kind == .officer || (caller.kind == .bank && caller.id == bank) else {
      throw Problem(403, "bank_required", "Only the rail's bank and security officers read its files.")
    }
    return caller.tenant
  }

  private func files(_ request: APIRequest) async throws -> APIResponse {
    let tenant = try await tenant(request)
    let sealed = try sealedSize()
    let files = try await store.read { unit in
      let newest = try unit.newestFile(tenant: tenant)
      return try stride(from: newest, to: max(0, newest - Self.listLimit), by: -1)
        .compactMap { try unit.file(tenant: tenant, number: $0) }
    }
    return APIResponse([
      "files": .array(files.filter { $0.leafIndex < sealed }.map { .object($0.json) })
    ])
  }

  private func file(_ request: APIRequest) async throws -> APIResponse {
    let tenant = try await tenant(request)
    let sealed = try sealedSize()
    let payments = payments
    guard let number = Int(request.parameters["number"] ?? ""),
      let bytes = try await store.read({ unit in
        try unit.file(tenant: tenant, number: number).flatMap { file in
          // Nothing leaves before its leaf is under a signed head.
          file.leafIndex < sealed ? try payments.bytes(of: file, in: &unit) : nil
        }
      })
    else { throw Problem(404, "file_not_found", "There is no such file; list the files first.") }
    return APIResponse(
      200, contentType: "application/octet-stream", body: bytes, headers: [("cache-control", "private, no-store")])
  }

  private func sealedSize() throws -> UInt64 {
    try gate.published.note.map { try UnverifiedCheckpoint($0).claimed.size } ?? 0
  }
}

extension PaymentRoutes.View {
  fileprivate var json: JSONObject {
    var object: JSONObject = [
      "payment": .string(payment.id), "state": .string(payment.state.rawValue), "headline": .string(statement.headline),
      "statement": .string(statement.text), "statement_digest": .string(Base64.URL.encode(statement.digest)),
      "expires_at": .string(payment.expires?.description ?? ""), "approvals_given": .integer(Int64(given)),
      "approvals_needed": .integer(Int64(needed)),
    ]
    object["mine"] = mine.map { .string($0) }
    object["obstacle"] = obstacle.map { .string($0) }
    return object
  }
}

extension Payment {
  /// The payment with its approvals and its entry.
  func detail(in unit: inout some PaymentStore) throws -> JSONObject {
    let approvals = try unit.approvals(payment: id)
    var object = summary(given: approvals.count { $0.approves })
    object["leaf_index"] = .integer(Int64(leafIndex))
    object["approvals"] = .array(approvals.map { .object($0.json) })
    if let postedIndex { object["posted_leaf_index"] = .integer(Int64(postedIndex)) }
    if let endedBy { object["ended_by"] = .string(endedBy) }
    if let returnCode { object["return_code"] = .string(returnCode) }
    if let entry = try unit.entry(payment: id) {
      object["trace_number"] = .string(ACHTraceNumber(entry.trace)?.description ?? "")
      if let number = entry.file, let file = try unit.file(tenant: tenant, number: number) {
        object["file"] = .object(file.json)
      }
    }
    return object
  }
}

extension RailFile {
  fileprivate var json: JSONObject {
    [
      "file": .integer(Int64(number)), "created_at": .string(created.description), "entries": .integer(Int64(count)),
      "modifier": .string(modifier), "leaf_index": .integer(Int64(leafIndex)), "sha256": .string(Hex.encode(digest)),
    ]
  }
}
