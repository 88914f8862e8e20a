import Crypto
import Envelope
import Foundation
import KeyHierarchy
import KeyManifests
@testable import KeyService
import StorageSQLite
import Testing
import TestSupport
import Wire

/// Several tokens, and what replaces a lost one.
@Suite struct TokenTests {
  @Test func theSecondTokenServesAlone() async throws {
    let tokens = [try DataTokens.custodian(0), try DataTokens.custodian(1)]
    let deployment = try await KeyDeployment.onSQLite(tokens: tokens)
    let service = deployment.service
    let key = try await deployment.create()
    let wrapped = try await service.describe(key)?["versions"]?.array?.first?.object?["wrapped_to"]?.array
    #expect(wrapped?.count == 2)
    let first = try await deployment.make(key)
    try await service.anchor()

    tokens[0].setAway(.unavailable)
    let second = try await deployment.make(key)
    var next = try await deployment.restarted()
    for data in [first, second] { #expect(await next.failure(data) == nil) }
    // The first is not asked for what the second does, but each time it is tried.
    try await next.order("rotate", key)
    let third = try await next.make(key)
    let alone = try await next.create("pii")
    try await next.service.tend()
    #expect(try await next.pending().isEmpty)
    // It comes back, knows what it was there for, and has the second one do the rest.
    tokens[0].setAway(nil)
    next = try await next.restarted()
    for data in [first, second, third] { #expect(await next.failure(data) == nil) }
    #expect(try await next.make(key).version == 2)
    try await next.order("rotate", key)
    try await next.service.tend()
    #expect(try await next.service.describe(key)?["versions"]?.array?.last?.object?["wrapped_to"]?.array?.count == 2)

    // A destroyed key is let go of by every token that has used it, so a token that does not answer holds that up.
    _ = try await next.make(alone)
    tokens[0].setAway(.unavailable)
    let task = try await next.command("destroy", alone)
    #expect(try await next.key(alone).state == .destroying)
    try await next.service.carryOut(task)
    #expect(try await next.key(alone).state == .destroyed)
    let other = try await next.create("documents")
    tokens[0].setAway(nil)
    _ = try await next.make(other)
    try await next.order("rotate", other)
    tokens[0].setAway(.timedOut)
    let held = try await next.command("destroy", other)
    #expect(await code { try await next.service.carryOut(held) } == "hsm_timeout")
    #expect(try await next.key(other).state == .destroying)
    tokens[0].setAway(nil)
    try await next.service.tend()
    #expect(try await next.key(other).state == .destroyed)

    // The second goes: all is under a version that both hold.
    tokens[1].setAway(.timedOut)
    next = try await next.restarted()
    for data in [first, second, third] { #expect(await next.failure(data) == nil) }
    #expect(try await next.make(key).version == 3)
    // Both go.
    tokens[0].setAway(.full)
    #expect(await code { _ = try await next.make(key) } == "hsm_timeout")
    tokens[1].setAway(nil)
    _ = try await next.make(key)
    await next.stop()
  }

  @Test func aTokenWithAnotherKeyIsPassedOver() async throws {
    let tokens = [try DataTokens.custodian(0), try DataTokens.custodian(1)]
    let deployment = try await KeyDeployment.onSQLite(tokens: tokens)
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    try await deployment.service.anchor()
    // As the custodian says when the check value is not the one that it knew.
    tokens[0].setAway(.keyChanged)
    var next = try await deployment.restarted()
    #expect(await next.failure(drawn) == nil)
    tokens[0].setAway(nil)
    // Or as another key from the start, of which no record knows.
    tokens[0].pretend(KeyCheckValue([UInt8](repeating: 9, count: 8)))
    next = try await next.restarted()
    #expect(await next.failure(drawn) == nil)
    tokens[0].pretend(nil)
    // Neither token is one that anything was made with.
    next = try await next.restarted([try DataTokens.custodian(2)])
    #expect(await next.failure(drawn) == "root_key_absent")
    #expect(await code { _ = try await next.make(key) } == "root_key_absent")
    #expect(try await next.service.status()["keys_mode"] == "waiting")
    await next.stop()
  }

  // MARK: - Recovery

  /// A deployment whose token is lost, with its keys' recovery copies; what it drew, and the new token.
  private struct Lost {
    let deployment: KeyDeployment<SQLiteDisk>
    let recovery: Recipient
    let key: String
    let disabled: String
    let drawn: [DrawnKey]

    static func make() async throws -> Lost {
      let recovery = try Recipient()
      let deployment = try await KeyDeployment.onSQLite(recovery: recovery.pair.publicKey)
      let (key, disabled, gone) = (
        try await deployment.create(), try await deployment.create("pii"), try await deployment.create("documents")
      )
      var drawn: [DrawnKey] = []
      for _ in 0..<3 { drawn.append(try await deployment.make(key)) }
      try await deployment.order("rotate", key)
      drawn.append(try await deployment.make(key))
      try await deployment.order("disable", disabled)
      try await deployment.order("destroy", gone)
      try await deployment.service.anchor()
      let next = try await deployment.restarted([try DataTokens.custodian(1)])
      #expect(await next.failure(drawn[0]) == "root_key_absent")
      return Lost(deployment: next, recovery: recovery, key: key, disabled: disabled, drawn: drawn)
    }
  }

  @Test func theRecoveryKeyReplacesALostToken() async throws {
    let lost = try await Lost.make()
    let deployment = lost.deployment
    #expect(
      await code { _ = try await deployment.service.recover(with: try Recipient().pair) } == "recovery_key_wrong")
    #expect(try await deployment.count("key.recovered") == 0)
    // Half of it fails, and it is done again.
    deployment.tokens[0].reset()
    deployment.tokens[0].fail(.unavailable, atCall: 9)
    #expect(
      await code { _ = try await deployment.service.recover(with: lost.recovery.pair) } == "hsm_unavailable")
    #expect(try await deployment.service.recover(with: lost.recovery.pair) == 3)
    #expect(try await deployment.service.status()["keys_mode"] == "open")
    for data in lost.drawn { #expect(await deployment.failure(data) == nil) }
    #expect(try await deployment.states(lost.disabled) == ["disabled"])
    #expect(await code { _ = try await deployment.make(lost.disabled) } == "key_disabled")
    try await deployment.order("rotate", lost.key)
    try await deployment.service.tend()
    let next = try await deployment.restarted()
    for data in lost.drawn { #expect(await next.failure(data) == nil) }
    _ = try await next.make(lost.key)
    await next.stop()
  }

  @Test func recoveryTakesWhatIsOnRecordAlone() async throws {
    let lost = try await Lost.make()
    let deployment = lost.deployment
    let backup = try deployment.backUp()
    let service = deployment.service
    func recover() async -> String? { await code { _ = try await service.recover(with: lost.recovery.pair) } }
    let condition = "kek = '\(lost.key)' AND version = 1"
    let record = try KEKRecord(decoding: try deployment.blob("kek_version", "record", condition))

    // A recovery copy that was changed: first as such, then with the step made to fit, and in the leaf's place.
    let wraps = record.wraps.map { wrap in
      guard case .recovery = wrap.recipient else { return wrap }
      var bytes = wrap.bytes
      bytes[5] ^= 1
      return KEKRecord.Wrap(wrap.recipient, bytes)
    }
    let changed = try KEKRecord(
      id: record.id, coordinates: record.coordinates, version: record.version, state: record.state,
      created: record.created, wraps: wraps)
    try deployment.edit("UPDATE kek_version SET record = x'\(Hex.encode(changed.encoded))' WHERE \(condition)")
    #expect(await recover() == "key_record_refused")
    try deployment.edit(
      "UPDATE key_event SET digest = x'\(Hex.encode(changed.digest))' WHERE record = '\(lost.key)/1' AND state = 'retired'"
    )
    #expect(await recover() == "key_records_refused")
    try deployment.putBack(backup)

    // An older form, with its own leaf: active as it was before the rotation.
    let active = try record.with(state: .active)
    try deployment.edit(
      "UPDATE kek_version SET record = x'\(Hex.encode(active.encoded))', leaf_index = (SELECT leaf_index FROM key_event "
        + "WHERE record = '\(lost.key)/1' AND state = 'active') WHERE \(condition)")
    #expect(await recover() == "key_record_refused")
    try deployment.putBack(backup)

    // A leaf that is not the one under the signed head.
    let leaf = try await deployment.store.read { unit in try unit.lastKeyEvent(of: "\(lost.key)/1")?.leafIndex ?? 0 }
    let content = try deployment.blob("content", "content", "idx = \(leaf)")
    try deployment.edit("UPDATE content SET content = x'\(Hex.encode(content + [0x20]))' WHERE idx = \(leaf)")
    #expect(await recover() == "log_inconsistent")
    try deployment.edit("UPDATE content SET content = x'\(Hex.encode(content))' WHERE idx = \(leaf)")

    // A data key that no leaf names is left out.
    try deployment.edit("UPDATE data_key SET leaf_index = leaf_index - 1 WHERE id = '\(lost.drawn[0].id)'")
    #expect(try await service.recover(with: lost.recovery.pair) == 3)
    #expect(await deployment.failure(lost.drawn[0]) == "key_record_refused")
    for data in lost.drawn.dropFirst() { #expect(await deployment.failure(data) == nil) }
    #expect(try await deployment.count("key.recovered") >= 2)
    await deployment.stop()
  }

  /// Another deployment's recovery key opens nothing, and nothing is written.
  @Test func aWrongRecoveryKeyWritesNothing() async throws {
    let (recovery, other) = (try Recipient(), try Recipient())
    let deployment = try await KeyDeployment.onSQLite(recovery: recovery.pair.publicKey)
    _ = try await deployment.create()
    let next = try await deployment.restarted([try DataTokens.custodian(1)])
    #expect(await code { _ = try await next.service.recover(with: other.pair) } == "recovery_key_wrong")
    #expect(try await next.count("key.recovered") == 0)
    #expect(try await next.service.recover(with: recovery.pair) == 1)
    await next.stop()
  }

  /// Without the recovery key, everything moves to a further token while the first is there.
  @Test func everythingMovesToAFurtherToken() async throws {
    let tokens = [try DataTokens.custodian(0), try DataTokens.custodian(1)]
    var deployment = try await KeyDeployment.onSQLite(tokens: [tokens[0]])
    let key = try await deployment.create()
    var drawn: [DrawnKey] = []
    for _ in 0..<3 { drawn.append(try await deployment.make(key)) }
    try await deployment.service.anchor()
    deployment = try await deployment.restarted(tokens)
    try await deployment.order("rotate", key)
    try await deployment.order("rewrap", key)
    drawn.append(try await deployment.make(key))
    try await deployment.service.anchor()
    deployment = try await deployment.restarted([tokens[1]])
    for data in drawn { #expect(await deployment.failure(data) == nil) }
    #expect(try await deployment.make(key).version == 2)
    await deployment.stop()
  }
}
