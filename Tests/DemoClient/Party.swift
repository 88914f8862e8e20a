import AgentIdentity
public import JOSE
import Synchronization
public import Wire

/// Whoever signs commands: an officer, an owner or an agent, with its key and its client id.
public final class Party: Sendable {
  /// The client id.
  public let id: String
  /// The key.
  public let key: SigningKey
  /// The deployment's base URL, which is also the OAuth issuer.
  public let api: String
  private let time: any TimeSource
  private let random: any RandomSource
  private let held = Mutex<(token: String, until: Timestamp)?>(nil)

  /// Describes a party.
  /// - Parameter api: the base URL, as in `ready.json`.
  public init(id: String, key: SigningKey, api: String, time: any TimeSource, random: any RandomSource) {
    self.id = id
    self.key = key
    self.api = api
    self.time = time
    self.random = random
  }

  /// RFC 7638's thumbprint of the key.
  public var thumbprint: String { key.verificationKey.thumbprint }

  /// Fresh random text of 22 characters, for identifiers and nonces.
  public func fresh() -> String { Base64.URL.encode(random.bytes(16)) }

  // MARK: - Tokens

  /// What of a token request to spoil; nothing unless stated.
  public struct TokenOptions: Sendable {
    /// Whose key signs the client assertion.
    public var assertionKey: SigningKey?
    /// Whose key makes the DPoP proof.
    public var proofKey: SigningKey?
    /// `aud` of the client assertion.
    public var audience: String?
    /// `jti` of the client assertion.
    public var assertionID: String?
    /// `jti` of the DPoP proof.
    public var proofID: String?
    /// When both are made.
    public var issuedAt: Timestamp?
    /// Whether a DPoP proof is sent.
    public var sendsProof = true

    /// Spoils nothing.
    public init() {}
  }

  /// A request for an access token (RFC 7523 section 2.2 with RFC 9449).
  public func tokenRequest(_ options: TokenOptions = TokenOptions()) throws -> OutgoingRequest {
    let now = options.issuedAt ?? time.now()
    let assertion = try (options.assertionKey ?? key).jws(
      JSONValue.object([
        "iss": .string(id), "sub": .string(id), "aud": .string(options.audience ?? api), "iat": .integer(now.seconds),
        "exp": .integer(now.seconds + 60), "jti": .string(options.assertionID ?? fresh()),
      ]).canonical(), header: ["typ": "JWT"])
    var headers = [HTTPMessage.Field("Content-Type", "application/x-www-form-urlencoded")]
    if options.sendsProof {
      let proof = try DPoPProof.make(
        key: options.proofKey ?? key, method: "POST", uri: api + "/oauth/token", id: options.proofID ?? fresh(),
        issuedAt: now)
      headers.append(HTTPMessage.Field("DPoP", proof))
    }
    let form =
      "grant_type=client_credentials"
      + "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
      + "&client_assertion=\(assertion)"
    return OutgoingRequest("POST", "/oauth/token", headers: headers, body: Array(form.utf8))
  }

  /// An access token that lives for another minute at least; asks for one where none is held.
  /// - Throws: ``DemoError`` where the daemon gives none.
  public func token(_ client: TrustCoreClient) async throws -> String {
    let now = time.now()
    if let held = held.withLock({ $0 }), now < held.until { return held.token }
    let answer = try await client.send(try tokenRequest())
    guard answer.status == 200, let token = answer["access_token"]?.string, let life = answer["expires_in"]?.integer
    else { throw DemoError("\(id) got no access token: \(answer.summary) \(answer.text)") }
    held.withLock { $0 = (token, now.adding(seconds: life - 60)) }
    return token
  }

  /// Forgets the access token that is held.
  public func forgetToken() { held.withLock { $0 = nil } }

  // MARK: - Commands

  /// How a command is signed, and what of it to spoil; nothing unless stated.
  public struct CommandOptions: Sendable {
    /// `Idempotency-Key`; a fresh one where nil.
    public var idempotencyKey: String?
    /// The signature's `created`; now where nil.
    public var created: Timestamp?
    /// The signature's `expires`; nil leaves its life to the daemon's limit.
    public var expires: Timestamp?
    /// The signature's `nonce`; a fresh one where nil.
    public var nonce: String?
    /// The key that signs.
    public var signer: SigningKey?
    /// Whether there is a signature at all.
    public var isSigned = true
    /// The body that is sent in place of the one that was signed.
    public var bodyAfterSigning: [UInt8]?
    /// Header fields to leave out after signing; names in any case.
    public var omitted: [String] = []

    /// Spoils nothing.
    public init() {}

    /// Chooses the Idempotency-Key.
    public init(idempotencyKey: String) { self.idempotencyKey = idempotencyKey }
  }

  /// A command signed as RFC 9421 describes, ready to be sent.
  /// - Parameters:
  ///   - path: the route's path.
  ///   - body: JSON.
  ///   - token: the access token that the signature covers.
  ///   - options: how to sign.
  public func command(
    _ path: String, _ body: JSONValue, token: String, _ options: CommandOptions = CommandOptions()
  ) throws -> OutgoingRequest {
    try command(path, body.canonical(), token: token, options)
  }

  /// The same for a body of any bytes.
  public func command(
    _ path: String, _ body: [UInt8], token: String, _ options: CommandOptions = CommandOptions()
  ) throws -> OutgoingRequest {
    var headers = [
      HTTPMessage.Field("Content-Type", "application/json"),
      HTTPMessage.Field("Idempotency-Key", "\"\(options.idempotencyKey ?? fresh())\""),
      HTTPMessage.Field("Authorization", "DPoP " + token),
    ]
    if options.isSigned {
      let target = HTTPMessage.Target(
        method: "POST", scheme: "https", authority: String(api.dropFirst("https://".count)), path: path, query: nil)
      headers += try RequestSigner(key: options.signer ?? key).sign(
        target, headers: headers, body: body, created: options.created ?? time.now(), nonce: options.nonce ?? fresh(),
        expires: options.expires)
    }
    let omitted = Set(options.omitted.map { $0.lowercased() })
    headers.removeAll { omitted.contains($0.name.lowercased()) }
    return OutgoingRequest("POST", path, headers: headers, body: options.bodyAfterSigning ?? body)
  }

  /// Signs a command and sends it.
  public func submit(
    _ client: TrustCoreClient, _ path: String, _ body: JSONValue, _ options: CommandOptions = CommandOptions()
  ) async throws -> Answer {
    try await client.send(try command(path, body, token: try await token(client), options))
  }

  // MARK: - Reads

  /// A request without signature, with access token and DPoP proof.
  public func read(
    _ path: String, token: String, proofID: String? = nil, method: String = "GET", body: [UInt8] = []
  ) throws -> OutgoingRequest {
    let proof = try DPoPProof.make(
      key: key, method: method, uri: api + path, id: proofID ?? fresh(), issuedAt: time.now(), accessToken: token)
    var headers = [HTTPMessage.Field("Authorization", "DPoP " + token), HTTPMessage.Field("DPoP", proof)]
    if !body.isEmpty { headers.append(HTTPMessage.Field("Content-Type", "application/json")) }
    return OutgoingRequest(method, path, headers: headers, body: body)
  }

  /// Reads a route that needs a DPoP-bound access token.
  public func get(_ client: TrustCoreClient, _ path: String) async throws -> Answer {
    try await client.send(try read(path, token: try await token(client)))
  }

  /// Asks a route that takes a body and changes nothing.
  public func post(_ client: TrustCoreClient, _ path: String, _ body: JSONValue) async throws -> Answer {
    try await client.send(try read(path, token: try await token(client), method: "POST", body: body.canonical()))
  }
}
