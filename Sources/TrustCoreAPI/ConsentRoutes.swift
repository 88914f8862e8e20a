import AgentIdentity
import CommandGate
import Consent
import Cosign
import Payments
import Seal
import Wire

/// Consents: an owner draws one up here, signs its digest with a hardware key, and hands both back.
struct ConsentRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let gate: Gate<Store>
  let store: Store
  let console: ConsoleIdentity
  let validate: ConsentModule<Store.Unit>.DestinationCheck
  let authenticator: Authenticator<Store>
  let ceremonies: Ceremonies
  let time: any TimeSource
  let random: any RandomSource

  /// Terms of 256 counterparties, with their assertion.
  private static var maximumBody: Int { 1 << 19 }

  var routes: [Route] {
    [
      Route(
        "POST", "/v1/consents/draft", "draftConsent",
        "Completes the terms of a consent and states what the owner signs. Nothing is kept but the challenge.",
        access: .caller, body: .json("ConsentDraft"), maximumBody: Self.maximumBody, content: .json("DraftedConsent"),
        refusals: [404, 409, 422], handle: draft),
      asserted("/v1/consents", "giveConsent", "Puts the first version of a consent in force.", success: 201),
      asserted("/v1/consents/{id}/amend", "amendConsent", "Puts the next version of a consent in force.", success: 200),
      Route(
        "GET", "/v1/consents", "listConsents", "The consents of the caller's owner.", access: .caller,
        content: .json("Consents"), handle: list),
      Route(
        "GET", "/v1/consents/{id}", "readConsent", "A consent at its current version.", access: .caller,
        content: .json("Consent"), handle: read),
    ]
  }

  private func asserted(_ path: String, _ operation: String, _ summary: String, success: Int) -> Route {
    Route(
      "POST", path, operation, summary, access: .assertion, body: .json("SignedConsent"), maximumBody: Self.maximumBody,
      success: success, content: .json("CommandResult")
    ) { request in
      let receipt = try await gate.submit(
        try await authenticator.asserted(request), to: ConsentModule<Store.Unit>.audience)
      return receipt.response(success)
    }
  }

  // MARK: - Drafts

  private func draft(_ request: APIRequest) async throws -> APIResponse {
    let owner = try await authenticator.caller(request)
    guard owner.kind == .owner else {
      throw Problem(403, "consent_not_permitted", "Only an owner draws up a consent.")
    }
    let now = time.now()
    var reader = try ObjectReader(try JSONValue(parsing: request.body), "the draft")
    let amended = try reader.optionalString("consent", maximumBytes: 64)
    let agentID = try reader.optionalString("agent", maximumBytes: 64)
    var terms: JSONObject = ["owner": .string(owner.id), "tenant": .string(owner.tenant)]
    for name in ["account", "currency", "rails", "counterparties", "limits", "cosign"] {
      terms[name] = reader.optional(name)
    }
    let seconds = try reader.integer("expires_in", in: 1...ConsentTerms.maximumLifetime)
    try reader.finish()
    let (current, agent, credentials) = try await store.read { unit in
      let current = try amended.flatMap { try unit.consent($0) }
      return (
        current, try unit.principal(id: agentID ?? current?.terms.agent ?? ""), try unit.credentials(of: owner.id)
      )
    }
    if amended != nil {
      guard let current, current.terms.owner == owner.id else { throw Self.notFound }
      let before = current.terms
      for (name, value) in [("account", before.account), ("currency", before.currency.code)] where terms[name] == nil {
        terms[name] = .string(value)
      }
      terms["previous"] = .string(Base64.URL.encode(before.digest))
    }
    guard let agent, agent.kind == .agent, agent.owner == owner.id else {
      throw Problem(422, "consent_agent_unknown", "Name one of your own agents in 'agent'.")
    }
    guard credentials.contains(where: { $0.purpose == .approval }) else {
      throw Problem(409, "credential_missing", "Enrol a hardware key first; ask a security officer for an invitation.")
    }
    terms["id"] = .string(current?.terms.id ?? "con_" + Base64.URL.encode(random.bytes(16)))
    terms["version"] = .integer(Int64((current?.terms.version ?? 0) + 1))
    terms["nonce"] = .string(Base64.URL.encode(random.bytes(32)))
    terms["agent"] = .string(agent.id)
    terms["agent_thumbprint"] = .string(agent.thumbprint)
    terms["issued_at"] = .integer(now.milliseconds)
    terms["expires"] = .integer(now.adding(seconds: seconds).milliseconds)
    let consent = try ConsentTerms(.object(terms), validate: validate)
    try ceremonies.expect(consent.digest, for: .assert(person: owner.id), at: now)
    return APIResponse(
      200,
      [
        "consent": .object(consent.json), "digest": .string(Base64.URL.encode(consent.digest)),
        "options": .object(
          PeopleRoutes<Store>.assertionOptions(
            consent.digest, relyingParty: console.approvalID,
            credentials: credentials.filter { $0.purpose == .approval })),
      ], headers: [("cache-control", "no-store")])
  }

  // MARK: - Reads

  private static var notFound: Problem {
    Problem(404, "consent_not_found", "There is no such consent that this caller may see; check the identifier.")
  }

  private func list(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.caller(request)
    let consents = try await store.read { unit in try unit.consents(owner: caller.ownership) }
    return APIResponse(["consents": .array(consents.map { .object($0.json) })])
  }

  private func read(_ request: APIRequest) async throws -> APIResponse {
    let caller = try await authenticator.caller(request)
    let id = request.parameters["id"] ?? ""
    guard let consent = try await store.read({ unit in try unit.consent(id) }), consent.terms.tenant == caller.tenant,
      caller.kind == .officer || consent.terms.owner == caller.ownership
    else { throw Self.notFound }
    return APIResponse(consent.json)
  }
}

extension ConsentRecord {
  /// The consent as answers show it.
  fileprivate var json: JSONObject {
    [
      "consent": .object(terms.json), "digest": .string(Base64.URL.encode(terms.digest)),
      "status": .string(status.rawValue), "leaf_index": .integer(Int64(leafIndex)),
    ]
  }
}

extension Receipt {
  /// The answer to a command: 202 where it is held, `success` where it was carried out.
  func response(_ success: Int) -> APIResponse {
    APIResponse(
      command.state == .held ? 202 : success, json,
      headers: [("location", "/v1/receipts/\(command.id)"), ("cache-control", "no-store")])
  }
}
