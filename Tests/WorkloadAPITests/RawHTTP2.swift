import Foundation
import NIOCore
import NIOHPACK

/// HTTP/2 by hand on a blocking unix socket, for what no decent client does.
final class RawHTTP2: @unchecked Sendable {
  let descriptor: Int32

  init?(_ path: String) {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: Array(path.utf8)) }
    let connected = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard connected == 0 else { return nil }
  }

  deinit { close(descriptor) }

  func send(_ bytes: [UInt8]) {
    _ = unsafe bytes.withUnsafeBytes {
      unsafe Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
    }
  }

  /// The next bytes; empty at the end.
  func receive(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      let got = unsafe bytes.withUnsafeMutableBytes {
        unsafe recv(descriptor, $0.baseAddress! + filled, count - filled, 0)
      }
      guard got > 0 else { return [] }
      filled += got
    }
    return bytes
  }

  static func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    let count = payload.count
    let head: [UInt8] = [
      UInt8(count >> 16), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF), type, flags, 0, 0, UInt8(stream >> 8),
      UInt8(stream & 0xFF),
    ]
    return head + payload
  }

  /// The connection's beginning (RFC 9113 section 3.4).
  func begin() { send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(4)) }

  /// What a call carries beside the headers that a caller adds.
  static func headers(_ path: String) -> [(String, String)] {
    [
      (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers"),
      ("content-type", "application/grpc"),
    ]
  }

  /// A call with an empty message.
  /// - Parameter isOpen: whether further messages may follow.
  func call(
    _ path: String, stream: UInt32 = 1, _ headers: [(String, String)] = [("workload.spiffe.io", "true")],
    isOpen: Bool = false
  ) {
    var block: [UInt8] = []
    for (name, value) in Self.headers(path) + headers {
      // Literal, never indexed, lengths in seven bits with continuation (RFC 7541 section 6.2.3).
      block.append(0x10)
      for text in [name, value] {
        if text.utf8.count < 127 {
          block.append(UInt8(text.utf8.count))
        } else {
          block.append(127)
          var rest = text.utf8.count - 127
          while rest >= 128 {
            block.append(UInt8(rest & 127) | 128)
            rest >>= 7
          }
          block.append(UInt8(rest))
        }
        block += text.utf8
      }
    }
    send(
      Self.frame(1, flags: 4, stream: stream, block)
        + Self.frame(0, flags: isOpen ? 0 : 1, stream: stream, [0, 0, 0, 0, 0]))
  }

  /// Cancels a call, with CANCEL.
  func cancel(stream: UInt32) { send(Self.frame(3, stream: stream, [0, 0, 0, 8])) }

  /// The answer's `grpc-status` and `grpc-message`, or "" at the connection's end.
  func status() -> (code: String, message: String) {
    var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
    while true {
      let head = receive(9)
      guard head.count == 9 else { return ("", "") }
      let payload = receive(Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2]))
      guard head[3] == 1, var block = Optional(ByteBuffer(bytes: payload)),
        let headers = try? decoder.decodeHeaders(from: &block), let code = headers.first(name: "grpc-status")
      else { continue }
      return (code, headers.first(name: "grpc-message") ?? "")
    }
  }

  /// The first settings that the server sends.
  func settings() -> [UInt16: UInt32] {
    let head = receive(9)
    let payload = receive(Int(head[1]) << 8 | Int(head[2]))
    var settings: [UInt16: UInt32] = [:]
    for at in stride(from: 0, to: payload.count, by: 6) {
      let number = UInt16(payload[at]) << 8 | UInt16(payload[at + 1])
      settings[number] = payload[(at + 2)..<(at + 6)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }
    return settings
  }

  /// Whether the server resets a stream; waits for it.
  var isReset: Bool {
    while true {
      let head = receive(9)
      guard head.count == 9 else { return false }
      if head[3] == 3 { return true }
      _ = receive(Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2]))
    }
  }

  /// Whether the server ends the connection; waits for it.
  var ends: Bool {
    while true { if receive(1).isEmpty { return true } }
  }
}

/// Runs what blocks on a thread of its own: the few threads of the concurrency pool are the server's too.
func blocking<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
  await withCheckedContinuation { continuation in Thread { continuation.resume(returning: body()) }.start() }
}
