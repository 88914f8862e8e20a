import Foundation
import KeyHierarchy
import KeyManifests
@testable import KeyService
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire

/// Older forms, made-up steps, and databases and files that are not the newest.
@Suite struct RestoreTests {
  @Test func anOlderFormIsRefused() async throws {
    let world = try await TamperedWorld.make()
    let (deployment, a) = (world.deployment, world.a)
    let before = try deployment.backUp()
    func putBack(_ tables: String...) throws {
      var all = "ATTACH '\(before)' AS old;"
      for table in tables { all += "REPLACE INTO main.\(table) SELECT * FROM old.\(table);" }
      try deployment.edit(all)
    }
    // Before the rewrap.
    try await deployment.order("rewrap", a)
    #expect(try await deployment.open(world.old.id) == world.old.secret)
    try putBack("data_key")
    #expect(await code { _ = try await deployment.open(world.old.id) } == "key_record_refused")
    // Before the disabling: record, state and steps.
    try await deployment.order("disable", a)
    try putBack("kek", "kek_version")
    #expect(await code { _ = try await deployment.make(a) } == "key_record_refused")
    try deployment.edit("DELETE FROM key_event WHERE sequence > (SELECT max(sequence) - 2 FROM key_event)")
    #expect(await code { _ = try await deployment.make(a) } == "key_record_refused")
    // The next process sees that the history is short.
    let next = try await deployment.restarted()
    #expect(await code { _ = try await next.make(a) } == "key_records_refused")
    let status = try await next.service.status()
    #expect(
      status["keys_mode"] == "refused" && status["keys_reason"]?.string?.contains("an older copy was restored") == true)
    await next.stop()
  }

  /// Steps that were made up so that the history is long enough, with a chain that is right.
  @Test(arguments: [false, true]) func madeUpStepsAreRefused(_ isUnderANewLeaf: Bool) async throws {
    let world = try await TamperedWorld.make()
    let (deployment, a) = (world.deployment, world.a)
    let version = try await deployment.store.read { unit in try unit.keyVersion(a, 2) }
    let active = try #require(version)
    try await deployment.order("disable", a)
    let last = try #require(try await deployment.store.read { unit in try unit.lastKeyEvent() })
    let newest = try await deployment.store.read { unit in try unit.head()?.size ?? 1 } - 1
    let next = try await deployment.restarted {
      let record = try KEKRecord(decoding: active.record)
      let leaf = isUnderANewLeaf ? newest : active.leafIndex
      var chain = try KeyEventChain(count: last.sequence, value: last.chain)
      chain.append(try KeyEvent(record, leafIndex: leaf))
      try deployment.edit(
        "INSERT INTO key_event VALUES (\(last.sequence + 1), '\(a)/2', 2, 'active', x'\(Hex.encode(record.digest))', \(leaf), "
          + "x'\(Hex.encode(chain.value))')",
        "UPDATE kek_version SET record = x'\(Hex.encode(active.record))', codes = x'\(Hex.encode(active.codes))', "
          + "leaf_index = \(leaf) WHERE kek = '\(a)' AND version = 2",
        "UPDATE kek SET state = 'active' WHERE id = '\(a)'")
    }
    #expect(await code { _ = try await next.make(a) } == "key_records_refused")
    #expect(await code { _ = try await next.open(world.new.id) } == "key_records_refused")
    #expect(try await next.service.status()["keys_mode"] == "refused")
    await next.stop()
  }

  @Test func theHistoryIsComparedAtTheStart() async throws {
    let world = try await TamperedWorld.make()
    var deployment = world.deployment
    let backup = try deployment.backUp()
    let last = "(SELECT max(sequence) FROM key_event)"
    for sql in [
      "UPDATE key_event SET sequence = 100 WHERE sequence = \(last)",
      "UPDATE key_event SET record = 'key_x/1' WHERE sequence = 1",
      "UPDATE key_event SET record = 'nothing at all' WHERE sequence = 1",
      "UPDATE key_event SET number = 2 WHERE sequence = 3",
      "UPDATE key_event SET number = -1 WHERE sequence = 3",
      "UPDATE key_event SET state = 'disabled' WHERE sequence = 2",
      "UPDATE key_event SET state = 'elsewhere' WHERE sequence = 2",
      "UPDATE key_event SET digest = zeroblob(32) WHERE sequence = \(last)",
      "UPDATE key_event SET digest = zeroblob(31) WHERE sequence = \(last)",
      "UPDATE key_event SET leaf_index = leaf_index + 1 WHERE sequence = \(last)",
      "UPDATE key_event SET chain = zeroblob(32) WHERE sequence = \(last)",
      "UPDATE key_event SET chain = zeroblob(32) WHERE sequence = 2",
      "DELETE FROM key_event WHERE sequence = \(last)", "DELETE FROM key_event WHERE sequence = 2",
      "DELETE FROM key_event",
    ] {
      deployment = try await deployment.restarted { [deployment] in try deployment.edit(sql) }
      let end = await code { _ = try await deployment.make(world.a) }
      #expect(end == (sql.contains("-1 WHERE") ? "keys_waiting" : "key_records_refused"), "\(sql)")
      let mode = try await deployment.service.status()["keys_mode"]
      #expect(mode == (sql.contains("-1 WHERE") ? "waiting" : "refused"), "\(sql)")
      #expect(await code { _ = try await deployment.open(world.new.id) } != nil, "\(sql)")
      deployment = try await deployment.restarted { [deployment] in try deployment.putBack(backup) }
      #expect(try await deployment.open(world.new.id) == world.new.secret)
    }
    await deployment.stop()
  }

  // MARK: - The file outside

  @Test func theFileOutsideIsOurs() async throws {
    let world = try await TamperedWorld.make()
    var deployment = world.deployment
    let file = deployment.headFile
    let truth = try Data(contentsOf: URL(fileURLWithPath: file))
    let lines = String(decoding: truth, as: UTF8.self).split(separator: "\n").map(String.init)
    let stranger = try await KeyDeployment.onSQLite(seed: 2)
    _ = try await stranger.create()
    let sameToken = try Data(contentsOf: URL(fileURLWithPath: stranger.headFile))
    await stranger.stop()
    let foreign = try await KeyDeployment.onSQLite(seed: 3, tokens: [try DataTokens.custodian(1)])
    let otherToken = try Data(contentsOf: URL(fileURLWithPath: foreign.headFile))
    await foreign.stop()
    func changed(_ line: Int) -> Data {
      var lines = lines
      // Near the end, where the codes have theirs and not the name of the token.
      let middle = lines[line].index(lines[line].endIndex, offsetBy: -9)
      lines[line].replaceSubrange(middle...middle, with: lines[line][middle] == "A" ? "B" : "A")
      return Data((lines.joined(separator: "\n") + "\n").utf8)
    }
    let cases: [(String, Data?, String, String)] = [
      ("missing", nil, "key_records_refused", "refused"), ("empty", Data(), "key_records_refused", "refused"),
      ("cut", truth.prefix(60), "key_records_refused", "refused"),
      ("longer", truth + Data("\n".utf8), "key_records_refused", "refused"),
      ("head edited", changed(1), "key_records_refused", "refused"),
      ("codes edited", changed(2), "key_records_refused", "refused"),
      ("another deployment on this token", sameToken, "key_records_refused", "refused"),
      ("another token's", otherToken, "root_key_absent", "waiting"),
    ]
    for (name, data, expected, mode) in cases {
      deployment = try await deployment.restarted {
        try? FileManager.default.removeItem(atPath: file)
        try data?.write(to: URL(fileURLWithPath: file))
      }
      #expect(await code { _ = try await deployment.open(world.new.id) } == expected, "\(name)")
      #expect(await code { _ = try await deployment.make(world.a) } == expected, "\(name)")
      let status = try await deployment.service.status()
      #expect(status["keys_mode"] == .string(mode), "\(name)")
      #expect(status["keys_reason"]?.string?.isEmpty == false, "\(name)")
    }
    deployment = try await deployment.restarted { try truth.write(to: URL(fileURLWithPath: file)) }
    #expect(try await deployment.open(world.new.id) == world.new.secret)

    // An older one of ours is what a crash leaves: the steps since are on record, and the file follows.
    _ = try await deployment.make(world.a)
    try await deployment.service.anchor()
    let newest = try Data(contentsOf: URL(fileURLWithPath: file))
    #expect(newest != truth)
    deployment = try await deployment.restarted { try truth.write(to: URL(fileURLWithPath: file)) }
    #expect(try await deployment.open(world.new.id) == world.new.secret)
    #expect(try KeyHeadFile.read(file).head.chain.count == 10)
    await deployment.stop()
  }

  // MARK: - Restored databases

  @Test func aRestoredDatabaseIsRefusedAndWhatWasDestroyedIsErased() async throws {
    let world = try await TamperedWorld.make()
    let deployment = world.deployment
    let wrapped = try await deployment.store.read { unit in
      try unit.keyVersions(of: world.a).flatMap { try KEKRecord(decoding: $0.record).wraps.map(\.bytes) }
    }
    #expect(wrapped.count == 2)
    let backup = try deployment.backUp()
    let oldHead = try Data(contentsOf: URL(fileURLWithPath: deployment.headFile))
    func holders(_ folder: String) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: folder).filter { name in
        guard name.hasPrefix("db"), let data = FileManager.default.contents(atPath: folder + "/" + name) else {
          return false
        }
        return wrapped.contains { data.firstRange(of: Data($0)) != nil }
      }
    }
    #expect(try !holders(deployment.folder).isEmpty)
    try await deployment.order("destroy", world.a)
    #expect(try holders(deployment.folder) == [])

    let restored = try await deployment.restarted { try deployment.replaceDatabase(by: backup) }
    #expect(try !holders(restored.folder).isEmpty)
    #expect(await code { _ = try await restored.open(world.new.id) } == "key_records_refused")
    #expect(try holders(restored.folder) == [])
    #expect(await code { _ = try await restored.open(world.other.id) } == "key_records_refused")
    let reason = try await restored.service.status()["keys_reason"]?.string
    #expect(reason?.contains("an older copy was restored") == true)
    #expect(await code { _ = try await restored.service.recover(with: try Recipient().pair) } == "key_records_refused")

    // With the file as old as the database, the log's own head tells.
    let both = try await restored.restarted {
      try restored.replaceDatabase(by: backup)
      try oldHead.write(to: URL(fileURLWithPath: restored.headFile))
    }
    #expect(await code { _ = try await both.open(world.new.id) } == "log_read_only")
    #expect(await code { _ = try await both.open(world.other.id) } == "log_read_only")
    #expect(await code { _ = try await both.make(world.b) } == "log_read_only")
    await both.stop()
  }
}
