import Foundation
import Rails
import TestSupport
import Testing

@Suite("Banking calendar")
struct BankingCalendarTests {
  /// 2025 to 2027 as the Federal Reserve Bank of Richmond lists them; the other years by hand from 5 U.S.C. 6103 and its
  /// history. Saturdays are not moved and therefore absent.
  static let known: [Int: String] = [
    2021: "0101 0118 0215 0531 0705 0906 1011 1111 1125",
    2022: "0117 0221 0530 0620 0704 0905 1010 1111 1124 1226",
    2023: "0102 0116 0220 0529 0619 0704 0904 1009 1123 1225",
    2024: "0101 0115 0219 0527 0619 0704 0902 1014 1111 1128 1225",
    2025: "0101 0120 0217 0526 0619 0704 0901 1013 1111 1127 1225",
    2026: "0101 0119 0216 0525 0619 0907 1012 1111 1126 1225",
    2027: "0101 0118 0215 0531 0705 0906 1011 1111 1125",
    2010: "0101 0118 0215 0531 0705 0906 1011 1111 1125",
    1985: "0101 0218 0527 0704 0902 1014 1111 1128 1225",
    1986: "0101 0120 0217 0526 0704 0901 1013 1111 1127 1225",
    1971: "0101 0215 0531 0705 0906 1011 1025 1125",
    1978: "0102 0220 0529 0704 0904 1009 1123 1225",
  ]

  @Test("the holidays of known years")
  func holidays() {
    var tally = Tally("Reserve Bank holidays")
    for (year, text) in Self.known.sorted(by: { $0.key < $1.key }) {
      let days = BankingCalendar.holidays(of: year).map { String($0.yymmdd.suffix(4)) }
      tally.expect(days == text.split(separator: " ").map(String.init), "\(year): \(days)")
    }
    tally.report()
  }

  static let next: [(String, String)] = [
    // Sunday moves to Monday: 4 July 2021, 19 June 2022, 25 December 2022, 1 January 2023.
    ("210702", "210706"), ("220617", "220621"), ("221223", "221227"), ("221230", "230103"),
    // Saturday is not moved: 25 December 2021, 1 January 2022, 4 July 2026, 19 June 2027, 1 January 2028.
    ("211223", "211224"), ("211224", "211227"), ("211230", "211231"), ("211231", "220103"), ("260702", "260703"),
    ("260703", "260706"), ("270617", "270618"), ("270618", "270621"), ("271230", "271231"), ("271231", "280103"),
    // Thanksgiving, weekends, leap days, ends of years.
    ("261125", "261127"), ("261127", "261130"), ("240228", "240229"), ("240229", "240301"), ("241231", "250102"),
    ("251231", "260102"), ("990101", "990102"),
  ]

  @Test("the next banking day")
  func nextBankingDay() throws {
    var tally = Tally("next banking day")
    for (from, to) in Self.next {
      let date = try #require(CivilDate(yymmdd: from))
      tally.expect(
        BankingCalendar.nextBankingDay(after: date).yymmdd == to,
        "\(from) \(BankingCalendar.nextBankingDay(after: date))")
    }
    tally.report()
  }

  @Test("every year from 1970 to 2199: weekdays only, one year, no run of closed days above four")
  func everyYear() throws {
    for year in 1970...2199 {
      let days = BankingCalendar.holidays(of: year)
      #expect(days == days.sorted() && Set(days).count == days.count)
      #expect(days.allSatisfy { $0.year == year && $0.weekday != .saturday && $0.weekday != .sunday }, "\(year)")
      if year > 2021 { #expect((9...11).contains(days.count), "\(year): \(days.count)") }
    }
    let first = try #require(CivilDate(year: 1970, month: 1, day: 1)).daysSinceEpoch
    let last = try #require(CivilDate(year: 2199, month: 12, day: 31)).daysSinceEpoch
    for day in stride(from: first, through: last, by: 5) {
      let date = CivilDate(daysSinceEpoch: day)
      let next = BankingCalendar.nextBankingDay(after: date)
      #expect(BankingCalendar.isBankingDay(next) && (1...5).contains(next.daysSinceEpoch - day))
    }
  }

  @Test("dates agree with Foundation for every day from 1970 to 2199")
  func dates() throws {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
    var wrong = 0
    for day in 0..<84_006 {
      let date = CivilDate(daysSinceEpoch: day)
      let parts = calendar.dateComponents(
        [.year, .month, .day, .weekday], from: Date(timeIntervalSince1970: Double(day) * 86_400))
      let agrees =
        date.year == parts.year && date.month == parts.month && date.day == parts.day
        && date.weekday.rawValue + 1 == parts.weekday && date.daysSinceEpoch == day
      if !agrees { wrong += 1 }
    }
    #expect(wrong == 0)
    #expect(CivilDate(daysSinceEpoch: 84_005).description == "2199-12-31")
  }

  @Test("dates at their limits")
  func limits() {
    #expect(CivilDate(year: 0, month: 1, day: 1) == nil && CivilDate(year: 10_000, month: 1, day: 1) == nil)
    #expect(CivilDate(year: 1, month: 1, day: 1)?.daysSinceEpoch == -719_162)
    #expect(CivilDate(daysSinceEpoch: .min).description == "0001-01-01")
    #expect(CivilDate(daysSinceEpoch: .max).description == "9999-12-31")
    #expect(CivilDate(year: 9999, month: 12, day: 31)?.daysSinceEpoch == 2_932_896)
    #expect(CivilDate(year: 2100, month: 2, day: 29) == nil && CivilDate(year: 2000, month: 2, day: 29) != nil)
    for text in ["", "26112", "2611233", "261323", "260230", "26 123", "26112x", "000000"] {
      #expect(CivilDate(yymmdd: text) == nil, "\(text)")
    }
    #expect(CivilDate(yymmdd: "261123")?.description == "2026-11-23")
    #expect(CivilDate(year: 2024, month: 12, day: 31)?.dayOfYear == 366)
    #expect(CivilTime(hour: 24, minute: 0) == nil && CivilTime(hour: 23, minute: 60) == nil)
    #expect(CivilTime(hour: 23, minute: 59)?.hhmm == "2359" && CivilTime(hour: 0, minute: 0)?.hhmm == "0000")
  }

  @Test("Same Day windows and limits, on the day before and the day of each change")
  func sameDay() throws {
    func deadline(_ date: String, _ hour: Int, _ minute: Int) throws -> String? {
      BankingCalendar.sameDayDeadline(
        on: try #require(CivilDate(yymmdd: date)), at: try #require(CivilTime(hour: hour, minute: minute)))?.hhmm
    }
    #expect(try deadline("261123", 10, 30) == "1030" && deadline("261123", 10, 31) == "1445")
    #expect(try deadline("261123", 14, 45) == "1445" && deadline("261123", 14, 46) == "1645")
    #expect(try deadline("261123", 16, 45) == "1645" && deadline("261123", 16, 46) == nil)
    #expect(try deadline("261126", 9, 0) == nil && deadline("261128", 9, 0) == nil)
    #expect(try deadline("210318", 15, 0) == nil && deadline("210319", 15, 0) == "1645")
    #expect(try deadline("160922", 9, 0) == nil && deadline("160923", 9, 0) == "1030")
    func limit(_ date: String) throws -> Int64? {
      DatedLimit.sameDayACH.amount(on: try #require(CivilDate(yymmdd: date)))
    }
    #expect(try limit("160922") == nil && limit("160923") == 2_500_000)
    #expect(try limit("200319") == 2_500_000 && limit("200320") == 10_000_000)
    #expect(try limit("220317") == 10_000_000 && limit("220318") == 100_000_000 && limit("991231") == 100_000_000)
  }
}
