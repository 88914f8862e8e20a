import AgentIdentity
import DemoClient
import JOSE
import Testing
import Wire

/// The part of the walk that keys take, from their making to their end.
extension EndToEndTests.Description {
  func keys(_ fixture: Fixture) async throws {
    let (officer, owner, agent) = (fixture.deployment.officer, fixture.deployment.owner, fixture.agent)
    let (vault, auditor) = (fixture.vault, fixture.deployment.auditorToken)
    #expect(try await fixture.get("/v1/keys", bearer: auditor).status == 200)
    #expect(try await fixture.get("/v1/keys/\(vault.key)", bearer: auditor).status == 200)
    #expect(try await fixture.get("/v1/keys/nobody", bearer: auditor).summary == "404 key_not_found")
    let tokens = try await fixture.get("/v1/hsm", bearer: auditor)
    #expect(tokens["hostile_unwrap"]?.string == "refused")
    #expect((tokens["tokens"]?.array ?? []).allSatisfy { $0.object?["state"] == "ready" }, "\(tokens.text)")
    #expect(try await fixture.get("/v1/status", bearer: auditor)["keys_mode"]?.string == "open")

    func create(_ name: String, as party: Party) async throws -> Answer {
      try await fixture.submit("/v1/keys", ["class": .string(name)], as: party)
    }
    #expect(try await create("documents", as: agent).summary == "403 officer_required")
    #expect(try await create("nothing", as: officer).summary == "422 data_class_unknown")
    let made = try await create("documents", as: officer)
    #expect(made.summary == "201" && made["key", "state"]?.string == "active", "\(made.text)")
    #expect(try await create("documents", as: officer).summary == "409 key_exists")
    let key = try #require(made["result", "key"]?.string)

    func order(_ verb: String, _ body: JSONValue = [:], of id: String? = nil, as party: Party? = nil) async throws
      -> Answer
    {
      try await fixture.submit("/v1/keys/\(id ?? key)/\(verb)", body, as: party ?? officer)
    }
    let destruction: JSONValue = ["confirm": .string(key)]
    for (verb, body) in [("rotate", [:]), ("rewrap", [:]), ("disable", [:]), ("enable", [:]), ("destroy", destruction)]
      as [(String, JSONValue)]
    {
      #expect(try await order(verb, body, as: agent).summary == "403 officer_required", "\(verb)")
      let unknown: JSONValue = verb == "destroy" ? ["confirm": "key_x"] : [:]
      #expect(try await order(verb, unknown, of: "key_x").summary == "404 key_not_found", "\(verb)")
    }
    #expect(try await order("enable").summary == "409 key_enabled")

    // Data keys: made, opened, and refused.
    func draw(_ body: JSONValue, of id: String? = nil, as party: Party) async throws -> Answer {
      try await fixture.submit("/v1/keys/\(id ?? key)/data-keys", body, as: party)
    }
    func open(_ body: JSONValue, _ id: String, as party: Party) async throws -> Answer {
      try await fixture.submit("/v1/data-keys/\(id)/open", body, as: party)
    }
    let drawn = try await draw(vault.request(), as: agent)
    #expect(drawn.status == 201, "\(drawn.text)")
    #expect(drawn.header("cache-control") == "no-store")
    let dataKey = try #require(drawn["data_key"]?.string)
    let opened = try await open(vault.request(), dataKey, as: owner)
    #expect(opened.status == 200, "\(opened.text)")
    #expect(try vault.recipient.fingerprint(opened) == vault.recipient.fingerprint(drawn))
    // The manifest lets agents encrypt documents, and not decrypt them.
    #expect(try await open(vault.request(), dataKey, as: agent).summary == "403 key_use_not_permitted")
    #expect(try await open(vault.request(["customer": "43"]), dataKey, as: owner).summary == "422 context_mismatch")
    #expect(try await open(vault.request(), "dek_x", as: owner).summary == "404 data_key_not_found")
    #expect(try await draw(vault.request(), of: "key_x", as: owner).summary == "404 key_not_found")
    #expect(try await draw(vault.request([:]), as: owner).summary == "422 context_invalid")
    let nobody: JSONValue = ["context": Vault.context, "recipient": .string(String(repeating: "A", count: 1622))]
    #expect(try await draw(nobody, as: owner).summary == "422 recipient_invalid")

    // Its life: a further version, to which the data key is brought, a pause, and the end.
    let rotated = try await order("rotate")
    #expect(rotated.summary == "200" && rotated["key", "version"]?.integer == 2, "\(rotated.text)")
    // The schedule may have ordered the rewrap first.
    #expect(["202", "409 key_busy"].contains(try await order("rewrap").summary))
    func read() async throws -> Answer { try await fixture.get("/v1/keys/\(key)", bearer: auditor) }
    while try await read()["tasks"]?.array?.isEmpty != true {}
    let versions = try #require(try await read()["versions"]?.array)
    #expect(
      versions.map { $0.object?["data_keys"] } == [0, 1]
        && versions.map { $0.object?["state"] } == ["retired", "active"])
    let rewrapped = try await open(vault.request(), dataKey, as: owner)
    #expect(try vault.recipient.fingerprint(rewrapped) == vault.recipient.fingerprint(drawn))
    #expect(try await order("rewrap").status == 202)
    while try await read()["tasks"]?.array?.isEmpty != true {}
    #expect(try await order("disable").status == 200)
    #expect(try await order("disable").summary == "409 key_disabled")
    #expect(try await order("rotate").summary == "409 key_disabled")
    #expect(try await order("rewrap").summary == "409 key_disabled")
    #expect(try await draw(vault.request(), as: owner).summary == "409 key_disabled")
    #expect(try await open(vault.request(), dataKey, as: owner).summary == "409 key_disabled")
    #expect(try await order("enable").status == 200)
    #expect(try await open(vault.request(), dataKey, as: owner).status == 200)
    #expect(try await order("destroy", ["confirm": .string(vault.key)]).summary == "422 confirmation_mismatch")
    let destroyed = try await order("destroy", destruction)
    #expect(destroyed.status == 200, "\(destroyed.text)")
    #expect(destroyed["key", "destruction", "proof"] != nil)
    #expect(try await order("destroy", destruction).summary == "409 key_destroyed")
    #expect(try await open(vault.request(), dataKey, as: owner).summary == "409 key_destroyed")
    // The class gets another key.
    #expect(try await create("documents", as: officer).status == 201)

    func publish(_ text: String, as party: Party) async throws -> Answer {
      try await fixture.submit("/v1/key-manifests", ["manifest": .string(text)], as: party)
    }
    #expect(try await publish(GoodBody.manifest, as: agent).summary == "403 officer_required")
    #expect(try await publish("version: 1\nversion: 1\n", as: officer).summary == "422 manifest_duplicate")
    #expect(try await publish(GoodBody.manifest, as: officer).status == 201)
  }
}
