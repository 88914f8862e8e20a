/// Why a key, a signed object or a token was refused. Equality is by code.
public struct JOSEError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// A JWK or a set of them is not well-formed.
    public static let malformedKey = Code("jwk_malformed")
    /// A JWK carries private or symmetric key material where a public key belongs.
    public static let privateKey = Code("jwk_private")
    /// A JWK is well-formed but of a type, curve, size or use that is not accepted here.
    public static let unsupportedKey = Code("jwk_unsupported")
    /// A compact JWS is not well-formed.
    public static let malformed = Code("jws_malformed")
    /// The algorithm is not one that the receiver allows.
    public static let algorithmNotAllowed = Code("algorithm_not_allowed")
    /// The key does not fit the algorithm or the purpose.
    public static let keyMismatch = Code("key_mismatch")
    /// The signature does not verify.
    public static let signatureInvalid = Code("signature_invalid")
    /// A JWT lacks a claim or holds one of another value than demanded.
    public static let claimInvalid = Code("claim_invalid")
    /// A JWT's time is over.
    public static let expired = Code("token_expired")
    /// A JWT's time has not come.
    public static let notYetValid = Code("token_not_yet_valid")
    /// A private key of a client could not be used.
    public static let signingFailed = Code("signing_failed")
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
  public static func == (a: JOSEError, b: JOSEError) -> Bool { a.code == b.code }
}
