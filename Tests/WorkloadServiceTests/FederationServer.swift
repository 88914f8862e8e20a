import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// An HTTPS server on loopback that answers byte by byte what a test tells it to.
final class FederationServer: Sendable {
  /// How an answer ends.
  enum Ending: Sendable {
    /// As TLS wants it.
    case close
    /// With the connection alone, so that nobody knows whether more was to come.
    case abort
    /// Not at all.
    case stay
    /// With these bytes again and again.
    case endless([UInt8])
  }

  struct Reply: Sendable {
    var bytes: [UInt8]
    var ending: Ending

    init(_ text: String, _ body: [UInt8] = [], _ ending: Ending = .close) {
      bytes = Array(text.utf8) + body
      self.ending = ending
    }

    /// 200 with a length.
    static func document(_ body: [UInt8]) -> Reply {
      Reply("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n", body)
    }

    static func redirect(_ location: String, _ status: String = "302 Found") -> Reply {
      Reply("HTTP/1.1 \(status)\r\nLocation: \(location)\r\nContent-Length: 0\r\n\r\n")
    }
  }

  private struct State {
    var identity: ServerIdentity
    var reply: @Sendable (String) -> Reply
    var requests: [String] = []
    var names: [String?] = []
  }

  private let state: Mutex<State>
  let port: Int

  private init(_ state: State, port: Int) {
    self.state = Mutex(state)
    self.port = port
  }

  /// What was asked, each with all of its head.
  var requests: [String] { state.withLock { $0.requests } }
  /// The names that clients sent in TLS.
  var names: [String?] { state.withLock { $0.names } }

  func url(_ path: String = "/bundle.json", host: String = "localhost") -> String { "https://\(host):\(port)\(path)" }
  func prove(_ identity: ServerIdentity) { state.withLock { $0.identity = identity } }
  func answer(_ reply: @escaping @Sendable (String) -> Reply) { state.withLock { $0.reply = reply } }
  func answer(_ reply: Reply) { answer { _ in reply } }

  /// Runs a server for as long as `body` takes.
  static func run<R: Sendable>(
    _ identity: ServerIdentity, _ reply: Reply = .document([]), versions: ClosedRange<Int> = 12...13,
    _ body: (FederationServer) async throws -> R
  ) async throws -> R {
    let holder = Mutex<FederationServer?>(nil)
    let found: @Sendable () -> FederationServer? = { holder.withLock { $0 } }
    let listening = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard let server = found() else { return }
          try server.setUp(channel, versions)
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let server = FederationServer(
      State(identity: identity, reply: { _ in reply }), port: listening.localAddress?.port ?? 0)
    holder.withLock { $0 = server }
    do {
      let result = try await body(server)
      try await listening.close()
      return result
    } catch {
      try? await listening.close()
      throw error
    }
  }

  private func setUp(_ channel: any Channel, _ versions: ClosedRange<Int>) throws {
    var tls = try state.withLock { try $0.identity.tls() }
    let all: [Int: TLSVersion] = [11: .tlsv11, 12: .tlsv12, 13: .tlsv13]
    tls.minimumTLSVersion = all[versions.lowerBound] ?? .tlsv12
    tls.maximumTLSVersion = all[versions.upperBound]
    tls.sslContextCallback = { [self] values, promise in
      state.withLock { $0.names.append(values.serverHostname) }
      promise.succeed(.noChanges)
    }
    let pipeline = channel.pipeline.syncOperations
    let front = Front()
    try pipeline.addHandler(front)
    try pipeline.addHandler(NIOSSLServerHandler(context: NIOSSLContext(configuration: tls)))
    try pipeline.addHandler(Answering(self, front))
  }

  fileprivate func reply(to request: String) -> Reply {
    state.withLock { state in
      state.requests.append(request)
      return state.reply
    }(request)
  }

  /// Stands before TLS, to close without its farewell.
  private final class Front: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
    func close() { context?.close(promise: nil) }
  }

  private final class Answering: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let server: FederationServer
    private let front: Front
    private var request: [UInt8] = []

    init(_ server: FederationServer, _ front: Front) { (self.server, self.front) = (server, front) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      request += unwrapInboundIn(data).readableBytesView
      guard request.suffix(4).elementsEqual("\r\n\r\n".utf8) else { return }
      let reply = server.reply(to: String(decoding: request, as: UTF8.self))
      request = []
      let written = context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: reply.bytes)))
      switch reply.ending {
      case .stay: break
      case .close: context.close(promise: nil)
      case .abort:
        let front = front
        written.assumeIsolated().whenComplete { _ in front.close() }
      case .endless(let bytes): pour(ByteBuffer(bytes: bytes), context)
      }
    }

    private func pour(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
      context.writeAndFlush(wrapOutboundOut(bytes)).assumeIsolated().whenSuccess { [self] in
        // Not at once: the next write may be done before this one returns.
        context.eventLoop.assumeIsolated().execute { [self] in pour(bytes, context) }
      }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
