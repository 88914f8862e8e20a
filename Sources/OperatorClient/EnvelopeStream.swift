import Envelope
public import SecretMemory

/// Encrypts from one descriptor to another, in memory that does not grow with the file: 1 MiB is read at a time.
public enum EnvelopeStream {
  /// Encrypts to the end of the input.
  /// - Parameters:
  ///   - key: the data key, 32 bytes.
  ///   - header: goes in front, readable, and is authenticated.
  ///   - context: must be given again to decrypt; it is not in the file.
  ///   - progress: takes the number of bytes read so far, after each MiB.
  /// - Returns: how many bytes were encrypted.
  public static func encrypt(
    _ input: Descriptor, to output: Descriptor, key: borrowing SecretBytes, header: EnvelopeHeader,
    context: FileContext, progress: (UInt64) -> Void = { _ in }
  ) throws(OperatorError) -> UInt64 {
    var buffer = [UInt8](repeating: 0, count: ChunkedEncryptor.batchByteCount)
    var sealed: [UInt8] = []
    sealed.reserveCapacity(
      buffer.count / ChunkedEncryptor.chunkByteCount * ChunkedEncryptor.sealedChunkByteCount + 16384)
    var encryptor: ChunkedEncryptor
    do {
      encryptor = try EnvelopeFile.encryptor(
        key: key.bytes, header: header.canonical, context: context.canonical, appendingPrefixTo: &sealed)
    } catch { throw OperatorError(error) }
    var done: UInt64 = 0
    while true {
      let count = try input.read(into: &buffer)
      do { try unsafe encryptor.update(buffer.span.extracting(first: count).bytes, appendingTo: &sealed) } catch {
        throw OperatorError(error)
      }
      try output.write(sealed.span)
      sealed.removeAll(keepingCapacity: true)
      done += UInt64(count)
      progress(done)
      if count < buffer.count { break }
    }
    do { try encryptor.finish(appendingTo: &sealed) } catch { throw OperatorError(error) }
    try output.write(sealed.span)
    return done
  }
}

/// An encrypted file of which the header was read, and nothing is known to be true.
public struct UnverifiedEnvelope: ~Copyable {
  /// Which keys open it.
  public let header: EnvelopeHeader
  private let input: Descriptor
  private let prefix: EnvelopeFile.UnverifiedPrefix
  private var buffer: [UInt8]
  private var filled: Int

  /// Reads the header.
  /// - Throws: ``OperatorError/Code-swift.struct/notEnvelope``, ``OperatorError/Code-swift.struct/tooNew``,
  ///   ``OperatorError/Code-swift.struct/truncated`` or ``OperatorError/Code-swift.struct/malformed``.
  public init(_ input: Descriptor) throws(OperatorError) {
    var buffer = [UInt8](repeating: 0, count: EnvelopeFile.maximumPrefixByteCount)
    let filled = try input.read(into: &buffer)
    let prefix: EnvelopeFile.UnverifiedPrefix?
    do {
      prefix = try unsafe EnvelopeFile.prefix(
        of: buffer.span.extracting(first: filled).bytes, isWhole: filled < buffer.count)
    } catch { throw OperatorError(error) }
    guard let prefix else { throw OperatorError(.malformed, "The file's header cannot be read: it was changed.") }
    header = try EnvelopeHeader(prefix.header)
    self.input = input
    self.prefix = prefix
    self.buffer = buffer
    self.filled = filled
  }

  /// Decrypts to the end of the input. What is written is authentic; whether it is all shows at the end.
  /// - Parameters:
  ///   - output: where the plaintext goes.
  ///   - key: the data key, 32 bytes.
  ///   - context: as it was encrypted with.
  ///   - progress: takes the number of bytes read so far, after each MiB.
  /// - Returns: how many bytes were written.
  /// - Throws: ``OperatorError/Code-swift.struct/notAuthentic`` or ``OperatorError/Code-swift.struct/truncated``; what
  ///   was written by then is a beginning.
  public consuming func decrypt(
    to output: Descriptor, key: borrowing SecretBytes, context: FileContext, progress: (UInt64) -> Void = { _ in }
  ) throws(OperatorError) -> UInt64 {
    var decryptor: ChunkedDecryptor
    do {
      decryptor = try EnvelopeFile.decryptor(key: key.bytes, prefix: prefix, context: context.canonical)
    } catch { throw OperatorError(error) }
    var opened: [UInt8] = []
    opened.reserveCapacity(ChunkedEncryptor.batchByteCount + ChunkedEncryptor.chunkByteCount)
    var (start, count, isLast) = (prefix.byteCount, filled, filled < buffer.count)
    var (read, written): (UInt64, UInt64) = (UInt64(filled), 0)
    // The first round takes what came with the header; from then on each takes 64 sealed chunks.
    while true {
      do { try unsafe decryptor.update(buffer.span.extracting(start..<count).bytes, appendingTo: &opened) } catch {
        throw Self.refusal(error, after: written)
      }
      try output.write(opened.span)
      written += UInt64(opened.count)
      opened.removeAll(keepingCapacity: true)
      progress(read)
      if isLast { break }
      let size = ChunkedEncryptor.batchByteCount / ChunkedEncryptor.chunkByteCount
      if buffer.count != size * ChunkedEncryptor.sealedChunkByteCount {
        buffer = [UInt8](repeating: 0, count: size * ChunkedEncryptor.sealedChunkByteCount)
      }
      (start, count) = (0, try input.read(into: &buffer))
      isLast = count < buffer.count
      read += UInt64(count)
    }
    do { try decryptor.finish(appendingTo: &opened) } catch { throw Self.refusal(error, after: written) }
    try output.write(opened.span)
    return written + UInt64(opened.count)
  }

  private static func refusal(_ error: EnvelopeError, after written: UInt64) -> OperatorError {
    switch error.code {
    case .notAuthentic:
      OperatorError(
        .notAuthentic,
        "The file was changed, or cut short, after the first \(Wording.count(written, "byte")): fetch it again.")
    case .truncated:
      OperatorError(
        .truncated,
        "The file ends too early; only its first \(Wording.count(written, "byte")) are here: fetch it again.")
    default: OperatorError(error)
    }
  }
}
