import GRPCCore
import SwiftProtobuf
import WorkloadIdentity

/// Serialises a message that is laid out already, and copies its keys from locked memory straight into what is sent.
struct OutgoingSerializer: MessageSerializer {
  func serialize<Bytes: GRPCContiguousBytes>(_ message: OutgoingMessage) -> Bytes {
    var bytes = Bytes(message.bytes)
    for (offset, key) in message.keys {
      unsafe bytes.withUnsafeMutableBytes { target in
        key.withBytes { key in
          unsafe key.withUnsafeBytes { key in
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + key.count])
              .copyMemory(from: key)
          }
        }
      }
    }
    return bytes
  }
}

/// Serialises generated messages.
struct ProtobufSerializer<Message: SwiftProtobuf.Message>: MessageSerializer {
  func serialize<Bytes: GRPCContiguousBytes>(_ message: Message) throws -> Bytes {
    Bytes(try message.serializedBytes() as [UInt8])
  }
}

/// Reads generated messages.
struct ProtobufDeserializer<Message: SwiftProtobuf.Message>: MessageDeserializer {
  /// The most bytes of a message. The transport has a greater limit of its own, at which it drops the stream wordlessly.
  var maximum = WorkloadAPIServer.maximumMessageBytes

  func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Message {
    guard bytes.count > 0 else { return Message() }
    guard bytes.count <= maximum else {
      throw RPCError(code: .resourceExhausted, message: "message_too_large: send at most \(maximum) bytes")
    }
    var options = BinaryDecodingOptions()
    // Envoy describes itself at length; nobody here reads it.
    options.discardUnknownFields = true
    do {
      return try Message(serializedBytes: unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }, options: options)
    } catch {
      throw RPCError(code: .invalidArgument, message: "request_malformed: this is no \(Message.protoMessageName)")
    }
  }
}
