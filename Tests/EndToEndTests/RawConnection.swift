import DemoClient
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing
import TrustCoreAPI
import Wire

/// Bytes over TLS, as no HTTP client would send them.
enum RawConnection {
  /// What came back.
  struct Reply: Sendable {
    let bytes: [UInt8]
    /// Whether the server closed the connection; false where what came was enough, or the wait ended.
    let isClosed: Bool

    var text: String { String(decoding: bytes, as: UTF8.self) }
    /// The status lines in it.
    var statuses: [Int] {
      text.split(separator: "HTTP/1.1 ", omittingEmptySubsequences: false).dropFirst().compactMap { Int($0.prefix(3)) }
    }
    /// The content of the first answer.
    var body: String { text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? "" }

    func header(_ name: String) -> String? {
      let lines = text.components(separatedBy: "\r\n\r\n")[0].components(separatedBy: "\r\n").dropFirst()
      return lines.first { $0.lowercased().hasPrefix(name + ":") }.map { line in
        line.drop { $0 != ":" }.dropFirst().trimmingCharacters(in: .whitespaces)
      }
    }
  }

  /// Sends chunks and collects what comes back until the server closes, or until `enough` is satisfied.
  /// - Parameters:
  ///   - halfCloses: whether this side says that it is done when everything is sent.
  ///   - limit: the longest wait for a server that does not close.
  static func exchange(
    _ fixture: Fixture, _ chunks: [[UInt8]], halfCloses: Bool = false, within limit: TimeAmount = .seconds(20),
    until enough: @escaping @Sendable (Reply) -> Bool = { _ in false }
  ) async throws -> Reply {
    let ready = fixture.deployment.ready
    let port = try #require(URL(string: fixture.client.api)?.port)
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(try #require(ready["ca"])))
    configuration.applicationProtocols = ["http/1.1"]
    let tls = try NIOSSLContext(configuration: configuration)
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    let reply = loop.makePromise(of: Reply.self)
    let channel = try await ClientBootstrap(group: loop)
      .channelOption(.allowRemoteHalfClosure, value: false)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandlers(
            NIOSSLClientHandler(context: tls, serverHostname: "localhost"), Collector(reply, enough))
        }
      }.connect(host: "127.0.0.1", port: port).get()
    let timer = loop.scheduleTask(in: limit) {
      reply.succeed(Reply(bytes: [], isClosed: false))
      channel.close(promise: nil)
    }
    for chunk in chunks {
      // A server that has seen enough closes while there is still something to send.
      guard (try? await channel.writeAndFlush(ByteBuffer(bytes: chunk))) != nil else { break }
    }
    if halfCloses { try? await channel.close(mode: .output) }
    let result = try await reply.futureResult.get()
    timer.cancel()
    try? await channel.close()
    return result
  }

  /// The same for one text.
  static func exchange(
    _ fixture: Fixture, _ text: String, halfCloses: Bool = false,
    until enough: @escaping @Sendable (Reply) -> Bool = { _ in false }
  ) async throws -> Reply {
    try await exchange(fixture, [Array(text.utf8)], halfCloses: halfCloses, until: enough)
  }

  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<Reply>
    private let enough: @Sendable (Reply) -> Bool
    private var bytes: [UInt8] = []

    init(_ promise: EventLoopPromise<Reply>, _ enough: @escaping @Sendable (Reply) -> Bool) {
      self.promise = promise
      self.enough = enough
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      bytes.append(contentsOf: unwrapInboundIn(data).readableBytesView)
      let reply = Reply(bytes: bytes, isClosed: false)
      if enough(reply) { promise.succeed(reply) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      // A reset or a close without close_notify is a close as well.
      context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
      promise.succeed(Reply(bytes: bytes, isClosed: true))
    }
  }
}
