import SecretMemory

/// Encrypts a stream of up to 4 PiB by c2sp.org/chunked-encryption@v1 with SHA-512 and AES-256-GCM (Cobblestone-256):
/// chunks of 16 KiB and a last one that is always shorter, each sealed under its number. Whoever holds the key can tell
/// that chunks were changed, moved, repeated, left out or added.
///
/// The sealed stream is ``header``, then what ``update(_:appendingTo:)`` appended, then what ``finish(appendingTo:)``
/// did. Memory is bounded by what one call is given. The stream's key is in ordinary memory while the stream lives.
public struct ChunkedEncryptor: ~Copyable, Sendable {
  /// The bytes of a chunk before it is sealed.
  public static let chunkByteCount = 16384
  /// The bytes of a chunk after it was sealed: 16 more, the tag.
  public static let sealedChunkByteCount = chunkByteCount + ChunkedStreamKey.tagByteCount
  /// The salt (24 bytes) and the commitment to the key (32 bytes) in front of the chunks.
  public static let headerByteCount = ChunkedStreamKey.saltByteCount + ChunkedStreamKey.commitmentByteCount
  /// What one call is best given: 64 chunks, enough for two threads and little enough for the processor's cache.
  public static let batchByteCount = 64 * chunkByteCount
  /// The most that one call takes, so that input and output stay below 8 MiB together.
  public static let maximumUpdateByteCount = 3 << 20

  /// What stands in front of the chunks: salt ‖ commitment, 56 bytes.
  public let header: [UInt8]
  var cutter: ChunkCutter

  /// Starts a stream with a salt from the system's generator.
  ///
  /// - Parameters:
  ///   - key: 32 bytes, uniformly random. It may encrypt many streams (2^45 of 1 GiB).
  ///   - context: bytes that opening must restate; they are bound to the key of the stream.
  /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``.
  public init(key: RawSpan, context: [UInt8]) throws(EnvelopeError) {
    var generator = SystemRandomNumberGenerator()
    try self.init(key: key, context: context, using: &generator)
  }

  /// Starts a stream with a salt from `generator`, which must be cryptographically secure: a salt that comes twice with
  /// one key and context seals two streams with the same nonces.
  ///
  /// - Throws: As ``init(key:context:)``.
  public init(
    key: RawSpan, context: [UInt8], using generator: inout some RandomNumberGenerator
  ) throws(EnvelopeError) {
    var salt: [UInt8] = []
    while salt.count < ChunkedStreamKey.saltByteCount { salt.append(generator.next()) }
    let streamKey = try ChunkedStreamKey(key: key, salt: salt, context: context)
    header = salt + streamKey.commitment
    cutter = ChunkCutter(.seal, key: streamKey)
  }

  /// Seals every chunk that `plaintext` completes; the rest waits for the next call.
  ///
  /// - Parameters:
  ///   - plaintext: 0 to ``maximumUpdateByteCount`` bytes.
  ///   - output: is appended to; empty it with `removeAll(keepingCapacity: true)` and no call allocates a buffer.
  /// - Throws: ``EnvelopeError/Code-swift.struct/tooLong``.
  public mutating func update(_ plaintext: RawSpan, appendingTo output: inout [UInt8]) throws(EnvelopeError) {
    try cutter.update(plaintext, appendingTo: &output)
  }

  /// Seals the last chunk, which says that the stream ends here.
  ///
  /// - Throws: As ``update(_:appendingTo:)``.
  public consuming func finish(appendingTo output: inout [UInt8]) throws(EnvelopeError) {
    try cutter.finish(appendingTo: &output)
  }
}

/// Decrypts what ``ChunkedEncryptor`` made. It gives out whole chunks that are authentic at their place, and nothing of a
/// call in which one is not; from then on it only fails. **Only `finish` tells that the stream was not cut short:** what
/// came before it is a beginning.
public struct ChunkedDecryptor: ~Copyable, Sendable {
  var cutter: ChunkCutter

  /// Checks the commitment.
  ///
  /// - Parameters:
  ///   - key: 32 bytes.
  ///   - context: as the stream was encrypted with.
  ///   - header: the first ``ChunkedEncryptor/headerByteCount`` bytes of the stream; all that follows goes to
  ///     ``update(_:appendingTo:)``.
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAuthentic`` for another key, context or header,
  ///   ``EnvelopeError/Code-swift.struct/truncated`` for a header that is too short,
  ///   ``EnvelopeError/Code-swift.struct/badLength`` for one that is too long and for a key of another length.
  public init(key: RawSpan, context: [UInt8], header: [UInt8]) throws(EnvelopeError) {
    guard header.count >= ChunkedEncryptor.headerByteCount else {
      throw EnvelopeError(.truncated, "the stream stops before its first chunk: fetch it again")
    }
    guard header.count == ChunkedEncryptor.headerByteCount else {
      throw EnvelopeError(.badLength, "a stream's header has \(ChunkedEncryptor.headerByteCount) bytes")
    }
    let salt = Array(header[..<ChunkedStreamKey.saltByteCount])
    let streamKey = try ChunkedStreamKey(key: key, salt: salt, context: context)
    let commitment = Array(header[ChunkedStreamKey.saltByteCount...])
    guard unsafe constantTimeEqual(commitment.span.bytes, streamKey.commitment.span.bytes) else {
      throw EnvelopeError(.notAuthentic, "the stream was encrypted with another key or context, or its header changed")
    }
    cutter = ChunkCutter(.open, key: streamKey)
  }

  /// Opens every chunk that `sealed` completes; the rest waits for the next call.
  ///
  /// - Parameters:
  ///   - sealed: 0 to ``ChunkedEncryptor/maximumUpdateByteCount`` bytes.
  ///   - output: is appended to, unless the call throws.
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAuthentic``, ``EnvelopeError/Code-swift.struct/tooLong``.
  public mutating func update(_ sealed: RawSpan, appendingTo output: inout [UInt8]) throws(EnvelopeError) {
    try cutter.update(sealed, appendingTo: &output)
  }

  /// Opens the last chunk, which proves that the stream is whole.
  ///
  /// - Throws: ``EnvelopeError/Code-swift.struct/truncated``, ``EnvelopeError/Code-swift.struct/notAuthentic``.
  public consuming func finish(appendingTo output: inout [UInt8]) throws(EnvelopeError) {
    try cutter.finish(appendingTo: &output)
  }
}
