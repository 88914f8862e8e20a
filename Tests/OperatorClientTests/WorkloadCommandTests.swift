import Foundation
import JOSE
import OperatorClient
import Synchronization
import Testing
import Wire

@testable import trustcore

/// Entries, authorities and federations as a daemon keeps them, behind a ``StubDaemon``.
final class FakeWorkloads: Sendable {
  struct State {
    var entries: [String: JSONObject] = [:]
    var authorities: [JSONObject] = []
    var federations: [JSONObject] = []
    var registrars: [JSONObject] = []
    var obstacle: String?
    /// How many looks pass before an order shows.
    var delay = 0
    var waiting: [JSONObject]?
    var pageLength = 2
    var leaf: Int64 = 0
  }
  let state = Mutex(State())

  func answer(_ seen: StubDaemon.Seen) throws -> (Int, JSONObject) {
    try state.withLock { state in
      state.leaf += 1
      let parts = seen.path.split(separator: "/").map(String.init)
      switch (seen.method, parts.dropFirst().first, parts.count) {
      case ("GET", "entries", 3):
        guard let entry = state.entries[parts[2]] else {
          throw Problem(404, "entry_not_found", "There is no such entry; list the entries.")
        }
        return (200, entry)
      case ("GET", "entries", _):
        let ids = state.entries.keys.sorted().filter { parts.count < 4 || $0 > parts[3] }
        var page: JSONObject = ["entries": .array(ids.prefix(state.pageLength).map { .object(state.entries[$0]!) })]
        if ids.count > state.pageLength { page["next"] = .string(ids[state.pageLength - 1]) }
        return (200, page)
      case ("POST", "entries", 2): return (200, try Self.change(seen.json, &state))
      case ("GET", "authorities", _): return (200, Self.status(&state))
      case ("POST", "authorities", 4): return (200, try Self.order(parts[2], parts[3], &state))
      case ("POST", "federations", 2):
        state.federations.append(seen.json)
        return (200, seen.json)
      case ("POST", "federations", 4): return (200, ["trust_domain": .string(parts[2])])
      case ("GET", "registrars", _): return (200, ["registrars": .array(state.registrars.map { .object($0) })])
      case ("POST", "registrars", _):
        state.registrars = [
          ["id": "reg_1", "tenant": "ten_1", "thumbprint": "abc", "state": "active", "leaf_index": 9]
        ]
        return (201, ["result": ["registrar": "reg_1", "name": seen.json["name"] ?? .null], "leaf_index": 9])
      case ("POST", "people", _): return (200, ["result": ["person": .string(parts[2])], "leaf_index": 10])
      case ("GET", "svids", _): throw Problem(404, "svid_not_found", "No such SVID was issued here.")
      case ("POST", "svids", _):
        return (200, ["result": ["revoked": seen.json["serial"] ?? seen.json["jti"] ?? .null], "leaf_index": 11])
      default: throw Problem(404, "route_not_found", "There is no such route.")
      }
    }
  }

  private static func change(_ changes: JSONObject, _ state: inout State) throws -> JSONObject {
    var created: [JSONValue] = []
    func listed(_ entry: JSONObject, _ id: String) -> JSONObject {
      entry.merging(["id": .string(id), "leaf_index": .integer(state.leaf)])
    }
    for id in (changes["delete"]?.array ?? []).compactMap(\.string) {
      guard state.entries.removeValue(forKey: id) != nil else {
        throw Problem(404, "entry_not_found", "There is no entry '\(id)'; list the entries.")
      }
    }
    for update in (changes["update"]?.array ?? []).compactMap(\.object) {
      let id = update["id"]?.string ?? ""
      state.entries[id] = listed(update["entry"]?.object ?? [:], id)
    }
    for entry in (changes["create"]?.array ?? []).compactMap(\.object) {
      let id = WorkloadPlanTests.id(UInt8(state.entries.count + 1))
      state.entries[id] = listed(entry, id)
      created.append(.string(id))
    }
    return ["result": ["created": .array(created)], "leaf_index": .integer(state.leaf)]
  }

  private static func status(_ state: inout State) -> JSONObject {
    if let waiting = state.waiting {
      if state.delay <= 0 { (state.authorities, state.waiting) = (waiting, nil) } else { state.delay -= 1 }
    }
    var status: JSONObject = [
      "trust_domain": "example.org", "node_id": .string(WorkloadPlanTests.node), "issuer": "https://e/workload",
      "entries": .integer(Int64(state.entries.count)), "processes": 0, "waiting": 0,
      "authorities": .array(state.authorities.map(JSONValue.object)),
      "federations": .array(state.federations.map(JSONValue.object)),
    ]
    if let obstacle = state.obstacle { status["obstacles"] = ["x509": .string(obstacle)] }
    return status
  }

  static func authority(_ id: String, _ state: String) -> JSONObject {
    ["id": .string(id), "kind": "x509", "slot": "a", "state": .string(state), "not_after": "2027-01-01T00:00:00Z"]
  }

  private static func order(_ subject: String, _ verb: String, _ state: inout State) throws -> JSONObject {
    var next = state.authorities
    func set(_ id: String, _ to: String) {
      for index in next.indices where next[index]["id"]?.string == id { next[index]["state"] = .string(to) }
    }
    switch verb {
    case "prepare": next.append(authority("aut_new", "prepared"))
    case "request": next.append(authority("aut_new", "requested").merging(["request": "PEM of a request\n"]))
    case "rotate":
      set("aut_old", "old")
      next.append(authority("aut_new", "active"))
    case "activate": set("aut_new", "active")
    case "certificate": set(subject, "prepared")
    case "taint": set(subject, "tainted")
    case "revoke": set(subject, "revoked")
    default: throw Problem(404, "route_not_found", "There is no command at this path.")
    }
    if state.obstacle == nil { state.waiting = next }
    return ["result": ["ordered": .string(verb)], "leaf_index": .integer(state.leaf)]
  }
}

@Suite("Commands about workloads")
struct WorkloadCommandTests {
  static func run<R>(
    _ fake: FakeWorkloads, _ body: (StubDaemon, ([String]) async throws -> ProgramTests.Outcome) async throws -> R
  ) async throws -> R {
    try await StubDaemon.runOnWallClock({ try fake.answer($0) }) { stub in
      try await body(stub) { try await ProgramTests.run($0 + ["--state", stub.folder]) }
    }
  }

  @Test("entries are made, listed page by page, changed and ended")
  func entries() async throws {
    let fake = FakeWorkloads()
    try await Self.run(fake) { stub, run in
      let create = ["entry", "create", "--spiffe-id", "spiffe://example.org/a", "--selector", "unix:uid:1"]
      let made = try await run(create + ["--x509-ttl", "1h", "--dns", "a.example"])
      let id = WorkloadPlanTests.id(1)
      #expect(made.status == 0 && made.text.hasPrefix("\(id) is made (leaf "), "\(made.complaint)")
      let kept = fake.state.withLock { $0.entries[id] }
      #expect(kept?["parent_id"]?.string == WorkloadPlanTests.node && kept?["x509_svid_ttl"] == 3600)
      for name in ["b", "c", "d", "e"] {
        _ = try await run([
          "entry", "create", "--spiffe-id", "spiffe://example.org/\(name)", "--selector", "unix:uid:2",
        ])
      }
      // A heading, and for each entry a line and one for its selector.
      #expect(try await run(["entry", "list"]).text.split(separator: "\n").count == 11)
      for filter in [["--selector", "unix:uid:3"], ["--spiffe-id", "spiffe://example.org/none"]] {
        let none = try await run(["entry", "list"] + filter)
        #expect(none.status == 0 && none.text == "None of the 5 entries matches.\n", "\(none.text)")
        #expect(try await run(["entry", "list", "--json"] + filter).text == "{\"entries\":[]}\n")
      }
      #expect(try await run(["entry", "list", "--selector", "unix"]).status == 64)
      #expect(try await run(["entry", "list", "--spiffe-id", "example.org/a"]).status == 64)
      let some = try await run([
        "entry", "list", "--selector", "unix:uid:2", "--spiffe-id", "spiffe://example.org/c", "--json",
      ])
      #expect(try JSONValue(parsing: some.output).object?["entries"]?.array?.count == 1)
      #expect(try await run(["entry", "update", id, "--hint", "h", "--x509-ttl", "default"]).status == 0)
      let now = fake.state.withLock { $0.entries[id] }
      #expect(now?["hint"] == "h" && now?["x509_svid_ttl"] == nil && now?["dns_names"] == ["a.example"])
      #expect(try await run(["entry", "show", id]).text.contains("hint"))
      #expect(try await run(["entry", "delete", id, WorkloadPlanTests.id(2)]).text.hasPrefix("2 entries deleted"))
      let gone = try await run(["entry", "show", id, "--json"])
      #expect(gone.status == 66)
      #expect(try JSONValue(parsing: gone.complaint).object?["code"] == "entry_not_found")
      #expect(try await run(["entry", "delete", id]).status == 66)
      #expect(try await run(["entry", "show", "../x"]).status == 64)
      #expect(try await run(["entry", "create", "--selector", "unix:uid:1"]).status == 64)
      #expect(try await ProgramTests.run(["entry", "list", "--state", "/nowhere"]).status == 66)
    }
  }

  @Test("a trust domain of which there is no bundle is named")
  func noBundle() async throws {
    let fake = FakeWorkloads()
    try await Self.run(fake) { _, run in
      let create = ["entry", "create", "--selector", "unix:uid:1", "--federates-with", "far.org", "--spiffe-id"]
      let made = try await run(create + ["spiffe://example.org/a"])
      #expect(
        made.status == 0 && made.complaint.hasPrefix("trustcore: No bundle of 'far.org' is here"), "\(made.complaint)")
      fake.state.withLock { $0.federations = [["trust_domain": "far.org", "has_bundle": true]] }
      #expect(try await run(create + ["spiffe://example.org/b"]).complaint.isEmpty)
    }
  }

  @Test("what 'admin' and 'downstream' do not do is said whenever they are asked for")
  func grantsNothing() async throws {
    let fake = FakeWorkloads()
    try await Self.run(fake) { stub, run in
      let note = "trustcore: 'admin' and 'downstream' grant nothing yet: only officers may change such an entry.\n"
      let create = ["entry", "create", "--selector", "unix:uid:1", "--spiffe-id"]
      let made = try await run(create + ["spiffe://example.org/a", "--admin"])
      #expect(made.status == 0 && made.complaint == note)
      #expect(try await run(create + ["spiffe://example.org/b", "--no-admin"]).complaint.isEmpty)
      let id = WorkloadPlanTests.id(2)
      #expect(try await run(["entry", "update", id, "--downstream"]).complaint == note)
      #expect(try await run(["entry", "update", id, "--hint", "h"]).complaint.isEmpty)
      let json = try await run(["entry", "update", id, "--admin", "--json"])
      #expect(try JSONValue(parsing: json.complaint).object?["note"]?.string?.contains("grant nothing") == true)
      let text = #"{"entries":[{"spiffe_id":"spiffe://example.org/c","selectors":["unix:uid:1"],"admin":true}]}"#
      try stub.write("entries.json", Array(text.utf8), mode: 0o600)
      for isNew in [true, false] {
        let applied = try await run(["entry", "apply", "-f", stub.folder + "/entries.json"])
        #expect(applied.status == 0 && applied.complaint == (isNew ? note : ""), "\(applied.complaint)")
      }
    }
  }

  @Test("apply does what the file says, once")
  func apply() async throws {
    let fake = FakeWorkloads()
    try await Self.run(fake) { stub, run in
      let file = stub.folder + "/entries.json"
      func write(_ text: String) throws { try stub.write("entries.json", Array(text.utf8), mode: 0o600) }
      try write(
        #"""
        {"entries":[{"spiffe_id":"spiffe://example.org/a","selectors":["unix:uid:1"]},
                    {"spiffe_id":"spiffe://example.org/b","selectors":["unix:uid:2","unix:gid:2"]}]}
        """#)
      let dry = try await run(["entry", "apply", "-f", file, "--dry-run"])
      #expect(
        dry.text.hasSuffix("2 created, 0 updated, 0 deleted, 0 unchanged; nothing was sent.\n"), "\(dry.complaint)")
      #expect(fake.state.withLock { $0.entries.isEmpty })
      #expect(
        try await run(["entry", "apply", "-f", file]).text.hasSuffix("2 created, 0 updated, 0 deleted, 0 unchanged.\n"))
      let posts = stub.seen.count { $0.method == "POST" }
      #expect(
        try await run(["entry", "apply", "-f", file, "--prune"]).text
          == "0 created, 0 updated, 0 deleted, 2 unchanged.\n")
      #expect(stub.seen.count { $0.method == "POST" } == posts)
      // What is listed is a file.
      let listed = try await run(["entry", "list", "--json"]).text
      try write(listed)
      #expect(
        try await run(["entry", "apply", "-f", file, "--prune"]).text.hasPrefix("0 created, 0 updated, 0 deleted, 2"))
      try write(#"{"entries":[{"spiffe_id":"spiffe://example.org/a","selectors":["unix:uid:1"],"hint":"x"}]}"#)
      let pruned = try await run(["entry", "apply", "-f", file, "--prune", "--json"])
      let answer = try JSONValue(parsing: pruned.output).object
      #expect(answer?["updated"] == 1 && answer?["deleted"] == 1 && answer?["leaves"]?.array?.count == 1)
      #expect(fake.state.withLock { $0.entries.count } == 1)
      try write(#"{"entries":[]}"#)
      #expect(try await run(["entry", "apply", "-f", file, "--prune"]).status == 64)
      #expect(fake.state.withLock { $0.entries.count } == 1)
      #expect(try await run(["entry", "apply", "-f", file, "--prune", "--yes"]).status == 0)
      #expect(fake.state.withLock { $0.entries.isEmpty })
      for text in ["", "{}", #"{"entries":[{"spiffe_id":"spiffe://other.org/a","selectors":["unix:uid:1"]}]}"#] {
        try write(text)
        #expect(try await run(["entry", "apply", "-f", file]).status == 65)
      }
      #expect(try await run(["entry", "apply", "-f", stub.folder + "/nowhere"]).status == 66)
    }
  }

  @Test("authorities: an order is waited for, and what stands in its way ends with 69")
  func authorities() async throws {
    let fake = FakeWorkloads()
    fake.state.withLock { $0.authorities = [FakeWorkloads.authority("aut_old", "active")] }
    try await Self.run(fake) { stub, run in
      fake.state.withLock { $0.delay = 1 }
      let prepared = try await run(["ca", "prepare", "x509"])
      #expect(
        prepared.text.hasPrefix("aut_new (x509, slot a) is prepared, until 2027-01-01T00:00:00Z (leaf "),
        "\(prepared.complaint)")
      #expect(try await run(["ca", "activate", "x509", "--json"]).text.contains(#""state":"active""#))
      fake.state.withLock { $0.authorities = [FakeWorkloads.authority("aut_old", "active")] }
      #expect(try await run(["ca", "rotate", "x509"]).text.contains("is active"))
      #expect(try await run(["ca", "taint", "aut_old"]).text.contains("is tainted"))
      let unconfirmed = try await run(["ca", "revoke", "aut_old"])
      #expect(unconfirmed.status == 64 && unconfirmed.complaint.contains("--yes"))
      #expect(!stub.seen.contains { $0.path.hasSuffix("/revoke") })
      #expect(try await run(["ca", "revoke", "aut_old", "--yes"]).text.contains("is revoked"))
      #expect(stub.seen.contains { $0.path == "/v1/authorities/aut_old/revoke" && $0.json == ["confirm": "aut_old"] })
      fake.state.withLock { $0.authorities = [] }
      let request = try await run(["ca", "request", "x509"])
      #expect(request.text == "PEM of a request\n" && request.complaint.contains("trustcore ca import aut_new --chain"))
      #expect(try await run(["ca", "request", "jwt"]).status == 64)
      try stub.write("chain.pem", WorkloadPEM.encode([[0x30, 0]]), mode: 0o644)
      #expect(
        try await run(["ca", "import", "aut_new", "--chain", stub.folder + "/chain.pem"]).text.contains("is prepared"))
      #expect(try await run(["ca", "import", "aut_new", "--chain", stub.folder + "/ready.json"]).status == 65)
      #expect(try await run(["ca", "taint", "../x"]).status == 64)
      #expect(try await run(["ca", "prepare", "x510"]).status == 64)
      fake.state.withLock { $0.obstacle = "the HSM is away" }
      let obstacle = try await run(["ca", "prepare", "x509"])
      #expect(obstacle.status == 69 && obstacle.complaint.contains("the HSM is away"))
      #expect(try await run(["ca", "list"]).text.contains("x509 waits: the HSM is away"))
    }
  }

  @Test("what never shows is given up after half a minute's looks")
  func patience() async throws {
    let fake = FakeWorkloads()
    fake.state.withLock { $0.delay = 1000 }
    try await StubDaemon.run({ try fake.answer($0) }) { stub in
      let client = try stub.client
      var pauses = 0
      let error = await ClientTests.error {
        _ = try await client.carryOut(.order(.prepare, .x509), as: .officer) { pauses += 1 }
      }
      #expect(error?.exitCode == 75 && pauses == 60)
    }
  }

  @Test("federations, registrars and revocations")
  func others() async throws {
    let fake = FakeWorkloads()
    try await Self.run(fake) { stub, run in
      let set = ["federation", "set", "--trust-domain", "other.org"]
      #expect(try await run(set + ["--url", "https://other.org/b", "--profile", "https_web"]).status == 0)
      #expect(
        stub.seen.last?.json == [
          "trust_domain": "other.org", "bundle_endpoint_url": "https://other.org/b",
          "bundle_endpoint_profile": "https_web",
        ])
      try stub.write("bundle.json", Array(#"{"keys":[],"unknown":1}"#.utf8), mode: 0o644)
      let both = ["--url", "https://o/b", "--profile", "https_spiffe", "--endpoint-id", "spiffe://other.org/e"]
      #expect(try await run(set + both + ["--bundle", stub.folder + "/bundle.json"]).status == 0)
      #expect(stub.seen.last?.json["bundle"] == ["keys": []])
      #expect(try await run(set + ["--bundle", stub.folder + "/ca.pem"]).status == 65)
      #expect(try await run(set).status == 64)
      #expect(try await run(set + ["--url", "https://o/b"]).status == 64)
      #expect(try await run(set + ["--url", "https://o/b", "--profile", "https_spiffe"]).status == 64)
      #expect(try await run(["federation", "list"]).text.contains("other.org"))
      #expect(try await run(["federation", "delete", "other.org"]).text.hasPrefix("other.org is not trusted any more"))
      #expect(stub.seen.last?.path == "/v1/federations/other.org/delete")
      #expect(try await run(["federation", "delete", "a/b"]).status == 64)

      let key = try SigningKey(.p256, secret: [UInt8](repeating: 5, count: 32))
      #expect(try await run(["registrar", "list"]).text.hasPrefix("No registrars"))
      let enrol = ["registrar", "enrol", "--name", "deploy", "--key", stub.folder + "/r.jwk"]
      for (jwk, mode) in [(key.privateJWK, 0o600), (key.publicJWK.bareJSON, 0o644), (key.publicJWK.bareJSON, 0o600)] {
        try stub.write("r.jwk", Array(StubDaemon.text(jwk).utf8), mode: mode)
        let outcome = try await run(enrol)
        #expect(outcome.text == "reg_1 is enrolled (leaf 9).\n", "\(outcome.complaint)")
        #expect(stub.seen.last?.json == ["name": "deploy", "key": key.publicJWK.bareJSON])
        try FileManager.default.removeItem(atPath: stub.folder + "/r.jwk")
      }
      try stub.write("r.jwk", Array(StubDaemon.text(key.privateJWK).utf8), mode: 0o644)
      let count = stub.seen.count
      #expect(try await run(enrol).status == 77)
      #expect(try await run(["registrar", "enrol", "--name", "n", "--key", stub.folder + "/ca.pem"]).status == 65)
      #expect(try await run(["registrar", "enrol", "--name", "n", "--key", stub.folder + "/nowhere"]).status == 66)
      #expect(stub.seen.count == count)
      let listed = try await run(["registrar", "list"]).text
      #expect(
        listed.split(separator: "\n").last?.split(separator: " ") == ["reg_1", "active", "9", "abc"], "\(listed)")
      #expect(try await run(["registrar", "revoke", "reg_1"]).text == "reg_1 is revoked (leaf 10).\n")
      #expect(stub.seen.last?.path == "/v1/people/reg_1/revoke")
      #expect(try await run(["registrar", "revoke", "officer-1"]).status == 64)

      #expect(
        try await run(["svid", "revoke", "--serial", "5F:3A", "--expires-in", "1h"]).text
          == "5f3a is revoked (leaf 11).\nIt is not on the record as issued here: see whether it is mistyped.\n")
      #expect(stub.seen.last { $0.method == "POST" }?.json == ["serial": "5f3a", "expires_in": 3600])
      #expect(try await run(["svid", "revoke", "--jti", "x"]).status == 0)
      #expect(try await run(["svid", "revoke"]).status == 64)
    }
  }

  @Test("pages that do not go on are no endless loop")
  func endlessPages() async throws {
    let id = WorkloadPlanTests.id(1)
    try await StubDaemon.run({ _ in (200, ["entries": [], "next": .string(id)]) }) { stub in
      let client = try stub.client
      #expect(await ClientTests.error { _ = try await client.entries() } == OperatorError(.unexpectedAnswer, ""))
      #expect(stub.seen.count == 2)
    }
  }
}
