/// The path of a tile or an entry bundle below the log's prefix (C2SP tlog-tiles), such as `tile/0/x001/x234/067.p/8`.
public struct TilePath: Hashable, Sendable, CustomStringConvertible {
  /// What the path leads to.
  public enum Content: Hashable, Sendable {
    /// Tree hashes at a tile level, 0...63.
    case hashes(level: Int)
    /// An entry bundle.
    case entries
  }

  /// What the path leads to.
  public let content: Content
  /// The tile's position within its level.
  public let index: UInt64
  /// The number of hashes or entries: 256, or 1...255 for a partial tile.
  public let width: Int

  /// Makes a path; nil unless the level is 0...63 and the width 1...256.
  public init?(_ content: Content, index: UInt64, width: Int = Tile.fullWidth) {
    guard (1...Tile.fullWidth).contains(width) else { return nil }
    if case .hashes(let level) = content, !(0...63).contains(level) { return nil }
    self.content = content
    self.index = index
    self.width = width
  }

  /// Parses a path; nil for anything but the one canonical spelling, for which a server answers 404.
  public init?(_ text: some StringProtocol) {
    // tile/entries/ and 20 digits in seven groups, .p/255
    guard text.utf8.count <= 64 else { return nil }
    var parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Array($0) }
    guard parts.count >= 3, parts.removeFirst() == Array("tile".utf8) else { return nil }
    let kind = parts.removeFirst()
    let content: Content
    if kind == Array("entries".utf8) {
      content = .entries
    } else if let level = Self.number(kind, digits: 1...2) {
      content = .hashes(level: level)
    } else {
      return nil
    }
    var width = Tile.fullWidth
    if parts.count >= 2, parts[parts.count - 2].suffix(2) == Array(".p".utf8)[...] {
      guard let partial = Self.number(parts.removeLast(), digits: 1...3), partial < Tile.fullWidth else { return nil }
      width = partial
      parts[parts.count - 1].removeLast(2)
    }
    var index: UInt64 = 0
    for (place, part) in parts.enumerated() {
      let isLast = place == parts.count - 1
      guard isLast || part.first == UInt8(ascii: "x") else { return nil }
      let digits = isLast ? part : Array(part.dropFirst())
      guard digits.count == 3, digits.allSatisfy(Self.isDigit) else { return nil }
      let (shifted, overflow) = index.multipliedReportingOverflow(by: 1000)
      let (sum, carry) = shifted.addingReportingOverflow(digits.reduce(0) { $0 * 10 + UInt64($1 - 0x30) })
      // A first group of zeros is superfluous unless it is the only one.
      guard !overflow, !carry, place > 0 || isLast || sum > 0 else { return nil }
      index = sum
    }
    self.init(content, index: index, width: width)
  }

  /// The canonical path.
  public var description: String {
    var groups: [String] = []
    var rest = index
    repeat {
      let digits = String(rest % 1000)
      groups.append((groups.isEmpty ? "" : "x") + String(repeating: "0", count: 3 - digits.count) + digits)
      rest /= 1000
    } while rest > 0
    let kind =
      switch content {
      case .hashes(let level): String(level)
      case .entries: "entries"
      }
    let partial = width < Tile.fullWidth ? ".p/\(width)" : ""
    return "tile/\(kind)/\(groups.reversed().joined(separator: "/"))\(partial)"
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  /// A decimal without leading zeros.
  private static func number(_ text: [UInt8], digits: ClosedRange<Int>) -> Int? {
    guard digits.contains(text.count), text.allSatisfy(isDigit), text.count == 1 || text[0] != UInt8(ascii: "0") else {
      return nil
    }
    return text.reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }
}
