import ArgumentParser
import Testing
import Wire
import WorkloadIdentity

@testable import OperatorClient
@testable import trustcore

@Suite("What apply does")
struct WorkloadPlanTests {
  static let node = "spiffe://example.org/node"

  static func id(_ number: UInt8) -> String { "ent_" + Base64.URL.encode([UInt8](repeating: number, count: 16)) }

  static func entry(_ path: String, _ selectors: [String] = ["unix:uid:1"], id: UInt8? = nil, more: JSONObject = [:])
    -> JSONObject
  {
    var entry: JSONObject = [
      "spiffe_id": .string("spiffe://example.org" + path), "selectors": .array(selectors.map(JSONValue.string)),
    ]
    if let id { entry["id"] = .string(Self.id(id)) }
    for member in more { entry[member.name] = member.value }
    return entry
  }

  /// As the daemon lists it.
  static func listed(_ path: String, _ selectors: [String] = ["unix:uid:1"], id: UInt8, more: JSONObject = [:])
    -> JSONObject
  {
    let listing: JSONObject = ["parent_id": .string(node), "leaf_index": 7]
    return entry(path, selectors, id: id, more: listing.merging(more))
  }

  static func plan(
    _ file: [JSONObject], _ present: [JSONObject], prune: Bool = false
  ) throws -> WorkloadEntryPlan {
    let text = JSONValue.object(["entries": .array(file.map(JSONValue.object))]).canonical()
    return try WorkloadEntryPlan(
      EntryFile(parsing: text), present: present, trustDomain: TrustDomain("example.org"), parent: node, prune: prune)
  }

  struct Row: Sendable, CustomStringConvertible {
    let description: String
    let file: [JSONObject]
    let present: [JSONObject]
    var prune = false
    /// created, updated, deleted, unchanged
    let outcome: [Int]
  }

  static let rows: [Row] = [
    Row(description: "nothing and nothing", file: [], present: [], outcome: [0, 0, 0, 0]),
    Row(description: "new", file: [entry("/a")], present: [], outcome: [1, 0, 0, 0]),
    Row(description: "the same", file: [entry("/a")], present: [listed("/a", id: 1)], outcome: [0, 0, 0, 1]),
    Row(
      description: "the same in another order, with defaults said",
      file: [
        entry("/a", ["unix:uid:2", "unix:gid:1"], more: ["admin": false, "hint": "", "issues": ["jwt", "x509"]])
      ],
      present: [listed("/a", ["unix:gid:1", "unix:uid:2"], id: 1)], outcome: [0, 0, 0, 1]),
    Row(
      description: "the same with its parent said", file: [entry("/a", more: ["parent_id": .string(node)])],
      present: [listed("/a", id: 1)], outcome: [0, 0, 0, 1]),
    Row(
      description: "as it was listed", file: [listed("/a", id: 1)], present: [listed("/a", id: 1)],
      outcome: [0, 0, 0, 1]),
    Row(
      description: "changed", file: [entry("/a", more: ["hint": "x"])], present: [listed("/a", id: 1)],
      outcome: [0, 1, 0, 0]),
    Row(
      description: "a member taken away", file: [entry("/a")], present: [listed("/a", id: 1, more: ["hint": "x"])],
      outcome: [0, 1, 0, 0]),
    Row(
      description: "DNS names in another order are others",
      file: [entry("/a", more: ["dns_names": ["b.example", "a.example"]])],
      present: [listed("/a", id: 1, more: ["dns_names": ["a.example", "b.example"]])], outcome: [0, 1, 0, 0]),
    Row(
      description: "other selectors are another entry", file: [entry("/a", ["unix:uid:2"])],
      present: [listed("/a", id: 1)], outcome: [1, 0, 0, 0]),
    Row(
      description: "another parent is another entry",
      file: [entry("/a", more: ["parent_id": "spiffe://example.org/other"])], present: [listed("/a", id: 1)],
      outcome: [1, 0, 0, 0]),
    Row(
      description: "by id, with other selectors", file: [entry("/a", ["unix:uid:2"], id: 1)],
      present: [listed("/a", id: 1)], outcome: [0, 1, 0, 0]),
    Row(
      description: "what the file lacks stays", file: [entry("/a")],
      present: [listed("/a", id: 1), listed("/b", id: 2)], outcome: [0, 0, 0, 1]),
    Row(
      description: "what the file lacks is pruned", file: [entry("/a")],
      present: [listed("/a", id: 1), listed("/b", id: 2)], prune: true, outcome: [0, 0, 1, 1]),
    Row(
      description: "all of it", file: [entry("/a", more: ["hint": "x"]), entry("/c")],
      present: [listed("/a", id: 1), listed("/b", id: 2)], prune: true, outcome: [1, 1, 1, 0]),
  ]

  @Test("by table", arguments: rows)
  func table(row: Row) throws {
    let plan = try Self.plan(row.file, row.present, prune: row.prune)
    #expect(
      [plan.creations.count, plan.updates.count, plan.deletions.count, plan.unchanged] == row.outcome)
    #expect(plan.commands().count == (plan.count == 0 ? 0 : 1))
    // What the daemon has then is what the file says: a second run does nothing.
    var after = row.present.filter { !plan.deletions.contains($0["id"]?.string ?? "") }
    for update in plan.updates {
      after = after.map { $0["id"]?.string == update.id ? update.entry.merging(["id": .string(update.id)]) : $0 }
    }
    after += plan.creations.enumerated().map { $1.merging(["id": .string(Self.id(UInt8(100 + $0)))]) }
    #expect(try Self.plan(row.file, after, prune: row.prune).count == 0)
  }

  @Test("is refused where the file cannot be meant")
  func refused() throws {
    func message(_ file: [JSONObject], _ present: [JSONObject] = []) -> String? {
      do {
        _ = try Self.plan(file, present)
        return nil
      } catch let error as OperatorError { return error.exitCode == 65 ? error.message : nil } catch { return nil }
    }
    let twice = message([Self.entry("/a"), Self.entry("/a")])
    #expect(twice == "Element 1 of 'entries' is the same entry as one before it: say each once.")
    #expect(
      message([Self.entry("/a", id: 1), Self.entry("/a", ["unix:uid:2"])], [Self.listed("/a", ["unix:uid:2"], id: 1)])
        != nil)
    #expect(message([Self.entry("/a", id: 9)])?.contains("leave 'id' out") == true)
    #expect(message([Self.entry("/a", more: ["unknown": 1])])?.hasPrefix("Element 0") == true)
    #expect(message([Self.entry("/a", [])])?.hasPrefix("Element 0") == true)
  }

  @Test("goes in commands of at most 1,000 changes and 900,000 bytes, the new first")
  func commands() throws {
    func many(_ count: Int, _ more: JSONObject = [:]) -> [JSONObject] {
      (0..<count).map { Self.entry("/n\($0)", more: more) }
    }
    #expect(try Self.plan(many(1000), []).commands().map(\.changes) == [1000])
    let commands = try Self.plan(many(1001), [Self.listed("/b", id: 2)], prune: true).commands()
    #expect(commands.map(\.changes) == [1000, 2])
    #expect(commands[0].body.map(\.name) == ["create"])
    #expect(commands[1].body["delete"] == [.string(Self.id(2))])
    let long = many(1000, ["hint": .string(String(repeating: "h", count: 1024))])
    let bySize = try Self.plan(long, []).commands()
    #expect(bySize.count == 2 && bySize.map(\.changes).reduce(0, +) == 1000)
    #expect(bySize.allSatisfy { JSONValue.object($0.body).canonical().count <= 1 << 20 })
  }

  @Test("options become members, and what is not said stays")
  func options() throws {
    func changing(_ line: [String], _ entry: JSONObject) throws -> JSONObject {
      try EntryOptions.parse(line).changing(entry)
    }
    #expect(
      try changing(
        [
          "--spiffe-id", "spiffe://e/a", "--parent-id", "spiffe://e/n", "--selector", "unix:uid:1", "--selector",
          "unix:gid:1", "--x509-ttl", "1h30m", "--jwt-ttl", "90", "--dns", "a.example", "--hint", "h", "--admin",
          "--no-downstream", "--federates-with", "b.org", "--issues", "x509", "--audience", "c", "--jwt-algorithm",
          "RS256", "--signatures-per-minute", "7",
        ], [:]) == [
          "spiffe_id": "spiffe://e/a", "parent_id": "spiffe://e/n", "selectors": ["unix:uid:1", "unix:gid:1"],
          "x509_svid_ttl": 5400, "jwt_svid_ttl": 90, "dns_names": ["a.example"], "hint": "h", "admin": true,
          "downstream": false, "federates_with": ["b.org"], "issues": ["x509"], "audiences": ["c"],
          "jwt_algorithm": "RS256", "signatures_per_minute": 7,
        ])
    let present: JSONObject = ["spiffe_id": "s", "dns_names": ["a"], "x509_svid_ttl": 60, "hint": "h"]
    #expect(try changing(["--hint", "g"], present) == present.merging(["hint": "g"]))
    #expect(
      try changing(["--dns", "", "--x509-ttl", "default", "--hint", ""], present) == ["spiffe_id": "s"])
    #expect(try EntryOptions.parse([]).isEmpty)
    #expect(try !EntryOptions.parse(["--dns", ""]).isEmpty)
    for (text, seconds) in [("0", 0), ("90s", 90), ("5m", 300), ("1h", 3600), ("2d", 172_800), ("1h5s", 3605)] {
      #expect(EntryTime(argument: text)?.number == .value(Int64(seconds)))
    }
    for text in ["", "h", "1x", "1h5", "-1", "1.5h", "99999999999999999999s", "9223372036854775807d"] {
      #expect(EntryTime(argument: text) == nil, "\(text)")
    }
  }
}

extension JSONObject {
  /// The members of another one in place of those of the same names.
  func merging(_ other: JSONObject) -> JSONObject {
    var object = self
    for member in other { object[member.name] = member.value }
    return object
  }
}
