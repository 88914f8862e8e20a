/// Why a process is not attested. Equality is by code.
public struct AttestationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The kernel or the proc file system cannot do what attestation needs.
    public static let unsupported = Code("attestation_unsupported")
    /// The process lives in a pid namespace that this one cannot see.
    public static let pidNotVisible = Code("pid_not_visible")
    /// The process has exited.
    public static let gone = Code("process_gone")
    /// The process is another one than before: it executed another program or changed who it runs as.
    public static let changed = Code("process_changed")
    /// Not even who the process runs as can be read.
    public static let unreadable = Code("process_unreadable")
    /// A file of the proc file system is not of its form, or too long.
    public static let malformed = Code("procfs_malformed")
    /// The user id has no place in this user namespace.
    public static let unmappedUser = Code("uid_unmapped")
    /// Too many processes wait to be attested.
    public static let busy = Code("attestation_busy")
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
  public static func == (a: AttestationError, b: AttestationError) -> Bool { a.code == b.code }
}
