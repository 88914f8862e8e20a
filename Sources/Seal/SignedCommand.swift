public import AgentIdentity
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

/// A command whose signature by a known principal was verified. Only ``UnverifiedCommand`` and ``EvidenceVerifier``
/// make one.
public struct SignedCommand: Sendable {
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
  /// The encoded ``CommandEvidence``, to which the command's leaf commits.
  public let encoded: [UInt8]
  /// ``RequestRecord/commandDigest``.
  public let commandDigest: [UInt8]

  fileprivate init(
    _ record: RequestRecord, principal: Principal, notAfter: Timestamp, nonce: String, verifiedAt: Timestamp
  ) throws(Problem) {
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
    let evidence: CommandEvidence
    let key: JWK
    do {
      evidence = try CommandEvidence(decoding: content)
      key = try JWK(try JSONValue(parsing: evidence.key))
    } catch {
      throw Self.invalid("it cannot be decoded")
    }
    let signed = try Self.request(
      evidence, by: try principal(of: evidence, key, enrolment: enrolment), key: key.key, at: time)
    guard signed.encoded == content else { throw Self.invalid("it holds more than was signed") }
    return signed
  }

  /// Verifies the request's signature alone, by the key that the caller's own record of a principal names: for denials,
  /// whose signer nobody may have vouched for, and for signers whose enrolment was verified before.
  package static func verify(
    _ content: [UInt8], as principal: Principal, at time: Timestamp
  ) throws(Problem) -> SignedCommand {
    let evidence: CommandEvidence
    let key: JWK
    do {
      evidence = try CommandEvidence(decoding: content)
      key = try JWK(try JSONValue(parsing: evidence.key))
    } catch {
      throw invalid("it cannot be decoded")
    }
    guard evidence.principal == principal.id, evidence.key == principal.key else {
      throw invalid("its signer or the signer's key is not the one on record")
    }
    var signer = principal
    signer.enrolmentIndex = evidence.enrolmentIndex
    let signed = try request(evidence, by: signer, key: key.key, at: time)
    guard signed.encoded == content else { throw invalid("it holds more than was signed") }
    return signed
  }

  private func principal(
    of evidence: CommandEvidence, _ key: JWK, enrolment: (UInt64) -> (leaf: [UInt8], content: SaltedContent)?
  ) throws(Problem) -> Principal {
    if evidence.enrolmentIndex == 0 {
      guard let person = genesis.roster.first(where: { $0.id == evidence.principal }),
        person.thumbprint == key.thumbprint
      else { throw Self.invalid("genesis does not name its signer") }
      return person
    }
    guard let approval = enrolment(evidence.enrolmentIndex),
      let (leaf, time) = try? Leaf.decode(approval.leaf), case .authorized(let authorized) = leaf,
      authorized.audience == "identity", authorized.commitment == approval.content.commitment,
      let vouching = try? CommandEvidence(decoding: approval.content.content), vouching.enrolmentIndex == 0
    else { throw Self.invalid("the leaf that approved its signer's key is missing or another") }
    let owner = try verify(approval.content.content, at: time) { _ in nil }
    guard owner.principal.kind == .owner, owner.method == "POST",
      owner.path == "/v1/agents/\(evidence.principal)/approve",
      let thumbprint = try? JSONValue(parsing: owner.body).object?["thumbprint"]?.string, thumbprint == key.thumbprint
    else { throw Self.invalid("the owner approved another agent or another key") }
    return Principal(
      id: evidence.principal, kind: .agent, tenant: owner.principal.tenant, owner: owner.principal.id,
      thumbprint: thumbprint, key: evidence.key, status: .active, enrolmentIndex: evidence.enrolmentIndex)
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
