import Foundation
import Wire

/// Local dates as Foundation's calendar tells them: another way than the one under test.
struct LocalDates {
  private var calendar = Calendar(identifier: .gregorian)

  init(_ zone: String) { calendar.timeZone = TimeZone(identifier: zone) ?? .gmt }

  func date(of moment: Timestamp) -> String {
    let parts = calendar.dateComponents(
      [.year, .month, .day], from: Date(timeIntervalSince1970: Double(moment.milliseconds) / 1000))
    return "\(parts.year ?? 0)-\(parts.month ?? 0)-\(parts.day ?? 0)"
  }
}
