public import AgentIdentity
public import Cosign
import Crypto
public import JOSE
public import Wire

/// A request that claims to be a command; nothing about it is verified yet.
public struct UnverifiedCommand: Sendable {
  private let request: UnverifiedSignedRequest
  private let message: HTTPMessage
  private let body: [UInt8]

  /// RFC 7638 thumbprint of the key that claims to have signed.
  public var keyID: String { request.keyID }

  /// Reads the signature's parameters in a request.
  /// - Throws: `signature_missing`, `signature_malformed` or `signature_coverage`.
  public init(_ message: HTTPMessage, body: [UInt8]) throws(Problem) {
    do { request = try UnverifiedSignedRequest(message, policy: .command) } catch {
      throw Problem(error)
    }
    self.message = message
    self.body = body
  }

  /// Verifies the signature.
  /// - Parameters:
  ///   - principal: whose key the request names.
  ///   - key: that key.
  ///   - now: the verifier's clock.
  /// - Throws: a `signature_…`, `digest_…`, `key_…` or `idempotency_key_…` problem.
  public func verified(by principal: Principal, key: VerificationKey, at now: Timestamp) throws(Problem)
    -> SignedCommand
  {
    let verified: VerifiedSignedRequest
    do { verified = try request.verified(with: key, body: body, now: now) } catch { throw Problem(error) }
    guard let target = message.target else {
      throw Problem(400, "signature_malformed", "A command is a request, not a response.")
    }
    var fields: [RequestRecord.Field] = []
    for name in verified.components where !name.hasPrefix("@") && !fields.contains(where: { $0.name == name }) {
      fields.append(RequestRecord.Field(name: name, value: message.values(name).joined(separator: ", ")))
    }
    let record = RequestRecord(
      method: target.method, targetURI: target.uri, fields: fields,
      signatureInput: message.values("signature-input").joined(separator: ", "),
      signature: message.values("signature").joined(separator: ", "), body: body)
    return try SignedCommand(
      record, principal: principal, notAfter: verified.notAfter, nonce: verified.nonce, verifiedAt: now)
  }
}

/// A command whose signature by a known principal was verified, be it an HTTP message signature or a WebAuthn
/// assertion. Only ``UnverifiedCommand``, ``UnverifiedAssertedCommand`` and ``EvidenceVerifier`` make one.
public struct SignedCommand: Sendable {
  /// What a person asserted, and with which credential.
  public struct Asserted: Sendable {
    /// The consent or the approval.
    public let subject: JSONValue
    /// The credential as it was enrolled.
    public let credential: Credential
    /// What the assertion said.
    public let assertion: VerifiedAssertion
  }

  /// What the WebAuthn assertion says; nil for a signed request.
  public let asserted: Asserted?
  /// Who signed.
  public let principal: Principal
  /// The request's method.
  public let method: String
  /// The request's path.
  public let path: String
  /// The request's body.
  public let body: [UInt8]
  /// The value of `Authorization`.
  public let authorization: String
  /// The value of `Idempotency-Key`, without its quotes.
  public let idempotencyKey: String
  /// The signature's `expires`; after it nobody may carry the command out.
  public let notAfter: Timestamp
  /// The signature's `nonce`.
  public let nonce: String
  /// When the signature was verified; a decision about it must not seem older.
  public let verifiedAt: Timestamp
  /// The encoded ``CommandEvidence`` without references.
  public let encoded: [UInt8]
  /// ``RequestRecord/commandDigest``.
  public let commandDigest: [UInt8]

  fileprivate init(
    _ record: RequestRecord, principal: Principal, notAfter: Timestamp, nonce: String, verifiedAt: Timestamp
  ) throws(Problem) {
    asserted = nil
    self.principal = principal
    method = record.method
    path = record.path
    body = record.body
    authorization = record.field("authorization") ?? ""
    idempotencyKey = try Self.idempotencyKey(record.field("idempotency-key") ?? "")
    self.notAfter = notAfter
    self.nonce = nonce
    self.verifiedAt = verifiedAt
    commandDigest = record.commandDigest
    encoded =
      CommandEvidence(
        request: record, principal: principal.id, key: principal.key, enrolmentIndex: principal.enrolmentIndex
      ).encoded
  }

  init(
    _ record: RequestRecord, by principal: Principal, asserting subject: JSONValue, with credential: Credential,
    _ assertion: VerifiedAssertion, notAfter: Timestamp, verifiedAt: Timestamp
  ) throws(Problem) {
    asserted = Asserted(subject: subject, credential: credential, assertion: assertion)
    self.principal = principal
    method = record.method
    path = record.path
    body = record.body
    authorization = ""
    // One assertion is one command: its challenge is new for each and is what the authenticator signed.
    let challenge = AssertedSubject(path: record.path).map { Base64.URL.encode($0.challenge(subject)) } ?? ""
    idempotencyKey = challenge
    nonce = challenge
    self.notAfter = notAfter
    self.verifiedAt = verifiedAt
    commandDigest = record.commandDigest
    let key: JWK
    do { key = try credential.jwk() } catch { throw Problem(401, error.code.description, error.message) }
    encoded =
      CommandEvidence(
        request: record, principal: principal.id, key: key.bareJSON.canonical(),
        enrolmentIndex: credential.enrolmentIndex
      ).encoded
  }

  /// The encoded ``CommandEvidence`` with the earlier leaves that the decision rests on.
  public func evidence(_ references: [CommandEvidence.Reference]) -> [UInt8] {
    CommandEvidence.encoded(encoded, adding: references)
  }

  /// The key of draft-ietf-httpapi-idempotency-key-header: a Structured Fields string. A bare token is taken too,
  /// since many clients send one.
  private static func idempotencyKey(_ value: String) throws(Problem) -> String {
    let bare =
      value.hasPrefix("\"") && value.hasSuffix("\"") && value.utf8.count > 2 ? value.dropFirst().dropLast() : value[...]
    guard (1...128).contains(bare.utf8.count),
      bare.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") })
    else {
      throw Problem(
        400, "idempotency_key_malformed",
        "Send an Idempotency-Key of 1 to 128 visible ASCII characters, such as a UUID in double quotes.")
    }
    return String(bare)
  }
}

/// Verifies recorded evidence again, from the roster that genesis pins: who signed, and who vouched for the key.
public struct EvidenceVerifier: Sendable {
  private let genesis: Genesis

  /// Makes a verifier that trusts a genesis.
  public init(genesis: Genesis) { self.genesis = genesis }

  /// Verifies the evidence of one command.
  /// - Parameters:
  ///   - content: the encoded ``CommandEvidence``.
  ///   - time: when the gate decided; the signature must have been valid then.
  ///   - enrolment: the leaf at an index with the content it commits to, for keys that genesis does not name.
  /// - Throws: `seal_evidence_invalid`, or the problem of the step that failed.
  public func verify(
    _ content: [UInt8], at time: Timestamp, enrolment: (UInt64) -> (leaf: [UInt8], content: SaltedContent)?
  ) throws(Problem) -> SignedCommand {
    let (evidence, key) = try Self.decoded(content)
    let signed =
      try evidence.request.isAsserted
      ? asserted(evidence, at: time, enrolment: enrolment)
      : Self.request(evidence, by: try principal(of: evidence, key, enrolment: enrolment), key: key.key, at: time)
    guard signed.evidence(evidence.references) == content else { throw Self.invalid("it holds more than was signed") }
    return signed
  }

  /// Verifies the request's signature alone, by the key that the caller's own record of a principal names: for denials,
  /// whose signer nobody may have vouched for, and for signers whose enrolment was verified before.
  package static func verify(
    _ content: [UInt8], as principal: Principal, at time: Timestamp
  ) throws(Problem) -> SignedCommand {
    let (evidence, key) = try decoded(content)
    guard evidence.principal == principal.id, evidence.key == principal.key else {
      throw invalid("its signer or the signer's key is not the one on record")
    }
    var signer = principal
    signer.enrolmentIndex = evidence.enrolmentIndex
    let signed = try request(evidence, by: signer, key: key.key, at: time)
    guard signed.evidence(evidence.references) == content else { throw invalid("it holds more than was signed") }
    return signed
  }

  private static func decoded(_ content: [UInt8]) throws(Problem) -> (CommandEvidence, JWK) {
    do {
      let evidence = try CommandEvidence(decoding: content)
      return (evidence, try JWK(try JSONValue(parsing: evidence.key)))
    } catch {
      throw invalid("it cannot be decoded")
    }
  }

  private func principal(
    of evidence: CommandEvidence, _ key: JWK, enrolment: (UInt64) -> (leaf: [UInt8], content: SaltedContent)?
  ) throws(Problem) -> Principal {
    if evidence.enrolmentIndex == 0 {
      guard let person = rostered(evidence.principal), person.thumbprint == key.thumbprint
      else { throw Self.invalid("genesis does not name its signer") }
      return person
    }
    let (leaf, sponsor) = try sponsor(evidence.enrolmentIndex, enrolment)
    let body = try? JSONValue(parsing: sponsor.body).object
    switch (leaf.audience, sponsor.principal.kind, sponsor.path) {
    case ("identity", .owner, "/v1/agents/\(evidence.principal)/approve")
    where body?["thumbprint"]?.string == key.thumbprint:
      return Principal(
        id: evidence.principal, kind: .agent, tenant: sponsor.principal.tenant, owner: sponsor.principal.id,
        thumbprint: key.thumbprint, key: evidence.key, status: .active, enrolmentIndex: evidence.enrolmentIndex)
    case ("payments", .officer, "/v1/rails/ach") where evidence.principal == "bnk_\(leaf.command)":
      guard let named = body?["bank"], (try? JWK(named))?.thumbprint == key.thumbprint else { break }
      return Principal(
        id: evidence.principal, kind: .bank, tenant: sponsor.principal.tenant, owner: "",
        thumbprint: key.thumbprint, key: evidence.key, status: .active, enrolmentIndex: evidence.enrolmentIndex)
    case ("governance", .officer, "/v1/registrars") where evidence.principal == "reg_\(leaf.command)":
      guard let named = body?["key"], (try? JWK(named))?.thumbprint == key.thumbprint else { break }
      return Principal(
        id: evidence.principal, kind: .registrar, tenant: sponsor.principal.tenant, owner: "",
        thumbprint: key.thumbprint, key: evidence.key, status: .active, enrolmentIndex: evidence.enrolmentIndex)
    default: break
    }
    throw Self.invalid("its signer's key was approved for someone else, or another key was")
  }

  private func rostered(_ id: String) -> Principal? { genesis.roster.first { $0.id == id } }

  /// The command of a rostered person at an authorised leaf, on which a key rests.
  private func sponsor(
    _ index: UInt64, _ lookUp: (UInt64) -> (leaf: [UInt8], content: SaltedContent)?
  ) throws(Problem) -> (Leaf.Authorized, SignedCommand) {
    guard let found = lookUp(index), let (leaf, time) = try? Leaf.decode(found.leaf),
      case .authorized(let authorized) = leaf, authorized.commitment == found.content.commitment,
      let evidence = try? CommandEvidence(decoding: found.content.content), evidence.enrolmentIndex == 0
    else { throw Self.invalid("the leaf that approved its signer's key is missing or another") }
    return (authorized, try verify(found.content.content, at: time) { _ in nil })
  }

  // MARK: - WebAuthn

  /// Verifies a command that a person's credential asserted, back to the officer who invited the person.
  private func asserted(
    _ evidence: CommandEvidence, at time: Timestamp, enrolment: (UInt64) -> (leaf: [UInt8], content: SaltedContent)?
  ) throws(Problem) -> SignedCommand {
    guard let console = genesis.console else { throw Self.invalid("genesis names no console for approvals") }
    guard let found = enrolment(evidence.enrolmentIndex), let (leaf, enrolledAt) = try? Leaf.decode(found.leaf),
      case .event(let event) = leaf, event.kind == CredentialEnrolment.eventKind,
      event.commitment == found.content.commitment,
      let record = try? CredentialEnrolment(try JSONValue(parsing: found.content.content)),
      record.person == evidence.principal
    else { throw Self.invalid("the leaf that enrolled its credential is missing or another") }
    let (invited, officer) = try sponsor(record.invitationIndex, enrolment)
    let body = try? JSONValue(parsing: officer.body).object
    guard invited.audience == "governance", officer.principal.kind == .officer, officer.path == "/v1/invitations",
      let digest = body?["digest"]?.string, digest == Base64.URL.encode(Array(SHA256.hash(data: record.token)))
    else { throw Self.invalid("no officer invited the person whose credential it is") }
    let command = try UnverifiedAssertedCommand(targetURI: evidence.request.targetURI, body: evidence.request.body)
    guard evidence.request.method == "POST",
      let credential = try record.credentials(
        of: console, enrolmentIndex: evidence.enrolmentIndex, at: enrolledAt
      ).first(where: { $0.credential.id == command.credentialID })?.credential
    else { throw Self.invalid("its credential is not the one that was enrolled") }
    let person: Principal
    switch body?["person"]?.object?["kind"]?.string {
    case "owner":
      guard let owner = rostered(record.person), owner.kind == .owner, owner.tenant == officer.principal.tenant,
        body?["person"]?.object?["id"]?.string == owner.id
      else { throw Self.invalid("an officer invited another owner") }
      person = owner
    case "approver":
      guard record.person == "apr_\(invited.command)",
        let approver = try? CredentialEnrolment.approver(
          record.person, tenant: officer.principal.tenant, credential: credential)
      else { throw Self.invalid("an officer invited another approver") }
      person = approver
    default: throw Self.invalid("an officer invited nobody who asserts commands")
    }
    let port = HTTPMessage.Target(method: "POST", uri: evidence.request.targetURI)?.authority.split(separator: ":")
    let origin = "https://\(console.host)" + (port?.count == 2 ? ":\(port?[1] ?? "")" : "")
    return try command.verified(
      by: person, credential: credential, relyingParty: try console.relyingParty(.approval, origin: origin), at: time)
  }

  private static func request(
    _ evidence: CommandEvidence, by principal: Principal, key: VerificationKey, at time: Timestamp
  ) throws(Problem) -> SignedCommand {
    let record = evidence.request
    guard let target = HTTPMessage.Target(method: record.method, uri: record.targetURI) else {
      throw invalid("its target URI cannot be read")
    }
    var headers = record.fields.map { HTTPMessage.Field($0.name, $0.value) }
    headers.append(HTTPMessage.Field("signature-input", record.signatureInput))
    headers.append(HTTPMessage.Field("signature", record.signature))
    return try UnverifiedCommand(HTTPMessage(target, headers: headers), body: record.body)
      .verified(by: principal, key: key, at: time)
  }

  private static func invalid(_ why: String) -> Problem {
    Problem(403, "seal_evidence_invalid", "The evidence does not verify: \(why).")
  }
}

extension HTTPMessage.Target {
  /// Splits an absolute `http` or `https` URI.
  init?(method: String, uri: String) {
    guard let separator = uri.utf8.firstRange(of: "://".utf8) else { return nil }
    let scheme = String(uri[..<separator.lowerBound])
    let rest = uri[separator.upperBound...]
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let pathAndQuery = rest.dropFirst(authority.count)
    let path = pathAndQuery.prefix { $0 != "?" }
    let query = pathAndQuery.count > path.count ? String(pathAndQuery.dropFirst(path.count + 1)) : nil
    guard scheme == "https" || scheme == "http", !authority.isEmpty else { return nil }
    self.init(method: method, scheme: scheme, authority: String(authority), path: String(path), query: query)
  }
}

extension Problem {
  /// The answer to a failed proof: 503 where the server cannot tell, 400 where a part is malformed, otherwise 401.
  init(_ error: ProofError) {
    let status =
      switch error.code {
      case .replayCacheFull: 503
      case .signatureMalformed, .digestMissing, .digestMismatch, .signatureCoverage: 400
      default: 401
      }
    let sentence = error.message.prefix(1).uppercased() + error.message.dropFirst() + "."
    self.init(status, error.code.description, sentence)
  }
}
