/// How far a long job is, in one line for a terminal. It has no clock: the caller says how much time has passed.
public struct ProgressMeter: Sendable {
  private let total: UInt64?
  private static let barWidth: UInt64 = 24

  /// Measures a job over bytes.
  /// - Parameter total: how many there are; nil where nobody knows.
  public init(total: UInt64?) { self.total = total }

  /// The line, of at most 79 characters.
  /// - Parameters:
  ///   - done: bytes so far.
  ///   - elapsed: time since the start.
  public func line(done: UInt64, after elapsed: Duration) -> String {
    guard let total, total > 0 else {
      let rate = Self.rate(done, elapsed)
      return "\(Wording.size(done))  \(Wording.size(rate))/s"
    }
    // A file that grows while it is read has no more than all of it.
    let done = min(done, total)
    let rate = Self.rate(done, elapsed)
    let filled = Self.part(done, of: total, Self.barWidth)
    let bar = String(repeating: "=", count: Int(filled)) + (filled < Self.barWidth ? ">" : "")
    let percent = String(Self.part(done, of: total, 100))
    var line = String(repeating: " ", count: 3 - percent.count) + "\(percent)%  ["
    line += bar + String(repeating: " ", count: Int(Self.barWidth) - min(bar.count, Int(Self.barWidth))) + "]  "
    line += "\(Wording.size(done)) of \(Wording.size(total))"
    if rate > 0 { line += "  \(Wording.size(rate))/s  \(Wording.seconds((total - done) / rate)) left" }
    return String(line.prefix(79))
  }

  /// The last line: what was done, and how fast.
  public func summary(done: UInt64, after elapsed: Duration) -> String {
    let seconds = UInt64(clamping: elapsed.components.seconds)
    return "\(Wording.size(done)) in \(Wording.seconds(seconds)), \(Wording.size(Self.rate(done, elapsed)))/s"
  }

  private static func part(_ done: UInt64, of total: UInt64, _ whole: UInt64) -> UInt64 {
    let (high, low) = done.multipliedFullWidth(by: whole)
    return total.dividingFullWidth((high, low)).quotient
  }

  private static func rate(_ done: UInt64, _ elapsed: Duration) -> UInt64 {
    let (seconds, attoseconds) = elapsed.components
    let milliseconds = UInt64(clamping: seconds) &* 1000 + UInt64(clamping: attoseconds / 1_000_000_000_000_000)
    let (high, low) = done.multipliedFullWidth(by: 1000)
    return milliseconds <= high ? 0 : milliseconds.dividingFullWidth((high, low)).quotient
  }
}

/// How far re-encrypting is, told each time there is something to say: on a terminal always, otherwise at each tenth.
public struct StepReporter: Sendable {
  private let everyTime: Bool
  private var told: UInt64?

  /// Tells progress.
  /// - Parameter everyTime: whether each call gives a line.
  public init(everyTime: Bool) { self.everyTime = everyTime }

  /// The line; nil where there is nothing new to say.
  public mutating func line(_ progress: RewrapProgress) -> String? {
    let tenth = progress.total == 0 ? 10 : min(progress.done, progress.total) * 10 / progress.total
    guard everyTime || told != tenth else { return nil }
    told = tenth
    return progress.description
  }
}
