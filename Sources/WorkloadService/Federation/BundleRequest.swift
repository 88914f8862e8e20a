import NIOCore
import NIOHTTP1
import NIOSSL

/// One GET on a connection of its own, with limits on what comes back.
final class BundleRequest: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  /// What an endpoint says.
  enum Answer: Sendable {
    case document([UInt8])
    case redirect(String)
  }

  /// A bundle needs few header fields; a CDN adds some.
  static var headerLimits: NIOHTTPDecoderLimitConfiguration {
    var limits = NIOHTTPDecoderLimitConfiguration()
    limits.maxHeaderFieldSize = 8192
    limits.maxHeaderListSize = 32_768
    limits.maxHeaderFieldCount = 64
    return limits
  }

  private let url: EndpointURL
  private let maximumBytes: Int
  private let answer: EventLoopPromise<Answer>
  private var document: [UInt8] = []
  private var isDone = false

  init(_ url: EndpointURL, maximumBytes: Int, answer: EventLoopPromise<Answer>) {
    self.url = url
    self.maximumBytes = maximumBytes
    self.answer = answer
  }

  /// TLS keeps it back until the endpoint has proved itself.
  func channelActive(context: ChannelHandlerContext) {
    let headers: HTTPHeaders = [
      "Host": url.authority, "Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close",
    ]
    let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: url.target, headers: headers)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isDone else { return }
    do {
      switch unwrapInboundIn(data) {
      case .head(let head): try take(head)
      case .body(let bytes):
        guard document.count + bytes.readableBytes <= maximumBytes else { throw tooLong }
        document += bytes.readableBytesView
      case .end: finish(.success(.document(document)))
      }
    } catch {
      finish(.failure(error))
    }
  }

  private func take(_ head: HTTPResponseHead) throws(FederationError) {
    switch head.status.code {
    case 200: break
    case 301, 302, 303, 307, 308:
      let locations = head.headers["location"]
      guard locations.count == 1 else {
        throw FederationError(.redirect, "'\(url.authority)' redirects without saying where: ask who runs it")
      }
      return finish(.success(.redirect(locations[0])))
    case let status:
      throw FederationError(
        .status, "'\(url.authority)' answers \(status), not 200: check the endpoint's URL, or ask who runs it")
    }
    guard head.headers[canonicalForm: "content-encoding"].allSatisfy({ $0 == "identity" }) else {
      throw FederationError(.malformed, "'\(url.authority)' compresses its answer unasked: ask who runs it")
    }
    if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }), length > maximumBytes {
      throw tooLong
    }
  }

  private var tooLong: FederationError { Self.tooLong(url, maximumBytes) }

  fileprivate static func tooLong(_ url: EndpointURL, _ limit: Int) -> FederationError {
    FederationError(
      .tooLong, "the answer of '\(url.authority)' has more than \(limit) bytes and is no bundle: check the URL")
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let host = url.authority
    switch error {
    case is FederationError: finish(.failure(error))
    case NIOSSLError.uncleanShutdown, HTTPParserError.invalidEOFState: finish(.failure(brokenOff))
    case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
      finish(
        .failure(
          FederationError(
            .tls, "TLS with '\(host)' failed: check its certificate's chain, names and validity (\(error))")))
    case is IOError, is ChannelError: finish(.failure(brokenOff))
    default:
      finish(.failure(FederationError(.malformed, "the answer of '\(host)' is no HTTP/1.1: check the URL (\(error))")))
    }
  }

  func channelInactive(context: ChannelHandlerContext) { finish(.failure(brokenOff)) }

  private var brokenOff: FederationError {
    FederationError(.connection, "'\(url.authority)' broke the connection off: try again, or ask who runs it")
  }

  /// The first outcome counts; who waits for it closes the connection.
  private func finish(_ result: Result<Answer, any Error>) {
    isDone = true
    document = []
    answer.completeWith(result)
  }
}

/// Bounds all that comes out of TLS. The parser's own limits leave out the status line, extensions of chunks and interim
/// answers, each of which could go on for ever.
final class WireLimit: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let url: EndpointURL
  private let maximumBytes: Int
  private var left: Int

  init(_ url: EndpointURL, maximumBytes: Int) {
    self.url = url
    self.maximumBytes = maximumBytes
    left = maximumBytes
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard left >= 0 else { return }
    left -= unwrapInboundIn(data).readableBytes
    if left >= 0 {
      context.fireChannelRead(data)
    } else {
      context.fireErrorCaught(BundleRequest.tooLong(url, maximumBytes))
    }
  }
}
