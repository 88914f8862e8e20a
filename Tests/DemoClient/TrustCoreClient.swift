public import AgentIdentity
import AsyncHTTPClient
import Crypto
import NIOCore
import NIOHTTP1
import NIOSSL
public import TrustCoreAPI
public import Wire

/// A request as it goes out: everything is in place, signatures too, so that it can be made ahead of being sent.
public struct OutgoingRequest: Sendable {
  /// The method.
  public var method: String
  /// Path and query.
  public var path: String
  /// Header fields, in order.
  public var headers: [HTTPMessage.Field]
  /// The content.
  public var body: [UInt8]

  /// Makes a request.
  public init(_ method: String, _ path: String, headers: [HTTPMessage.Field] = [], body: [UInt8] = []) {
    self.method = method
    self.path = path
    self.headers = headers
    self.body = body
  }
}

/// An answer.
public struct Answer: Sendable {
  /// The status.
  public let status: Int
  /// Header fields in the order received; names in lower case.
  public let headers: [(name: String, value: String)]
  /// The content.
  public let body: [UInt8]
  /// The content as JSON; nil where it is none.
  public let json: JSONValue?

  init(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
    self.status = status
    self.headers = headers
    self.body = body
    json = try? JSONValue(parsing: body)
  }

  /// The value of a header field; `name` in lower case.
  public func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

  /// The content as text.
  public var text: String { String(decoding: body, as: UTF8.self) }

  /// SHA-256 of the content, in hex.
  public var sha256: String { Hex.encode(Array(SHA256.hash(data: body))) }

  /// A problem's code.
  public var code: String? { json?.object?["code"]?.string }

  /// The member at a path of names, as in `answer["result", "account", "id"]`.
  public subscript(_ path: String...) -> JSONValue? {
    path.reduce(json) { value, name in value?.object?[name] }
  }

  /// Status and code, as in `403 agent_pending`.
  public var summary: String { "\(status)" + (code.map { " " + $0 } ?? "") }
}

/// An HTTPS client that trusts the CA of `ready.json` and nothing else.
public final class TrustCoreClient: Sendable {
  /// The base URL, `https://host:port`.
  public let api: String
  private let http: HTTPClient

  /// How a client connects.
  public struct Options: Sendable {
    /// The PEM file of the only CA that is trusted; nil trusts the system's.
    public var authority: String?
    /// The greatest TLS version offered is 1.2, which the daemon must refuse.
    public var offersOnlyTLS12 = false
    /// Whether HTTP/2 may be negotiated.
    public var http2 = true
    /// At most so many HTTP/1.1 connections.
    public var connections = 8

    /// Trusts a CA.
    public init(authority: String?) { self.authority = authority }
  }

  /// A client for the daemon that wrote a `ready.json`.
  public convenience init(_ ready: ReadyFile) throws {
    guard let api = ready["api"], let authority = ready["ca"] else { throw DemoError("ready.json lacks api or ca") }
    try self.init(api: api, Options(authority: authority))
  }

  /// A client for a base URL.
  public init(api: String, _ options: Options) throws {
    self.api = api
    var tls = TLSConfiguration.makeClientConfiguration()
    if let authority = options.authority {
      tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authority))
    }
    if options.offersOnlyTLS12 {
      tls.maximumTLSVersion = .tlsv12
    } else {
      tls.minimumTLSVersion = .tlsv13
    }
    var configuration = HTTPClient.Configuration(
      tlsConfiguration: tls, redirectConfiguration: .disallow,
      timeout: .init(connect: .seconds(5), read: .seconds(60)),
      connectionPool: .init(
        idleTimeout: .seconds(60), concurrentHTTP1ConnectionsPerHostSoftLimit: options.connections))
    // A daemon that is not there is an answer too, and it must come soon.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.httpVersion = options.http2 ? .automatic : .http1Only
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  /// Sends a request.
  /// - Throws: where no answer comes back.
  public func send(_ outgoing: OutgoingRequest) async throws -> Answer {
    var request = HTTPClientRequest(url: api + outgoing.path)
    request.method = HTTPMethod(rawValue: outgoing.method)
    for field in outgoing.headers { request.headers.add(name: field.name, value: field.value) }
    if !outgoing.body.isEmpty || outgoing.method == "POST" { request.body = .bytes(ByteBuffer(bytes: outgoing.body)) }
    let response = try await http.execute(request, timeout: .seconds(60))
    let body = try await response.body.collect(upTo: 16 << 20)
    return Answer(
      status: Int(response.status.code), headers: response.headers.map { ($0.name.lowercased(), $0.value) },
      body: Array(body.readableBytesView))
  }

  /// Sends a GET without credentials, or with a bearer token.
  public func get(_ path: String, bearer: String? = nil) async throws -> Answer {
    try await send(
      OutgoingRequest("GET", path, headers: bearer.map { [HTTPMessage.Field("Authorization", "Bearer " + $0)] } ?? []))
  }

  /// Sends a POST with a JSON body and no credentials, or with a bearer token.
  public func post(_ path: String, _ body: JSONValue, bearer: String? = nil) async throws -> Answer {
    var headers = [HTTPMessage.Field("Content-Type", "application/json")]
    if let bearer { headers.append(HTTPMessage.Field("Authorization", "Bearer " + bearer)) }
    return try await send(OutgoingRequest("POST", path, headers: headers, body: body.canonical()))
  }

  /// Closes every connection; nothing can be sent afterwards.
  public func close() async { try? await http.shutdown() }

  // A client that is dropped open would end the process.
  deinit { http.shutdown { _ in } }
}
