import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SwiftProtobuf
import Wire
import WorkloadIdentity
import WorkloadProtocol

/// The SPIFFE Workload API (SPIFFE_Workload_API.md).
struct SPIFFEService: Sendable {
  static let name = ServiceDescriptor(fullyQualifiedService: "SpiffeWorkloadAPI")

  let connection: ConnectionLookup
  let refusals: Refusals
  private let encodings = SnapshotEncodings()

  func register(on router: inout RPCRouter<WorkloadTransport>) {
    stream("FetchX509SVID", SPIFFEX509SVIDRequest.self, .x509SVIDs, on: &router)
    stream("FetchX509Bundles", SPIFFEX509BundlesRequest.self, .x509Bundles, on: &router)
    stream("FetchJWTBundles", SPIFFEJWTBundlesRequest.self, .jwtBundles, on: &router)
    router.register(Self.name, "FetchJWTSVID", refusals, connection, Self.jwtSVIDs)
    router.register(Self.name, "ValidateJWTSVID", refusals, connection, Self.validate)
    // FetchWITSVID and FetchWITBundles are not there, which the router answers with Unimplemented (section 7).
  }

  // MARK: - Streams

  private func stream<Request: SwiftProtobuf.Message>(
    _ method: String, _ request: Request.Type, _ content: SnapshotContent,
    on router: inout RPCRouter<WorkloadTransport>
  ) {
    router.registerHandler(
      forMethod: MethodDescriptor(service: Self.name, method: method, type: .serverStreaming),
      deserializer: ProtobufDeserializer<Request>(), serializer: OutgoingSerializer()
    ) { request, context in
      do {
        let connection = try connection(request.metadata)
        _ = try await request.single()
        let stream = try await SnapshotStream(content, encodings, connection)
        return StreamingServerResponse { writer in
          do { try await stream.push(to: writer) } catch { throw refusals.status(of: error) }
          return [:]
        }
      } catch { throw refusals.status(of: error) }
    }
  }

  // MARK: - JWT-SVIDs

  /// The most audiences of a request, and the most bytes of each.
  static let maximumAudiences = 64
  static let maximumAudienceBytes = 1024

  private static func check(audiences: [String]) throws {
    guard (1...maximumAudiences).contains(audiences.count),
      audiences.allSatisfy({ (1...maximumAudienceBytes).contains($0.utf8.count) })
    else {
      throw WorkloadRefusal(
        .invalidArgument, "audience_invalid",
        "name 1 to \(maximumAudiences) audiences of 1 to \(maximumAudienceBytes) bytes")
    }
  }

  private static func jwtSVIDs(
    _ request: SPIFFEJWTSVIDRequest, _ connection: any WorkloadConnection
  ) async throws -> SPIFFEJWTSVIDResponse {
    try check(audiences: request.audience)
    let id = request.spiffeID.isEmpty ? nil : try SPIFFEID(request.spiffeID)
    let svids = try await connection.jwtSVIDs(audiences: request.audience, id: id)
    var hints = UniqueHints()
    return .with {
      $0.svids = svids.map { svid in
        .with {
          $0.spiffeID = svid.id.description
          $0.svid = svid.token
          $0.hint = hints.first(svid.hint)
        }
      }
    }
  }

  private static func validate(
    _ request: SPIFFEValidateJWTSVIDRequest, _ connection: any WorkloadConnection
  ) async throws -> SPIFFEValidateJWTSVIDResponse {
    try check(audiences: [request.audience])
    guard !request.svid.isEmpty else {
      throw WorkloadRefusal(.invalidArgument, "jwt_svid_missing", "send the JWT-SVID to verify as 'svid'")
    }
    let (id, claims) = try await connection.validate(jwtSVID: request.svid, audience: request.audience)
    return .with {
      $0.spiffeID = id.description
      $0.claims = Google_Protobuf_Struct(claims)
    }
  }
}

extension Google_Protobuf_Struct {
  /// A JSON object as the messages of Protocol Buffers carry it.
  init(_ object: JSONObject) {
    self.init()
    for member in object { fields[member.name] = Google_Protobuf_Value(member.value) }
  }
}

extension Google_Protobuf_Value {
  init(_ value: JSONValue) {
    self.init()
    switch value {
    case .null: nullValue = .nullValue
    case .bool(let value): boolValue = value
    // Within ±(2^53 − 1), which a double holds exactly.
    case .integer(let value): numberValue = Double(value)
    case .double(let value): numberValue = value
    case .string(let value): stringValue = value
    case .array(let values): listValue = .with { $0.values = values.map(Google_Protobuf_Value.init) }
    case .object(let object): structValue = Google_Protobuf_Struct(object)
    }
  }
}

extension StreamingServerRequest {
  /// The one message of a request that has one.
  func single() async throws -> Message {
    var messages = messages.makeAsyncIterator()
    guard let message = try await messages.next() else {
      throw RPCError(code: .invalidArgument, message: "request_missing: send one message")
    }
    return message
  }
}

extension RPCRouter {
  /// Registers a method of one request and one answer, which leaves only when the caller is still the one that asked.
  mutating func register<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>(
    _ service: ServiceDescriptor, _ method: String, _ refusals: Refusals, _ connection: @escaping ConnectionLookup,
    _ answer: @escaping @Sendable (Request, any WorkloadConnection) async throws -> Response
  ) {
    registerHandler(
      forMethod: MethodDescriptor(service: service, method: method, type: .unary),
      deserializer: ProtobufDeserializer<Request>(), serializer: ProtobufSerializer<Response>()
    ) { request, context in
      do {
        let connection = try connection(request.metadata)
        let response = try await answer(request.single(), connection)
        try connection.confirm()
        return StreamingServerResponse(single: ServerResponse(message: response))
      } catch { throw refusals.status(of: error) }
    }
  }
}
