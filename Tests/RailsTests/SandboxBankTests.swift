import DemoClient
import Rails
import TestSupport
import Testing

@Suite("Sandbox bank and returns")
struct SandboxBankTests {
  static func file(_ count: Int, modifier: Character = "A", seed: UInt64 = 1) throws -> (
    credits: [ACHCredit], bytes: [UInt8]
  ) {
    var random = Seeded(seed)
    let credits = try ACHBuilderTests.credits(count, from: 100, &random)
    return (credits, try Fixtures.builder(modifier).build(credits))
  }

  @Test("each entry is accepted, returned or met with silence, the same way each time")
  func outcomes() throws {
    var tally = Tally("sandbox bank")
    for seed in 0..<20 as Range<UInt64> {
      let (credits, bytes) = try Self.file(400, seed: seed)
      var (bank, twin) = (SandboxBank(seed: seed), SandboxBank(seed: seed))
      let (answer, same) = (try bank.receive(bytes), try twin.receive(bytes))
      tally.expect(
        answer.acknowledgement == same.acknowledgement && answer.returns == same.returns, "seed \(seed): differs")
      let file = try ACHFile(parsing: #require(answer.returns))
      let byTrace = Dictionary(uniqueKeysWithValues: credits.map { ($0.traceNumber(odfi: "12104288"), $0) })
      let returned = Set(file.returns.map(\.originalTraceNumber))
      tally.expect(returned.count == file.entries.count && !returned.isEmpty, "seed \(seed): \(returned.count) returns")
      tally.expect(returned.isDisjoint(with: answer.acknowledgement.accepted), "seed \(seed): accepted and returned")
      let silent = Set(byTrace.keys).subtracting(returned).subtracting(answer.acknowledgement.accepted)
      tally.expect(!silent.isEmpty && silent.allSatisfy { bank.outcome(of: $0) == .silence }, "seed \(seed): silence")
      for item in file.returns {
        let credit = byTrace[item.originalTraceNumber]
        let good =
          item.amount == credit?.amount && item.accountNumber == credit?.account.accountNumber
          && item.identification == credit?.identification
          && item.originalRDFI == credit.map { String($0.account.routingNumber.prefix(8)) }
          && item.traceNumber.odfi == item.originalRDFI
          && bank.outcome(of: item.originalTraceNumber) == .returned(item.code)
          && [.insufficientFunds, .noAccount].contains(item.code)
        tally.expect(good, "seed \(seed): \(item)")
      }
      var recounted = Lines(try #require(answer.returns))
      recounted.recount()
      tally.expect(recounted.bytes() == answer.returns, "seed \(seed): totals of the returns")
    }
    tally.report()
  }

  @Test("a file is taken once, and one that is refused leaves no trace")
  func onceOnly() throws {
    let (_, bytes) = try Self.file(5)
    var bank = SandboxBank(seed: 7)
    var broken = Lines(bytes)
    broken.set(3, 12, broken.field(3, 12, 1) == "0" ? "1" : "0")
    #expect(throws: ACHError(.checkDigit, "")) { try bank.receive(broken.bytes()) }
    _ = try bank.receive(bytes)
    #expect(throws: ACHError(SandboxBank.seen, "")) { try bank.receive(bytes) }
    #expect(throws: ACHError(SandboxBank.seen, "")) { try bank.receive(Self.file(3, seed: 9).bytes) }
    _ = try bank.receive(Self.file(5, modifier: "B").bytes)
    // What a bank would not take from an originator.
    var settled = Lines(try Self.file(5, modifier: "C").bytes)
    settled.set(2, 76, "328")
    #expect(throws: ACHError(.settlementDate, "")) { try bank.receive(settled.bytes()) }
  }

  @Test("the script decides by account number, and the return file says so")
  func script() throws {
    let scripted: [(String, SandboxBank.Outcome)] = [
      ("1001", .accepted), ("1002", .returned(.insufficientFunds)), ("1003", .returned(.noAccount)), ("1004", .silence),
    ]
    let credits = try scripted.enumerated().map { index, row in
      try ACHCredit(account: Fixtures.account(number: row.0), amount: Int64(index + 1), leafIndex: UInt64(index))
    }
    for seed in 0..<50 as Range<UInt64> {
      var bank = SandboxBank(seed: seed, script: Dictionary(uniqueKeysWithValues: scripted))
      let answer = try bank.receive(Fixtures.builder().build(credits))
      #expect(answer.acknowledgement.accepted == [credits[0].traceNumber(odfi: "12104288")])
      let file = try ACHFile(parsing: #require(answer.returns))
      #expect(file.returns.map(\.code.text) == ["R01", "R03"] && file.returns.map(\.amount) == [2, 3])
      #expect(file.returns.map(\.traceNumber.description) == ["231380100000001", "231380100000002"])
      let lines = Lines(file.bytes)
      #expect(lines[1].hasPrefix("101 121042882 2313801042611240830A"))
      #expect(lines.field(2, 70, 25) == "2611243281231380100000001")
      #expect(lines[4] == "799R01121042880000001      23138010" + Fixtures.blank44 + "231380100000001")
    }
    var bank = SandboxBank(seed: 0, script: ["1001": .accepted])
    #expect(try bank.receive(Fixtures.builder().build([credits[0]])).returns == nil)
  }

  @Test("returns of other kinds are read from samples", .enabled(if: Vectors.has("nacha")))
  func samples() throws {
    func returns(_ path: String) throws -> [ACHReturn] {
      try ACHFile(parsing: Array(Vectors.data("nacha/" + path))).returns
    }
    let web = try returns("test/testdata/return-WEB.ach")
    #expect(
      web.map(\.code.text) == ["R01", "R03"] && web.map(\.amount) == [12_354, 4_565] && web.map(\.line) == [3, 7])
    #expect(web.map(\.originalTraceNumber.description) == ["091400600000001", "091400600000003"])
    #expect(web.map(\.originalRDFI) == ["09100001", "02100002"] && web[0].accountNumber == "123456789")
    let dishonored = try returns("examples/testdata/dishonored-return.ach")
    #expect(
      dishonored.map(\.code.kind) == [.dishonored, .dishonored] && dishonored[0].information == "Untimely Return")
    #expect(try returns("examples/testdata/contested-return.ach").map(\.code.text) == ["R71"])
    #expect(try returns("test/testdata/contested_addenda.txt").map(\.code.kind) == [.contested])
    #expect(
      try returns("test/ach-ppd-read/ppd-credit.ach").isEmpty && returns("test/ach-cor-read/cor-read.ach").isEmpty)
  }

  @Test("what cannot be returned is refused")
  func refusals() throws {
    let header = try Fixtures.builder().header
    let entries = try ACHFile(parsing: Self.file(3).bytes).entries
    func code(_ items: [ACHReturnFile.Item]) -> ACHError.Code? {
      do { _ = try ACHReturnFile.build(items, header: header, settlement: Fixtures.tuesday) } catch {
        return error.code
      }
      return nil
    }
    #expect(code([]) == .empty && code([.init(entries[0], .accountClosed)]) == nil)
    #expect(code([.init(entries[0], try #require(ACHReturnCode(68)))]) == .entryClass)
    #expect(code([.init(entries[0], .noAccount, information: String(repeating: "x", count: 44))]) == nil)
    #expect(code([.init(entries[0], .noAccount, information: String(repeating: "x", count: 45))]) == .text)
    #expect(code([.init(entries[0], .noAccount), .init(entries[0], .noAccount)]) == .traceNumber)
    let bytes = try ACHReturnFile.build(
      entries.map { .init($0, .noAccount) }, header: header, settlement: Fixtures.tuesday)
    let back = try ACHFile(parsing: bytes).entries
    #expect(code([.init(back[0], .noAccount)]) == .entryClass)
    // The order in which returns are given makes no difference.
    let reversed = try ACHReturnFile.build(
      entries.reversed().map { .init($0, .noAccount) }, header: header, settlement: Fixtures.tuesday)
    #expect(reversed == bytes)
  }
}
