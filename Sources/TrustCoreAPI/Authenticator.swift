import AgentIdentity
import CommandGate
import Cosign
import Crypto
import JOSE
import Payments
import Seal
import Synchronization
import Wire

/// Works out who sends a request, from signatures, access tokens and proofs. It decides nothing.
final class Authenticator<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  private struct Known: Sendable {
    let principal: Principal
    let key: VerificationKey
  }

  private struct Caches: Sendable {
    var principals: [String: Known] = [:]
    var tokens: [[UInt8]: AccessToken] = [:]
  }

  private let store: Store
  private let issuer: Issuer
  private let time: any TimeSource
  private let auditorDigest: [UInt8]
  private let console: (identity: ConsoleIdentity, origin: String)?
  private let ceremonies: Ceremonies
  /// Proofs made before this moment may have been seen by an earlier process, whose memory is gone.
  private let started: Timestamp
  private let caches = Mutex(Caches())
  private let proofs = ReplayCache()
  private let requests = ReplayCache(capacity: 1 << 22)
  private static var cacheLimit: Int { 16_384 }

  init(
    store: Store, issuer: Issuer, auditorDigest: [UInt8], console: (identity: ConsoleIdentity, origin: String)?,
    ceremonies: Ceremonies, time: any TimeSource
  ) {
    self.store = store
    self.issuer = issuer
    self.auditorDigest = auditorDigest
    self.console = console
    self.ceremonies = ceremonies
    self.time = time
    started = time.now()
  }

  // MARK: - Signed commands

  /// Verifies a signed request and the access token that it covers.
  func command(_ request: APIRequest) async throws -> SignedCommand {
    let now = time.now()
    guard request.single("signature") != nil, request.single("signature-input") != nil else {
      throw Problem(
        401, "signature_missing", "Sign the request with your enrolled key as RFC 9421 describes; see /openapi.json.")
    }
    guard request.values("idempotency-key").count == 1 else {
      throw Problem(
        400, "idempotency_key_missing", "Send one Idempotency-Key, new for each command and the same for its repeats.")
    }
    let message = HTTPMessage(
      issuer.target(of: request), headers: request.fields.map { HTTPMessage.Field($0.name, $0.value) })
    let unverified = try UnverifiedCommand(message, body: request.body)
    let known = try await known(thumbprint: unverified.keyID)
    guard known.principal.kind != .approver else {
      throw Problem(401, "key_unknown", "This key approves with WebAuthn and signs no requests.")
    }
    let signed = try unverified.verified(by: known.principal, key: known.key, at: now)
    try Self.active(known.principal)
    let token = try token(in: signed.authorization, scheme: "DPoP", at: now)
    guard token.thumbprint == known.principal.thumbprint, token.client == known.principal.id else {
      throw Problem(
        401, "token_key_mismatch",
        "The access token is bound to another key; use the token that was issued to this one.",
        headers: ["WWW-Authenticate": "DPoP error=\"invalid_token\""])
    }
    let replay = ReplayCache.Key(scope: "command", thumbprint: token.thumbprint, context: "", id: signed.nonce)
    try remember(replay, in: requests, until: signed.notAfter, at: now) {
      Problem(401, "signature_replayed", "This signature was used before; sign the request again with a new nonce.")
    }
    return signed
  }

  private func remember(
    _ key: ReplayCache.Key, in cache: ReplayCache, until: Timestamp, at now: Timestamp, else replayed: () -> Problem
  ) throws(Problem) {
    let fresh: Bool
    do { fresh = try cache.insert(key, expires: until, now: now) } catch {
      throw Problem(503, error.code.description, error.message, headers: ["Retry-After": "60"])
    }
    guard fresh else { throw replayed() }
  }

  private func known(thumbprint: String) async throws -> Known {
    if let known = caches.withLock({ $0.principals[thumbprint] }) { return known }
    let principal = try await store.read { unit in try unit.principal(thumbprint: thumbprint) }
    guard let principal, let key = try? JWK(try JSONValue(parsing: principal.key)).key else {
      throw Problem(
        401, "key_unknown", "No principal has this key; 'keyid' is the RFC 7638 thumbprint of an enrolled one.")
    }
    let known = Known(principal: principal, key: key)
    // Only active principals are kept; one that is revoked later is refused where the command is decided.
    if principal.status == .active {
      caches.withLock { caches in
        if caches.principals.count >= Self.cacheLimit { caches.principals.removeAll() }
        caches.principals[thumbprint] = known
      }
    }
    return known
  }

  private static func active(_ principal: Principal) throws(Problem) {
    switch principal.status {
    case .active: return
    case .pending:
      throw Problem(
        403, "agent_pending", "The agent's owner has not approved its key yet; ask the owner to approve it.")
    case .revoked:
      throw principal.kind == .agent
        ? Problem(403, "agent_revoked", "The agent is revoked; enrol a new one.")
        : Problem(403, "person_revoked", "Whoever signed this was revoked by a security officer.")
    }
  }

  /// Forgets what is kept of a principal, after a decision about it.
  func forget(_ id: String) {
    caches.withLock { caches in caches.principals = caches.principals.filter { $0.value.principal.id != id } }
  }

  // MARK: - Access tokens and DPoP

  private func token(in authorization: String?, scheme: String, at now: Timestamp) throws -> AccessToken {
    let parts = (authorization ?? "").split(separator: " ", maxSplits: 1)
    guard parts.count == 2 else {
      throw Problem(
        401, "token_missing", "Send the access token as 'Authorization: DPoP <token>'.",
        headers: ["WWW-Authenticate": "DPoP \(Self.algorithms)"])
    }
    guard parts[0].lowercased() == scheme.lowercased() else {
      throw Problem(
        401, "token_scheme_wrong", "The access token is bound to a key; send it with the scheme 'DPoP'.",
        headers: ["WWW-Authenticate": "DPoP error=\"invalid_token\""])
    }
    let text = String(parts[1])
    let digest = Array(SHA256.hash(data: Array(text.utf8)))
    if let token = caches.withLock({ $0.tokens[digest] }), now < token.expires { return token }
    let token = try issuer.verify(text, at: now)
    caches.withLock { caches in
      if caches.tokens.count >= Self.cacheLimit { caches.tokens.removeAll() }
      caches.tokens[digest] = token
    }
    return token
  }

  /// Verifies a DPoP-bound access token with its proof, for a request that is not signed.
  func reader(_ request: APIRequest) async throws -> Principal {
    let now = time.now()
    let authorization = request.single("authorization")
    let token = try token(in: authorization, scheme: "DPoP", at: now)
    let text = authorization.map { String($0.drop { $0 != " " }.dropFirst()) }
    let proof = try proof(request, accessToken: text, at: now)
    guard proof.thumbprint == token.thumbprint else {
      throw Self.invalidProof("the proof's key is not the one that the access token is bound to")
    }
    guard let principal = try await store.read({ unit in try unit.principal(id: token.client) }) else {
      throw Problem(401, "key_unknown", "The token's client is not enrolled any more.")
    }
    try Self.active(principal)
    return principal
  }

  /// Verifies the one DPoP proof of a request and remembers it.
  func proof(_ request: APIRequest, accessToken: String?, at now: Timestamp) throws -> VerifiedDPoPProof {
    // RFC 9449 section 5: at the authorization server, which takes no access token, it is an OAuth error.
    let status = accessToken == nil ? 400 : 401
    guard let uri = HTTPURI(issuer.target(of: request).uri) else {
      throw Self.invalidProof("the URI cannot be read", status: status)
    }
    let proof: VerifiedDPoPProof
    do {
      proof = try DPoPProof(fields: request.values("dpop"))
        .verified(DPoPExpectations(method: request.method, uri: uri, accessToken: accessToken), now: now)
    } catch {
      throw Self.invalidProof(error.message, status: status)
    }
    guard proof.issuedAt.seconds >= started.seconds else {
      throw Self.invalidProof("the proof is older than this server; make a new one", status: status)
    }
    try remember(proof.replayKey, in: proofs, until: proof.notAfter, at: now) {
      Self.invalidProof("the proof was used before; make a new one for each request", status: status)
    }
    return proof
  }

  /// Remembers a client assertion, so that its `jti` counts once.
  func rememberAssertion(of client: String, id: String, until: Timestamp, at now: Timestamp) throws {
    let key = ReplayCache.Key(scope: "client_assertion", thumbprint: client, context: issuer.url, id: id)
    try remember(key, in: proofs, until: until, at: now) {
      OAuthRoutes<Store>.invalidClient("the client assertion was used before; make a new one for each request")
    }
  }

  static func invalidProof(_ why: String, status: Int = 401) -> Problem {
    Problem(
      status, "invalid_dpop_proof", "The DPoP proof is refused: \(why).",
      headers: status == 401 ? ["WWW-Authenticate": "DPoP error=\"invalid_dpop_proof\", \(algorithms)"] : [:],
      extensions: ["error": "invalid_dpop_proof", "error_description": .string(why)])
  }

  private static var algorithms: String { "algs=\"ES256 EdDSA\"" }

  // MARK: - People

  /// Verifies a request that a person's WebAuthn assertion proves. Its challenge was drawn here and is used up.
  func asserted(_ request: APIRequest) async throws -> SignedCommand {
    let now = time.now()
    let unverified = try UnverifiedAssertedCommand(targetURI: issuer.target(of: request).uri, body: request.body)
    let known = try await store.read { unit -> (Credential, Principal)? in
      guard let credential = try unit.credential(id: unverified.credentialID),
        let person = try unit.principal(id: credential.person)
      else { return nil }
      return (credential, person)
    }
    guard let (enrolled, person) = known else {
      throw Problem(401, "credential_unknown", "The credential is not enrolled; enrol it with an invitation.")
    }
    var credential = enrolled
    // The counter is compared where the command is decided, so that a repeat of it still gets its first answer.
    credential.signCount = 0
    guard let console else { throw Problem(404, "route_not_found", "This deployment has no console.") }
    let signed = try unverified.verified(
      by: person, credential: credential,
      relyingParty: try console.identity.relyingParty(.approval, origin: console.origin), at: now)
    guard !ceremonies.take(unverified.challenge, for: .assert(person: person.id), at: now) else { return signed }
    // A client that lost its answer repeats the request: what was decided once is answered again.
    let scope = IdempotencyScope.digest(tenant: person.tenant, principal: person.id, key: signed.idempotencyKey)
    guard try await store.read({ unit in try unit.command(idempotency: scope) }) != nil else {
      throw Ceremonies.unknown
    }
    return signed
  }

  /// The person whose session a request belongs to.
  func session(_ request: APIRequest) async throws -> Principal {
    let missing = Problem(
      401, "session_missing", "Sign in first, at /console.", headers: ["WWW-Authenticate": "Cookie"])
    guard let token = sessionToken(request), let id = ceremonies.person(token, at: time.now()) else { throw missing }
    // The cookie is SameSite=Strict; a browser that does not know that says where the request comes from.
    if let site = request.single("sec-fetch-site"), site != "same-origin", request.method != "GET" {
      throw Problem(403, "cross_site", "The request comes from another site.")
    }
    guard let person = try await store.read({ unit in try unit.principal(id: id) }), person.status == .active else {
      throw missing
    }
    return person
  }

  /// Whoever reads: a person with a session, or a client with a token and its proof.
  func caller(_ request: APIRequest) async throws -> Principal {
    sessionToken(request) == nil ? try await reader(request) : try await session(request)
  }

  /// The session token in a request's cookies.
  func sessionToken(_ request: APIRequest) -> [UInt8]? {
    for value in request.values("cookie") {
      for pair in value.split(separator: ";") {
        let trimmed = pair.drop { $0 == " " }
        if trimmed.hasPrefix(Self.cookieName + "=") {
          return try? Base64.URL.decode(trimmed.dropFirst(Self.cookieName.count + 1))
        }
      }
    }
    return nil
  }

  private static var cookieName: String { "__Host-trustcore" }

  /// The value of Set-Cookie for a session (RFC 6265bis: the prefix binds it to this host, secure, path /).
  static func cookie(_ token: String, seconds: Int64) -> String {
    "\(cookieName)=\(token); Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=\(seconds)"
  }

  // MARK: - Bearer tokens

  /// The token of a Bearer request.
  static func bearer(_ request: APIRequest) throws(Problem) -> String {
    let parts = (request.single("authorization") ?? "").split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else {
      throw Problem(
        401, "token_missing", "Send the token as 'Authorization: Bearer <token>'.",
        headers: ["WWW-Authenticate": "Bearer"])
    }
    return String(parts[1])
  }

  /// Checks the auditor's token. Only its digest is kept; digests of unknown texts may be compared in any time.
  func auditor(_ request: APIRequest) throws {
    let token = try Self.bearer(request)
    guard Array(SHA256.hash(data: Array(token.utf8))) == auditorDigest else {
      throw Problem(
        401, "token_invalid", "The auditor's token is wrong; its file is named in ready.json.",
        headers: ["WWW-Authenticate": "Bearer error=\"invalid_token\""])
    }
  }
}

/// What an access token of ours says, verified.
struct AccessToken: Sendable {
  let client: String
  let thumbprint: String
  let expires: Timestamp
}

/// What the deployment's own access tokens look like, and where it is.
struct Issuer: Sendable {
  /// The issuer's URL: the public base URL, without a slash at its end.
  let url: String
  private let scheme: String
  private let authority: String
  private let signer: JWSSigner
  /// How long an access token lives, in seconds.
  static let lifetime: Int64 = 600

  init(url: String, signer: JWSSigner) {
    self.url = url
    self.signer = signer
    let parts = url.split(separator: "/", omittingEmptySubsequences: true)
    scheme = String(parts.first?.dropLast() ?? "https")
    authority = parts.count > 1 ? String(parts[1]) : ""
  }

  /// The keys that verify tokens, as the JWK set shows them.
  var keys: JWKSet { JWKSet([signer.publicJWK]) }

  /// The console's origin: its host, on the port of this URL.
  func origin(of console: ConsoleIdentity) -> String {
    let port = authority.split(separator: ":").dropFirst().first.map { ":\($0)" } ?? ""
    return "https://\(console.host)" + port
  }

  /// Where a request went, under the configured base URL and not under what a header claims.
  func target(of request: APIRequest) -> HTTPMessage.Target {
    HTTPMessage.Target(
      method: request.method, scheme: scheme, authority: authority, path: request.path, query: request.query)
  }

  /// Issues an access token (RFC 9068) bound to a key (RFC 9449 section 6).
  func issue(to principal: Principal, id: String, at now: Timestamp) async throws -> String {
    try await signer.jwt(
      [
        "iss": .string(url), "aud": .string(url), "sub": .string(principal.id), "client_id": .string(principal.id),
        "iat": .integer(now.seconds), "exp": .integer(now.seconds + Self.lifetime), "jti": .string(id),
        "scope": .string(principal.kind.rawValue), "cnf": ["jkt": .string(principal.thumbprint)],
      ], type: "at+jwt")
  }

  /// Verifies an access token.
  func verify(_ text: String, at now: Timestamp) throws(Problem) -> AccessToken {
    do {
      let jwt = try UnverifiedJWT(text).verified(
        with: signer.publicJWK, allowed: [signer.algorithm],
        expectations: JWTExpectations(
          type: "at+jwt", issuer: url, audience: url, leeway: 0, maximumLifetime: Self.lifetime,
          required: ["sub", "jti"]),
        now: now)
      guard let client = jwt.claims.subject, let thumbprint = jwt.claims.all["cnf"]?.object?["jkt"]?.string else {
        throw JOSEError(.claimInvalid, "the token is bound to no key")
      }
      return AccessToken(client: client, thumbprint: thumbprint, expires: jwt.expires)
    } catch {
      let expired = (error as? JOSEError)?.code == .expired
      throw Problem(
        401, expired ? "token_expired" : "token_invalid", "The access token is refused; get a new one at /oauth/token.",
        headers: ["WWW-Authenticate": "DPoP error=\"invalid_token\""])
    }
  }
}
