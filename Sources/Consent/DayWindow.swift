import Foundation
public import Wire

/// A time zone by its IANA name.
public struct Zone: Sendable, Hashable, CustomStringConvertible {
  /// The name, as in `America/New_York`.
  public let name: String
  private let rules: TimeZone

  /// Looks a zone up; nil where it is unknown. `UTC` is known, abbreviations such as `EST` and offsets such as `GMT+5`,
  /// which Foundation would take, are not: they are names of no place, and say nothing of summer time.
  public init?(_ name: String) {
    let known = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && (name == "UTC" || name.utf8.contains(0x2F))
    guard known, name.utf8.count <= 64, let rules = TimeZone(identifier: name) else { return nil }
    self.name = name
    self.rules = rules
  }

  /// The name.
  public var description: String { name }

  /// Zones are equal when their names are.
  public static func == (a: Zone, b: Zone) -> Bool { a.name == b.name }

  /// Hashes the name.
  public func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// Seconds east of Greenwich at a moment given in seconds since the epoch.
  func offset(at seconds: Int64) -> Int64 {
    Int64(rules.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds))))
  }
}

/// A day of a zone's calendar, from midnight to midnight: 23, 24 or 25 hours as a rule. Half-open, and days follow one
/// another without gap or overlap whatever the clocks do.
public struct DayWindow: Sendable, Hashable {
  /// The first moment of the day.
  public let start: Timestamp
  /// The first moment after it.
  public let end: Timestamp

  /// True for `start <= moment < end`.
  public func contains(_ moment: Timestamp) -> Bool { start <= moment && moment < end }

  /// The day that a moment lies in.
  ///
  /// A day begins at the first moment whose local date is that day or a later one: where clocks skip midnight, at the
  /// skip; where they are set back over midnight, at the first midnight. A date that a zone left out has no window.
  public static func containing(_ moment: Timestamp, zone: Zone) -> DayWindow {
    // Rules of zones say nothing so far out: a moment beyond is taken for the bound, so that no sum overflows.
    let seconds = min(max(moment.seconds, -range), range)
    var day = (seconds + zone.offset(at: seconds)).dividedDown(by: length)
    var start = start(ofDay: day, zone)
    // Where clocks were set back over midnight, the date alone names the day before.
    var end = Self.start(ofDay: day + 1, zone)
    while seconds >= end {
      day += 1
      (start, end) = (end, Self.start(ofDay: day + 1, zone))
    }
    return DayWindow(start: Timestamp(seconds: start), end: Timestamp(seconds: end))
  }

  private static let length: Int64 = 86_400
  /// About 10,000 years, in seconds.
  private static let range: Int64 = 315_576_000_000

  /// The first second whose local date, counted in days since 1970-01-01, is `day` or later.
  private static func start(ofDay day: Int64, _ zone: Zone) -> Int64 {
    // No offset has ever exceeded 16 hours. Within a step the offset changes at most once.
    let (midnight, step) = (day * length, Int64(4 * 3600))
    var from = midnight - 16 * 3600
    while true {
      let (before, after) = (zone.offset(at: from), zone.offset(at: from + step))
      // `from..<until` has the one offset `before`.
      var until = from + step
      if before != after {
        var low = from
        while until - low > 1 {
          let middle = low + (until - low) / 2
          if zone.offset(at: middle) == before { low = middle } else { until = middle }
        }
      }
      if midnight - before < until { return max(from, midnight - before) }
      from = until
    }
  }
}

/// The days last asked for, a day per zone: what is asked again within one costs a look-up.
public struct DayWindowCache: Sendable {
  private var days: [Zone: DayWindow] = [:]

  /// An empty cache.
  public init() {}

  /// ``DayWindow/containing(_:zone:)``, remembered.
  public mutating func containing(_ moment: Timestamp, zone: Zone) -> DayWindow {
    if let day = days[zone], day.contains(moment) { return day }
    let day = DayWindow.containing(moment, zone: zone)
    days[zone] = day
    return day
  }
}

/// The rolling hour that ends with a moment: 3600 s, without its first and with its last millisecond.
public struct HourWindow: Sendable, Hashable {
  /// The last moment before the hour.
  public let after: Timestamp
  /// The last moment of the hour.
  public let through: Timestamp

  /// The hour that ends with a moment.
  public init(endingAt moment: Timestamp) {
    (after, through) = (moment.adding(seconds: -3600), moment)
  }

  /// True for `after < moment <= through`.
  public func contains(_ moment: Timestamp) -> Bool { after < moment && moment <= through }
}

extension Int64 {
  fileprivate func dividedDown(by divisor: Int64) -> Int64 {
    let (quotient, rest) = quotientAndRemainder(dividingBy: divisor)
    return rest < 0 ? quotient - 1 : quotient
  }
}
