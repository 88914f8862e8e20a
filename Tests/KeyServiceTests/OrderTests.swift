import CommandGate
import Envelope
import KeyManifests
import KeyService
import Seal
import Testing
import TestSupport
import Wire

/// Who may order and use what, and what orders do to each other.
@Suite struct OrderTests {
  @Test func theManifestSaysWho() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let parties = deployment.parties
    let (documents, pii) = (try await deployment.create("documents"), try await deployment.create("pii"))
    // Owners, agents and officers encrypt both; approvers decrypt documents alone, and agents neither.
    for party in [deployment.owner, parties.agent, deployment.officer] {
      for key in [documents, pii] { _ = try await deployment.make(key, by: party) }
    }
    let (document, person) = (try await deployment.make(documents), try await deployment.make(pii))
    #expect(try await deployment.open(document.id, by: parties.approver) == document.secret)
    for (party, id) in [(parties.approver, person.id), (parties.agent, document.id), (parties.agent, person.id)] {
      #expect(await code { _ = try await deployment.open(id, by: party) } == "key_use_not_permitted")
    }
    #expect(await code { _ = try await deployment.make(documents, by: parties.approver) } == "key_use_not_permitted")

    // Another manifest is in force from its leaf on: one owner alone, and no more documents.
    func publish(_ text: [UInt8]) async throws {
      try await deployment.submit(
        "/v1/key-manifests", ["manifest": .string(String(decoding: text, as: UTF8.self))])
    }
    let before = try await deployment.service.status()["manifest_digest"]
    try await publish(
      manifest(
        ("may_encrypt: [owner, agent, officer]", "may_encrypt: [\"id:own_2\"]"),
        ("may_decrypt: [owner, officer]", "may_decrypt: [\"id:own_2\", agent]")))
    #expect(try await deployment.service.status()["manifest_digest"] != before)
    #expect(await code { _ = try await deployment.make(pii) } == "key_use_not_permitted")
    #expect(try await deployment.open(person.id, by: deployment.world.stranger) == person.secret)
    #expect(try await deployment.open(person.id, by: parties.agent) == person.secret)
    #expect(await code { _ = try await deployment.open(person.id) } == "key_use_not_permitted")
    _ = try await deployment.make(pii, by: deployment.world.stranger)

    try await publish(manifest(("  documents:", "  letters:")))
    #expect(await code { _ = try await deployment.open(document.id) } == "key_use_not_permitted")
    try await publish(manifest(("tenants: \"*\"", "tenants: [tnt_other]")))
    #expect(await code { _ = try await deployment.open(person.id) } == "key_use_not_permitted")
    #expect(await code { _ = try await deployment.create("files") } == "data_class_unknown")
    _ = try await deployment.create("files", by: parties.foreignOfficer)

    #expect(
      await code { try await publish(manifest(("environment: development", "environment: production"))) }
        == "manifest_environment")
    #expect(
      await code { try await publish(manifest(("algorithm: AES-256-GCM", "algorithm: ROT13"))) }
        == "manifest_value")
    #expect(await code { try await publish([]) } == "json_member")
    await deployment.stop()
  }

  @Test func anotherTenantSeesNothing() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let (officer, owner) = (deployment.parties.foreignOfficer, deployment.parties.foreignOwner)
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    for verb in ["rotate", "rewrap", "disable", "enable", "destroy"] {
      #expect(await code { try await deployment.order(verb, key, by: officer) } == "key_not_found", "\(verb)")
      #expect(
        await code { try await deployment.order(verb, key, by: deployment.owner) } == "officer_required", "\(verb)")
      #expect(await code { try await deployment.order(verb, "key_none") } == "key_not_found", "\(verb)")
    }
    #expect(await code { _ = try await deployment.make(key, by: owner) } == "key_not_found")
    #expect(await code { _ = try await deployment.open(drawn.id, by: owner) } == "data_key_not_found")
    #expect(await code { _ = try await deployment.make("key_none") } == "key_not_found")
    #expect(await code { _ = try await deployment.open("dek_none") } == "data_key_not_found")
    // A key of the same class, of their own.
    let theirs = try await deployment.create(by: officer)
    let other = try await deployment.make(theirs, by: owner)
    #expect(await code { _ = try await deployment.open(other.id) } == "data_key_not_found")
    #expect(try await deployment.open(other.id, by: owner) == other.secret)
    #expect(try await deployment.service.list(tenant: "tnt_other").count == 1)
    #expect(try await deployment.service.list().count == 2)
    await deployment.stop()
  }

  @Test func whatDoesNotFitIsRefused() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    #expect(await code { _ = try await deployment.create() } == "key_exists")
    #expect(await code { _ = try await deployment.create("unknown") } == "data_class_unknown")
    #expect(await code { try await deployment.submit("/v1/keys", [:]) } == "json_member")
    #expect(await code { try await deployment.submit("/v1/keys", ["class": "files", "x": 1]) } == "json_member")
    #expect(await code { try await deployment.submit("/v1/keys/\(key)/retire") } == "route_not_found")
    #expect(await code { try await deployment.submit("/v1/keys/\(key)/create") } == "route_not_found")
    #expect(await code { try await deployment.submit("/v1/keys/\(key)") } == "route_not_found")
    #expect(
      await code { try await deployment.submit("/v1/keys/\(key)/destroy", ["confirm": "files"]) }
        == "confirmation_mismatch")
    // One task at a time, but for what stops harm.
    _ = try await deployment.command("rotate", key)
    #expect(await code { try await deployment.order("rotate", key) } == "key_busy")
    #expect(await code { try await deployment.order("rewrap", key) } == "key_busy")
    _ = try await deployment.command("disable", key)
    #expect(await code { try await deployment.order("enable", key) } == nil)
    #expect(try await deployment.states(key) == ["active"])
    await deployment.stop()
  }

  /// A repeat of a command is the same command, and two officers at once are served one after the other.
  @Test func repeatsAndRacesAreOne() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let other = deployment.parties.secondOfficer
    let first = try await deployment.submit("/v1/keys", ["class": "files"], idempotencyKey: "one")
    let again = try await deployment.submit("/v1/keys", ["class": "files"], idempotencyKey: "one")
    #expect(first.command.id == again.command.id)
    async let one: () = deployment.service.carryOut(first.command.id.description)
    async let two: () = deployment.service.carryOut(again.command.id.description)
    _ = try await (one, two)
    try await deployment.service.carryOut(first.command.id.description)
    #expect(try await deployment.count("key.created") == 1)
    #expect(deployment.tokens[0].counts[.wrap] == 1)
    let key = try first.text("key")

    func race(_ body: @escaping @Sendable (TestParty) async throws -> Void) async -> [String] {
      await withTaskGroup(of: String.self) { group in
        for party in [deployment.officer, other] {
          group.addTask { await code { try await body(party) } ?? "done" }
        }
        return await group.reduce(into: []) { $0.append($1) }.sorted()
      }
    }
    #expect(await race { try await deployment.submit("/v1/keys/\(key)/rotate", by: $0) } == ["done", "key_busy"])
    #expect(await race { try await deployment.submit("/v1/keys", ["class": "pii"], by: $0) } == ["done", "key_exists"])
    let ends = await race { try await deployment.submit("/v1/keys/\(key)/destroy", ["confirm": .string(key)], by: $0) }
    #expect(ends == ["done", "key_destroying"])
    try await deployment.service.tend()
    #expect(try await deployment.key(key).state == .destroyed)
    #expect(try await deployment.pending().isEmpty)
    await deployment.stop()
  }

  // MARK: - Contexts and recipients

  @Test func theContextIsPartOfIt() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    let context = try EncryptionContext(["invoice": "17", "year": "2026"] as JSONObject)
    let drawn = try await deployment.make(key, context)
    let turned = try EncryptionContext(["year": "2026", "invoice": "17"] as JSONObject)
    #expect(try await deployment.open(drawn.id, turned) == drawn.secret)
    for wrong in [["invoice": "17"], ["invoice": "18", "year": "2026"], ["invoice": "2026", "year": "17"]]
      as [JSONObject]
    {
      #expect(
        await code { _ = try await deployment.open(drawn.id, try EncryptionContext(wrong)) } == "context_mismatch")
    }
    func members(_ count: Int, _ value: JSONValue) -> JSONObject {
      (0..<count).reduce(into: [:]) { $0["m\($1)"] = value }
    }
    let long = String(repeating: "x", count: 257)
    for bad in [[:], members(17, "x"), ["a": .string(long)], ["": "x"], ["a": 1]] as [JSONObject] {
      #expect(throws: KeyRecordError.self) { try EncryptionContext(bad) }
    }
    let largest = members(16, .string(String(long.dropLast())))
    let large = try await deployment.make(key, try EncryptionContext(largest))
    #expect(try await deployment.open(large.id, try EncryptionContext(largest)) == large.secret)

    // What is delivered opens for its recipient alone, as what it is.
    let delivery = try await deployment.service.openDataKey(drawn.id, try deployment.request(nil, context))
    let other = try Recipient()
    #expect(throws: (any Error).self) { try other.open(delivery) }
    for index in stride(from: 0, to: delivery.sealed.count, by: 97) {
      var sealed = delivery.sealed
      sealed[index] ^= 1
      #expect(throws: (any Error).self) {
        try deployment.recipient.pair.open(sealed, info: Envelopes.deliveryInfo, aad: Array(drawn.id.utf8))
      }
    }
    #expect(throws: (any Error).self) {
      try deployment.recipient.pair.open(
        delivery.sealed, info: Envelopes.deliveryInfo, aad: Array(large.id.utf8))
    }
    await deployment.stop()
  }
}
