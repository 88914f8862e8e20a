import AgentIdentity
import DemoClient
import JOSE
import KeyManifests
import Testing
import TrustCoreAPI
import Wire

/// A body that an operation takes, where it goes and who may send it there.
struct GoodBody: Sendable {
  /// How the sender proves who they are.
  enum Sender: Sendable {
    /// Nobody in particular.
    case anyone
    /// With a signed request (RFC 9421).
    case signing(Party)
    /// With an access token and its proof (RFC 9449).
    case reading(Party)
    /// With a bearer token.
    case bearer(String)
    /// With a session.
    case cookie(String)
  }

  let path: String
  let body: JSONValue
  let sender: Sender

  init(_ path: String, _ body: JSONValue, _ sender: Sender = .anyone) {
    self.path = path
    self.body = body
    self.sender = sender
  }

  /// A request with a body of any bytes whose sender is all right.
  /// - Parameter path: where it goes instead.
  func request(_ bytes: [UInt8], to path: String? = nil, _ fixture: Fixture) async throws -> OutgoingRequest {
    let path = path ?? self.path
    switch sender {
    case .signing(let party): return try party.command(path, bytes, token: try await party.token(fixture.client))
    case .reading(let party):
      var request = try party.read(path, token: try await party.token(fixture.client), method: "POST", body: bytes)
      if bytes.isEmpty { request.headers.append(HTTPMessage.Field("Content-Type", "application/json")) }
      return request
    case .anyone: return Self.posted(path, bytes)
    case .bearer(let token): return Self.posted(path, bytes, bearer: token)
    case .cookie(let cookie): return Self.posted(path, bytes, cookie: cookie)
    }
  }

  private static func posted(
    _ path: String, _ bytes: [UInt8], bearer: String? = nil, cookie: String? = nil
  ) -> OutgoingRequest {
    OutgoingRequest(
      "POST", path, headers: Fixture.browser(bearer: bearer, cookie: cookie, hasBody: true), body: bytes)
  }

  /// A good body of each operation that takes JSON, by the operation's id.
  static func all(_ fixture: Fixture) async throws -> [String: GoodBody] {
    try await money(fixture).merging(try await payments(fixture)) { $1 }.merging(try await people(fixture)) { $1 }
      .merging(keys(fixture)) { $1 }.merging(workloads(fixture)) { $1 }
  }

  private static func money(_ fixture: Fixture) async throws -> [String: GoodBody] {
    let (deployment, agent) = (fixture.deployment, Sender.signing(fixture.agent))
    let owner = Sender.signing(deployment.owner)
    let entries = JSONValue.array(Transfer.entries(from: fixture.account, to: fixture.other, "1.00"))
    let hold = try await fixture.submit("/v1/ledger/holds", ["entries": entries, "expires_in": 3600])
    let id = try #require(hold["result", "hold"]?.string)
    let pending = try await deployment.enrol(
      try deployment.newKey(.ed25519), name: "stays pending", fixture.client)
    let command = try #require(hold["command_id"]?.string)
    let receipt = try await fixture.read("/v1/receipts/\(command)")
    let key = try deployment.newKey(.p256)
    return [
      "approveAgent": .init("/v1/agents/\(pending.id)/approve", ["thumbprint": .string(pending.thumbprint)], owner),
      "revokeAgent": .init("/v1/agents/\(pending.id)/revoke", ["reason": "a test"], owner),
      "openAccount": .init(
        "/v1/ledger/accounts", ["currency": "EUR", "kind": "customer", "overdraft_limit": "0.00"], owner),
      "transfer": .init("/v1/ledger/transfers", ["entries": entries, "memo": "a test"], agent),
      "authorizeHold": .init(
        "/v1/ledger/holds", ["entries": entries, "expires_in": 60, "memo": "a test"], agent),
      "captureHold": .init("/v1/ledger/holds/\(id)/capture", ["amount": 100], agent),
      "voidHold": .init("/v1/ledger/holds/\(id)/void", [:], agent),
      "presentSeal": .init("/v1/ledger/sealed-commands", try #require(receipt["seal"])),
      "registerClient": .init(
        "/oauth/register",
        [
          "client_name": "never", "jwks": ["keys": [key.publicJWK.bareJSON]],
          "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"],
        ], .bearer(deployment.registrationToken)),
    ]
  }

  private static func payments(_ fixture: Fixture) async throws -> [String: GoodBody] {
    let (treasury, deployment) = (fixture.treasury, fixture.deployment)
    let (officer, agent) = (Sender.signing(deployment.officer), Sender.signing(treasury.agent))
    let held = try await fixture.held()
    let question = try await fixture.question(held, treasury.alice)
    let decision = try treasury.alice.person.decision(question)
    func signed(_ draft: JSONValue) async throws -> JSONValue {
      let drafted = try await deployment.owner.draft(fixture.client, draft)
      let consent = try #require(drafted["consent"], "\(drafted.text)")
      return ["consent": consent, "assertion": try treasury.owner.person.tap(try #require(drafted["options"]))]
    }
    var amendment = try #require(treasury.draft().object)
    amendment["consent"] = .string(treasury.consent)
    let consent = "/v1/consents/\(treasury.consent)"
    return [
      "draftConsent": .init("/v1/consents/draft", treasury.draft(), .reading(deployment.owner)),
      "giveConsent": .init("/v1/consents", try await signed(treasury.draft())),
      "amendConsent": .init(consent + "/amend", try await signed(.object(amendment))),
      "revokeConsent": .init(consent + "/revoke", ["reason": "a test"], .signing(deployment.owner)),
      "authorizePayment": .init(
        "/v1/payments/authorize", fixture.payment("1.00", seconds: 60, reference: "a test"), agent),
      "voidPayment": .init("/v1/payments/\(held)/void", [:], agent),
      "challengeApproval": .init(
        "/v1/approvals/\(held)/challenge", ["decision": "approve"], .cookie(treasury.alice.cookie)),
      "decide": .init("/v1/approvals/\(held)/decisions", decision),
      "configureACH": .init(
        "/v1/rails/ach",
        [
          "originator": Treasury.originator, "settlement_account": .string(treasury.settlement),
          "bank": treasury.bank.key.publicJWK.bareJSON,
        ], officer),
      "answerACH": .init(
        "/v1/rails/ach/answers",
        ["accepted_file": .integer(treasury.sent.file), "trace_numbers": [.string(treasury.sent.trace)]],
        .signing(treasury.bank)),
    ]
  }

  private static func people(_ fixture: Fixture) async throws -> [String: GoodBody] {
    let (treasury, officer) = (fixture.treasury, Sender.signing(fixture.deployment.officer))
    let token = try await fixture.invitation()
    let person = try Person("Carol", fixture.deployment.ready)
    let creation = try await fixture.post("/v1/enrolments/options", [:], bearer: token)
    let enrolment: JSONValue = [
      "approval": try person.make(try #require(creation["approval"])),
      "sign_in": try person.make(try #require(creation["sign_in"])),
    ]
    let signIn = try await fixture.post("/v1/sessions/options", [:])
    return [
      "invite": .init(
        "/v1/invitations",
        [
          "digest": .string(Base64.URL.encode(KernelRandom().bytes(32))), "group": .string(treasury.group),
          "person": ["kind": "approver", "name": "Carol"], "expires_in": 3600,
        ], officer),
      "makeGroup": .init("/v1/groups", ["name": "a test"], officer),
      "removeMember": .init(
        "/v1/groups/\(treasury.group)/remove", ["person": .string(treasury.bob.id)], officer),
      "revokePerson": .init("/v1/people/\(treasury.bob.id)/revoke", ["reason": "a test"], officer),
      "publishPolicy": .init(
        "/v1/policies",
        [
          "policy": [
            "version": 1,
            "rules": [["id": "none", "condition": ["kind": "first_payment"], "action": ["kind": "deny"]]],
          ]
        ], officer),
      "enrolmentOptions": .init("/v1/enrolments/options", [:], .bearer(token)),
      "enrol": .init("/v1/enrolments", enrolment, .bearer(token)),
      "signInOptions": .init("/v1/sessions/options", [:]),
      "signIn": .init("/v1/sessions", try treasury.alice.person.tap(try #require(signIn.json))),
      "signOut": .init("/v1/sessions/end", [:], .cookie(treasury.alice.cookie)),
    ]
  }

  private static func keys(_ fixture: Fixture) -> [String: GoodBody] {
    let (vault, officer) = (fixture.vault, Sender.signing(fixture.deployment.officer))
    let (key, owner) = ("/v1/keys/\(fixture.vault.key)", Sender.signing(fixture.deployment.owner))
    return [
      "createKey": .init("/v1/keys", ["class": "documents"], officer),
      "rotateKey": .init(key + "/rotate", [:], officer), "rewrapKey": .init(key + "/rewrap", [:], officer),
      "disableKey": .init(key + "/disable", [:], officer), "enableKey": .init(key + "/enable", [:], officer),
      "destroyKey": .init(key + "/destroy", ["confirm": .string(vault.key)], officer),
      "publishKeyManifest": .init("/v1/key-manifests", ["manifest": .string(manifest)], officer),
      "makeDataKey": .init(key + "/data-keys", vault.request(), owner),
      "openDataKey": .init("/v1/data-keys/\(vault.dataKey)/open", vault.request(), owner),
    ]
  }

  private static func workloads(_ fixture: Fixture) throws -> [String: GoodBody] {
    let officer = Sender.signing(fixture.deployment.officer)
    let domain = try #require(fixture.deployment.ready["trust_domain"])
    let (kind, authority) = ("/v1/authorities/x509", "/v1/authorities/aut_AAAAAAAAAAAAAAAAAAAAAA")
    let key = try fixture.deployment.newKey(.p256)
    return [
      "changeEntries": .init("/v1/entries", ["create": [workload(domain, "good")]], officer),
      "prepareAuthority": .init(kind + "/prepare", [:], officer),
      "rotateAuthority": .init(kind + "/rotate", [:], officer),
      "requestAuthority": .init(kind + "/request", [:], officer),
      "activateAuthority": .init(kind + "/activate", [:], officer),
      "taintAuthority": .init(authority + "/taint", [:], officer),
      "revokeAuthority": .init(authority + "/revoke", ["confirm": "aut_AAAAAAAAAAAAAAAAAAAAAA"], officer),
      "certifyAuthority": .init(authority + "/certificate", ["chain": "none"], officer),
      "revokeSVID": .init("/v1/svids/revoke", ["serial": "5f3a9c01", "expires_in": 60], officer),
      "federate": .init(
        "/v1/federations", ["trust_domain": "far.test", "bundle": ["keys": []]], officer),
      "unfederate": .init("/v1/federations/far.test/delete", [:], officer),
      "enrolRegistrar": .init(
        "/v1/registrars", ["name": "a pipeline", "key": key.publicJWK.bareJSON], officer),
    ]
  }

  /// An entry that matches no process of this machine.
  static func workload(_ domain: String, _ name: String) -> JSONValue {
    [
      "spiffe_id": .string("spiffe://\(domain)/\(name)"),
      "parent_id": .string("spiffe://\(domain)/trustcore/node"), "selectors": ["unix:uid:4294967294"],
    ]
  }

  /// The manifest that is in force at first.
  static let manifest = String(decoding: KeyManifest.developmentText, as: UTF8.self)
}
