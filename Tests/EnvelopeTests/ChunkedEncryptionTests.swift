import SecretMemory
import TestSupport
import Testing

@testable import Envelope

/// SplitMix64 as Swift's generators are asked: the salts of these tests.
struct SeededGenerator: RandomNumberGenerator {
  let random: SeededRandom
  init(_ seed: UInt64) { random = SeededRandom(seed) }
  mutating func next() -> UInt64 { random.next() }
}

@Suite("Chunked encryption")
struct ChunkedEncryptionTests {
  static let chunk = ChunkedEncryptor.chunkByteCount
  static let sealedChunk = ChunkedEncryptor.sealedChunkByteCount
  static let header = ChunkedEncryptor.headerByteCount
  static let key = SeededRandom(1).bytes(32)
  static let context = Array("context".utf8)

  /// Encrypts a message that comes in pieces of the given lengths, over and over.
  static func seal(_ message: [UInt8], pieces: [Int] = [1 << 20], seed: UInt64 = 1) throws -> [UInt8] {
    var generator = SeededGenerator(seed)
    var encryptor = try unsafe ChunkedEncryptor(key: key.span.bytes, context: context, using: &generator)
    var output = encryptor.header
    for piece in cut(message, pieces) { try encryptor.update(unsafe piece.span.bytes, appendingTo: &output) }
    try encryptor.finish(appendingTo: &output)
    return output
  }

  /// Decrypts a stream; `released` receives what came out, also before an error.
  static func open(
    _ sealed: [UInt8], pieces: [Int] = [1 << 20], key: [UInt8] = key, context: [UInt8] = context,
    released: inout [UInt8]
  ) throws(EnvelopeError) {
    var decryptor = try unsafe ChunkedDecryptor(
      key: key.span.bytes, context: context, header: Array(sealed.prefix(header)))
    for piece in cut(Array(sealed.dropFirst(header)), pieces) {
      try decryptor.update(unsafe piece.span.bytes, appendingTo: &released)
    }
    try decryptor.finish(appendingTo: &released)
  }

  static func open(_ sealed: [UInt8], pieces: [Int] = [1 << 20]) throws -> [UInt8] {
    var output: [UInt8] = []
    try open(sealed, pieces: pieces, released: &output)
    return output
  }

  private static func cut(_ bytes: [UInt8], _ lengths: [Int]) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var start = 0
    while start < bytes.count {
      let end = min(start + lengths[pieces.count % lengths.count], bytes.count)
      pieces.append(Array(bytes[start..<end]))
      start = end
    }
    return pieces
  }

  /// Refused for a reason that tampering has, after nothing but a beginning of the message.
  static func isRefused(
    _ sealed: [UInt8], pieces: [Int] = [1 << 20], message: [UInt8], key: [UInt8] = key, context: [UInt8] = context
  ) -> Bool {
    var released: [UInt8] = []
    do throws(EnvelopeError) {
      try open(sealed, pieces: pieces, key: key, context: context, released: &released)
      return false
    } catch {
      return [.notAuthentic, .truncated].contains(error.code) && released.count % chunk == 0
        && message.starts(with: released)
    }
  }

  @Test("Wycheproof", .enabled(if: Vectors.has("wycheproof"))) func wycheproof() throws {
    var tally = Tally("wycheproof c2sp_chunked_encryption_aes_256_gcm")
    for test in try WycheproofCase.all(in: "c2sp_chunked_encryption_aes_256_gcm_test") {
      let sealed = try inflate(test.bytes("ct"), limit: 5 << 20)
      let (key, context) = try (test.bytes("key"), test.bytes("ctx"))
      // Once in large pieces, and once in single chunks, so that every authentic chunk before an error comes out.
      for piece in [1 << 20, Self.sealedChunk] {
        var released: [UInt8] = []
        var failure: EnvelopeError?
        do throws(EnvelopeError) {
          try Self.open(sealed, pieces: [piece], key: key, context: context, released: &released)
        } catch { failure = error }
        let expected = try test.test["msgLength"] == nil ? 0 : test.number("msgLength")
        let isWhole = released.count == expected || (!test.isValid && piece > Self.sealedChunk)
        let digest = SHA512Hex.of(Array(released))
        let hasDigest = !test.isValid || test.test["msgSha512"] as? String == digest
        tally.expect((failure == nil) == test.isValid && isWhole && hasDigest, "\(test.label) \(failure as Any)")
      }
    }
    tally.report()
  }

  @Test("Round trip at the chunks' edges, in pieces of any size")
  func roundTrip() throws {
    let random = SeededRandom(2)
    for base in [0, 1, 2, 3, 4, 5, 64, 65] {
      for offset in [-1, 0, 1] where base * Self.chunk + offset >= 0 {
        let message = random.bytes(base * Self.chunk + offset)
        let sealed = try Self.seal(message)
        #expect(sealed.count == Self.header + message.count + 16 * (message.count / Self.chunk + 1))
        for pieces in [[1], [16_383, 2], [Self.chunk], [Self.sealedChunk], [40_000, 7, 100_000], [1 << 21]]
        where base < 6 || pieces[0] > 1000 {
          guard pieces != [1] || base < 2 else { continue }
          #expect(try Self.seal(message, pieces: pieces) == sealed, "\(message.count) in \(pieces)")
          #expect(try Self.open(sealed, pieces: pieces) == message, "\(message.count) in \(pieces)")
        }
      }
    }
  }

  @Test("Pieces at random") func pieces() throws {
    let random = SeededRandom(3)
    for _ in 0..<40 {
      let message = random.bytes(random.below(300_000))
      let lengths = (0..<5).map { _ in 1 + random.below(60_000) }
      let sealed = try Self.seal(message, pieces: lengths)
      #expect(try Self.open(sealed, pieces: lengths.reversed()) == message)
    }
  }

  @Test("Any bit flipped is refused: every one of a short stream, some of a long one") func bits() throws {
    let random = SeededRandom(4)
    let short = random.bytes(50)
    for flipped in flips(of: try Self.seal(short)) { #expect(Self.isRefused(flipped, message: short)) }
    let long = random.bytes(5 * Self.chunk + 100)
    let sealed = try Self.seal(long)
    for _ in 0..<300 {
      var flipped = sealed
      flipped[random.below(sealed.count)] ^= 1 << UInt8(random.below(8))
      #expect(Self.isRefused(flipped, pieces: [random.pick([Self.sealedChunk, 1 << 20])], message: long))
    }
    let opened = try Self.seal(short)
    for key in flips(of: Self.key) { #expect(Self.isRefused(opened, message: short, key: key)) }
    for context in flips(of: Self.context) { #expect(Self.isRefused(opened, message: short, context: context)) }
    for context in [[], Self.context + [0], Array(Self.context.dropLast())] {
      #expect(Self.isRefused(opened, message: short, context: context))
    }
  }

  @Test("Chunks moved, repeated, left out, added or taken from another stream are refused") func chunks() throws {
    let message = SeededRandom(5).bytes(4 * Self.chunk + 100)
    let sealed = try Self.seal(message)
    let other = try Self.seal(message, seed: 2)
    let head = Array(sealed[..<Self.header])
    func parts(_ stream: [UInt8]) -> [[UInt8]] {
      stride(from: Self.header, to: stream.count, by: Self.sealedChunk).map {
        Array(stream[$0..<min($0 + Self.sealedChunk, stream.count)])
      }
    }
    let (own, foreign) = (parts(sealed), parts(other))
    try #require(own.count == 5)
    var wrong: [[[UInt8]]] = []
    for a in own.indices {
      var dropped = own
      dropped.remove(at: a)
      wrong.append(dropped)
      var replaced = own
      replaced[a] = foreign[a]
      wrong.append(replaced)
      for b in own.indices {
        var repeated = own
        repeated.insert(own[a], at: b)
        wrong.append(repeated)
        guard a < b else { continue }
        var swapped = own
        swapped.swapAt(a, b)
        wrong.append(swapped)
      }
      wrong.append(Array(own[..<a]))
    }
    wrong += [own + [own[4]], own + [[0]], own + [foreign[4]], own + own]
    for (index, parts) in wrong.enumerated() {
      let stream = head + parts.joined()
      for pieces in [[1 << 20], [Self.sealedChunk], [1000]] {
        #expect(Self.isRefused(stream, pieces: pieces, message: message), "\(index)")
      }
    }
  }

  @Test("A stream that is cut short anywhere is refused") func truncation() throws {
    let random = SeededRandom(6)
    let message = random.bytes(2 * Self.chunk + 20)
    let sealed = try Self.seal(message)
    let edges = [0, 1, 23, 24, 55, 56, 57, 71, 72].map { [$0, $0 + Self.sealedChunk, $0 + 2 * Self.sealedChunk] }
    for end in edges.joined() where end < sealed.count {
      #expect(Self.isRefused(Array(sealed[..<end]), message: message), "\(end)")
    }
    for _ in 0..<100 { #expect(Self.isRefused(Array(sealed[..<random.below(sealed.count)]), message: message)) }
    var released: [UInt8] = []
    // At a chunk's edge everything is authentic so far, and still it is known that the end is missing.
    #expect(throws: EnvelopeError(.truncated, "")) {
      try Self.open(Array(sealed[..<(Self.header + 2 * Self.sealedChunk)]), released: &released)
    }
    #expect(released == Array(message[..<(2 * Self.chunk)]))
  }

  @Test("A call with a bad chunk gives nothing out, and later calls fail alike") func failing() throws {
    let message = SeededRandom(7).bytes(8 * Self.chunk)
    var sealed = try Self.seal(message)
    let good = Array(sealed[Self.header..<(Self.header + Self.sealedChunk)])
    sealed[Self.header + 6 * Self.sealedChunk] ^= 1
    var decryptor = try unsafe ChunkedDecryptor(
      key: Self.key.span.bytes, context: Self.context, header: Array(sealed[..<Self.header]))
    var output: [UInt8] = [9]
    let body = Array(sealed[Self.header...])
    var failures: [EnvelopeError] = []
    for bytes in [body, good, []] {
      do throws(EnvelopeError) { try decryptor.update(unsafe bytes.span.bytes, appendingTo: &output) } catch {
        failures.append(error)
      }
    }
    do throws(EnvelopeError) { try decryptor.finish(appendingTo: &output) } catch { failures.append(error) }
    #expect(failures == Array(repeating: EnvelopeError(.notAuthentic, ""), count: 4))
    #expect(output == [9])
  }

  @Test("What a call appends stands behind what was there, and the buffer is reused") func buffers() throws {
    var encryptor = try unsafe ChunkedEncryptor(key: Self.key.span.bytes, context: [])
    let piece = [UInt8](repeating: 1, count: ChunkedEncryptor.batchByteCount)
    var output: [UInt8] = [1, 2, 3]
    try encryptor.update(unsafe piece.span.bytes, appendingTo: &output)
    #expect(output.count == 3 + 64 * Self.sealedChunk)
    #expect(output.starts(with: [1, 2, 3]))
    output.removeAll(keepingCapacity: true)
    let capacity = output.capacity
    for _ in 0..<3 {
      try encryptor.update(unsafe piece.span.bytes, appendingTo: &output)
      output.removeAll(keepingCapacity: true)
    }
    #expect(output.capacity == capacity)
  }

  @Test("Salts differ, and so do streams") func salts() throws {
    let a = try unsafe ChunkedEncryptor(key: Self.key.span.bytes, context: [])
    let b = try unsafe ChunkedEncryptor(key: Self.key.span.bytes, context: [])
    #expect(a.header.count == 56)
    #expect(a.header != b.header)
  }

  // MARK: Limits

  @Test("Keys", arguments: [0, 16, 31, 33, 64]) func keys(_ count: Int) {
    let key = [UInt8](repeating: 1, count: count)
    #expect(throws: EnvelopeError(.badLength, "")) { _ = try unsafe ChunkedEncryptor(key: key.span.bytes, context: []) }
    #expect(throws: EnvelopeError(.badLength, "")) {
      _ = try unsafe ChunkedDecryptor(key: key.span.bytes, context: [], header: [UInt8](repeating: 0, count: 56))
    }
  }

  @Test("Headers") func headers() throws {
    for count in [0, 1, 24, 55] {
      #expect(throws: EnvelopeError(.truncated, "")) {
        _ = try unsafe ChunkedDecryptor(
          key: Self.key.span.bytes, context: [], header: [UInt8](repeating: 0, count: count))
      }
    }
    #expect(throws: EnvelopeError(.badLength, "")) {
      _ = try unsafe ChunkedDecryptor(key: Self.key.span.bytes, context: [], header: [UInt8](repeating: 0, count: 57))
    }
  }

  @Test("One call") func oneCall() throws {
    let most = ChunkedEncryptor.maximumUpdateByteCount
    let bytes = [UInt8](repeating: 1, count: most + 1)
    var encryptor = try unsafe ChunkedEncryptor(key: Self.key.span.bytes, context: [])
    var output: [UInt8] = []
    var refusal: EnvelopeError?
    do throws(EnvelopeError) {
      try encryptor.update(unsafe bytes.span.bytes, appendingTo: &output)
    } catch { refusal = error }
    #expect(refusal == EnvelopeError(.tooLong, ""))
    #expect(output.isEmpty)
    // It did not start, so the stream is as it was.
    try encryptor.update(unsafe bytes.span.extracting(first: most).bytes, appendingTo: &output)
    #expect(output.count == most / Self.chunk * Self.sealedChunk)
  }

  @Test("A stream has less than 2^38 chunks") func chunkNumbers() throws {
    let last = ChunkedStreamKey.chunkLimit - 1
    let chunk = [UInt8](repeating: 1, count: Self.chunk)
    var output: [UInt8] = []
    // Numbers 2^38 - 2 and 2^38 - 1, the second for the short chunk at the end.
    var encryptor = try unsafe ChunkedEncryptor(key: Self.key.span.bytes, context: [])
    encryptor.cutter.next = last - 1
    let header = encryptor.header
    try encryptor.update(unsafe chunk.span.bytes, appendingTo: &output)
    try encryptor.finish(appendingTo: &output)
    var decryptor = try unsafe ChunkedDecryptor(key: Self.key.span.bytes, context: [], header: header)
    decryptor.cutter.next = last - 1
    var opened: [UInt8] = []
    try decryptor.update(unsafe output.span.bytes, appendingTo: &opened)
    try decryptor.finish(appendingTo: &opened)
    #expect(opened == chunk)

    var failures: [EnvelopeError] = []
    var full = try unsafe ChunkedEncryptor(key: Self.key.span.bytes, context: [])
    full.cutter.next = last
    output = []
    for bytes in [chunk, []] {
      do throws(EnvelopeError) { try full.update(unsafe bytes.span.bytes, appendingTo: &output) } catch {
        failures.append(error)
      }
    }
    var reader = try unsafe ChunkedDecryptor(key: Self.key.span.bytes, context: [], header: header)
    reader.cutter.next = last
    let sealedChunk = [UInt8](repeating: 1, count: Self.sealedChunk)
    do throws(EnvelopeError) { try reader.update(unsafe sealedChunk.span.bytes, appendingTo: &output) } catch {
      failures.append(error)
    }
    #expect(failures == Array(repeating: EnvelopeError(.tooLong, ""), count: 3))
    #expect(output.isEmpty)
  }
}
