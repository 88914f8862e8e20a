/// Why a proof of possession, a request signature or a DPoP proof, was refused. Equality is by code.
public struct ProofError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons; the text is the problem code that clients see.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }

    /// The request carries no signature.
    public static let signatureMissing = Code("signature_missing")
    /// `Signature-Input` or `Signature` cannot be read, or asks for what RFC 9421 does not define.
    public static let signatureMalformed = Code("signature_malformed")
    /// The signature does not cover what it must, or covers what the request lacks.
    public static let signatureCoverage = Code("signature_coverage")
    /// The signature's time is over.
    public static let signatureExpired = Code("signature_expired")
    /// The signature's time has not come.
    public static let signatureNotYetValid = Code("signature_not_yet_valid")
    /// The signature does not verify.
    public static let signatureInvalid = Code("signature_invalid")
    /// No key goes by the name that the signature gives.
    public static let keyUnknown = Code("key_unknown")
    /// The key or the algorithm is another than the signature names.
    public static let keyMismatch = Code("key_mismatch")
    /// The request has no `Content-Digest` with an algorithm that is known.
    public static let digestMissing = Code("digest_missing")
    /// `Content-Digest` is not that of the body.
    public static let digestMismatch = Code("digest_mismatch")
    /// The DPoP proof is missing, malformed, for another request, too old, or replayed (RFC 9449 section 7.1).
    public static let invalidDPoPProof = Code("invalid_dpop_proof")
    /// The DPoP proof must carry a nonce of this server's (RFC 9449 section 8).
    public static let useDPoPNonce = Code("use_dpop_nonce")
    /// A nonce was used before.
    public static let replayed = Code("signature_replayed")
    /// Too many proofs are remembered; nothing is accepted until some have expired.
    public static let replayCacheFull = Code("replay_cache_full")
  }

  /// The reason.
  public let code: Code
  /// What is wrong and what to do about it; never a secret.
  public let message: String
  /// Where the error was made.
  public let file: String
  /// The line in ``file``.
  public let line: UInt

  /// Makes an error.
  public init(_ code: Code, _ message: String, file: String = #fileID, line: UInt = #line) {
    self.code = code
    self.message = message
    self.file = file
    self.line = line
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Errors are equal when their codes are.
  public static func == (a: ProofError, b: ProofError) -> Bool { a.code == b.code }
}
