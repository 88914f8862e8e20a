import Foundation
import HSMProbe
import KeyHierarchy
import PKCS11
import Testing

@Suite("HSM profiles")
struct ProfileTests {
  static let generates = MechanismInfo.Uses(rawValue: 1 << 15)
  static let generatesPairs = MechanismInfo.Uses(rawValue: 1 << 16)

  /// A token that can do everything that the roles need.
  static func able() -> HSMProfile {
    HSMProfile(
      library: .init(manufacturer: "Maker", description: "A library", version: "1.2", cryptoki: "2.40"),
      token: .init(manufacturer: "Maker", model: "Model", serial: "7", hardware: "1.0", firmware: "2.10"),
      limits: .init(sessions: .atMost(16), writableSessions: .unknown, pinLength: (4, 255)),
      mechanisms: [
        .init(.aesGCM, [.encrypt, .decrypt], keys: (16, 32)), .init(.ecKeyPairGeneration, generatesPairs),
        .init(.ecdsa, .sign), .init(.edwardsKeyPairGeneration, generatesPairs), .init(.eddsa, .sign),
        .init(.hmacSHA256, .sign), .init(.genericSecretGeneration, generates), .init(.aesKeyGeneration, generates),
        .init(.aesKeyWrapPad, [.wrap, .unwrap]),
      ])
  }

  private func missing(_ role: TokenRole, _ profile: HSMProfile) -> [String] {
    profile.roles.first { $0.role == role }?.missing ?? ["no judgement"]
  }

  @Test("A token with every mechanism serves every role; what was not tried counts neither way") func all() {
    let roles = Self.able().roles
    #expect(roles.map(\.role) == TokenRole.allCases)
    #expect(roles.allSatisfy { $0.serves && $0.missing.isEmpty })
  }

  @Test(
    "A mechanism that is not there, by the roles that need it",
    arguments: [
      (.ecdsa, [.root, .identity]), (.ecKeyPairGeneration, [.root, .identity]), (.eddsa, [.log]),
      (.edwardsKeyPairGeneration, [.log]), (.hmacSHA256, [.data]), (.genericSecretGeneration, [.data]),
      (.aesKeyGeneration, [.data]), (.aesKeyWrapPad, [.data]), (.aesGCM, [.data]),
    ] as [(MechanismType, [TokenRole])])
  func absent(_ mechanism: MechanismType, _ roles: [TokenRole]) {
    var profile = Self.able()
    profile.mechanisms.removeAll { $0.type == mechanism }
    #expect(profile.roles.filter { !$0.serves }.map(\.role) == roles)
    for role in roles {
      #expect(missing(role, profile).count == 1)
      #expect(missing(role, profile).allSatisfy { $0.hasSuffix(", absent") })
    }
    profile = Self.able()
    for index in profile.mechanisms.indices where profile.mechanisms[index].type == mechanism {
      profile.mechanisms[index].uses = []
    }
    #expect(roles.allSatisfy { missing($0, profile).allSatisfy { $0.hasSuffix(", not for this use") } })
    #expect(profile.roles.filter { !$0.serves }.map(\.role) == roles)
  }

  @Test("Any of the three key wraps will do, if it wraps and unwraps", arguments: [0x2109, 0x210a, 0x210b] as [UInt])
  func wraps(_ number: UInt) {
    var profile = Self.able()
    profile.mechanisms.removeAll { $0.type == .aesKeyWrapPad }
    profile.mechanisms.append(.init(MechanismType(rawValue: number), .wrap))
    #expect(!missing(.data, profile).isEmpty)
    profile.mechanisms.append(.init(MechanismType(rawValue: number), [.wrap, .unwrap]))
    #expect(missing(.data, profile).isEmpty)
  }

  @Test("A use that a token announces and does not do, or does badly") func failings() {
    func judged(_ role: TokenRole, _ change: (inout Behaviour) -> Void) -> [String] {
      var profile = Self.able()
      change(&profile.behaviour)
      #expect(profile.roles.filter { !$0.serves }.allSatisfy { $0.role == role || role == .root })
      return missing(role, profile)
    }
    #expect(judged(.root) { $0.ecdsa.digest = .refused("CKR_X") } == ["ECDSA signatures, refused with CKR_X"])
    #expect(judged(.root) { $0.ecdsa.digest = .found(.works) } == [])
    #expect(judged(.root) { $0.ecdsa.longDigest = .found(.cut) } == [])
    #expect(judged(.log) { $0.eddsa.oid = .refused("CKR_X") } == ["Ed25519 key pairs, refused with CKR_X"])
    #expect(judged(.log) { $0.eddsa.name = .refused("CKR_X") } == [])
    #expect(judged(.data) { $0.sessionObjects = .found(.stored) } == ["session objects, stored on the token"])
    #expect(judged(.data) { $0.sessionObjects = .refused("CKR_X") } == ["session objects, refused with CKR_X"])
    #expect(judged(.data) { $0.sessionObjects = .found(.works) } == [])
    #expect(judged(.data) { $0.unwrapTemplate.opposed = .found(.open) } == ["CKA_UNWRAP_TEMPLATE, not enforced"])
    #expect(judged(.data) { $0.unwrapTemplate.opposed = .found(.locked) } == [])
    #expect(judged(.data) { $0.unwrapTemplate.opposed = .refused("CKR_X") } == [])
    #expect(judged(.data) { $0.unwrapTemplate.restated = .found(.open) } == ["CKA_UNWRAP_TEMPLATE, without effect"])
    #expect(judged(.data) { $0.gcm.badTag = .found(.accepted) } == ["CKM_AES_GCM tags, not checked"])
    #expect(judged(.data) { $0.gcm.badTag = .refused("CKR_X") } == [])
    #expect(judged(.data) { $0.gcm.iv = .found(.token) }.count == 1)
    #expect(judged(.data) { $0.gcm.iv = .found(.caller) } == [])
    #expect(judged(.data) { $0.keyWrapPad.roundTrip = .refused("CKR_X") } == ["AES key wrap, refused with CKR_X"])
    #expect(
      judged(.data) {
        $0.keyWrapPad.roundTrip = .refused("CKR_X")
        $0.keyWrap.roundTrip = .found(.works)
      } == [])
    #expect(judged(.data) { $0.random = .refused("CKR_X") } == ["random bytes, refused with CKR_X"])
  }

  @Test("The document's top") func head() {
    let text = Self.able().yaml(comments: ["a comment", ""])
    #expect(
      text.hasPrefix(
        """
        # a comment
        #
        tested: true
        library:
          manufacturer: Maker
          description: A library
          version: "1.2"
          cryptoki: "2.40"
        token:
          manufacturer: Maker
          model: Model
          serial: "7"
          hardware: "1.0"
          firmware: "2.10"
        limits:
          sessions: 16
          writable_sessions: unknown
          pin_length: [4, 255]
        roles:
          root:
            serves: true
            missing: []

        """))
    #expect(text.hasSuffix("  CKM_AES_KEY_WRAP_PAD: {number: 0x210a, uses: [wrap, unwrap], key_sizes: [0, 0]}\n"))
    #expect(text == Self.able().yaml(comments: ["a comment", ""]))
  }

  @Test("Mechanisms stand by number, unnamed ones with theirs") func mechanisms() {
    var profile = Self.able()
    profile = HSMProfile(
      library: profile.library, token: profile.token, limits: profile.limits,
      mechanisms: [.init(MechanismType(rawValue: 0x8000_0001), []), .init(.ecdsa, [.sign], keys: (256, 521))])
    let lines = profile.yaml().split(separator: "\n").suffix(2)
    #expect(
      lines == [
        "  CKM_ECDSA: {number: 0x1041, uses: [sign], key_sizes: [256, 521]}",
        "  CKM_0x80000001: {number: 0x80000001, uses: [], key_sizes: [0, 0]}",
      ])
    profile.mechanisms = []
    #expect(profile.yaml().hasSuffix("mechanisms: {}\n"))
  }

  @Test(
    "What a token says of itself stays one scalar",
    arguments: [
      ("SoftHSM project", "SoftHSM project"), ("", "\"\""), ("1.0", "\"1.0\""), ("true", "\"true\""), ("No", "\"No\""),
      ("null", "\"null\""), ("a: b", "\"a: b\""), ("a #b", "\"a #b\""), ("- a", "\"- a\""),
      ("a\nb: c", "\"a\\u000ab: c\""),
      ("say \"x\" \\", "\"say \\\"x\\\" \\\\\""), ("ü", "\"\\u00fc\""), ("a ", "\"a \""), ("[a]", "\"[a]\""),
      ("\u{1f511}", "\"\\U0001f511\""), ("SW   TPM", "SW   TPM"), ("&a", "\"&a\""), ("unknown", "\"unknown\""),
    ])
  func scalars(_ text: String, _ written: String) {
    var profile = Self.able()
    profile.token.model = text
    #expect(profile.yaml().contains("\n  model: \(written)\n"))
  }

  @Test("A finding's text") func findings() {
    #expect(Finding<Behaviour.EmptyIV>.found(.made).text == "made by the token")
    #expect(Finding<Behaviour.EmptyIV>.refused("CKR_X").text == "refused with CKR_X")
    #expect(Finding<Behaviour.EmptyIV>.absent.text == "absent")
    #expect(Finding<Behaviour.EmptyIV>.untried("why").text == "untried, why")
    #expect(Finding<Behaviour.EmptyIV>.found(.zeros).value == .zeros)
    #expect(Finding<Behaviour.EmptyIV>.absent.value == nil)
  }
}

/// The documents that nobody measured.
@Suite("Profiles from documentation")
struct VendorDocumentTests {
  static let names = ["cloudhsm.yaml", "luna.yaml", "nethsm.yaml", "yubihsm2.yaml"]

  let shape: [String] = ProfileTests.able().yaml().split(separator: "\n").map(String.init)

  private func lines(_ name: String) throws -> [String] {
    try String(contentsOf: ProfileDocuments.folder.appendingPathComponent(name), encoding: .utf8)
      .split(separator: "\n").map(String.init)
  }

  private func keys(_ lines: [String]) -> [Substring] {
    lines.filter { !$0.hasPrefix("#") && !$0.hasPrefix("      - ") && !$0.contains("{number:") }
      .compactMap { $0.split(separator: ":", maxSplits: 1).first }
  }

  @Test("They have the fields of a measured one, and say that they are none", arguments: names)
  func fields(_ name: String) throws {
    let lines = try lines(name)
    #expect(keys(lines) == keys(shape))
    #expect(lines.contains("tested: false"))
  }

  @Test("Every fact names a source that is listed", arguments: names)
  func sources(_ name: String) throws {
    let lines = try lines(name)
    let sources = lines.filter { $0.hasPrefix("#   [") }
    #expect(!sources.isEmpty)
    var cited: Set<Int> = []
    let roles = try #require(lines.firstIndex(of: "roles:"))
    let behaviour = try #require(lines.firstIndex(of: "behaviour:"))
    for (index, line) in lines.enumerated() where !line.hasPrefix("#") {
      let numbers = (1...9).filter { line.drop { $0 != "#" }.contains("[\($0)]") }
      cited.formUnion(numbers)
      #expect(numbers.allSatisfy { $0 <= sources.count }, "\(line)")
      // Roles follow from the rest, and what is absent or unknown states no fact.
      guard line.hasPrefix("  "), !(roles..<behaviour).contains(index), !line.hasSuffix(":") else { continue }
      let value = line.split(separator: ": ", maxSplits: 1).last ?? ""
      #expect(value.hasPrefix("unknown") || value == "absent" || !numbers.isEmpty, "no source: \(line)")
    }
    #expect(cited == Set(1...sources.count), "\(name) lists a source that it does not cite")
  }

  @Test("A mechanism that a role lacks is said to be missing", arguments: names)
  func roles(_ name: String) throws {
    let lines = try lines(name)
    var profile = ProfileTests.able()
    let flags: [Substring: UInt] = [
      "encrypt": 1 << 8, "decrypt": 1 << 9, "sign": 1 << 11, "generate": 1 << 15, "generate_key_pair": 1 << 16,
      "wrap": 1 << 17, "unwrap": 1 << 18,
    ]
    profile.mechanisms = lines.filter { $0.contains("{number: 0x") }.compactMap { line in
      let number = line.components(separatedBy: "{number: 0x")[1].prefix { $0.isHexDigit }
      let uses = line.components(separatedBy: "uses: [")[1].prefix { $0 != "]" }.split(separator: ",")
      let value = uses.reduce(UInt(0)) { $0 | (flags[$1.drop { $0 == " " }] ?? 0) }
      return UInt(number, radix: 16).map { .init(MechanismType(rawValue: $0), .init(rawValue: value)) }
    }
    for judgement in profile.roles {
      let start = try #require(lines.firstIndex(of: "  \(judgement.role.rawValue):"))
      let said = lines[(start + 3)...].prefix { $0.hasPrefix("      - ") }.map { String($0.dropFirst(8)) }
      switch lines[start + 1] {
      case "    serves: true": #expect(judgement.serves && said.isEmpty)
      case "    serves: false":
        #expect(!said.isEmpty)
        #expect(name == "luna.yaml" || judgement.missing.allSatisfy(said.contains), "\(judgement)")
      // The mechanisms are not all documented.
      default: #expect(name == "luna.yaml" && said.isEmpty)
      }
    }
  }
}
