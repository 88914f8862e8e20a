/// Why something about the log was refused. Equality is by code.
public struct LogError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// A text or byte string is not in the form that its specification demands.
    public static let malformed = Code("log_malformed")
    /// An input is larger than its limit.
    public static let tooLarge = Code("log_too_large")
    /// A Merkle proof does not prove what it claims.
    public static let proofInvalid = Code("log_proof_invalid")
    /// An index or a size lies outside the tree.
    public static let outOfRange = Code("log_out_of_range")
    /// A signature by a known key does not verify.
    public static let signatureInvalid = Code("log_signature_invalid")
    /// No signature is by a known key of this log.
    public static let notSigned = Code("log_not_signed")
    /// Stored tiles are missing, short, or hash to another root.
    public static let storeInconsistent = Code("log_store_inconsistent")
    /// A write does not continue what is stored.
    public static let outOfOrder = Code("log_out_of_order")
    /// Another log's head was presented.
    public static let wrongOrigin = Code("log_wrong_origin")
    /// A head does not extend the last one signed: a fork or a rollback.
    public static let notAnExtension = Code("log_not_an_extension")
    /// The signer's head file is missing, unreadable or corrupt.
    public static let headFile = Code("log_head_file")
    /// Another signature is under way, or another process holds the head file.
    public static let busy = Code("log_busy")
    /// More submissions wait than the queue may hold.
    public static let overloaded = Code("log_overloaded")
    /// The log takes no more entries until an operator acts.
    public static let readOnly = Code("log_read_only")
  }

  /// The reason.
  public let code: Code
  /// What happened and what to do about it; never a secret.
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
  public static func == (a: LogError, b: LogError) -> Bool { a.code == b.code }
}
