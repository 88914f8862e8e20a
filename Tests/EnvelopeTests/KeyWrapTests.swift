import Envelope
import SecretMemory
import TestSupport
import Testing

@Suite("AES key wrap")
struct KeyWrapTests {
  private func wrap(_ key: [UInt8], _ kek: [UInt8], padded: Bool) throws -> [UInt8] {
    unsafe try padded
      ? KeyWrap.wrapPadded(key.span.bytes, under: kek.span.bytes) : KeyWrap.wrap(key.span.bytes, under: kek.span.bytes)
  }

  private func unwrap(_ wrapped: [UInt8], _ kek: [UInt8], padded: Bool) throws -> [UInt8] {
    unsafe try padded
      ? array(KeyWrap.unwrapPadded(wrapped, under: kek.span.bytes))
      : array(KeyWrap.unwrap(wrapped, under: kek.span.bytes))
  }

  @Test("Wycheproof", .enabled(if: Vectors.has("wycheproof")), arguments: [("aes_wrap", false), ("aes_kwp", true)])
  func wycheproof(_ file: String, _ padded: Bool) throws {
    var tally = Tally("wycheproof \(file)")
    for test in try WycheproofCase.all(in: "\(file)_test") {
      let (key, message, wrapped) = try (test.bytes("key"), test.bytes("msg"), test.bytes("ct"))
      let opened = try? unwrap(wrapped, key, padded: padded)
      if test.isAcceptable {
        // KW of 8 bytes: in RFC 3394, section 2, and not in SP 800-38F, which we follow.
        tally.expect(test.has(flag: "ShortKey") && opened == nil, test.label)
      } else if test.isValid {
        tally.expect(try opened == message && wrap(message, key, padded: padded) == wrapped, test.label)
      } else {
        tally.expect(opened == nil, test.label)
      }
    }
    tally.report()
  }

  @Test("Lengths that KW takes", arguments: [16, 24, 32, 4088, 4096]) func lengths(_ count: Int) throws {
    let random = SeededRandom(UInt64(count))
    let (key, kek) = (random.bytes(count), random.bytes(32))
    let wrapped = try wrap(key, kek, padded: false)
    #expect(wrapped.count == count + 8)
    #expect(try unwrap(wrapped, kek, padded: false) == key)
  }

  @Test("Lengths that KW refuses", arguments: [0, 1, 8, 15, 17, 31, 4097, 4104]) func refusedLengths(_ count: Int) {
    let kek = [UInt8](repeating: 1, count: 32)
    #expect(throws: EnvelopeError(.badLength, "")) {
      try wrap([UInt8](repeating: 2, count: count), kek, padded: false)
    }
  }

  @Test("Wrapped lengths that are refused", arguments: [0, 1, 8, 15, 17, 25, 4105, 4112])
  func refusedWrapped(_ count: Int) {
    let kek = [UInt8](repeating: 1, count: 32)
    for padded in [false, true] {
      #expect(throws: EnvelopeError(.badLength, "")) {
        try unwrap([UInt8](repeating: 2, count: count), kek, padded: padded)
      }
    }
  }

  @Test("KWP takes 1 to 4096 bytes") func paddedLengths() throws {
    let random = SeededRandom(7)
    for count in Array(1...80) + [4087, 4088, 4089, 4095, 4096] {
      let (key, kek) = (random.bytes(count), random.bytes(random.pick([16, 24, 32])))
      let wrapped = try wrap(key, kek, padded: true)
      #expect(wrapped.count == (count + 7) / 8 * 8 + 8)
      #expect(try unwrap(wrapped, kek, padded: true) == key, "\(count)")
    }
    for count in [0, 4097] {
      #expect(throws: EnvelopeError(.badLength, "")) {
        try wrap([UInt8](repeating: 2, count: count), random.bytes(32), padded: true)
      }
    }
  }

  @Test("Wrapping keys are AES keys", arguments: [0, 1, 15, 17, 31, 33, 64]) func wrappingKeys(_ count: Int) {
    let kek = [UInt8](repeating: 1, count: count)
    for padded in [false, true] {
      #expect(throws: EnvelopeError(.badLength, "")) { try wrap([UInt8](repeating: 2, count: 32), kek, padded: padded) }
      #expect(throws: EnvelopeError(.badLength, "")) {
        try unwrap([UInt8](repeating: 2, count: 40), kek, padded: padded)
      }
    }
  }

  @Test("Any bit flipped is refused", arguments: [1, 7, 8, 9, 16, 31, 32]) func bits(_ count: Int) throws {
    let random = SeededRandom(UInt64(count))
    let (key, kek) = (random.bytes(count), random.bytes(32))
    for padded in count >= 16 && count % 8 == 0 ? [false, true] : [true] {
      let wrapped = try wrap(key, kek, padded: padded)
      for flipped in flips(of: wrapped) {
        #expect(throws: EnvelopeError(.notAuthentic, "")) { try unwrap(flipped, kek, padded: padded) }
      }
      for flipped in flips(of: kek) {
        #expect(throws: EnvelopeError(.notAuthentic, "")) { try unwrap(wrapped, flipped, padded: padded) }
      }
    }
  }

  @Test("KW and KWP do not open each other's") func modes() throws {
    let kek = [UInt8](repeating: 1, count: 32)
    let key = [UInt8](repeating: 2, count: 32)
    #expect(throws: EnvelopeError(.notAuthentic, "")) {
      try unwrap(wrap(key, kek, padded: true), kek, padded: false)
    }
    #expect(throws: EnvelopeError(.notAuthentic, "")) {
      try unwrap(wrap(key, kek, padded: false), kek, padded: true)
    }
  }
}
