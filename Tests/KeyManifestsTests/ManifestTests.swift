import Foundation
import KeyHierarchy
import KeyManifests
import TestSupport
import Testing
import Wire

@Suite("Key manifests")
struct ManifestTests {
  @Test("the shipped files read, and agree with the keys of this version", arguments: ["development", "production"])
  func files(_ name: String) throws {
    let manifest = try KeyManifest(yaml: try ManifestFiles.bytes(name + ".yaml"))
    #expect(manifest.environment == name)
    #expect(manifest.dataClasses.map(\.name) == ["documents", "files", "pii"])
    #expect(manifest.differences().isEmpty)
  }

  @Test("the development manifest that is compiled in is the file")
  func compiledIn() throws {
    #expect(try KeyManifest.development() == KeyManifest(yaml: try ManifestFiles.bytes("development.yaml")))
  }

  @Test("a refused manifest tells its code, line and member, and what to do", arguments: BadGroup.all)
  func refused(_ group: BadGroup) {
    var tally = Tally("bad manifests, \(group.name)")
    for bad in group.cases {
      let shown = "line \(bad.at) as '\(bad.text?.prefix(80) ?? "")'"
      do throws(ManifestError) {
        _ = try KeyManifest(yaml: Sample.changing(bad.at, to: bad.text))
        tally.expect(false, "\(shown) was accepted")
      } catch {
        tally.expect(
          error.code == bad.code && error.line == bad.line && error.member == bad.member && !error.message.isEmpty,
          "\(shown): \(error.code) \(error) instead of \(bad.code), line \(bad.line), \(bad.member)")
      }
    }
    tally.report()
  }

  @Test("a file that is empty or no mapping is refused")
  func noMapping() {
    for (text, code) in [
      ("", ManifestError.Code.documents), ("# nothing\n", .documents), ("---\n", .shape), ("a\n", .shape),
      ("[a]\n", .shape), ("- a\n", .shape), ("{}\n", .missingMember),
    ] {
      let error = #expect(throws: ManifestError.self, "\(text)") { try KeyManifest(yaml: text) }
      #expect(error?.code == code, "\(text): \(String(describing: error))")
    }
    #expect(throws: ManifestError.self) { try KeyManifest(yaml: [0x76, 0xFF, 0xFE]) }
  }

  @Test("what is laid out otherwise but says the same has the same digest")
  func canonical() throws {
    let manifest = try KeyManifest(yaml: Sample.text)
    let flow = """
      ---
      {data_classes: {files: {tenants: '*', destroy_after: 1w, retire_after: "never", algorithm: AES-256-GCM,
        data_key: {max_bytes: 65536MiB, max_uses: 1000000, max_age: 300s}, may_decrypt: ['owner'],
        may_encrypt: [agent, owner], rotate_every: 2160h}},  # a comment with "quotes & 'so on
       environment: "test", version: 1, keys: {
        oauth-a: {uses: [sign-tokens], rotation: {every: 90d}, lifetime: 365d, algorithm: ECDSA-P256, token: identity},
        root-ca: {uses: [sign-certificates], rotation: ceremony, lifetime: 10y, algorithm: ECDSA-P384, token: root}}}
      """
    let other = try KeyManifest(yaml: flow)
    #expect(other == manifest)
    #expect(other.digest == manifest.digest)
    #expect(
      String(decoding: manifest.json.canonical(), as: UTF8.self)
        == #"{"data_classes":{"files":{"algorithm":"AES-256-GCM","data_key":{"max_age":300,"max_bytes":68719476736,"#
        + #""max_uses":1000000},"destroy_after":604800,"may_decrypt":["owner"],"may_encrypt":["agent","owner"],"#
        + #""retire_after":"never","rotate_every":7776000,"tenants":"*"}},"environment":"test","keys":{"#
        + #""oauth-a":{"algorithm":"ECDSA-P256","lifetime":31536000,"rotation":{"every":7776000},"token":"identity","#
        + #""uses":["sign-tokens"]},"root-ca":{"algorithm":"ECDSA-P384","lifetime":315360000,"rotation":"ceremony","#
        + #""token":"root","uses":["sign-certificates"]}},"version":1}"#)
    for (line, text) in [
      (2, "environment: other"), (7, "    lifetime: 9y"), (24, "    destroy_after: 0s"), (25, "    tenants: [a]"),
      (20, "    retire_after: 1y"), (8, "    rotation: ceremony\n  "), (22, "    may_decrypt: [agent]"),
    ] {
      let changed = try KeyManifest(yaml: Sample.changing(line, to: text))
      #expect((changed.digest == manifest.digest) == (changed == manifest), "\(text)")
    }
  }

  @Test("durations and sizes on both sides of their grammar and bounds")
  func units() throws {
    for (text, seconds) in [
      ("86400s", 86_400), ("1440m", 86_400), ("24h", 86_400), ("1d", 86_400), ("1w", 604_800), ("1y", 31_536_000),
      ("10y", 315_360_000), ("3650d", 315_360_000), ("\"90d\"", 7_776_000),
    ] {
      #expect(try Sample.manifest("rotate_every", text).dataClasses[0].rotateEvery == .seconds(seconds), "\(text)")
    }
    for (text, seconds) in [("0s", 0), ("0d", 0), ("30d", 2_592_000), ("1s", 1)] {
      #expect(try Sample.manifest("destroy_after", text).dataClasses[0].destroyAfter == .seconds(seconds), "\(text)")
    }
    for (text, age) in [("1d", 86_400), ("100y", 3_153_600_000)] {
      #expect(try Sample.manifest("retire_after", text).dataClasses[0].retireAfter == .seconds(age), "\(text)")
    }
    #expect(try Sample.manifest("retire_after", "never").dataClasses[0].retireAfter == nil)
    for (age, uses, bytes, expected) in [
      ("1s", "1", "1KiB", 1024), ("1d", "4294967296", "1PiB", 1 << 50), ("60m", "1000", "1024B", 1024),
      ("5m", "7", "64GiB", 64 << 30), ("5m", "7", "2MiB", 2 << 20), ("5m", "7", "3TiB", 3 << 40),
    ] {
      let bounds = try Sample.manifest("data_key", "{max_age: \(age), max_uses: \(uses), max_bytes: \(bytes)}")
        .dataClasses[0].dataKey
      #expect(bounds.bytes == Int64(expected))
      #expect(String(bounds.uses) == uses)
    }
  }

  @Test("limits on both sides: bytes, keys, classes, lists, names")
  func limits() throws {
    let padding = "#" + String(repeating: "x", count: KeyManifest.maximumBytes - Sample.text.utf8.count - 2) + "\n"
    #expect(throws: Never.self) { try KeyManifest(yaml: Sample.text + padding) }
    let long = #expect(throws: ManifestError.self) { try KeyManifest(yaml: Sample.text + "#" + padding) }
    #expect(long?.code == .tooLong)

    func classes(_ count: Int) -> String {
      let members = Sample.lines[17...].joined(separator: "\n")
      return Sample.lines[..<16].joined(separator: "\n") + "\n"
        + (0..<count).map { "  class-\($0):\n\(members)\n" }.joined()
    }
    #expect(try KeyManifest(yaml: classes(64)).dataClasses.count == 64)
    #expect(throws: ManifestError.self) { try KeyManifest(yaml: classes(65)) }

    func keys(_ count: Int) -> String {
      let members = Sample.lines[10..<15].joined(separator: "\n")
      return Sample.lines[..<3].joined(separator: "\n") + "\n"
        + (0..<count).map { "  key-\($0):\n\(members)\n" }.joined() + Sample.lines[15...].joined(separator: "\n")
    }
    #expect(try KeyManifest(yaml: keys(64)).keys.count == 64)
    let many = #expect(throws: ManifestError.self) { try KeyManifest(yaml: keys(65)) }
    #expect(many?.code == .tooMany && many?.line == 4 && many?.member == "keys")

    func list(_ prefix: String, _ count: Int) -> String {
      "[" + (0..<count).map { prefix + String($0) }.joined(separator: ", ") + "]"
    }
    #expect(try Sample.manifest("may_encrypt", list("id:p", 64)).dataClasses[0].mayEncrypt.count == 64)
    let principals = #expect(throws: ManifestError.self) { try Sample.manifest("may_encrypt", list("id:p", 65)) }
    #expect(principals?.code == .tooMany)
    #expect(throws: Never.self) { try Sample.manifest("tenants", list("ten_", 1024)) }
    #expect(throws: ManifestError.self) { try Sample.manifest("tenants", list("ten_", 1025)) }

    let name = String(repeating: "a", count: 64)
    #expect(try KeyManifest(yaml: Sample.changing(2, to: "environment: \(name)")).environment == name)
    #expect(try KeyManifest(yaml: Sample.changing(2, to: "environment: \"0\"")).environment == "0")
    let tenant = "Ten_" + String(repeating: "x", count: 60)
    #expect(try Sample.manifest("tenants", "[\(tenant)]").dataClasses[0].has(tenant: tenant))
    #expect(throws: ManifestError.self) { try Sample.manifest("tenants", "[\(tenant)x]") }
  }

  @Test("a manifest that declares other keys is told which")
  func differences() throws {
    let manifest = try KeyManifest(yaml: Sample.text)
    #expect(manifest.differences(from: [.rootCA, .oauthA]).isEmpty)
    #expect(manifest.differences(from: [.rootCA]) == [.extra(.oauthA)])
    #expect(manifest.differences(from: [.logA, .rootCA, .oauthA]) == [.missing(.logA)])
    let other = KeyName(.root, "root-ca", .ecdsaP256)
    #expect(manifest.differences(from: [other, .oauthA]) == [.differs(declared: .rootCA, used: other)])
    let moved = KeyName(.log, "oauth-a", .ed25519)
    #expect(manifest.differences(from: [.rootCA, moved]) == [.differs(declared: .oauthA, used: moved)])
    let expected = (KeyName.all + KeyName.prepared).filter { !$0.isOptional && $0 != .rootCA && $0 != .oauthA }
    #expect(Set(manifest.differences()) == Set(expected.map { .missing($0) }))
    #expect(manifest.differences(from: [.rootCA, .oauthA, .svidJWTRSA]).isEmpty)
    #expect(manifest.differences(from: [.rootCA, .oauthA, .svidJWTB]) == [.missing(.svidJWTB)])
    for difference in manifest.differences() { #expect(difference.description.contains("add it")) }

    // The next key of a pair may stand there before it is used, but only as its like.
    let next = Sample.lines[9..<15].joined(separator: "\n").replacingOccurrences(of: "oauth-a", with: "oauth-b")
    let pair = Sample.changing(15, to: Sample.lines[14] + "\n" + next)
    #expect(try KeyManifest(yaml: pair).differences(from: [.rootCA, .oauthA]).isEmpty)
    let unlike = pair.replacingOccurrences(
      of: "oauth-b:\n    token: identity\n    algorithm: ECDSA-P256",
      with: "oauth-b:\n    token: identity\n    algorithm: Ed25519")
    #expect(
      try KeyManifest(yaml: unlike).differences(from: [.rootCA, .oauthA])
        == [.extra(KeyName(.identity, "oauth-b", .ed25519))])
  }

  @Test("RSA keys sign tokens, and nothing else")
  func rsa() throws {
    let text = Sample.changing(12, to: "    algorithm: RSA-2048-PKCS1-SHA-256")
    #expect(try KeyManifest(yaml: text).keys.map(\.name.algorithm) == [.rsa2048, .ecdsaP384])
    for use in ["sign-certificates", "serve-tls", "sign-checkpoints"] {
      let error = #expect(throws: ManifestError.self) {
        try KeyManifest(yaml: text.replacingOccurrences(of: "sign-tokens", with: use))
      }
      #expect(error?.code == .conflict && error?.member == "keys.oauth-a.uses")
    }
  }

  @Test("a class permits whom it names, for tenants that it has")
  func permissions() throws {
    let all = try #require(try KeyManifest(yaml: Sample.text).dataClass("files"))
    #expect(all.permits(.encrypt, .owner, id: "own_1", tenant: "ten_1"))
    #expect(all.permits(.encrypt, .agent, id: "agt_1", tenant: "ten_1"))
    #expect(!all.permits(.decrypt, .agent, id: "agt_1", tenant: "ten_1"))
    #expect(!all.permits(.encrypt, .bank, id: "owner", tenant: "ten_1"))
    let named = try #require(try Sample.manifest("may_decrypt", "[id:off_1, bank]").dataClass("files"))
    #expect(named.permits(.decrypt, .officer, id: "off_1", tenant: "ten_1"))
    #expect(!named.permits(.decrypt, .officer, id: "off_2", tenant: "ten_1"))
    #expect(named.permits(.decrypt, .bank, id: "bnk_1", tenant: "ten_1"))
    let one = try #require(try Sample.manifest("tenants", "[ten_1]").dataClass("files"))
    #expect(one.permits(.decrypt, .owner, id: "own_1", tenant: "ten_1"))
    #expect(!one.permits(.decrypt, .owner, id: "own_1", tenant: "ten_2"))
    #expect(try KeyManifest(yaml: Sample.text).dataClass("pii") == nil)
  }

  @Test("errors are equal by code and tell line and member")
  func errors() {
    let error = #expect(throws: ManifestError.self) { try Sample.manifest("destroy_after", "31d") }
    #expect(error?.description.hasPrefix("line 24: data_classes.files.destroy_after: write a duration") == true)
    #expect(error?.description.hasSuffix("from 0s to 30d") == true)
    let size = #expect(throws: ManifestError.self) {
      try Sample.manifest("data_key", "{max_age: 1s, max_uses: 1, max_bytes: 2PiB}")
    }
    #expect(size == error)
    #expect(size?.message.hasSuffix("from 1KiB to 1PiB") == true)
  }

  @Test("mutated manifests are read or refused, and what is read reads the same again (fuzz)")
  func fuzz() throws {
    let random = SeededRandom(0x6D61_6E69_6665_7374)
    let seeds = [try ManifestFiles.bytes("development.yaml"), Array(Sample.text.utf8)]
    let inserting = Array(#"[]{}-:,#"'&*!|>%@ 01d"#.utf8) + [10, 9, 13, 0, 0x80]
    var accepted = 0
    for round in 0..<Fuzz.rounds {
      let input = Fuzz.mutated(seeds[round % seeds.count], random, inserting: inserting)
      guard let manifest = try? KeyManifest(yaml: input) else { continue }
      accepted += 1
      #expect(try KeyManifest(yaml: input + Array("\n# again\n".utf8)).digest == manifest.digest)
    }
    print("fuzz: key manifest: \(Fuzz.rounds) inputs, \(accepted) accepted and read again")
  }
}
