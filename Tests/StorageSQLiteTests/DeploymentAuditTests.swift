import CommandGate
import Consent
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
    #expect(report.keys == 4 && report.dataKeys == 6, "\(report)")
    #expect(report.held == 6 && report.credentials == 8 && report.consents == 2 && report.payments == 10, "\(report)")
    #expect(report.approvals == 3 && report.files == 2, "\(report)")
    #expect(report.entries == 6 && report.authorities == 7 && report.federations == 2, "\(report)")
    #expect(report.unsealed <= 1)
  }

  /// Every cell of every table, altered by one byte or by one: the audit must say so.
  @Test func everyAlteredCellIsFound() async throws {
    let sample = try await SampleDeployment.make()
    let cells = try await withThrowingTaskGroup(of: Int.self) { group in
      for table in try sample.tables() {
        let cells = try sample.cells(of: table)
        #expect(!cells.isEmpty, "nothing of the table \(table) is in the sample")
        group.addTask {
          for cell in cells {
            let copy = try sample.copy()
            try copy.alter(cell)
            #expect(try copy.verdict() != nil, "\(cell) was altered and nothing found")
          }
          return cells.count
        }
      }
      return try await group.reduce(0, +)
    }
    print("vectors: audit: \(cells) cells altered, every one found")
    #expect(cells > 150)
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
        == "invitation of owner own_1: the log accounts for no such row.")
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

  /// What the tables of consents and payments can be made to claim.
  @Test(arguments: [
    ("UPDATE payment SET state = 'held', ended_by = NULL WHERE state = 'declined'", "payment "),
    ("UPDATE payment SET posted_index = NULL WHERE state = 'posted'", "payment "),
    ("DELETE FROM payment WHERE state = 'voided'", "payment "),
    ("DELETE FROM approval", "approval of "),
    ("UPDATE approval SET sealed = 0", "approval of "),
    ("UPDATE approval SET approves = 1 WHERE approves = 0", "approval of "),
    ("UPDATE budget SET spent = 0", "budget of con_"),
    ("UPDATE consent SET status = 'active'", "consent con_"),
    ("UPDATE consent SET version = 1", "consent con_"),
    ("DELETE FROM consent WHERE status = 'revoked'", "consent con_"),
    ("INSERT INTO consent VALUES ('con_x', 'own_1', 1, 'active')", "consent con_x"),
    ("DELETE FROM consent_version WHERE version = 1", "consent_version con_"),
    ("UPDATE credential SET sign_count = 0", "credential of "),
    ("DELETE FROM credential WHERE purpose = 'sign_in'", "credential of "),
    ("UPDATE approver_group SET version = version + 1", "approver_group grp_"),
    ("UPDATE person_invitation SET used_index = NULL", "person_invitation inv_"),
    ("DELETE FROM policy WHERE version = 2", "policy "),
    ("UPDATE rail SET bank = 'off_1'", "rail "),
    ("UPDATE rail_entry SET file = NULL", "rail_entry "),
    ("UPDATE rail_entry SET file = 3 WHERE file IS NULL", "rail_entry "),
    ("DELETE FROM rail_file WHERE number = 2", "rail_file "),
    ("UPDATE account SET under_consent = 0", "account acc_"),
    ("UPDATE principal SET since = 0", "principal agt_"),
    ("UPDATE command SET checkpoint_size = NULL WHERE state = 'held'", "leaf "),
    ("UPDATE command SET checkpoint_size = 1 WHERE state = 'held'", "leaf "),
    ("UPDATE command SET checkpoint_size = 99999 WHERE state = 'held'", "leaf "),
    ("UPDATE command SET result = x'7b7d' WHERE state = 'held'", "leaf "),
    ("UPDATE command SET state = 'done' WHERE state = 'held'", "leaf "),
    ("UPDATE kek SET state = 'active' WHERE state = 'disabled'", "kek key_"),
    ("UPDATE kek SET state = 'active' WHERE state = 'pending'", "kek key_"),
    ("UPDATE kek SET version = 1 WHERE version = 2", "kek key_"),
    ("UPDATE kek SET since = 0", "kek key_"),
    ("DELETE FROM kek WHERE state = 'destroyed'", "kek key_"),
    ("DELETE FROM kek_version WHERE version = 1", "kek_version key_"),
    ("UPDATE kek_version SET record = x'', codes = x'' WHERE version = 2", "kek_version key_"),
    ("UPDATE kek_version SET leaf_index = leaf_index - 1", "kek_version key_"),
    ("INSERT INTO kek_version SELECT kek, 9, record, codes, leaf_index FROM kek_version LIMIT 1", "kek_version key_"),
    ("UPDATE data_key SET version = 1 WHERE version = 2", "data_key dek_"),
    ("UPDATE data_key SET kek = (SELECT id FROM kek WHERE state = 'disabled')", "data_key dek_"),
    (
      "UPDATE data_key SET record = (SELECT record FROM data_key WHERE id = 'dek_a') WHERE id = 'dek_b'",
      "data_key dek_b"
    ),
    ("DELETE FROM data_key WHERE id = 'dek_f'", "data_key dek_f"),
    (
      "INSERT INTO data_key SELECT 'dek_x', kek, version, record, codes, leaf_index FROM data_key LIMIT 1",
      "data_key dek_x"
    ),
    ("DELETE FROM key_event WHERE sequence = (SELECT max(sequence) FROM key_event)", "leaf "),
    (
      "INSERT INTO key_event SELECT sequence + 1000, record, number, state, digest, leaf_index, chain FROM key_event LIMIT 1",
      "table key_event"
    ),
    ("UPDATE key_event SET chain = zeroblob(32) WHERE sequence = 1", "leaf "),
    ("UPDATE key_task SET state = 'pending', end_index = NULL WHERE state = 'done'", "key_task "),
    ("UPDATE key_task SET state = 'cancelled', end_index = 1 WHERE state = 'pending'", "key_task "),
    ("UPDATE key_task SET not_before = 0", "key_task "),
    ("DELETE FROM key_task WHERE state = 'cancelled'", "key_task "),
    ("DELETE FROM key_manifest WHERE leaf_index = (SELECT max(leaf_index) FROM key_manifest)", "key_manifest "),
    ("UPDATE key_manifest SET document = x'7b7d'", "key_manifest "),
    ("DELETE FROM entry WHERE fingerprint IS NULL", "entry ent_"),
    ("DELETE FROM entry WHERE sequence = (SELECT max(sequence) FROM entry)", "entry ent_"),
    ("UPDATE entry SET selectors = (SELECT selectors FROM entry LIMIT 1)", "entry ent_"),
    ("INSERT INTO entry VALUES (999, 'ent_x', x'00', x'', x'', 3, 999)", "entry ent_x"),
    ("UPDATE authority SET state = 'active' WHERE state = 'revoked'", "authority aut_"),
    ("UPDATE authority SET state = 'old' WHERE state = 'tainted'", "authority aut_"),
    ("UPDATE authority SET chain = x'0000000100'", "authority aut_"),
    ("UPDATE authority SET chain = x'00000001'", "table authority"),
    ("UPDATE authority SET not_after = not_after + 1", "authority aut_"),
    ("DELETE FROM authority WHERE state = 'requested'", "authority aut_"),
    ("UPDATE authority_order SET pending = 1 - pending", "authority_order "),
    ("DELETE FROM authority_order", "authority_order "),
    ("DELETE FROM issuance WHERE kind = 'x509'", "leaf "), ("DELETE FROM issuance WHERE kind = 'jwt'", "leaf "),
    ("UPDATE issuance SET leaf_index = 1", "leaf "), ("UPDATE issuance SET id = '00' WHERE kind = 'x509'", "leaf "),
    ("INSERT INTO issuance VALUES ('x509', '00', 1)", "table issuance"),
    ("UPDATE entry SET created = created + 1", "entry "),
    ("DELETE FROM revocation WHERE kind = 'jwt'", "revocation of jwt token"),
    ("UPDATE revocation SET expires = 0 WHERE kind = 'x509'", "revocation of x509 4711"),
    ("DELETE FROM revocation_list WHERE issuer = 'root'", "revocation_list of root"),
    ("UPDATE revocation_list SET list = x''", "revocation_list of "),
    ("UPDATE federation SET bundle = x'' WHERE trust_domain = 'other.test'", "federation with other.test"),
    ("DELETE FROM federation WHERE trust_domain = 'kept.test'", "federation with kept.test"),
    ("INSERT INTO federation VALUES ('gone.test', x'7b7d', x'7b7d', 3)", "federation with gone.test"),
  ])
  func falseClaimsAreFound(_ sql: String, _ place: String) async throws {
    let copy = try await Self.shared.value.copy()
    try copy.execute(sql)
    let verdict = try copy.verdict()
    #expect(verdict?.hasPrefix(place) == true, "\(sql): \(verdict ?? "nothing")")
  }

  private static let shared = Task { try await SampleDeployment.make() }

  /// Events that are on the record but had no effect, or not this one.
  @Test(arguments: [
    ("payment.expired", #"{"expires_at":"2027-01-15T08:00:00.000Z","payment":"nothing"}"#),
    ("hold.expired", #"{"expires_at":"2027-01-15T08:00:00.000Z","hold":"nothing"}"#),
    ("rail.file", #"{"entries":1,"file":1,"sha256":"00","tenant":"tnt_test"}"#),
    ("session.opened", #"{"backup_state":false,"credential":"AAAA","person":"own_1","sign_count":7}"#),
    ("credential.enrolled", #"{"person":"own_1"}"#),
    ("agent.registered", "{}"),
    ("key.due", #"{"key":"nothing","kind":"rotate"}"#),
    ("key.due", #"{"key":"nothing","kind":"paint"}"#),
    ("key.created", #"{"facts":{},"key":"nothing","records":[],"state":"active","task":"nothing","version":1}"#),
    ("key.destroyed", #"{"facts":{},"key":"nothing","records":[],"state":"destroyed"}"#),
    ("data-key.created", "{}"),
    ("key-manifest.first", #"{"manifest":{}}"#),
    ("invitation.created", #"{"digest":"00","owner":"own_1","tenant":"tnt_test"}"#),
    ("authority.prepared", "{}"),
    ("authority.activated", #"{"authority":"nothing"}"#),
    ("authority.activated", #"{"authority":"nothing","why":"so"}"#),
    ("bundle.refreshed", #"{"bundle":"{\"keys\":[]}","trust_domain":"nobody.test"}"#),
    ("crl.issued", #"{"crl":"AAAA","issuer":"root","next_update":1}"#),
    ("entry.first", #"{"entry":{},"id":"ent_AAAAAAAAAAAAAAAAAAAAAA"}"#),
  ])
  func eventsThatDidNotHappenAreFound(_ kind: String, _ content: String) async throws {
    let (path, d) = try await Self.founded()
    let object = try #require(try JSONValue(parsing: content).object)
    try await d.gate.record { _, _ in EventRecord(kind: kind, content: object) }
    await d.stop()
    try d.store.close()
    let findings = try DeploymentAudit(database: path, genesis: d.world.genesisText).run().findings
    #expect(findings.count == 1 && findings.first?.place == "leaf 1", "\(findings)")
  }

  /// A hold whose leaf no checkpoint covers yet is sound, and no claim of an outcome is.
  @Test func aHoldThatIsNotSealedYetIsSound() async throws {
    let (path, d) = try await Self.founded()
    let (consent, _) = try await SampleDeployment.prepare(d)
    d.world.custodian.hold(true)
    let asked = Task {
      try await d.authorize("2000.00", to: "acme", under: consent.id, agent: d.world.agents[2])
    }
    while try await d.store.read({ try !$0.unfinished().contains { $0.state == .held } }) { await Task.yield() }
    func audit() throws -> AuditReport { try DeploymentAudit(database: path, genesis: d.world.genesisText).run() }
    let before = try audit()
    #expect(before.findings == [] && before.held == 1 && before.unsealed > 0, "\(before)")
    d.world.custodian.hold(false)
    #expect(try await asked.value.command.state == .held)
    await d.stop()
    let after = try audit()
    #expect(after.findings == [] && after.held == 1 && after.unsealed == 0, "\(after)")
    try d.store.close()
  }

  private static func founded() async throws -> (path: String, TestDeployment<SQLiteStore>) {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let store = try SQLiteStore(path: folder + "/s.sqlite")
    try await world.found(store, headFile: folder + "/head")
    let deployment = try await TestDeployment(world, store: store, headFile: folder + "/head")
    deployment.start()
    return (folder + "/s.sqlite", deployment)
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
