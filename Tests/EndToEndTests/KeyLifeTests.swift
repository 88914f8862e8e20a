import DemoClient
import Foundation
import KeyManifests
import KeyService
import StorageSQLite
import TestSupport
import Testing
import TransparencyLog
import Wire

extension EndToEndTests {
  /// The life of a key: its versions, its pauses, its end, and what of it comes back from a copy.
  @Suite(.serialized) struct KeyLife {
    private static let note = Data("what was written once".utf8)

    @Test func versionsFollowEachOtherAndPausesEnd() async throws {
      let office = try KeyOffice("life")
      var running = try await office.start()
      let key = try await office.makeKey()
      let first = try await office.encrypted(Self.note, under: key, as: "first")
      let rotated = try await office.json(["keys", "rotate", key])
      #expect(rotated["version"] == 2 && rotated["state"] == "active")
      let second = try await office.encrypted(Self.note, under: key, as: "second")
      for file in [first, second] { #expect(try await office.decrypt(file).output == Array(Self.note)) }
      // The schedule brings the data key of the first version to the second one.
      try await Built.eventually("the scheduled rewrap") {
        try await office.json(["keys", "show", key])["versions"]?.array?.first?.object?["data_keys"] == 0
      }
      #expect(try await office.json(["keys", "disable", key])["state"] == "disabled")
      for file in [first, second] { #expect(try await office.decrypt(file).summary == "65 key_disabled") }
      #expect(try await office.tool(["keys", "encrypt", key] + KeyOffice.context).summary == "65 key_disabled")
      #expect(try await office.tool(["keys", "rotate", key]).summary == "65 key_disabled")
      // It stays so over a restart, and so does all else.
      try await office.stop(running)
      #expect(try await office.isSound())
      running = try await office.start()
      #expect(try await office.decrypt(first).summary == "65 key_disabled")
      #expect(try await office.json(["keys", "enable", key])["state"] == "active")
      for file in [first, second] { #expect(try await office.decrypt(file).output == Array(Self.note)) }
      let listed = try await office.json(["keys", "list"])["keys"]?.array
      #expect(listed?.count == 1 && listed?.first?.object?["version"] == 2)
      #expect(try await office.tool(["status"]).status == 0)
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// Two hundred data keys; the daemon is killed while the HSM works on the hundredth. What is rewrapped by then stays
    /// so, the rest follows after the next start, and each opens to what it was.
    @Test func aRewrapSurvivesTheEndOfItsProcess() async throws {
      let office = try KeyOffice("rewrap", faulty: true)
      let faults = try #require(office.faults)
      var running = try await office.start()
      let key = try await office.makeKey()
      let recipient = try Vault.Recipient()
      let fixed = running
      let drawn = try await withThrowingTaskGroup(of: [String: [UInt8]].self) { group in
        for _ in 0..<8 {
          group.addTask {
            var made: [String: [UInt8]] = [:]
            for _ in 0..<25 {
              let answer = try await fixed.draw(key, recipient)
              made[try #require(answer["data_key"]?.string, "\(answer.text)")] = try recipient.fingerprint(answer)
            }
            return made
          }
        }
        return try await group.reduce(into: [:]) { $0.merge($1) { $1 } }
      }
      #expect(drawn.count == 200 && Set(drawn.values).count == 200)
      let slot = try #require(faults.slot(labelled: "data"))
      let stuck = faults.hold(.decrypt, after: 100, .slot(slot))
      #expect(try await running.order("rotate", key).status == 200)
      // The schedule may have ordered it before.
      let ordered = try await running.order("rewrap", key)
      #expect([202, 409].contains(ordered.status), "\(ordered.text)")
      try await stuck.waitUntilHeld()
      let half = try await running.read("/v1/keys/\(key)")
      #expect(half["rewrap", "total"] == 200 && half["rewrap", "rewrapped"] == 64, "\(half.text)")
      await office.daemon.kill()
      await running.client.close()
      stuck.remove()

      running = try await office.start()
      let counts = try await running.read("/v1/keys/\(key)")["versions"]?.array?.map {
        $0.object?["data_keys"]?.integer
      }
      #expect(counts?.compactMap(\.self).reduce(0, +) == 200)
      try await Built.eventually("the rest of the rewrap") {
        let key = try await running.read("/v1/keys/\(key)")
        return key["tasks"]?.array?.isEmpty == true && key["versions"]?.array?.last?.object?["data_keys"] == 200
      }
      for (id, fingerprint) in drawn {
        let body: JSONValue = ["context": Vault.context, "recipient": .string(recipient.text)]
        let opened = try await running.deployment.owner.submit(running.client, "/v1/data-keys/\(id)/open", body)
        #expect(opened.status == 200 && opened["version"] == 2, "\(opened.text)")
        let isSame = try recipient.fingerprint(opened) == fingerprint
        #expect(isSame, "\(id) is another key now")
      }
      // The whole once more, waited for by the command line.
      #expect(try await running.order("rotate", key).status == 200)
      let waited = try await office.tool(["keys", "rewrap", key, "--wait"])
      #expect(waited.status == 0, "\(waited.complaint)")
      let versions = try await office.json(["keys", "show", key])["versions"]?.array
      #expect(versions?.map { $0.object?["data_keys"] } == [0, 0, 200])
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// The receipt of a destruction is proven from itself and the log's key; a copy of the database of before is of no
    /// use to its owner.
    @Test func whatIsDestroyedStaysSo() async throws {
      let office = try KeyOffice("destroy")
      var running = try await office.start()
      let key = try await office.makeKey()
      let file = try await office.encrypted(Self.note, under: key, as: "note")
      let kept = try await office.makeKey("documents")
      let keptFile = try await office.encrypted(Self.note, under: kept, as: "kept")
      #expect(try await office.json(["keys", "rotate", key])["version"] == 2)
      try await Built.eventually("the scheduled rewrap") {
        try await office.json(["keys", "show", key])["tasks"]?.array?.isEmpty == true
      }
      try await office.stop(running)
      #expect(try await office.isSound())
      let copy = try Data(contentsOf: URL(fileURLWithPath: office.database))
      let wrapped = try office.wrappedBytes(of: key)
      try #require(wrapped.count == 4)
      for bytes in wrapped { #expect(copy.range(of: bytes) != nil) }

      running = try await office.start()
      #expect(try await office.tool(["keys", "destroy", key]).summary == "64 usage")
      #expect(try await office.decrypt(file).output == Array(Self.note))
      let outcome = try await office.tool(["keys", "destroy", key, "--yes", "--json"])
      #expect(outcome.status == 0, "\(outcome.complaint)")
      let receipt = try #require(try JSONValue(parsing: outcome.output).object)
      #expect(receipt["state"] == "destroyed" && receipt["task_state"] == "done")
      let event = try LogVerifier(running.ready).event(try #require(receipt["destruction"]))
      #expect(event.kind == "key.destroyed" && event.content["key"]?.string == key)
      #expect(event.index == receipt["task_leaf_index"]?.integer.map { UInt64($0) })
      let records = (event.content["records"]?.array ?? []).compactMap(\.object)
      #expect(records.map { $0["record"]?.string } == ["\(key)/1", "\(key)/2"])
      #expect(records.allSatisfy { $0["state"] == "destroyed" })
      let facts = event.content["facts"]?.object
      #expect(facts?["data_keys"] == 1 && facts?["nodes"]?.array?.count == 1)
      let reach = (facts?["reach"]?.object?["open_with"]?.array ?? []).compactMap(\.string)
      #expect(reach.count == 2 && reach[0].hasPrefix("token:") && reach[1].hasPrefix("recovery:"), "\(reach)")
      // A receipt that says more than the log does is no receipt.
      for name in ["leaf", "salt", "content", "proof"] {
        var forged = try #require(receipt["destruction"]?.object)
        let text = try #require(forged[name]?.string)
        forged[name] = .string(String(text.dropLast(9)) + "AAAAAAAAA")
        #expect(throws: (any Error).self, "\(name)") { try LogVerifier(running.ready).event(.object(forged)) }
      }
      #expect(try await office.decrypt(file).summary == "65 key_destroyed")
      #expect(try await office.tool(["keys", "enable", key]).summary == "65 key_destroyed")
      #expect(try await office.decrypt(keptFile).output == Array(Self.note))
      // Nothing of the bytes is left in any file, though the daemon runs.
      #expect(office.traces(of: wrapped).isEmpty, "\(office.traces(of: wrapped))")
      try await office.stop(running)
      #expect(try await office.isSound())
      #expect(office.traces(of: wrapped).isEmpty)

      // The copy of before is put back. It would open the key, had the destruction not been kept outside of it.
      for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: office.database + suffix) }
      try copy.write(to: URL(fileURLWithPath: office.database))
      #expect(!office.traces(of: wrapped).isEmpty)
      running = try await office.start()
      let refused = running
      try await Built.eventually("the comparison with the file outside") {
        try await refused.read("/v1/status")["keys_mode"] == "refused"
      }
      let status = try await running.read("/v1/status")
      #expect(status["mode"] == "read_only")
      #expect(status["keys_reason"]?.string?.contains("an older copy was restored") == true, "\(status.text)")
      #expect(office.traces(of: wrapped).isEmpty, "\(office.traces(of: wrapped))")
      let told = try await office.tool(["status"])
      #expect(told.summary == "75 not_ready" && told.complaint.contains("older copy"), "\(told.complaint)")
      #expect(try await office.decrypt(file).status == 75)
      #expect(try await office.decrypt(keptFile).status == 75)
      #expect(try await office.tool(["keys", "list"]).status == 0)
      try await office.stop(running)
    }

    /// A data token is gone for good: a new one and the recovery key bring every file back.
    @Test func aLostTokenIsReplaced() async throws {
      let office = try KeyOffice("lost")
      var running = try await office.start()
      let key = try await office.makeKey()
      let file = try await office.encrypted(Self.note, under: key, as: "note")
      let gone = try await office.makeKey("pii")
      #expect(try await office.tool(["keys", "destroy", gone, "--yes"]).status == 0)
      let root = try await running.read("/v1/keys/\(key)")["versions"]?.array?.first?.object?["wrapped_to"]?.array?
        .first
      try await office.stop(running)
      let configuration = office.state + "/hsm/softhsm2.conf"
      let deleted = try await Built.run(
        "/usr/bin/softhsm2-util", ["--delete-token", "--token", "data"],
        environment: ["SOFTHSM2_CONF": configuration])
      #expect(deleted.status == 0, "\(deleted.output)")

      // Without it all goes on but keys, and it is said what is missing.
      running = try await office.start()
      #expect(try await running.openAccount().status == 201)
      let token = try await running.token("data")
      #expect(token["state"] == "down", "\(token)")
      #expect(token["reason"]?.string?.contains("CKR_TOKEN_NOT_PRESENT") == true, "\(token)")
      #expect(try await office.decrypt(file).summary == "75 hsm_unavailable")
      let told = try await office.tool(["status"])
      #expect(told.summary == "75 not_ready" && told.text.contains("CKR_TOKEN_NOT_PRESENT"), "\(told.text)")
      #expect(try await running.read("/v1/status")["keys_mode"] == "waiting")
      try await office.stop(running)

      // Recovery is for a stopped daemon and the right key.
      let before = try office.content()
      let wrong = try office.file("wrong.key", Data((String(repeating: "5a", count: 32) + "\n").utf8))
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: wrong)
      let refused = try await office.recover(wrong)
      #expect(refused.status == 70 && refused.complaint.contains("recovery key"), "\(refused.complaint)")
      #expect(try office.content() == before)
      let exposed = try office.file("exposed.key", Data(contentsOf: URL(fileURLWithPath: office.recoveryKey)))
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: exposed)
      for key in [exposed, exposed + ".not"] {
        let refused = try await office.recover(key)
        #expect(refused.status == 70 && refused.complaint.contains(key), "\(refused.complaint)")
        #expect(try office.content() == before)
      }
      let recovered = try await office.recover(office.recoveryKey)
      #expect(recovered.status == 0, "\(recovered.complaint)")
      #expect(recovered.text == "Wrapped 1 version of keys to the data token.\n")
      #expect(try await office.isSound())

      running = try await office.start()
      #expect(try await office.decrypt(file).output == Array(Self.note))
      let now = try await running.read("/v1/keys/\(key)")["versions"]?.array?.first?.object?["wrapped_to"]?.array
      let lost = try #require(root)
      #expect(now?.count == 3 && now?.contains(lost) == true, "\(now ?? [])")
      // What was destroyed is not recovered with the rest.
      #expect(try await office.json(["keys", "show", gone])["state"] == "destroyed")
      let again = try await office.encrypted(Self.note, under: key, as: "again")
      #expect(try await office.decrypt(again).output == Array(Self.note))
      #expect(try await office.tool(["status"]).status == 0)
      let second = try await office.recover(office.recoveryKey)
      #expect(second.status == 70 && second.complaint.contains("another trustcored uses"), "\(second.complaint)")
      try await office.stop(running)
      #expect(try await office.isSound())
    }
  }
}

extension KeyOffice {
  var database: String { state + "/trustcore.sqlite" }
  var recoveryKey: String { state + "/development-recovery.key" }

  /// `trustcored recover`.
  func recover(_ key: String) async throws -> Outcome {
    try await Built.pipe(
      try Built.program("trustcored"), ["recover", "--dev", "--state", state, "--recovery-key", key])
  }

  /// What tokens and recovery key wrapped of a key, as the database holds it while nothing runs.
  func wrappedBytes(of key: String) throws -> [Data] {
    let store = try SQLiteStore(path: database, mode: .readOnly)
    defer { try? store.close() }
    return try store.readBlocking { unit in try unit.keyVersions(of: key) }
      .flatMap { try KEKRecord(decoding: $0.record).wraps.map { Data($0.bytes) } }
  }

  /// The files of the state folder that hold any of these bytes.
  func traces(of bytes: [Data]) -> [String] {
    let files = FileManager.default.enumerator(atPath: state)?.compactMap { $0 as? String } ?? []
    return files.filter { name in
      guard let content = FileManager.default.contents(atPath: state + "/" + name) else { return false }
      return bytes.contains { content.range(of: $0) != nil }
    }
  }

  /// The database, the heads and the tokens: what must be as before when nothing was done.
  func content() throws -> [String: Data] {
    var content: [String: Data] = [:]
    for name in FileManager.default.enumerator(atPath: state)?.compactMap({ $0 as? String }) ?? []
    where !name.hasSuffix("-shm") && !name.hasSuffix("lock") && !name.hasSuffix(".lock") {
      content[name] = FileManager.default.contents(atPath: state + "/" + name)
    }
    return content
  }
}
