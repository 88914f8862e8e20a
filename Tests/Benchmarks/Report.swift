import Foundation
import Wire

/// One measurement. A larger ratio is always better: where the budget is a greatest value, it is budget over value.
struct Row: Sendable {
  let name: String
  let value: Double
  let unit: String
  let against: String?
  let againstValue: Double?
  let ratio: Double?
  let atLeast: Double?

  /// A figure that explains others.
  init(_ name: String, _ value: Double, _ unit: String) {
    self.init(name, value, unit, nil, nil, nil, nil)
  }

  /// A rate beside another, of which it should reach the fraction `atLeast`.
  init(_ name: String, _ value: Double, _ unit: String, beside against: String, _ other: Double, atLeast: Double? = nil)
  {
    self.init(name, value, unit, against, other, value / other, atLeast)
  }

  /// A rate beside another that could not be measured, and why.
  init(_ name: String, _ value: Double, _ unit: String, without peer: String, _ reason: String) {
    self.init(name, value, unit, "\(peer): not measured: \(reason)", nil, nil, nil)
  }

  /// A time or a size beside another: the ratio says how many times as good it is.
  init(_ name: String, _ value: Double, _ unit: String, beside other: Double, _ against: String) {
    self.init(name, value, unit, against, other, other / value, nil)
  }

  /// A figure that should reach a budget.
  init(_ name: String, _ value: Double, _ unit: String, least budget: Double) {
    self.init(name, value, unit, "budget", budget, value / budget, 1)
  }

  /// A figure that should stay within a budget.
  init(_ name: String, _ value: Double, _ unit: String, most budget: Double) {
    self.init(name, value, unit, "budget", budget, budget / value, 1)
  }

  private init(
    _ name: String, _ value: Double, _ unit: String, _ against: String?, _ againstValue: Double?, _ ratio: Double?,
    _ atLeast: Double?
  ) {
    self.name = name
    self.value = value
    self.unit = unit
    self.against = against
    self.againstValue = againstValue
    self.ratio = ratio
    self.atLeast = atLeast
  }

  /// The row as `bench.json` lists it.
  var json: JSONValue {
    func number(_ value: Double?) -> JSONValue { value.map { .double(Self.rounded($0)) } ?? .null }
    return [
      "name": .string(name), "value": number(value), "unit": .string(unit),
      "against": against.map { .string($0) } ?? .null, "against_value": number(againstValue), "ratio": number(ratio),
      "at_least": number(atLeast),
    ]
  }

  /// Four digits are more than any of these figures repeats.
  private static func rounded(_ value: Double) -> Double { Double(String(format: "%.4g", value)) ?? value }

  /// The cells of the table.
  var cells: [String] {
    func text(_ value: Double?) -> String {
      guard let value else { return "" }
      return String(format: value.magnitude >= 100 ? "%.0f" : value.magnitude >= 0.1 ? "%.3g" : "%.2g", value)
    }
    return [name, text(value), unit, against ?? "", text(againstValue), text(ratio), text(atLeast)]
  }
}

/// The table that `make bench` prints.
enum Table {
  static func render(_ rows: [Row]) -> String {
    let lines = [["name", "value", "unit", "against", "against value", "ratio", "at least"]] + rows.map(\.cells)
    let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    return lines.map { cells in
      cells.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - cells[column].count)
        return [0, 2, 3].contains(column) ? cells[column] + padding : padding + cells[column]
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }
}

/// Rates by the monotonic clock.
enum Timing {
  static func seconds(_ body: () throws -> Void) rethrows -> Double {
    try ContinuousClock().measure(body) / .seconds(1)
  }

  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : sorted[sorted.count / 2]
  }

  /// Runs each body in turn, round after round, so that all meet the same weather, and gives the median rate of each.
  /// - Parameter bodies: each does so many operations and gives the seconds that they took.
  static func rates(rounds: Int, operations: Int, _ bodies: [(Int) throws -> Double]) throws -> [Double] {
    var rates = [[Double]](repeating: [], count: bodies.count)
    for _ in 0..<rounds {
      for (index, body) in bodies.enumerated() { rates[index].append(Double(operations) / (try body(operations))) }
    }
    return rates.map(median)
  }
}
