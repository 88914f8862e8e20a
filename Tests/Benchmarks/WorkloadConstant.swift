import GRPCCore
import GRPCNIOTransportHTTP2Posix

/// The Workload API's gRPC server without the Workload API: on a unix socket, with the same settings, it answers each
/// fetch with one constant message and leaves the stream open.
enum WorkloadConstant {
  /// Serves until the task is cancelled.
  /// - Parameter ready: called once clients may connect.
  static func serve(path: String, bytes: Int, ready: @escaping @Sendable () -> Void) async throws {
    let transport = HTTP2ServerTransport.Posix(
      address: .unixDomainSocket(path: path), transportSecurity: .plaintext,
      config: .defaults { config in
        // As WorkloadAPIServer has them.
        config.http2.maxConcurrentStreams = 128
        config.rpc.maxRequestPayloadSize = 524_288
        config.connection.maxIdleTime = .seconds(300)
        config.connection.maxGraceTime = .seconds(5)
        config.connection.keepalive = .init(
          time: .seconds(120), timeout: .seconds(20),
          clientBehavior: .init(minPingIntervalWithoutCalls: .seconds(10), allowWithoutCalls: true))
      })
    let message = [UInt8](repeating: 0x5A, count: bytes)
    var router = RPCRouter<HTTP2ServerTransport.Posix>()
    router.registerHandler(
      forMethod: MethodDescriptor(
        service: ServiceDescriptor(fullyQualifiedService: "SpiffeWorkloadAPI"), method: "FetchX509SVID",
        type: .serverStreaming),
      deserializer: PlainBytes(), serializer: PlainBytes()
    ) { request, context in
      for try await _ in request.messages { break }
      return StreamingServerResponse { writer in
        try await writer.write(message)
        try await context.cancellation.cancelled
        return [:]
      }
    }
    let server = GRPCServer(transport: transport, router: router)
    try await withThrowingTaskGroup { group in
      group.addTask { try await server.serve() }
      _ = try await transport.listeningAddress
      ready()
      try await group.waitForAll()
    }
  }

  private struct PlainBytes: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) -> Bytes { Bytes(message) }
    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) -> [UInt8] {
      unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
    }
  }
}
