/// Durations and sizes as manifests write them: digits and one unit, without sign, space, fraction or leading zero.
enum ManifestUnits {
  /// Seconds per unit. There is no month: `m` is minutes. A year is 365 days.
  static let seconds: [(unit: String, worth: Int64)] = [
    ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400), ("y", year),
  ]

  /// Seconds of a year.
  static let year: Int64 = 365 * 86_400

  /// Bytes per unit.
  static let bytes: [(unit: String, worth: Int64)] = [
    ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50),
  ]

  /// A quantity in units of one, or nil where the text is none.
  static func quantity(_ text: String, _ units: [(unit: String, worth: Int64)]) -> Int64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = integer(digits), let unit = units.first(where: { $0.unit == text[digits.endIndex...] }) else {
      return nil
    }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.worth)
    return overflow ? nil : product
  }

  /// A decimal integer of 1 to 16 digits, or nil where the text is none.
  static func integer(_ text: Substring) -> Int64? {
    guard (1...16).contains(text.utf8.count), text == "0" || text.utf8.first != UInt8(ascii: "0"),
      text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return Int64(text)
  }

  /// The text of a bound in its greatest unit, for messages.
  static func text(_ quantity: Int64, _ units: [(unit: String, worth: Int64)]) -> String {
    let unit = units.last { quantity != 0 && quantity % $0.worth == 0 } ?? units[0]
    return "\(quantity / unit.worth)\(unit.unit)"
  }
}

extension ManifestNode {
  /// A duration within a range of seconds.
  func duration(in range: ClosedRange<Int64>) throws(ManifestError) -> Duration {
    .seconds(try quantity(in: range, ManifestUnits.seconds, "duration, such as 90d"))
  }

  /// A size within a range of bytes.
  func size(in range: ClosedRange<Int64>) throws(ManifestError) -> Int64 {
    try quantity(in: range, ManifestUnits.bytes, "size, such as 64GiB")
  }

  private func quantity(
    in range: ClosedRange<Int64>, _ units: [(unit: String, worth: Int64)], _ what: String
  ) throws(ManifestError) -> Int64 {
    guard let scalar else { throw error(.shape, "write a \(what)") }
    guard let value = ManifestUnits.quantity(scalar, units) else {
      throw error(
        .value, "write a \(what): digits and one of " + units.map(\.unit).joined(separator: ", ") + ", without space")
    }
    guard range.contains(value) else {
      throw error(
        .value,
        "write a \(what), from \(ManifestUnits.text(range.lowerBound, units)) to "
          + ManifestUnits.text(range.upperBound, units))
    }
    return value
  }
}
