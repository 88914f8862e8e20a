/// Numbers, sizes and tables as terminals show them: plain ASCII, no space at a line's end.
public enum Wording {
  /// A number with commas, as in `1,200`.
  public static func number(_ value: some BinaryInteger) -> String {
    let digits = Array(String(value.magnitude))
    var text = value < 0 ? "-" : ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return text
  }

  /// A number of things, as in `1 key` and `2 keys`.
  public static func count(_ value: some BinaryInteger, _ thing: String, _ things: String? = nil) -> String {
    "\(number(value)) " + (value == 1 ? thing : things ?? thing + "s")
  }

  /// A size, as in `17 bytes`, `1.5 KiB` and `1,020 MiB`.
  public static func size(_ bytes: UInt64) -> String {
    var (unit, names) = (UInt64(1), ["KiB", "MiB", "GiB", "TiB"][...])
    var name = ""
    while bytes / unit >= 1024, let next = names.popFirst() { (unit, name) = (unit * 1024, next) }
    if name.isEmpty { return count(bytes, "byte") }
    let whole = bytes / unit
    let tenth = bytes % unit * 10 / unit
    return number(whole) + (whole < 100 ? ".\(tenth)" : "") + " " + name
  }

  /// A span of time, as in `5 s`, `3 min 20 s` and `2 h 5 min`.
  public static func seconds(_ seconds: UInt64) -> String {
    switch seconds {
    case 0..<60: "\(seconds) s"
    case 60..<3600: "\(seconds / 60) min \(seconds % 60) s"
    default: "\(number(seconds / 3600)) h \(seconds % 3600 / 60) min"
    }
  }

  /// What came from elsewhere, safe for a terminal: everything but visible ASCII becomes `?`.
  public static func visible(_ text: String) -> String {
    String(
      decoding: text.unicodeScalars.map { (0x20...0x7E).contains($0.value) ? UInt8($0.value) : 0x3F }, as: UTF8.self)
  }

  /// Rows under a heading, each column as wide as its widest cell.
  /// - Parameters:
  ///   - heading: the columns' names.
  ///   - numbers: the columns that stand to the right.
  ///   - rows: as many cells each as there are columns; cells are made ``visible(_:)``.
  ///   - below: of each row what is too long, or too many, for a cell: lines of their own.
  public static func table(
    _ heading: [String], numbers: Set<Int> = [], _ rows: [[String]], below: [[String]] = []
  ) -> String {
    let rows = ([heading] + rows).map { $0.map(visible) }
    let widths = heading.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.enumerated().map { index, row in
      let cells = row.enumerated().map { column, cell in
        let space = String(repeating: " ", count: widths[column] - cell.count)
        return numbers.contains(column) ? space + cell : cell + space
      }
      let lines = index > 0 && index <= below.count ? below[index - 1] : []
      return ([trimmed(cells.joined(separator: "  "))] + lines.map { "  " + visible($0) }).joined(separator: "\n")
    }.joined(separator: "\n")
  }

  /// A text in lines of at most 80 characters, the further ones indented; a word that is longer is not cut.
  public static func folded(_ text: String) -> String {
    var lines = [""]
    for word in visible(text).split(separator: " ") {
      let line = lines[lines.count - 1]
      if line.isEmpty {
        lines[lines.count - 1] = String(word)
      } else if line.count + 1 + word.count <= 80 {
        lines[lines.count - 1] = line + " " + word
      } else {
        lines.append("  " + word)
      }
    }
    return lines.joined(separator: "\n")
  }

  /// Names with their values behind them in one column.
  public static func list(_ rows: [(name: String, value: String)]) -> String {
    let width = rows.map(\.name.count).max() ?? 0
    return rows.map { row in
      trimmed(row.name + String(repeating: " ", count: width - row.name.count + 2) + visible(row.value))
    }.joined(separator: "\n")
  }

  private static func trimmed(_ line: String) -> String {
    String(line[..<(line.lastIndex { $0 != " " }.map(line.index(after:)) ?? line.startIndex)])
  }
}
