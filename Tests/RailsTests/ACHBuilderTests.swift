import Foundation
import Rails
import TestSupport
import Testing

@Suite("ACH builder")
struct ACHBuilderTests {
  static let banks = ["231380104", "121042882", "031300012", "091400606", "091000019", "021000021", "011000015"]

  static func credits(_ count: Int, from leaf: UInt64, _ random: inout Seeded) throws -> [ACHCredit] {
    var leaf = leaf
    return try (0..<count).map { _ in
      defer { leaf += .random(in: 1...9, using: &random) }
      let reference = String(
        (0..<Int.random(in: 1...80, using: &random)).map { _ in "#*\\A9z~".randomElement(using: &random) ?? "x" })
      return try ACHCredit(
        account: Fixtures.account(
          .allCases.randomElement(using: &random) ?? .ccd, kind: .allCases.randomElement(using: &random) ?? .savings,
          number: String(UInt64.random(in: 0...UInt64(99_999_999_999_999_999), using: &random)),
          routing: banks.randomElement(using: &random) ?? banks[0]),
        amount: .random(in: 1...(Bool.random(using: &random) ? 99 : 99_999_999), using: &random), leafIndex: leaf,
        reference: Bool.random(using: &random) ? reference : nil)
    }
  }

  /// What a file says about a credit, read back.
  struct Row: Hashable {
    let leaf: UInt64
    let entryClass: String
    let routing: String
    let account: String
    let code: Int
    let amount: Int64
    let reference: String?
    let trace: String
  }

  /// What the file must say about a credit.
  static func expected(_ credit: ACHCredit) -> Row {
    let sequence = String(String(10_000_000 + credit.leafIndex % 10_000_000).dropFirst())
    return Row(
      leaf: credit.leafIndex, entryClass: credit.account.entryClass == .ccd ? "CCD" : "PPD",
      routing: credit.account.routingNumber, account: credit.account.accountNumber,
      code: credit.account.kind == .checking ? 22 : 32, amount: credit.amount, reference: credit.reference,
      trace: "12104288" + sequence)
  }

  @Test("random credits are read back as they were written, with totals that the test computes itself")
  func property() throws {
    var tally = Tally("ACH builder")
    for seed in 0..<200 as Range<UInt64> {
      var random = Seeded(seed)
      let credits = try Self.credits(
        .random(in: 1...300, using: &random), from: .random(in: 0...99_000, using: &random), &random)
      let builder = try Fixtures.builder(first: Int(seed) + 1)
      let bytes = try builder.build(credits)
      let file = try ACHFile(parsing: bytes, .originated)
      tally.expect(try file.bytes == bytes && builder.build(credits) == bytes, "seed \(seed): not deterministic")
      var recounted = Lines(bytes)
      recounted.recount()
      tally.expect(recounted.bytes() == bytes, "seed \(seed): counts, hashes or totals")
      let rows = file.entries.map { entry in
        Row(
          leaf: UInt64(entry.identification.dropFirst(2)) ?? 0, entryClass: entry.batch.text("entry_class") ?? "",
          routing: entry.routingNumber, account: entry.accountNumber, code: entry.transactionCode, amount: entry.amount,
          reference: entry.addenda.first?.text("payment_information"), trace: entry.traceNumber?.description ?? "")
      }
      let ordered: [ACHCredit] =
        credits.filter { $0.account.entryClass == .ccd } + credits.filter { $0.account.entryClass == .ppd }
      let expected = ordered.map(Self.expected)
      tally.expect(rows == expected, "seed \(seed): read back otherwise")
      let headers = file.records.filter { $0.layout == .batchHeader }
      let numbers: [Int] = headers.map { Int($0.text("batch_number") ?? "") ?? 0 }
      let wanted: [Int] = headers.indices.map { $0 + Int(seed) + 1 }
      let untouched = headers.allSatisfy { $0.text("settlement_date") == "" && $0.text("originator_status") == "1" }
      tally.expect(numbers == wanted && untouched, "seed \(seed): batch headers")
    }
    tally.report()
  }

  @Test("the entry hash keeps ten digits")
  func hash() throws {
    let account = try Fixtures.account(routing: ABA.routingNumber(of: "99999999"))
    let credits = try (1...101).map { try ACHCredit(account: account, amount: 1, leafIndex: UInt64($0)) }
    // 100 times 99,999,999 is 9,999,999,900; one more passes 10^10.
    #expect(
      try ACHFile(parsing: Fixtures.builder().build(credits.prefix(100))).records[102].text("entry_hash")
        == "9999999900")
    #expect(try ACHFile(parsing: Fixtures.builder().build(credits)).records[103].text("entry_hash") == "0099999899")
  }

  @Test("one class makes one batch, the header stands as asked, and no settlement date is written")
  func header() throws {
    let credit = try ACHCredit(account: Fixtures.account(.ppd), amount: 5, leafIndex: 10_000_007)
    let lines = Lines(try Fixtures.builder("7", first: 9).build([credit]))
    #expect(lines.lines.count == 10)
    #expect(
      lines[1] == "101 23138010411210428822611230905" + "7094101Federal Reserve Bank   My Bank Name                   ")
    #expect(
      lines[2] == "5220TrustCore Demo                      1121042882PPDPAYMENT         261124   1121042880000009")
    #expect(
      lines[3] == "622231380104744-5678-99      0000000005TC0000010000007Best Co. #1             0121042880000007")
    #expect(
      lines[4] == "822000000100231380100000000000000000000000051121042882                         121042880000009")
    #expect(lines[5] == "9000001000001000000010023138010000000000000000000000005" + String(repeating: " ", count: 39))
  }

  @Test("a file is cut where the trace numbers start again")
  func wrap() throws {
    let account = try Fixtures.account()
    let leaves: [UInt64] = [9_999_998, 9_999_999, 10_000_000, 10_000_001, 19_999_999, 20_000_000]
    let credits = try leaves.map { try ACHCredit(account: account, amount: 1, leafIndex: $0) }
    #expect(throws: ACHError(.traceWrap, "")) { try Fixtures.builder().build(credits) }
    #expect(throws: ACHError(.traceWrap, "")) { try Fixtures.builder().build([credits[0], credits[4]]) }
    #expect(ACHFileBuilder.fitting(leafIndices: leaves) == 2 && ACHFileBuilder.fitting(leafIndices: []) == 0)
    #expect(
      ACHFileBuilder.fitting(leafIndices: leaves.dropFirst(2)) == 3 && ACHFileBuilder.fitting(leafIndices: [7]) == 1)
    var rest = credits[...]
    var files = 0
    while !rest.isEmpty {
      let count = ACHFileBuilder.fitting(rest)
      _ = try ACHFile(parsing: Fixtures.builder().build(rest.prefix(count)), .originated)
      rest = rest.dropFirst(count)
      files += 1
    }
    #expect(files == 3)
  }

  @Test("what cannot be a file is refused with its code")
  func refusals() throws {
    let account = try Fixtures.account()
    func credit(_ leaf: UInt64, _ amount: Int64 = 1) throws -> ACHCredit {
      try ACHCredit(account: account, amount: amount, leafIndex: leaf)
    }
    #expect(throws: ACHError(.empty, "")) { try Fixtures.builder().build([]) }
    #expect(throws: ACHError(.leafOrder, "")) { try Fixtures.builder().build([credit(2), credit(1)]) }
    #expect(throws: ACHError(.leafOrder, "")) { try Fixtures.builder().build([credit(2), credit(2)]) }
    for modifier in ["a", " ", "é", "-"] as [Character] {
      #expect(throws: ACHError(.fileIDModifier, "")) { try Fixtures.builder(modifier) }
    }
    for modifier in ["A", "Z", "0", "9"] as [Character] { _ = try Fixtures.builder(modifier).build([credit(1)]) }
    for day in ["261120", "261126", "261128", "261129"] {
      #expect(throws: ACHError(.effectiveDate, "")) {
        try Fixtures.builder(effective: #require(CivilDate(yymmdd: day)))
      }
    }
    #expect(throws: ACHError(.batchNumber, "")) { try Fixtures.builder(first: 0) }
    #expect(throws: ACHError(.batchNumber, "")) { try Fixtures.builder(first: 9_999_999) }
    _ = try Fixtures.builder(first: 9_999_998).build([credit(1)])
    let sameDay = try Fixtures.builder(effective: Fixtures.monday)
    _ = try sameDay.build([credit(1, 100_000_000)])
    #expect(throws: ACHError(.sameDayAmount, "")) { try sameDay.build([credit(1, 100_000_001)]) }
    _ = try Fixtures.builder().build([credit(1, 100_000_001)])
    // Totals have twelve digits: 100 of the greatest amount fit, and 99,999,900 - 1 cents beside them.
    let most = try (1...100).map { try credit($0, ACHCredit.greatestAmount) }
    _ = try Fixtures.builder().build(most + [credit(101, 99)])
    #expect(throws: ACHError(.tooLarge, "")) { try Fixtures.builder().build(most + [credit(101, 100)]) }
    #expect(try ACHFileBuilder.fitting(most + [credit(101, 99)]) == 101)
    #expect(try ACHFileBuilder.fitting(most + [credit(101, 100)]) == 100)
  }

  @Test("a batch has at most 999,999 records")
  func batchLimit() throws {
    let account = try Fixtures.account()
    let credit = try ACHCredit(account: account, amount: 1, leafIndex: 1, reference: "x")
    #expect(ACHFileBuilder.fitting(repeatElement(credit, count: 500_001)) == 499_999)
  }

  @Test("the writer refuses what its fields do not hold")
  func writer() throws {
    let header = try Fixtures.builder().header
    func batch(_ change: (inout ACHBatchHeader) -> Void = { _ in }) -> ACHBatchHeader {
      var batch = ACHBatchHeader(
        serviceClass: 220, companyName: "TrustCore", companyIdentification: "1", entryClass: "CCD",
        entryDescription: "PAYMENT", effectiveEntryDate: Fixtures.tuesday, odfi: "12104288", number: 1)
      change(&batch)
      return batch
    }
    func entry(_ code: Int = 22, account: String = "1", amount: Int64 = 1, trace: UInt64 = 121_042_880_000_001)
      -> ACHEntry
    {
      ACHEntry(
        transactionCode: code, routingNumber: "231380104", accountNumber: account, amount: amount, identification: "",
        name: "", traceNumber: ACHTraceNumber(trace) ?? ACHTraceNumber(0)!)
    }
    func code(_ body: (inout ACHFileWriter) throws -> Void) throws -> ACHError.Code? {
      var writer = try ACHFileWriter(header) { _ in }
      do { try body(&writer) } catch let error as ACHError { return error.code }
      return nil
    }
    #expect(try code { try $0.write(entry()) } == .recordOrder)
    #expect(
      try code {
        try $0.begin(batch()); try $0.finish()
      } == .empty)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry()); try $0.begin(batch())
      } == .batchNumber)
    #expect(try code { try $0.begin(batch { $0.companyName = String(repeating: "x", count: 17) }) } == .text)
    #expect(try code { try $0.begin(batch { $0.companyName = "é" }) } == .text)
    #expect(try code { try $0.begin(batch { $0.serviceClass = 280 }) } == .serviceClass)
    #expect(try code { try $0.begin(batch { $0.odfi = "1210428" }) } == .routingNumber)
    #expect(try code { try $0.begin(batch { $0.settlementDay = 367 }) } == .settlementDate)
    #expect(try code { try $0.begin(batch { $0.settlementDay = 0 }) } == .settlementDate)
    #expect(try code { try $0.begin(batch { $0.settlementDay = 366 }) } == nil)
    #expect(try code { try $0.begin(batch { $0.originatorStatus = 3 }) } == .originatorStatus)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry(27))
      } == .serviceClass)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry(account: String(repeating: "1", count: 18)))
      } == .text)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry(amount: 10_000_000_000))
      } == .amount)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry(amount: -1))
      } == .amount)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry()); try $0.write(entry())
      } == .traceNumber)
    #expect(
      try code {
        try $0.begin(batch()); try $0.write(entry()); try $0.finish()
      } == nil)
  }
}
