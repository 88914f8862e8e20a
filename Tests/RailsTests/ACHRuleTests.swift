import Foundation
import Rails
import TestSupport
import Testing

/// The rules one by one: a good file, one edit, and the code that must answer; nil is a file that stays good, which shows
/// the other side of the limit.
@Suite("ACH rules")
struct ACHRuleTests {
  enum Edit: Sendable {
    /// Writes a text at a line and position, both counted from 1.
    case set(Int, Int, String)
    /// Puts a line in behind another; behind 0 is before the first.
    case insert(Int, String)
    /// Takes a line out.
    case remove(Int)
    /// Cuts the file behind a line.
    case cut(Int)
    /// Computes counts, hashes, totals and padding anew.
    case recount
  }

  struct Case: Sendable {
    let name: String
    let edits: [Edit]
    let code: ACHError.Code?
    let line: Int?
    let rules: ACHRules

    init(
      _ name: String, _ edits: [Edit], _ code: ACHError.Code?, _ line: Int? = nil, _ rules: ACHRules = .originated
    ) {
      (self.name, self.edits, self.code, self.line, self.rules) = (name, edits, code, line, rules)
    }
  }

  static func run(_ title: String, _ base: Lines, _ cases: [Case]) {
    var tally = Tally(title)
    for test in cases {
      var lines = base
      for edit in test.edits {
        switch edit {
        case .set(let line, let position, let text): lines.set(line, position, text)
        case .insert(let line, let text): lines.lines.insert(text, at: line)
        case .remove(let line): lines.lines.remove(at: line - 1)
        case .cut(let line): lines.lines.removeSubrange(line...)
        case .recount: lines.recount()
        }
      }
      let bytes = lines.bytes()
      do {
        let file = try ACHFile(parsing: bytes, test.rules)
        tally.expect(test.code == nil && file.bytes == bytes, "\(test.name): accepted")
      } catch {
        let expected =
          error.code == test.code && (test.line == nil || test.line == error.line) && !error.message.isEmpty
        tally.expect(expected, "\(test.name): \(error)")
      }
    }
    tally.report()
  }

  static let nines = String(repeating: "9", count: 94)

  @Test("the form of the file")
  func form() throws {
    let base = try Fixtures.base()
    var unpadded = base
    unpadded.lines.removeSubrange(12...)
    Self.run(
      "ACH form", base,
      [
        Case("as it was built", [], nil),
        Case("recounted by the test", [.recount], nil),
        Case("93 characters", [.remove(3), .insert(2, String(base[3].dropLast()))], .recordLength, 3),
        Case("95 characters", [.remove(3), .insert(2, base[3] + "1")], .recordLength, 3),
        Case("96 characters", [.remove(3), .insert(2, base[3] + "11")], .recordLength, 3),
        Case("two headers in one line", [.remove(1), .insert(0, base[1] + base[1])], .recordOrder, 2),
        Case("an empty line inside", [.insert(2, "")], .recordLength),
        Case("an empty line first", [.insert(0, "")], .recordLength, 1),
        Case("0x1F", [.set(3, 60, "\u{1F}")], .character, 3), Case("tab", [.set(3, 60, "\t")], .character, 3),
        Case("0x7F", [.set(3, 60, "\u{7F}")], .character, 3), Case("0x20", [.set(3, 60, " ")], nil),
        Case("0x7E", [.set(3, 60, "~")], nil), Case("0x21", [.set(3, 60, "!")], nil),
        Case("not ASCII", [.set(3, 60, "é")], .character, 3),
        Case("letter in a numeric field", [.set(3, 30, "A")], .numeric, 3),
        Case("space in a numeric field", [.set(3, 30, " ")], .numeric, 3),
        Case("nine lines of padding too few", [.cut(12)], .padding, 12),
        Case("a line of padding too few", [.remove(20)], .padding),
        Case("a line of padding too many", [.insert(19, Self.nines)], .padding),
        Case(
          "a block of padding too many", (0..<10).map { _ in .insert(19, Self.nines) } + [.set(12, 8, "000003")],
          .padding),
        Case("padding before the control", [.insert(11, Self.nines)], .recordOrder, 12),
        Case("a record behind the control", [.insert(12, base[2])], .recordOrder, 13),
        Case("padding not all nines", [.set(20, 94, "8")], .recordOrder, 20),
        Case("blocks without padding", [.set(12, 8, "000001")], .blockCount, 12),
        Case("a block too many", [.set(12, 8, "000003")], .blockCount, 12),
        Case("no file header", [.remove(1)], .recordOrder, 1),
        Case("two file headers", [.insert(1, base[1])], .recordOrder, 2),
        Case("no batch header", [.remove(2)], .recordOrder, 2), Case("no batch control", [.remove(6)], .recordOrder, 6),
        Case("two batch headers", [.insert(2, base[2])], .recordOrder, 3),
        Case("addenda behind the control", [.insert(6, base[5])], .recordOrder, 7),
        Case("addenda before the entry", [.insert(2, base[5])], .recordOrder, 3),
        Case("no file control", [.cut(11)], .recordOrder, 12),
        Case("record type 4", [.set(3, 1, "4")], .recordOrder, 3),
        Case("only a file header", [.cut(1)], .recordOrder, 2),
        Case("an empty line alone", [.cut(0)], .recordLength, 1),
        Case("no batches", (2...11).map { _ in .remove(2) } + [.recount], nil),
        Case("an empty batch", [.remove(3), .remove(3), .remove(3), .recount], .empty, 3),
        Case("priority code 02", [.set(1, 2, "02")], .fileHeader, 1),
        Case("record size 095", [.set(1, 35, "095")], .fileHeader, 1),
        Case("blocking factor 20", [.set(1, 38, "20")], .fileHeader, 1),
        Case("format code 2", [.set(1, 40, "2")], .fileHeader, 1),
        Case("destination's check digit", [.set(1, 13, "5")], .routingNumber, 1),
        Case("destination without space", [.set(1, 4, "0")], .routingNumber, 1),
        Case("month 13", [.set(1, 24, "261323")], .fileCreation, 1),
        Case("30 February", [.set(1, 24, "260230")], .fileCreation, 1),
        Case("24:00", [.set(1, 30, "2400")], .fileCreation, 1), Case("12:60", [.set(1, 30, "1260")], .fileCreation, 1),
        Case("23:59", [.set(1, 30, "2359")], nil), Case("00:00", [.set(1, 30, "0000")], nil),
        Case("no time", [.set(1, 30, "    ")], nil), Case("half a time", [.set(1, 30, "09  ")], .numeric, 1),
        Case("modifier a", [.set(1, 34, "a")], .fileIDModifier, 1),
        Case("modifier space", [.set(1, 34, " ")], .fileIDModifier, 1),
        Case("modifier Z", [.set(1, 34, "Z")], nil), Case("modifier 0", [.set(1, 34, "0")], nil),
        Case("modifier 9", [.set(1, 34, "9")], nil), Case("modifier [", [.set(1, 34, "[")], .fileIDModifier, 1),
      ])
    #expect(Self.refusal([])?.code == .empty)
    // Ten records fill their block: no padding is right then.
    var ten = base
    ten.lines.removeSubrange(8...9)
    ten.recount()
    #expect(ten.lines.count == 10 && Self.refusal(ten.bytes()) == nil)
  }

  @Test("controls")
  func controls() throws {
    Self.run(
      "ACH controls", try Fixtures.base(),
      [
        Case("batch count of entries alone", [.set(6, 5, "000002")], .entryAddendaCount, 6),
        Case("batch count too high", [.set(6, 5, "000004")], .entryAddendaCount, 6),
        Case("batch hash above", [.set(6, 11, "0046276021")], .entryHash, 6),
        Case("batch hash below", [.set(6, 11, "0046276019")], .entryHash, 6),
        Case("batch debits", [.set(6, 21, "000000000001")], .debitTotal, 6),
        Case("batch credits above", [.set(6, 33, "000000012546")], .creditTotal, 6),
        Case("batch credits below", [.set(6, 33, "000000012544")], .creditTotal, 6),
        Case("file count", [.set(12, 14, "00000005")], .entryAddendaCount, 12),
        Case("file hash", [.set(12, 22, "0000000001")], .entryHash, 12),
        Case("file debits", [.set(12, 32, "000000000001")], .debitTotal, 12),
        Case("file credits", [.set(12, 44, "000000013546")], .creditTotal, 12),
        Case("batch count 1", [.set(12, 2, "000001")], .batchCount, 12),
        Case("batch count 3", [.set(12, 2, "000003")], .batchCount, 12),
        Case("control of another class", [.set(6, 2, "200")], .batchControl, 6),
        Case("control of another company", [.set(6, 45, "2121042882")], .batchControl, 6),
        Case("control of another bank", [.set(6, 80, "23138010")], .batchControl, 6),
        Case("control of another number", [.set(6, 88, "0000002")], .batchControl, 6),
        Case("batch numbers alike", [.set(7, 88, "0000001"), .set(11, 88, "0000001")], .batchNumber, 7),
        Case("batch number 0", [.set(2, 88, "0000000"), .set(6, 88, "0000000")], .batchNumber, 2),
        Case("batch numbers down", [.set(2, 88, "0000003"), .set(6, 88, "0000003")], .batchNumber, 7),
        Case("batch numbers with a gap", [.set(7, 88, "9999999"), .set(11, 88, "9999999")], nil),
      ])
  }

  @Test("batches and entries")
  func entries() throws {
    let base = try Fixtures.base()
    let second = Fixtures.addenda05("more", "0002", "0000043")
    let unknown = { (code: String) in Case("code \(code)", [.set(3, 2, code)], .transactionCode, 3) }
    Self.run(
      "ACH batches and entries", base,
      [
        Case("class 225 with credits", [.set(2, 2, "225"), .set(6, 2, "225")], .serviceClass, 3),
        Case("class 200 with credits", [.set(2, 2, "200"), .set(6, 2, "200")], nil),
        Case("class 280", [.set(2, 2, "280"), .set(6, 2, "280")], .serviceClass, 2),
        Case("class 210", [.set(2, 2, "210"), .set(6, 2, "210")], .serviceClass, 2),
        Case("a debit among credits", [.set(3, 2, "27"), .recount], .serviceClass, 3),
        Case("a debit in a mixed batch", [.set(3, 2, "27"), .set(2, 2, "200"), .set(6, 2, "200"), .recount], nil),
        Case("unknown class", [.set(2, 51, "XYZ")], .entryClass, 2),
        Case("class in small letters", [.set(2, 51, "ccd")], .entryClass, 2),
        Case("status 0", [.set(2, 79, "0")], .originatorStatus, 2),
        Case("status 2", [.set(2, 79, "2")], .originatorStatus, 2),
        Case("received status 0", [.set(2, 79, "0")], nil, nil, .received),
        Case("received status 2", [.set(2, 79, "2")], nil, nil, .received),
        Case("received status 3", [.set(2, 79, "3")], .originatorStatus, 2, .received),
        Case("received status blank", [.set(2, 79, " ")], .originatorStatus, 2, .received),
        Case("settlement date", [.set(2, 76, "328")], .settlementDate, 2),
        Case("received settlement date", [.set(2, 76, "328")], nil, nil, .received),
        Case("effective on Saturday", [.set(2, 70, "261128")], .effectiveDate, 2),
        Case("effective on Thanksgiving", [.set(2, 70, "261126")], .effectiveDate, 2),
        Case("effective on the Friday after it", [.set(2, 70, "261127")], nil),
        Case("effective before the file", [.set(2, 70, "261120")], .effectiveDate, 2),
        Case("effective on the file's day", [.set(2, 70, "261123")], nil),
        Case("no effective date", [.set(2, 70, "      ")], .effectiveDate, 2),
        Case("received effective date 000000", [.set(2, 70, "000000")], nil, nil, .received),
        Case("received effective on Saturday", [.set(2, 70, "261128")], nil, nil, .received),
        Case("check digit above", [.set(3, 12, "5")], .checkDigit, 3),
        Case("check digit below", [.set(3, 12, "3")], .checkDigit, 3),
        Case("trace numbers alike", [.set(4, 88, "0000041"), .set(5, 88, "0000041")], .traceNumber, 4),
        Case("trace numbers down", [.set(4, 88, "0000040"), .set(5, 88, "0000040")], .traceNumber, 4),
        Case("trace number of another bank", [.set(3, 80, "12104289")], .traceODFI, 3),
        Case("amount zero", [.set(3, 30, "0000000000"), .recount], .amount, 3),
        Case("amount one", [.set(3, 30, "0000000001"), .recount], nil),
        Case("greatest amount", [.set(3, 30, "9999999999"), .recount], nil),
        Case("prenote", [.set(3, 2, "23"), .set(3, 30, "0000000000"), .recount], nil),
        Case("prenote of a cent", [.set(3, 2, "23"), .set(3, 30, "0000000001"), .recount], .amount, 3),
        Case("prenote PPD, savings", [.set(8, 2, "33"), .set(8, 30, "0000000000"), .recount], nil),
        Case("zero dollars with remittance", [.set(4, 2, "34"), .set(4, 30, "0000000000"), .recount], nil),
        Case("zero dollars of a cent", [.set(4, 2, "34"), .set(4, 30, "0000000001"), .recount], .amount, 4),
        Case("zero dollars alone", [.set(3, 2, "24"), .set(3, 30, "0000000000"), .recount], .addendaCount, 3),
        Case("zero dollars in PPD", [.set(9, 2, "24"), .set(9, 30, "0000000000"), .recount], .transactionCode, 9),
        Case("general ledger", [.set(3, 2, "42")], nil), Case("loan", [.set(3, 2, "52")], nil),
        Case("a return's code", [.set(3, 2, "21")], .transactionCode, 3),
        unknown("00"), unknown("20"), unknown("25"), unknown("30"), unknown("57"), unknown("62"), unknown("81"),
        unknown("99"),
        Case("indicator 0 with addenda", [.set(4, 79, "0")], .addendaIndicator, 4),
        Case("indicator 1 without", [.set(3, 79, "1")], .addendaIndicator, 3),
        Case("indicator 1 without, last", [.remove(10), .recount], .addendaIndicator, 9),
        Case("indicator 2", [.set(4, 79, "2")], .addendaIndicator, 4),
        Case("two addenda in CCD", [.insert(5, second), .recount], .addendaCount, 6),
        Case(
          "two addenda in PPD", [.insert(10, Fixtures.addenda05("x", "0002", "0000044")), .recount], .addendaCount, 11),
        Case("two addenda in CTX", [.set(2, 51, "CTX"), .insert(5, second), .recount], nil),
        Case("none in TEL", [.set(2, 51, "TEL")], .addendaType, 5),
        Case("addenda sequence 2", [.set(5, 84, "0002")], .addendaSequence, 5),
        Case("addenda sequence 0", [.set(5, 84, "0000")], .addendaSequence, 5),
        Case(
          "addenda sequence 3 behind 1",
          [.set(2, 51, "CTX"), .insert(5, Fixtures.addenda05("x", "0003", "0000043"))], .addendaSequence, 6),
        Case("entry detail sequence", [.set(5, 88, "0000041")], .entryDetailSequence, 5),
        Case("addenda 02 in CCD", [.set(5, 2, "02")], .numeric, 5),
        Case("addenda 17 in CCD", [.set(5, 2, "17")], .addendaType, 5),
        Case("addenda 03", [.set(5, 2, "03")], .addendaType, 5),
        Case("addenda 19", [.set(5, 2, "19")], .addendaType, 5),
      ])
  }

  @Test("returns, changes and their codes")
  func returns() throws {
    let base = try Fixtures.base()
    func returned(_ code: String, _ sequence: String) -> String {
      "799" + code + "121042880000041      23138010" + Fixtures.blank44 + "12104288" + sequence
    }
    func change(_ code: String) -> String {
      "798" + code + "121042880000041      23138010744-5678-98" + String(repeating: " ", count: 33) + "121042880000041"
    }
    func one(_ code: String) -> [Edit] {
      [
        .remove(7), .remove(7), .remove(7), .remove(7), .remove(7), .remove(4), .remove(4), .set(3, 2, "21"),
        .set(3, 79, "1"), .insert(3, returned(code, "0000041")), .recount,
      ]
    }
    func noc(_ code: String) -> [Edit] {
      [
        .remove(7), .remove(7), .remove(7), .remove(7), .remove(7), .remove(4), .remove(4), .set(3, 2, "21"),
        .set(3, 79, "1"), .set(2, 51, "COR"), .insert(3, change(code)), .recount,
      ]
    }
    Self.run(
      "ACH returns", base,
      [
        Case("R01", one("R01"), nil), Case("R53", one("R53"), nil), Case("R85", one("R85"), nil),
        Case("R00", one("R00"), .reasonCode, 4), Case("R86", one("R86"), .reasonCode, 4),
        Case("R60", one("R60"), .reasonCode, 4), Case("X01", one("X01"), .reasonCode, 4),
        Case("C01", noc("C01"), nil), Case("C09", noc("C09"), nil), Case("C13", noc("C13"), nil),
        Case("C14", noc("C14"), nil),
        Case("C00", noc("C00"), .reasonCode, 4), Case("C15", noc("C15"), .reasonCode, 4),
        Case("C10", noc("C10"), .reasonCode, 4),
        Case("C60", noc("C60"), .reasonCode, 4), Case("C70", noc("C70"), .reasonCode, 4),
        Case("a change in CCD", [.remove(5), .insert(4, change("C01"))], .addendaType, 5),
        Case("COR without a change", [.set(2, 51, "COR")], .addendaCount, 3),
        Case(
          "a return behind a forward entry", [.remove(5), .insert(4, returned("R01", "0000043")), .recount],
          .returnsMixed, 4),
        Case(
          "a forward entry behind a return",
          [.set(3, 79, "1"), .insert(3, returned("R01", "0000041")), .recount], .returnsMixed, 5),
        Case(
          "a batch of returns behind one of forward entries",
          [.remove(10), .insert(9, returned("R01", "0000044")), .remove(8), .recount], .returnsMixed, 8),
        Case(
          "two returns of one entry", one("R01") + [.insert(4, returned("R02", "0000041")), .recount], .addendaCount, 5),
      ])
    #expect((1...85).compactMap { ACHReturnCode($0) }.allSatisfy { !$0.name.isEmpty && ACHReturnCode($0.text) == $0 })
    #expect(
      ACHReturnCode(0) == nil && ACHReturnCode(86) == nil && ACHReturnCode("R1") == nil && ACHReturnCode("r01") == nil)
  }

  @Test("Same Day ACH")
  func sameDay() throws {
    func marked(_ amount: String, _ date: String, _ mark: String = "      ") -> [Edit] {
      [.set(1, 24, date), .set(2, 70, date), .set(7, 70, date), .set(2, 64, mark), .set(3, 30, amount), .recount]
    }
    let later: [Edit] = [.set(2, 70, "261124"), .set(7, 70, "261124")]
    Self.run(
      "Same Day ACH", try Fixtures.base(),
      [
        Case("a million", marked("0100000000", "261123"), nil),
        Case("a cent more", marked("0100000001", "261123"), .sameDayAmount, 3),
        Case("a cent more, received", marked("0100000001", "261123"), nil, nil, .received),
        Case("a cent more, next day", marked("0100000001", "261123") + later, nil),
        Case("a cent more, next day, marked", marked("0100000001", "261123", "SD1300") + later, .sameDayAmount, 3),
        Case("a cent more, next day, not quite marked", marked("0100000001", "261123", "SD13A0") + later, nil),
        Case("a million, next day, marked", marked("0100000000", "261123", "SD1300") + later, nil),
        Case("from March 2022", marked("0100000000", "220318"), nil),
        Case("before", marked("0010000001", "220317"), .sameDayAmount, 3),
        Case("at", marked("0010000000", "220317"), nil),
        Case("from March 2020", marked("0010000000", "200320"), nil),
        Case("before", marked("0002500001", "200319"), .sameDayAmount, 3),
        Case("at", marked("0002500000", "200319"), nil),
      ])
  }

  static func refusal(_ bytes: [UInt8], _ rules: ACHRules = .originated) -> ACHError? {
    do { _ = try ACHFile(parsing: bytes, rules) } catch { return error }
    return nil
  }

  @Test("line endings and what follows the last record")
  func lineEndings() throws {
    let base = try Fixtures.base()
    var tally = Tally("ACH line endings")
    var files: [(bytes: [UInt8], code: ACHError.Code?, label: String)] = []
    func check(_ bytes: [UInt8], _ code: ACHError.Code?, _ label: String) { files.append((bytes, code, label)) }
    for ending in ["\n", "\r\n", ""] {
      check(base.bytes(ending), nil, "\(ending.utf8.count)")
      check(base.bytes(ending, last: false), nil, "\(ending.utf8.count), none at the end")
      check(base.bytes(ending) + [0x0A], nil, "\(ending.utf8.count), one more")
      check(base.bytes(ending) + [0x0A, 0x20], .recordLength, "\(ending.utf8.count), something behind")
    }
    check(base.bytes("\r"), .recordLength, "CR alone")
    check(base.bytes() + Array(repeating: 0x0A, count: ACHReader.greatestTail - 1), nil, "greatest tail")
    check(base.bytes() + Array(repeating: 0x0A, count: ACHReader.greatestTail), .lineEnding, "longer tail")
    var mixed = base.bytes()
    mixed.insert(0x0D, at: 94)
    check(mixed, .lineEnding, "CR LF, then LF")
    mixed = base.bytes("\r\n")
    mixed.remove(at: 94 + 96)
    check(mixed, .lineEnding, "CR LF, then LF at line 2")
    mixed = base.bytes("")
    mixed.insert(0x0A, at: 94 * 3)
    check(mixed, .recordLength, "no line ends but one")
    mixed = base.bytes()
    mixed.remove(at: 94 + 95)
    check(mixed, .recordLength, "one line end missing")
    for file in files {
      let error = Self.refusal(file.bytes)
      tally.expect(error?.code == file.code, "\(file.label): \(String(describing: error))")
      guard file.code == nil else { continue }
      tally.expect((try? ACHFile(parsing: file.bytes))?.bytes == file.bytes, "\(file.label): written otherwise")
    }
    tally.report()
  }
}
