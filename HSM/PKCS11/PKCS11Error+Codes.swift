internal import CP11Kit

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
  /// A ciphertext or what it is bound to was changed (PKCS#11 3.0). This client says so for tokens that lack the code.
  public static let aeadDecryptFailed = Self(rawValue: 0x42)
  /// The result needs more room.
  public static let bufferTooSmall = Self(rawValue: CKR_BUFFER_TOO_SMALL)
  /// The data does not fit the mechanism.
  public static let dataInvalid = Self(rawValue: CKR_DATA_INVALID)
  /// The data has a length that the mechanism does not take.
  public static let dataLengthRange = Self(rawValue: CKR_DATA_LEN_RANGE)
  /// The token failed.
  public static let deviceError = Self(rawValue: CKR_DEVICE_ERROR)
  /// The token has no room for a session or an object.
  public static let deviceMemory = Self(rawValue: CKR_DEVICE_MEMORY)
  /// The token was pulled.
  public static let deviceRemoved = Self(rawValue: CKR_DEVICE_REMOVED)
  /// The ciphertext is unfit.
  public static let encryptedDataInvalid = Self(rawValue: CKR_ENCRYPTED_DATA_INVALID)
  /// The function could not be carried out, nobody knows why.
  public static let functionFailed = Self(rawValue: CKR_FUNCTION_FAILED)
  /// The module does not have the function.
  public static let functionNotSupported = Self(rawValue: CKR_FUNCTION_NOT_SUPPORTED)
  /// A failure with no name.
  public static let generalError = Self(rawValue: CKR_GENERAL_ERROR)
  /// This machine has no memory for it, or none that can be locked.
  public static let hostMemory = Self(rawValue: CKR_HOST_MEMORY)
  /// A key is not the one that it was.
  public static let keyChanged = Self(rawValue: CKR_KEY_CHANGED)
  /// The key's usage flags forbid the operation.
  public static let keyFunctionNotPermitted = Self(rawValue: CKR_KEY_FUNCTION_NOT_PERMITTED)
  /// The key is of another kind, or not the only one.
  public static let keyTypeInconsistent = Self(rawValue: CKR_KEY_TYPE_INCONSISTENT)
  /// The token does not have the mechanism.
  public static let mechanismInvalid = Self(rawValue: CKR_MECHANISM_INVALID)
  /// The key does not exist (any more).
  public static let keyHandleInvalid = Self(rawValue: CKR_KEY_HANDLE_INVALID)
  /// The mechanism's parameter is unfit.
  public static let mechanismParameterInvalid = Self(rawValue: CKR_MECHANISM_PARAM_INVALID)
  /// The object does not exist (any more).
  public static let objectHandleInvalid = Self(rawValue: CKR_OBJECT_HANDLE_INVALID)
  /// The session is in the middle of another operation.
  public static let operationActive = Self(rawValue: CKR_OPERATION_ACTIVE)
  /// The PIN is out of date.
  public static let pinExpired = Self(rawValue: CKR_PIN_EXPIRED)
  /// The PIN is wrong.
  public static let pinIncorrect = Self(rawValue: CKR_PIN_INCORRECT)
  /// The PIN is locked.
  public static let pinLocked = Self(rawValue: CKR_PIN_LOCKED)
  /// The session was closed.
  public static let sessionClosed = Self(rawValue: CKR_SESSION_CLOSED)
  /// The token allows no further session.
  public static let sessionCount = Self(rawValue: CKR_SESSION_COUNT)
  /// The session does not exist (any more).
  public static let sessionHandleInvalid = Self(rawValue: CKR_SESSION_HANDLE_INVALID)
  /// The session makes no token objects.
  public static let sessionReadOnly = Self(rawValue: CKR_SESSION_READ_ONLY)
  /// The signature does not verify.
  public static let signatureInvalid = Self(rawValue: CKR_SIGNATURE_INVALID)
  /// The signature has a length that the mechanism does not give.
  public static let signatureLengthRange = Self(rawValue: CKR_SIGNATURE_LEN_RANGE)
  /// The template lacks an attribute.
  public static let templateIncomplete = Self(rawValue: CKR_TEMPLATE_INCOMPLETE)
  /// The template contradicts itself, or what the key demands of it.
  public static let templateInconsistent = Self(rawValue: CKR_TEMPLATE_INCONSISTENT)
  /// No such token.
  public static let tokenNotPresent = Self(rawValue: CKR_TOKEN_NOT_PRESENT)
  /// The token has used up something of its own (PKCS#11 3.0).
  public static let tokenResourceExceeded = Self(rawValue: 0x201)
  /// The user is logged in already, by another part of this process.
  public static let userAlreadyLoggedIn = Self(rawValue: CKR_USER_ALREADY_LOGGED_IN)
  /// Nobody is logged in.
  public static let userNotLoggedIn = Self(rawValue: CKR_USER_NOT_LOGGED_IN)
  /// What should be a wrapped key is none.
  public static let wrappedKeyInvalid = Self(rawValue: CKR_WRAPPED_KEY_INVALID)
  /// What should be a wrapped key has another length.
  public static let wrappedKeyLengthRange = Self(rawValue: CKR_WRAPPED_KEY_LEN_RANGE)
}
