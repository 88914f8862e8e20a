import AgentIdentity
import CommandGate
import Consent
import Cosign
import Foundation
import GRDB
import Payments
import Rails
import Seal
import StorageSQLite
import TestSupport
import Wire

/// A small deployment on SQLite with one of everything, to be copied and damaged.
struct SampleDeployment {
  let path: String
  let world: TestWorld

  static func make() async throws -> SampleDeployment {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let path = folder + "/trustcore.sqlite"
    let store = try SQLiteStore(path: path)
    let headFile = folder + "/log.head"
    try await world.found(store, headFile: headFile)
    try await fill(store, world, headFile: headFile)
    try store.close()
    return SampleDeployment(path: path, world: world)
  }

  /// Fills a deployment that was founded.
  static func fill(_ store: SQLiteStore, _ world: TestWorld, headFile: String) async throws {
    // Each gate lets go of the signer's file before the next one takes it.
    try await business(store, world, headFile: headFile)
    try await keys(store, world, headFile: headFile)
    let workloads = try await WorkloadDeployment(world, store: store, headFile: headFile)
    try await workloads.fill()
    await workloads.stop()
  }

  private static func keys(_ store: SQLiteStore, _ world: TestWorld, headFile: String) async throws {
    let keys = try await KeyDeployment(world, store: store, headFile: headFile)
    try await keys.fill()
    await keys.stop()
  }

  private static func business(_ store: SQLiteStore, _ world: TestWorld, headFile: String) async throws {
    let deployment = try await TestDeployment(world, store: store, headFile: headFile)
    deployment.start()
    try await fill(deployment)
    try await pay(deployment)
    await deployment.stop()
  }

  static func fill(_ d: TestDeployment<SQLiteStore>) async throws {
    let world = d.world
    try await d.gate.record { unit, _ in
      let invitation = Invitation(digest: [UInt8](repeating: 9, count: 32), owner: "own_1", tenant: TestWorld.tenant)
      try unit.insert(invitation)
      return EventRecord(
        kind: "invitation.created",
        content: [
          "digest": .string(Hex.encode(invitation.digest)), "owner": .string(invitation.owner),
          "tenant": .string(invitation.tenant),
        ])
    }
    try await d.register(world.agents[0])
    // A pending agent is refused, on the record.
    _ = try? await d.submit("/v1/ledger/accounts", ["currency": "USD"], by: world.agents[0])
    try await d.submit(
      "/v1/agents/agt_1/approve", ["thumbprint": .string(world.agents[0].principal.thumbprint)], by: world.owner)
    try await d.enrol(world.agents[1])
    let bank = try await d.openAccount(by: world.officer, kind: "external")
    let own = try await d.openAccount(by: world.owner, overdraft: 500)
    let other = try await d.openAccount(by: world.stranger)
    try await d.submit("/v1/ledger/transfers", .transfer(bank, own, 100_000), by: world.officer)
    try await d.submit("/v1/ledger/transfers", .transfer(own, other, 1234), by: world.agents[0])
    try await d.submit("/v1/ledger/transfers", .transfer(own, other, 4321), by: world.agents[1])
    _ = try? await d.submit("/v1/ledger/transfers", .transfer(own, other, 10_000_000), by: world.agents[0])
    func hold(_ seconds: Int64) async throws -> String {
      try await d.submit("/v1/ledger/holds", .hold(own, other, 700, seconds: seconds), by: world.agents[0])
        .command.id.description
    }
    let (captured, voided, expiring, _) = (
      try await hold(60), try await hold(60), try await hold(1), try await hold(1000)
    )
    try await d.submit("/v1/ledger/holds/\(captured)/capture", ["amount": 300], by: world.agents[0])
    try await d.submit("/v1/ledger/holds/\(voided)/void", [:], by: world.agents[0])
    world.clock.advance(seconds: 2)
    try await d.expire(expiring)
    _ = try? await d.submit("/v1/ledger/holds/\(expiring)/capture", [:], by: world.agents[0])
    try await d.gate.record { _, _ in
      EventRecord(kind: "token.issued", content: ["client_id": "agt_1"])
    }
    try await d.submit("/v1/agents/agt_2/revoke", [:], by: world.officer)
    _ = try? await d.submit("/v1/ledger/transfers", .transfer(own, other, 1), by: world.agents[1])
  }

  /// The people who approve.
  struct Approvers {
    let ada: TestPerson
    let ben: TestPerson
  }

  /// People with hardware keys, policies, the rail, and a consent at its second version for the third agent: to `acme`
  /// and `zeta` by ACH, to `ivo` by book, above 1000.00 with an approval.
  static func prepare(_ d: TestDeployment<SQLiteStore>) async throws -> (terms: ConsentTerms, approvers: Approvers) {
    let world = d.world
    let agent = world.agents[2]
    try await d.enrol(agent)
    let group = try await d.makeGroup("Treasury")
    let olga = try await d.enrolPerson("Olga", owner: world.owner)
    let ada = try await d.enrolPerson("Ada", group: group)
    let ben = try await d.enrolPerson("Ben", group: group)
    let eve = try await d.enrolPerson("Eve", group: group)
    _ = try await d.invite("Nobody yet")
    try await d.signIn(ada)
    try await d.submit("/v1/groups/\(group)/remove", ["person": .string(eve.id)], by: world.officer)
    for version in 1...2 as ClosedRange<Int64> {
      try await d.publishPolicy(
        version: version,
        rules: [
          [
            "id": "large", "condition": ["kind": "amount_above", "amount": "5000.00", "currency": "USD"],
            "action": ["kind": "hold", "approvals": 2, "group": .string(group)],
          ]
        ])
    }
    let bank = try await d.openAccount(by: world.officer, kind: "external")
    let own = try await d.openAccount(by: world.owner)
    try await d.submit("/v1/ledger/transfers", .transfer(bank, own, 10_000_000), by: world.officer)
    let other = try await d.openAccount(by: world.stranger)
    try await d.configureRail(settlementAccount: bank)
    func draft(replacing previous: ConsentTerms? = nil) throws -> ConsentTerms {
      try d.draftConsent(
        owner: olga, agent: agent, account: own,
        counterparties: [.payee("acme", account: "111"), .payee("zeta", account: "222"), .payee("ivo", book: other)],
        cosign: ["above": "1000.00", "approvals": 1, "group": .string(group)], replacing: previous)
    }
    let first = try draft()
    try await d.issueConsent(first, by: olga)
    let terms = try draft(replacing: first)
    try await d.issueConsent(terms, by: olga)
    let withdrawn = try draft()
    try await d.issueConsent(withdrawn, by: olga)
    try await d.submit("/v1/consents/\(withdrawn.id)/revoke", [:], by: world.owner)
    return (terms, Approvers(ada: ada, ben: ben))
  }

  /// Payments in every state that lasts, with the files that they leave in.
  static func pay(_ d: TestDeployment<SQLiteStore>) async throws {
    let (terms, people) = try await prepare(d)
    let (ada, ben, agent) = (people.ada, people.ben, d.world.agents[2])
    func pay(_ amount: String, _ to: String, rail: String = "ach", seconds: Int64? = nil) async throws -> String {
      try await d.authorize(
        amount, to: to, by: rail, under: terms.id, agent: agent, reference: "INV 7", seconds: seconds
      ).command.id.description
    }
    _ = try await pay("12.34", "acme")
    _ = try await pay("56.78", "zeta")
    _ = try await pay("9.00", "ivo", rail: "book")
    _ = try? await pay("10000.01", "acme")
    let (approved, declined, voided, expiring) = (
      try await pay("2000.00", "acme"), try await pay("2001.00", "acme"), try await pay("2002.00", "acme"),
      try await pay("2003.00", "zeta", seconds: 1)
    )
    let half = try await pay("6000.00", "zeta")
    _ = try await pay("2004.00", "acme")
    if let (file, bytes) = try await d.cutFile() {
      try await d.bankAnswer(.accepted(file: file.number))
      try await d.bankAnswer(.returned(.insufficientFunds, accounts: ["222"], file: bytes))
    }
    try await d.decide(.approve, approved, by: ada)
    try await d.decide(.decline, declined, by: ben)
    try await d.decide(.approve, half, by: ben)
    _ = try? await d.decide(.approve, approved, by: ben)
    try await d.void(voided, by: agent)
    d.world.clock.advance(seconds: 2)
    try await d.expirePayment(expiring)
    try await d.cutFile()
    _ = try await pay("3.21", "acme")
  }

  func audit() throws -> AuditReport { try DeploymentAudit(database: path, genesis: world.genesisText).run() }

  /// What the audit says: a finding or an error, or nil.
  func verdict() throws -> String? {
    do { return try audit().findings.first?.description } catch let error as StorageError { return error.description }
  }

  // MARK: - Damage

  struct Cell: Equatable, CustomStringConvertible {
    let table: String
    let row: Int
    let column: String
    var description: String { "\(table)[\(row)].\(column)" }
  }

  func copy() throws -> SampleDeployment {
    let path = try TemporaryFolder.make() + "/copy.sqlite"
    try FileManager.default.copyItem(atPath: self.path, toPath: path)
    return SampleDeployment(path: path, world: world)
  }

  private func queue() throws -> DatabaseQueue { try DatabaseQueue(path: path) }

  func tables() throws -> [String] {
    let queue = try queue()
    defer { try? queue.close() }
    return try queue.read { db in
      try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    }
  }

  /// Columns that the log does not name: codes of authenticity, which the HSM verifies whenever a key is used.
  private static let beyondTheLog = ["kek_version": "codes", "data_key": "codes"]

  /// The cells that hold something in the first, the middle and the last row; and of a column that holds nothing there,
  /// the first cell that does.
  func cells(of table: String) throws -> [Cell] {
    let queue = try queue()
    defer { try? queue.close() }
    return try queue.read { db in
      let rows = try Row.fetchAll(db, sql: "SELECT * FROM \(table)")
      var seen: Set<String> = []
      var cells: [Cell] = []
      // An audit takes a third of a second, so a short run takes one row of each table and a soak three.
      let isSoak = ProcessInfo.processInfo.environment["TRUSTCORE_SOAK"] != nil
      let chosen = isSoak ? [0, rows.count / 2, rows.count - 1] : [rows.count / 2]
      for number in chosen + Array(rows.indices) where rows.indices.contains(number) {
        let isChosen = chosen.contains(number)
        for (column, value) in rows[number] where !value.isNull && (isChosen || !seen.contains(column)) {
          if Self.beyondTheLog[table] == column { continue }
          // Which of the checkpoints above it a hold's row names is not on the log, and true of each; that it names one
          // that is stored and above it, `falseClaimsAreFound` asks.
          if column == "checkpoint_size", rows[number]["state"] == "held" { continue }
          if case .blob(let data) = value.storage, data.isEmpty { continue }
          if case .string(let text) = value.storage, text.isEmpty { continue }
          seen.insert(column)
          let cell = Cell(table: table, row: number, column: column)
          if !cells.contains(cell) { cells.append(cell) }
        }
      }
      return cells
    }
  }

  func execute(_ sql: String) throws {
    let queue = try queue()
    defer { try? queue.close() }
    try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
  }

  /// Flips a bit of the file.
  func flip(bit: Int) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    defer { try? file.close() }
    try file.seek(toOffset: UInt64(bit / 8))
    guard var byte = try file.read(upToCount: 1) else { return }
    byte[byte.startIndex] ^= 1 << (bit % 8)
    try file.seek(toOffset: UInt64(bit / 8))
    try file.write(contentsOf: byte)
  }

  /// Everything that the tables hold, or nil where they cannot be read.
  func dump() -> [String]? {
    try? queue().read { db in
      var lines: [String] = []
      for table in try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
        lines += try Row.fetchAll(db, sql: "SELECT * FROM \(table)").map { "\(table) \($0.databaseValues)" }.sorted()
      }
      return lines
    }
  }

  /// Changes one byte of a text or a blob, or adds one to a number.
  func alter(_ cell: Cell) throws {
    let queue = try queue()
    defer { try? queue.close() }
    try queue.write { db in
      let rows = try Row.fetchAll(db, sql: "SELECT * FROM \(cell.table)")
      let row = rows[cell.row]
      let old: DatabaseValue = row[cell.column]
      let new: DatabaseValue
      switch old.storage {
      case .int64(let number): new = (number &+ 1).databaseValue
      case .blob(var data):
        let at = data.index(data.startIndex, offsetBy: data.count / 2)
        data[at] ^= 1
        new = data.databaseValue
      case .string(let text):
        var bytes = Array(text.utf8)
        bytes[bytes.count / 2] ^= 1
        new = String(decoding: bytes, as: UTF8.self).databaseValue
      default: return
      }
      let match = row.columnNames.map { "\($0) IS ?" }.joined(separator: " AND ")
      var arguments = StatementArguments([new])
      arguments += StatementArguments(row.databaseValues)
      try db.execute(sql: "PRAGMA ignore_check_constraints = ON")
      do {
        try db.execute(sql: "UPDATE \(cell.table) SET \(cell.column) = ? WHERE \(match)", arguments: arguments)
      } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
        // The new value is taken by another row: exchange with one that is not.
        try db.execute(
          sql: "UPDATE \(cell.table) SET \(cell.column) = \(cell.column) + 1000 WHERE \(match)",
          arguments: StatementArguments(row.databaseValues))
      }
    }
  }
}
