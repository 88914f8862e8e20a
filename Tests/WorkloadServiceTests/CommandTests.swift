import StorageSQLite
import TestSupport
import Testing
import Wire
import WorkloadIdentity
@testable import WorkloadService

/// Commands about workloads: who may give them, what is refused, and what they leave behind.
@Suite struct CommandTests {
  private typealias D = ServiceDeployment

  private func rows(_ d: ServiceDeployment) async throws -> [EntryRow] {
    try await d.store.read { unit in try unit.entries(after: "", limit: 1000) }
  }

  @Test func rights() async throws {
    let d = try await D.found()
    let (agent, agentKey) = try await d.enrolledAgent()
    let plain = D.changes(create: [D.entry("/a", "unix:uid:1")])
    let admin = D.changes(create: [D.entry("/b", "unix:uid:2", with: ["admin": true])])
    let downstream = D.changes(create: [D.entry("/c", "unix:uid:3", with: ["downstream": true])])
    func refusal(_ path: String, _ body: JSONValue, by party: TestParty) async -> String? {
      await code { try await d.submit(path, body, as: party.principal, party.key) }
    }
    #expect(await refusal("/v1/entries", plain, by: d.world.owner) == "entries_right_required")
    #expect(
      await code { try await d.submit("/v1/entries", plain, as: agent, agentKey) }
        == "entries_right_required")
    for path in ["/v1/authorities/x509/prepare", "/v1/authorities/jwt/rotate", "/v1/federations/other.example/delete"] {
      #expect(await refusal(path, [:], by: d.world.owner) == "officer_required")
    }
    #expect(await refusal("/v1/svids/revoke", ["jti": "j"], by: d.world.owner) == "entries_right_required")

    let (registrar, key) = try await d.registrar()
    func byRegistrar(_ path: String, _ body: JSONValue) async -> String? {
      await code { try await d.submit(path, body, as: registrar, key) }
    }
    #expect(await byRegistrar("/v1/entries", plain) == nil)
    #expect(await byRegistrar("/v1/entries", admin) == "officer_required")
    #expect(await byRegistrar("/v1/entries", downstream) == "officer_required")
    #expect(await byRegistrar("/v1/svids/revoke", ["jti": "j"]) == nil)
    #expect(await byRegistrar("/v1/authorities/x509/prepare", [:]) == "officer_required")
    // Neither does a registrar touch what an officer alone makes, nor make it of what he has.
    let ids = try await d.change(create: [D.entry("/b", "unix:uid:2", with: ["admin": true])])
    #expect(await byRegistrar("/v1/entries", D.changes(delete: ids)) == "officer_required")
    #expect(
      await byRegistrar("/v1/entries", D.changes(update: [(ids[0], D.entry("/b", "unix:uid:2"))]))
        == "officer_required")
    let own = try await rows(d).first { $0.id != ids[0] }?.id ?? ""
    #expect(
      await byRegistrar(
        "/v1/entries", D.changes(update: [(own, D.entry("/a", "unix:uid:1", with: ["admin": true]))]))
        == "officer_required")
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func changesStandOrFallTogether() async throws {
    let d = try await D.found()
    let ids = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:2")])
    #expect(ids.count == 2)
    // Each takes the other's place.
    _ = try await d.change(
      update: [(ids[0], D.entry("/b", "unix:uid:2")), (ids[1], D.entry("/a", "unix:uid:1"))])
    #expect(try await rows(d).count == 2)
    // A third comes where one goes.
    let third = try await d.change(create: [D.entry("/a", "unix:uid:1")], delete: [ids[1]])
    #expect(Set(try await rows(d).map(\.id)) == [ids[0], third[0]])
    // The order in which selectors are written makes no other entry.
    _ = try await d.change(create: [D.entry("/m", "unix:uid:5", "unix:gid:5")])
    let taken = D.changes(
      create: [D.entry("/new", "unix:uid:9"), D.entry("/m", "unix:gid:5", "unix:uid:5")], delete: [third[0]])
    #expect(await code { try await d.command("/v1/entries", taken) } == "entry_exists")
    let twice = D.changes(create: [D.entry("/z", "unix:uid:7"), D.entry("/z", "unix:uid:7")])
    #expect(await code { try await d.command("/v1/entries", twice) } == "entry_exists")
    #expect(Set(try await rows(d).map(\.id)).count == 3)
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func refusedChanges() async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/a", "unix:uid:1")])[0]
    let unknown = "ent_AAAAAAAAAAAAAAAAAAAAAA"
    let good = D.entry("/b", "unix:uid:2")
    let cases: [(JSONValue, String)] = [
      ([:], "entry_changes"), (D.changes(update: [(id, good)], delete: [id]), "entry_changes"),
      (D.changes(delete: [id, id]), "entry_changes"), (D.changes(delete: [unknown]), "entry_not_found"),
      (D.changes(update: [(unknown, good)]), "entry_not_found"), (D.changes(delete: ["nothing"]), "entry_not_found"),
      (D.changes(create: [D.entry("/trustcore/x", "unix:uid:2")]), "entry_reserved"),
      (D.changes(update: [(id, D.entry("/trustcore/node", "unix:uid:2"))]), "entry_reserved"),
      (D.changes(create: [D.entry("", "unix:uid:2")]), "entry_invalid"),
      (D.changes(create: [D.entry("/b")]), "entry_invalid"),
      (D.changes(create: [D.entry("/b", "unix:uid:2", with: ["x509_svid_ttl": 59])]), "entry_invalid"),
      (D.changes(create: [D.entry("/b", "unix:uid:2", with: ["other": 1])]), "entry_invalid"),
      (["delete": [1]], "member"), (["remove": []], "member"), (["delete": [.string(id)], "x": 1], "member"),
    ]
    for (body, expected) in cases {
      let found = await code { try await d.command("/v1/entries", body) }
      #expect(found == expected || expected == "member" && found != nil, "\(body): \(found ?? "done")")
    }
    // What looks reserved and is not.
    _ = try await d.change(create: [D.entry("/trustcore", "unix:uid:3"), D.entry("/trustcores/a", "unix:uid:3")])
    #expect(try await rows(d).count == 3)
    _ = try await d.change(delete: [id])
    #expect(await code { _ = try await d.change(delete: [id]) } == "entry_not_found")
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func atMostAThousandChanges() async throws {
    let d = try await D.found()
    func entries(_ count: Int) -> [JSONValue] { (0..<count).map { D.entry("/w/\($0)", "unix:uid:\($0)") } }
    #expect(await code { _ = try await d.change(create: entries(1001)) } != nil)
    let ids = try await d.change(create: entries(1000))
    #expect(Set(ids).count == 1000)
    let split = D.changes(create: [D.entry("/x", "unix:uid:1")], delete: ids)
    #expect(await code { try await d.command("/v1/entries", split) } == "entry_changes")
    _ = try await d.change(delete: ids)
    #expect(try await rows(d).isEmpty)
    await d.stop()
  }

  @Test func ofTwoInOneBatchOneWins() async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/a", "unix:uid:1")])[0]
    func codes(_ path: String, _ body: JSONValue) async -> [String] {
      await withTaskGroup(of: String.self) { group in
        for _ in 0..<2 { group.addTask { await code { try await d.command(path, body) } ?? "done" } }
        return await group.reduce(into: []) { $0.append($1) }.sorted()
      }
    }
    #expect(await codes("/v1/entries", D.changes(delete: [id])) == ["done", "entry_not_found"])
    #expect(
      await codes("/v1/entries", D.changes(create: [D.entry("/b", "unix:uid:2")])) == ["done", "entry_exists"])
    #expect(await codes("/v1/authorities/x509/prepare", [:]) == ["authority_busy", "done"])
    #expect(await codes("/v1/svids/revoke", ["jti": "x"]) == ["done", "svid_revoked"])
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func revocationsAndRoutes() async throws {
    let d = try await D.found()
    let longest = "7f" + String(repeating: "ff", count: 19)
    for serial in ["00", "0001", "ff01", "7F", "7", "zz", longest + "ff", ""] {
      #expect(await code { try await d.command("/v1/svids/revoke", ["serial": .string(serial)]) } != nil, "\(serial)")
    }
    for serial in ["01", "00ff", longest] {
      #expect(await code { try await d.command("/v1/svids/revoke", ["serial": .string(serial)]) } == nil, "\(serial)")
    }
    #expect(await code { try await d.command("/v1/svids/revoke", ["serial": "01"]) } == "svid_revoked")
    #expect(await code { try await d.command("/v1/svids/revoke", ["serial": "02", "jti": "x"]) } == "svid_unnamed")
    #expect(await code { try await d.command("/v1/svids/revoke", [:]) } == "svid_unnamed")
    for (limit, body) in [(86_400, ["jti": "j"]), (86_400 * 30, ["serial": "03"])] as [(Int64, JSONObject)] {
      var over = body
      over["expires_in"] = .integer(limit + 1)
      #expect(await code { try await d.command("/v1/svids/revoke", .object(over)) } != nil)
      over["expires_in"] = .integer(limit)
      #expect(await code { try await d.command("/v1/svids/revoke", .object(over)) } == nil)
    }
    for path in ["/v1/authorities/x509/begin", "/v1/authorities/x509", "/v1/entries/x", "/v1/svids/x/revoke"] {
      #expect(await code { try await d.command(path) } == "route_not_found", "\(path)")
    }
    #expect(await code { try await d.command("/v1/authorities/jwt/request") } == "authority_kind")
    // Every list can be signed.
    try await d.service.tend()
    #expect(await d.service.status()["obstacles"] == nil)
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func federations() async throws {
    let d = try await D.found()
    let other = try TrustDomain("other.example")
    let bundle = try SPIFFEBundle(
      trustDomain: other, x509Authorities: [d.root.certificate], jwtAuthorities: [], sequence: 5, refreshHint: 60)
    let document = try JSONValue(parsing: bundle.json())
    let url: JSONObject = [
      "trust_domain": "other.example", "bundle_endpoint_url": "https://other.example/b",
      "bundle_endpoint_profile": "https_web",
    ]
    let refused: [(JSONValue, String)] = [
      (["trust_domain": .string(D.trustDomain), "bundle": document], "federation_own"),
      (["trust_domain": "other.example"], "federation_terms"),
      (["trust_domain": "Other", "bundle": document], "spiffe_trust_domain"),
      (["trust_domain": "other.example", "bundle": [:]], "spiffe_bundle_invalid"),
      (
        [
          "trust_domain": "other.example", "bundle_endpoint_url": "https://other.example/b",
          "bundle_endpoint_profile": "https_spiffe", "endpoint_spiffe_id": "spiffe://other.example/endpoint",
        ], "federation_terms"
      ),
    ]
    for (body, expected) in refused {
      #expect(await code { try await d.command("/v1/federations", body) } == expected, "\(body)")
    }
    #expect(await code { try await d.command("/v1/federations/other.example/delete") } == "federation_not_found")
    try await d.command("/v1/federations", .object(url))
    #expect(await d.service.endpoints().map(\.terms.trustDomain) == [other])
    #expect(await d.service.endpoints().first?.bundle == nil)

    let entry = D.entry("/a", "unix:uid:1", with: ["federates_with": ["other.example"]])
    _ = try await d.change(create: [entry, D.entry("/b", "unix:uid:2")])
    let updates = try await d.connect(uid: 1).updates()
    let stranger = try await d.connect(uid: 2).updates()
    #expect(try await updates.next()?.bundles.keys.sorted() == [try d.domain])
    _ = try await stranger.next()
    let signatures = d.custodian.signatures
    #expect(try await d.service.take(bundle.json(), of: other))
    let second = try await updates.next()
    #expect(second?.bundles[other]?.roots == [d.root.certificate])
    #expect(second?.svids.count == 1)
    #expect(try await !d.service.take(bundle.json(), of: other))
    let older = try SPIFFEBundle(
      trustDomain: other, x509Authorities: [], jwtAuthorities: [], sequence: 4, refreshHint: 60)
    #expect(await code { _ = try await d.service.take(older.json(), of: other) } == "bundle_older")
    #expect(await code { _ = try await d.service.take([1], of: other) } == "spiffe_bundle_invalid")
    try await d.command("/v1/federations/other.example/delete")
    #expect(try await updates.next()?.bundles.keys.sorted() == [try d.domain])
    #expect(await code { _ = try await d.service.take(bundle.json(), of: other) } == "federation_not_found")
    await d.quiet()
    // Nobody got a new certificate for that, and whoever federates with nobody got nothing.
    #expect(d.custodian.signatures == signatures)
    let waiting = Task { try await stranger.next() }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { _ = try await waiting.value }
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }
}
