/// The days on which the Federal Reserve Banks, and so the ACH, settle: Monday to Friday without the holidays of
/// 5 U.S.C. 6103 as the Reserve Banks keep them. A holiday on a Sunday moves to Monday; one on a Saturday is not moved.
public enum BankingCalendar {
  /// Which days a holiday falls on.
  private enum Rule: Sendable {
    case fixed(month: Int, day: Int)
    /// The nth such weekday of a month; -1 is the last.
    case floating(month: Int, Weekday, Int)
  }

  /// Holidays with the years in which the law has them: most floating ones come from the Uniform Monday Holiday Act,
  /// in force from 1971.
  private static let holidays: [(years: ClosedRange<Int>, rule: Rule)] = [
    (1970...9999, .fixed(month: 1, day: 1)),
    (1986...9999, .floating(month: 1, .monday, 3)),
    (1970...1970, .fixed(month: 2, day: 22)),
    (1971...9999, .floating(month: 2, .monday, 3)),
    (1970...1970, .fixed(month: 5, day: 30)),
    (1971...9999, .floating(month: 5, .monday, -1)),
    (2021...9999, .fixed(month: 6, day: 19)),
    (1970...9999, .fixed(month: 7, day: 4)),
    (1970...9999, .floating(month: 9, .monday, 1)),
    (1971...9999, .floating(month: 10, .monday, 2)),
    (1971...1977, .floating(month: 10, .monday, 4)),
    (1970...1970, .fixed(month: 11, day: 11)),
    (1978...9999, .fixed(month: 11, day: 11)),
    (1970...9999, .floating(month: 11, .thursday, 4)),
    (1970...9999, .fixed(month: 12, day: 25)),
  ]

  /// The weekdays of a year, 1970 or later, on which the Reserve Banks are closed; in order.
  public static func holidays(of year: Int) -> [CivilDate] {
    holidays.compactMap { holiday -> CivilDate? in
      guard holiday.years.contains(year) else { return nil }
      switch holiday.rule {
      case .fixed(let month, let day):
        let date = CivilDate(year, month, day)
        switch date.weekday {
        case .saturday: return nil
        case .sunday: return date.adding(days: 1)
        default: return date
        }
      case .floating(let month, let weekday, let nth):
        let anchor = CivilDate(year, month, nth > 0 ? 1 + 7 * (nth - 1) : CivilDate.days(in: month, of: year) - 6)
        return anchor.adding(days: (weekday.rawValue - anchor.weekday.rawValue + 7) % 7)
      }
    }.sorted()
  }

  /// True where the Reserve Banks are open on that day.
  public static func isBankingDay(_ date: CivilDate) -> Bool {
    switch date.weekday {
    case .saturday, .sunday: false
    default: !holidays(of: date.year).contains(date)
    }
  }

  /// The first banking day after a date.
  public static func nextBankingDay(after date: CivilDate) -> CivilDate {
    var next = date.adding(days: 1)
    // No run of closed days is longer than four; the bound holds for the calendar's last day too.
    for _ in 0..<7 where !isBankingDay(next) { next = next.adding(days: 1) }
    return next
  }

  /// The deadlines of Same Day ACH at the Reserve Banks, in Eastern Time, with the day each came into force.
  public static let sameDayWindows: [(from: CivilDate, deadline: CivilTime)] = [
    (CivilDate(2016, 9, 23), CivilTime(10, 30)), (CivilDate(2016, 9, 23), CivilTime(14, 45)),
    (CivilDate(2021, 3, 19), CivilTime(16, 45)),
  ]

  /// The earliest Same Day deadline that a file handed in at that time, Eastern, still meets; nil where none is left or
  /// the day is no banking day.
  public static func sameDayDeadline(on date: CivilDate, at time: CivilTime) -> CivilTime? {
    guard isBankingDay(date) else { return nil }
    return sameDayWindows.first { $0.from <= date && time <= $0.deadline }?.deadline
  }
}

/// An upper limit on an amount, which changes with time.
public struct DatedLimit: Sendable {
  /// The amounts in minor units with the first day of each, oldest first.
  public let steps: [(from: CivilDate, amount: Int64)]

  /// Makes a limit of its steps, oldest first.
  public init(_ steps: [(from: CivilDate, amount: Int64)]) { self.steps = steps }

  /// The limit on a day, in minor units; nil before the first step.
  public func amount(on date: CivilDate) -> Int64? { steps.last { $0.from <= date }?.amount }

  /// The greatest amount in cents of one Same Day ACH entry.
  public static let sameDayACH = DatedLimit([
    (CivilDate(2016, 9, 23), 2_500_000), (CivilDate(2020, 3, 20), 10_000_000), (CivilDate(2022, 3, 18), 100_000_000),
  ])
}
