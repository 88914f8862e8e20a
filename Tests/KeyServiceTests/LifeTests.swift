import AgentIdentity
import CommandGate
import Crypto
import Envelope
import Foundation
import JOSE
import KeyHierarchy
import KeyManifests
import KeyService
import Seal
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire

/// What officers and the schedule do with a key, from its making to its end.
@Suite struct LifeTests {
  private static let day: Int64 = 86_400

  @Test func aKeyIsMadeRotatedRewrappedAndRetired() async throws {
    let deployment = try await KeyDeployment.onSQLite(manifest: manifest(("retire_after: never", "retire_after: 1d")))
    let key = try await deployment.create()
    #expect(try await deployment.key(key).state == .active)
    var drawn: [DrawnKey] = []
    for _ in 0..<130 { drawn.append(try await deployment.make(key)) }
    #expect(Set(drawn.map(\.secret)).count == 130 && drawn.allSatisfy { $0.secret.count == 32 && $0.version == 1 })
    #expect(try await deployment.open(drawn[0].id) == drawn[0].secret)

    try await deployment.order("rotate", key)
    #expect(try await deployment.states(key) == ["retired", "active"])
    let late = try await deployment.make(key)
    #expect(late.version == 2)
    for data in drawn.prefix(3) { #expect(try await deployment.open(data.id) == data.secret) }

    // In the middle of the second of three batches.
    let token = deployment.tokens[0]
    token.hold(.decrypt, after: 70)
    async let rewrapped = deployment.order("rewrap", key)
    await token.waitUntilHeld()
    deployment.clock.advance(seconds: 10)
    let report = try #require(try await deployment.service.describe(key)?["rewrap"]?.object)
    #expect(
      JSONValue.object(report)
        == ["rewrapped": 64, "total": 130, "refused": 0, "rate": 6, "seconds_left": 10])
    // Uses go on meanwhile.
    #expect(try await deployment.make(key).version == 2)
    #expect(try await deployment.open(drawn[1].id) == drawn[1].secret)
    token.hold(nil)
    _ = try await rewrapped
    #expect(try await deployment.service.describe(key)?["rewrap"] == nil)
    #expect(
      try await deployment.events().filter { $0.kind == "key.rewrapped" }.map { $0.content["records"]?.array?.count }
        == [64, 64, 2, 0])
    let counts = try await deployment.service.describe(key)?["versions"]?.array?.map { $0.object?["data_keys"] }
    #expect(counts == [0, 132])

    // The old version still opens what a backup may hold, until its time is over.
    try await deployment.service.tend()
    #expect(try await deployment.states(key) == ["retired", "active"])
    deployment.clock.advance(seconds: Self.day - 20)
    try await deployment.service.tend()
    #expect(try await deployment.states(key) == ["retired", "active"])
    deployment.clock.advance(seconds: 20)
    try await deployment.service.tend()
    #expect(try await deployment.states(key) == ["destroyed", "active"])
    #expect(try await deployment.pending().isEmpty)
    for data in drawn + [late] { #expect(try await deployment.open(data.id) == data.secret) }
    // Nothing more is due.
    let events = try await deployment.events().count
    for _ in 0..<3 { try await deployment.service.tend() }
    let further = try await deployment.events().suffix(from: events).map(\.kind)
    #expect(further.isEmpty || further == ["key-uses"])

    // Another process finds it all.
    let next = try await deployment.restarted()
    for data in drawn.prefix(5) + [late] { #expect(try await next.open(data.id) == data.secret) }
    await next.stop()
  }

  /// Each version is retired a while after the next one was made, also where further ones are made meanwhile.
  @Test func theScheduleRotatesRewrapsAndRetires() async throws {
    let deployment = try await KeyDeployment.inMemory(
      manifest: manifest(("rotate_every: 90d", "rotate_every: 30d"), ("retire_after: never", "retire_after: 70d")))
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    var seen: [Int64: [String]] = [:]
    for day: Int64 in 1...130 {
      deployment.clock.advance(seconds: Self.day)
      try await deployment.service.tend()
      try await deployment.service.tend()
      seen[day] = try await deployment.states(key)
    }
    #expect(seen[29] == ["active"])
    #expect(seen[30] == ["retired", "active"])
    #expect(seen[60] == ["retired", "retired", "active"])
    #expect(seen[99] == ["retired", "retired", "retired", "active"])
    #expect(seen[100] == ["destroyed", "retired", "retired", "active"])
    #expect(seen[129] == ["destroyed", "retired", "retired", "retired", "active"])
    #expect(seen[130] == ["destroyed", "destroyed", "retired", "retired", "active"])
    #expect(try await deployment.open(drawn.id) == drawn.secret)
    let due = try await deployment.events().filter { $0.kind == "key.due" }.compactMap { $0.content["kind"]?.string }
    #expect(
      due == ["rotate", "rewrap", "rotate", "rewrap", "rotate", "rewrap", "retire", "rotate", "rewrap", "retire"])
    await deployment.stop()
  }

  @Test func aDisabledKeyRefusesAtOnceAndComesBack() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let (service, token) = (deployment.service, deployment.tokens[0])
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    #expect(try await deployment.open(drawn.id) == drawn.secret)
    #expect(try await service.status()["data_key_cache"]?.object?["held"] == 1)

    // From the decision on, before the HSM has done anything about it, and for what is in memory too.
    token.setAway(.unavailable)
    let task = try await deployment.command("disable", key)
    #expect(await code { _ = try await deployment.open(drawn.id) } == "key_disabled")
    #expect(await code { _ = try await deployment.make(key) } == "key_disabled")
    #expect(await code { try await service.carryOut(task) } == "hsm_unavailable")
    #expect(try await service.outcome(ofTask: task)?["task_state"] == "pending")
    token.setAway(nil)
    try await service.carryOut(task)
    #expect(try await service.outcome(ofTask: task)?["task_state"] == "done")
    #expect(try await deployment.states(key) == ["disabled"])
    #expect(try await service.status()["data_key_cache"]?.object?["held"] == 0)
    #expect(token.counts[.forget] == 1)
    #expect(await code { _ = try await deployment.open(drawn.id) } == "key_disabled")
    #expect(await code { try await deployment.order("rotate", key) } == "key_disabled")
    #expect(await code { try await deployment.order("rewrap", key) } == "key_disabled")
    #expect(await code { try await deployment.order("disable", key) } == "key_disabled")

    try await deployment.order("enable", key)
    #expect(try await deployment.open(drawn.id) == drawn.secret)
    #expect(await code { try await deployment.order("enable", key) } == "key_enabled")
    await deployment.stop()
  }

  @Test func aKeyWithSeveralVersionsIsDisabledAndEnabled() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    try await deployment.order("rotate", key)
    try await deployment.order("disable", key)
    #expect(try await deployment.states(key) == ["disabled", "disabled"])
    try await deployment.order("enable", key)
    #expect(try await deployment.states(key) == ["retired", "active"])
    #expect(try await deployment.open(drawn.id) == drawn.secret)
    #expect(try await deployment.make(key).version == 2)
    await deployment.stop()
  }

  @Test func destructionWaitsAndIsCalledOff() async throws {
    let deployment = try await KeyDeployment.inMemory(manifest: manifest(("destroy_after: 0s", "destroy_after: 1d")))
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    let first = try await deployment.order("destroy", key)
    #expect(try await deployment.key(key).state == .destroying)
    #expect(try await deployment.service.outcome(ofTask: first)?["task_state"] == "pending")
    #expect(try await deployment.service.outcome(ofTask: first)?["destruction"] == nil)
    #expect(await code { _ = try await deployment.open(drawn.id) } == "key_destroyed")
    #expect(await code { _ = try await deployment.make(key) } == "key_destroyed")
    for verb in ["destroy", "rotate", "rewrap", "disable"] {
      #expect(await code { try await deployment.order(verb, key) } == "key_destroying", "\(verb)")
    }
    deployment.clock.advance(seconds: Self.day - 1)
    try await deployment.service.tend()
    #expect(try await deployment.key(key).state == .destroying)

    try await deployment.order("enable", key)
    #expect(try await deployment.service.outcome(ofTask: first)?["task_state"] == "cancelled")
    #expect(try await deployment.open(drawn.id) == drawn.secret)
    deployment.clock.advance(seconds: 10)
    try await deployment.service.tend()
    #expect(try await deployment.key(key).state == .active)

    let second = try await deployment.order("destroy", key)
    deployment.clock.advance(seconds: Self.day)
    try await deployment.service.tend()
    #expect(try await deployment.key(key).state == .destroyed)
    #expect(try await deployment.service.outcome(ofTask: second)?["destruction"] != nil)
    #expect(await code { _ = try await deployment.open(drawn.id) } == "key_destroyed")
    for verb in ["destroy", "rotate", "rewrap", "disable", "enable"] {
      #expect(await code { try await deployment.order(verb, key) } == "key_destroyed", "\(verb)")
    }
    // The class is free for another key.
    let next = try await deployment.create()
    #expect(next != key)
    await deployment.stop()
  }

  /// The receipt, verified with nothing but the log's public key.
  @Test func destructionHasAReceipt() async throws {
    let recovery = try Recipient()
    let deployment = try await KeyDeployment.onSQLite(recovery: recovery.pair.publicKey)
    let key = try await deployment.create()
    let made = deployment.clock.now()
    for _ in 0..<3 { _ = try await deployment.make(key) }
    try await deployment.order("rotate", key)
    deployment.clock.advance(seconds: 60)
    let task = try await deployment.order("destroy", key)
    let outcome = try #require(try await deployment.service.outcome(ofTask: task))
    #expect(outcome["task_state"] == "done" && outcome["state"] == "destroyed")
    let receipt = try #require(outcome["destruction"]?.object)

    func bytes(_ name: String) throws -> [UInt8] { try Base64.URL.decode(receipt[name]?.string ?? "") }
    let (leaf, salt, content) = (try bytes("leaf"), try bytes("salt"), try bytes("content"))
    let proof = try TLogProof(parsing: receipt["proof"]?.string ?? "")
    #expect(proof.index == UInt64(try #require(outcome["task_leaf_index"]?.integer)))
    let verified = try proof.verify(leafHash: .leaf(leaf), keys: deployment.genesis.logKeys)
    #expect(verified.head.size > proof.index)
    guard case .event(let event) = try Leaf.decode(leaf).leaf else {
      Issue.record("the receipt's leaf is no event")
      return
    }
    #expect(event.kind == "key.destroyed")
    let commitment = SHA256.hash(data: Array("trustcore/content/v1".utf8) + [0] + salt + content)
    #expect(Array(commitment) == event.commitment)
    let said = try #require(try JSONValue(parsing: content).object)
    #expect(said["key"] == .string(key) && said["state"] == "destroyed" && said["task"] == .string(task))
    #expect(said["records"]?.array?.map { $0.object?["state"]?.string } == ["destroyed", "destroyed"])
    let facts = try #require(said["facts"]?.object)
    #expect(facts["nodes"] == ["node-1"] && facts["data_keys"] == 3)
    let reach = try #require(facts["reach"]?.object)
    #expect(reach["copies_since"] == .string(made.description))
    #expect(reach["copies_until"] == .string(deployment.clock.now().description))
    let openers = reach["open_with"]?.array?.compactMap(\.string) ?? []
    #expect(openers.count == 2 && openers[0].hasPrefix("token:"))
    #expect(openers[1] == "recovery:" + Hex.encode(recovery.pair.publicKey.fingerprint))

    // A byte of it changed does not verify.
    var other = leaf
    other[other.count - 1] ^= 1
    #expect(throws: LogError.self) { try proof.verify(leafHash: .leaf(other), keys: deployment.genesis.logKeys) }
    // The HSM and the storage's files have let go.
    #expect(deployment.tokens[0].counts[.forget] == 2)
    // Once for what the last process may have left, and once for this.
    #expect(deployment.recorder.scrubs == 2)
    await deployment.stop()
  }

  /// A receipt is withheld while the file outside or the storage's files have not followed.
  @Test func theReceiptWaits() async throws {
    let deployment = try await KeyDeployment.onSQLite()
    let key = try await deployment.create()
    deployment.recorder.failScrubs(2)
    let task = try await deployment.command("destroy", key)
    #expect(await code { try await deployment.service.carryOut(task) } == "key_scrub_failed")
    #expect(try await deployment.key(key).state == .destroyed)
    let waiting = try #require(try await deployment.service.outcome(ofTask: task))
    #expect(waiting["task_state"] == "pending" && waiting["destruction"] == nil)
    let listed = try await deployment.service.status()["tasks"]?.array?.first?.object
    #expect(listed?["task"] == .string(task) && listed?["obstacle"]?.string?.hasPrefix("key_scrub_failed") == true)
    try await deployment.service.tend()
    let done = try #require(try await deployment.service.outcome(ofTask: task))
    #expect(done["task_state"] == "done" && done["destruction"] != nil)
    #expect(try await deployment.service.status()["tasks"] == [])
    #expect(try await deployment.count("key.destroyed") == 1)
    await deployment.stop()
  }

  @Test func aKeyThatWasNeverMadeIsDestroyed() async throws {
    let deployment = try await KeyDeployment.inMemory()
    deployment.tokens[0].setAway(.unavailable)
    let receipt = try await deployment.submit("/v1/keys", ["class": "files"])
    let key = try receipt.text("key")
    #expect(await code { try await deployment.service.carryOut(receipt.command.id.description) } == "hsm_unavailable")
    #expect(await code { _ = try await deployment.make(key) } == "hsm_unavailable")
    #expect(await code { try await deployment.order("rotate", key) } == "key_pending")
    let task = try await deployment.command("destroy", key)
    deployment.tokens[0].setAway(nil)
    #expect(await code { _ = try await deployment.make(key) } == "key_destroyed")
    try await deployment.service.tend()
    #expect(try await deployment.key(key).state == .destroyed)
    #expect(try await deployment.count("key.created") == 0)
    #expect(try await deployment.service.outcome(ofTask: task)?["destruction"] != nil)

    // Disabled before it was made, then enabled: made after all.
    deployment.tokens[0].setAway(.unavailable)
    let second = try await deployment.submit("/v1/keys", ["class": "files"])
    let other = try second.text("key")
    _ = try await deployment.command("disable", other)
    deployment.tokens[0].setAway(nil)
    try await deployment.service.tend()
    #expect(try await deployment.key(other).state == .disabled)
    try await deployment.order("enable", other)
    #expect(try await deployment.make(other).version == 1)
    await deployment.stop()
  }

  // MARK: - In between

  @Test(arguments: ["revoked", "disabled", "destroyed"]) func whatHappensInBetweenCounts(_ what: String) async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    // Nothing is cached in the next process.
    let next = try await deployment.restarted()
    let token = next.tokens[0]
    token.hold(.decrypt)
    async let opened = code { _ = try await next.open(drawn.id) }
    await token.waitUntilHeld()
    async let ended: String? = code {
      switch what {
      case "revoked":
        var principal = next.owner.principal
        principal.status = .revoked
        try await next.store.write { [principal] unit in try unit.update(principal) }
      case "disabled": try await next.order("disable", key)
      default: try await next.order("destroy", key)
      }
    }
    // Whoever stops the key waits for the use, which then sees that it was stopped.
    while what == "revoked" ? false : try await next.key(key).state == .active { await Task.yield() }
    if what == "revoked" { _ = await ended }
    token.hold(nil)
    let expected = ["revoked": "key_not_found", "disabled": "key_disabled", "destroyed": "key_destroyed"]
    #expect(await opened == expected[what])
    #expect(await ended == nil)
    #expect(try await next.service.status()["data_key_cache"]?.object?["held"] == (what == "revoked" ? 1 : 0))
    await next.stop()
  }

  /// A rewrap that is under way when the key is destroyed ends, and loads nothing into the HSM afterwards.
  @Test func destructionEndsARewrap() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let (token, service) = (deployment.tokens[0], deployment.service)
    let key = try await deployment.create()
    for _ in 0..<70 { _ = try await deployment.make(key) }
    try await deployment.order("rotate", key)
    token.hold(.decrypt, after: 65)
    async let rewrapped = code { try await deployment.order("rewrap", key) }
    await token.waitUntilHeld()
    let task = try await deployment.command("destroy", key)
    async let destroyed = code { try await service.carryOut(task) }
    for _ in 0..<100 { await Task.yield() }
    #expect(token.counts[.forget] == nil)
    token.hold(nil)
    #expect(await rewrapped == nil)
    #expect(await destroyed == nil)
    #expect(try await deployment.key(key).state == .destroyed)
    #expect(token.counts[.forget] == 2)
    // The second batch ended with the key, and its leaf was not written.
    let batches = try await deployment.events().filter { $0.kind == "key.rewrapped" }
    #expect(batches.map { $0.content["records"]?.array?.count } == [64])
    await deployment.stop()
  }
}
