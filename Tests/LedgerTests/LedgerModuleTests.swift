import CommandGate
import Ledger
import Seal
import StorageSQLite
import Testing
import TestSupport
import Wire

typealias InMemoryDeployment = TestDeployment<InMemoryStore>

extension TestDeployment where Store == InMemoryStore {
  /// A deployment in memory, founded and running.
  static func running(seed: UInt64 = 1) async throws -> InMemoryDeployment {
    let world = try TestWorld(seed: seed)
    let (store, headFile) = (InMemoryStore(), try TemporaryFolder.make() + "/head")
    try await world.found(store, headFile: headFile)
    let deployment = try await InMemoryDeployment(world, store: store, headFile: headFile)
    deployment.start()
    return deployment
  }

  func account(_ id: String) throws -> Account {
    try #require(store.image.account(id))
  }

  func holdState(_ id: String) -> Hold.State? { store.image.hold(id)?.state }
}

/// Posted and pending totals, for short comparisons.
struct Totals: Equatable, CustomStringConvertible {
  let posted: [Int64]
  let pending: [Int64]
  init(_ account: Account) {
    posted = [account.debitsPosted, account.creditsPosted]
    pending = [account.debitsPending, account.creditsPending]
  }
  init(_ debits: Int64, _ credits: Int64, pending: [Int64] = [0, 0]) {
    (posted, self.pending) = ([debits, credits], pending)
  }
  var description: String { "\(posted) \(pending)" }
}

/// Accounts of the owner and the stranger, with 100.00 USD on the owner's.
struct Funded {
  let d: InMemoryDeployment
  let bank, own, other: String

  static func make(overdraft: Int64 = 0) async throws -> Funded {
    let d = try await InMemoryDeployment.running()
    for agent in d.world.agents { try await d.enrol(agent) }
    let bank = try await d.openAccount(by: d.world.officer, kind: "external")
    let own = try await d.openAccount(by: d.world.owner, overdraft: overdraft)
    let other = try await d.openAccount(by: d.world.stranger)
    try await d.submit("/v1/ledger/transfers", .transfer(bank, own, 10_000), by: d.world.officer)
    return Funded(d: d, bank: bank, own: own, other: other)
  }

  func transfer(_ amount: Int64, by party: TestParty? = nil) async throws {
    try await d.submit("/v1/ledger/transfers", .transfer(own, other, amount), by: party ?? d.world.agents[0])
  }

  func hold(_ amount: Int64, seconds: Int64 = 60) async throws -> String {
    try await d.submit("/v1/ledger/holds", .hold(own, other, amount, seconds: seconds), by: d.world.agents[0])
      .command.id.description
  }

  func end(_ hold: String, _ how: String, _ body: JSONValue = [:], by party: TestParty? = nil) async throws {
    try await d.submit("/v1/ledger/holds/\(hold)/\(how)", body, by: party ?? d.world.agents[0])
  }

  /// The code of a refusal, which must leave no trace in any account and hold.
  func refusal(at location: SourceLocation = #_sourceLocation, _ body: () async throws -> Void) async -> String? {
    let (accounts, holds) = (d.store.image.allAccounts, d.store.image.allHolds)
    do {
      try await body()
      return nil
    } catch {
      #expect(d.store.image.allAccounts == accounts && d.store.image.allHolds == holds, sourceLocation: location)
      return (error as? Denied)?.problem.code ?? (error as? Problem)?.code ?? "\(error)"
    }
  }
}

@Suite struct LedgerModuleTests {
  @Test func transfersPostBothSides() async throws {
    let f = try await Funded.make()
    try await f.transfer(2500)
    try await f.transfer(100, by: f.d.world.owner)
    #expect(Totals(try f.d.account(f.own)) == Totals(2600, 10_000))
    #expect(Totals(try f.d.account(f.other)) == Totals(0, 2600))
    #expect(Totals(try f.d.account(f.bank)) == Totals(10_000, 0))
    #expect(try f.d.account(f.own).balance == 7400)
    await f.d.stop()
  }

  @Test func transfersThatAreRefusedLeaveNoTrace() async throws {
    let f = try await Funded.make()
    let (d, w) = (f.d, f.d.world)
    let euro = try await d.openAccount(by: w.owner, currency: "EUR")
    func refused(_ body: JSONValue, by party: TestParty? = nil) async -> String? {
      await f.refusal { try await d.submit("/v1/ledger/transfers", body, by: party ?? w.agents[0]) }
    }
    #expect(await refused(.transfer(f.own, f.other, 10_001)) == "account_overdrawn")
    #expect(await refused(.transfer(f.own, "acc_none", 1)) == "account_not_found")
    #expect(await refused(.transfer("acc_none", f.own, 1)) == "account_not_found")
    #expect(await refused(.transfer(f.other, f.own, 1)) == "account_not_permitted")
    #expect(await refused(.transfer(f.bank, f.own, 1), by: w.owner) == "account_not_permitted")
    #expect(await refused(.transfer(f.own, f.other, 1), by: w.stranger) == "account_not_permitted")
    #expect(await refused(.transfer(f.own, f.other, 1), by: w.officer) == "account_not_permitted")
    #expect(await refused(.transfer(f.own, euro, 1)) == "currency_mismatch")
    #expect(await refused(.transfer(f.own, f.other, 1, "EUR")) == "currency_mismatch")
    for (party, kind) in [
      (w.owner, "external"), (w.officer, "customer"), (w.agents[0], "customer"), (w.agents[0], "external"),
    ] {
      let code = await f.refusal { _ = try await d.openAccount(by: party, kind: kind) }
      #expect(code == "account_kind_not_permitted")
    }
    try await f.transfer(10_000)
    #expect(await refused(.transfer(f.own, f.other, 1)) == "account_overdrawn")
    await d.stop()
  }

  @Test func theOverdraftLimitIsExact() async throws {
    let f = try await Funded.make(overdraft: 500)
    #expect(await f.refusal { try await f.transfer(10_501) } == "account_overdrawn")
    try await f.transfer(10_500)
    #expect(try f.d.account(f.own).balance == -500)
    #expect(await f.refusal { try await f.transfer(1) } == "account_overdrawn")
    await f.d.stop()
  }

  @Test func holdsReserveAndPendingCreditsDoNotCount() async throws {
    let f = try await Funded.make()
    let hold = try await f.hold(4000)
    #expect(Totals(try f.d.account(f.own)) == Totals(0, 10_000, pending: [4000, 0]))
    #expect(Totals(try f.d.account(f.other)) == Totals(0, 0, pending: [0, 4000]))
    #expect(try f.d.account(f.own).available == 6000 && f.d.account(f.other).available == 0)
    #expect(await f.refusal { try await f.transfer(6001) } == "account_overdrawn")
    // What is only held for the other account cannot be spent from it.
    let spend = await f.refusal {
      try await f.d.submit("/v1/ledger/transfers", .transfer(f.other, f.own, 1), by: f.d.world.stranger)
    }
    #expect(spend == "account_overdrawn")
    try await f.transfer(6000)
    try await f.end(hold, "capture")
    #expect(Totals(try f.d.account(f.own)) == Totals(10_000, 10_000))
    #expect(Totals(try f.d.account(f.other)) == Totals(0, 10_000))
    await f.d.stop()
  }

  @Test func capturesInPartReleaseTheRest() async throws {
    let f = try await Funded.make()
    let hold = try await f.hold(4000)
    #expect(await f.refusal { try await f.end(hold, "capture", ["amount": 4001]) } == "capture_exceeds_hold")
    #expect(await f.refusal { try await f.end(hold, "capture", ["amount": "40.001"]) } == "amount_excess_precision")
    #expect(await f.refusal { try await f.end(hold, "capture", ["amount": 0]) } == "amount_not_positive")
    #expect(await f.refusal { try await f.end(hold, "capture", by: f.d.world.stranger) } == "hold_not_permitted")
    #expect(await f.refusal { try await f.end("none", "capture") } == "hold_not_found")
    // Any agent of the owner may end it.
    try await f.end(hold, "capture", ["amount": "15.00"], by: f.d.world.agents[1])
    #expect(Totals(try f.d.account(f.own)) == Totals(1500, 10_000))
    #expect(Totals(try f.d.account(f.other)) == Totals(0, 1500))
    #expect(await f.refusal { try await f.end(hold, "capture") } == "hold_ended")
    #expect(await f.refusal { try await f.end(hold, "void") } == "hold_ended")
    await f.d.stop()
  }

  @Test func holdsOfManyEntriesAreCapturedWhole() async throws {
    let f = try await Funded.make()
    let third = try await f.d.openAccount(by: f.d.world.stranger)
    func entry(_ account: String, _ side: JSONValue, _ amount: Int64) -> JSONValue {
      ["account": .string(account), "side": side, "amount": .integer(amount), "currency": "USD"]
    }
    let body: JSONValue = [
      "entries": [entry(f.own, "debit", 300), entry(f.other, "credit", 100), entry(third, "credit", 200)],
      "expires_in": 60,
    ]
    let id = try await f.d.submit("/v1/ledger/holds", body, by: f.d.world.owner).command.id.description
    #expect(await f.refusal { try await f.end(id, "capture", ["amount": 300]) } == "capture_not_divisible")
    try await f.end(id, "capture")
    #expect(
      try [f.d.account(f.own).balance, f.d.account(f.other).balance, f.d.account(third).balance] == [9700, 100, 200])
    await f.d.stop()
  }

  @Test func voidsReleaseEverything() async throws {
    let f = try await Funded.make()
    let hold = try await f.hold(4000)
    try await f.end(hold, "void")
    #expect(Totals(try f.d.account(f.own)) == Totals(0, 10_000))
    #expect(Totals(try f.d.account(f.other)) == Totals(0, 0))
    #expect(await f.refusal { try await f.end(hold, "capture") } == "hold_ended")
    await f.d.stop()
  }

  @Test func holdsExpireAtTheirMomentAndNotBefore() async throws {
    let f = try await Funded.make()
    let (early, late) = (try await f.hold(1000, seconds: 60), try await f.hold(500, seconds: 61))
    f.d.world.clock.advance(seconds: 59)
    #expect(try await f.d.expire(early) == nil)
    f.d.world.clock.advance(seconds: 1)
    // Due and not released yet: it cannot be captured any more.
    #expect(await f.refusal { try await f.end(early, "capture") } == "hold_expired")
    #expect(try f.d.account(f.own).debitsPending == 1500)
    #expect(try await f.d.expire(early) != nil)
    #expect(try await f.d.expire(early) == nil)
    #expect(try await f.d.expire("none") == nil)
    #expect(try f.d.account(f.own).debitsPending == 500)
    #expect(await f.refusal { try await f.end(early, "void") } == "hold_expired")
    try await f.end(late, "capture")
    f.d.world.clock.advance(seconds: 10)
    #expect(try await f.d.expire(late) == nil)
    #expect(Totals(try f.d.account(f.own)) == Totals(500, 10_000))
    await f.d.stop()
  }

  /// Capture, void and expiry race for one hold: one of them wins, whichever it is, and funds move once.
  @Test func oneOfCaptureVoidAndExpiryWins() async throws {
    var winners: [String: Int] = [:]
    for round in 0..<12 {
      let f = try await Funded.make()
      let hold = try await f.hold(4000, seconds: round % 2 == 0 ? 60 : 1)
      if round % 2 == 1 { f.d.world.clock.advance(seconds: 1) }
      let racers: [@Sendable () async -> String?] = [
        { (try? await f.end(hold, "capture")).map { "captured" } },
        { (try? await f.end(hold, "void", by: f.d.world.owner)).map { "voided" } },
        { (try? await f.d.expire(hold)).flatMap { $0 }.map { _ in "expired" } },
        { (try? await f.end(hold, "capture", ["amount": 1], by: f.d.world.agents[1])).map { "captured" } },
      ]
      let ends = await withTaskGroup(of: String?.self) { group in
        for at in racers.indices { group.addTask { await racers[(at + round) % racers.count]() } }
        return await group.compactMap { $0 }.reduce(into: [String]()) { $0.append($1) }
      }
      #expect(ends.count == 1, "\(ends)")
      #expect(f.d.holdState(hold)?.rawValue == ends.first)
      let own = try f.d.account(f.own)
      #expect(own.debitsPending == 0 && (ends == ["captured"]) == (own.debitsPosted > 0))
      winners[ends.first ?? "none", default: 0] += 1
      await f.d.stop()
    }
    #expect(winners["expired"] == 6, "\(winners)")
  }

  @Test func aCommandThatExpiresUnsealedGivesItsReservationBack() async throws {
    let f = try await Funded.make()
    let hold = try await f.hold(1000, seconds: 4000)
    let (d, w) = (f.d, f.d.world)
    let commands = [
      try await d.sign("/v1/ledger/transfers", .transfer(f.own, f.other, 70), by: w.agents[0], seconds: 5),
      try await d.sign("/v1/ledger/holds", .hold(f.own, f.other, 30), by: w.agents[0], seconds: 5),
      try await d.sign("/v1/ledger/holds/\(hold)/capture", [:], by: w.agents[0], seconds: 5),
    ]
    try await d.settle()
    w.custodian.setAway(true)
    let codes = try await withThrowingTaskGroup(of: String?.self) { group in
      for command in commands { group.addTask { await Self.code { try await d.gate.submit(command, to: "ledger") } } }
      await w.custodian.waitForAttempts(2)
      w.clock.advance(seconds: 6)
      w.custodian.setAway(false)
      return try await group.reduce(into: [String?]()) { $0.append($1) }
    }
    // Recorded in time and sealed too late, or not recorded in time: either way nothing moved.
    #expect(
      codes.allSatisfy { $0 == "seal_expired" || $0 == "signature_expired" } && codes.contains("seal_expired"),
      "\(codes)")
    #expect(Totals(try d.account(f.own)) == Totals(0, 10_000, pending: [1000, 0]))
    #expect(d.holdState(hold) == .held)
    try await f.end(hold, "capture")
    await d.stop()
  }

  private static func code(_ body: () async throws -> Receipt) async -> String? {
    do {
      _ = try await body()
      return nil
    } catch {
      return (error as? Denied)?.problem.code ?? (error as? Problem)?.code
    }
  }
}
