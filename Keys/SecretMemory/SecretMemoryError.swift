/// Why a secret could not be held or read. Equality is by code.
public struct SecretMemoryError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The kernel gave no locked memory.
    public static let noLockedMemory = Code("no_locked_memory")
    /// A secret has no bytes, or more than the limit.
    public static let badLength = Code("bad_secret_length")
    /// The file cannot be opened or read, or is no regular file.
    public static let unreadable = Code("secret_file_unreadable")
    /// The file is someone else's, or others may use it.
    public static let exposed = Code("secret_file_exposed")
    /// The process could not be closed to debuggers and core dumps.
    public static let notHardened = Code("process_not_hardened")
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
  public static func == (a: SecretMemoryError, b: SecretMemoryError) -> Bool { a.code == b.code }
}
