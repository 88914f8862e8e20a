import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Glibc
public import Logging
import NIOCore
import NIOHTTP2
public import ServiceLifecycle
import Synchronization
public import WorkloadAttestation
public import WorkloadIdentity

/// The transport of the Workload API.
typealias WorkloadTransport = HTTP2ServerTransport.Posix

/// Serves the SPIFFE Workload API, Envoy's SDS and reflection over gRPC on a unix socket. The caller of each connection is
/// who the kernel says it is.
public final class WorkloadAPIServer: Service {
  /// What a peer may take of the server.
  public struct Limits: Sendable {
    /// The most connections at once. Each takes two descriptors, so fewer where the process may not have as many.
    public var connections = 10_000
    /// The most connections at once of one user.
    public var connectionsOfUser = 6000
    /// The most streams at once on a connection.
    public var streams = 128
    /// The most bytes of a request's metadata.
    public var metadataBytes = 8192
    /// How long a peer may take for its first RPC.
    public var firstCall = Duration.seconds(10)
    /// How long a message may wait for its reader; then the stream ends.
    public var write = Duration.seconds(30)
    /// How long a connection without streams stays open.
    public var idle = Duration.seconds(300)
    /// After how long without a word a peer is asked whether it is there; it has 20 s to answer.
    public var keepalive = Duration.seconds(120)
    /// How long streams have to end when the server stops.
    public var grace = Duration.seconds(5)

    /// The defaults.
    public init() {}
  }

  /// The most bytes of a request's message.
  static let maximumMessageBytes = 65_536
  /// The same for Envoy, which lists its extensions in its first request: 61 KB of them in 1.40, without any metadata.
  static let maximumDiscoveryBytes = 262_144

  private let socket: Mutex<WorkloadSocket?>
  private let limits: Limits
  private let logger: Logger
  private let router: RPCRouter<WorkloadTransport>
  let connections: Connections

  /// Makes the socket, so that clients can connect from now on; they are answered once ``run()`` runs.
  /// - Parameters:
  ///   - path: the socket's path. It gets mode 0777; the folder decides who may reach it.
  ///   - connect: called once for each connection; what it returns is closed when the connection is.
  /// - Throws: ``WorkloadAPIError`` where the socket cannot be made.
  public init(
    path: String, limits: Limits = Limits(), logger: Logger,
    connect: @escaping @Sendable (PeerProcess) -> any WorkloadConnection
  ) throws(WorkloadAPIError) {
    var files = rlimit()
    // Two for each connection; a quarter is for the rest of the daemon.
    let room =
      unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files) == 0
      ? Int(clamping: files.rlim_cur / 8 * 3) : 256
    socket = try Mutex(WorkloadSocket(path: path))
    self.limits = limits
    self.logger = logger
    let connections = Connections(
      maximum: min(limits.connections, room), maximumOfUser: limits.connectionsOfUser, connect: connect)
    self.connections = connections
    let refusals = Refusals(logger: logger)
    var router = RPCRouter<WorkloadTransport>()
    SPIFFEService(connection: connections.ofWorkload, refusals: refusals).register(on: &router)
    ExtensionService(connection: connections.ofWorkload, refusals: refusals).register(on: &router)
    SDSService(connection: connections.of, refusals: refusals).register(on: &router)
    ReflectionService(router: router).register(on: &router)
    self.router = router
  }

  /// Serves until it is shut down or cancelled, then removes the socket. It runs once.
  public func run() async throws {
    guard let descriptor = socket.withLock({ $0?.take() }) else {
      throw WorkloadAPIError(.socket, "the Workload API's server ran already: make another")
    }
    defer { socket.withLock { $0 = nil } }
    let transport = WorkloadTransport(
      listeningSocketDescriptor: Int(descriptor), transportSecurity: .plaintext, config: configuration)
    let server = GRPCServer(transport: transport, router: router)
    try await withThrowingTaskGroup { group in
      group.addTask { try await server.serve() }
      group.addTask { [limits] in
        try await gracefulShutdown()
        server.beginGracefulShutdown()
        // Whoever has not let go by then is cut off.
        try await Task.sleep(for: limits.grace)
      }
      defer { group.cancelAll() }
      do { try await group.next() } catch is CancellationError {}
    }
  }

  private var configuration: WorkloadTransport.Config {
    .defaults { config in
      config.http2.maxConcurrentStreams = limits.streams
      config.rpc.maxRequestPayloadSize = 2 * Self.maximumDiscoveryBytes
      config.connection.maxIdleTime = limits.idle
      config.connection.maxGraceTime = limits.grace
      config.connection.keepalive = .init(
        time: limits.keepalive, timeout: .seconds(20),
        clientBehavior: .init(minPingIntervalWithoutCalls: .seconds(10), allowWithoutCalls: true))
      config.channelDebuggingCallbacks = .init(
        onBindTCPListener: { channel in
          // NIO listens once more, with a backlog of its own.
          channel.setOption(.backlog, value: WorkloadSocket.backlog)
        },
        onAcceptTCPConnection: { [connections, patience = TimeAmount(limits.firstCall)] channel in
          ConnectionHandler.add(to: channel, connections: connections, patience: patience)
        },
        onAcceptHTTP2Stream: { [limits, timeout = TimeAmount(limits.write)] stream in
          stream.eventLoop.makeCompletedFuture {
            guard let connection = stream.parent?.pipeline.syncOperations else { throw ChannelError.ioOnClosedChannel }
            let handler = try connection.handler(type: ConnectionHandler.self)
            handler.speaks()
            try stream.pipeline.syncOperations.addHandler(
              StreamHandler(
                number: handler.number, maximumMetadata: limits.metadataBytes, writeTimeout: timeout),
              position: .first)
          }
        })
    }
  }
}
