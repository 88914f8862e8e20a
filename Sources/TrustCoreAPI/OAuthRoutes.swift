import AgentIdentity
import CommandGate
import Crypto
import JOSE
import Payments
import Wire

/// OAuth 2.1: metadata (RFC 8414), registration (RFC 7591) and tokens (RFC 7523 client assertions, RFC 9449 DPoP).
struct OAuthRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let gate: Gate<Store>
  let store: Store
  let issuer: Issuer
  let authenticator: Authenticator<Store>
  let time: any TimeSource
  let random: any RandomSource

  var routes: [Route] {
    [
      Route(
        "GET", "/.well-known/oauth-authorization-server", "oauthMetadata", "Authorization server metadata (RFC 8414).",
        access: .open, content: .json("AuthorizationServerMetadata")
      ) { _ in APIResponse(metadata) },
      Route(
        "GET", "/.well-known/jwks.json", "jwks", "The keys that verify access tokens (RFC 7517).", access: .open,
        content: .json("JWKSet")
      ) { _ in APIResponse(keySet) },
      Route(
        "POST", "/oauth/register", "registerClient",
        "Enrols an agent's key under the ownership record that the initial access token names (RFC 7591).",
        access: .invitation, body: .json("ClientRegistration"), maximumBody: 65_536, success: 201,
        content: .json("ClientInformation"), handle: register),
      Route(
        "POST", "/oauth/token", "issueToken", "Issues a DPoP-bound access token for a client assertion.",
        access: .clientAssertion, body: .form("TokenRequest"), maximumBody: 65_536, content: .json("TokenResponse"),
        handle: token),
    ]
  }

  private var metadata: JSONObject {
    [
      "issuer": .string(issuer.url), "token_endpoint": .string(issuer.url + "/oauth/token"),
      "registration_endpoint": .string(issuer.url + "/oauth/register"),
      "jwks_uri": .string(issuer.url + "/.well-known/jwks.json"),
      "grant_types_supported": ["client_credentials"], "response_types_supported": [],
      "token_endpoint_auth_methods_supported": ["private_key_jwt"],
      "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
      "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
      "scopes_supported": ["agent", "owner", "officer", "bank", "registrar"],
    ]
  }

  private var keySet: JSONObject {
    let keys = issuer.keys.keys.map { key -> JSONValue in
      var object = key.json.object ?? [:]
      object["use"] = "sig"
      return .object(object)
    }
    return ["keys": .array(keys)]
  }

  // MARK: - Registration

  private func register(_ request: APIRequest) async throws -> APIResponse {
    let token = try Authenticator<Store>.bearer(request)
    let digest = Array(SHA256.hash(data: Array(token.utf8)))
    guard let invitation = try await store.read({ unit in try unit.invitation(digest: digest) }) else {
      throw Problem(
        401, "token_invalid", "The initial access token is not known; ask the owner for one.",
        headers: ["WWW-Authenticate": "Bearer error=\"invalid_token\""], extensions: ["error": "invalid_token"])
    }
    let (key, name) = try Self.clientMetadata(request.body)
    if !request.values("dpop").isEmpty {
      let proof = try authenticator.proof(request, accessToken: nil, at: time.now())
      guard proof.thumbprint == key.thumbprint else {
        throw Authenticator<Store>.invalidProof("it is made with another key than the one in 'jwks'", status: 400)
      }
    }
    let agent = Principal(
      id: "agt_" + Base64.URL.encode(random.bytes(16)), kind: .agent, tenant: invitation.tenant,
      owner: invitation.owner,
      thumbprint: key.thumbprint, key: key.bareJSON.canonical(), status: .pending, enrolmentIndex: 0)
    try await gate.record { unit, _ in
      guard try unit.principal(thumbprint: agent.thumbprint) == nil else {
        throw Problem(
          409, "key_enrolled", "This key is enrolled already; generate a new one for a new agent.",
          extensions: ["error": "invalid_client_metadata"])
      }
      try unit.insert(agent)
      return EventRecord(
        kind: "agent.registered",
        content: [
          "agent": .string(agent.id), "owner": .string(agent.owner), "tenant": .string(agent.tenant),
          "thumbprint": .string(agent.thumbprint), "key": key.bareJSON,
        ])
    }
    var answer: JSONObject = [
      "client_id": .string(agent.id), "client_id_issued_at": .integer(time.now().seconds),
      "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"],
      "jwks": ["keys": [key.bareJSON]], "status": "pending", "thumbprint": .string(agent.thumbprint),
      "owner": .string(agent.owner), "tenant": .string(agent.tenant),
    ]
    answer["client_name"] = name.map { .string($0) }
    return APIResponse(201, answer, headers: [("cache-control", "no-store")])
  }

  /// The one key and the name in a client's metadata. Members that RFC 7591 defines and we do not use are passed over.
  private static func clientMetadata(_ body: [UInt8]) throws -> (key: JWK, name: String?) {
    func invalid(_ why: String) -> Problem {
      Problem(
        400, "invalid_client_metadata", why,
        extensions: ["error": "invalid_client_metadata", "error_description": .string(why)])
    }
    guard let object = try JSONValue(parsing: body).object else {
      throw invalid("The client metadata must be a JSON object.")
    }
    if let method = object["token_endpoint_auth_method"], method != "private_key_jwt" {
      throw invalid("'token_endpoint_auth_method' must be 'private_key_jwt'.")
    }
    if let grants = object["grant_types"], grants != ["client_credentials"] {
      throw invalid("'grant_types' must be [\"client_credentials\"].")
    }
    guard let keys = object["jwks"]?.object?["keys"]?.array, keys.count == 1 else {
      throw invalid("'jwks' must hold exactly one public key.")
    }
    let key: JWK
    do { key = try JWK(keys[0]) } catch { throw invalid("The key in 'jwks' is refused: \(error.message).") }
    guard let algorithm = key.key.algorithms.first, [.es256, .edDSA].contains(algorithm) else {
      throw invalid("The key must be P-256 or Ed25519.")
    }
    let name = object["client_name"]
    guard name == nil || (name?.string?.utf8.count ?? 0) <= 256 && name?.string != nil else {
      throw invalid("'client_name' must be a string of at most 256 bytes.")
    }
    return (key, name?.string)
  }

  // MARK: - Tokens

  private func token(_ request: APIRequest) async throws -> APIResponse {
    let form = try FormBody(request.body)
    guard form["grant_type"] == "client_credentials" else {
      throw Self.refused(400, "unsupported_grant_type", "'grant_type' must be 'client_credentials'")
    }
    guard form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      let text = form["client_assertion"]
    else {
      throw Self.invalidClient(
        "send a 'client_assertion' of type urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    }
    let now = time.now()
    let principal = try await client(text, at: now)
    if let claimed = form["client_id"], claimed != principal.id {
      throw Self.invalidClient("'client_id' is not the assertion's subject")
    }
    if let scope = form["scope"], scope != principal.kind.rawValue {
      throw Self.refused(400, "invalid_scope", "this client's scope is '\(principal.kind.rawValue)'")
    }
    let proof = try authenticator.proof(request, accessToken: nil, at: now)
    guard proof.thumbprint == principal.thumbprint else {
      throw Authenticator<Store>.invalidProof("it must be made with the enrolled key", status: 400)
    }
    let id = Base64.URL.encode(random.identifier())
    let issued = try await issuer.issue(to: principal, id: id, at: now)
    // The token leaves only once its leaf is durable.
    try await gate.record { unit, _ in
      guard let present = try unit.principal(id: principal.id), present.status == .active else {
        throw Self.refused(400, "unauthorized_client", "the client is not active any more")
      }
      return EventRecord(
        kind: "token.issued",
        content: [
          "client_id": .string(principal.id), "jti": .string(id), "thumbprint": .string(principal.thumbprint),
          "exp": .integer(now.seconds + Issuer.lifetime),
        ])
    }
    return APIResponse(
      200,
      [
        "access_token": .string(issued), "token_type": "DPoP", "expires_in": .integer(Issuer.lifetime),
        "scope": .string(principal.kind.rawValue),
      ], headers: [("cache-control", "no-store")])
  }

  /// Verifies a client assertion (RFC 7523 section 3) and says whose it is.
  private func client(_ text: String, at now: Timestamp) async throws -> Principal {
    do {
      let assertion = try UnverifiedJWT(text)
      guard let id = assertion.unverifiedClaims.subject, assertion.unverifiedClaims.issuer == id,
        let principal = try await store.read({ unit in try unit.principal(id: id) })
      else { throw Self.invalidClient("'iss' and 'sub' must both be the client_id of an enrolled client") }
      let key = try JWK(try JSONValue(parsing: principal.key))
      let verified = try assertion.verified(
        with: key, allowed: .proofOfPossession,
        expectations: JWTExpectations(
          type: nil, issuer: id, audience: issuer.url, soleAudience: true, subject: id, maximumLifetime: 300,
          required: ["jti"]), now: now)
      switch principal.status {
      case .active: break
      case .pending:
        throw Self.refused(
          400, "unauthorized_client", "the agent's owner has not approved its key yet; ask the owner to approve it",
          code: "agent_pending")
      case .revoked:
        throw Self.refused(400, "unauthorized_client", "the agent is revoked; enrol a new one", code: "agent_revoked")
      }
      guard let id = verified.claims.id, (1...128).contains(id.utf8.count) else {
        throw Self.invalidClient("'jti' must be a string of 1 to 128 bytes")
      }
      try authenticator.rememberAssertion(of: principal.id, id: id, until: verified.expires.adding(seconds: 5), at: now)
      return principal
    } catch let error as JOSEError {
      throw Self.invalidClient(error.message)
    }
  }

  static func refused(_ status: Int, _ error: String, _ why: String, code: String? = nil) -> Problem {
    Problem(
      status, code ?? error, "The token request is refused: \(why).",
      headers: status == 401 ? ["WWW-Authenticate": "DPoP error=\"\(error)\""] : [:],
      extensions: ["error": .string(error), "error_description": .string(why)])
  }

  static func invalidClient(_ why: String) -> Problem { refused(401, "invalid_client", why) }
}

/// The fields of an `application/x-www-form-urlencoded` body; a field that is given twice is refused.
struct FormBody {
  private var fields: [String: String] = [:]

  init(_ body: [UInt8]) throws(Problem) {
    let malformed = Problem(
      400, "invalid_request", "The form cannot be read; encode each field once, as application/x-www-form-urlencoded.",
      extensions: ["error": "invalid_request"])
    for pair in body.split(separator: UInt8(ascii: "&")) {
      let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = Self.decode(parts[0]), let value = parts.count == 2 ? Self.decode(parts[1]) : "",
        fields.count < 32, fields.updateValue(value, forKey: name) == nil
      else { throw malformed }
    }
  }

  subscript(name: String) -> String? { fields[name].flatMap { $0.isEmpty ? nil : $0 } }

  private static func decode(_ text: ArraySlice<UInt8>) -> String? {
    var bytes: [UInt8] = []
    var rest = text
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "+"): bytes.append(0x20)
      case UInt8(ascii: "%"):
        guard rest.count >= 2, let value = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self).lowercased())
        else { return nil }
        bytes.append(contentsOf: value)
        rest = rest.dropFirst(2)
      default: bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self)
  }
}
