import KeyManifests
import Testing

/// A refusal: a line of the sample, what stands there instead, and the error.
struct BadManifest: Sendable {
  let at: Int
  let text: String?
  let code: ManifestError.Code
  let line: Int
  let member: String

  /// `line`: where the error is told, by default where the change is.
  init(_ at: Int, _ text: String?, _ code: ManifestError.Code, line: Int? = nil, _ member: String = "") {
    self.at = at
    self.text = text
    self.code = code
    self.line = line ?? at
    self.member = member
  }
}

/// A group of refusals.
struct BadGroup: Sendable, CustomTestStringConvertible {
  let name: String
  let cases: [BadManifest]

  var testDescription: String { name }

  init(_ name: String, _ cases: [BadManifest]) {
    self.name = name
    self.cases = cases
  }

  /// One member of the class `files`, or of a key, with values that it does not take.
  static func values(
    _ at: Int, _ path: String, _ code: ManifestError.Code = .value, _ values: [String], label: String? = nil
  ) -> [BadManifest] {
    let name = label ?? path.split(separator: ".").last.map(String.init) ?? ""
    return values.map { BadManifest(at, "    \(name): \($0)", code, path) }
  }

  static let all: [BadGroup] = [
    BadGroup(
      "characters",
      [
        BadManifest(2, "environment: &x test", .character),
        BadManifest(2, "environment: *x", .character),
        BadManifest(25, "    tenants: *", .character),
        BadManifest(2, "environment: !!str test", .character),
        BadManifest(2, "environment: !local test", .character),
        BadManifest(2, "environment: |", .character),
        BadManifest(2, "environment: >-", .character),
        BadManifest(2, "? environment", .character),
        BadManifest(2, "\u{25}YAML 1.1", .character),
        BadManifest(2, "<<: {a: b}", .character),
        BadManifest(2, "environment: `test`", .character),
        BadManifest(2, "environment: @test", .character),
        BadManifest(2, "environment: te\\st", .character),
        BadManifest(2, "environment: $TEST", .character),
        BadManifest(2, "environment: a=b", .character),
        BadManifest(2, "environment: a;b", .character),
        BadManifest(2, "environment: a^b", .character),
        BadManifest(2, "environment: ~", .character),
        BadManifest(2, "environment:\ttest", .character),
        BadManifest(2, "\tenvironment: test", .character),
        BadManifest(2, "environment: test\r", .character),
        BadManifest(2, "environment: tést", .character),
        BadManifest(2, "environment: test # tést", .character),
        BadManifest(2, "environment: test # \u{2028}&x", .character),
        BadManifest(2, "environment: test # \u{85}&x", .character),
        BadManifest(2, "environment: test # a\tb", .character),
        BadManifest(2, "environment: te\u{0}st", .character),
        BadManifest(2, "environment: te\u{7F}st", .character),
        BadManifest(1, "\u{FEFF}version: 1", .character),
        BadManifest(2, "environment: \"test", .character),
        BadManifest(2, "environment: 'test", .character),
        BadManifest(2, "environment: \"a b\"", .character),
        BadManifest(2, "environment: 'a, b'", .character),
        BadManifest(2, "environment: \"a #\" &x b", .character),
        BadManifest(2, "environment: \"te\\x73t\"", .character),
        BadManifest(2, "environment: don't", .character),
        BadManifest(2, "environment: a#b&c", .character),
        BadManifest(2, "\"environment #\": &x a", .character),
      ]),
    BadGroup(
      "nesting",
      [
        BadManifest(2, "environment: [[[[[x]]]]]", .tooDeep),
        BadManifest(2, "environment: {a: {a: {a: {a: {a: b}}}}}", .tooDeep),
        BadManifest(2, "environment: [[[\n  [[x]]]]]", .tooDeep, line: 3),
        BadManifest(2, "- - - - x", .tooDeep),
        BadManifest(2, "                 environment: test", .tooDeep),
        BadManifest(2, "environment: " + String(repeating: "[", count: 60_000), .tooDeep),
        BadManifest(2, "environment: " + String(repeating: "{a: ", count: 15_000), .tooDeep),
        BadManifest(2, String(repeating: "- ", count: 30_000), .tooDeep),
        BadManifest(
          2, (1...300).map { String(repeating: " ", count: $0) + "a:" }.joined(separator: "\n"), .tooDeep, line: 18),
      ]),
    BadGroup(
      "syntax",
      [
        BadManifest(2, "environment: a: b", .syntax),
        BadManifest(2, "environment: [a", .syntax, line: 3),
        BadManifest(2, "environment: a]]", .value, "environment"),
        BadManifest(2, "environment: [a}]", .syntax),
        BadManifest(2, "environment: {a: b", .syntax, line: 3),
        BadManifest(2, "environment test", .syntax, line: 3),
        BadManifest(2, "  environment: test", .syntax),
        BadManifest(2, "environment: - test", .syntax),
        BadManifest(2, "environment: \"test\"x", .syntax),
        BadManifest(2, "- environment: test", .syntax),
        BadManifest(2, "environment: test ]", .value, "environment"),
        BadManifest(2, "environment: test\n...", .syntax, line: 4),
        BadManifest(2, "environment: test\n---", .documents, line: 4),
        BadManifest(25, "    tenants: \"*\"\n---\nversion: 1", .documents, line: 27),
        BadManifest(25, "    tenants: \"*\"\n---\n", .documents, line: 28),
        BadManifest(25, "   tenants: \"*\"", .syntax),
      ]),
    BadGroup(
      "members",
      [
        BadManifest(2, "environment: test\nname: x", .unknownMember, line: 3, "name"),
        BadManifest(2, "Environment: test", .unknownMember, "Environment"),
        BadManifest(2, "environment: test\n\"\": x", .unknownMember, line: 3, ""),
        BadManifest(2, "environment: test\nenvironment: test", .duplicate),
        BadManifest(2, "environment: test\n\"environment\": test", .duplicate),
        BadManifest(16, "data_classes:\n  on: x\n  \"on\": x", .shape, line: 17, "data_classes.on"),
        BadManifest(2, "environment: test\n[a, b]: c", .shape, line: 3),
        BadManifest(2, "environment: test\n{a: b}: c", .shape, line: 3),
        BadManifest(2, nil, .missingMember, line: 1, "environment"),
        BadManifest(1, nil, .missingMember, "version"),
        BadManifest(5, nil, .missingMember, line: 5, "keys.root-ca.token"),
        BadManifest(9, nil, .missingMember, line: 5, "keys.root-ca.uses"),
        BadManifest(5, "    token: root\n    token: log", .duplicate),
        BadManifest(5, "    token: root\n    slot: 1", .unknownMember, line: 6, "keys.root-ca.slot"),
        BadManifest(10, "  root-ca:", .duplicate, line: 4),
        BadManifest(14, "    rotation: {each: 90d}", .unknownMember, "keys.oauth-a.rotation.each"),
        BadManifest(14, "    rotation: {}", .missingMember, "keys.oauth-a.rotation.every"),
        BadManifest(14, "    rotation: {every: 90d, at: 1d}", .unknownMember, "keys.oauth-a.rotation.at"),
        BadManifest(18, nil, .missingMember, "data_classes.files.algorithm"),
        BadManifest(24, nil, .missingMember, line: 18, "data_classes.files.destroy_after"),
        BadManifest(
          18, "    algorithm: AES-256-GCM\n    Algorithm: x", .unknownMember, line: 19, "data_classes.files.Algorithm"),
        BadManifest(
          19, "    rotate_every: 90d\n    rotate-every: 90d", .unknownMember, line: 20,
          "data_classes.files.rotate-every"),
        BadManifest(
          23, "    data_key: {max_age: 5m, max_uses: 1, max_bytes: 1GiB, max_size: 1}", .unknownMember,
          "data_classes.files.data_key.max_size"),
        BadManifest(
          23, "    data_key: {max_age: 5m, max_uses: 1}", .missingMember, "data_classes.files.data_key.max_bytes"),
        BadManifest(23, "    data_key: {max_age: 5m, max_age: 5m, max_uses: 1, max_bytes: 1GiB}", .duplicate),
      ]),
    BadGroup(
      "shapes",
      [
        BadManifest(1, "version: 1.0", .value, "version"),
        BadManifest(1, "version: \"1\"", .shape, "version"),
        BadManifest(1, "version: 2", .value, "version"),
        BadManifest(1, "version: 01", .value, "version"),
        BadManifest(1, "version: 0x1", .value, "version"),
        BadManifest(1, "version: +1", .value, "version"),
        BadManifest(1, "version: 1e0", .value, "version"),
        BadManifest(1, "version: [1]", .shape, "version"),
        BadManifest(1, "version:", .value, "version"),
        BadManifest(2, "environment:", .shape, "environment"),
        BadManifest(2, "environment: \"\"", .shape, "environment"),
        BadManifest(2, "environment: [test]", .shape, "environment"),
        BadManifest(2, "environment: {a: b}", .shape, "environment"),
        BadManifest(2, "environment: no", .shape, "environment"),
        BadManifest(2, "environment: null", .shape, "environment"),
        BadManifest(2, "environment: true", .shape, "environment"),
        BadManifest(2, "environment: 1", .shape, "environment"),
        BadManifest(2, "environment: 1.5", .shape, "environment"),
        BadManifest(2, "environment: 2026-01-01", .shape, "environment"),
        BadManifest(2, "environment: Test", .value, "environment"),
        BadManifest(2, "environment: te_st", .value, "environment"),
        BadManifest(2, "environment: -test", .value, "environment"),
        BadManifest(2, "environment: te st", .value, "environment"),
        BadManifest(2, "environment: \(String(repeating: "a", count: 65))", .value, "environment"),
        BadManifest(4, "  no:", .shape, "keys.no"),
        BadManifest(4, "  Root-CA:", .value, "keys.Root-CA"),
        BadManifest(17, "  on:", .shape, "data_classes.on"),
        BadManifest(17, "  Files:", .value, "data_classes.Files"),
        BadManifest(
          17, "  \(String(repeating: "f", count: 65)):", .value, "data_classes.\(String(repeating: "f", count: 64))"),
        BadManifest(17, "  files: x\n  others:", .shape, "data_classes.files"),
        BadManifest(23, "    data_key: 5m", .shape, "data_classes.files.data_key"),
        BadManifest(23, "    data_key: [5m]", .shape, "data_classes.files.data_key"),
      ]
        + BadGroup.values(8, "keys.root-ca.rotation", .shape, ["[ceremony]", "1", "yes"])
        + BadGroup.values(9, "keys.root-ca.uses", .shape, ["sign-certificates", "{a: b}", ""])
        + BadGroup.values(21, "data_classes.files.may_encrypt", .shape, ["owner", "{owner: agent}", ""])
        + BadGroup.values(19, "data_classes.files.rotate_every", .shape, ["[90d]", "{every: 90d}"])),
    BadGroup(
      "keys",
      BadGroup.values(5, "keys.root-ca.token", .value, ["hsm", "Root", "roots"])
        + BadGroup.values(6, "keys.root-ca.algorithm", .value, ["RSA-2048", "ed25519", "ECDSA-P521", "AES-256-GCM"])
        + BadGroup.values(
          6, "keys.root-ca.algorithm", .conflict, ["Ed25519", "AES-256-KWP", "HMAC-SHA-256", "RSA-2048-PKCS1-SHA-256"])
        + BadGroup.values(12, "keys.oauth-a.algorithm", .conflict, ["AES-256-KWP", "HMAC-SHA-256"])
        + BadGroup.values(
          7, "keys.root-ca.lifetime", .value, ["0s", "23h", "31y", "-1y", "10", "10 y", "1.5y", "never", "1y1d"])
        + BadGroup.values(8, "keys.root-ca.rotation", .value, ["never", "90d", "Ceremony"])
        + [BadManifest(8, "    rotation: {every: 1y}", .conflict, "keys.root-ca.rotation")]
        + [
          BadManifest(14, "    rotation: {every: 366d}", .conflict, "keys.oauth-a.rotation.every"),
          BadManifest(14, "    rotation: {every: 0s}", .value, "keys.oauth-a.rotation.every"),
          BadManifest(14, "    rotation: {every: 23h}", .value, "keys.oauth-a.rotation.every"),
          BadManifest(9, "    uses: []", .value, "keys.root-ca.uses"),
          BadManifest(9, "    uses: [sign-certificates, sign-certificates]", .duplicate, "keys.root-ca.uses[1]"),
          BadManifest(9, "    uses: [sign]", .value, "keys.root-ca.uses[0]"),
          BadManifest(9, "    uses: [sign-tokens]", .conflict, "keys.root-ca.uses"),
          BadManifest(15, "    uses: [sign-tokens, wrap-keys]", .conflict, "keys.oauth-a.uses"),
          BadManifest(15, "    uses: [sign-checkpoints]", .conflict, "keys.oauth-a.uses"),
        ]),
    BadGroup(
      "data classes",
      BadGroup.values(18, "data_classes.files.algorithm", .value, ["AES-128-GCM", "aes-256-gcm", "Ed25519"])
        + BadGroup.values(
          19, "data_classes.files.rotate_every", .value,
          [
            "0s", "23h", "86399s", "3651d", "11y", "never", "1mo", "1D", "01d", "1d ago", "99999999999999999d",
            "9999999999999999y", "",
          ])
        + BadGroup.values(20, "data_classes.files.retire_after", .value, ["0s", "23h", "101y", "Never", "no"])
        + BadGroup.values(24, "data_classes.files.destroy_after", .value, ["31d", "0", "2592001s", "1y", "never"])
        + BadGroup.values(25, "data_classes.files.tenants", .value, ["all", "\"**\"", "[]", ""])
        + BadGroup.values(25, "data_classes.files.tenants", .shape, ["{a: b}"])
        + BadGroup.values(21, "data_classes.files.may_encrypt", .value, ["[]"])
        + [
          BadManifest(21, "    may_encrypt: [owner, owner]", .duplicate, "data_classes.files.may_encrypt[1]"),
          BadManifest(21, "    may_encrypt: [root]", .value, "data_classes.files.may_encrypt[0]"),
          BadManifest(21, "    may_encrypt: [owner, \"*\"]", .value, "data_classes.files.may_encrypt[1]"),
          BadManifest(21, "    may_encrypt: [\"id:\"]", .value, "data_classes.files.may_encrypt[0]"),
          BadManifest(21, "    may_encrypt: [id:a/b]", .value, "data_classes.files.may_encrypt[0]"),
          BadManifest(
            21, "    may_encrypt: [id:\(String(repeating: "a", count: 65))]", .value,
            "data_classes.files.may_encrypt[0]"),
          BadManifest(21, "    may_encrypt: [[owner]]", .shape, "data_classes.files.may_encrypt[0]"),
          BadManifest(
            22, "    may_decrypt:\n      - owner\n      - nobody", .value, line: 24, "data_classes.files.may_decrypt[1]"
          ),
          BadManifest(25, "    tenants: [a, a]", .duplicate, "data_classes.files.tenants[1]"),
          BadManifest(25, "    tenants: [a/b]", .value, "data_classes.files.tenants[0]"),
          BadManifest(25, "    tenants: [\"*\"]", .value, "data_classes.files.tenants[0]"),
        ]
        + ["0s", "86401s", "2d", "5", "5M"].map {
          BadManifest(
            23, "    data_key: {max_age: \($0), max_uses: 1, max_bytes: 1GiB}", .value,
            "data_classes.files.data_key.max_age")
        }
        + ["0", "4294967297", "-1", "1.0", "1e3", "1_000", "many"].map {
          BadManifest(
            23, "    data_key: {max_age: 5m, max_uses: \($0), max_bytes: 1GiB}", .value,
            "data_classes.files.data_key.max_uses")
        }
        + ["1023B", "0B", "1025TiB", "2PiB", "64GB", "64gib", "64", "1.5GiB", "9999999999999999PiB"].map {
          BadManifest(
            23, "    data_key: {max_age: 5m, max_uses: 1, max_bytes: \($0)}", .value,
            "data_classes.files.data_key.max_bytes")
        }),
  ]
}
