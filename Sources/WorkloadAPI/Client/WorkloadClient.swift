import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SwiftProtobuf
import Wire
public import WorkloadIdentity
import WorkloadProtocol

/// A client of the Workload API on one connection.
public struct WorkloadClient: Sendable {
  private let client: GRPCClient<HTTP2ClientTransport.Posix>
  private let store: SVIDKeyStore
  private let path: String

  /// The most bytes of an answer.
  private static let maximumAnswer = 4 << 20

  /// Connects for as long as the body runs.
  /// - Parameters:
  ///   - path: the socket.
  ///   - store: where the keys go; they live as long as somebody holds them.
  /// - Throws: what the body throws.
  public static func connected<R: Sendable>(
    to path: String, store: SVIDKeyStore = SVIDKeyStore(capacity: 256),
    _ body: @Sendable (WorkloadClient) async throws -> R
  ) async throws -> R {
    let transport = try HTTP2ClientTransport.Posix(
      target: .unixDomainSocket(path: path, authority: "localhost"), transportSecurity: .plaintext)
    return try await withGRPCClient(transport: transport) { client in
      try await body(WorkloadClient(client: client, store: store, path: path))
    }
  }

  // MARK: - Streams

  /// The workload's X.509-SVIDs, at once and with every change.
  /// - Parameter step: called for each message; says whether to go on.
  /// - Throws: ``WorkloadRefusal`` when the daemon refuses or ends the stream; what `step` throws.
  public func x509SVIDs(_ step: @escaping @Sendable (ClientX509Update) async throws -> ClientStreamStep) async throws {
    try await stream("FetchX509SVID", SPIFFEX509SVIDRequest(), X509UpdateDeserializer(store: store), step)
  }

  /// The X.509 bundles and the revocation lists, at once and with every change.
  public func x509Bundles(
    _ step: @escaping @Sendable (ClientX509Bundles) async throws -> ClientStreamStep
  ) async throws {
    try await stream("FetchX509Bundles", SPIFFEX509BundlesRequest(), X509BundlesDeserializer(), step)
  }

  /// The JWT bundles by trust domain, each a JWK set, at once and with every change.
  public func jwtBundles(
    _ step: @escaping @Sendable ([TrustDomain: [UInt8]]) async throws -> ClientStreamStep
  ) async throws {
    try await stream("FetchJWTBundles", SPIFFEJWTBundlesRequest(), JWTBundlesDeserializer(), step)
  }

  // MARK: - Single answers

  /// JWT-SVIDs for audiences.
  /// - Parameter id: one identity; nil for each that the workload has.
  public func jwtSVIDs(audiences: [String], id: SPIFFEID? = nil) async throws -> [WorkloadJWTSVID] {
    let request = SPIFFEJWTSVIDRequest.with {
      $0.audience = audiences
      $0.spiffeID = id?.description ?? ""
    }
    let response: SPIFFEJWTSVIDResponse = try await unary(SPIFFEService.name, "FetchJWTSVID", request)
    return try response.svids.map {
      WorkloadJWTSVID(id: try SPIFFEID($0.spiffeID), token: $0.svid, hint: $0.hint)
    }
  }

  /// Has the daemon verify a JWT-SVID.
  /// - Returns: the subject, and the claims as JSON.
  public func validate(jwtSVID token: String, audience: String) async throws -> (id: SPIFFEID, claims: String) {
    let request = SPIFFEValidateJWTSVIDRequest.with {
      $0.svid = token
      $0.audience = audience
    }
    let response: SPIFFEValidateJWTSVIDResponse = try await unary(SPIFFEService.name, "ValidateJWTSVID", request)
    return (try SPIFFEID(response.spiffeID), try response.claims.jsonString())
  }

  /// An X.509-SVID for a key of the caller's own.
  /// - Parameter request: a PKCS #10 certificate signing request, DER.
  public func x509SVID(request: [UInt8], id: SPIFFEID? = nil) async throws -> ClientX509SVID {
    let message = Trustcore_Workload_V1_FetchX509SVIDForKeyRequest.with {
      $0.csr.append(contentsOf: request)
      $0.spiffeID = id?.description ?? ""
    }
    let response: Trustcore_Workload_V1_FetchX509SVIDForKeyResponse = try await unary(
      ExtensionService.name, "FetchX509SVIDForKey", message)
    return ClientX509SVID(
      id: try SPIFFEID(response.spiffeID), chain: try DERSequence.split(Array(response.x509Svid)), key: nil,
      bundle: try DERSequence.split(Array(response.bundle)), hint: response.hint)
  }

  // MARK: - Calls

  private static let metadata: Metadata = ["workload.spiffe.io": "true"]

  private var options: CallOptions {
    var options = CallOptions.defaults
    options.maxResponseMessageBytes = Self.maximumAnswer
    // Where nobody listens, say so rather than wait.
    options.waitForReady = false
    return options
  }

  private func stream<Request: SwiftProtobuf.Message, Update: Sendable>(
    _ method: String, _ request: Request, _ deserializer: some MessageDeserializer<Update>,
    _ step: @escaping @Sendable (Update) async throws -> ClientStreamStep
  ) async throws {
    try await refusing {
      try await client.serverStreaming(
        request: ClientRequest(message: request, metadata: Self.metadata),
        descriptor: MethodDescriptor(service: SPIFFEService.name, method: method, type: .serverStreaming),
        serializer: ProtobufSerializer<Request>(), deserializer: deserializer, options: options
      ) { response in
        for try await update in response.messages where try await step(update) == .enough { return }
      }
    }
  }

  private func unary<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>(
    _ service: ServiceDescriptor, _ method: String, _ request: Request
  ) async throws -> Response {
    try await refusing {
      try await client.unary(
        request: ClientRequest(message: request, metadata: Self.metadata),
        descriptor: MethodDescriptor(service: service, method: method, type: .unary),
        serializer: ProtobufSerializer<Request>(),
        deserializer: ProtobufDeserializer<Response>(maximum: Self.maximumAnswer), options: options
      ) { try $0.message }
    }
  }

  /// Reads a status back into the refusal that it was made from.
  private func refusing<R>(_ body: () async throws -> R) async throws -> R {
    do { return try await body() } catch let error as RPCError {
      let status: WorkloadRefusal.Status
      switch error.code {
      case .invalidArgument: status = .invalidArgument
      case .permissionDenied: status = .permissionDenied
      case .unavailable: status = .unavailable
      case .failedPrecondition: status = .failedPrecondition
      case .cancelled: throw CancellationError()
      default: throw WorkloadAPIError(.answer, "the daemon at \(path) answered \(error.code): \(error.message)")
      }
      let parts = error.message.split(separator: ": ", maxSplits: 1)
      let pushback = error.metadata[stringValues: Refusals.retryHeader].first { _ in true }
      // What the transport says of its own accord has no code before it.
      guard parts.count == 2, !parts[0].contains(" ") else {
        throw WorkloadRefusal(
          status, "workload_api", "the daemon at \(path) does not answer (\(error.message)): is it running?")
      }
      throw WorkloadRefusal(
        status, String(parts[0]), String(parts[1]), retryAfter: pushback.flatMap { Int64($0) })
    }
  }
}
