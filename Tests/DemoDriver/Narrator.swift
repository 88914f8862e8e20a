import Foundation
import Glibc

/// What came of one line of the job.
enum Outcome: Sendable {
  /// It did what it should.
  case done(String)
  /// It was refused as it should be, with this code.
  case refused(code: String, String)
  /// It did something else.
  case deviated(String)
}

/// Tells what happens while it happens, and the summary in the end. Plain text of at most 100 columns; colours only
/// where standard output is a terminal.
final class Narrator {
  private struct Row {
    let number: String
    let title: String
    let outcome: Outcome
  }

  private enum Style: String {
    case bold = "1"
    case dim = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"
  }

  static let width = 98
  private let coloured = isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
  private var rows: [Row] = []

  var deviations: Int { rows.count { if case .deviated = $0.outcome { true } else { false } } }

  func line(_ text: String = "") { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }

  func heading(_ text: String) { line("\n" + styled(text, .bold)) }

  func item(_ number: String, _ title: String, _ story: String) {
    line()
    line("  " + Self.pad(number, 5) + styled(title, .bold))
    for part in Self.wrap(story, Self.width - 7) { line("       " + part) }
  }

  /// A value worth seeing.
  func value(_ name: String, _ value: String) {
    for (index, part) in Self.wrap(value, Self.width - 29).enumerated() {
      line("         " + styled(Self.pad(index == 0 ? name : "", 20), .dim) + Self.shorten(part, Self.width - 29))
    }
  }

  func outcome(_ number: String, _ title: String, _ outcome: Outcome) {
    rows.append(Row(number: number, title: title, outcome: outcome))
    let (word, style, text) = Self.words(outcome)
    for (index, part) in Self.wrap(text, Self.width - 16).enumerated() {
      line("       " + (index == 0 ? styled(Self.pad(word, 9), style) : Self.pad("", 9)) + part)
    }
  }

  func summary(_ elapsed: Duration) {
    let title = rows.map(\.title.count).max() ?? 0
    heading("Summary")
    line(styled("  " + Self.pad("step", 6) + Self.pad("what", title + 2) + "result", .dim))
    for row in rows {
      let (word, style, _) = Self.words(row.outcome)
      let rest =
        switch row.outcome {
        case .done(let text): text
        case .refused(let code, _): code
        case .deviated(let text): text
        }
      let room = Self.width - title - 19
      line(
        "  " + Self.pad(row.number, 6) + Self.pad(row.title, title + 2) + styled(Self.pad(word, 9), style)
          + Self.shorten(rest, max(room, 20)))
    }
    let time = Self.seconds(elapsed)
    line()
    if deviations == 0 {
      line("  " + styled("All \(rows.count) lines did what they should, in \(time).", .green))
    } else {
      line("  " + styled("\(deviations) of \(rows.count) lines did not do what they should, in \(time).", .red))
    }
  }

  // MARK: - Text

  private static func words(_ outcome: Outcome) -> (String, Style, String) {
    switch outcome {
    case .done(let text): ("ok", .green, text)
    case .refused(let code, let text): ("refused", .yellow, code + (text.isEmpty ? "" : ", " + text))
    case .deviated(let text): ("FAILED", .red, text)
    }
  }

  private func styled(_ text: String, _ style: Style) -> String {
    coloured ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
  }

  static func seconds(_ duration: Duration) -> String {
    String(format: "%.1f s", Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18)
  }

  static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  static func shorten(_ text: String, _ width: Int) -> String {
    let flat = text.split(whereSeparator: \.isNewline).joined(separator: " ")
    return flat.count <= width ? flat : flat.prefix(width - 1) + "…"
  }

  private static func wrap(_ text: String, _ width: Int) -> [String] {
    var lines = [""]
    for word in text.split(whereSeparator: \.isWhitespace) {
      if let last = lines.last, !last.isEmpty, last.count + 1 + word.count > width { lines.append("") }
      lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
    }
    return lines
  }
}
