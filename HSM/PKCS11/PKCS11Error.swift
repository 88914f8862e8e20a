/// A return value of a PKCS#11 function other than CKR_OK, or a refusal of ours in the same terms. Equality is by code.
public struct PKCS11Error: Error, Sendable, Equatable, CustomStringConvertible {
  /// A CK_RV (PKCS#11 2.40, section 5.1): an open set.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt
    /// Makes a code.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// The name, `CKR_…`; the number in hexadecimal where the specification has no name for it.
    public var description: String { ReturnValue.known[rawValue]?.name ?? "CKR_0x" + String(rawValue, radix: 16) }
    /// What helps.
    public var kind: Kind { ReturnValue.known[rawValue]?.kind ?? .fatal }
    /// Every code that PKCS#11 2.40 to 3.2 name, by number; CKR_OK and CKR_VENDOR_DEFINED are none.
    public static var all: [Code] { ReturnValue.known.keys.sorted().map(Code.init(rawValue:)) }
  }

  /// What helps.
  public enum Kind: String, Sendable {
    /// The same call may succeed on a fresh session: a limit or a cancelled call.
    case retry
    /// The session, the login or the handles are gone: open, log in, find the keys again.
    case relogin
    /// The token or the module is gone: initialise the module again, then as ``relogin``.
    case reinitialise
    /// The call was wrong, and repeating it (a PIN above all) makes it no better.
    case caller
    /// The data does not fit the mechanism, or does not verify.
    case data
    /// Nothing that is known.
    case fatal
  }

  /// The code.
  public let code: Code
  /// The function that returned it, `C_…`, or the p11-kit function in use.
  public let function: String
  /// What happened and what to do about it, beyond the code; never a secret.
  public let message: String
  /// Where the error was made.
  public let file: String
  /// The line in ``file``.
  public let line: UInt

  /// Makes an error.
  public init(
    _ code: Code, in function: String, _ message: String = "", file: String = #fileID, line: UInt = #line
  ) {
    self.code = code
    self.function = function
    self.message = message
    self.file = file
    self.line = line
  }

  /// What helps.
  public var kind: Kind { code.kind }

  /// Function, code and message.
  public var description: String { "\(function): \(code)" + (message.isEmpty ? "" : ": \(message)") }

  /// Errors are equal when their codes are.
  public static func == (a: PKCS11Error, b: PKCS11Error) -> Bool { a.code == b.code }
}
