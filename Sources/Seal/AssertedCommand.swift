public import AgentIdentity
public import Cosign
import Crypto
public import Wire

/// What a WebAuthn assertion proves: a consent or an approval whose digest is the challenge.
public enum AssertedSubject: String, Sendable, CaseIterable {
  /// The terms of a consent, by their owner.
  case consent
  /// The terms of an approval, by an approver.
  case approval

  /// The tag under which the subject's JCS text is hashed.
  var domain: String { "trustcore/\(rawValue)/v1" }

  /// What the request at a path carries.
  init?(path: String) {
    if path == "/v1/consents" || path.hasPrefix("/v1/consents/") {
      self = .consent
    } else if path.hasPrefix("/v1/approvals/") {
      self = .approval
    } else {
      return nil
    }
  }

  /// The WebAuthn challenge: SHA-256(domain ‖ JCS(subject)).
  public func challenge(_ subject: JSONValue) -> [UInt8] {
    Array(SHA256.hash(data: Array(domain.utf8) + subject.canonical()))
  }
}

/// A request that is proven by the WebAuthn assertion in its body instead of an HTTP message signature; nothing about
/// it is verified yet.
public struct UnverifiedAssertedCommand: Sendable {
  /// The credential that claims to have been used.
  public var credentialID: [UInt8] { assertion.credentialID }
  /// The challenge that must have been signed.
  public let challenge: [UInt8]
  /// After it the assertion counts no more.
  public let notAfter: Timestamp
  private let assertion: UnverifiedAssertion
  private let subject: JSONValue
  private let record: RequestRecord
  private let issuedAt: Timestamp?

  /// How long an assertion over a consent counts after the consent was drawn up; an approval says itself.
  static let consentSeconds: Int64 = 300

  /// Reads a request's body.
  /// - Throws: `assertion_malformed` or the JSON problem of the body.
  public init(targetURI: String, body: [UInt8]) throws(Problem) {
    record = RequestRecord(
      method: "POST", targetURI: targetURI, fields: [], signatureInput: "", signature: "", body: body)
    guard let kind = AssertedSubject(path: record.path) else {
      throw Problem(404, "route_not_found", "There is no command at this path that an assertion proves.")
    }
    do {
      var reader = try ObjectReader(try JSONValue(parsing: body), "the body")
      subject = try reader.value(kind.rawValue)
      let assertion = try reader.value("assertion")
      try reader.finish()
      self.assertion = try UnverifiedAssertion(assertion)
      switch kind {
      case .consent:
        guard let issued = subject.object?["issued_at"]?.integer else {
          throw Self.malformed("the consent's 'issued_at'")
        }
        issuedAt = Timestamp(milliseconds: issued)
        notAfter = Timestamp(milliseconds: issued).adding(seconds: Self.consentSeconds)
      case .approval:
        guard let expiry = subject.object?["expiry"]?.integer else { throw Self.malformed("the approval's 'expiry'") }
        issuedAt = nil
        notAfter = Timestamp(milliseconds: expiry)
      }
    } catch let problem as Problem {
      throw problem
    } catch let error as JSONError {
      throw Problem(400, error.code.description, error.description)
    } catch let error as CosignError {
      throw Problem(400, error.code.description, error.message)
    } catch {
      throw Self.malformed("the assertion")
    }
    challenge = kind.challenge(subject)
  }

  /// Verifies the assertion.
  /// - Parameters:
  ///   - principal: the person whose credential it is.
  ///   - credential: the credential as it was enrolled.
  ///   - relyingParty: that of approvals.
  ///   - now: the verifier's clock.
  /// - Throws: `credential_purpose`, `approval_expired`, `consent_draft_expired`, or a `webauthn_…` problem.
  public func verified(
    by principal: Principal, credential: Credential, relyingParty: RelyingParty, at now: Timestamp
  ) throws(Problem) -> SignedCommand {
    guard credential.person == principal.id else {
      throw Problem(401, "credential_unknown", "The credential belongs to someone else.")
    }
    guard credential.purpose == .approval else {
      throw Problem(
        403, "credential_purpose", "This credential signs in and never approves; use the one enrolled for approvals.")
    }
    guard now < notAfter else { throw expired }
    if let issuedAt, issuedAt.seconds > now.seconds + 5 {
      throw Problem(401, "consent_draft_early", "The consent was drawn up in the future; set the clock right.")
    }
    let verified: VerifiedAssertion
    do {
      verified = try assertion.verified(
        by: credential,
        AssertionExpectations(relyingParty: relyingParty, challenge: challenge, purpose: .approval))
    } catch {
      throw Problem(401, error.code.description, error.message)
    }
    return try SignedCommand(
      record, by: principal, asserting: subject, with: credential, verified, notAfter: notAfter, verifiedAt: now)
  }

  private static func malformed(_ what: String) -> Problem {
    Problem(400, "assertion_malformed", "The body cannot be read: \(what) is missing or malformed.")
  }

  private var expired: Problem {
    issuedAt == nil
      ? Problem(401, "approval_expired", "The approval came too late; open the payment again.")
      : Problem(401, "consent_draft_expired", "The draft has expired; draw the consent up again.")
  }
}
