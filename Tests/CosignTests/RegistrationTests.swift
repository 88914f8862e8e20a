import COSE
import Cosign
import JOSE
import SoftwareAuthenticator
import TestSupport
import Testing
import Wire

/// The rules for registrations, one case each; `accepted` marks the controls.
@Suite("Registrations")
struct RegistrationTests {
  struct Case: Sendable {
    let name: String
    let code: String
    var faults = Faults()
    var purpose = CredentialPurpose.approval
    var isSynced = false
    var offered: [COSEAlgorithm] = [.es256, .edDSA, .rs256]
    var made: Int64 = -7
    var json: @Sendable (JSONValue) -> JSONValue = { $0 }

    init(_ name: String, _ code: String = "accepted", _ set: (inout Case) -> Void = { _ in }) {
      (self.name, self.code) = (name, code)
      set(&self)
    }
  }

  /// Replaces the first occurrence of bytes.
  static func replacing(_ old: [UInt8], with new: [UInt8]) -> @Sendable ([UInt8]) -> [UInt8] {
    { bytes in
      guard let at = bytes.indices.first(where: { bytes[$0...].starts(with: old) }) else { return bytes }
      return Array(bytes[..<at]) + new + Array(bytes[(at + old.count)...])
    }
  }

  static func members(_ members: JSONObject) -> (inout Case) -> Void { { $0.faults.clientDataMembers = members } }

  static let clientData: [Case] = [
    Case("control"),
    Case("second origin") { $0.faults.origin = "https://second.example:8443" },
    Case("webauthn.get", "webauthn_type") { $0.faults.type = "webauthn.get" },
    Case("type in capitals", "webauthn_type") { $0.faults.type = "webauthn.CREATE" },
    Case("type empty", "webauthn_type") { $0.faults.type = "" },
    Case("type absent", "webauthn_malformed") {
      $0.faults.clientData = replacing(Array(#","type":"webauthn.create""#.utf8), with: [])
    },
    Case("other challenge", "webauthn_challenge") { $0.faults.challenge = [UInt8](repeating: 0x5B, count: 32) },
    Case("shorter challenge", "webauthn_challenge") { $0.faults.challenge = [UInt8](repeating: 0x5A, count: 31) },
    Case("challenge empty", "webauthn_challenge") { $0.faults.challenge = [] },
    Case("challenge padded", "webauthn_challenge", members(["challenge": .string(Base64.encode(Ceremony.challenge))])),
    Case(
      "challenge with loose bits", "webauthn_challenge",
      members(["challenge": .string(Base64.URL.encode(Ceremony.challenge).dropLast() + "p")])),
    Case("challenge a number", "webauthn_malformed", members(["challenge": 1])),
    Case("other origin", "webauthn_origin") { $0.faults.origin = "https://approvals.example.com" },
    Case("origin with port", "webauthn_origin") { $0.faults.origin = "https://approvals.example.org:443" },
    Case("origin over http", "webauthn_origin") { $0.faults.origin = "http://approvals.example.org" },
    Case("origin with slash", "webauthn_origin") { $0.faults.origin = "https://approvals.example.org/" },
    Case("origin in capitals", "webauthn_origin") { $0.faults.origin = "https://Approvals.example.org" },
    Case("origin below", "webauthn_origin") { $0.faults.origin = "https://x.approvals.example.org" },
    Case("origin above", "webauthn_origin") { $0.faults.origin = "https://example.org" },
    Case("origin null", "webauthn_origin") { $0.faults.origin = "null" },
    Case("origin with prefix", "webauthn_origin") { $0.faults.origin = "https://approvals.example.org.evil.test" },
    Case("crossOrigin", "webauthn_cross_origin", members(["crossOrigin": true])),
    Case("crossOrigin no truth value", "webauthn_malformed", members(["crossOrigin": "false"])),
    Case("crossOrigin null", "webauthn_malformed", members(["crossOrigin": .null])),
    Case("topOrigin", "webauthn_cross_origin", members(["topOrigin": "https://example.com"])),
    Case("topOrigin the same", "webauthn_cross_origin", members(["topOrigin": .string(Ceremony.origin)])),
    Case("topOrigin null", "webauthn_cross_origin", members(["topOrigin": .null])),
    Case("crossOrigin absent") { $0.faults.clientData = replacing(Array(#""crossOrigin":false,"#.utf8), with: []) },
    Case("unknown member", "accepted", members(["other_keys_can_be_added_here": ["a": [.double(1.5)]]])),
    Case("white space") { $0.faults.clientData = { Array("  ".utf8) + $0 + Array("\n".utf8) } },
    Case("member twice", "webauthn_malformed") {
      $0.faults.clientData = { Array(#"{"type":"webauthn.create","#.utf8) + $0.dropFirst() }
    },
    Case("byte-order mark", "webauthn_malformed") { $0.faults.clientData = { [0xEF, 0xBB, 0xBF] + $0 } },
    Case("no JSON", "webauthn_malformed") { $0.faults.clientData = { _ in Array("webauthn".utf8) } },
    Case("no object", "webauthn_malformed") { $0.faults.clientData = { [0x5B] + $0 + [0x5D] } },
    Case("8192 bytes") { $0.faults.clientData = { $0 + [UInt8](repeating: 0x20, count: 8192 - $0.count) } },
    Case("8193 bytes", "webauthn_malformed") {
      $0.faults.clientData = { $0 + [UInt8](repeating: 0x20, count: 8193 - $0.count) }
    },
    Case("nested 8 deep", "accepted", members(["x": [[[[[[[]]]]]]]])),
    Case("nested 9 deep", "webauthn_malformed", members(["x": [[[[[[[[]]]]]]]]])),
  ]

  static let authenticatorData: [Case] = [
    Case("other relying party", "webauthn_rp_id") { $0.faults.relyingPartyID = "example.org" },
    Case("no UP", "webauthn_user_presence") { $0.faults.userPresent = false },
    Case("no UP, UV", "webauthn_user_presence") {
      $0.faults.userPresent = false
      $0.faults.userVerified = true
    },
    Case("no UV", "webauthn_user_verification") { $0.faults.userVerified = false },
    Case("no UV to sign in", "webauthn_user_verification") {
      $0.faults.userVerified = false
      $0.purpose = .signIn
    },
    Case("BS without BE", "webauthn_backup_state") { $0.faults.backupState = true },
    Case("BS without BE to sign in", "webauthn_backup_state") {
      $0.faults.backupState = true
      $0.purpose = .signIn
    },
    Case("BE to approve", "webauthn_backup_eligible") { $0.faults.backupEligible = true },
    Case("synced to approve", "webauthn_backup_eligible") { $0.isSynced = true },
    Case("BE to sign in") {
      $0.faults.backupEligible = true
      $0.purpose = .signIn
    },
    Case("synced to sign in") {
      $0.isSynced = true
      $0.purpose = .signIn
    },
    Case("reserved flags") { $0.faults.flippedFlags = 0x22 },
    Case("AT without credential", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.prefix(37)) } },
    Case("credential without AT", "webauthn_malformed") { $0.faults.flippedFlags = 0x40 },
    Case("neither AT nor credential", "webauthn_malformed") {
      $0.faults.authenticatorData = { Array($0.prefix(32)) + [5] + $0[33..<37] }
    },
    Case("36 bytes", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.prefix(36)) } },
    Case("credential cut", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.prefix(37 + 17)) } },
    Case("identifier cut", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.prefix(37 + 18 + 31)) } },
    Case("key cut", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.dropLast()) } },
    Case("key absent", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.prefix(37 + 18 + 32)) } },
    Case("bytes behind", "webauthn_malformed") { $0.faults.authenticatorData = { $0 + [0] } },
    Case("extensions without ED", "webauthn_malformed") { $0.faults.authenticatorData = { $0 + [0xA0] } },
    Case("ED without extensions", "webauthn_malformed") { $0.faults.flippedFlags = 0x80 },
    Case("extensions") { $0.faults.extensions = ["credProtect": 2, "hmac-secret": true, "prf": ["enabled": true]] },
    Case("extensions empty") { $0.faults.extensions = [:] },
    Case("extensions an array", "webauthn_malformed") { $0.faults.extensions = [1] },
    Case("extensions by number", "webauthn_malformed") { $0.faults.extensions = [1: 2] },
    Case("32 extensions") { $0.faults.extensions = extensions(32) },
    Case("33 extensions", "webauthn_malformed") { $0.faults.extensions = extensions(33) },
    Case("extensions of 4096 bytes") { $0.faults.extensions = ["x": .bytes([UInt8](repeating: 0, count: 4090))] },
    Case("extensions of 4097 bytes", "webauthn_malformed") {
      $0.faults.extensions = ["x": .bytes([UInt8](repeating: 0, count: 4091))]
    },
    Case("bytes behind extensions", "webauthn_malformed") {
      $0.faults.extensions = [:]
      $0.faults.authenticatorData = { $0 + [0] }
    },
    Case("identifier of 1 byte") { $0.faults.credentialID = [7] },
    Case("identifier of 1023 bytes") { $0.faults.credentialID = [UInt8](repeating: 7, count: 1023) },
    Case("identifier of 1024 bytes", "webauthn_malformed") {
      $0.faults.credentialID = [UInt8](repeating: 7, count: 1024)
    },
    Case("identifier empty", "webauthn_malformed") { $0.faults.credentialID = [] },
    Case("AAGUID of zeros") {
      $0.faults.authenticatorData = { Array($0.prefix(37)) + [UInt8](repeating: 0, count: 16) + $0[53...] }
    },
  ]

  private static func extensions(_ count: Int) -> CBOR {
    var map: CBORMap = [:]
    for index in 0..<count { map[.text("x\(index)")] = true }
    return .map(map)
  }

  /// The key with a member set, or removed.
  static func key(_ label: CBOR, _ value: CBOR?) -> (inout Case) -> Void {
    {
      $0.faults.publicKey = { key in
        guard var map = key.map else { return key }
        map[label] = value
        return .map(map)
      }
    }
  }

  static let keys: [Case] = [
    Case("EdDSA") { $0.made = -8 },
    Case("RS256") { $0.made = -257 },
    Case("not offered: ES256", "webauthn_algorithm") { $0.offered = [.edDSA] },
    Case("not offered: EdDSA", "webauthn_algorithm") {
      $0.offered = [.es256, .rs256]
      $0.made = -8
    },
    Case("offered but not verified: ES384", "webauthn_algorithm") {
      $0.offered = [.es384]
      $0.made = -35
    },
    Case("nothing offered", "webauthn_algorithm") { $0.offered = [] },
    Case("alg of another type", "webauthn_algorithm", key(3, -8)),
    Case("alg absent", "webauthn_algorithm", key(3, nil)),
    Case("crv P-384", "webauthn_algorithm", key(-1, 2)),
    Case("crv Ed25519", "webauthn_algorithm", key(-1, 6)),
    Case("kty OKP", "webauthn_algorithm", key(1, 1)),
    Case("kty absent", "webauthn_malformed", key(1, nil)),
    Case("private member", "webauthn_malformed", key(-4, .bytes([1]))),
    Case("optional parameter", "webauthn_malformed", key(2, .bytes([1]))),
    Case("not on the curve", "webauthn_malformed", key(-3, .bytes([UInt8](repeating: 1, count: 32)))),
    Case("y compressed", "webauthn_algorithm", key(-3, true)),
    Case("x short", "webauthn_malformed", key(-2, .bytes([1]))),
    Case("Ed25519 of small order", "webauthn_malformed") {
      $0.made = -8
      key(-2, .bytes([1] + [UInt8](repeating: 0, count: 31)))(&$0)
    },
    Case("RSA e = 3", "webauthn_algorithm") {
      $0.made = -257
      key(-2, .bytes([3]))(&$0)
    },
    Case("no map", "webauthn_malformed") { $0.faults.publicKey = { _ in [1, 2] } },
  ]

  static func object(_ change: @escaping @Sendable (inout CBORMap) -> Void) -> (inout Case) -> Void {
    {
      $0.faults.attestationObject = { bytes in
        guard var map = (try? CBOR(decoding: bytes))?.map else { return bytes }
        change(&map)
        return CBOR.map(map).encoded
      }
    }
  }

  static let objects: [Case] =
    [
      Case("bytes behind the object", "webauthn_malformed") { $0.faults.attestationObject = { $0 + [0] } },
      Case("object cut", "webauthn_malformed") { $0.faults.attestationObject = { Array($0.dropLast()) } },
      Case("object empty", "webauthn_malformed") { $0.faults.attestationObject = { _ in [] } },
      Case("object indefinite", "webauthn_malformed") {
        $0.faults.attestationObject = { [0xBF] + $0.dropFirst() + [0xFF] }
      },
      Case("statement indefinite", "webauthn_malformed") {
        $0.faults.attestationObject = replacing(
          Array("gattStmt".utf8) + [0xA0], with: Array("gattStmt".utf8) + [0xBF, 0xFF])
      },
      Case("fmt twice", "webauthn_malformed") {
        $0.faults.attestationObject = { [0xA4] + Array("cfmtdnone".utf8) + $0.dropFirst() }
      },
      Case("length not minimal", "webauthn_malformed") {
        $0.faults.attestationObject = replacing(
          Array("cfmtdnone".utf8), with: Array("cfmt".utf8) + [0x78, 4] + Array("none".utf8))
      },
      Case("tag", "webauthn_malformed") {
        $0.faults.attestationObject = replacing(
          Array("cfmtdnone".utf8), with: Array("cfmt".utf8) + [0xC0] + Array("dnone".utf8))
      },
      Case("order of fido2's older versions") {
        // authData, fmt, attStmt: CTAP2 sorts otherwise, and any order is read.
        $0.faults.attestationObject = { bytes in
          guard let data = (try? CBOR(decoding: bytes))?.map?["authData"] else { return bytes }
          return [0xA3] + CBOR.text("authData").encoded + data.encoded + Array("cfmtdnonegattStmt".utf8) + [0xA0]
        }
      },
      Case("no fmt", "webauthn_malformed", object { $0["fmt"] = nil }),
      Case("no attStmt", "webauthn_malformed", object { $0["attStmt"] = nil }),
      Case("no authData", "webauthn_malformed", object { $0["authData"] = nil }),
      Case("fourth member", "webauthn_malformed", object { $0["ep"] = true }),
      Case("fmt no text", "webauthn_malformed", object { $0["fmt"] = 1 }),
      Case("authData as text", "webauthn_malformed", object { $0["authData"] = "x" }),
      Case("attStmt an array", "webauthn_malformed", object { $0["attStmt"] = [] }),
      Case("none with a statement", "webauthn_attestation", object { $0["attStmt"] = ["alg": -7] }),
      Case("65537 bytes", "webauthn_malformed") {
        $0.faults.attestationObject = { $0 + [UInt8](repeating: 0, count: 65_537 - $0.count) }
      },
    ]
    + ["tpm", "android-key", "android-safetynet", "fido-u2f", "apple", "compound", "NONE", ""].map { (format: String) in
      Case("format '\(format)'", "webauthn_attestation") { $0.faults.format = format }
    }

  static func response(_ path: String, _ value: JSONValue?) -> (inout Case) -> Void {
    { $0.json = { $0.setting("response", path, to: value) } }
  }

  static func top(_ path: String, _ value: JSONValue?) -> (inout Case) -> Void {
    { $0.json = { $0.setting(path, to: value) } }
  }

  static let json: [Case] = [
    Case("unknown members") {
      $0.json = { $0.setting("new", to: 1).setting("response", "publicKeyNew", to: [1]) }
    },
    Case("transports absent", "accepted", response("transports", nil)),
    Case("no response", "webauthn_malformed", top("response", nil)),
    Case("response a text", "webauthn_malformed", top("response", "x")),
    Case("no clientDataJSON", "webauthn_malformed", response("clientDataJSON", nil)),
    Case("no attestationObject", "webauthn_malformed", response("attestationObject", nil)),
    Case("clientDataJSON padded", "webauthn_malformed", response("clientDataJSON", "eyA=")),
    Case("type absent", "webauthn_malformed", top("type", nil)),
    Case("type password", "webauthn_malformed", top("type", "password")),
    Case("id absent", "webauthn_malformed", top("id", nil)),
    Case("rawId absent", "webauthn_malformed", top("rawId", nil)),
    Case("id not rawId", "webauthn_malformed", top("id", "AAAA")),
    Case("identifier stated otherwise", "webauthn_credential") {
      $0.json = { $0.setting("id", to: "AAAA").setting("rawId", to: "AAAA") }
    },
    Case("no object", "webauthn_malformed") { $0.json = { _ in [] } },
  ]

  static let groups: [(String, [Case])] = [
    ("client data", clientData), ("authenticator data", authenticatorData), ("keys", keys), ("objects", objects),
    ("JSON", json),
  ]

  @Test("each rule", arguments: groups.map(\.0))
  func rules(_ group: String) throws {
    var tally = Tally("webauthn registration, \(group)")
    for one in try #require(Self.groups.first { $0.0 == group }).1 {
      var authenticator = SoftwareAuthenticator(random: SeededRandom(2), isSynced: one.isSynced)
      let answer = try authenticator.make(
        options: Ceremony.creation([one.made]), origin: Ceremony.origin, faults: one.faults)
      let found = outcome {
        _ = try UnverifiedRegistration(one.json(answer))
          .verified(Ceremony.registration(one.purpose, algorithms: one.offered))
      }
      tally.expect(found == one.code, "\(one.name): \(found), not \(one.code)")
    }
    tally.report()
  }

  @Test("what is verified is what was made")
  func contents() throws {
    var authenticator = SoftwareAuthenticator(random: SeededRandom(3))
    let answer = try authenticator.make(options: Ceremony.creation(), origin: Ceremony.origin)
    let verified = try UnverifiedRegistration(answer).verified(Ceremony.registration())
    #expect([verified.credentialID] == authenticator.credentialIDs(relyingPartyID: Ceremony.relyingParty.id))
    #expect(verified.algorithm == .es256 && verified.signCount == 1 && verified.aaguid == Ceremony.model)
    #expect(verified.userVerified && !verified.backupEligible && !verified.backupState)
    #expect(verified.attestation.format == "none" && verified.attestation.kind == .none)
    #expect(try COSEKey(encoded: verified.publicKey).cbor.encoded == verified.publicKey)
    let credential = verified.credential(person: "p", purpose: .approval, enrolmentIndex: 9)
    #expect(credential.id == verified.credentialID && credential.enrolmentIndex == 9 && credential.person == "p")
    #expect(try credential.jwk().algorithm == .es256)
  }
}
