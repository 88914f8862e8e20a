import AgentIdentity
import DemoClient
import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import NIOTLS

/// A closed loop of prepared requests over TLS 1.3, as lean as it gets, since it shares the machine with the server:
/// one thread, requests encoded before the clock starts, answers read for status and length alone.
struct LoadGenerator {
  /// How requests travel.
  enum Version: Sendable {
    case http1
    case http2

    var protocolName: String { self == .http1 ? "http/1.1" : "h2" }
  }

  /// What a run gave.
  struct Result: Sendable {
    /// Answers in the time measured.
    var count = 0
    /// From the first request to the last answer.
    var seconds = 0.0
    /// What each took, in milliseconds, sorted.
    var latencies: [Double] = []

    var rate: Double { Double(count) / seconds }

    /// The latency that so many in a hundred do not exceed.
    func percentile(_ percent: Double) -> Double {
      latencies.isEmpty ? .nan : latencies[min(latencies.count - 1, Int(Double(latencies.count) * percent / 100))]
    }
  }

  let host = "localhost"
  let port: Int
  let authority: String
  let version: Version
  let connections: Int
  /// How many requests each connection has under way.
  let inFlight: Int

  /// Connects, sends `requests` in order until they or the time run out, and closes.
  /// - Parameters:
  ///   - status: what every answer must have.
  ///   - ready: runs once all connections are open, before the clock starts.
  /// - Throws: where an answer has another status, or a connection closes.
  func run(
    _ requests: [OutgoingRequest], repeating: Bool = false, expecting status: Int, for duration: Double,
    ready: () async throws -> Void = {}
  ) async throws -> Result {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      let result = try await run(requests, repeating, status, duration, ready, on: group.next())
      try await group.shutdownGracefully()
      return result
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private func run(
    _ requests: [OutgoingRequest], _ repeating: Bool, _ status: Int, _ duration: Double,
    _ ready: () async throws -> Void, on loop: any EventLoop
  ) async throws -> Result {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authority))
    tls.minimumTLSVersion = .tlsv13
    tls.applicationProtocols = [version.protocolName]
    let context = try NIOSSLContext(configuration: tls)
    let (version, inFlight, host) = (version, inFlight, "\(host):\(port)")
    let hostName = self.host
    let finished = loop.makePromise(of: Result.self)
    let run = try await loop.submit {
      NIOLoopBound(
        LoadRun(
          requests.map { EncodedRequest($0, version, host: host) }, repeating: repeating, status: status,
          duration: .nanoseconds(Int64(duration * 1e9)), finished: finished),
        eventLoop: loop)
    }.get()
    let bootstrap = ClientBootstrap(group: loop)
      .channelOption(ChannelOptions.socketOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: hostName))
          switch version {
          case .http1: try pipeline.addHandler(HTTP1Load(run.value, inFlight: inFlight))
          case .http2:
            try pipeline.addHandler(NIOHTTP2Handler(mode: .client))
            try pipeline.addHandler(HTTP2Load(run.value, inFlight: inFlight))
          }
        }
      }
    var channels: [any Channel] = []
    for _ in 0..<connections { channels.append(try await bootstrap.connect(host: "127.0.0.1", port: port).get()) }
    let expected = connections
    while try await loop.submit({ run.value.connections.count }).get() < expected {
      try await Task.sleep(for: .milliseconds(5))
    }
    try await ready()
    try await loop.submit { run.value.start() }.get()
    let result = try await finished.futureResult.get()
    for channel in channels { try? await channel.close() }
    return result
  }
}

/// A request as it goes onto the wire.
struct EncodedRequest {
  /// HTTP/1.1: the whole request. HTTP/2: the body.
  let bytes: ByteBuffer
  /// HTTP/2's header block.
  var headers = HPACKHeaders()

  init(_ request: OutgoingRequest, _ version: LoadGenerator.Version, host: String) {
    switch version {
    case .http1:
      var text = "\(request.method) \(request.path) HTTP/1.1\r\nHost: \(host)\r\n"
      for field in request.headers { text += "\(field.name): \(field.value)\r\n" }
      if request.method == "POST" { text += "Content-Length: \(request.body.count)\r\n" }
      var buffer = ByteBuffer(string: text + "\r\n")
      buffer.writeBytes(request.body)
      bytes = buffer
    case .http2:
      headers.add(name: ":method", value: request.method)
      headers.add(name: ":scheme", value: "https")
      headers.add(name: ":authority", value: host)
      headers.add(name: ":path", value: request.path)
      // What differs in every request would only wear out the table of headers.
      for field in request.headers {
        headers.add(name: field.name.lowercased(), value: field.value, indexing: .nonIndexable)
      }
      bytes = ByteBuffer(bytes: request.body)
    }
  }
}

/// One connection of a run.
protocol LoadConnection: AnyObject {
  /// Sends the first requests.
  func begin()
}

/// The state that the connections of a run share, on their one event loop.
final class LoadRun {
  private let requests: [EncodedRequest]
  private let repeating: Bool
  private let status: Int
  private let duration: TimeAmount
  private let finished: EventLoopPromise<LoadGenerator.Result>
  private(set) var connections: [any LoadConnection] = []
  private var next = 0
  private var started = NIODeadline.uptimeNanoseconds(0)
  private var underWay = 0
  private var latencies: [Double] = []
  private var isDone = false

  init(
    _ requests: [EncodedRequest], repeating: Bool, status: Int, duration: TimeAmount,
    finished: EventLoopPromise<LoadGenerator.Result>
  ) {
    self.requests = requests
    self.repeating = repeating
    self.status = status
    self.duration = duration
    self.finished = finished
    latencies.reserveCapacity(1 << 19)
  }

  func connected(_ connection: any LoadConnection) { connections.append(connection) }

  func start() {
    started = .now()
    for connection in connections { connection.begin() }
  }

  /// The next request; nil once they or the time have run out.
  func take(at now: NIODeadline) -> EncodedRequest? {
    if next == requests.count, repeating { next = 0 }
    guard !isDone, next < requests.count, now - started < duration else { return nil }
    next += 1
    underWay += 1
    return requests[next - 1]
  }

  func answered(_ status: Int, sent: NIODeadline, at now: NIODeadline, _ body: () -> String) {
    guard status == self.status else { return failed(BenchmarkError("an answer was \(status): \(body())")) }
    latencies.append(Double((now - sent).nanoseconds) * 1e-6)
    underWay -= 1
  }

  /// To be called once the answered request's successor was asked for.
  func finishIfIdle(at now: NIODeadline) {
    guard underWay == 0, !isDone else { return }
    isDone = true
    finished.succeed(
      LoadGenerator.Result(
        count: latencies.count, seconds: Double((now - started).nanoseconds) * 1e-9, latencies: latencies.sorted()))
  }

  func failed(_ error: any Error) {
    guard !isDone else { return }
    isDone = true
    finished.fail(error)
  }
}

/// HTTP/1.1 with keep-alive; with more than one request under way, pipelining.
private final class HTTP1Load: ChannelInboundHandler, LoadConnection {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let run: LoadRun
  private let inFlight: Int
  private var context: ChannelHandlerContext?
  private var received = ByteBuffer()
  private var sent = CircularBuffer<NIODeadline>()

  init(_ run: LoadRun, inFlight: Int) {
    self.run = run
    self.inFlight = inFlight
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted = event as? TLSUserEvent { run.connected(self) }
    context.fireUserInboundEventTriggered(event)
  }

  func begin() {
    for _ in 0..<inFlight { send(at: .now()) }
    context?.flush()
  }

  private func send(at now: NIODeadline) {
    guard let context, let request = run.take(at: now) else { return }
    sent.append(now)
    context.write(wrapOutboundOut(request.bytes), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var buffer = unwrapInboundIn(data)
    if received.readableBytes == 0 { received = buffer } else { received.writeBuffer(&buffer) }
    let now = NIODeadline.now()
    while let (status, head, length) = Self.response(received), received.readableBytes >= head + length {
      let body = received.getSlice(at: received.readerIndex + head, length: length)
      received.moveReaderIndex(forwardBy: head + length)
      guard let since = sent.popFirst() else { return run.failed(BenchmarkError("an answer that was not asked for")) }
      run.answered(status, sent: since, at: now) { body.map { String(buffer: $0) } ?? "" }
      send(at: now)
    }
    run.finishIfIdle(at: now)
  }

  func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { run.failed(error) }

  func channelInactive(context: ChannelHandlerContext) {
    run.failed(BenchmarkError("the server closed a connection"))
  }

  /// Status, length of the head and of the body of the response at the buffer's start.
  private static func response(_ buffer: ByteBuffer) -> (status: Int, head: Int, body: Int)? {
    let view = buffer.readableBytesView
    guard view.count > 12, let end = view.firstRange(of: "\r\n\r\n".utf8) else { return nil }
    let head = view[..<end.lowerBound]
    let status = head.dropFirst(9).prefix(3).reduce(0) { $0 * 10 + Int($1) - 48 }
    var length = 0
    for line in head.split(separator: UInt8(ascii: "\n")) {
      guard line.count > 16, line.prefix(15).elementsEqual("content-length:".utf8, by: { $0 | 0x20 == $1 | 0x20 })
      else { continue }
      length = line.dropFirst(15).reduce(0) { (0x30...0x39).contains($1) ? $0 * 10 + Int($1) - 48 : $0 }
    }
    return (status, end.upperBound - view.startIndex, length)
  }
}

/// HTTP/2, with one stream for each request under way.
private final class HTTP2Load: ChannelInboundHandler, LoadConnection {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  private struct Stream {
    let sent: NIODeadline
    var status = 0
    var body = ByteBuffer()
  }

  private let run: LoadRun
  private let inFlight: Int
  private var context: ChannelHandlerContext?
  private var streams: [HTTP2StreamID: Stream] = [:]
  private var nextStream: HTTP2StreamID = 1
  private var unacknowledged = 0

  init(_ run: LoadRun, inFlight: Int) {
    self.run = run
    self.inFlight = inFlight
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func begin() {
    for _ in 0..<inFlight { send(at: .now()) }
    context?.flush()
  }

  private func send(at now: NIODeadline) {
    guard let context, let request = run.take(at: now) else { return }
    let stream = nextStream
    nextStream = stream.advanced(by: 2)
    streams[stream] = Stream(sent: now)
    let hasBody = request.bytes.readableBytes > 0
    write(.headers(.init(headers: request.headers, endStream: !hasBody)), on: stream, context)
    if hasBody { write(.data(.init(data: .byteBuffer(request.bytes), endStream: true)), on: stream, context) }
  }

  private func write(_ payload: HTTP2Frame.FramePayload, on stream: HTTP2StreamID, _ context: ChannelHandlerContext) {
    context.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.payload {
    case .settings(.settings): run.connected(self)
    case .headers(let headers):
      streams[frame.streamID]?.status = headers.headers.first(name: ":status").flatMap { Int($0) } ?? 0
      if headers.endStream { end(frame.streamID) }
    case .data(let data):
      if case .byteBuffer(var buffer) = data.data {
        unacknowledged += buffer.readableBytes
        streams[frame.streamID]?.body.writeBuffer(&buffer)
      }
      if unacknowledged > 16_384 {
        write(.windowUpdate(windowSizeIncrement: unacknowledged), on: .rootStream, context)
        unacknowledged = 0
      }
      if data.endStream { end(frame.streamID) }
    case .rstStream, .goAway: run.failed(BenchmarkError("the server ended a stream or the connection"))
    default: break
    }
  }

  private func end(_ id: HTTP2StreamID) {
    guard let stream = streams.removeValue(forKey: id) else { return }
    let now = NIODeadline.now()
    run.answered(stream.status, sent: stream.sent, at: now) { String(buffer: stream.body) }
    send(at: now)
    run.finishIfIdle(at: now)
  }

  func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { run.failed(error) }

  func channelInactive(context: ChannelHandlerContext) {
    run.failed(BenchmarkError("the server closed a connection"))
  }
}
