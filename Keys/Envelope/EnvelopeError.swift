import SecretMemory

/// Why something was not sealed, opened or kept. Equality is by code.
public struct EnvelopeError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// A ciphertext, its header, its context or its key is not what was sealed.
    public static let notAuthentic = Code("not_authentic")
    /// A stream stops before its last chunk.
    public static let truncated = Code("truncated")
    /// A stream has more chunks than one key may seal, or one call brings too many bytes.
    public static let tooLong = Code("too_long")
    /// A key, a context, a name or a wrapped key has a length that is not allowed.
    public static let badLength = Code("bad_length")
    /// A public key is malformed.
    public static let badKey = Code("bad_key")
    /// The file does not begin as ours do.
    public static let notAnEnvelope = Code("not_an_envelope")
    /// The file was written in a form that this version does not read.
    public static let unsupportedVersion = Code("unsupported_version")
    /// Every place of the cache is in use at this moment.
    public static let cacheFull = Code("cache_full")
    /// The kernel gave no locked memory.
    public static let noLockedMemory = Code("no_locked_memory")
    /// The cryptographic library refused for a reason that fits no other code.
    public static let failed = Code("crypto_failed")
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

  init(_ error: SecretMemoryError) {
    self.init(error.code == .noLockedMemory ? .noLockedMemory : .failed, error.message)
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Errors are equal when their codes are.
  public static func == (a: EnvelopeError, b: EnvelopeError) -> Bool { a.code == b.code }
}

/// Runs what allocates locked memory, with the errors of this module.
func inLockedMemory<R: ~Copyable>(_ body: () throws(SecretMemoryError) -> R) throws(EnvelopeError) -> R {
  do { return try body() } catch { throw EnvelopeError(error) }
}
