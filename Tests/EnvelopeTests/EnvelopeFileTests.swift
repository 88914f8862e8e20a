import Envelope
import SecretMemory
import TestSupport
import Testing

@Suite("Encrypted files")
struct EnvelopeFileTests {
  static let key = SeededRandom(1).bytes(32)
  static let header = Array(#"{"key":"key_1","v":1}"#.utf8)
  static let context = Array(#"{"invoice":"7"}"#.utf8)

  private func seal(
    _ message: [UInt8], header: [UInt8] = header, context: [UInt8] = context
  ) throws -> [UInt8] {
    var file: [UInt8] = []
    var encryptor = try EnvelopeFile.encryptor(
      key: unsafe Self.key.span.bytes, header: header, context: context, appendingPrefixTo: &file)
    try encryptor.update(unsafe message.span.bytes, appendingTo: &file)
    try encryptor.finish(appendingTo: &file)
    return file
  }

  private func open(_ file: [UInt8], key: [UInt8] = key, context: [UInt8] = context) throws -> [UInt8] {
    let prefix = try #require(try EnvelopeFile.prefix(of: unsafe file.span.bytes, isWhole: true))
    var decryptor = try EnvelopeFile.decryptor(key: unsafe key.span.bytes, prefix: prefix, context: context)
    var message: [UInt8] = []
    try decryptor.update(unsafe file.span.extracting(droppingFirst: prefix.byteCount).bytes, appendingTo: &message)
    try decryptor.finish(appendingTo: &message)
    return message
  }

  private func prefix(_ bytes: [UInt8], isWhole: Bool = false) throws -> EnvelopeFile.UnverifiedPrefix? {
    try EnvelopeFile.prefix(of: unsafe bytes.span.bytes, isWhole: isWhole)
  }

  @Test func layout() throws {
    let file = try seal([1, 2, 3])
    #expect(file.starts(with: Array("TCENV1\n".utf8) + [0, 0, 0, UInt8(Self.header.count)] + Self.header))
    #expect(file.count == 7 + 4 + Self.header.count + 56 + 3 + 16)
    let prefix = try #require(try prefix(file))
    #expect(prefix.header == Self.header)
    #expect(prefix.byteCount == file.count - 19)
    #expect(prefix.streamHeader == Array(file[(7 + 4 + Self.header.count)..<prefix.byteCount]))
    #expect(try open(file) == [1, 2, 3])
  }

  @Test("The prefix needs all of its bytes, and says so") func pieces() throws {
    let file = try seal([1, 2, 3])
    let whole = 7 + 4 + Self.header.count + 56
    for count in 0..<whole {
      #expect(try prefix(Array(file[..<count])) == nil, "\(count)")
      #expect(throws: EnvelopeError(.truncated, "")) { try prefix(Array(file[..<count]), isWhole: true) }
    }
    #expect(try prefix(Array(file[..<whole])) != nil)
    #expect(try prefix(file) == prefix(Array(file[..<whole])))
  }

  @Test("Any bit flipped is refused") func bits() throws {
    let file = try seal([1, 2, 3])
    for flipped in flips(of: file) { #expect(throws: EnvelopeError.self) { try open(flipped) } }
    for flipped in flips(of: Self.context) {
      #expect(throws: EnvelopeError(.notAuthentic, "")) { try open(file, context: flipped) }
    }
    for flipped in flips(of: Self.key) {
      #expect(throws: EnvelopeError(.notAuthentic, "")) { try open(file, key: flipped) }
    }
  }

  @Test("A header of the same length that was put in another's place is refused") func otherHeader() throws {
    let file = try seal([1, 2, 3])
    let other = Array(#"{"key":"key_2","v":1}"#.utf8)
    var changed = file
    changed.replaceSubrange(11..<(11 + other.count), with: other)
    #expect(try prefix(changed)?.header == other)
    #expect(throws: EnvelopeError(.notAuthentic, "")) { try open(changed) }
  }

  @Test("Bytes do not move between header and context") func boundaries() throws {
    let all = Self.header + Self.context
    let file = try seal([1], header: Self.header, context: Self.context)
    for split in 1..<all.count where split != Self.header.count {
      var moved = Array("TCENV1\n".utf8) + [0, 0, 0, UInt8(split)] + all[..<split]
      moved += file[(11 + Self.header.count)...]
      #expect(throws: EnvelopeError(.notAuthentic, "")) { try open(moved, context: Array(all[split...])) }
    }
  }

  @Test("A bare stream's context is no file's") func domains() throws {
    let file = try seal([1])
    let prefix = try #require(try prefix(file))
    #expect(throws: EnvelopeError(.notAuthentic, "")) {
      _ = try ChunkedDecryptor(key: unsafe Self.key.span.bytes, context: Self.context, header: prefix.streamHeader)
    }
  }

  @Test("What is no file of ours", arguments: ["", "T", "TCENV", "TCENV1"])
  func beginnings(_ text: String) throws { #expect(try prefix(Array(text.utf8)) == nil) }

  @Test(
    "What is no file of ours", arguments: ["t", "TCENVX", "TCENV1 ", "TCENV1\r\n", "TCENV10", "age-encryption", "\0"])
  func others(_ text: String) {
    #expect(throws: EnvelopeError(.notAnEnvelope, "")) { try prefix(Array(text.utf8)) }
  }

  @Test("Another version", arguments: ["TCENV2\n", "TCENV0\n", "TCENV9\nmore"]) func versions(_ text: String) {
    #expect(throws: EnvelopeError(.unsupportedVersion, "")) { try prefix(Array(text.utf8)) }
  }

  @Test("Lengths") func lengths() throws {
    for count in [1, 8192] {
      let bytes = [UInt8](repeating: 7, count: count)
      let file = try seal([1], header: bytes, context: bytes)
      #expect(try open(file, context: bytes) == [1])
    }
    #expect(try seal([], header: [UInt8](repeating: 7, count: 8192)).count == EnvelopeFile.maximumPrefixByteCount + 16)
    for count in [0, 8193] {
      let bytes = [UInt8](repeating: 7, count: count)
      #expect(throws: EnvelopeError(.badLength, "")) { try seal([1], header: bytes) }
      #expect(throws: EnvelopeError(.badLength, "")) { try seal([1], context: bytes) }
      #expect(throws: EnvelopeError(.badLength, "")) { try open(seal([1]), context: bytes) }
    }
    for length in [[0, 0, 0, 0], [0, 0, 32, 1], [255, 255, 255, 255], [128, 0, 0, 1]] as [[UInt8]] {
      #expect(throws: EnvelopeError(.badLength, "")) { try prefix(EnvelopeFile.magic + length) }
    }
    #expect(try prefix(EnvelopeFile.magic + [0, 0, 32, 0]) == nil)
  }

  @Test("A prefix at random never gets by") func fuzz() throws {
    let random = SeededRandom(9)
    let file = try seal(random.bytes(100))
    for _ in 0..<2000 {
      var changed = file
      for _ in 0...random.below(3) {
        switch random.below(3) {
        case 0: changed[random.below(changed.count)] = UInt8(random.below(256))
        case 1: changed.remove(at: random.below(changed.count))
        default: changed.insert(UInt8(random.below(256)), at: random.below(changed.count))
        }
      }
      guard changed != file else { continue }
      #expect(throws: EnvelopeError.self) { try open(changed) }
    }
  }
}
