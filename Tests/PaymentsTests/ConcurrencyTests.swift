import CommandGate
import Consent
import Ledger
import Payments
import Seal
import StorageSQLite
import Testing
import TestSupport
import Wire

/// Payments that are asked for at once never pass a limit together.
@Suite struct ConcurrentPaymentsTests {
  static let count = 256

  /// - Parameters:
  ///   - limit: what keeps some of them back, and how many of 1.00 fit below it.
  ///   - isHeld: whether each waits for an approval, which reserves as much.
  @Test(
    arguments: [("consent_daily_limit", 100), ("consent_hourly_limit", 57), ("account_overdrawn", 72)], [false, true])
  func exactlyAsManyAsFit(_ limit: (code: String, fitting: Int), _ isHeld: Bool) async throws {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld(seed: 5)
    let store = try SQLiteStore(path: folder + "/db")
    try await world.found(store, headFile: folder + "/head")
    let d = try await TestDeployment(world, store: store, headFile: folder + "/head")
    d.start()
    let agent = world.agents[0]
    try await d.enrol(agent)
    let (group, outside) = (
      try await d.makeGroup("Treasury"), try await d.openAccount(by: world.officer, kind: "external")
    )
    let (own, other) = (try await d.openAccount(by: world.owner), try await d.openAccount(by: world.stranger))
    let olga = try await d.enrolPerson("Olga", owner: world.owner)
    _ = try await d.enrolPerson("Ada", group: group)
    let funds = limit.code == "account_overdrawn" ? Int64(limit.fitting) * 100 + 99 : 1_000_000
    try await d.submit("/v1/ledger/transfers", .transfer(outside, own, funds), by: world.officer)
    let terms = try d.draftConsent(
      owner: olga, agent: agent, account: own, counterparties: [.payee("ivo", book: other)], single: "50.00",
      daily: limit.code == "consent_daily_limit" ? "\(limit.fitting).99" : "50000.00",
      hourly: limit.code == "consent_hourly_limit" ? Int64(limit.fitting) : 1_000,
      cosign: isHeld ? ["above": "0.50", "approvals": 1, "group": .string(group)] : nil)
    try await d.issueConsent(terms, by: olga)

    let answers = await withTaskGroup(of: String.self) { tasks in
      for number in 0..<Self.count {
        tasks.addTask {
          do {
            let receipt = try await d.authorize(
              "1.00", to: "ivo", by: "book", under: terms.id, agent: agent, idempotencyKey: "pay-\(number)")
            return receipt.command.state.rawValue
          } catch {
            return (error as? Denied)?.problem.code ?? "\(error)"
          }
        }
      }
      return await tasks.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }
    #expect(answers == [isHeld ? "held" : "done": limit.fitting, limit.code: Self.count - limit.fitting])
    try await d.settle()
    let account = try await store.read { unit in try #require(try unit.account(own)) }
    #expect(account.available == funds - Int64(limit.fitting) * 100)
    #expect(account.debitsPosted == (isHeld ? 0 : Int64(limit.fitting) * 100))
    let now = world.clock.now()
    let spent = try await store.read { unit in try unit.budgets(consent: terms.id, containing: now).map(\.spent) }
    #expect(spent == [Int64(limit.fitting) * 100])
    await d.stop()
    try store.close()
    let report = try DeploymentAudit(database: folder + "/db", genesis: world.genesisText).run()
    #expect(report.findings.map(\.description) == [])
  }
}
