import OperatorClient
import Testing
import Wire

@testable import trustcore

@Suite("What people read")
struct RenderingTests {
  @Test("numbers, sizes, times")
  func wording() {
    #expect(
      [0, 999, 1000, 1_234_567, -1200].map { Wording.number($0) } == ["0", "999", "1,000", "1,234,567", "-1,200"])
    #expect(Wording.count(1, "key") == "1 key")
    #expect(Wording.count(2, "leaf", "leaves") == "2 leaves")
    #expect(
      [0, 1, 1023, 1024, 1536, 102_400, 1_048_575, 1 << 20, 1 << 30, 1500 << 40].map { Wording.size($0) } == [
        "0 bytes", "1 byte", "1,023 bytes", "1.0 KiB", "1.5 KiB", "100 KiB", "1,023 KiB", "1.0 MiB", "1.0 GiB",
        "1,500 TiB",
      ])
    #expect(
      [0, 59, 60, 3599, 3600, 7500].map { Wording.seconds($0) } == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 5 min",
      ])
    #expect(Wording.visible("a\u{1B}[31mb\u{202E}\n") == "a?[31mb??")
    #expect(
      Wording.table(["A", "Count"], numbers: [1], [["long", "7"], ["x", "1234567"]]) == """
        A       Count
        long        7
        x     1234567
        """)
    #expect(Wording.table(["A", "B"], [["x", ""]]) == "A  B\nx")
    #expect(
      Wording.table(["A", "B"], [["x", "1"], ["y", "2"]], below: [["one", "two"], []]) == """
        A  B
        x  1
          one
          two
        y  2
        """)
    let word = String(repeating: "x", count: 90)
    #expect(Wording.folded("a b\tc \(word) " + "de f") == "a b?c\n  \(word)\n  de f")
    #expect(Wording.folded(String(repeating: "ab ", count: 26) + "ab") == String(repeating: "ab ", count: 26) + "ab")
    #expect(Wording.folded("") == "")
  }

  private func isNarrow(_ text: String) -> Bool { text.split(separator: "\n").allSatisfy { $0.count <= 80 } }

  @Test("entries: selectors below each other, so that a hash fits")
  func entries() {
    let hash = "unix:sha256:" + String(repeating: "0123456789abcdef", count: 4)
    let text = EntryReport.list(
      [
        [
          "id": "ent_AAECAwQFBgcICQoLDA0ODw", "spiffe_id": "spiffe://example.org/payments/web",
          "selectors": ["unix:uid:1000", .string(hash)], "hint": "internal",
        ], ["id": "ent_BBECAwQFBgcICQoLDA0ODw", "spiffe_id": "spiffe://example.org/b", "selectors": ["a:b"]],
      ], of: 2)
    #expect(
      text == """
        Entry                       SPIFFE ID                          Hint
        ent_AAECAwQFBgcICQoLDA0ODw  spiffe://example.org/payments/web  internal
          unix:uid:1000
          \(hash)
        ent_BBECAwQFBgcICQoLDA0ODw  spiffe://example.org/b             -
          a:b
        """)
    #expect(isNarrow(text))
    #expect(EntryReport.list([], of: 0) == "No entries: make one with 'trustcore entry create'.")
    #expect(EntryReport.list([], of: 1) == "The one entry does not match.")
    #expect(EntryReport.list([], of: 1200) == "None of the 1,200 entries matches.")
  }

  @Test("federations: where each is fetched from, and why it is not")
  func federations() {
    let reason =
      "federation_identity: the endpoint did not prove 'spiffe://other.org/bundle/endpoint': ask its operator whether "
      + "it is the one that is meant"
    let text = FederationReport.list([
      "federations": [
        ["trust_domain": "given.org", "has_bundle": true],
        [
          "trust_domain": "good.org", "has_bundle": true, "bundle_endpoint_profile": "https_web",
          "bundle_endpoint_url": "https://good.org/.well-known/spiffe-bundle", "failures": 0,
          "last_success": "2026-11-21T10:00:00.000Z", "next": "2026-11-21T10:05:00.000Z",
        ],
        [
          "trust_domain": "other.org", "has_bundle": false, "bundle_endpoint_profile": "https_spiffe",
          "bundle_endpoint_url": "https://other.org:8443/.well-known/spiffe-bundle",
          "endpoint_spiffe_id": "spiffe://other.org/bundle/endpoint", "failures": 3, "last_success": .null,
          "last_error": ["at": "2026-11-21T10:03:00.000Z", "reason": .string(reason)],
          "next": "2026-11-21T10:07:00.000Z",
        ],
        [
          "trust_domain": "third.org", "has_bundle": true, "bundle_endpoint_profile": "https_web",
          "bundle_endpoint_url": "https://third.org/b", "failures": 1, "last_success": "2026-11-21T09:00:00.000Z",
          "last_error": ["at": "2026-11-21T10:03:00.000Z", "reason": "federation_timeout: too\u{1B} slow"],
          "refreshing": true,
        ],
      ]
    ])
    #expect(
      text == """
        Trust domain  Bundle   Profile
        given.org     there    -
        good.org      there    https_web
          https://good.org/.well-known/spiffe-bundle
        other.org     missing  https_spiffe
          https://other.org:8443/.well-known/spiffe-bundle
          spiffe://other.org/bundle/endpoint
        third.org     there    https_web
          https://third.org/b

        other.org fails: federation_identity: the endpoint did not prove
          'spiffe://other.org/bundle/endpoint': ask its operator whether it is the one
          that is meant (failures: 3, never fetched, tried again at
          2026-11-21T10:07:00.000Z)
        third.org fails: federation_timeout: too? slow (failures: 1, last fetched at
          2026-11-21T09:00:00.000Z, tried again now)
        """, "\(text)")
    #expect(isNarrow(text))
    #expect(FederationReport.list(["federations": []]) == "No other trust domain is trusted.")
  }

  @Test("SVIDs: no wider than a terminal")
  func svids() {
    let text = SVIDFiles.words([
      "svids": [
        [
          "spiffe_id": "spiffe://example.org/payments/web", "expires": "2026-11-21T10:00:00.000Z",
          "serial": "00112233445566778899aabbccddeeff", "dns_names": ["web.example", "www.example"], "hint": "h",
        ], ["spiffe_id": "spiffe://example.org/b", "expires": "2026-11-21T10:00:00.000Z", "serial": "0b"],
      ], "federated": ["other.org"],
    ])
    #expect(
      text == """
        SPIFFE ID                          Until                     Hint
        spiffe://example.org/payments/web  2026-11-21T10:00:00.000Z  h
          Serial 00112233445566778899aabbccddeeff
          DNS web.example
          DNS www.example
        spiffe://example.org/b             2026-11-21T10:00:00.000Z  -
          Serial 0b

        Federated with: other.org
        """, "\(text)")
    #expect(isNarrow(text))
  }

  @Test("progress, with and without a known size, never wider than a terminal")
  func progress() {
    let meter = ProgressMeter(total: 1000 << 20)
    #expect(
      meter.line(done: 420 << 20, after: .milliseconds(1400))
        == " 42%  [==========>             ]  420 MiB of 1,000 MiB  300 MiB/s  1 s left")
    #expect(meter.line(done: 0, after: .zero) == "  0%  [>                       ]  0 bytes of 1,000 MiB")
    #expect(
      meter.line(done: 1001 << 20, after: .seconds(1))
        == "100%  [========================]  1,000 MiB of 1,000 MiB  1,000 MiB/s  0 s left")
    #expect(ProgressMeter(total: nil).line(done: 3 << 20, after: .seconds(2)) == "3.0 MiB  1.5 MiB/s")
    #expect(ProgressMeter(total: 0).line(done: 0, after: .seconds(1)) == "0 bytes  0 bytes/s")
    #expect(meter.summary(done: 1000 << 20, after: .seconds(4)) == "1,000 MiB in 4 s, 250 MiB/s")
    for done in [0, 1, UInt64.max / 2, UInt64.max] {
      for elapsed in [Duration.zero, .milliseconds(1), .seconds(1), .seconds(Int64.max / 2)] {
        let line = ProgressMeter(total: .max).line(done: done, after: elapsed)
        #expect(line.count <= 79 && line.utf8.allSatisfy { (0x20...0x7E).contains($0) })
      }
    }
  }

  @Test("a rewrap is told at each tenth where nobody looks")
  func steps() throws {
    func progress(_ done: Int64) throws -> RewrapProgress {
      try #require(RewrapProgress(["rewrap": ["rewrapped": .integer(done), "total": 5000]]))
    }
    var quiet = StepReporter(everyTime: false)
    var told: [String] = []
    for done in [0, 1, 499, 500, 501, 2600, 2700, 5000] {
      if let line = quiet.line(try progress(Int64(done))) { told.append(line) }
    }
    #expect(
      told == [
        "rewrapped 0 of 5,000", "rewrapped 500 of 5,000", "rewrapped 2,600 of 5,000", "rewrapped 5,000 of 5,000",
      ])
    var loud = StepReporter(everyTime: true)
    #expect(loud.line(try progress(1)) != nil)
    #expect(loud.line(try progress(1)) != nil)
    #expect(RewrapProgress([:]) == nil)
    #expect(RewrapProgress(["rewrap": ["rewrapped": -1, "total": 5]]) == nil)
  }

  static let status: JSONObject = [
    "mode": "running", "environment": "development", "trust_domain": "x.dev.invalid",
    "log_origin": "x.dev.invalid/log", "log_size": 1234, "hsm": "developmentHSM", "hsm_operations": 1,
    "tokens": [
      ["role": "root", "member": 0, "label": "root", "state": "closed", "in_use": false, "reason": ""],
      ["role": "data", "member": 0, "label": "data", "state": "ready", "in_use": true, "reason": ""],
      [
        "role": "data", "member": 1, "label": "data-2", "state": "down", "in_use": false,
        "reason": "C_OpenSession CKR_TOKEN_NOT_PRESENT (reinitialise)",
      ],
    ],
    "hostile_unwrap": "refused", "keys": ["active": 1200, "disabled": 1, "destroyed": 0],
    "data_key_cache": ["held": 12, "capacity": 1024, "hits": 98, "misses": 2],
    "keys_mode": "open",
    "tasks": [
      ["kind": "rewrap", "key": "key_1", "rewrapped": 1200, "total": 5000, "rate": 830, "seconds_left": 5]
    ],
  ]

  @Test("status")
  func statusReport() {
    let report = StatusReport(json: Self.status)
    #expect(
      report.text == """
        Mode            running
        Environment     development
        Trust domain    x.dev.invalid
        Log             x.dev.invalid/log, 1,234 leaves
        HSM             developmentHSM, 1 operation
        Hostile unwrap  refused by the token (tried at start)
        Keys            1,200 active, 1 disabled
        Data-key cache  12 of 1,024 held, 98 % of look-ups found there
        Waiting         rewrap of key_1 (rewrapped 1,200 of 5,000, 830/s, 5 s left)

        Role  Member  Label   State   Used  Reason
        root       0  root    closed  no    -
        data       0  data    ready   yes   -
        data       1  data-2  down    no    C_OpenSession CKR_TOKEN_NOT_PRESENT (reinitialise)
        """)
    #expect(report.obstacles == ["token data/1 is down"])
    #expect(throws: OperatorError(.notReady, "")) { try report.demandReadiness() }
    #expect(
      StatusReport(json: ["keys_mode": "waiting", "keys_reason": "no token"]).obstacles == [
        "keys are waiting (no token)"
      ])
    #expect(StatusReport(json: ["mode": "read_only"]).obstacles == ["the daemon is read_only"])
    #expect(StatusReport(json: ["mode": "running", "tokens": []]).obstacles.isEmpty)
    // The root token is logged in during ceremonies only; any other that is closed is not ready.
    #expect(StatusReport(json: ["tokens": [["role": "root", "state": "closed"]]]).obstacles.isEmpty)
    #expect(
      StatusReport(json: ["tokens": [["role": "log", "state": "closed"]]]).obstacles == ["token log/0 is closed"])
    #expect(StatusReport(json: ["hostile_unwrap": .null]).text.contains("not tried"))
    #expect(StatusReport(json: ["keys": [:], "tasks": []]).text == "Keys     none\nWaiting  nothing")
  }

  @Test("lists and pages of keys")
  func keys() {
    #expect(KeyReport.list([:]) == "No keys yet: make one with 'trustcore keys create --class NAME'.")
    let keys: JSONObject = [
      "keys": [
        ["key": "key_1", "tenant": "acme", "class": "files", "version": 2, "state": "active", "leaf_index": 7],
        ["key": "key_22", "tenant": "acme", "class": "pii", "version": 1, "state": "disabled", "leaf_index": 9],
      ]
    ]
    #expect(
      KeyReport.list(keys) == """
        Key     Tenant  Class  Version  State
        key_1   acme    files        2  active
        key_22  acme    pii          1  disabled
        """)
    #expect(
      KeyReport.show([
        "key": "key_1", "state": "active", "leaf_index": 12,
        "versions": [["version": 1, "state": "retired"], ["version": 2, "state": "active"]],
        "rewrap": ["rewrapped": 10, "total": 20],
      ]) == """
        Key         key_1
        State       active
        Leaf index  12

        rewrapped 10 of 20

        Version  State
              1  retired
              2  active
        """)
    #expect(
      KeyReport.done("is rotated")(["key": "key_1", "version": 3, "leaf_index": 1017])
        == "key_1 is rotated, version 3 (leaf 1,017).")
    #expect(KeyReport.done("is made")(["key": "key_1\u{1B}[2J"]) == "key_1?[2J is made.")
    #expect(
      KeyReport.done("is made")(["key": "key_1", "task_state": "pending", "leaf_index": 4])
        == "key_1: ordered, and not done yet (leaf 4).")
  }

  @Test("the receipt of a destruction says what backups can still reach")
  func destruction() {
    func answer(_ reach: JSONValue) -> JSONObject {
      let content: JSONValue = [
        "key": "key_1", "records": [["record": "key_1/1"], ["record": "key_1/2"]],
        "facts": ["data_keys": 5000, "nodes": ["node-1"], "reach": reach],
      ]
      return [
        "key": "key_1", "task_state": "done", "task_leaf_index": 17, "leaf_index": 16, "command_id": "cmd_9",
        "destruction": ["content": .string(Base64.URL.encode(content.canonical()))],
      ]
    }
    #expect(
      KeyReport.destruction(
        answer([
          "copies_since": "2027-01-15T08:00:00.000Z", "copies_until": "2027-02-15T08:00:00.000Z",
          "open_with": ["token:ab12", "recovery:7f3e"],
        ])) == """
          key_1 is destroyed (leaf 17): 2 versions, 5,000 data keys.
          Dropped by: node-1.
          What backups can still reach:
            Copies of the database made from 2027-01-15T08:00:00.000Z to 2027-02-15T08:00:00.000Z
            still hold the key, wrapped. It opens with any one of:
              - token:ab12
              - recovery:7f3e
            TrustCore replays this destruction before it serves from such a copy.
            To put the key out of everybody's reach, destroy those copies or those keys.
          The receipt is that of command cmd_9.
          """)
    #expect(
      KeyReport.destruction(answer(["open_with": []])).contains("Nothing: no copy of the database holds the key."))
    #expect(
      KeyReport.destruction([
        "key": "key_1", "task_state": "pending", "leaf_index": 16,
        "tasks": [
          ["kind": "destroy", "not_before": "2027-02-01T00:00:00.000Z", "obstacle": "the data token is away"]
        ],
      ]) == """
        key_1 is going to be destroyed (leaf 16).
        Not before 2027-02-01T00:00:00.000Z; 'keys enable' calls it off.
        It waits: the data token is away
        """)
  }

  @Test("modules, tokens and roles")
  func modules() {
    var soft = ModuleInventory(name: "softhsm2")
    soft.tokens = [
      .init(label: "data", serial: "1f2e", model: "SoftHSM v2", mechanisms: 70, pin: "usable"),
      .init(label: "log", serial: "a", model: "SoftHSM v2", mechanisms: 7, pin: "final try"),
    ]
    var broken = ModuleInventory(name: "broken")
    broken.failure = "C_Initialize: CKR_GENERAL_ERROR"
    #expect(
      ModuleInventory.text([soft, broken, ModuleInventory(name: "empty")]) == """
        Module    Token  Serial  Model       Mechanisms  PIN
        softhsm2  data   1f2e    SoftHSM v2          70  usable
        softhsm2  log    a       SoftHSM v2           7  final try

        broken  C_Initialize: CKR_GENERAL_ERROR
        empty   no initialised token
        """)
    #expect(ModuleInventory.text([]) == "p11-kit is configured with no module that loads.")
    let roles = RoleReport(rows: [("root", []), ("data", ["CKM_AES_GCM, absent", "random bytes, refused"])])
    #expect(
      roles.text == """
        Role  Serves  Missing
        root  yes     -
        data  no      CKM_AES_GCM, absent
                      random bytes, refused
        """)
    #expect(roles.json["roles"]?.array?.last?.object?["serves"] == false)
  }
}
