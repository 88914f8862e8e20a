import GRPCCore
import Logging
import Synchronization
import WorkloadIdentity
import WorkloadProtocol

/// Envoy's Secret Discovery Service, version 3, on the socket of the Workload API: SVIDs and bundles as Envoy's secrets.
/// Callers are told apart by attestation alone; what a request says of its node decides nothing, and the header that the
/// Workload API demands is not asked for, since Envoy does not send it.
struct SDSService: Sendable {
  static let name = ServiceDescriptor(fullyQualifiedService: "envoy.service.secret.v3.SecretDiscoveryService")

  private let connection: ConnectionLookup
  private let refusals: Refusals

  init(connection: @escaping ConnectionLookup, refusals: Refusals) {
    self.connection = connection
    self.refusals = refusals
  }

  /// Registers StreamSecrets, DeltaSecrets and FetchSecrets.
  func register<Transport: ServerTransport>(on router: inout RPCRouter<Transport>) {
    stream("StreamSecrets", SDSStateOfTheWorld.self, on: &router)
    stream("DeltaSecrets", SDSDelta.self, on: &router)
    router.registerHandler(
      forMethod: MethodDescriptor(service: Self.name, method: "FetchSecrets", type: .unary),
      deserializer: ProtobufDeserializer<Envoy_Service_Discovery_V3_DiscoveryRequest>(
        maximum: WorkloadAPIServer.maximumDiscoveryBytes), serializer: SDSEncoder()
    ) { request, context in
      do {
        let connection = try connection(request.metadata)
        let request = try await ServerRequest(stream: request).message
        return StreamingServerResponse(single: ServerResponse(message: try await Self.fetch(request, connection)))
      } catch { throw refusals.status(of: error) }
    }
  }

  private func stream<Session: SDSSession, Transport: ServerTransport>(
    _ method: String, _ session: Session.Type, on router: inout RPCRouter<Transport>
  ) {
    router.registerHandler(
      forMethod: MethodDescriptor(service: Self.name, method: method, type: .bidirectionalStreaming),
      deserializer: ProtobufDeserializer<Session.Request>(maximum: WorkloadAPIServer.maximumDiscoveryBytes),
      serializer: SDSEncoder()
    ) { request, context in
      do {
        let connection = try connection(request.metadata)
        let updates = try await connection.updates()
        let stream = SDSStream<Session>(connection: connection, updates: updates, refusals: refusals)
        return StreamingServerResponse { writer in
          do {
            try await withRPCCancellationHandler {
              try await stream.run(request.messages, writer)
            } onCancelRPC: {
              updates.cancel()
            }
          } catch { throw refusals.status(of: error) }
          return [:]
        }
      } catch { throw refusals.status(of: error) }
    }
  }

  /// What a first request of a stream would get, without a nonce.
  private static func fetch(
    _ request: Envoy_Service_Discovery_V3_DiscoveryRequest, _ connection: any WorkloadConnection
  ) async throws -> SDSResponse {
    var session = SDSStateOfTheWorld()
    _ = try session.receive(request)
    session.update(try await connection.snapshot())
    let response = session.next()
    try connection.confirm()
    return SDSResponse(
      form: .stateOfTheWorld, version: response?.version ?? "", nonce: "", resources: response?.resources ?? [],
      removed: [])
  }
}

/// A stream: one task takes requests in, one snapshots, and one writes what is owed whenever either has come.
private final class SDSStream<Session: SDSSession>: Sendable {
  private let session = Mutex(Session())
  private let connection: any WorkloadConnection
  private let updates: any WorkloadUpdates
  private let refusals: Refusals

  init(connection: any WorkloadConnection, updates: any WorkloadUpdates, refusals: Refusals) {
    self.connection = connection
    self.updates = updates
    self.refusals = refusals
  }

  /// Ends with the first of: the subscriber, the updates, a refusal.
  func run(
    _ requests: RPCAsyncSequence<Session.Request, any Error>, _ writer: RPCWriter<SDSResponse>
  ) async throws {
    let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    try await withThrowingTaskGroup(of: Void.self) { group in
      defer { group.cancelAll() }
      group.addTask {
        for try await request in requests {
          if let remark = try self.session.withLock({ session throws(WorkloadRefusal) in try session.receive(request) })
          {
            self.log(remark)
          }
          change.yield()
        }
      }
      group.addTask {
        while let snapshot = try await self.updates.next() {
          self.session.withLock { $0.update(snapshot) }
          change.yield()
        }
        throw WorkloadRefusal.stopping
      }
      group.addTask {
        for await _ in changes {
          guard let response = self.session.withLock({ $0.next() }) else { continue }
          try self.connection.confirm()
          try await writer.write(response)
        }
      }
      try await group.next()
    }
  }

  private func log(_ remark: SDSRemark) {
    switch remark {
    case .rejected(let nonce, let reason):
      refusals.logger.warning("Envoy refused secrets", metadata: ["nonce": "\(nonce)", "reason": "\(reason)"])
    case .stale(let nonce): refusals.logger.debug("an SDS request was out of date", metadata: ["nonce": "\(nonce)"])
    }
  }
}
