/// Why a key record, a key head or an encryption context is refused. Equality is by code.
public struct KeyRecordError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// Bytes that are no canonical encoding.
    public static let malformed = Code("key_record_malformed")
    /// A value outside of what records hold.
    public static let invalid = Code("key_record_invalid")
    /// An encryption context that is empty, too large, or no texts.
    public static let context = Code("context_invalid")
  }

  /// The reason.
  public let code: Code
  /// What is wrong and what to do about it; never a secret.
  public let message: String

  init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Errors are equal when their codes are.
  public static func == (a: KeyRecordError, b: KeyRecordError) -> Bool { a.code == b.code }
}
