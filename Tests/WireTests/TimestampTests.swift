import Foundation
import Testing
import Wire

@Suite("Timestamp")
struct TimestampTests {
  @Test(
    "RFC 3339 texts",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z"),
      (951_782_400_000, "2000-02-29T00:00:00.000Z"), (951_868_799_999, "2000-02-29T23:59:59.999Z"),
      (951_868_800_000, "2000-03-01T00:00:00.000Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
      (1_795_244_400_000, "2026-11-21T07:00:00.000Z"), (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
      (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
    ] as [(Int64, String)])
  func texts(milliseconds: Int64, text: String) { #expect(Timestamp(milliseconds: milliseconds).description == text) }

  @Test("agrees with Foundation on many days")
  func agreesWithFoundation() {
    let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    var random = SplitMix64(seed: 2)
    for _ in 0..<500 {
      let seconds = Int64(random.next() % 8_000_000_000) - 2_000_000_000
      #expect(Timestamp(seconds: seconds).description == Date(timeIntervalSince1970: Double(seconds)).formatted(style))
    }
  }

  @Test("seconds round down, and arithmetic stops at the range's ends")
  func arithmetic() {
    #expect(Timestamp(milliseconds: 1999).seconds == 1)
    #expect(Timestamp(milliseconds: -1).seconds == -1)
    #expect(Timestamp(milliseconds: -1000).seconds == -1)
    #expect(Timestamp(milliseconds: -1001).seconds == -2)
    #expect(Timestamp(seconds: 5).adding(seconds: -7) == Timestamp(seconds: -2))
    #expect(Timestamp(seconds: .max).milliseconds == .max)
    #expect(Timestamp(seconds: .min).milliseconds == .min)
    #expect(Timestamp(milliseconds: .min).seconds < 0)
    #expect(Timestamp(seconds: 1).adding(seconds: .max).milliseconds == .max)
    #expect(Timestamp(seconds: -1).adding(seconds: .min).milliseconds == .min)
    #expect(Timestamp(seconds: 1) < Timestamp(milliseconds: 1001))
  }
}
