import COSE
import Cosign
import SoftwareAuthenticator
import TestSupport
import Testing
import Wire

/// The rules for assertions, one case each; `accepted` marks the controls.
@Suite("Assertions")
struct AssertionTests {
  struct Case: Sendable {
    let name: String
    let code: String
    var faults = Faults()
    var purpose = CredentialPurpose.approval
    /// What the assertion is to be used for, where it is not what the credential is for.
    var usedFor: CredentialPurpose?
    var isSynced = false
    /// The counter in the store.
    var stored: UInt32?
    var counterRisk = false
    var json: @Sendable (JSONValue) -> JSONValue = { $0 }

    init(_ name: String, _ code: String = "accepted", _ set: (inout Case) -> Void = { _ in }) {
      (self.name, self.code) = (name, code)
      set(&self)
    }
  }

  static let cases: [Case] = [
    Case("control"),
    Case("webauthn.create", "webauthn_type") { $0.faults.type = "webauthn.create" },
    Case("payment.get", "webauthn_type") { $0.faults.type = "payment.get" },
    Case("other challenge", "webauthn_challenge") { $0.faults.challenge = [UInt8](repeating: 0x5B, count: 32) },
    Case("longer challenge", "webauthn_challenge") { $0.faults.challenge = Ceremony.challenge + [0] },
    Case("other origin", "webauthn_origin") { $0.faults.origin = "https://approvals.example.com" },
    Case("crossOrigin", "webauthn_cross_origin") { $0.faults.clientDataMembers = ["crossOrigin": true] },
    Case("topOrigin", "webauthn_cross_origin") { $0.faults.clientDataMembers = ["topOrigin": "https://x.test"] },
    Case("unknown member") { $0.faults.clientDataMembers = ["tokenBinding": ["status": "supported"]] },
    Case("member twice", "webauthn_malformed") {
      $0.faults.clientData = { Array(#"{"type":"webauthn.get","#.utf8) + $0.dropFirst() }
    },
    Case("other relying party", "webauthn_rp_id") { $0.faults.relyingPartyID = "signin.example.org" },
    Case("no UP", "webauthn_user_presence") { $0.faults.userPresent = false },
    Case("no UV", "webauthn_user_verification") { $0.faults.userVerified = false },
    Case("no UV to sign in", "webauthn_user_verification") {
      $0.faults.userVerified = false
      $0.purpose = .signIn
    },
    Case("BS without BE", "webauthn_backup_state") { $0.faults.backupState = true },
    Case("BE to approve", "webauthn_backup_eligible") { $0.faults.backupEligible = true },
    Case("BE new to sign in", "webauthn_backup_eligible") {
      $0.faults.backupEligible = true
      $0.purpose = .signIn
    },
    Case("BE gone to sign in", "webauthn_backup_eligible") {
      $0.faults.backupEligible = false
      $0.faults.backupState = false
      $0.isSynced = true
      $0.purpose = .signIn
    },
    Case("BS gone to sign in") {
      $0.faults.backupState = false
      $0.isSynced = true
      $0.purpose = .signIn
    },
    Case("reserved flags") { $0.faults.flippedFlags = 0x22 },
    Case("36 bytes", "webauthn_malformed") { $0.faults.authenticatorData = { Array($0.prefix(36)) } },
    Case("bytes behind", "webauthn_malformed") { $0.faults.authenticatorData = { $0 + [0] } },
    Case("extensions") { $0.faults.extensions = ["prf": ["results": .bytes([1])], "hmac-secret": .bytes([2])] },
    Case("extensions an array", "webauthn_malformed") { $0.faults.extensions = [] },
    Case("AT without credential", "webauthn_malformed") { $0.faults.flippedFlags = 0x40 },
    Case("to sign in") { $0.purpose = .signIn },
    Case("synced to sign in") {
      $0.isSynced = true
      $0.purpose = .signIn
    },
    Case("approval credential to sign in", "webauthn_credential") { $0.usedFor = .signIn },
    Case("sign-in credential to approve", "webauthn_credential") {
      $0.purpose = .signIn
      $0.usedFor = .approval
    },
    Case("other identifier", "webauthn_credential") { $0.faults.credentialID = [1, 2, 3] },
    Case("identifier of 1023 bytes, another's", "webauthn_credential") {
      $0.faults.credentialID = [UInt8](repeating: 1, count: 1023)
    },
    Case("identifier of 1024 bytes", "webauthn_malformed") {
      $0.faults.credentialID = [UInt8](repeating: 1, count: 1024)
    },
    Case("user handle of another", "webauthn_user_handle") { $0.faults.userHandle = Array("per_other".utf8) },
    Case("user handle empty", "webauthn_malformed") { $0.faults.userHandle = [] },
    Case("user handle absent") { $0.json = { $0.setting("response", "userHandle", to: nil) } },
    Case("user handle null") { $0.json = { $0.setting("response", "userHandle", to: .null) } },
    Case("user handle a number", "webauthn_malformed") { $0.json = { $0.setting("response", "userHandle", to: 1) } },
    Case("signature of other bytes", "webauthn_signature") { $0.faults.clientDataAfterSigning = { $0 + [0x20] } },
    Case("signature changed", "webauthn_signature") {
      $0.faults.signature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
    },
    Case("signature cut", "webauthn_signature") { $0.faults.signature = { $0.dropLast() } },
    Case("signature with bytes behind", "webauthn_signature") { $0.faults.signature = { $0 + [0] } },
    Case("signature r ‖ s", "webauthn_signature") { $0.faults.signature = { _ in [UInt8](repeating: 1, count: 64) } },
    Case("signature of zeros", "webauthn_signature") { $0.faults.signature = { _ in [0x30, 6, 2, 1, 0, 2, 1, 0] } },
    Case("signature not DER: long length", "webauthn_signature") {
      $0.faults.signature = { [$0[0], 0x81] + $0.dropFirst() }
    },
    Case("signature of 513 bytes", "webauthn_signature") {
      $0.faults.signature = { _ in [UInt8](repeating: 1, count: 513) }
    },
    Case("signature absent", "webauthn_malformed") { $0.json = { $0.setting("response", "signature", to: nil) } },
    Case("counter changed after signing", "webauthn_signature") {
      $0.faults.authenticatorDataAfterSigning = {
        var data = $0
        data[33] ^= 1
        return data
      }
    },
    // The counter.
    Case("counter 5 after 4") { ($0.faults.signCount, $0.stored) = (5, 4) },
    Case("counter 5 after 5", "webauthn_counter") { ($0.faults.signCount, $0.stored) = (5, 5) },
    Case("counter 4 after 5", "webauthn_counter") { ($0.faults.signCount, $0.stored) = (4, 5) },
    Case("counter 0 after 5", "webauthn_counter") { ($0.faults.signCount, $0.stored) = (0, 5) },
    Case("counter 0 after 0") { ($0.faults.signCount, $0.stored) = (0, 0) },
    Case("counter 1 after 0") { ($0.faults.signCount, $0.stored) = (1, 0) },
    Case("counter at its end") { ($0.faults.signCount, $0.stored) = (.max, .max - 1) },
    Case("counter round its end", "webauthn_counter") { ($0.faults.signCount, $0.stored) = (1, .max) },
    Case("counter 5 after 5 to sign in") {
      ($0.faults.signCount, $0.stored, $0.purpose, $0.counterRisk) = (5, 5, .signIn, true)
    },
    Case("counter 0 after 5 to sign in") {
      ($0.faults.signCount, $0.stored, $0.purpose, $0.counterRisk) = (0, 5, .signIn, true)
    },
    Case("counter 0 after 0 to sign in") { ($0.faults.signCount, $0.stored, $0.purpose) = (0, 0, .signIn) },
    // The browser's JSON.
    Case("unknown members") { $0.json = { $0.setting("x", to: 1).setting("response", "y", to: 2) } },
    Case("type absent", "webauthn_malformed") { $0.json = { $0.setting("type", to: nil) } },
    Case("id not rawId", "webauthn_malformed") { $0.json = { $0.setting("id", to: "AAAA") } },
    Case("no response", "webauthn_malformed") { $0.json = { $0.setting("response", to: nil) } },
    Case("no authenticatorData", "webauthn_malformed") {
      $0.json = { $0.setting("response", "authenticatorData", to: nil) }
    },
    Case("no clientDataJSON", "webauthn_malformed") { $0.json = { $0.setting("response", "clientDataJSON", to: nil) } },
    Case("base64 of the other alphabet", "webauthn_malformed") {
      $0.json = { $0.setting("response", "signature", to: "+/+/") }
    },
  ]

  @Test("each rule")
  func rules() throws {
    var tally = Tally("webauthn assertion")
    for one in Self.cases {
      var (authenticator, credential) = try Ceremony.enrolled(one.purpose, isSynced: one.isSynced)
      if let stored = one.stored { credential.signCount = stored }
      let answer = try authenticator.get(
        options: Ceremony.request, origin: Ceremony.origin, faults: one.faults)
      var verified: VerifiedAssertion?
      let found = outcome {
        verified = try UnverifiedAssertion(one.json(answer))
          .verified(by: credential, Ceremony.assertion(one.usedFor ?? one.purpose))
      }
      tally.expect(found == one.code, "\(one.name): \(found), not \(one.code)")
      if let verified {
        tally.expect(verified.counterRisk == one.counterRisk, "\(one.name): counterRisk \(verified.counterRisk)")
        tally.expect(verified.userVerified && one.faults.signCount.map { $0 == verified.signCount } ?? true, one.name)
      }
    }
    tally.report()
  }

  @Test("each algorithm, and no other credential's", arguments: [-7, -8, -257] as [Int64])
  func algorithms(_ algorithm: Int64) throws {
    var (authenticator, credential) = try Ceremony.enrolled(algorithm: algorithm)
    let answer = try authenticator.get(options: Ceremony.request, origin: Ceremony.origin)
    let assertion = try UnverifiedAssertion(answer)
    #expect(try assertion.verified(by: credential, Ceremony.assertion()).signCount == 2)
    for other in [-7, -8] as [Int64] {
      let stranger = try Ceremony.enrolled(algorithm: other, seed: 77).credential
      let mixed = Credential(
        id: credential.id, person: credential.person, purpose: .approval, publicKey: stranger.publicKey, signCount: 0,
        aaguid: credential.aaguid, backupEligible: false, backupState: false, enrolmentIndex: 0)
      #expect(outcome { _ = try assertion.verified(by: mixed, Ceremony.assertion()) } == "webauthn_signature")
    }
    // The counter is the caller's to store; with it stored, the same answer is refused.
    credential.signCount = 2
    #expect(outcome { _ = try assertion.verified(by: credential, Ceremony.assertion()) } == "webauthn_counter")
  }

  @Test("a stored key that is none")
  func storedKey() throws {
    var (authenticator, credential) = try Ceremony.enrolled()
    let assertion = try UnverifiedAssertion(authenticator.get(options: Ceremony.request, origin: Ceremony.origin))
    func with(_ key: [UInt8]) -> Credential {
      Credential(
        id: credential.id, person: credential.person, purpose: .approval, publicKey: key, signCount: 0,
        aaguid: credential.aaguid, backupEligible: false, backupState: false, enrolmentIndex: 0)
    }
    #expect(outcome { _ = try assertion.verified(by: with([]), Ceremony.assertion()) } == "webauthn_malformed")
    #expect(outcome { _ = try with([0xA0]).jwk() } == "webauthn_malformed")
    credential.signCount = 0
    #expect(try assertion.verified(by: with(credential.publicKey), Ceremony.assertion()).signCount == 2)
  }

  @Test("attested data in an assertion must be the credential's own")
  func attestedData() throws {
    let credential = try Ceremony.enrolled().credential
    func attested(_ aaguid: [UInt8], _ id: [UInt8], _ key: [UInt8]) -> Faults {
      Faults {
        $0.flippedFlags = 0x40
        $0.authenticatorData = { $0 + aaguid + [UInt8(id.count >> 8), UInt8(id.count & 255)] + id + key }
      }
    }
    let stranger = try Ceremony.enrolled(seed: 77).credential
    let cases: [(Faults, String)] = [
      (attested(credential.aaguid, credential.id, credential.publicKey), "accepted"),
      (attested(credential.aaguid, stranger.id, credential.publicKey), "webauthn_credential"),
      (attested(credential.aaguid, credential.id, stranger.publicKey), "webauthn_credential"),
      (attested([UInt8](repeating: 0, count: 16), credential.id, credential.publicKey), "webauthn_credential"),
    ]
    for (index, (faults, code)) in cases.enumerated() {
      var authenticator = try Ceremony.enrolled().authenticator
      let answer = try authenticator.get(options: Ceremony.request, origin: Ceremony.origin, faults: faults)
      let found = outcome {
        _ = try UnverifiedAssertion(answer).verified(by: credential, Ceremony.assertion())
      }
      #expect(found == code, "\(index)")
    }
  }

  @Test("the recorded form is closed and comes back")
  func recorded() throws {
    var (authenticator, credential) = try Ceremony.enrolled()
    let answer = try authenticator.get(options: Ceremony.request, origin: Ceremony.origin)
    let assertion = try UnverifiedAssertion(answer)
    #expect(assertion.credentialID == credential.id)
    let names = assertion.json.object?.map(\.name).sorted()
    #expect(names == ["authenticator_data", "client_data_json", "credential_id", "signature", "user_handle"])
    #expect(try UnverifiedAssertion(recorded: assertion.json) == assertion)
    #expect(
      try UnverifiedAssertion(recorded: assertion.json).verified(by: credential, Ceremony.assertion()).signCount == 2)
    let without = assertion.json.setting("user_handle", to: nil)
    #expect(try UnverifiedAssertion(recorded: without).json == without)
    for name in names ?? [] where name != "user_handle" {
      #expect(
        outcome { _ = try UnverifiedAssertion(recorded: assertion.json.setting(name, to: nil)) } == "webauthn_malformed"
      )
      #expect(
        outcome { _ = try UnverifiedAssertion(recorded: assertion.json.setting(name, to: "=")) } == "webauthn_malformed"
      )
    }
    #expect(
      outcome { _ = try UnverifiedAssertion(recorded: assertion.json.setting("x", to: 1)) } == "webauthn_malformed")
    #expect(
      outcome { _ = try UnverifiedAssertion(recorded: assertion.json.setting("user_handle", to: .null)) }
        == "webauthn_malformed")
    #expect(outcome { _ = try UnverifiedAssertion(recorded: []) } == "webauthn_malformed")
  }

  @Test("the software authenticator behaves as a browser does")
  func authenticator() throws {
    var (authenticator, credential) = try Ceremony.enrolled()
    let exclude: JSONValue = [["type": "public-key", "id": .string(Base64.URL.encode(credential.id))]]
    let again = Ceremony.creation().setting("excludeCredentials", to: exclude)
    #expect(throws: SoftwareAuthenticator.Refusal.self) {
      try authenticator.make(options: again, origin: Ceremony.origin)
    }
    #expect(throws: SoftwareAuthenticator.Refusal.self) {
      try authenticator.make(options: Ceremony.creation(), origin: "https://evil.test")
    }
    #expect(throws: SoftwareAuthenticator.Refusal.self) {
      try authenticator.make(options: Ceremony.creation([-65_535]), origin: Ceremony.origin)
    }
    let other: JSONValue = [["type": "public-key", "id": "AAAA"]]
    #expect(throws: SoftwareAuthenticator.Refusal.self) {
      try authenticator.get(options: Ceremony.request.setting("allowCredentials", to: other), origin: Ceremony.origin)
    }
    _ = try authenticator.make(options: Ceremony.creation(), origin: Ceremony.origin)
    let named = try authenticator.get(
      options: Ceremony.request, origin: Ceremony.origin, credentialID: credential.id)
    #expect(try UnverifiedAssertion(named).credentialID == credential.id)
    let newest = try authenticator.get(options: Ceremony.request, origin: Ceremony.origin)
    #expect(try UnverifiedAssertion(newest).credentialID != credential.id)
  }
}
