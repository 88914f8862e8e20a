import AgentIdentity
import DemoClient
import JOSE
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// OAuth 2.1 as RFC 8414, 7591, 7523 and 9449 have it.
  @Suite(.serialized) struct OAuth {
    @Test func metadataNamesWhatIsThere() async throws {
      let fixture = try await Fixture.shared
      let metadata = try await fixture.get("/.well-known/oauth-authorization-server")
      #expect(metadata["issuer"]?.string == fixture.deployment.api)
      for name in ["token_endpoint", "registration_endpoint", "jwks_uri"] {
        let url = try #require(metadata[name]?.string)
        #expect(url.hasPrefix(fixture.deployment.api + "/"), "\(name)")
        let path = String(url.dropFirst(fixture.deployment.api.count))
        #expect(!fixture.description.operations(at: path).isEmpty, "\(name): \(path)")
      }
      #expect(metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"])
      // RFC 8414 section 2: no authorization endpoint, so no response types.
      #expect(metadata["response_types_supported"] == [])
      #expect(metadata["grant_types_supported"] == ["client_credentials"])
      #expect(metadata["dpop_signing_alg_values_supported"]?.array?.contains("ES256") == true)
    }

    @Test func keySetVerifiesAccessTokens() async throws {
      let fixture = try await Fixture.shared
      let keys = try await fixture.get("/.well-known/jwks.json")
      let set = try #require(keys["keys"]?.array)
      #expect(set.count >= 1)
      for key in set {
        #expect(key.object?["use"]?.string == "sig")
        #expect(key.object?["d"] == nil, "a private key")
        #expect(key.object?["kid"]?.string != nil)
      }
      let token = try await fixture.agent.token(fixture.client)
      let jwt = try UnverifiedJWT(token)
        .verified(
          with: try JWK(set[0]), allowed: [.es256],
          expectations: JWTExpectations(
            type: "at+jwt", issuer: fixture.deployment.api, audience: fixture.deployment.api, leeway: 0,
            maximumLifetime: 600,
            required: ["sub", "jti", "client_id"]), now: WallClock().now())
      #expect(jwt.claims.all["cnf"]?.object?["jkt"]?.string == fixture.agent.thumbprint)
      #expect(jwt.claims.subject == fixture.agent.id)
    }

    @Test func registrationErrorsAreRFC7591s() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      let deployment = fixture.deployment
      let (p256, other) = (try deployment.newKey(.p256), try deployment.newKey(.ed25519))
      let jwk = p256.publicJWK.bareJSON
      func register(_ body: JSONValue, _ token: String? = deployment.registrationToken, proof: String? = nil)
        async throws -> Answer
      {
        var headers = [HTTPMessage.Field("Content-Type", "application/json")]
        if let token { headers.append(HTTPMessage.Field("Authorization", "Bearer " + token)) }
        if let proof { headers.append(HTTPMessage.Field("DPoP", proof)) }
        return try await fixture.send(
          OutgoingRequest("POST", "/oauth/register", headers: headers, body: body.canonical()))
      }
      var withPrivate = p256.privateJWK.object ?? [:]
      withPrivate["kid"] = nil
      for body: JSONValue in [
        [:], ["jwks": ["keys": []]], ["jwks": ["keys": [jwk, other.publicJWK.bareJSON]]],
        ["jwks": ["keys": [.object(withPrivate)]]],
        ["jwks": ["keys": [["kty": "oct", "k": "AAAA"]]]],
        ["jwks": ["keys": [["kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"]]]],
        ["jwks": ["keys": [jwk]], "grant_types": ["authorization_code"]],
        ["jwks": ["keys": [jwk]], "token_endpoint_auth_method": "none"],
        ["jwks": ["keys": [jwk]], "client_name": .string(String(repeating: "x", count: 257))],
        ["jwks": ["keys": [jwk]], "client_name": 1],
      ] {
        let answer = try await register(body)
        #expect(answer.summary == "400 invalid_client_metadata", "\(body)")
        #expect(answer["error"]?.string == "invalid_client_metadata")
      }
      for token in [nil, "x", deployment.auditorToken, try await fixture.agent.token(fixture.client)] {
        let answer = try await register(["jwks": ["keys": [jwk]]], token)
        #expect(answer.status == 401 && answer.header("www-authenticate") != nil, "\(answer.summary)")
      }
      let proof = try DPoPProof.make(
        key: other, method: "POST", uri: deployment.api + "/oauth/register", id: deployment.owner.fresh(),
        issuedAt: WallClock().now())
      #expect(try await register(["jwks": ["keys": [jwk]]], proof: proof).summary == "400 invalid_dpop_proof")
      #expect(try await fixture.standing() == before)
    }

    @Test func tokenErrorsAreRFC6749sAnd9449s() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      let agent = fixture.agent
      let other = try fixture.deployment.newKey(.p256)
      let now = WallClock().now()
      func options(_ change: (inout Party.TokenOptions) -> Void) -> Party.TokenOptions {
        var options = Party.TokenOptions()
        change(&options)
        return options
      }
      for (name, options, summary) in [
        ("wrong audience", options { $0.audience = "https://elsewhere.invalid" }, "401 invalid_client"),
        ("audience of the endpoint", options { $0.audience = agent.api + "/oauth/token" }, "401 invalid_client"),
        ("expired", options { $0.issuedAt = now.adding(seconds: -120) }, "401 invalid_client"),
        ("of the future", options { $0.issuedAt = now.adding(seconds: 120) }, "401 invalid_client"),
        ("another key's assertion", options { $0.assertionKey = other }, "401 invalid_client"),
        ("another key's proof", options { $0.proofKey = other }, "400 invalid_dpop_proof"),
        ("no proof", options { $0.sendsProof = false }, "400 invalid_dpop_proof"),
        ("empty jti", options { $0.assertionID = "" }, "401 invalid_client"),
        ("endless jti", options { $0.assertionID = String(repeating: "x", count: 129) }, "401 invalid_client"),
      ] {
        let answer = try await fixture.send(try agent.tokenRequest(options))
        #expect(answer.summary == summary, "\(name): \(answer.text)")
        #expect(answer["error"]?.string == String(summary.dropFirst(4)), "\(name)")
        #expect((answer.header("www-authenticate") != nil) == (answer.status == 401), "\(name)")
        #expect(answer.header("cache-control") == "no-store", "\(name)")
      }
      let nobody = fixture.deployment.party(id: "agt_nobody", key: other)
      #expect(try await fixture.send(try nobody.tokenRequest()).summary == "401 invalid_client")
      // A signature of zeros, an unsigned assertion, an assertion that is no JWT.
      let good = try agent.tokenRequest()
      let text = String(decoding: good.body, as: UTF8.self)
      let head = try #require(text.firstRange(of: "client_assertion=")?.upperBound)
      let assertion = String(text[head...])
      let parts = assertion.split(separator: ".").map(String.init)
      for forged in [
        parts[0] + "." + parts[1] + "." + Base64.URL.encode([UInt8](repeating: 0, count: 64)),
        parts[0] + "." + parts[1] + ".",
        Base64.URL.encode(Array(#"{"alg":"none"}"#.utf8)) + "." + parts[1] + ".", parts[1], "x",
        Base64.URL.encode(Array(#"{"alg":"HS256"}"#.utf8)) + "." + parts[1] + "." + parts[2],
      ] {
        var request = try agent.tokenRequest()
        request.body = Array((text[..<head] + forged).utf8)
        #expect(try await fixture.send(request).summary == "401 invalid_client", "\(forged.prefix(40))")
      }
      #expect(try await fixture.standing() == before)
    }

    @Test func assertionsAndProofsCountOnce() async throws {
      let fixture = try await Fixture.shared
      let agent = fixture.agent
      let request = try agent.tokenRequest()
      #expect(try await fixture.send(request).status == 200)
      #expect(try await fixture.send(request).summary == "401 invalid_client")
      var options = Party.TokenOptions()
      options.proofID = agent.fresh()
      #expect(try await fixture.send(try agent.tokenRequest(options)).status == 200)
      #expect(try await fixture.send(try agent.tokenRequest(options)).summary == "400 invalid_dpop_proof")
      options = Party.TokenOptions()
      options.assertionID = agent.fresh()
      #expect(try await fixture.send(try agent.tokenRequest(options)).status == 200)
      #expect(try await fixture.send(try agent.tokenRequest(options)).summary == "401 invalid_client")
      let token = try await agent.token(fixture.client)
      let read = try agent.read("/v1/ledger/accounts", token: token)
      #expect(try await fixture.send(read).status == 200)
      #expect(try await fixture.send(read).summary == "401 invalid_dpop_proof")
    }

    @Test func boundTokensNeedTheirProof() async throws {
      let fixture = try await Fixture.shared
      let (agent, api) = (fixture.agent, fixture.deployment.api)
      let token = try await agent.token(fixture.client)
      let path = "/v1/ledger/accounts"
      let now = WallClock().now()
      func proof(
        _ method: String = "GET", _ uri: String? = nil, key: SigningKey? = nil, at: Timestamp? = nil,
        token bound: String? = token
      ) throws -> String {
        try DPoPProof.make(
          key: key ?? agent.key, method: method, uri: uri ?? api + path, id: agent.fresh(), issuedAt: at ?? now,
          accessToken: bound)
      }
      func read(_ authorization: String?, _ proofs: [String]) async throws -> Answer {
        var headers = proofs.map { HTTPMessage.Field("DPoP", $0) }
        if let authorization { headers.append(HTTPMessage.Field("Authorization", authorization)) }
        return try await fixture.send(OutgoingRequest("GET", path, headers: headers))
      }
      let bound = "DPoP " + token
      #expect(try await read(bound, [try proof()]).status == 200)
      for (name, answer, code) in [
        ("Bearer use", try await read("Bearer " + token, [try proof()]), "token_scheme_wrong"),
        ("Bearer use without proof", try await read("Bearer " + token, []), "token_scheme_wrong"),
        ("no token", try await read(nil, [try proof()]), "token_missing"),
        ("no proof", try await read(bound, []), "invalid_dpop_proof"),
        ("two proofs", try await read(bound, [try proof(), try proof()]), "invalid_dpop_proof"),
        ("wrong htm", try await read(bound, [try proof("POST")]), "invalid_dpop_proof"),
        ("wrong htu", try await read(bound, [try proof("GET", api + "/v1/ledger/account")]), "invalid_dpop_proof"),
        (
          "wrong host", try await read(bound, [try proof("GET", "https://elsewhere.invalid" + path)]),
          "invalid_dpop_proof"
        ),
        (
          "other key", try await read(bound, [try proof(key: try fixture.deployment.newKey(.p256))]),
          "invalid_dpop_proof"
        ),
        ("old", try await read(bound, [try proof(at: now.adding(seconds: -3600))]), "invalid_dpop_proof"),
        ("early", try await read(bound, [try proof(at: now.adding(seconds: 3600))]), "invalid_dpop_proof"),
        ("no ath", try await read(bound, [try proof(token: nil)]), "invalid_dpop_proof"),
        ("another token's ath", try await read(bound, [try proof(token: "x")]), "invalid_dpop_proof"),
        ("cut token", try await read("DPoP " + token.dropLast(5), [try proof()]), "token_invalid"),
      ] {
        #expect(answer.summary == "401 " + code, "\(name)")
        #expect(answer.header("www-authenticate")?.hasPrefix("DPoP") == true, "\(name)")
      }
      // With another party's token, and that party's key in the proof, the request is theirs; a signed command is nobody's.
      let owners = try await fixture.deployment.owner.token(fixture.client)
      let foreign = try agent.command("/v1/ledger/transfers", [:], token: owners)
      #expect(try await fixture.send(foreign).summary == "401 token_key_mismatch")
    }

    @Test func pendingAndRevokedAgentsGetNothing() async throws {
      let fixture = try await Fixture.shared
      let deployment = fixture.deployment
      let party = try await deployment.enrol(try deployment.newKey(.p256), name: "pending", fixture.client)
      #expect(try await fixture.send(try party.tokenRequest()).summary == "400 agent_pending")
      // Its signature is good, and it has a token of another: it is pending all the same.
      let token = try await fixture.agent.token(fixture.client)
      #expect(
        try await fixture.send(try party.command("/v1/ledger/transfers", [:], token: token)).summary
          == "403 agent_pending")
      #expect(try await deployment.approve(party, fixture.client).status == 200)
      let transfer = Transfer.body(from: fixture.account, to: fixture.other, "0.01")
      #expect(try await fixture.submit("/v1/ledger/transfers", transfer, as: party).status == 201)
      #expect(try await deployment.revoke(party, fixture.client).status == 200)
      #expect(try await fixture.submit("/v1/ledger/transfers", transfer, as: party).summary == "403 agent_revoked")
      #expect(try await fixture.read("/v1/ledger/accounts", as: party).summary == "403 agent_revoked")
      #expect(try await fixture.send(try party.tokenRequest()).summary == "400 agent_revoked")
    }
  }
}
