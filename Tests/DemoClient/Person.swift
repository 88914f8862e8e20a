import AgentIdentity
import Crypto
public import SoftwareAuthenticator
import Synchronization
public import TrustCoreAPI
public import Wire

/// Someone with a hardware key and a browser: enrols with an invitation, signs in, gives consents and decides. The
/// browser and the key are software; what they send is what real ones send.
public final class Person: Sendable {
  /// What people call it.
  public let name: String
  /// The console's origin.
  public let origin: String
  private struct State {
    var authenticator: SoftwareAuthenticator
    var id: String?
    var cookie: String?
  }
  private let state: Mutex<State>

  /// A person with a key.
  /// - Parameter ready: where the console is.
  public init(
    _ name: String, _ ready: ReadyFile, random: any RandomSource = KernelRandom(),
    attestation: SoftwareAuthenticator.AttestationKind = .packedSelf
  ) throws {
    guard let console = ready["console"], console.hasSuffix("/console") else {
      throw DemoError("ready.json lacks console")
    }
    self.name = name
    origin = String(console.dropLast("/console".count))
    state = Mutex(State(authenticator: SoftwareAuthenticator(random: random, attestation: attestation)))
  }

  /// The person's identifier, once enrolled.
  public var id: String { state.withLock { $0.id } ?? "" }

  /// Makes a credential as the browser does.
  public func make(_ options: JSONValue, _ faults: Faults = Faults()) throws -> JSONValue {
    try state.withLock { try $0.authenticator.make(options: options, origin: origin, faults: faults) }
  }

  /// Taps: answers the options of a relying party.
  public func tap(_ options: JSONValue, _ faults: Faults = Faults()) throws -> JSONValue {
    try state.withLock { try $0.authenticator.get(options: options, origin: origin, faults: faults) }
  }

  // MARK: - Enrolment and signing in

  /// Enrols both credentials with an invitation's token.
  public func enrol(_ client: TrustCoreClient, invitation token: String) async throws -> Answer {
    let options = try await client.post("/v1/enrolments/options", [:], bearer: token)
    guard options.status == 200, let approval = options["approval"], let signIn = options["sign_in"] else {
      return options
    }
    let answer = try await client.post(
      "/v1/enrolments", ["approval": try make(approval), "sign_in": try make(signIn)], bearer: token)
    if answer.status == 201 { state.withLock { $0.id = answer["person"]?.string } }
    return answer
  }

  /// Signs in; later calls carry the session.
  public func signIn(_ client: TrustCoreClient) async throws -> Answer {
    let options = try await client.post("/v1/sessions/options", [:])
    guard options.status == 200, let json = options.json else { return options }
    let answer = try await client.post("/v1/sessions", try tap(json))
    let cookie = answer.header("set-cookie")?.split(separator: ";").first.map(String.init)
    if answer.status == 200 { state.withLock { $0.cookie = cookie } }
    return answer
  }

  /// A request within the session.
  public func send(
    _ client: TrustCoreClient, _ method: String, _ path: String, _ body: JSONValue? = nil
  ) async throws -> Answer {
    var headers = [HTTPMessage.Field("Cookie", state.withLock { $0.cookie } ?? "")]
    if body != nil { headers.append(HTTPMessage.Field("Content-Type", "application/json")) }
    return try await client.send(OutgoingRequest(method, path, headers: headers, body: body?.canonical() ?? []))
  }

  // MARK: - Decisions

  /// Asks for the terms of a decision about a payment.
  public func question(
    _ client: TrustCoreClient, _ payment: String, _ decision: String = "approve"
  ) async throws -> Answer {
    try await send(client, "POST", "/v1/approvals/\(payment)/challenge", ["decision": .string(decision)])
  }

  /// The body of a decision, signed.
  public func decision(_ question: Answer, _ faults: Faults = Faults()) throws -> JSONValue {
    guard let options = question["options"], let approval = question["approval"] else {
      throw DemoError("no question was asked: \(question.summary)")
    }
    return ["approval": approval, "assertion": try tap(options, faults)]
  }

  /// Reads, taps and decides.
  public func decide(
    _ client: TrustCoreClient, _ payment: String, _ decision: String = "approve"
  ) async throws -> Answer {
    let question = try await question(client, payment, decision)
    guard question.status == 200 else { return question }
    return try await client.decide(payment, try self.decision(question))
  }

  // MARK: - Consents

  /// Draws a consent up, signs it with the hardware key, and puts it in force.
  /// - Parameters:
  ///   - owner: the same person as a client of the API.
  ///   - draft: what `/v1/consents/draft` takes.
  public func consent(_ client: TrustCoreClient, as owner: Party, _ draft: JSONValue) async throws -> Answer {
    let drafted = try await owner.draft(client, draft)
    guard drafted.status == 200, let consent = drafted["consent"], let options = drafted["options"] else {
      return drafted
    }
    // Whoever signs computes what is signed; nothing is taken on trust.
    guard options.object?["challenge"]?.string == Base64.URL.encode(Self.digest(ofConsent: consent)) else {
      throw DemoError("the challenge is not the digest of the terms")
    }
    let id = consent.object?["id"]?.string ?? ""
    let path = consent.object?["version"] == 1 ? "/v1/consents" : "/v1/consents/\(id)/amend"
    return try await client.post(path, ["consent": consent, "assertion": try tap(options)])
  }

  /// SHA-256("trustcore/consent/v1" ‖ JCS(terms)).
  public static func digest(ofConsent terms: JSONValue) -> [UInt8] {
    Array(SHA256.hash(data: Array("trustcore/consent/v1".utf8) + terms.canonical()))
  }
}

extension TrustCoreClient {
  /// Hands a signed decision in.
  public func decide(_ payment: String, _ decision: JSONValue) async throws -> Answer {
    try await post("/v1/approvals/\(payment)/decisions", decision)
  }
}

extension Party {
  /// Asks for a draft of a consent: unsigned, with an access token and its proof.
  public func draft(_ client: TrustCoreClient, _ draft: JSONValue) async throws -> Answer {
    try await post(client, "/v1/consents/draft", draft)
  }

  /// Invites a person to enrol; only a security officer may.
  /// - Returns: the answer and the token, which the server has not seen.
  public func invite(
    _ client: TrustCoreClient, person: JSONValue, group: String? = nil, seconds: Int64 = 3600
  ) async throws -> (answer: Answer, token: String) {
    let token = fresh()
    let digest = Array(SHA256.hash(data: try Base64.URL.decode(token)))
    var body: JSONObject = [
      "digest": .string(Base64.URL.encode(digest)), "person": person, "expires_in": .integer(seconds),
    ]
    body["group"] = group.map { .string($0) }
    return (try await submit(client, "/v1/invitations", .object(body)), token)
  }
}
