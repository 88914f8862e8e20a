import Foundation
import Rails

/// A generator that starts from a seed (SplitMix64).
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// The lines of a file, to be edited. Positions count from 1, as the Operating Rules do.
struct Lines: Sendable {
  var lines: [String]

  init(_ lines: [String]) { self.lines = lines }
  init(_ bytes: [UInt8]) {
    lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: true).map(
      String.init)
  }

  subscript(_ line: Int) -> String {
    get { lines[line - 1] }
    set { lines[line - 1] = newValue }
  }

  func field(_ line: Int, _ position: Int, _ width: Int) -> String {
    String(decoding: Array(lines[line - 1].utf8)[position - 1..<position - 1 + width], as: UTF8.self)
  }

  mutating func set(_ line: Int, _ position: Int, _ text: String) {
    var bytes = Array(lines[line - 1].utf8)
    bytes.replaceSubrange(position - 1..<position - 1 + text.utf8.count, with: text.utf8)
    lines[line - 1] = String(decoding: bytes, as: UTF8.self)
  }

  func bytes(_ ending: String = "\n", last: Bool = true) -> [UInt8] {
    Array((lines.joined(separator: ending) + (last ? ending : "")).utf8)
  }

  /// Counts, hashes, totals and padding computed anew, of domestic and IAT files; nothing here is the code under test.
  mutating func recount() {
    lines.removeAll { $0.utf8.allSatisfy { $0 == UInt8(ascii: "9") } }
    func number(_ line: Int, _ position: Int, _ width: Int) -> Int { Int(field(line, position, width)) ?? 0 }
    func pad(_ value: Int, _ width: Int) -> String {
      String(String(repeating: "0", count: width) + String(value)).suffix(width).description
    }
    var (count, hash, debits, credits) = (0, 0, 0, 0)
    var file = (batches: 0, count: 0, hash: 0, debits: 0, credits: 0)
    for line in 1...lines.count {
      switch self[line].first {
      case "5": (count, hash, debits, credits) = (0, 0, 0, 0)
      case "6":
        count += 1
        hash += number(line, 4, 8)
        if "01234".contains(field(line, 3, 1)) {
          credits += number(line, 30, 10)
        } else {
          debits += number(line, 30, 10)
        }
      case "7": count += 1
      case "8":
        set(line, 5, pad(count, 6) + pad(hash, 10) + pad(debits, 12) + pad(credits, 12))
        file = (file.batches + 1, file.count + count, file.hash + hash, file.debits + debits, file.credits + credits)
      case "9":
        let blocks = pad((lines.count + 9) / 10, 6)
        set(
          line, 2,
          pad(file.batches, 6) + blocks + pad(file.count, 8) + pad(file.hash, 10) + pad(file.debits, 12)
            + pad(file.credits, 12))
      default: break
      }
    }
    while lines.count % 10 != 0 { lines.append(String(repeating: "9", count: 94)) }
  }
}

enum Fixtures {
  static let monday = CivilDate(year: 2026, month: 11, day: 23)!
  static let tuesday = CivilDate(year: 2026, month: 11, day: 24)!
  static let nine = CivilTime(hour: 9, minute: 5)!

  static func originator() throws -> ACHOriginator {
    try ACHOriginator(
      immediateDestination: "231380104", immediateOrigin: "1121042882", destinationName: "Federal Reserve Bank",
      originName: "My Bank Name", companyName: "TrustCore Demo", companyIdentification: "1121042882", odfi: "12104288",
      entryDescription: "PAYMENT")
  }

  static func account(
    _ entryClass: ACHEntryClass = .ccd, kind: ACHAccount.Kind = .checking, number: String = "744-5678-99",
    routing: String = "231380104"
  ) throws -> ACHAccount {
    try ACHAccount(
      routingNumber: routing, accountNumber: number, kind: kind, entryClass: entryClass, receiverName: "Best Co. #1")
  }

  static func builder(
    _ modifier: Character = "A", on date: CivilDate = monday, effective: CivilDate = tuesday, first: Int = 1
  ) throws -> ACHFileBuilder {
    try ACHFileBuilder(
      originator: originator(), fileIDModifier: modifier, creationDate: date, creationTime: nine,
      effectiveEntryDate: effective, firstBatchNumber: first)
  }

  /// Lines 1: file header; 2 to 6: CCD with entries at 3 and 4, the second with addenda; 7 to 11: PPD likewise; 12: file
  /// control; 13 to 20: padding.
  static func base() throws -> Lines {
    try Lines(
      builder().build(
        [
          ACHCredit(account: account(), amount: 12_345, leafIndex: 41),
          ACHCredit(
            account: account(kind: .savings), amount: 200, leafIndex: 43, reference: "RMR*IV*0123456789**200\\"),
          ACHCredit(account: account(.ppd, routing: "031300012"), amount: 999, leafIndex: 42),
          ACHCredit(account: account(.ppd), amount: 1, leafIndex: 44, reference: "thanks"),
        ].sorted { $0.leafIndex < $1.leafIndex }))
  }

  static let blank44 = String(repeating: " ", count: 44)

  static func addenda05(_ text: String, _ sequence: String, _ detail: String, type: String = "05") -> String {
    "7" + type + text + String(repeating: " ", count: 80 - text.utf8.count) + sequence + detail
  }
}
