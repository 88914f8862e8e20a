/// A day of the proleptic Gregorian calendar, without time and zone.
public struct CivilDate: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The year, 1…9999.
  public let year: Int
  /// The month, 1…12.
  public let month: Int
  /// The day of the month, 1…31.
  public let day: Int

  /// A date; nil where the calendar has no such day.
  public init?(year: Int, month: Int, day: Int) {
    guard (1...9999).contains(year), (1...12).contains(month), day >= 1, day <= Self.days(in: month, of: year) else {
      return nil
    }
    self.init(year, month, day)
  }

  init(_ year: Int, _ month: Int, _ day: Int) { (self.year, self.month, self.day) = (year, month, day) }

  /// The day that lies so many days after 1970-01-01, kept within the years 1…9999.
  public init(daysSinceEpoch days: Int) {
    // Howard Hinnant's civil-from-days: years are counted from 1 March, so that the leap day comes last.
    let shifted = min(max(days, -719_162), 2_932_896) + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let calendarMonth = month < 10 ? month + 3 : month - 9
    self.init(
      yearOfEra + era * 400 + (calendarMonth <= 2 ? 1 : 0), calendarMonth, dayOfYear - (153 * month + 2) / 5 + 1)
  }

  /// The date of six digits `YYMMDD`, as ACH files write it, in 2000…2099; nil for anything else.
  public init?(yymmdd text: some StringProtocol) {
    let digits = Array(text.utf8)
    guard digits.count == 6, digits.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else {
      return nil
    }
    let parts = stride(from: 0, to: 6, by: 2).map { Int(digits[$0] - 48) * 10 + Int(digits[$0 + 1] - 48) }
    self.init(year: 2000 + parts[0], month: parts[1], day: parts[2])
  }

  /// Days since 1970-01-01.
  public var daysSinceEpoch: Int {
    let shiftedYear = month <= 2 ? year - 1 : year
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let yearOfEra = shiftedYear % 400
    return shiftedYear / 400 * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  /// 1 for 1 January to 365 or 366: what ACH files call a Julian date.
  public var dayOfYear: Int { daysSinceEpoch - CivilDate(year, 1, 1).daysSinceEpoch + 1 }

  /// The day of the week.
  public var weekday: Weekday { Weekday(rawValue: ((daysSinceEpoch + 4) % 7 + 7) % 7) ?? .sunday }

  /// The day that lies so many days later; earlier for a negative count.
  public func adding(days: Int) -> CivilDate { CivilDate(daysSinceEpoch: daysSinceEpoch + days) }

  /// Six digits: the last two of the year, month and day, as ACH files write it.
  public var yymmdd: String { Self.pad(year % 100, 2) + Self.pad(month, 2) + Self.pad(day, 2) }

  /// `YYYY-MM-DD`.
  public var description: String { Self.pad(year, 4) + "-" + Self.pad(month, 2) + "-" + Self.pad(day, 2) }

  /// Earlier days are smaller.
  public static func < (a: CivilDate, b: CivilDate) -> Bool {
    (a.year, a.month, a.day) < (b.year, b.month, b.day)
  }

  static func days(in month: Int, of year: Int) -> Int {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  private static func pad(_ value: Int, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
  }
}

/// A day of the week, counted from Sunday.
public enum Weekday: Int, Sendable, CaseIterable {
  /// A day.
  case sunday, monday, tuesday, wednesday, thursday, friday, saturday
}

/// A time of day, without zone.
public struct CivilTime: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The hour, 0…23.
  public let hour: Int
  /// The minute, 0…59.
  public let minute: Int

  /// A time; nil outside 00:00…23:59.
  public init?(hour: Int, minute: Int) {
    guard (0...23).contains(hour), (0...59).contains(minute) else { return nil }
    self.init(hour, minute)
  }

  init(_ hour: Int, _ minute: Int) { (self.hour, self.minute) = (hour, minute) }

  /// 08:30, when the operators' first files of returns are there.
  public static let morning = CivilTime(8, 30)

  /// Four digits, as ACH files write it.
  public var hhmm: String { (hour < 10 ? "0" : "") + String(hour) + (minute < 10 ? "0" : "") + String(minute) }

  /// `HH:MM`.
  public var description: String { hhmm.prefix(2) + ":" + hhmm.suffix(2) }

  /// Earlier times are smaller.
  public static func < (a: CivilTime, b: CivilTime) -> Bool { (a.hour, a.minute) < (b.hour, b.minute) }
}
