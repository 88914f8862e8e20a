internal import CP11Kit

/// A return value of a PKCS#11 function other than CKR_OK, or a refusal of ours in the same terms. Equality is by code.
public struct PKCS11Error: Error, Sendable, Equatable, CustomStringConvertible {
  /// A CK_RV (PKCS#11 2.40, section 11.1): an open set.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt
    /// Makes a code.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// The name, `CKR_…`; the number in hexadecimal where the specification has no name for it.
    public var description: String { ReturnValue.known[rawValue]?.name ?? "CKR_0x" + String(rawValue, radix: 16) }
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
  public var kind: Kind { ReturnValue.known[code.rawValue]?.kind ?? .fatal }

  /// Function, code and message.
  public var description: String { "\(function): \(code)" + (message.isEmpty ? "" : ": \(message)") }

  /// Errors are equal when their codes are.
  public static func == (a: PKCS11Error, b: PKCS11Error) -> Bool { a.code == b.code }
}

extension PKCS11Error.Code {
  /// An argument is wrong.
  public static let argumentsBad = Self(rawValue: CKR_ARGUMENTS_BAD)
  /// The attribute exists and is not told.
  public static let attributeSensitive = Self(rawValue: CKR_ATTRIBUTE_SENSITIVE)
  /// The object has no such attribute.
  public static let attributeTypeInvalid = Self(rawValue: CKR_ATTRIBUTE_TYPE_INVALID)
  /// The module is initialised already, by someone else.
  public static let alreadyInitialized = Self(rawValue: CKR_CRYPTOKI_ALREADY_INITIALIZED)
  /// The module is not initialised.
  public static let notInitialized = Self(rawValue: CKR_CRYPTOKI_NOT_INITIALIZED)
  /// The data has a length that the mechanism does not take.
  public static let dataLengthRange = Self(rawValue: CKR_DATA_LEN_RANGE)
  /// The token failed.
  public static let deviceError = Self(rawValue: CKR_DEVICE_ERROR)
  /// A failure with no name.
  public static let generalError = Self(rawValue: CKR_GENERAL_ERROR)
  /// A key is not the one that it was.
  public static let keyChanged = Self(rawValue: CKR_KEY_CHANGED)
  /// The key's usage flags forbid the operation.
  public static let keyFunctionNotPermitted = Self(rawValue: CKR_KEY_FUNCTION_NOT_PERMITTED)
  /// The key is of another kind, or not the only one.
  public static let keyTypeInconsistent = Self(rawValue: CKR_KEY_TYPE_INCONSISTENT)
  /// The token does not have the mechanism.
  public static let mechanismInvalid = Self(rawValue: CKR_MECHANISM_INVALID)
  /// The PIN is wrong.
  public static let pinIncorrect = Self(rawValue: CKR_PIN_INCORRECT)
  /// The PIN is locked.
  public static let pinLocked = Self(rawValue: CKR_PIN_LOCKED)
  /// The session was closed.
  public static let sessionClosed = Self(rawValue: CKR_SESSION_CLOSED)
  /// The session does not exist (any more).
  public static let sessionHandleInvalid = Self(rawValue: CKR_SESSION_HANDLE_INVALID)
  /// The template contradicts itself, or what the key demands of it.
  public static let templateInconsistent = Self(rawValue: CKR_TEMPLATE_INCONSISTENT)
  /// No such token.
  public static let tokenNotPresent = Self(rawValue: CKR_TOKEN_NOT_PRESENT)
  /// The user is logged in already, by another part of this process.
  public static let userAlreadyLoggedIn = Self(rawValue: CKR_USER_ALREADY_LOGGED_IN)
  /// Nobody is logged in.
  public static let userNotLoggedIn = Self(rawValue: CKR_USER_NOT_LOGGED_IN)
}

/// The names of PKCS#11 2.40, section 11.1, and what helps against each.
enum ReturnValue {
  static let known: [UInt: (name: String, kind: PKCS11Error.Kind)] = {
    var table: [UInt: (name: String, kind: PKCS11Error.Kind)] = [:]
    for (kind, values) in groups {
      for (value, name) in values { table[value] = ("CKR_" + name, kind) }
    }
    return table
  }()

  private static let groups: [(PKCS11Error.Kind, [(UInt, String)])] = [
    (
      .retry,
      [
        (CKR_CANCEL, "CANCEL"), (CKR_DEVICE_MEMORY, "DEVICE_MEMORY"), (CKR_FUNCTION_CANCELED, "FUNCTION_CANCELED"),
        (CKR_HOST_MEMORY, "HOST_MEMORY"), (CKR_OPERATION_ACTIVE, "OPERATION_ACTIVE"),
        (CKR_SESSION_COUNT, "SESSION_COUNT"),
      ]
    ),
    (
      .relogin,
      [
        (CKR_KEY_HANDLE_INVALID, "KEY_HANDLE_INVALID"), (CKR_OBJECT_HANDLE_INVALID, "OBJECT_HANDLE_INVALID"),
        (CKR_OPERATION_NOT_INITIALIZED, "OPERATION_NOT_INITIALIZED"), (CKR_SESSION_CLOSED, "SESSION_CLOSED"),
        (CKR_SESSION_HANDLE_INVALID, "SESSION_HANDLE_INVALID"), (CKR_USER_NOT_LOGGED_IN, "USER_NOT_LOGGED_IN"),
      ]
    ),
    (
      .reinitialise,
      [
        (CKR_CRYPTOKI_NOT_INITIALIZED, "CRYPTOKI_NOT_INITIALIZED"), (CKR_DEVICE_ERROR, "DEVICE_ERROR"),
        (CKR_DEVICE_REMOVED, "DEVICE_REMOVED"), (CKR_SLOT_ID_INVALID, "SLOT_ID_INVALID"),
        (CKR_TOKEN_NOT_PRESENT, "TOKEN_NOT_PRESENT"), (CKR_TOKEN_NOT_RECOGNIZED, "TOKEN_NOT_RECOGNIZED"),
      ]
    ),
    (
      .caller,
      [
        (CKR_ARGUMENTS_BAD, "ARGUMENTS_BAD"), (CKR_ATTRIBUTE_READ_ONLY, "ATTRIBUTE_READ_ONLY"),
        (CKR_ATTRIBUTE_SENSITIVE, "ATTRIBUTE_SENSITIVE"), (CKR_ATTRIBUTE_TYPE_INVALID, "ATTRIBUTE_TYPE_INVALID"),
        (CKR_ATTRIBUTE_VALUE_INVALID, "ATTRIBUTE_VALUE_INVALID"), (CKR_BUFFER_TOO_SMALL, "BUFFER_TOO_SMALL"),
        (CKR_CRYPTOKI_ALREADY_INITIALIZED, "CRYPTOKI_ALREADY_INITIALIZED"),
        (CKR_FUNCTION_NOT_SUPPORTED, "FUNCTION_NOT_SUPPORTED"),
        (CKR_KEY_CHANGED, "KEY_CHANGED"), (CKR_KEY_FUNCTION_NOT_PERMITTED, "KEY_FUNCTION_NOT_PERMITTED"),
        (CKR_KEY_NOT_WRAPPABLE, "KEY_NOT_WRAPPABLE"),
        (CKR_KEY_SIZE_RANGE, "KEY_SIZE_RANGE"), (CKR_KEY_TYPE_INCONSISTENT, "KEY_TYPE_INCONSISTENT"),
        (CKR_KEY_UNEXTRACTABLE, "KEY_UNEXTRACTABLE"), (CKR_MECHANISM_INVALID, "MECHANISM_INVALID"),
        (CKR_MECHANISM_PARAM_INVALID, "MECHANISM_PARAM_INVALID"), (CKR_PIN_EXPIRED, "PIN_EXPIRED"),
        (CKR_PIN_INCORRECT, "PIN_INCORRECT"), (CKR_PIN_INVALID, "PIN_INVALID"), (CKR_PIN_LEN_RANGE, "PIN_LEN_RANGE"),
        (CKR_PIN_LOCKED, "PIN_LOCKED"), (CKR_SESSION_EXISTS, "SESSION_EXISTS"),
        (CKR_SESSION_READ_ONLY, "SESSION_READ_ONLY"), (CKR_TEMPLATE_INCOMPLETE, "TEMPLATE_INCOMPLETE"),
        (CKR_TEMPLATE_INCONSISTENT, "TEMPLATE_INCONSISTENT"),
        (CKR_TOKEN_WRITE_PROTECTED, "TOKEN_WRITE_PROTECTED"),
        (CKR_UNWRAPPING_KEY_HANDLE_INVALID, "UNWRAPPING_KEY_HANDLE_INVALID"),
        (CKR_USER_ALREADY_LOGGED_IN, "USER_ALREADY_LOGGED_IN"),
        (CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "USER_ANOTHER_ALREADY_LOGGED_IN"),
        (CKR_USER_PIN_NOT_INITIALIZED, "USER_PIN_NOT_INITIALIZED"), (CKR_USER_TYPE_INVALID, "USER_TYPE_INVALID"),
        (CKR_WRAPPING_KEY_HANDLE_INVALID, "WRAPPING_KEY_HANDLE_INVALID"),
      ]
    ),
    (
      .data,
      [
        (CKR_DATA_INVALID, "DATA_INVALID"), (CKR_DATA_LEN_RANGE, "DATA_LEN_RANGE"),
        (CKR_ENCRYPTED_DATA_INVALID, "ENCRYPTED_DATA_INVALID"),
        (CKR_ENCRYPTED_DATA_LEN_RANGE, "ENCRYPTED_DATA_LEN_RANGE"), (CKR_SIGNATURE_INVALID, "SIGNATURE_INVALID"),
        (CKR_SIGNATURE_LEN_RANGE, "SIGNATURE_LEN_RANGE"), (CKR_WRAPPED_KEY_INVALID, "WRAPPED_KEY_INVALID"),
        (CKR_WRAPPED_KEY_LEN_RANGE, "WRAPPED_KEY_LEN_RANGE"),
      ]
    ),
    (
      .fatal,
      [
        (CKR_CANT_LOCK, "CANT_LOCK"), (CKR_FUNCTION_FAILED, "FUNCTION_FAILED"), (CKR_GENERAL_ERROR, "GENERAL_ERROR"),
        (CKR_NEED_TO_CREATE_THREADS, "NEED_TO_CREATE_THREADS"), (CKR_RANDOM_NO_RNG, "RANDOM_NO_RNG"),
      ]
    ),
  ]
}
