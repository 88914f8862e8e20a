import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix

/// A client's connection to a Workload API, as lean as it gets, since it shares the machine with the server: gRPC by hand
/// over HTTP/2 without a channel for each stream.
final class WorkloadPeer: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  enum Event {
    /// The server has greeted.
    case ready
    /// A stream has a message of so many bytes.
    case message(HTTP2StreamID, since: NIODeadline, bytes: Int)
    /// The server ended a stream or the connection, and why.
    case ended(String)
  }

  private struct Stream {
    let since: NIODeadline
    var received = ByteBuffer()
  }

  private let tell: (WorkloadPeer, Event) -> Void
  private var context: ChannelHandlerContext?
  private var streams: [HTTP2StreamID: Stream] = [:]
  private var nextStream: HTTP2StreamID = 1
  private var unacknowledged = 0
  private var isClosing = false
  /// How many streams were opened.
  private(set) var opened = 0

  private static let request: HPACKHeaders = [
    ":method": "POST", ":scheme": "http", ":path": "/SpiffeWorkloadAPI/FetchX509SVID", ":authority": "localhost",
    "te": "trailers", "content-type": "application/grpc", "workload.spiffe.io": "true",
  ]

  private init(_ tell: @escaping (WorkloadPeer, Event) -> Void) { self.tell = tell }

  /// Connects.
  /// - Parameter tell: is told what happens, on the event loop.
  static func connect(
    _ socket: String, on loop: any EventLoop, _ tell: @escaping (WorkloadPeer, Event) -> Void
  ) -> EventLoopFuture<any Channel> {
    let tell = NIOLoopBound(tell, eventLoop: loop)
    return ClientBootstrap(group: loop).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandlers([NIOHTTP2Handler(mode: .client), WorkloadPeer(tell.value)])
      }
    }.connect(unixDomainSocketPath: socket)
  }

  /// Whether no stream is open.
  var isIdle: Bool { streams.isEmpty }

  /// Opens a stream; it goes out with the next flush.
  func open() {
    let stream = nextStream
    nextStream = stream.advanced(by: 2)
    opened += 1
    streams[stream] = Stream(since: .now())
    write(.headers(.init(headers: Self.request)), on: stream)
    // A gRPC message without content: neither compressed nor with any bytes.
    write(.data(.init(data: .byteBuffer(ByteBuffer(bytes: [0, 0, 0, 0, 0])), endStream: true)), on: stream)
  }

  /// Ends a stream as a client does that has heard enough.
  func cancel(_ stream: HTTP2StreamID) {
    streams[stream] = nil
    write(.rstStream(.cancel), on: stream)
  }

  func flush() { context?.flush() }

  /// Closes the connection, whatever is open on it.
  func close() {
    isClosing = true
    context?.close(promise: nil)
  }

  private func write(_ payload: HTTP2Frame.FramePayload, on stream: HTTP2StreamID) {
    context?.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: nil)
  }

  // MARK: - As a handler

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.payload {
    case .settings(.settings): tell(self, .ready)
    case .headers(let headers) where headers.endStream:
      // What belongs to a stream that was cancelled comes late.
      guard streams.removeValue(forKey: frame.streamID) != nil else { return }
      tell(self, .ended("a stream was ended: \(headers.headers.first(name: "grpc-message") ?? "no message")"))
    case .data(let data):
      guard case .byteBuffer(let buffer) = data.data else { return }
      receive(buffer, on: frame.streamID)
    case .rstStream(let code):
      if streams.removeValue(forKey: frame.streamID) != nil { tell(self, .ended("a stream was reset: \(code)")) }
    case .goAway(_, let code, _): tell(self, .ended("the server leaves: \(code)"))
    default: break
    }
  }

  private func receive(_ bytes: ByteBuffer, on id: HTTP2StreamID) {
    unacknowledged += bytes.readableBytes
    if unacknowledged > 16_384 {
      write(.windowUpdate(windowSizeIncrement: unacknowledged), on: .rootStream)
      unacknowledged = 0
    }
    streams[id]?.received.writeImmutableBuffer(bytes)
    while let stream = streams[id],
      let length = stream.received.getInteger(at: stream.received.readerIndex + 1, as: UInt32.self),
      stream.received.readableBytes >= 5 + Int(length)
    {
      let rest = stream.received.readableBytes - 5 - Int(length)
      streams[id]?.received = rest == 0 ? ByteBuffer() : ByteBuffer(stream.received.readableBytesView.suffix(rest))
      tell(self, .message(id, since: stream.since, bytes: Int(length)))
      if streams[id] != nil { write(.windowUpdate(windowSizeIncrement: 5 + Int(length)), on: id) }
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { tell(self, .ended("\(error)")) }

  func channelInactive(context: ChannelHandlerContext) {
    if !isClosing { tell(self, .ended("the server closed a connection")) }
  }
}
