import CommandGate
import Foundation
import GRDB
import StorageSQLite
import Testing
import TestSupport
import Wire
import WorkloadService

@Suite struct SQLiteStoreTests {
  @Test func holdsTheContract() async throws {
    let store = try SQLiteStore(path: try TemporaryFolder.make() + "/s.sqlite")
    try await storeContract(store)
    try store.close()
  }

  @Test func theInMemoryStoreHoldsTheContract() async throws { try await storeContract(InMemoryStore()) }

  @Test func refusesWhatIsNoDatabaseOfOurs() throws {
    let path = try TemporaryFolder.make() + "/s.sqlite"
    #expect(throws: StorageError.self) { try SQLiteStore(path: path, mode: .readOnly) }
    try Data("no database at all".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: StorageError.self) { try SQLiteStore(path: path) }
    let other = path + "2"
    try DatabaseQueue(path: other).write { try $0.execute(sql: "CREATE TABLE x (y)") }
    #expect(throws: StorageError.self) { try SQLiteStore(path: other) }
    #expect(throws: StorageError.self) { try SQLiteStore(path: other, mode: .readOnly) }
  }

  @Test func isDurableAndKeepsWhatItHolds() async throws {
    let path = try TemporaryFolder.make() + "/s.sqlite"
    let world = try TestWorld()
    let principal = world.owner.principal
    let store = try SQLiteStore(path: path)
    try await store.write { unit in try unit.insert(principal) }
    // A second process reads while the first has the database open.
    let reader = try SQLiteStore(path: path, mode: .readOnly)
    #expect(try reader.readBlocking { unit in try unit.principal(id: "own_1") } == principal)
    await #expect(throws: (any Error).self) { try await reader.write { unit in try unit.insert(principal) } }
    #expect(try reader.integrityFindings() == [])
    try reader.close()
    try store.close()
    let again = try SQLiteStore(path: path)
    #expect(try again.readBlocking { unit in try unit.principal(id: "own_1") } == principal)
    try again.close()
  }

  /// A query on the path of a command must not slow down with the table.
  @Test func noStatementReadsAWholeTable() async throws {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let store = try SQLiteStore(path: folder + "/s.sqlite")
    try await world.found(store, headFile: folder + "/head")
    try await SampleDeployment.fill(store, world, headFile: folder + "/head")
    let now = world.clock.now()
    _ = try await store.read { unit in
      (
        try unit.heldPayments(tenant: TestWorld.tenant, limit: 10), try unit.tenantsWithWaitingEntries(),
        try unit.heldPayments(expiringAtOrBefore: now, limit: 10), try unit.consents(owner: "own_1"),
        try unit.entry(payment: "p"), try unit.budget(consent: "c", start: now, end: now),
        try unit.heldExpiring(atOrBefore: 0, limit: 1), try unit.personInvitation(person: "p"),
        try unit.credentials(of: "p"), try unit.invitation(digest: []), try unit.keyVersion("k", 1),
        try unit.dataKey("d"), try unit.dataKeys(of: "k", below: 2, limit: 1), try unit.dataKeys(after: "", limit: 1),
        try unit.countDataKeys(of: "k", versions: 1...2), try unit.lastKeyEvent(of: "d"),
        try unit.keyEvents(after: 1, limit: 1), try unit.liveKey(tenant: "t", dataClass: "c"),
        try unit.entry("e"), try unit.entries(changedAfter: 1, limit: 1), try unit.entries(after: "e", limit: 1),
        try unit.revocations(.x509, at: now), try unit.federations(), try unit.entryCount(),
        try unit.eachEntry { _, _ in }
      )
    }
    let plans = try store.queryPlans()
    var used: Set<String> = []
    for (sql, plan) in plans {
      for step in plan {
        let index = step.components(separatedBy: "INDEX ").dropFirst().first.map { String($0.prefix { $0 != " " }) }
        // A partial index holds what waits, not the table; the last key is the end of a table in its order.
        let isBounded =
          !step.hasPrefix("SCAN ")
          || ["command_unfinished", "rail_entry_waiting", "key_task_pending", "authority_order_pending"].contains(index)
          || ["SCAN (subquery-1)", "SCAN log_checkpoint", "SCAN key_event", "SCAN key_manifest", "SCAN entry"].contains(
            step)
          // Who starts reads every entry's selectors, and only those; every federation and list is of interest.
          || ["entry_present"].contains(index) && step.contains("COVERING")
          || step.hasPrefix("SCAN federation ") || step.hasPrefix("SCAN revocation_list ")
        if !isBounded { Issue.record("\(sql): \(plan)") }
        if let index { used.insert(index) }
      }
    }
    print("vectors: query plans: \(plans.count) statements, none reads a whole table")
    #expect(plans.count > 50)
    for index in [
      "payment_decided", "payment_counterparty", "payment_due", "payment_held", "command_unfinished", "hold_due",
      "rail_entry_file", "rail_entry_trace", "rail_entry_waiting", "rail_tenant", "consent_owner",
      "credential_person", "person_invitation_person", "kek_live", "data_key_version", "key_event_record",
      "key_task_pending", "entry_present", "authority_kind", "authority_order_pending", "revocation_expires",
    ] { #expect(used.contains(index), "no statement uses the index \(index)") }
    try store.close()
  }

  /// Three levels of nothing but events would take 65,536 leaves; two levels take 600.
  @Test func aLogOfManyTilesIsSound() async throws {
    let folder = try TemporaryFolder.make()
    let path = folder + "/s.sqlite"
    let world = try TestWorld()
    let store = try SQLiteStore(path: path)
    try await world.found(store, headFile: folder + "/head")
    let deployment = try await TestDeployment(world, store: store, headFile: folder + "/head")
    deployment.start()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<599 {
        group.addTask {
          try await deployment.gate.record { _, _ in
            EventRecord(kind: "token.issued", content: ["number": .integer(Int64(number))])
          }
        }
      }
      try await group.waitForAll()
    }
    await deployment.stop()
    try store.close()
    let report = try DeploymentAudit(database: path, genesis: world.genesisText).run()
    #expect(report.findings == [])
    #expect(report.leaves == 600 && report.events == 599 && report.tiles == 4 && report.unsealed == 0, "\(report)")
  }
}
