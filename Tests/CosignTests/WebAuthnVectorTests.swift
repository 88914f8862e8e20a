import COSE
import Foundation
import TestSupport
import Testing
import Wire

@testable import Cosign

/// Other people's ceremonies. Our policy asks for more than the specification's vectors give (UV, no foreign frame), so
/// each runs twice: through the public interface, which must refuse exactly what the policy forbids, and through its
/// steps without the policy, which must hold throughout.
@Suite("WebAuthn vectors", .enabled(if: Vectors.has("webauthn")))
struct WebAuthnVectorTests {
  typealias Object = [String: Any]

  private func bytes(_ value: Any?) throws -> [UInt8] {
    let text = try #require(value as? String)
    return try #require(Hex.decode(text))
  }

  /// The vectors' certificates are valid from 2024 to 3024.
  private static let now = Timestamp(seconds: 1_800_000_000)

  /// Why a registration is not run as one that holds; each must be refused, with the code.
  private static let leftOutRegistrations: [String: (code: String, reason: String)] = [
    "packed-es384": ("webauthn_algorithm", "registration packed-es384: credential algorithm ES384 is not offered"),
    "packed-es512": ("webauthn_algorithm", "registration packed-es512: credential algorithm ES512 is not offered"),
    "packed-ed448": ("webauthn_algorithm", "registration packed-ed448: Ed448 is not verified"),
    "tpm-es256": ("webauthn_attestation", "registration tpm-es256: format tpm is not verified"),
    "android-key-es256": ("webauthn_attestation", "registration android-key-es256: format android-key is not verified"),
    "apple-es256": ("webauthn_attestation", "registration apple-es256: format apple is not verified"),
    "fido-u2f-es256": ("webauthn_attestation", "registration fido-u2f-es256: format fido-u2f is not verified"),
  ]
  private static let leftOutAssertions: [String: String] = [
    "packed-es384": "authentication packed-es384: credential algorithm ES384 is not offered",
    "packed-es512": "authentication packed-es512: credential algorithm ES512 is not offered",
    "packed-ed448": "authentication packed-ed448: Ed448 is not verified",
  ]

  /// What the policy must say, found from the bytes and not by the code under test.
  private func policyOutcome(clientData: [UInt8], flags: UInt8) throws -> String? {
    let object = try #require(try JSONSerialization.jsonObject(with: Data(clientData)) as? Object)
    if object["topOrigin"] != nil || object["crossOrigin"] as? Bool == true { return "webauthn_cross_origin" }
    if flags & 0x01 == 0 { return "webauthn_user_presence" }
    if flags & 0x04 == 0 { return "webauthn_user_verification" }
    return nil
  }

  @Test("W3C WebAuthn Level 3, section Test Vectors")
  func w3c() throws {
    var registrations = Tally("w3c webauthn registrations")
    var assertions = Tally("w3c webauthn authentications")
    let file = try Vectors.object("webauthn/w3c-webauthn-l3-test-vectors.json")
    let anchor = try bytes(file["attestation_ca_cert"])
    let relyingParty = RelyingParty(
      id: try #require(file["rpId"] as? String), origins: [try #require(file["origin"] as? String)])
    let cases = try #require(file["cases"] as? [Object])
    #expect(cases.count == 15)
    for one in cases {
      let id = try #require(one["id"] as? String)
      let made = try #require(one["registration"] as? Object)
      let (challenge, clientDataJSON) = (try bytes(made["challenge"]), try bytes(made["clientDataJSON"]))
      let object = try bytes(made["attestationObject"])
      let expected = RegistrationExpectations(
        relyingParty: relyingParty, challenge: challenge, purpose: .signIn, anchors: [anchor], now: Self.now)
      let found = outcome {
        _ = try UnverifiedRegistration(clientDataJSON: clientDataJSON, attestationObject: object).verified(expected)
      }
      // The raw authenticator data, for formats that are not verified too.
      let raw = try #require(try CBOR(decoding: object).map?["authData"]?.bytes)
      let data = try AuthenticatorData(raw)
      let credential = try #require(data.attested)
      #expect(try credential.id == bytes(made["credential_id"]))
      #expect(try credential.aaguid == bytes(made["aaguid"]))
      let policy = try policyOutcome(clientData: clientDataJSON, flags: raw[32])
      if let (code, reason) = Self.leftOutRegistrations[id] {
        registrations.leaveOut(reason)
        // The policy speaks before the algorithm and after the format.
        let first = code == "webauthn_algorithm" || policy == "webauthn_cross_origin" ? policy ?? code : code
        #expect(found == first, "\(id): \(found)")
      } else {
        registrations.expect(found == policy ?? "accepted", "\(id): \(found), policy \(policy ?? "none")")
        let statement = try AttestationStatement(object)
        let attestation = try statement.verified(
          credential: credential, key: CredentialKey(credential.publicKey),
          clientDataHash: ClientData(clientDataJSON).hash, anchors: [anchor], now: Self.now)
        let (kind, trust): (Attestation.Kind, Bool) =
          id.hasPrefix("none-")
          ? (.none, false) : id.hasPrefix("packed-self") ? (.selfAttested, false) : (.certified, true)
        registrations.expect(attestation.kind == kind, "\(id): \(attestation)")
        if case .anchored = attestation.trust {
          registrations.expect(trust, "\(id): trusted")
        } else {
          registrations.expect(!trust, "\(id): not trusted")
        }
      }
      try assertion(one, id, data, credential, relyingParty, &assertions)
    }
    registrations.report()
    assertions.report()
  }

  private func assertion(
    _ one: Object, _ id: String, _ registered: AuthenticatorData, _ attested: AuthenticatorData.AttestedCredential,
    _ relyingParty: RelyingParty, _ tally: inout Tally
  ) throws {
    let signed = try #require(one["authentication"] as? Object)
    let credential = Credential(
      id: attested.id, person: "x", purpose: .signIn, publicKey: attested.publicKey, signCount: registered.signCount,
      aaguid: attested.aaguid, backupEligible: registered.flags.contains(.backupEligible),
      backupState: registered.flags.contains(.backupState), enrolmentIndex: 0)
    if let reason = Self.leftOutAssertions[id] {
      tally.leaveOut(reason)
      #expect(outcome { _ = try credential.jwk() } == "webauthn_algorithm", "\(id)")
      return
    }
    let (data, clientData) = (try bytes(signed["authenticatorData"]), try bytes(signed["clientDataJSON"]))
    let assertion = UnverifiedAssertion(
      credentialID: attested.id, authenticatorData: data, clientDataJSON: clientData,
      signature: try bytes(signed["signature"]), userHandle: nil)
    let found = outcome {
      _ = try assertion.verified(
        by: credential,
        AssertionExpectations(
          relyingParty: relyingParty, challenge: try bytes(signed["challenge"]), purpose: .signIn))
    }
    let policy = try policyOutcome(clientData: clientData, flags: data[32])
    tally.expect(found == policy ?? "accepted", "\(id): \(found), policy \(policy ?? "none")")
    let steps = outcome {
      try assertion.checkSignature(by: credential, ClientData(clientData), AuthenticatorData(data))
    }
    tally.expect(steps == "accepted", "\(id): \(steps)")
  }

  @Test("python-fido2's recorded attestations")
  func fido2() throws {
    var tally = Tally("python-fido2 attestations")
    let file = "webauthn/python-fido2/python-fido2-2.2.1-attestation-recorded.json"
    func decoded(_ value: Any?) throws -> [UInt8] { try Base64.URL.decode(try #require(value as? String)) }
    for (index, one) in try #require(try Vectors.json(file) as? [Object]).enumerated() {
      let format = try #require(one["fmt"] as? String)
      guard ["none", "packed"].contains(format) else {
        tally.leaveOut("format \(format) is not verified")
        let refused = outcome { _ = try AttestationStatement(format: format, statement: [:], authenticatorData: []) }
        #expect(refused == "webauthn_attestation")
        continue
      }
      let (data, statement) = (try decoded(one["authData"]), try decoded(one["statement_cbor"]))
      let hash = try decoded(one["clientDataHash"])
      let found = outcome {
        let parsed = try AttestationStatement(
          format: format, statement: CBOR(decoding: statement), authenticatorData: data)
        let credential = try #require(parsed.authenticatorData.attested)
        let attestation = try parsed.verified(
          credential: credential, key: CredentialKey(credential.publicKey), clientDataHash: hash, anchors: [],
          now: Self.recorded)
        #expect(attestation.trust == (format == "none" ? .none : .untrusted))
      }
      if Self.leftOutRecorded.contains(index) {
        tally.leaveOut("packed, number \(index): the credential's algorithm ML-DSA is not verified")
        #expect(found == "webauthn_algorithm" || found == "webauthn_malformed", "\(index): \(found)")
        continue
      }
      let expected = one["result"] as? String == "valid" ? "accepted" : "webauthn_attestation"
      tally.expect(found == expected, "\(index) \(format): \(found), not \(expected)")
    }
    tally.report()
  }

  private static let leftOutRecorded: Set = [12]
  /// June 2018: the certificate of the recordings was valid for a year from March.
  private static let recorded = Timestamp(seconds: 1_527_811_200)

  @Test("Chromium's virtual authenticator")
  func chromium() throws {
    var tally = Tally("chromium ceremonies")
    let file = try Vectors.data("webauthn/chromium/chromium156-virtual-authenticator-es256.json")
    let answers = try #require(try JSONValue(parsing: Array(file)).array)
    let challenge = [UInt8](repeating: 0, count: 32)
    let relyingParty = RelyingParty(id: "localhost", origins: ["http://localhost:18099"])
    let object = try Base64.URL.decode(
      try #require(answers[0].object?["response"]?.object?["attestationObject"]?.string))
    let leaf = try #require(try CBOR(decoding: object).map?["attStmt"]?.map?["x5c"]?.array?.first?.bytes)
    let registration = try UnverifiedRegistration(answers[0])
    func verified(_ anchors: [[UInt8]]) throws -> VerifiedRegistration {
      try registration.verified(
        RegistrationExpectations(
          relyingParty: relyingParty, challenge: challenge, purpose: .approval, anchors: anchors, now: Self.now))
    }
    tally.expect(try verified([]).attestation.trust == .untrusted, "without anchor")
    let anchored = try verified([leaf])
    tally.expect(anchored.attestation.kind == .certified && anchored.attestation.trust != .untrusted, "leaf as anchor")
    // The user handle was 16 zero bytes.
    let credential = anchored.credential(
      person: String(repeating: "\0", count: 16), purpose: .approval, enrolmentIndex: 0)
    let assertion = try UnverifiedAssertion(answers[1]).verified(
      by: credential, AssertionExpectations(relyingParty: relyingParty, challenge: challenge, purpose: .approval))
    tally.expect(credential.signCount == 1 && assertion.signCount == 2 && !assertion.counterRisk, "assertion")
    tally.report()
  }
}
