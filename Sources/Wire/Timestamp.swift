/// A moment: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
public struct Timestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Milliseconds since the epoch.
  public let milliseconds: Int64

  /// A moment given in milliseconds.
  public init(milliseconds: Int64) { self.milliseconds = milliseconds }

  /// A moment given in seconds, as JWT's NumericDate and RFC 9421's `created` are; beyond the range of milliseconds,
  /// the first or the last moment of that range.
  public init(seconds: Int64) {
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1000)
    milliseconds = overflow ? (seconds < 0 ? .min : .max) : product
  }

  /// Whole seconds since the epoch, rounded down.
  public var seconds: Int64 { milliseconds >= 0 ? milliseconds / 1000 : (milliseconds + 1) / 1000 - 1 }

  /// The moment that many seconds later, kept within the range of milliseconds.
  public func adding(seconds: Int64) -> Timestamp {
    let (sum, overflow) = milliseconds.addingReportingOverflow(Timestamp(seconds: seconds).milliseconds)
    return Timestamp(milliseconds: overflow ? (seconds < 0 ? .min : .max) : sum)
  }

  /// Earlier moments are smaller.
  public static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

  /// The text of RFC 3339 in UTC with milliseconds, as in `2026-11-21T07:00:00.000Z`.
  public var description: String {
    // Howard Hinnant's civil-from-days: the proleptic Gregorian calendar counted from 1 March.
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let clock = seconds - days * 86_400
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * month + 2) / 5 + 1
    let calendarMonth = month < 10 ? month + 3 : month - 9
    let year = yearOfEra + era * 400 + (calendarMonth <= 2 ? 1 : 0)
    func pad(_ value: Int64, _ width: Int) -> String {
      let text = String(value)
      return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    return pad(year, 4) + "-" + pad(calendarMonth, 2) + "-" + pad(day, 2) + "T" + pad(clock / 3600, 2) + ":"
      + pad(clock / 60 % 60, 2) + ":" + pad(clock % 60, 2) + "." + pad(milliseconds - seconds * 1000, 3) + "Z"
  }
}

/// Where the time comes from. The product passes the system's clock in at one place; tests pass their own.
public protocol TimeSource: Sendable {
  /// The present moment.
  func now() -> Timestamp
}

/// Where random bytes come from. The product passes the system's generator in at one place; tests pass a seeded one.
public protocol RandomSource: Sendable {
  /// Cryptographically strong bytes.
  func bytes(_ count: Int) -> [UInt8]
}

extension RandomSource {
  /// 16 bytes to name something by. In base64url they do not begin with `-`, which command lines take for an option.
  public func identifier() -> [UInt8] {
    var bytes = bytes(16)
    if bytes[0] >> 2 == 62 { bytes[0] &= 0x7F }
    return bytes
  }
}
