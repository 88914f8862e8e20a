import Foundation
import Rails
import TestSupport
import Testing

@Suite("ACH rules of IAT, ADV and the terminal classes", .enabled(if: Vectors.has("nacha")))
struct ACHForeignRuleTests {
  typealias Case = ACHRuleTests.Case

  static func sample(_ path: String) throws -> Lines { Lines(Array(try Vectors.data("nacha/test/" + path))) }

  @Test("IAT")
  func iat() throws {
    var base = try Self.sample("ach-iat-read/iat-credit.ach")
    base.set(1, 24, "261123")
    base.set(2, 70, "261124")
    let swapped = base[6]
    ACHRuleTests.run(
      "ACH IAT", base,
      [
        Case("as it is", [], nil), Case("Same Day", [.set(2, 70, "261123")], .sameDayIAT, 2),
        Case("Same Day, received", [.set(2, 70, "261123")], nil, nil, .received),
        Case("no addenda 13", [.remove(7), .recount], .addendaCount, 3),
        Case("addenda 12 before 11", [.remove(6), .insert(4, swapped), .recount], .addendaType, 6),
        Case("addenda 10 twice", [.insert(4, base[4]), .recount], .addendaCount, 5),
        Case("two addenda 17", [.insert(11, Fixtures.addenda05("x", "0002", "0000001", type: "17")), .recount], nil),
        Case(
          "three addenda 17",
          [
            .insert(11, Fixtures.addenda05("x", "0002", "0000001", type: "17")),
            .insert(12, Fixtures.addenda05("x", "0003", "0000001", type: "17")), .recount,
          ], .addendaCount, 13),
        Case("five addenda 18", (2...5).reversed().flatMap { Self.another18($0, base) } + [.recount], nil),
        Case("six addenda 18", (2...6).reversed().flatMap { Self.another18($0, base) } + [.recount], .addendaCount, 17),
        Case("addenda 05", [.insert(12, Fixtures.addenda05("x", "0001", "0000001")), .recount], .addendaType, 13),
        Case("entry detail sequence", [.set(4, 88, "0000002")], .entryDetailSequence, 4),
        Case("no foreign amount", [.set(4, 7, String(repeating: " ", count: 18))], nil),
        Case("half a foreign amount", [.set(4, 7, " ")], .numeric, 4),
        Case("transaction type", [.set(4, 4, "BIL")], .transactionType, 4), Case("type BUS", [.set(4, 4, "BUS")], nil),
        Case("check digit", [.set(3, 12, "3")], .checkDigit, 3),
      ])
  }

  static func another18(_ sequence: Int, _ base: Lines) -> [ACHRuleTests.Edit] {
    let line = base[12]
    return [.insert(12, line.prefix(83) + "000\(sequence)" + line.suffix(7))]
  }

  @Test("ADV")
  func adv() throws {
    let base = try Self.sample("ach-adv-read/adv-read.ach")
    let domestic = try Fixtures.base()
    ACHRuleTests.run(
      "ACH ADV", base,
      [
        Case("as it is", [], nil, nil, .received),
        Case("status 1", [.set(2, 79, "1")], .originatorStatus, 2, .received),
        Case("class 220", [.set(2, 2, "220")], .serviceClass, 2, .received),
        Case("code 89", [.set(3, 2, "89")], .transactionCode, 3, .received),
        Case("code 22", [.set(3, 2, "22")], .transactionCode, 3, .received),
        Case("a debit for a credit", [.set(3, 2, "82")], .debitTotal, 5, .received),
        Case("sequence numbers alike", [.set(4, 91, "0001")], .traceNumber, 4, .received),
        Case("total of 20 digits", [.set(5, 21, "99999999999999999999")], .debitTotal, 5, .received),
        Case("a domestic batch behind", [.insert(5, domestic[7])], .advMixed, 6, .received),
      ])
    ACHRuleTests.run(
      "ADV behind domestic", domestic,
      [Case("ADV", [.insert(6, base[2]), .set(7, 88, "0000002")], .advMixed, 7, .received)])
  }

  @Test("POS, SHR and MTE")
  func terminals() throws {
    let base = try Self.sample("ach-pos-read/pos-debit.ach")
    ACHRuleTests.run(
      "ACH POS", base,
      [
        Case("as it is", [], nil, nil, .received),
        Case("no addenda", [.remove(4), .set(3, 79, "0"), .recount], .addendaCount, 3, .received),
        Case("another trace number", [.set(4, 88, "0000002")], .entryDetailSequence, 4, .received),
        Case("two addenda", [.insert(4, base[4]), .recount], .addendaCount, 5, .received),
        Case(
          "addenda 05", [.insert(4, Fixtures.addenda05("x", "0001", "0000001")), .recount], .addendaType, 5, .received),
      ])
  }
}
