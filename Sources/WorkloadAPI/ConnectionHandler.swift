import Glibc
import NIOCore
import NIOHPACK
import NIOHTTP2
import SecretMemory
import WorkloadAttestation

/// Stands first in a connection's pipeline, and ends it where it is one too many or its peer stays mute.
final class ConnectionHandler: ChannelInboundHandler {
  typealias InboundIn = Any

  /// The number and user that the connection was admitted with; nil where it was not.
  private let admitted: (number: UInt64, uid: UInt32)?
  private let connections: Connections
  private let patience: TimeAmount
  private var deadline: Scheduled<Void>?

  /// The value of ``Connections/header`` on this connection.
  let number: String

  /// - Parameter patience: how long the peer may take for its first RPC.
  init(admitted: (number: UInt64, uid: UInt32)?, connections: Connections, patience: TimeAmount) {
    self.admitted = admitted
    self.connections = connections
    self.patience = patience
    number = admitted.map { String($0.number) } ?? ""
  }

  func channelActive(context: ChannelHandlerContext) {
    if admitted == nil {
      context.close(promise: nil)
    } else {
      deadline = context.eventLoop.assumeIsolated().scheduleTask(in: patience) { context.close(promise: nil) }
    }
    context.fireChannelActive()
  }

  /// The peer has begun an RPC.
  func speaks() {
    deadline?.cancel()
    deadline = nil
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    speaks()
    if let admitted { connections.remove(admitted.number, uid: admitted.uid) }
  }

  /// Asks the kernel who connected, before anything is read.
  static func add(
    to channel: any Channel, connections: Connections, patience: TimeAmount
  ) -> EventLoopFuture<Void> {
    pin(channel).map { peer -> (number: UInt64, uid: UInt32)? in
      connections.admit(peer).map { ($0, peer.uid) }
    }.recover { _ in
      // The peer is gone, or out of sight: the handler closes the connection once it is active, which is when the
      // transport can bear it.
      nil
    }.flatMapThrowing { admitted in
      try channel.pipeline.syncOperations.addHandler(
        ConnectionHandler(admitted: admitted, connections: connections, patience: patience), position: .first)
    }
  }

  /// `struct ucred` of unix(7), which Glibc's module leaves out.
  private struct Credentials: Sendable {
    let pid: Int32
    let uid: UInt32
    let gid: UInt32
  }

  /// SO_PEERPIDFD of <asm-generic/socket.h>, since Linux 6.5; Debian 12's headers are older.
  private static let peerPIDFD: Int32 = 77

  private static func pin(_ channel: any Channel) -> EventLoopFuture<PeerProcess> {
    guard let socket = channel as? any SocketOptionProvider else {
      return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
    }
    let credentials: EventLoopFuture<Credentials> = socket.unsafeGetSocketOption(
      level: .socket, name: .init(rawValue: SO_PEERCRED))
    return credentials.flatMap { credentials in
      let descriptor: EventLoopFuture<Int32> = socket.unsafeGetSocketOption(
        level: .socket, name: .init(rawValue: peerPIDFD))
      return descriptor.map {
        PeerProcess(pidfd: $0, pid: credentials.pid, uid: credentials.uid, gid: credentials.gid)
      }
    }
  }
}

/// Stands first in a stream's pipeline: puts the connection's number in the request, refuses oversized metadata, ends
/// the stream when its reader stalls, and wipes what was sent.
final class StreamHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias InboundOut = HTTP2Frame.FramePayload
  typealias OutboundIn = HTTP2Frame.FramePayload
  typealias OutboundOut = HTTP2Frame.FramePayload

  private let number: String
  private let maximumMetadata: Int
  private let writeTimeout: TimeAmount
  private var deadline: Scheduled<Void>?

  init(number: String, maximumMetadata: Int, writeTimeout: TimeAmount) {
    self.number = number
    self.maximumMetadata = maximumMetadata
    self.writeTimeout = writeTimeout
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .headers(var frame) = unwrapInboundIn(data) else { return context.fireChannelRead(data) }
    // As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 section 6.5.2).
    guard frame.headers.reduce(0, { $0 + $1.name.utf8.count + $1.value.utf8.count + 32 }) <= maximumMetadata else {
      let trailers: HPACKHeaders = [
        ":status": "200", "content-type": "application/grpc", "grpc-status": "8",
        "grpc-message": "metadata_too_large: send at most \(maximumMetadata) bytes of metadata",
      ]
      context.write(wrapOutboundOut(.headers(.init(headers: trailers, endStream: true))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.rstStream(.noError)), promise: nil)
      return
    }
    frame.headers.replaceOrAdd(name: Connections.header, value: number)
    context.fireChannelRead(wrapInboundOut(.headers(frame)))
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    // A timer only where a reader is slow: ten thousand idle streams have none.
    if context.channel.isWritable {
      deadline?.cancel()
      deadline = nil
    } else if deadline == nil {
      deadline = context.eventLoop.assumeIsolated().scheduleTask(in: writeTimeout) { context.close(promise: nil) }
    }
    context.fireChannelWritabilityChanged()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    deadline?.cancel()
    deadline = nil
  }

  /// The transport keeps the buffer of the last message for as long as the stream is open, and there may be a private
  /// key in it: once it is sent, or cannot be, nobody reads it again, and it is wiped where it stands.
  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard case .data(let frame) = unwrapOutboundIn(data), case .byteBuffer(let buffer) = frame.data else {
      return context.write(data, promise: promise)
    }
    let sent = promise ?? context.eventLoop.makePromise()
    sent.futureResult.whenComplete { _ in
      unsafe buffer.withUnsafeReadableBytes { unsafe wipe(UnsafeMutableRawBufferPointer(mutating: $0)) }
    }
    context.write(data, promise: sent)
  }
}
