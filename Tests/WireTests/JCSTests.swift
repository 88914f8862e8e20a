import Foundation
import TestSupport
import Testing
import Wire

@Suite("JCS (RFC 8785)")
struct JCSTests {
  @Test("cyberphone's test data", .enabled(if: Vectors.has("jcs")))
  func officialVectors() throws {
    var tally = Tally("jcs")
    for input in try Vectors.files(in: "jcs/testdata/input") {
      let name = input.deletingPathExtension().lastPathComponent
      let expected = try Vectors.data("jcs/testdata/output/\(name).json")
      let hex = try #require(String(data: Vectors.data("jcs/testdata/outhex/\(name).txt"), encoding: .utf8))
      let canonical = try JSONValue(parsing: Array(Data(contentsOf: input))).canonical()
      tally.expect(canonical == Array(expected), "\(name): output")
      let digits = hex.filter { !$0.isWhitespace }
      tally.expect(Hex.encode(canonical) == digits, "\(name): outhex")
      tally.expect(try JSONValue(parsing: canonical).canonical() == canonical, "\(name): not a fixed point")
    }
    tally.report()
  }

  /// RFC 8785 appendix B, by the bits of the double.
  static let appendixB: [(UInt64, String)] = [
    (0x0000_0000_0000_0000, "0"), (0x8000_0000_0000_0000, "0"), (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"), (0x7FEF_FFFF_FFFF_FFFF, "1.7976931348623157e+308"),
    (0xFFEF_FFFF_FFFF_FFFF, "-1.7976931348623157e+308"), (0x4340_0000_0000_0000, "9007199254740992"),
    (0xC340_0000_0000_0000, "-9007199254740992"), (0x4430_0000_0000_0000, "295147905179352830000"),
    (0x44B5_2D02_C7E1_4AF5, "9.999999999999997e+22"), (0x44B5_2D02_C7E1_4AF6, "1e+23"),
    (0x44B5_2D02_C7E1_4AF7, "1.0000000000000001e+23"), (0x444B_1AE4_D6E2_EF4E, "999999999999999700000"),
    (0x444B_1AE4_D6E2_EF4F, "999999999999999900000"), (0x444B_1AE4_D6E2_EF50, "1e+21"),
    (0x3EB0_C6F7_A0B5_ED8C, "9.999999999999997e-7"), (0x3EB0_C6F7_A0B5_ED8D, "0.000001"),
    (0x41B3_DE43_5555_5553, "333333333.3333332"), (0x41B3_DE43_5555_5554, "333333333.33333325"),
    (0x41B3_DE43_5555_5555, "333333333.3333333"), (0x41B3_DE43_5555_5556, "333333333.3333334"),
    (0x41B3_DE43_5555_5557, "333333333.33333343"), (0xBECB_F647_612F_3696, "-0.0000033333333333333333"),
    (0x4314_3FF3_C1CB_0959, "1424953923781206.2"),
  ]

  @Test("numbers of appendix B and around the turns of notation")
  func numbers() throws {
    var tally = Tally("rfc8785-appendix-b")
    for (bits, text) in Self.appendixB {
      let value = Double(bitPattern: bits)
      let canonical = String(decoding: JSONValue.double(value).canonical(), as: UTF8.self)
      tally.expect(canonical == text, "\(canonical) for \(text)")
      let reread = try JSONValue(parsing: text)
      tally.expect(String(decoding: reread.canonical(), as: UTF8.self) == text, "\(text) does not survive")
    }
    tally.report()
    for (input, output) in [
      ("1e0", "1"), ("1E+2", "100"), ("-0", "0"), ("-0.0", "0"), ("1.50", "1.5"), ("1e20", "100000000000000000000"),
      ("1e21", "1e+21"), ("0.1", "0.1"), ("1e-6", "0.000001"), ("1e-7", "1e-7"), ("12e-8", "1.2e-7"),
      ("4.50e-3", "0.0045"), ("9007199254740991", "9007199254740991"), ("9007199254740993", "9007199254740992"),
      ("-9007199254740991", "-9007199254740991"), ("1e-400", "0"),
      ("123456789012345678901234567890", "1.2345678901234568e+29"),
    ] {
      #expect(String(decoding: try JSONValue(parsing: input).canonical(), as: UTF8.self) == output, "\(input)")
    }
  }

  @Test("names sort by UTF-16 code units, and only what must be escaped is")
  func sortingAndEscapes() throws {
    // U+1F600 is D83D DE00 in UTF-16 and sorts before U+FB33, though its scalar is greater.
    let value = try JSONValue(parsing: #"{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3,"\r":4,"1":5,"\u0080":6,"\u00f6":7}"#)
    #expect(
      String(decoding: value.canonical(), as: UTF8.self)
        == "{\"\\r\":4,\"1\":5,\"\u{80}\":6,\"\u{F6}\":7,\"\u{20AC}\":3,\"\u{1F600}\":2,\"\u{FB33}\":1}")
    let controls = JSONValue.string("\u{0}\u{8}\u{9}\u{A}\u{B}\u{C}\u{D}\u{1F}\"\\/\u{7F}")
    #expect(
      String(decoding: controls.canonical(), as: UTF8.self)
        == "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7F}\"")
  }
}
