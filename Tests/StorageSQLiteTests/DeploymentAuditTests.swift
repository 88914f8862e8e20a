import Foundation
import GRDB
import StorageSQLite
import Testing
import TestSupport
import Wire

@Suite struct DeploymentAuditTests {
  @Test func aDeploymentWithEverythingInItIsSound() async throws {
    let sample = try await SampleDeployment.make()
    let report = try sample.audit()
    #expect(report.findings.map(\.description) == [])
    #expect(report.receipts > 10 && report.denied >= 3 && report.events >= 3 && report.holds >= 4, "\(report)")
    #expect(report.unsealed <= 1)
  }

  /// Every cell of every table, altered by one byte or by one: the audit must say so.
  @Test func everyAlteredCellIsFound() async throws {
    let sample = try await SampleDeployment.make()
    var cells = 0
    for table in try sample.tables() {
      for cell in try sample.cells(of: table) {
        cells += 1
        let copy = try sample.copy()
        try copy.alter(cell)
        #expect(try copy.verdict() != nil, "\(cell) was altered and nothing found")
      }
    }
    print("vectors: audit: \(cells) cells altered, every one found")
    #expect(cells > 100)
  }

  /// Bits of the file, wherever they fall: what is not found has changed no row.
  @Test func flippedBitsOfTheFileAreFoundOrMeanNothing() async throws {
    let sample = try await SampleDeployment.make()
    let size = try Data(contentsOf: URL(fileURLWithPath: sample.path)).count
    let random = SeededRandom(7)
    let before = try #require(sample.dump())
    var found = 0
    for _ in 0..<120 {
      let copy = try sample.copy()
      let bit = random.below(size * 8)
      try copy.flip(bit: bit)
      if try copy.verdict() != nil {
        found += 1
      } else {
        #expect(copy.dump() == before, "bit \(bit) changed a row and nothing was found")
      }
    }
    print("vectors: audit: 120 bits flipped, \(found) found, the others changed no row")
    #expect(found > 20)
  }

  @Test func saysWhere() async throws {
    let sample = try await SampleDeployment.make()
    func verdict(_ sql: String) throws -> String {
      let copy = try sample.copy()
      try copy.execute(sql)
      return try copy.verdict() ?? "nothing"
    }
    let content = try verdict("UPDATE content SET salt = zeroblob(32) WHERE idx = 3")
    #expect(content == "leaf 3: its content does not match the commitment.")
    #expect(try verdict("DELETE FROM content WHERE idx = 3") == "leaf 3: its content is missing.")
    #expect(try verdict("DELETE FROM log_entry WHERE idx = 5").hasPrefix("leaf 5: it is missing"))
    #expect(
      try verdict("UPDATE account SET credits_posted = credits_posted + 1 WHERE kind = 'customer'").hasPrefix(
        "account acc_"))
    #expect(
      try verdict("UPDATE log_tile SET hashes = zeroblob(length(hashes))")
        == "tile 0/0: its hash of leaf 0 is not that of the leaf.")
    #expect(
      try verdict("UPDATE principal SET status = 'active' WHERE id = 'agt_2'")
        == "principal agt_2: its row is not what the log comes to.")
    #expect(
      try verdict("INSERT INTO invitation VALUES (zeroblob(32), 'own_1', 't')")
        == "invitation of owner unknown: the log accounts for no such row.")
    #expect(
      try verdict("CREATE TRIGGER t AFTER INSERT ON posting BEGIN DELETE FROM posting; END")
        == "schema: 't' is not what this release creates.")
    #expect(try verdict("DELETE FROM log_head") == "table log_head: the log has no head.")
    #expect(try verdict("UPDATE log_head SET size = size - 1").hasPrefix("table log_head: "))
    #expect(
      try verdict("UPDATE log_checkpoint SET size = -1 WHERE size = (SELECT max(size) FROM log_checkpoint)")
        != "nothing")
    #expect(try verdict("UPDATE command SET outcome_index = -5 WHERE leaf_index = 3").hasPrefix("leaf"))
    #expect(try verdict("PRAGMA user_version = 9").contains("schema version"))
  }

  @Test func anotherGenesisIsFound() async throws {
    let sample = try await SampleDeployment.make()
    let other = try TestWorld(seed: 2).genesisText
    let findings = try DeploymentAudit(database: sample.path, genesis: other).run().findings
    #expect(findings.first?.description == "leaf 0: it does not hold the digest of this genesis.json.")
    #expect(throws: StorageError.self) { try DeploymentAudit(database: sample.path, genesis: [1]).run() }
    #expect(throws: StorageError.self) { try DeploymentAudit(database: sample.path + "x", genesis: other).run() }
  }
}
