import AgentIdentity
import CommandGate
import JOSE
import Payments
import Seal
import WorkloadIdentity
import WorkloadService
import Wire

/// Workload identity: what officers and registrars decide, what operators read, and what other trust domains and OIDC
/// verifiers fetch.
struct WorkloadRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore & WorkloadStore {
  let gate: Gate<Store>
  let store: Store
  let workloads: WorkloadService<GateWorkloadRecorder<Store>>
  let authenticator: Authenticator<Store>
  let time: any TimeSource
  let genesis: Genesis
  /// Where JWT-SVIDs say that they come from; its discovery document is published below it.
  let issuer: String
  let federation: @Sendable () async -> [JSONObject]

  /// At most so many entries in one page.
  private static var pageLimit: Int { 500 }
  /// And of so many bytes together, of which an entry has a part.
  private static var pageBytes: Int { 2 << 20 }
  /// The path below which the issuer of JWT-SVIDs publishes; see DESIGN, "Bundles".
  static var issuerPath: String { "/workload" }

  var routes: [Route] { commands + reads + published }

  private var commands: [Route] {
    func command(
      _ path: String, _ operation: String, _ summary: String, _ schema: String, maximumBody: Int = 65_536,
      check: @escaping @Sendable (APIRequest) async throws -> Void = { _ in }
    ) -> Route {
      Route(
        "POST", path, operation, summary, access: .signedCommand, body: .json(schema), maximumBody: maximumBody,
        content: .json("CommandResult"), refusals: [404, 409]
      ) { request in try await submit(request, check) }
    }
    return [
      command(
        "/v1/entries", "changeEntries",
        "An officer or registrar makes, changes and ends registration entries, all of them or none.", "EntryChanges",
        maximumBody: 1 << 20),
      command(
        "/v1/authorities/{kind}/prepare", "prepareAuthority",
        "An officer has the next authority of a kind made, in the slot that is not in use.", "Empty"),
      command(
        "/v1/authorities/{kind}/rotate", "rotateAuthority",
        "An officer has another authority take over at once; every stream gets new identities.", "Empty"),
      command(
        "/v1/authorities/{kind}/request", "requestAuthority",
        "An officer has an issuing authority made whose certificate somebody else's root signs.", "Empty"),
      command(
        "/v1/authorities/{kind}/activate", "activateAuthority", "An officer lets the prepared authority take over.",
        "Empty"),
      command(
        "/v1/authorities/{id}/taint", "taintAuthority",
        "An officer has everything replaced that an old authority signed.", "Empty"),
      command(
        "/v1/authorities/{id}/revoke", "revokeAuthority", "An officer ends the trust in an authority.",
        "AuthorityRevocation"),
      command(
        "/v1/authorities/{id}/certificate", "certifyAuthority",
        "An officer gives an authority the certificate that it asked for.", "AuthorityCertificate", maximumBody: 1 << 17
      ) { request in
        // What leads nowhere is refused with the reason, before anything is recorded.
        guard let chain = try JSONValue(parsing: request.body).object?["chain"]?.string else { return }
        try await workloads.check(pem: chain, for: request.parameters["id"] ?? "")
      },
      command(
        "/v1/svids/revoke", "revokeSVID", "An officer or registrar revokes one certificate or token before its time.",
        "SVIDRevocation"),
      command(
        "/v1/federations", "federate", "An officer trusts another trust domain's bundle.", "Federation",
        maximumBody: 1 << 20),
      command(
        "/v1/federations/{trust_domain}/delete", "unfederate", "An officer ends a federation.", "Empty"),
    ]
  }

  /// Decides and seals a command; who waits for a push need not wait for the next second.
  private func submit(
    _ request: APIRequest, _ check: (APIRequest) async throws -> Void
  ) async throws -> APIResponse {
    let signed = try await authenticator.command(request)
    do { try await check(request) } catch {
      // What was decided is not judged by what holds now.
      guard try await gate.hasDecided(signed) else { throw error }
    }
    let receipt = try await gate.submit(signed, to: WorkloadModule<Store.Unit>.audience)
    // It is done whatever comes of this; what was ordered of the HSM shows in the authorities' state.
    if request.path.hasPrefix("/v1/authorities/") { try? await workloads.tend() } else { try? await workloads.follow() }
    return receipt.response(200)
  }

  // MARK: - Reading

  private var reads: [Route] {
    @Sendable func page(_ request: APIRequest, after id: String) async throws -> APIResponse {
      try authenticator.auditor(request)
      let rows = try await store.read { unit in try unit.entries(after: id, limit: Self.pageLimit + 1) }
      var room = Self.pageBytes
      let page = rows.prefix(Self.pageLimit).prefix { row in
        defer { room -= row.document.count }
        return room > 0
      }
      var answer: JSONObject = ["entries": .array(try page.map { .object(try Self.json($0)) })]
      if let last = page.last, page.count < rows.count { answer["next"] = .string(last.id) }
      return APIResponse(answer)
    }
    return [
      Route(
        "GET", "/v1/entries", "listEntries", "The registration entries, by identifier; 'next' names the next page.",
        access: .auditor, content: .json("Entries")
      ) { request in try await page(request, after: "") },
      Route(
        "GET", "/v1/entries/after/{id}", "continueEntries", "The registration entries after one.", access: .auditor,
        content: .json("Entries")
      ) { request in try await page(request, after: request.parameters["id"] ?? "") },
      Route(
        "GET", "/v1/entries/{id}", "readEntry", "A registration entry.", access: .auditor,
        content: .json("RegistrationEntry")
      ) { request in
        try authenticator.auditor(request)
        let id = request.parameters["id"] ?? ""
        guard let row = try await store.read({ unit in try unit.entry(id) }), row.fingerprint != nil else {
          throw Problem(404, "entry_not_found", "There is no such entry; list the entries.")
        }
        return APIResponse(try Self.json(row))
      },
      Route(
        "GET", "/v1/authorities", "listAuthorities",
        "The authorities of workload identity, the federations, and how many are served.", access: .auditor,
        content: .json("WorkloadStatus")
      ) { request in
        try authenticator.auditor(request)
        var status = await workloads.status()
        let fetched = await federation()
        status["federations"] = .array(
          (status["federations"]?.array ?? []).map { known in
            guard var row = known.object else { return known }
            for member in fetched.first(where: { $0["trust_domain"] == row["trust_domain"] }) ?? [:] {
              row[member.name] = member.value
            }
            return .object(row)
          })
        return APIResponse(status)
      },
      Route(
        "GET", "/v1/registrars", "listRegistrars", "The keys that may change registration entries beside officers'.",
        access: .auditor, content: .json("Registrars")
      ) { request in
        try authenticator.auditor(request)
        let registrars = try await store.read { unit in try unit.principals(.registrar) }
        return APIResponse([
          "registrars": .array(
            registrars.map { registrar in
              [
                "id": .string(registrar.id), "tenant": .string(registrar.tenant),
                "thumbprint": .string(registrar.thumbprint), "state": .string(registrar.status.rawValue),
                "leaf_index": .integer(Int64(registrar.enrolmentIndex)),
              ]
            })
        ])
      },
      Route(
        "GET", "/v1/svids/{kind}/{id}", "readIssuance",
        "Who got a certificate, by its serial number, or a token, by its 'jti', with the proof that it is on the record.",
        access: .auditor, content: .json("Issuance")
      ) { request in
        try authenticator.auditor(request)
        let (kind, id) = (request.parameters["kind"] ?? "", request.parameters["id"] ?? "")
        guard let kind = SVIDKind(rawValue: kind),
          let row = try await store.read({ unit in try unit.issuance(kind, id) })
        else {
          throw Problem(
            404, "svid_not_found",
            "No such SVID was issued here: name x509 and a serial number in lower-case hexadecimal, or jwt and a 'jti'."
          )
        }
        let part = try await gate.sealedEvent(row.leafIndex, genesis: genesis)
        return APIResponse([
          "kind": .string(kind.rawValue), "id": .string(id), "leaf_index": .integer(Int64(row.leafIndex)),
          "issuance": try JSONValue(parsing: part.content), "seal": part.json,
        ])
      },
    ]
  }

  private static func json(_ row: EntryRow) throws -> JSONObject {
    var object: JSONObject = ["id": .string(row.id), "leaf_index": .integer(Int64(row.leafIndex))]
    for member in try JSONValue(parsing: row.document).object ?? [:] { object[member.name] = member.value }
    return object
  }

  // MARK: - Publishing

  private var published: [Route] {
    let path = Self.issuerPath
    return [
      Route(
        "GET", "/.well-known/spiffe-bundle", "spiffeBundle",
        "The trust domain's bundle (SPIFFE Federation section 5), profile https_web.", access: .open,
        content: .json("SPIFFEBundle"), refusals: [503]
      ) { _ in
        APIResponse(200, contentType: "application/json", body: try await workloads.publishedBundle().json())
      },
      Route(
        "GET", path + "/.well-known/openid-configuration", "workloadDiscovery",
        "Discovery of the issuer of JWT-SVIDs (OpenID Connect Discovery 1.0 section 4).", access: .open,
        content: .json("OpenIDConfiguration"), refusals: [503]
      ) { _ in
        let algorithms = Set(try await workloads.publishedBundle().jwtAuthorities.compactMap(\.algorithm))
        return APIResponse([
          "issuer": .string(issuer), "jwks_uri": .string(issuer + "/keys"),
          "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
          "id_token_signing_alg_values_supported": .array(algorithms.map(\.rawValue).sorted().map { .string($0) }),
        ])
      },
      Route(
        "GET", path + "/keys", "workloadKeys", "The keys that verify JWT-SVIDs (RFC 7517).", access: .open,
        content: .json("JWKSet"), refusals: [503]
      ) { _ in
        let keys = try await workloads.publishedBundle().jwt.jwks(.signature)
        return APIResponse(200, contentType: "application/json", body: keys.canonical())
      },
      Route(
        "GET", path + "/revoked-tokens", "revokedTokens", "The JWT-SVIDs that are revoked before their time.",
        access: .open, content: .json("RevokedTokens")
      ) { _ in APIResponse(await workloads.revokedTokens(at: time.now())) },
      Route(
        "GET", path + "/crl", "revokedCertificates",
        "The revocation list of the active authority (RFC 5280 section 5), DER.", access: .open,
        content: .media("application/pkix-crl"), refusals: [503]
      ) { _ in
        let now = time.now()
        // Of another authority's list a reader would take it that what this one signed is not revoked.
        let list = try await store.read { unit in
          let active = try unit.authorities(.x509).last { $0.state == .active }
          return try unit.revocationLists().first { $0.issuer == active?.id && now < $0.nextUpdate }?.list
        }
        guard let list else {
          throw Problem(503, "crl_missing", "The active authority has no revocation list yet; try again shortly.")
        }
        return APIResponse(200, contentType: "application/pkix-crl", body: list)
      },
    ]
  }
}
