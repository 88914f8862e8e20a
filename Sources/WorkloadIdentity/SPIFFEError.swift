/// Why something is not what the SPIFFE standards say it is. Equality is by code.
public struct SPIFFEError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The trust domain has no name, a character that it may not have, or more than 255 bytes.
    public static let trustDomain = Code("spiffe_trust_domain")
    /// The text is no SPIFFE ID.
    public static let id = Code("spiffe_id")
    /// A selector is not `type:value`.
    public static let selector = Code("selector_malformed")
    /// A certificate or chain is no X.509-SVID.
    public static let x509SVID = Code("x509_svid_invalid")
    /// A token is no JWT-SVID.
    public static let jwtSVID = Code("jwt_svid_invalid")
    /// A document is no SPIFFE bundle.
    public static let bundle = Code("spiffe_bundle_invalid")
    /// The trust domain's bundle is not at hand.
    public static let untrusted = Code("trust_domain_unknown")
    /// A certificate signing request is malformed or asks for what is not given.
    public static let request = Code("csr_invalid")
    /// A registration entry breaks a rule.
    public static let entry = Code("entry_invalid")
    /// A certificate or a key of an authority is not what it must be.
    public static let authority = Code("authority_invalid")
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
  public static func == (a: SPIFFEError, b: SPIFFEError) -> Bool { a.code == b.code }
}
