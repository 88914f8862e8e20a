import AgentIdentity
import CommandGate
import Foundation
import JOSE
import Ledger
import Seal
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire

/// A running deployment with money on the owner's account, on a storage that can be made to fail.
struct Bench {
  typealias Deployment = TestDeployment<FaultyStore<InMemoryStore>>
  let d: Deployment
  let headFile: String
  let own, other: String

  static func make(configure: (inout Gate<FaultyStore<InMemoryStore>>.Configuration) -> Void = { _ in }) async throws
    -> Bench
  {
    let world = try TestWorld()
    let store = FaultyStore(InMemoryStore())
    let headFile = try TemporaryFolder.make() + "/head"
    try await world.found(store, headFile: headFile)
    let d = try await Deployment(world, store: store, headFile: headFile, configure: configure)
    d.start()
    try await d.enrol(world.agents[0])
    let bank = try await d.openAccount(by: world.officer, kind: "external")
    let (own, other) = (try await d.openAccount(by: world.owner), try await d.openAccount(by: world.stranger))
    try await d.submit("/v1/ledger/transfers", .transfer(bank, own, 10_000), by: world.officer)
    try await d.settle()
    return Bench(d: d, headFile: headFile, own: own, other: other)
  }

  var image: InMemoryUnit { d.store.base.image }

  func signed(_ amount: Int64, key: String? = nil, seconds: Int64 = 300) async throws -> SignedCommand {
    try await d.sign(
      "/v1/ledger/transfers", .transfer(own, other, amount), by: d.world.agents[0], idempotencyKey: key,
      seconds: seconds)
  }

  func transfer(_ amount: Int64, key: String? = nil) async throws -> Receipt {
    try await d.gate.submit(try await signed(amount, key: key), to: "ledger")
  }

  /// What went wrong, by code.
  func code(_ body: () async throws -> Void) async -> String? {
    do {
      try await body()
      return nil
    } catch {
      return (error as? Denied)?.problem.code ?? (error as? Problem)?.code ?? "\(error)"
    }
  }

  var moved: Int64 { image.account(other)?.balance ?? -1 }
}

extension Receipt {
  var text: [UInt8] { JSONValue.object(json).canonical() }
}

@Suite struct GateTests {
  // MARK: - Answers

  @Test func aCommandIsSealedCarriedOutAndReceipted() async throws {
    let b = try await Bench.make()
    let signed = try await b.signed(250)
    let receipt = try await b.d.gate.submit(signed, to: "ledger")
    #expect(b.moved == 250)
    // The receipt proves itself, from genesis' keys alone.
    let checkpoint = try receipt.proof.verify(leafHash: .leaf(receipt.leaf), keys: b.d.world.genesis.logKeys)
    #expect(checkpoint.origin == b.d.world.genesis.origin && receipt.proof.index == receipt.command.leafIndex)
    guard case .authorized(let leaf) = try Leaf.decode(receipt.leaf).leaf else { throw Problem(500, "no leaf", "") }
    #expect(leaf.commitment == SaltedContent(salt: receipt.salt, content: signed.encoded).commitment)
    #expect(leaf.command == receipt.command.id && leaf.audience == "ledger" && leaf.notAfter == signed.notAfter)
    let index = try #require(receipt.command.outcomeIndex)
    let bytes = try #require(try b.image.entry(at: index))
    guard case .outcome(let outcome) = try Leaf.decode(bytes).leaf else { throw Problem(500, "no outcome", "") }
    #expect(outcome.authorizedIndex == receipt.command.leafIndex && outcome.status == .done)
    #expect(b.image.content(leafIndex: index)?.content == receipt.command.result)
    await b.d.stop()
  }

  @Test func aRepeatedRequestGetsTheSameBytesAndMovesNothing() async throws {
    let b = try await Bench.make()
    let first = try await b.transfer(100, key: "k1")
    let leaves = try b.image.head()?.size
    _ = try await b.transfer(7)
    let again = try await b.transfer(100, key: "k1")
    #expect(first.text == again.text && b.moved == 107)
    #expect(try #require(b.image.head()?.size) > #require(leaves))
    #expect(await b.code { _ = try await b.transfer(101, key: "k1") } == "idempotency_key_reused")
    // The key is another principal's too.
    try await b.d.submit(
      "/v1/ledger/transfers", .transfer(b.own, b.other, 5), by: b.d.world.owner, idempotencyKey: "k1")
    #expect(b.moved == 112)
    await b.d.stop()
  }

  @Test func aDenialIsOnTheRecordOnce() async throws {
    let b = try await Bench.make()
    var denials: [Denied] = []
    for _ in 0..<2 {
      do {
        _ = try await b.transfer(1_000_000, key: "k")
      } catch let denied as Denied {
        denials.append(denied)
      }
    }
    let denied = try #require(denials.first)
    #expect(denials.count == 2 && denials[1].command == denied.command && denials[1].problem == denied.problem)
    let bytes = try #require(try b.image.entry(at: denied.command.leafIndex))
    guard case .denied(let leaf, let code, _) = try Leaf.decode(bytes).leaf else { throw Problem(500, "no denial", "") }
    #expect(code == "account_overdrawn" && leaf.command == denied.command.id && denied.command.state == .denied)
    #expect(b.image.allCommands.filter { $0.state == .denied }.count == 1 && b.moved == 0)
    await b.d.stop()
  }

  // MARK: - The full re-check in T1

  @Test func whoWasRevokedAfterSigningIsRefused() async throws {
    let b = try await Bench.make()
    let signed = try await b.signed(10)
    try await b.d.submit("/v1/agents/agt_1/revoke", [:], by: b.d.world.owner)
    #expect(await b.code { _ = try await b.d.gate.submit(signed, to: "ledger") } == "agent_revoked")
    #expect(b.moved == 0)
    await b.d.stop()
  }

  @Test func aSignatureThatExpiredInTheQueueIsRefused() async throws {
    let b = try await Bench.make()
    let signed = try await b.signed(10, seconds: 5)
    b.d.world.clock.advance(seconds: 5)
    #expect(await b.code { _ = try await b.d.gate.submit(signed, to: "ledger") } == "signature_expired")
    await b.d.stop()
  }

  @Test func whoIsPendingUnknownOrJustApprovedIsRefused() async throws {
    let b = try await Bench.make()
    let (w, agent) = (b.d.world, b.d.world.agents[1])
    let body: JSONValue = .transfer(b.own, b.other, 1)
    let path = "/v1/ledger/transfers"
    let early = try w.sign(path, body, as: agent.principal, key: agent.key)
    #expect(await b.code { _ = try await b.d.gate.submit(early, to: "ledger") } == "key_unknown")
    try await b.d.register(agent)
    #expect(await b.code { try await b.d.submit(path, body, by: agent) } == "agent_pending")
    let pending = try w.sign(path, body, as: agent.principal, key: agent.key)
    let approve = "/v1/agents/agt_2/approve"
    let thumbprint: JSONValue = ["thumbprint": .string(agent.principal.thumbprint)]
    // Only its own owner approves, only the key that enrolled, and once.
    #expect(await b.code { try await b.d.submit(approve, thumbprint, by: w.stranger) } == "approval_not_permitted")
    #expect(await b.code { try await b.d.submit(approve, thumbprint, by: w.officer) } == "approval_not_permitted")
    #expect(await b.code { try await b.d.submit(approve, thumbprint, by: w.agents[0]) } == "approval_not_permitted")
    #expect(await b.code { try await b.d.submit(approve, ["thumbprint": "x"], by: w.owner) } == "thumbprint_mismatch")
    try await b.d.submit(approve, thumbprint, by: w.owner)
    #expect(await b.code { try await b.d.submit(approve, thumbprint, by: w.owner) } == "agent_not_pending")
    // Its evidence does not name the approval, so no seal of it could be verified.
    #expect(await b.code { _ = try await b.d.gate.submit(pending, to: "ledger") } == "agent_just_approved")
    try await b.d.submit(path, body, by: agent)
    #expect(
      await b.code { try await b.d.submit("/v1/agents/agt_2/revoke", [:], by: w.stranger) }
        == "revocation_not_permitted")
    #expect(await b.code { try await b.d.submit("/v1/agents/none/revoke", [:], by: w.officer) } == "agent_not_found")
    try await b.d.submit("/v1/agents/agt_2/revoke", ["reason": "left"], by: w.officer)
    #expect(await b.code { try await b.d.submit("/v1/agents/agt_2/revoke", [:], by: w.officer) } == "agent_revoked")
    #expect(b.moved == 1)
    await b.d.stop()
  }

  @Test func unknownModulesAndPathsAreRefusedWithoutALeaf() async throws {
    let b = try await Bench.make()
    let before = try b.image.head()
    let signed = try await b.signed(1)
    #expect(await b.code { _ = try await b.d.gate.submit(signed, to: "rails") } == "route_not_found")
    #expect(await b.code { _ = try await b.d.gate.submit(signed, to: "identity") } == "route_not_found")
    #expect(
      await b.code { try await b.d.submit("/v1/agents/agt_1/promote", [:], by: b.d.world.owner) } == "route_not_found")
    #expect(
      await b.code { try await b.d.submit("/v1/agents/agt_1/revoke", ["x": 1], by: b.d.world.owner) } == "json_member")
    #expect(try b.image.head() == before)
    await b.d.stop()
  }

  // MARK: - Events

  @Test func eventsAreDurableWithTheirChange() async throws {
    let b = try await Bench.make()
    let index = try #require(
      try await b.d.gate.record { _, moment in
        EventRecord(kind: "x.y", content: ["b": .integer(moment.time.milliseconds), "a": 1])
      })
    let content = try #require(b.image.content(leafIndex: index))
    #expect(String(decoding: content.content, as: UTF8.self).hasPrefix(#"{"a":1,"b":"#))
    #expect(try await b.d.gate.record { _, _ in nil } == nil)
    let (before, principals) = (try b.image.head(), b.image.principal(id: "agt_2"))
    let principal = b.d.world.agents[1].principal
    let code = await b.code {
      try await b.d.gate.record { unit, _ in
        try unit.insert(principal)
        throw Problem(409, "changed_my_mind", "")
      }
    }
    #expect(code == "changed_my_mind" && b.image.principal(id: "agt_2") == principals)
    #expect(try b.image.head() == before)
    await b.d.stop()
  }

  // MARK: - Parts that fail

  @Test func whileTheHSMIsAwayNothingIsAcknowledged() async throws {
    let b = try await Bench.make()
    let commands = try await Self.several(10) { try await b.signed(Int64(1 + $0)) }
    b.d.world.custodian.setAway(true)
    let acknowledged = Flag()
    let receipts = try await withThrowingTaskGroup(of: Receipt.self) { group in
      for command in commands {
        group.addTask {
          let receipt = try await b.d.gate.submit(command, to: "ledger")
          acknowledged.raise()
          return receipt
        }
      }
      await b.d.world.custodian.waitForAttempts(4)
      #expect(!acknowledged.isRaised && b.moved == 0)
      b.d.world.custodian.setAway(false)
      return try await group.reduce(into: [Receipt]()) { $0.append($1) }
    }
    #expect(receipts.count == 10 && b.moved == 55)
    #expect(b.image.allCommands.filter { $0.state == .authorized }.isEmpty)
    await b.d.stop()
  }

  @Test func whoWaitsTooLongForASignatureIsTold() async throws {
    let b = try await Bench.make()
    b.d.world.custodian.setAway(true)
    async let told = b.code { _ = try await b.transfer(10, key: "slow") }
    await b.d.world.custodian.waitForAttempts(2)
    b.d.world.clock.advance(seconds: 10)
    #expect(await told == "seal_delayed")
    #expect(b.moved == 0)
    #expect(await b.code { _ = try await b.transfer(3) } == "log_unsigned")
    b.d.world.custodian.setAway(false)
    // It is finished without anyone's asking, once.
    try await b.d.settle()
    #expect(b.moved == 10)
    _ = try await b.transfer(7)
    #expect(b.moved == 17)
    await b.d.stop()
  }

  @Test func aWriteThatFailsIsTriedAgain() async throws {
    let b = try await Bench.make()
    b.d.store.fail([.refused, .refused])
    _ = try await b.transfer(10)
    #expect(b.moved == 10 && b.d.store.remainingFaults == 0)
    await b.d.stop()
  }

  @Test func whoWaitsTooLongForTheStorageIsTold() async throws {
    let b = try await Bench.make()
    b.d.store.fail(Array(repeating: .refused, count: 4))
    #expect(await b.code { _ = try await b.transfer(10) } == "storage_failed")
    _ = try await b.transfer(7)
    #expect(b.moved == 7)
    await b.d.stop()
  }

  @Test func aWriteOfUnknownOutcomeStopsTheGate() async throws {
    // At once, and after so many refusals that those who wait would be told that nothing was recorded.
    for refusals in [0, 3] { try await unknownOutcome(after: refusals) }
  }

  private func unknownOutcome(after refusals: Int) async throws {
    let b = try await Bench.make()
    b.d.store.fail(Array(repeating: .refused, count: refusals) + [.reportedFalsely])
    let signed = try await b.signed(10)
    // It is recorded, so nobody may be told that it is not.
    #expect(await b.code { _ = try await b.d.gate.submit(signed, to: "ledger") } == "outcome_unknown")
    #expect(await b.d.gate.mode != .running && b.moved == 0)
    #expect(await b.code { _ = try await b.transfer(1) } == "log_read_only")
    await b.d.stop()
    // What was recorded is finished after a restart.
    let restarted = InMemoryStore(b.image)
    let d = try await TestDeployment(b.d.world, store: restarted, headFile: try Self.copy(b.headFile))
    d.start()
    try await d.settle()
    let receipt = try await d.gate.submit(signed, to: "ledger")
    #expect(receipt.command.state == .done && restarted.image.account(b.other)?.balance == 10)
    await d.stop()
  }

  /// Those who wait for a batch that is recorded and not carried out are told too.
  @Test func afterAHaltNobodyWaitsForEver() async throws {
    let b = try await Bench.make()
    let signed = try await b.signed(10)
    b.d.world.custodian.hold(true)
    async let code = b.code { _ = try await b.d.gate.submit(signed, to: "ledger") }
    while b.image.unfinished().isEmpty { await Task.yield() }
    // The transaction of the second commit, which carries the command out.
    b.d.store.fail([.reportedFalsely])
    b.d.world.custodian.hold(false)
    #expect(await code == "outcome_unknown")
    await b.d.stop()
    let d = try await TestDeployment(
      b.d.world, store: InMemoryStore(b.image), headFile: try Self.copy(b.headFile))
    d.start()
    try await d.settle()
    let receipt = try await d.gate.submit(signed, to: "ledger")
    #expect(receipt.command.state == .done && d.store.image.account(b.other)?.balance == 10)
    await d.stop()
  }

  // MARK: - Limits

  @Test func theQueueHasALimit() async throws {
    let b = try await Bench.make { $0.queueLimit = 2 }
    let commands = try await Self.several(12) { try await b.signed(Int64(1 + $0)) }
    b.d.world.custodian.setAway(true)
    let codes = await withTaskGroup(of: String?.self) { group in
      for command in commands {
        group.addTask { await b.code { _ = try await b.d.gate.submit(command, to: "ledger") } }
      }
      var codes: [String?] = []
      // While the signer is away, a batch or two are recorded and two submissions wait.
      while codes.count < 6, let code = await group.next() { codes.append(code) }
      b.d.world.custodian.setAway(false)
      for await code in group { codes.append(code) }
      return codes
    }
    let refused = codes.filter { $0 == "log_overloaded" }.count
    #expect(refused >= 6 && codes.filter { $0 == nil }.count == 12 - refused)
    await b.d.stop()
    #expect(await b.code { _ = try await b.transfer(1) } == "stopping")
  }

  // MARK: - Rollback

  @Test func anOlderDatabaseIsServedReadOnly() async throws {
    let b = try await Bench.make()
    let older = b.image
    _ = try await b.transfer(10)
    try await b.d.settle()
    await b.d.stop()
    let d = try await TestDeployment(b.d.world, store: InMemoryStore(older), headFile: try Self.copy(b.headFile))
    d.start()
    guard case .readOnly(let why) = await d.gate.mode else { throw Problem(500, "not read-only", "") }
    #expect(why.contains("rolled back"))
    let code = await b.code {
      try await d.submit("/v1/ledger/transfers", .transfer(b.own, b.other, 1), by: b.d.world.owner)
    }
    #expect(code == "log_read_only")
    #expect(try d.store.image.head() == older.head() && d.gate.published.note != nil)
    await d.stop()
  }

  @Test func anotherHistoryIsServedReadOnly() async throws {
    let b = try await Bench.make()
    let before = b.image
    let head = try Self.copy(b.headFile)
    _ = try await b.transfer(10)
    await b.d.stop()
    // The same start, and something else after it.
    let other = try await TestDeployment(b.d.world, store: InMemoryStore(before), headFile: head)
    other.start()
    try await other.submit("/v1/ledger/transfers", .transfer(b.own, b.other, 11), by: b.d.world.owner)
    await other.stop()
    let d = try await TestDeployment(
      b.d.world, store: InMemoryStore(other.store.image), headFile: try Self.copy(b.headFile))
    guard case .readOnly(let why) = await d.gate.mode else { throw Problem(500, "not read-only", "") }
    #expect(why.contains("another history"))
  }

  // MARK: - Helpers

  static func several<Value>(_ count: Int, _ body: (Int) async throws -> Value) async throws -> [Value] {
    var values: [Value] = []
    for number in 0..<count { values.append(try await body(number)) }
    return values
  }

  static func copy(_ headFile: String) throws -> String {
    let path = try TemporaryFolder.make() + "/head"
    try FileManager.default.copyItem(atPath: headFile, toPath: path)
    return path
  }
}
