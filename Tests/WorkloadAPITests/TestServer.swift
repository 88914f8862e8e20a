import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import ServiceLifecycle
import SwiftProtobuf
import WorkloadAttestation
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

/// A server on a socket of its own, for as long as the body runs.
func serving<R: Sendable>(
  _ world: FakeWorld, limits: (inout WorkloadAPIServer.Limits) -> Void = { _ in },
  _ body: @Sendable (String, WorkloadAPIServer) async throws -> R
) async throws -> R {
  let folder = FileManager.default.temporaryDirectory.appending(path: "wl-\(UUID().uuidString.prefix(8))")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  var settings = WorkloadAPIServer.Limits()
  settings.grace = .milliseconds(200)
  limits(&settings)
  let path = folder.appending(path: "workload.sock").path
  let server = try WorkloadAPIServer(path: path, limits: settings, logger: Logger(label: "test")) { world.connect($0) }
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await server.run() }
    defer { group.cancelAll() }
    return try await body(path, server)
  }
}

typealias TestClient = GRPCClient<HTTP2ClientTransport.Posix>

/// A plain gRPC client, which says what it is told to.
func client<R: Sendable>(_ path: String, _ body: @Sendable (TestClient) async throws -> R) async throws -> R {
  try await withGRPCClient(
    transport: .http2NIOPosix(
      target: .unixDomainSocket(path: path, authority: "localhost"), transportSecurity: .plaintext)
  ) { try await body($0) }
}

let header: Metadata = ["workload.spiffe.io": "true"]

extension TestClient {
  func unary<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>(
    _ method: String, _ request: Request, _ metadata: Metadata = header,
    service: String = "SpiffeWorkloadAPI"
  ) async throws -> Response {
    try await unary(
      request: ClientRequest(message: request, metadata: metadata),
      descriptor: MethodDescriptor(fullyQualifiedService: service, method: method),
      serializer: ProtobufSerializer<Request>(), deserializer: ProtobufDeserializer<Response>(maximum: 8 << 20),
      options: .defaults
    ) { try $0.message }
  }

  func stream<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message, R: Sendable>(
    _ method: String, _ request: Request, _ metadata: Metadata = header,
    _ body: @escaping @Sendable (RPCAsyncSequence<Response, any Error>) async throws -> R
  ) async throws -> R {
    try await serverStreaming(
      request: ClientRequest(message: request, metadata: metadata),
      descriptor: MethodDescriptor(fullyQualifiedService: "SpiffeWorkloadAPI", method: method),
      serializer: ProtobufSerializer<Request>(), deserializer: ProtobufDeserializer<Response>(maximum: 8 << 20),
      options: .defaults
    ) { try await body($0.messages) }
  }

  func x509<R: Sendable>(
    _ metadata: Metadata = header,
    _ body: @escaping @Sendable (RPCAsyncSequence<SPIFFEX509SVIDResponse, any Error>) async throws -> R
  ) async throws -> R {
    try await stream("FetchX509SVID", SPIFFEX509SVIDRequest(), metadata, body)
  }
}

/// The status that a call fails with.
func status<R>(_ body: () async throws -> R) async -> RPCError? {
  do {
    _ = try await body()
    return nil
  } catch { return error as? RPCError }
}

/// How many descriptors this process has.
func openDescriptors() -> Int { (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? -1 }

/// How much memory this process has (proc(5), statm).
func residentBytes() -> Int {
  let statm = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
  return (Int(statm.split(separator: " ").dropFirst().first ?? "") ?? 0) * 4096
}
