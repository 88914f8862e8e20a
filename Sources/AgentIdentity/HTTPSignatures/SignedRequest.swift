public import JOSE
public import Wire

/// A signed request whose signature has the form that the policy demands, and of which nothing is known to be true.
public struct UnverifiedSignedRequest: Sendable {
  /// The thumbprint of the key that the sender claims to have used.
  public let keyID: String
  /// The signature's nonce.
  public let nonce: String
  private let message: HTTPMessage
  private let signature: HTTPSignature
  private let policy: SignaturePolicy
  private let created: Int64
  /// The first second at which the signature no longer counts.
  private let end: Int64

  /// Reads the request's one signature and holds its form against the policy.
  /// - Throws: `signature_missing`, `signature_malformed` or `signature_coverage`.
  public init(_ message: HTTPMessage, policy: SignaturePolicy = .command) throws(ProofError) {
    let signatures = try HTTPSignature.all(of: message)
    guard let signature = signatures.first, signatures.count == 1 else {
      throw ProofError(.signatureMalformed, "the request has several signatures; send one")
    }
    let input = signature.input
    guard input.parameters.list.allSatisfy({ Self.parameters.contains($0.key) }) else {
      throw ProofError(.signatureMalformed, "the signature has a parameter that RFC 9421 does not define")
    }
    guard let created = input.created, created >= 0, created <= 253_402_300_799 else {
      throw ProofError(.signatureMalformed, "the signature must have 'created', in seconds since 1970")
    }
    let longest = created + policy.maximumAge
    let end = input.expires ?? longest
    guard end > created, end <= longest else {
      throw ProofError(
        .signatureMalformed, "'expires' must be after 'created' and at most \(policy.maximumAge) s later")
    }
    guard let nonce = input.nonce, policy.nonceLength.contains(nonce.utf8.count) else {
      throw ProofError(
        .signatureMalformed,
        "the signature must have a 'nonce' of \(policy.nonceLength.lowerBound) to "
          + "\(policy.nonceLength.upperBound) characters")
    }
    guard input.tag == nil || input.tag == policy.tag else {
      throw ProofError(.signatureMalformed, "the signature's 'tag', if it has one, must be \"\(policy.tag)\"")
    }
    guard let keyID = input.keyID else {
      throw ProofError(.signatureMalformed, "the signature must have 'keyid', the key's RFC 7638 thumbprint")
    }
    try Self.checkCoverage(message, input, policy)
    self.message = message
    self.signature = signature
    self.policy = policy
    self.keyID = keyID
    self.nonce = nonce
    self.created = created
    self.end = end
  }

  private static let parameters = ["created", "expires", "nonce", "alg", "keyid", "tag"]

  private static func checkCoverage(
    _ message: HTTPMessage, _ input: SignatureInput, _ policy: SignaturePolicy
  ) throws(ProofError) {
    for name in policy.components where !input.components.contains(where: { $0.name == name }) {
      throw ProofError(.signatureCoverage, "the signature must cover \"\(name)\"")
    }
    for component in input.components {
      // The request is kept as evidence with one value for each field, from which the same base must follow.
      guard component.parameters.list.isEmpty else {
        throw ProofError(.signatureCoverage, "the covered component '\(component.name)' must have no parameters")
      }
      // Of two lines, another reader might take the one that this one does not.
      guard component.name.utf8.first == UInt8(ascii: "@") || message.values(component.name).count <= 1 else {
        throw ProofError(.signatureCoverage, "the request has the field '\(component.name)' more than once")
      }
    }
  }

  /// Verifies time, key, body and signature, in the order of their cost.
  /// - Parameters:
  ///   - key: the key of the thumbprint ``keyID``.
  ///   - body: the content as received.
  ///   - now: the present moment.
  /// - Throws: `signature_not_yet_valid`, `signature_expired`, `key_mismatch`, `digest_missing`, `digest_mismatch`,
  ///   `signature_coverage`, `signature_malformed` or `signature_invalid`.
  public func verified(
    with key: VerificationKey, body: [UInt8], now: Timestamp
  ) throws(ProofError) -> VerifiedSignedRequest {
    let seconds = now.seconds
    guard created <= seconds + policy.futureSkew else {
      throw ProofError(.signatureNotYetValid, "'created' lies in the future; compare the two clocks")
    }
    guard seconds < end else { throw ProofError(.signatureExpired, "the signature has expired; sign the request anew") }
    guard key.thumbprint == keyID, let algorithm = key.algorithms.first,
      Set<JWSAlgorithm>.proofOfPossession.contains(algorithm)
    else { throw ProofError(.keyMismatch, "'keyid' must be the thumbprint of the key that the request is bound to") }
    if let named = signature.input.algorithm, named != algorithm.httpSignatureName {
      throw ProofError(.keyMismatch, "'alg' is not the algorithm of the key; leave it out")
    }
    if signature.input.components.contains(where: { $0.name == "content-digest" }) {
      try ContentDigest.verify(message.values("content-digest"), body: body)
    }
    let base = try SignatureBase.build(message, signature.input)
    do {
      try key.verify(signature: signature.signature, message: base, algorithm: algorithm)
    } catch {
      throw ProofError(.signatureInvalid, "the request's signature does not verify; sign it as it is sent")
    }
    return VerifiedSignedRequest(
      keyThumbprint: keyID, created: Timestamp(seconds: created), notAfter: Timestamp(seconds: end), nonce: nonce,
      components: signature.input.components.map(\.name), signatureBase: base, signature: signature.signature,
      algorithm: algorithm)
  }
}

/// A request whose signature was verified. Made by ``UnverifiedSignedRequest`` alone.
public struct VerifiedSignedRequest: Sendable {
  /// RFC 7638's thumbprint of the key, SHA-256 in base64url.
  public let keyThumbprint: String
  /// When it was signed, as its sender says.
  public let created: Timestamp
  /// From this moment on the signature does not count: `expires`, or `created` and the policy's greatest age.
  public let notAfter: Timestamp
  /// The nonce: no two requests of one key may have the same within their life; see ``ReplayCache``.
  public let nonce: String
  /// The names of the covered components, in order.
  public let components: [String]
  /// The bytes that were signed, kept as evidence.
  public let signatureBase: [UInt8]
  /// The signature, kept as evidence.
  public let signature: [UInt8]
  /// The algorithm.
  public let algorithm: JWSAlgorithm

  fileprivate init(
    keyThumbprint: String, created: Timestamp, notAfter: Timestamp, nonce: String, components: [String],
    signatureBase: [UInt8], signature: [UInt8], algorithm: JWSAlgorithm
  ) {
    self.keyThumbprint = keyThumbprint
    self.created = created
    self.notAfter = notAfter
    self.nonce = nonce
    self.components = components
    self.signatureBase = signatureBase
    self.signature = signature
    self.algorithm = algorithm
  }
}
