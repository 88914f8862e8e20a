/// Why a bundle could not be fetched. Equality is by code.
public struct FederationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The URL is none that a bundle can be fetched from.
    public static let url = Code("federation_url")
    /// The endpoint could not be reached, or broke the connection off.
    public static let connection = Code("federation_unreachable")
    /// TLS failed: with `https_web`, the endpoint's certificate among other things.
    public static let tls = Code("federation_tls")
    /// With `https_spiffe`: the endpoint did not prove the identity that is pinned.
    public static let identity = Code("federation_identity")
    /// The bundle to verify the endpoint with is not at hand.
    public static let untrusted = Code("federation_bundle_missing")
    /// It took too long.
    public static let timeout = Code("federation_timeout")
    /// The answer is too long.
    public static let tooLong = Code("federation_answer_too_long")
    /// The answer is no HTTP/1.1, or compressed.
    public static let malformed = Code("federation_answer_malformed")
    /// The answer has another status than 200.
    public static let status = Code("federation_status")
    /// A redirect leads nowhere, or there are too many.
    public static let redirect = Code("federation_redirect")
    /// The federation was changed or ended while its bundle was fetched, or the daemon stops.
    public static let overtaken = Code("federation_overtaken")
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
  public static func == (a: FederationError, b: FederationError) -> Bool { a.code == b.code }
}
