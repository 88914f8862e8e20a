import TestSupport
import Testing
import Wire

@testable import WorkloadIdentity

@Suite("Registration entries")
struct EntryTests {
  static let domain = "example.org"
  static let least: JSONObject = [
    "spiffe_id": "spiffe://example.org/web", "parent_id": "spiffe://example.org/node", "selectors": ["unix:uid:1000"],
  ]

  private func read(_ object: JSONObject) throws -> RegistrationEntry {
    try RegistrationEntry(
      id: EntryID(random: SeededRandom(1)), reading: .object(object), trustDomain: TrustDomain(Self.domain))
  }

  private func with(_ name: String, _ value: JSONValue?) -> JSONObject {
    var object = Self.least
    object[name] = value
    return object
  }

  private static func texts(_ count: Int, _ text: (Int) -> String) -> JSONValue {
    .array((0..<count).map { .string(text($0)) })
  }

  private static func long(_ count: Int, _ text: String = "a") -> JSONValue {
    .string(String(repeating: text, count: count))
  }

  private static let label = String(repeating: "a", count: 63)
  /// 253 bytes: three labels of 63 and one of 61.
  private static let name = "\(label).\(label).\(label).\(label.dropLast(2))"

  static let accepted: [(String, [JSONValue])] = [
    (
      "spiffe_id", ["spiffe://example.org/a/b", .string("spiffe://example.org/" + String(repeating: "a", count: 2027))]
    ),
    ("parent_id", ["spiffe://example.org", "spiffe://example.org/spire/server"]),
    (
      "selectors",
      [
        texts(1) { "unix:uid:\($0)" }, texts(32) { "unix:uid:\($0)" }, ["unix:user:e\u{301}", "unix:user:\u{E9}"],
        [.string("unix:path:" + String(repeating: "a", count: 4352 - 10))],
      ]
    ),
    ("x509_svid_ttl", [60, 2_592_000]),
    ("jwt_svid_ttl", [10, 86_400]),
    (
      "dns_names",
      [
        [], ["a"], ["a.b", "*.a.b", "*.a"], ["1a.0.a1", "xn--a", "a--b"], [.string(name)], [.string(label)],
        texts(32) { "a\($0)" }, [.string("*." + String(name.dropFirst(2)))],
      ]
    ),
    ("hint", ["", "internal \u{1F600}", long(1024), long(512, "\u{E9}")]),
    ("admin", [true, false]),
    ("downstream", [true, false]),
    ("federates_with", [[], ["b.org", "a.org"], texts(64) { "d\($0)" }]),
    ("issues", [["x509"], ["jwt"], ["own_key"], ["own_key", "jwt", "x509"]]),
    ("audiences", [[], ["a", "A", " "], texts(64) { "a\($0)" }, [long(1024)]]),
    ("signatures_per_minute", [1, 100_000]),
  ]

  static let refused: [(String, [JSONValue?])] = [
    (
      "spiffe_id",
      [
        nil, "", "spiffe://example.org", "spiffe://other.org/web", "web", 1, .null, "spiffe://Example.org/web",
        .string("spiffe://example.org/" + String(repeating: "a", count: 2028)),
      ]
    ),
    ("parent_id", [nil, "", "spiffe://other.org/node", 1, "spiffe://example.org/"]),
    (
      "selectors",
      [
        nil, [], ["unix"], ["unix:"], [1], "unix:uid:1", texts(33) { "unix:uid:\($0)" }, ["unix:uid:1", "unix:uid:1"],
        [.string("unix:path:" + String(repeating: "a", count: 4353 - 10))], ["Unix:uid:1"], ["unix:uid:1\n"],
        ["unix:uid:1\u{85}"],
      ]
    ),
    ("x509_svid_ttl", [59, 2_592_001, 0, -1, "60", .double(60.5), .null, true]),
    ("jwt_svid_ttl", [9, 86_401, 0, -1, "60", .null]),
    (
      "dns_names",
      [
        [""], ["A"], ["a."], [".a"], ["a..b"], ["-a"], ["a-"], ["a_b"], ["a.*"], ["*"], ["*."], ["*a.b"], ["*.*.a"],
        ["a b"], ["10.0.0.1"], ["a.1"], ["1"], ["\u{E4}"], ["a", "a"], texts(33) { "a\($0)" }, [.string(name + "a")],
        [.string(label + "a")], [.string("*." + name)], [1], "a", .null, ["a/b"], ["a:1"], ["a\u{301}.b"],
      ]
    ),
    ("hint", [long(1025), long(513, "\u{E9}"), "a\n", "\u{7F}", "\u{85}", "\0", 1, .null]),
    ("admin", [1, "true", .null]),
    ("downstream", [0, "false", .null]),
    (
      "federates_with",
      [["example.org"], ["a.org", "a.org"], texts(65) { "d\($0)" }, ["spiffe://a.org"], ["A.org"], [""], "a.org", [1]]
    ),
    ("issues", [[], ["x509", "x509"], ["X509"], ["wit"], "x509", [1], .null, ["x509", "jwt", "own_key", "wit"]]),
    ("audiences", [[""], ["a", "a"], texts(65) { "a\($0)" }, [long(1025)], ["a\n"], [1], "a", .null]),
    ("signatures_per_minute", [0, 100_001, -1, "1", .null]),
    ("id", ["ent_AAAAAAAAAAAAAAAAAAAAAA"]),
    ("ttl", [60]),
  ]

  @Test("a member that keeps its rule is read, and written so that it reads alike", arguments: accepted.map(\.0))
  func accepts(_ name: String) throws {
    for value in try #require(Self.accepted.first { $0.0 == name }).1 {
      let entry = try read(with(name, value))
      #expect(try read(entry.json) == entry)
      #expect(
        try RegistrationEntry(id: entry.id, reading: .object(entry.json), trustDomain: TrustDomain(Self.domain)).json
          == entry.json)
    }
  }

  @Test("a member that breaks its rule is refused", arguments: refused.map(\.0))
  func refuses(_ name: String) throws {
    for value in try #require(Self.refused.first { $0.0 == name }).1 {
      #expect(throws: SPIFFEError(.entry, ""), "\(name): \(String(describing: value))") { try read(with(name, value)) }
    }
  }

  @Test("defaults are left out, and sets are sorted")
  func json() throws {
    let entry = try read(Self.least)
    #expect(entry.json == Self.least)
    #expect(entry.issues == [.x509, .jwt] && entry.hint.isEmpty && entry.x509TTL == nil && !entry.admin)
    var object = Self.least
    object["selectors"] = ["unix:uid:2", "unix:gid:9", "docker:a:b"]
    object["federates_with"] = ["b", "a"]
    object["dns_names"] = ["b", "a"]
    object["issues"] = ["own_key", "x509"]
    let written = try read(object).json
    #expect(written["selectors"] == ["docker:a:b", "unix:gid:9", "unix:uid:2"])
    #expect(written["federates_with"] == ["a", "b"] && written["dns_names"] == ["b", "a"])
    #expect(written["issues"] == ["x509", "own_key"])
    for name in ["x509_svid_ttl", "hint", "admin"] { #expect(written[name] == nil) }
    #expect(throws: SPIFFEError(.entry, "")) {
      try RegistrationEntry(id: entry.id, reading: [], trustDomain: TrustDomain(Self.domain))
    }
  }

  @Test("canonical equivalents are different texts")
  func equivalents() throws {
    #expect(try read(with("hint", "\u{E9}")) != read(with("hint", "e\u{301}")))
    #expect(try read(with("audiences", ["\u{E9}", "e\u{301}"])).audiences.count == 2)
  }

  @Test("ids: 16 bytes, one text, sorted as their text")
  func ids() throws {
    let random = SeededRandom(7)
    let ids = (0..<200).map { _ in EntryID(random: random) }
    #expect(ids.sorted().map(\.description) == ids.map(\.description).sorted())
    for id in ids { #expect(try EntryID(id.description) == id && id.bytes.count == 16) }
    #expect(try EntryID("ent_AAAAAAAAAAAAAAAAAAAAAA").bytes == [UInt8](repeating: 0, count: 16))
    for text in [
      "", "ent_", "ent_AAAAAAAAAAAAAAAAAAAAA", "ent_AAAAAAAAAAAAAAAAAAAAAAA", "ent_AAAAAAAAAAAAAAAAAAAAAB",
      "ENT_AAAAAAAAAAAAAAAAAAAAAA", "ent_AAAAAAAAAAAAAAAAAAAA==", "ent_AAAAAAAAAAAAAAAAAAAA+A",
      "ent_\u{301}AAAAAAAAAAAAAAAAAAAA",
    ] {
      #expect(throws: SPIFFEError(.entry, ""), "\(text)") { try EntryID(text) }
    }
  }

  @Test("the file of `entry apply`")
  func file() throws {
    func parse(_ text: String) throws -> EntryFile { try EntryFile(parsing: Array(text.utf8)) }
    let file = try parse(#"{"entries":[{"spiffe_id":"a"},{"id":"ent_AAAAAAAAAAAAAAAAAAAAAA","hint":"b"}]}"#)
    #expect(file.entries.map(\.id) == [nil, try EntryID("ent_AAAAAAAAAAAAAAAAAAAAAA")])
    #expect(file.entries.map(\.entry) == [["spiffe_id": "a"], ["hint": "b"]])
    #expect(try parse(#"{"entries":[]}"#).entries.isEmpty)
    #expect(
      try parse("{\"entries\":[" + Array(repeating: "{}", count: 50_000).joined(separator: ",") + "]}").entries.count
        == 50_000)
    for text in [
      "", "[]", "{}", #"{"entries":{}}"#, #"{"entries":[1]}"#, #"{"entries":[],"more":1}"#,
      #"{"entries":[],"entries":[]}"#,
      #"{"entries":[{"id":1}]}"#, #"{"entries":[{"id":"a"}]}"#, #"{"entries":[{"a":1,"a":1}]}"#,
      #"{"entries":[{"id":"ent_AAAAAAAAAAAAAAAAAAAAAA"},{"id":"ent_AAAAAAAAAAAAAAAAAAAAAA"}]}"#,
      "{\"entries\":[" + Array(repeating: "{}", count: 50_001).joined(separator: ",") + "]}",
    ] {
      #expect(throws: SPIFFEError(.entry, ""), "\(text.prefix(64))") { try parse(text) }
    }
    let start = Array("{\"entries\":[]}".utf8)
    func padded(_ count: Int) -> [UInt8] { start + [UInt8](repeating: 0x20, count: count - start.count) }
    #expect(try EntryFile(parsing: padded(EntryFile.maximumBytes)).entries.isEmpty)
    #expect(throws: SPIFFEError(.entry, "")) { try EntryFile(parsing: padded(EntryFile.maximumBytes + 1)) }
  }
}
