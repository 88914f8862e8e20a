/// An encrypted file: `TCENV1` and a line feed, the length of a header (4 bytes, big-endian), the header, and a stream of
/// ``ChunkedEncryptor``. The header is text of the caller's (which key, which version), readable without a key; opening
/// proves that neither it nor the caller's context was changed.
public enum EnvelopeFile {
  /// The first 7 bytes of a file.
  public static let magic = Array("TCENV1\n".utf8)
  /// The bytes that a header may have.
  public static let headerByteCounts = 1...8192
  /// The bytes that a context may have: there is no encryption without one.
  public static let contextByteCounts = 1...8192
  /// The most that stands in front of a file's chunks.
  public static let maximumPrefixByteCount =
    magic.count + 4 + headerByteCounts.upperBound + ChunkedEncryptor.headerByteCount

  /// What stands in front of a file's chunks, as it was read: nothing of it is authentic before
  /// ``decryptor(key:prefix:context:)`` took it.
  public struct UnverifiedPrefix: Hashable, Sendable {
    /// The caller's header.
    public let header: [UInt8]
    /// The stream's salt and commitment.
    public let streamHeader: [UInt8]
    /// How many of the bytes read belong to the prefix: the chunks start there.
    public let byteCount: Int
  }

  /// Starts a file.
  ///
  /// - Parameters:
  ///   - key: 32 bytes.
  ///   - header: 1 to 8192 bytes.
  ///   - context: 1 to 8192 bytes that opening must restate; they are not in the file.
  ///   - output: the prefix is appended to it.
  /// - Returns: what encrypts the file's content.
  /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``.
  public static func encryptor(
    key: RawSpan, header: [UInt8], context: [UInt8], appendingPrefixTo output: inout [UInt8]
  ) throws(EnvelopeError) -> ChunkedEncryptor {
    let encryptor = try ChunkedEncryptor(key: key, context: bind(header: header, context: context))
    output += magic
    output += bigEndian(header.count)
    output += header
    output += encryptor.header
    return encryptor
  }

  /// Reads the prefix at the beginning of a file.
  ///
  /// - Parameters:
  ///   - bytes: the file, or as much of it as was read so far; ``maximumPrefixByteCount`` bytes always suffice.
  ///   - isWhole: that the file has no more bytes.
  /// - Returns: nil while more bytes are needed.
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAnEnvelope``,
  ///   ``EnvelopeError/Code-swift.struct/unsupportedVersion``, ``EnvelopeError/Code-swift.struct/badLength``,
  ///   ``EnvelopeError/Code-swift.struct/truncated``.
  public static func prefix(of bytes: RawSpan, isWhole: Bool = false) throws(EnvelopeError) -> UnverifiedPrefix? {
    let start = unsafe bytes.extracting(first: maximumPrefixByteCount).withUnsafeBytes { unsafe Array($0) }
    try checkMagic(start.prefix(magic.count))
    var needed = magic.count + 4
    if start.count >= needed {
      let length = start[magic.count..<needed].reduce(0) { $0 << 8 | Int($1) }
      guard headerByteCounts.contains(length) else {
        throw EnvelopeError(.badLength, "a file's header has 1 to \(headerByteCounts.upperBound) bytes, not \(length)")
      }
      needed += length + ChunkedEncryptor.headerByteCount
    }
    guard start.count >= needed else {
      guard !isWhole else { throw EnvelopeError(.truncated, "the file stops inside its header: fetch it again") }
      return nil
    }
    let stream = needed - ChunkedEncryptor.headerByteCount
    return UnverifiedPrefix(
      header: Array(start[(magic.count + 4)..<stream]), streamHeader: Array(start[stream..<needed]), byteCount: needed)
  }

  /// Proves the prefix, and starts to decrypt the file.
  ///
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAuthentic`` for another key, context or header, and
  ///   ``EnvelopeError/Code-swift.struct/badLength``.
  public static func decryptor(
    key: RawSpan, prefix: UnverifiedPrefix, context: [UInt8]
  ) throws(EnvelopeError) -> ChunkedDecryptor {
    try ChunkedDecryptor(
      key: key, context: bind(header: prefix.header, context: context), header: prefix.streamHeader)
  }

  /// Header and context under a domain tag, each behind its length, as the context of the stream.
  private static func bind(header: [UInt8], context: [UInt8]) throws(EnvelopeError) -> [UInt8] {
    guard headerByteCounts.contains(header.count) else {
      throw EnvelopeError(.badLength, "a file's header has 1 to \(headerByteCounts.upperBound) bytes")
    }
    guard contextByteCounts.contains(context.count) else {
      throw EnvelopeError(
        .badLength, "a context has 1 to \(contextByteCounts.upperBound) bytes: name what is encrypted")
    }
    return Array("trustcore/envelope-file/v1\0".utf8) + bigEndian(header.count) + header + bigEndian(context.count)
      + context
  }

  private static func checkMagic(_ start: ArraySlice<UInt8>) throws(EnvelopeError) {
    guard !magic.starts(with: start) else { return }
    let version = 5
    if start.count == magic.count, start.prefix(version).elementsEqual(magic.prefix(version)), start.last == magic.last,
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(start[version])
    {
      throw EnvelopeError(.unsupportedVersion, "the file was made by another version of trustcore: update this one")
    }
    throw EnvelopeError(.notAnEnvelope, "the file was not encrypted by trustcore: it does not begin with TCENV1")
  }

  private static func bigEndian(_ count: Int) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
  }
}
