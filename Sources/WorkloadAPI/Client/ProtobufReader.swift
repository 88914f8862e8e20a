/// Reads the fields of a message of Protocol Buffers where they stand, so that a key in it is copied once, to locked
/// memory, and not into a generated message.
struct ProtobufReader: ~Escapable {
  /// A length-delimited field.
  struct Field: ~Escapable {
    let number: UInt64
    let content: RawSpan

    @_lifetime(copy content)
    init(number: UInt64, content: RawSpan) {
      self.number = number
      self.content = content
    }

    /// The content as bytes.
    var bytes: [UInt8] { unsafe content.withUnsafeBytes { unsafe [UInt8]($0) } }
    /// The content as text.
    var text: String { String(decoding: bytes, as: UTF8.self) }
  }

  private let message: RawSpan
  private var position = 0

  @_lifetime(copy message)
  init(_ message: RawSpan) { self.message = message }

  /// The next length-delimited field; others are skipped, as is the custom with unknown ones.
  @_lifetime(copy self)
  mutating func next() throws(WorkloadAPIError) -> Field? {
    while position < message.byteCount {
      let tag = try varint()
      switch tag & 7 {
      case 0: _ = try varint()
      case 1: try skip(8)
      case 5: try skip(4)
      case 2:
        let start = position
        let count = try varint()
        let begin = position
        guard begin > start, count <= UInt64(message.byteCount - begin) else { throw Self.malformed }
        position += Int(count)
        return Field(number: tag >> 3, content: message.extracting(begin..<position))
      default: throw Self.malformed
      }
    }
    return nil
  }

  private static var malformed: WorkloadAPIError {
    WorkloadAPIError(.answer, "the daemon's answer is malformed: is this the Workload API's socket?")
  }

  @_lifetime(self: copy self)
  private mutating func skip(_ count: Int) throws(WorkloadAPIError) {
    guard count <= message.byteCount - position else { throw Self.malformed }
    position += count
  }

  @_lifetime(self: copy self)
  private mutating func varint() throws(WorkloadAPIError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 63, by: 7) {
      guard position < message.byteCount else { throw Self.malformed }
      let byte = unsafe message.unsafeLoad(fromByteOffset: position, as: UInt8.self)
      position += 1
      value |= UInt64(byte & 0x7F) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    throw Self.malformed
  }
}
