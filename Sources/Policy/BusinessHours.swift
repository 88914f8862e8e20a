import Foundation
public import Wire

/// Hours of some days of the week in a place.
public struct BusinessHours: Sendable, Equatable {
  /// A day of the week.
  public enum Weekday: String, Sendable, CaseIterable {
    // In the order of days since 1970-01-01, a Thursday.
    case thursday = "thu"
    case friday = "fri"
    case saturday = "sat"
    case sunday = "sun"
    case monday = "mon"
    case tuesday = "tue"
    case wednesday = "wed"
  }

  /// Minutes of the local clock since midnight, half-open, within 0 to 1440.
  public let minutes: Range<Int>
  /// The days that have these hours.
  public let weekdays: Set<Weekday>
  /// The zone's IANA name.
  public let zone: String
  private let rules: TimeZone

  init(_ reader: inout ObjectReader) throws {
    let from = Int(try reader.integer("from", in: 0...1439))
    let to = Int(try reader.integer("to", in: 1...1440))
    guard from < to else {
      throw Problem(422, "policy_hours", "'from' must come before 'to'; join two rules for hours over midnight.")
    }
    minutes = from..<to
    weekdays = Set(try reader.set("weekdays", limit: 7) { Weekday(rawValue: $0) != nil }.compactMap(Weekday.init))
    zone = try reader.string("zone", maximumBytes: 64)
    // Foundation also takes abbreviations and offsets, which say nothing of summer time.
    let known = zone.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && (zone == "UTC" || zone.utf8.contains(0x2F))
    guard known, let rules = TimeZone(identifier: zone) else {
      throw Problem(
        422, "policy_zone_unknown",
        "Use an IANA zone such as America/New_York, or UTC; '\(zone)' is none that is known.")
    }
    self.rules = rules
  }

  /// True if a moment lies within the hours by the local clock.
  public func contains(_ moment: Timestamp) -> Bool {
    // Rules of zones say nothing 10,000 years away; the bound keeps the sum from overflow.
    let seconds = min(max(moment.seconds, -315_576_000_000), 315_576_000_000)
    let offset = rules.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds)))
    let (days, rest) = (seconds + Int64(offset)).quotientAndRemainder(dividingBy: 86_400)
    let (day, second) = rest < 0 ? (days - 1, rest + 86_400) : (days, rest)
    let weekday = Weekday.allCases[Int((day % 7 + 7) % 7)]
    return weekdays.contains(weekday) && minutes.contains(Int(second / 60))
  }

  var members: JSONObject {
    [
      "from": .integer(Int64(minutes.lowerBound)), "to": .integer(Int64(minutes.upperBound)),
      "weekdays": .array(weekdays.map(\.rawValue).sorted().map { .string($0) }), "zone": .string(zone),
    ]
  }
}
