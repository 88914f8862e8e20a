import COSE
import TestSupport
import Testing
import Wire

func hex(_ text: String) throws -> [UInt8] { try #require(Hex.decode(text.filter { $0 != " " }), "\(text)") }

func refusal(_ body: () throws(COSEError) -> Void) -> String? {
  do {
    try body()
    return nil
  } catch {
    return error.code.description
  }
}

@Suite("CBOR")
struct CBORTests {
  struct Sample: Sendable {
    let hex: String
    let item: CBOR
    init(_ hex: String, _ item: CBOR) { (self.hex, self.item) = (hex, item) }
  }

  /// In the manner of RFC 8949 appendix A: encodings that are canonical, so that each also comes out of the encoder.
  static let samples: [Sample] = [
    Sample("00", 0), Sample("01", 1), Sample("17", 23), Sample("18 18", 24), Sample("18 ff", 255),
    Sample("19 0100", 256), Sample("19 ffff", 65_535), Sample("1a 00010000", 65_536),
    Sample("1a ffffffff", 4_294_967_295), Sample("1b 0000000100000000", 4_294_967_296),
    Sample("1b ffffffffffffffff", .unsigned(.max)), Sample("20", -1), Sample("37", -24), Sample("38 18", -25),
    Sample("38 ff", -256), Sample("39 0100", -257), Sample("39 ffff", -65_536), Sample("3a 00010000", -65_537),
    Sample("3b 7fffffffffffffff", CBOR(Int.min)), Sample("3b ffffffffffffffff", .negative(.max)),
    Sample("40", .bytes([])), Sample("43 010203", .bytes([1, 2, 3])),
    Sample("58 18" + String(repeating: "aa", count: 24), .bytes([UInt8](repeating: 0xAA, count: 24))),
    Sample("60", ""), Sample("61 61", "a"), Sample("62 c3bc", "ü"), Sample("64 f0908591", "\u{10151}"),
    Sample("62 225c", "\"\\"), Sample("80", []), Sample("83 010203", [1, 2, 3]),
    Sample("82 01 82 02 80", [1, [2, []]]), Sample("a0", [:]), Sample("a2 01 02 03 04", [1: 2, 3: 4]),
    Sample("a2 61 61 01 61 62 82 02 03", ["a": 1, "b": [2, 3]]), Sample("f4", false), Sample("f5", true),
    Sample("f6", .null), Sample("f7", .undefined),
    Sample("98 18" + String(repeating: "00", count: 24), .array([CBOR](repeating: 0, count: 24))),
    Sample("a5 01 00 20 00 41 00 00 61 61 00 f5 00", [true: 0, "a": 0, .bytes([0]): 0, -1: 0, 1: 0]),
  ]

  @Test("items are read and written")
  func samplesHold() throws {
    var tally = Tally("cbor samples")
    for sample in Self.samples {
      let bytes = try hex(sample.hex)
      tally.expect((try? CBOR(decoding: bytes)) == sample.item, "reads \(sample.hex)")
      tally.expect(sample.item.encoded == bytes, "writes \(sample.hex) as \(Hex.encode(sample.item.encoded))")
    }
    tally.report()
  }

  /// Each with the code that refuses it.
  static let refusals: [(hex: String, code: String)] = [
    ("", "cbor_malformed"), ("18", "cbor_malformed"), ("19 01", "cbor_malformed"), ("1a 000100", "cbor_malformed"),
    ("1b 00000001000000", "cbor_malformed"), ("41", "cbor_malformed"), ("62 61", "cbor_malformed"),
    ("82 01", "cbor_malformed"), ("a1 01", "cbor_malformed"), ("5b 7fffffffffffffff", "cbor_malformed"),
    ("5b ffffffffffffffff", "cbor_malformed"), ("1c", "cbor_malformed"), ("1d", "cbor_malformed"),
    ("1e", "cbor_malformed"), ("1f", "cbor_malformed"), ("3f", "cbor_malformed"), ("5c", "cbor_malformed"),
    ("fc", "cbor_malformed"), ("df", "cbor_malformed"), ("f8 00", "cbor_malformed"), ("f8 1f", "cbor_malformed"),
    ("18 00", "cbor_not_minimal"), ("18 17", "cbor_not_minimal"), ("38 17", "cbor_not_minimal"),
    ("19 00ff", "cbor_not_minimal"), ("1a 0000ffff", "cbor_not_minimal"), ("1b 00000000ffffffff", "cbor_not_minimal"),
    ("58 01 00", "cbor_not_minimal"), ("59 0001 00", "cbor_not_minimal"), ("78 01 61", "cbor_not_minimal"),
    ("98 01 00", "cbor_not_minimal"), ("b8 01 00 00", "cbor_not_minimal"),
    ("5f 41 00 ff", "cbor_indefinite"), ("7f 61 61 ff", "cbor_indefinite"), ("9f 01 ff", "cbor_indefinite"),
    ("bf 01 02 ff", "cbor_indefinite"), ("ff", "cbor_indefinite"), ("81 ff", "cbor_indefinite"),
    ("a2 01 02 01 03", "cbor_duplicate_key"), ("a2 61 61 01 61 61 01", "cbor_duplicate_key"),
    ("a3 01 00 02 00 01 00", "cbor_duplicate_key"), ("81 a2 20 00 20 00", "cbor_duplicate_key"),
    ("a2 a2 01 00 02 00 00 a2 02 00 01 00 00", "cbor_duplicate_key"),
    ("00 00", "cbor_trailing"), ("a0 f6", "cbor_trailing"), ("40 ff", "cbor_trailing"),
    ("61 ff", "cbor_invalid_utf8"), ("62 c0 80", "cbor_invalid_utf8"), ("63 eda080", "cbor_invalid_utf8"),
    ("61 c3", "cbor_invalid_utf8"), ("64 f4908080", "cbor_invalid_utf8"),
    ("c0 00", "cbor_unsupported"), ("d2 80", "cbor_unsupported"), ("d8 18 40", "cbor_unsupported"),
    ("f9 0000", "cbor_unsupported"), ("fa 47c35000", "cbor_unsupported"), ("fb 3ff199999999999a", "cbor_unsupported"),
    ("e0", "cbor_unsupported"), ("f3", "cbor_unsupported"), ("f8 20", "cbor_unsupported"),
    ("f8 ff", "cbor_unsupported"), ("82 01 f9 7c00", "cbor_unsupported"),
  ]

  @Test("what is not canonical is refused")
  func refusalsHold() throws {
    var tally = Tally("cbor refusals")
    for (text, code) in Self.refusals {
      let bytes = try hex(text)
      let found = refusal { () throws(COSEError) in _ = try CBOR(decoding: bytes) }
      tally.expect(found == code, "\(text): \(found ?? "accepted")")
    }
    tally.report()
  }

  @Test("texts differ by code points, and maps do not by order")
  func equality() throws {
    #expect(CBOR.text("\u{E9}") != CBOR.text("e\u{301}"))
    // Canonically equivalent texts are two keys.
    #expect(try CBOR(decoding: hex("a2 62 c3a9 01 63 65cc81 02")).map?.count == 2)
    #expect(try CBOR(decoding: hex("a2 03 04 01 02")) == [1: 2, 3: 4])
    var map: CBORMap = [1: 2]
    map[1] = nil
    map[2] = 3
    map[2] = 4
    #expect(map == [2: 4])
    #expect(CBOR.unsigned(.max).integer == nil && CBOR.negative(.max).integer == nil)
    #expect(CBOR(Int.min).integer == .min && CBOR(Int.max).integer == .max)
  }

  @Test("both sides of each limit")
  func limits() throws {
    func code(_ bytes: [UInt8], _ limits: CBOR.Limits) -> String? {
      refusal { () throws(COSEError) in _ = try CBOR(decoding: bytes, limits: limits) }
    }
    func nested(_ depth: Int) -> [UInt8] { [UInt8](repeating: 0x81, count: depth) + [0] }
    #expect(code(nested(16), .init()) == nil)
    #expect(code(nested(17), .init()) == "cbor_too_deep")
    #expect(code(nested(17), .init(depth: 99)) == "cbor_too_deep", "the decoder's own bound")
    #expect(code([0], .init(depth: 0)) == nil)
    #expect(code([0x80], .init(depth: 0)) == "cbor_too_deep")
    #expect(code([0xA1, 0x00, 0xA0], .init(depth: 1)) == "cbor_too_deep")
    #expect(code([0x82, 0, 0], .init(items: 3)) == nil)
    #expect(code([0x82, 0, 0], .init(items: 2)) == "cbor_too_large")
    #expect(code([0xA1, 0, 0], .init(items: 3)) == nil)
    #expect(code([0xA1, 0, 0], .init(items: 2)) == "cbor_too_large")
    #expect(code([0x82, 0x81, 0, 0], .init(items: 3)) == "cbor_too_large")
    #expect(code([0x43, 0, 0, 0], .init(bytes: 4)) == nil)
    #expect(code([0x43, 0, 0, 0], .init(bytes: 3)) == "cbor_too_large")
    // A length is refused before anything is reserved for it.
    #expect(code([0x9B, 0x7F, 255, 255, 255, 255, 255, 255, 255], .init()) == "cbor_too_large")
    #expect(code([0xBB] + [UInt8](repeating: 0xFF, count: 8), .init()) == "cbor_too_large")
    #expect(code([0x99, 0x03, 0xFF], .init()) == "cbor_malformed")
  }

  @Test("the first item tells how long it is")
  func firstItem() throws {
    let bytes: [UInt8] = [9, 9, 0x82, 0x01, 0x41, 0x02, 0xFF, 0xFF]
    let (item, count) = try CBOR.first(in: bytes[2...])
    #expect(item == [1, .bytes([2])] && count == 4)
    // What follows may be longer than the limit.
    #expect(try CBOR.first(in: bytes[2...], limits: .init(bytes: 4)).count == 4)
    #expect(throws: COSEError.self) { try CBOR.first(in: bytes[2...], limits: .init(bytes: 3)) }
  }

  @Test("mutated items are refused, or written again as they were read")
  func mutation() {
    let random = SeededRandom(0x434F_5345)
    var accepted = 0
    let rounds = 20_000
    // Items with a map of one entry at most, so that there is but one order.
    let seeds: [CBOR] = [
      ["fmt": ["a", .bytes([1, 2, 3]), -7, .null]], [1, [2, [3, true]], .bytes([UInt8](repeating: 7, count: 40))],
      .text("some text that is longer than twenty-three bytes"), [-257: 65_536],
    ]
    for round in 0..<rounds {
      var bytes = seeds[round % seeds.count].encoded
      for _ in 0...random.below(3) where !bytes.isEmpty {
        let at = random.below(bytes.count)
        switch random.below(4) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes[at] ^= 1 << UInt8(random.below(8))
        case 2: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: at)
        default: bytes.remove(at: at)
        }
      }
      guard let item = try? CBOR(decoding: bytes) else { continue }
      accepted += 1
      #expect(item.encoded.count == bytes.count, "\(Hex.encode(bytes))")
      #expect((try? CBOR(decoding: item.encoded)) == item, "\(Hex.encode(bytes))")
    }
    print("fuzz: cbor: \(rounds) inputs, \(accepted) accepted and written again")
  }
}
