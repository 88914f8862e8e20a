import Cosign
import SoftwareAuthenticator
import TestSupport
import Testing
import Wire

@Suite("Approval terms")
struct ApprovalTermsTests {
  static func terms(_ decision: ApprovalTerms.Decision = .approve) throws -> ApprovalTerms {
    try ApprovalTerms(
      nonce: Array(0..<32), approver: "per_7Qv3", groupVersion: 3, commandDigest: [UInt8](repeating: 1, count: 32),
      consentDigest: [UInt8](repeating: 2, count: 32), policyVersion: "policy/4", decision: decision,
      statementDigest: [UInt8](repeating: 3, count: 32), rendererVersion: "web/1", locale: "de-DE",
      expiry: Timestamp(milliseconds: 1_800_000_000_123))
  }

  @Test("the challenge is what another implementation computes")
  func knownAnswers() throws {
    // Python's hashlib and json with sorted keys and no spaces.
    #expect(
      Hex.encode(try Self.terms().challenge) == "484be8625ba9c2fd7fd099e2e9125bcbf3cbe4a4c7217b4816b0a720f5786db0")
    #expect(
      Hex.encode(try Self.terms(.decline).challenge)
        == "71c6ca6c0bdf75e3f60d5551aa0ca4254233e0f32508627bafd93a73c1315a2c")
  }

  @Test("the terms come back, and each member changes the challenge")
  func roundTrip() throws {
    let terms = try Self.terms()
    #expect(try ApprovalTerms(.object(terms.json)) == terms)
    #expect(terms.json.members.count == 11)
    let other: [String: JSONValue] = [
      "nonce": .string(Base64.URL.encode([UInt8](repeating: 9, count: 32))), "approver": "per_other",
      "group_version": 4, "command_digest": .string(Base64.URL.encode([UInt8](repeating: 9, count: 32))),
      "consent_digest": .string(Base64.URL.encode([UInt8](repeating: 9, count: 32))), "policy_version": "policy/5",
      "decision": "decline", "statement_digest": .string(Base64.URL.encode([UInt8](repeating: 9, count: 32))),
      "renderer_version": "web/2", "locale": "en", "expiry": 1_800_000_000_124,
    ]
    var challenges: Set = [terms.challenge]
    for member in terms.json {
      let changed = JSONValue.object(terms.json).setting(member.name, to: other[member.name])
      #expect(challenges.insert(try ApprovalTerms(changed).challenge).inserted, "\(member.name)")
    }
  }

  static let refused: [(String, JSONValue?)] = {
    let short = JSONValue.string(Base64.URL.encode([UInt8](repeating: 9, count: 31)))
    let long = JSONValue.string(Base64.URL.encode([UInt8](repeating: 9, count: 33)))
    var cases: [(String, JSONValue?)] = [
      ("group_version", 0), ("group_version", "3"), ("group_version", .double(3.5)), ("decision", "APPROVE"),
      ("decision", ""), ("decision", true), ("expiry", -1), ("expiry", "2027"), ("expiry", .double(1e300)),
      ("approver", ""), ("approver", .string(String(repeating: "a", count: 65))), ("policy_version", ""),
      ("policy_version", .string(String(repeating: "a", count: 65))), ("renderer_version", ""),
      ("renderer_version", .string(String(repeating: "a", count: 65))), ("locale", ""),
      ("locale", .string(String(repeating: "a", count: 36))), ("extra", 1), ("extra", .null),
    ]
    for name in ["nonce", "command_digest", "consent_digest", "statement_digest"] {
      cases += [(name, short), (name, long), (name, "="), (name, 1)]
    }
    for name in [
      "nonce", "approver", "group_version", "command_digest", "consent_digest", "policy_version", "decision",
      "statement_digest", "renderer_version", "locale", "expiry",
    ] {
      cases += [(name, nil), (name, .null)]
    }
    return cases
  }()

  static let accepted: [(String, JSONValue)] = [
    ("group_version", 1), ("group_version", .integer(JSONValue.greatestInteger)), ("expiry", 0),
    ("expiry", .integer(JSONValue.greatestInteger)), ("approver", .string(String(repeating: "a", count: 64))),
    ("policy_version", .string(String(repeating: "a", count: 64))),
    ("renderer_version", .string(String(repeating: "a", count: 64))),
    ("locale", .string(String(repeating: "a", count: 35))), ("decision", "decline"),
  ]

  @Test("the form is closed")
  func closed() throws {
    var tally = Tally("approval terms")
    let json = JSONValue.object(try Self.terms().json)
    for (name, value) in Self.refused {
      let found = outcome { _ = try ApprovalTerms(json.setting(name, to: value)) }
      tally.expect(found == "approval_terms", "\(name) \(value.map { "\($0)" } ?? "absent"): \(found)")
    }
    for (name, value) in Self.accepted {
      let found = outcome { _ = try ApprovalTerms(json.setting(name, to: value)) }
      tally.expect(found == "accepted", "\(name) \(value): \(found)")
    }
    tally.expect(outcome { _ = try ApprovalTerms([]) } == "approval_terms", "no object")
    let short = outcome {
      _ = try ApprovalTerms(
        nonce: [1], approver: "a", groupVersion: 1, commandDigest: [], consentDigest: [], policyVersion: "a",
        decision: .approve, statementDigest: [], rendererVersion: "a", locale: "a", expiry: Timestamp(seconds: 1))
    }
    tally.expect(short == "approval_terms", "made with short digests: \(short)")
    tally.report()
  }

  @Test("an approver's signature binds the terms")
  func bound() throws {
    var (authenticator, credential) = try Ceremony.enrolled()
    let challenge = try Self.terms().challenge
    let options = Ceremony.request.setting("challenge", to: .string(Base64.URL.encode(challenge)))
    let assertion = try UnverifiedAssertion(authenticator.get(options: options, origin: Ceremony.origin))
    func check(_ challenge: [UInt8]) -> String {
      outcome {
        _ = try assertion.verified(
          by: credential,
          AssertionExpectations(relyingParty: Ceremony.relyingParty, challenge: challenge, purpose: .approval))
      }
    }
    #expect(check(challenge) == "accepted")
    #expect(check(try Self.terms(.decline).challenge) == "webauthn_challenge")
    credential.backupState = true
    #expect(check(challenge) == "accepted", "BS is reported, not compared")
  }
}
