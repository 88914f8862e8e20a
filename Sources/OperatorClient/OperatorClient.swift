import AgentIdentity
import AsyncHTTPClient
import JOSE
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization
public import Wire

/// The HTTPS client behind `trustcore`: trusts the CA of one deployment and nothing else, and signs what it asks for.
public final class OperatorClient: Sendable {
  /// What the daemon answered to something that it did.
  public struct Answer: Sendable {
    /// The HTTP status, 200 to 299.
    public let status: Int
    /// The content.
    public let json: JSONObject
  }

  private let deployment: Deployment
  private let http: HTTPClient
  private let time: any TimeSource
  private let random: any RandomSource
  private let tokens = Mutex<[String: (token: String, until: Timestamp)]>([:])

  /// A request must be answered within a minute; the daemon's own limits are shorter.
  private static let deadline = TimeAmount.seconds(60)
  /// The longest answer that is read, in bytes.
  static let maximumAnswer = 4 << 20

  /// A client for a deployment.
  /// - Throws: ``OperatorError/Code-swift.struct/noInput`` where its CA cannot be read.
  public init(
    _ deployment: Deployment, time: any TimeSource = SystemClock(), random: any RandomSource = SystemRandom()
  ) throws(OperatorError) {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv13
    do {
      tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(deployment.authority))
    } catch {
      throw OperatorError(.noInput, "\(deployment.authority) holds no CA certificate (PEM): restart the daemon.")
    }
    var configuration = HTTPClient.Configuration(
      tlsConfiguration: tls, redirectConfiguration: .disallow,
      timeout: .init(connect: .seconds(5), read: Self.deadline))
    // A daemon that is not there is an answer too, and it must come soon.
    configuration.connectionPool.retryConnectionEstablishment = false
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    self.deployment = deployment
    self.time = time
    self.random = random
  }

  // A client that is dropped open would end the process.
  deinit { http.shutdown { _ in } }

  // MARK: - Requests

  /// Reads a route of the auditor.
  /// - Parameter path: the route's path.
  public func read(_ path: String) async throws(OperatorError) -> JSONObject {
    let token = try deployment.auditorToken()
    return try await send("GET", path, [HTTPMessage.Field("Authorization", "Bearer " + token)], []).json
  }

  /// Sends a command, signed as RFC 9421 describes. It carries a DPoP proof too, which routes that change nothing ask
  /// for in place of the signature (RFC 9449).
  public func command(
    _ path: String, _ body: JSONObject, as who: Deployment.Who
  ) async throws(OperatorError) -> Answer {
    let (id, key) = try deployment.credentials(of: who)
    let token = try await token(id, key)
    let body = JSONValue.object(body).canonical()
    let target = HTTPMessage.Target(
      method: "POST", scheme: "https", authority: String(deployment.api.dropFirst("https://".count)), path: path,
      query: nil)
    var headers = [
      HTTPMessage.Field("Content-Type", "application/json"),
      HTTPMessage.Field("Idempotency-Key", "\"\(fresh())\""),
      HTTPMessage.Field("Authorization", "DPoP " + token),
    ]
    do {
      headers += try RequestSigner(key: key)
        .sign(target, headers: headers, body: body, created: time.now(), nonce: fresh())
      headers.append(HTTPMessage.Field("DPoP", try proof(key, path, token)))
    } catch {
      throw OperatorError(.failed, "The request could not be signed: \(error).")
    }
    return try await send("POST", path, headers, body)
  }

  /// An access token (RFC 7523 section 2.2 with RFC 9449); one serves the commands of a minute and more.
  private func token(_ id: String, _ key: SigningKey) async throws(OperatorError) -> String {
    let now = time.now()
    if let held = tokens.withLock({ $0[id] }), now < held.until { return held.token }
    let form: String
    let dpop: String
    do {
      let assertion = try key.jws(
        JSONValue.object([
          "iss": .string(id), "sub": .string(id), "aud": .string(deployment.api), "iat": .integer(now.seconds),
          "exp": .integer(now.seconds + 60), "jti": .string(fresh()),
        ]).canonical(), header: ["typ": "JWT"])
      form =
        "grant_type=client_credentials"
        + "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        + "&client_assertion=\(assertion)"
      dpop = try proof(key, "/oauth/token", nil)
    } catch {
      throw OperatorError(.failed, "The token request could not be signed: \(error).")
    }
    let answer = try await send(
      "POST", "/oauth/token",
      [HTTPMessage.Field("Content-Type", "application/x-www-form-urlencoded"), HTTPMessage.Field("DPoP", dpop)],
      Array(form.utf8)
    ).json
    guard let token = answer["access_token"]?.string, let life = answer["expires_in"]?.integer else {
      throw OperatorError(.unexpectedAnswer, "The daemon gave no access token: its version may not fit this program's.")
    }
    tokens.withLock { $0[id] = (token, now.adding(seconds: life - 60)) }
    return token
  }

  private func proof(_ key: SigningKey, _ path: String, _ token: String?) throws(ProofError) -> String {
    try DPoPProof.make(
      key: key, method: "POST", uri: deployment.api + path, id: fresh(), issuedAt: time.now(), accessToken: token)
  }

  private func fresh() -> String { Base64.URL.encode(random.bytes(16)) }

  private func send(
    _ method: String, _ path: String, _ headers: [HTTPMessage.Field], _ body: [UInt8]
  ) async throws(OperatorError) -> Answer {
    var request = HTTPClientRequest(url: deployment.api + path)
    request.method = HTTPMethod(rawValue: method)
    for field in headers { request.headers.add(name: field.name, value: field.value) }
    if method == "POST" { request.body = .bytes(ByteBuffer(bytes: body)) }
    let status: Int
    let content: [UInt8]
    do {
      let response = try await http.execute(request, timeout: Self.deadline)
      status = Int(response.status.code)
      content = Array(try await response.body.collect(upTo: Self.maximumAnswer).readableBytesView)
    } catch is NIOTooManyBytesError {
      throw OperatorError(.unexpectedAnswer, "The answer has more than \(Self.maximumAnswer) bytes.")
    } catch {
      throw OperatorError(
        .unreachable, Deployment.advice("\(deployment.api) does not answer (\(error))", deployment.state))
    }
    let json = try? JSONValue(parsing: content, maximumBytes: Self.maximumAnswer).object
    guard (200..<300).contains(status) else { throw Self.refusal(status, json) }
    guard let json else {
      throw OperatorError(.unexpectedAnswer, "The answer is no JSON object: its version may not fit this program's.")
    }
    return Answer(status: status, json: json)
  }

  /// A problem document (RFC 9457) as an error.
  static func refusal(_ status: Int, _ json: JSONObject?) -> OperatorError {
    guard let json, let code = json["code"]?.string else {
      return OperatorError(
        OperatorError.Code("http_\(status)"), "The daemon answered with status \(status) and no reason.",
        status: status)
    }
    var message = json["detail"]?.string ?? json["title"]?.string ?? "The daemon gave no reason."
    if status >= 500, let id = json["request_id"]?.string { message += " The request's id is \(id)." }
    return OperatorError(OperatorError.Code(code), message, status: status)
  }
}
