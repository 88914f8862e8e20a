import SecretMemory

/// What sealing and opening a stream share: it cuts what comes in, in pieces of any size, into whole chunks and has them
/// transformed. It holds less than one chunk of its own.
struct ChunkCutter: ~Copyable, Sendable {
  private let key: ChunkedStreamKey
  private let direction: ChunkDirection
  private var failure: EnvelopeError?
  /// The number of the chunk that `pending` belongs to.
  var next: UInt64 = 0
  /// The beginning of a chunk.
  private(set) var pending: [UInt8] = []

  init(_ direction: ChunkDirection, key: ChunkedStreamKey) {
    self.key = key
    self.direction = direction
    pending.reserveCapacity(direction.inputByteCount)
  }

  /// Transforms every chunk that is whole now. When one fails, nothing is appended and every later call fails alike.
  mutating func update(_ input: RawSpan, appendingTo output: inout [UInt8]) throws(EnvelopeError) {
    try checkState()
    guard input.byteCount <= ChunkedEncryptor.maximumUpdateByteCount else {
      throw EnvelopeError(
        .tooLong, "one call takes at most \(ChunkedEncryptor.maximumUpdateByteCount) bytes, not \(input.byteCount)")
    }
    let size = direction.inputByteCount
    let whole = (pending.count + input.byteCount) / size
    // The last chunk, which is not whole, needs a number as well.
    guard next + UInt64(whole) < ChunkedStreamKey.chunkLimit else {
      throw fail(EnvelopeError(.tooLong, "a stream ends below 2^38 chunks (4 PiB): start another one"))
    }
    var rest = input
    if whole > 0 {
      if !pending.isEmpty { Self.append(Self.removeFirst(size - pending.count, of: &rest), to: &pending) }
      let held = pending.isEmpty ? 0 : 1
      let others = Self.removeFirst((whole - held) * size, of: &rest)
      guard transform(whole, inside: others, appending: whole * direction.outputByteCount, to: &output) else {
        throw fail(direction.refusal)
      }
      next += UInt64(whole)
      pending.removeAll(keepingCapacity: true)
    }
    Self.append(rest, to: &pending)
  }

  /// Transforms what is left as the last chunk.
  consuming func finish(appendingTo output: inout [UInt8]) throws(EnvelopeError) {
    try checkState()
    let count = pending.count + direction.outputByteCount - direction.inputByteCount
    // "Message chunking": the last chunk is there, and is shorter than the others; it may be nothing but its tag.
    guard count >= 0 else {
      throw EnvelopeError(.truncated, "the stream stops before its end: what was decrypted is not all; fetch it again")
    }
    guard transform(1, inside: RawSpan(), appending: count, to: &output) else { throw direction.refusal }
  }

  private func checkState() throws(EnvelopeError) {
    if let failure { throw failure }
  }

  private mutating func fail(_ error: EnvelopeError) -> EnvelopeError {
    failure = error
    pending = []
    return error
  }

  /// Has chunks transformed into new places at the end of `output`, which go away again, wiped, when one fails.
  ///
  /// - Parameters:
  ///   - chunks: the first is `pending` unless that is empty; the others lie in `input`, one behind the other.
  ///   - count: the bytes that they come to.
  private func transform(
    _ chunks: Int, inside input: RawSpan, appending count: Int, to output: inout [UInt8]
  ) -> Bool {
    var succeeded = false
    // One place too many, so that there is an address when the last chunk is empty.
    output.append(addingCapacity: count + 1) { room in
      unsafe room.withUnsafeMutableBufferPointer { buffer, initialized in
        guard let start = buffer.baseAddress else { return }
        succeeded = unsafe pending.withUnsafeBytes { first in
          unsafe input.withUnsafeBytes { others in
            unsafe ChunkBatch(
              key: key, direction: direction, first: next, count: chunks, held: first, others: others,
              output: UnsafeMutableRawPointer(start)
            ).run()
          }
        }
        if succeeded { initialized = count } else { unsafe wipe(UnsafeMutableRawBufferPointer(buffer)) }
      }
    }
    return succeeded
  }

  @_lifetime(copy span)
  private static func removeFirst(_ count: Int, of span: inout RawSpan) -> RawSpan {
    let first = span.extracting(first: count)
    span = span.extracting(droppingFirst: count)
    return first
  }

  private static func append(_ span: RawSpan, to bytes: inout [UInt8]) {
    unsafe span.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
  }
}
