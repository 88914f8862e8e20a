public import Wire

/// Why a command of a person at a terminal did not do what it was asked. Equality is by code.
public struct OperatorError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons: those below, and every code of a problem that the daemon answers with.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// No daemon answers.
    public static let unreachable = Code("daemon_unreachable")
    /// A file that was named is missing or cannot be read.
    public static let noInput = Code("no_input")
    /// A file does not hold what it should.
    public static let malformed = Code("malformed")
    /// The private key's file may be read by others.
    public static let exposed = Code("key_file_exposed")
    /// An answer is not what the daemon's description promises.
    public static let unexpectedAnswer = Code("unexpected_answer")
    /// A command was given in a way that cannot be meant.
    public static let usage = Code("usage")
    /// Reading or writing failed.
    public static let inputOutput = Code("io_failed")
    /// The output cannot be made.
    public static let cannotCreate = Code("cannot_create")
    /// A folder cannot be written, and may be later.
    public static let folderNotWritten = Code("folder_not_written")
    /// The input is no encrypted file of TrustCore.
    public static let notEnvelope = Code("not_an_envelope")
    /// The input was encrypted by a later version.
    public static let tooNew = Code("envelope_too_new")
    /// The input ends before its end.
    public static let truncated = Code("envelope_truncated")
    /// The input, or the context, is not what was encrypted.
    public static let notAuthentic = Code("not_authentic")
    /// A token is not ready.
    public static let notReady = Code("not_ready")
    /// A PIN was refused, or is locked.
    public static let wrongPIN = Code("wrong_pin")
    /// A PKCS#11 module, or its token, failed.
    public static let hsmFailed = Code("hsm_failed")
    /// This process cannot keep secrets, or something else of this machine failed.
    public static let failed = Code("failed")
  }

  /// The reason.
  public let code: Code
  /// What happened and what to do about it; never a secret.
  public let message: String
  /// The HTTP status of the answer that this was; nil where it was none.
  public let status: Int?
  /// Where the error was made.
  public let file: String
  /// The line in ``file``.
  public let line: UInt

  /// Makes an error.
  public init(_ code: Code, _ message: String, status: Int? = nil, file: String = #fileID, line: UInt = #line) {
    self.code = code
    self.message = message
    self.status = status
    self.file = file
    self.line = line
  }

  /// The message and the code.
  public var description: String { "\(message) [\(code)]" }

  /// Errors are equal when their codes are.
  public static func == (a: OperatorError, b: OperatorError) -> Bool { a.code == b.code }

  /// The members of the report that `--json` asks for.
  public var json: JSONObject {
    var object: JSONObject = ["code": .string(code.description), "detail": .string(message)]
    if let status { object["status"] = .integer(Int64(status)) }
    object["exit_code"] = .integer(Int64(exitCode))
    return object
  }

  /// The exit status of a program that ends because of this (sysexits.h).
  public var exitCode: Int32 {
    if let own = Self.exitCodes[code] { return own }
    switch status {
    case 401, 403: return 77
    case 404: return 66
    case 429, 503: return 75
    case .some(400..<500): return 65
    default: return 70
    }
  }

  private static let exitCodes: [Code: Int32] = [
    .usage: 64, .malformed: 65, .notEnvelope: 65, .tooNew: 65, .truncated: 65, .notAuthentic: 65, .noInput: 66,
    .unreachable: 69, .hsmFailed: 69, .cannotCreate: 73, .folderNotWritten: 73, .inputOutput: 74, .notReady: 75,
    .exposed: 77, .wrongPIN: 77,
    // What the caller says about the data is wrong, whatever the status says about the caller.
    Code("context_mismatch"): 65, Code("wrong_context"): 65,
  ]
}
