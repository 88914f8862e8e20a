/// The return values of PKCS#11 2.40 (pkcs11t.h, errata 01), of 3.0 and of what came since (3.2), and what helps against
/// each. The numbers are OASIS's: p11-kit 0.24.1 has others for the five from CKR_EXCEEDED_MAX_ITERATIONS on.
enum ReturnValue {
  static let known: [UInt: (name: String, kind: PKCS11Error.Kind)] = {
    var table: [UInt: (name: String, kind: PKCS11Error.Kind)] = [:]
    for (kind, values) in groups {
      for (value, name) in values { table[value] = ("CKR_" + name, kind) }
    }
    return table
  }()

  private static let groups: [(PKCS11Error.Kind, KeyValuePairs<UInt, String>)] = [
    (.retry, retry), (.relogin, relogin), (.reinitialise, reinitialise), (.caller, caller), (.data, data),
    (.fatal, fatal),
  ]

  private static let retry: KeyValuePairs<UInt, String> = [
    0x1: "CANCEL", 0x2: "HOST_MEMORY", 0x31: "DEVICE_MEMORY", 0x50: "FUNCTION_CANCELED", 0x90: "OPERATION_ACTIVE",
    0xb1: "SESSION_COUNT", 0x201: "TOKEN_RESOURCE_EXCEEDED", 0x202: "OPERATION_CANCEL_FAILED",
  ]

  // The handles of wrapping keys go with the login as all others do.
  private static let relogin: KeyValuePairs<UInt, String> = [
    0x60: "KEY_HANDLE_INVALID", 0x82: "OBJECT_HANDLE_INVALID", 0x91: "OPERATION_NOT_INITIALIZED",
    0xb0: "SESSION_CLOSED", 0xb3: "SESSION_HANDLE_INVALID", 0xf0: "UNWRAPPING_KEY_HANDLE_INVALID",
    0x101: "USER_NOT_LOGGED_IN", 0x113: "WRAPPING_KEY_HANDLE_INVALID",
  ]

  private static let reinitialise: KeyValuePairs<UInt, String> = [
    0x3: "SLOT_ID_INVALID", 0x30: "DEVICE_ERROR", 0x32: "DEVICE_REMOVED", 0xe0: "TOKEN_NOT_PRESENT",
    0xe1: "TOKEN_NOT_RECOGNIZED", 0x190: "CRYPTOKI_NOT_INITIALIZED",
  ]

  private static let caller: KeyValuePairs<UInt, String> = [
    0x7: "ARGUMENTS_BAD", 0x10: "ATTRIBUTE_READ_ONLY", 0x11: "ATTRIBUTE_SENSITIVE", 0x12: "ATTRIBUTE_TYPE_INVALID",
    0x13: "ATTRIBUTE_VALUE_INVALID", 0x1b: "ACTION_PROHIBITED", 0x51: "FUNCTION_NOT_PARALLEL",
    0x54: "FUNCTION_NOT_SUPPORTED", 0x62: "KEY_SIZE_RANGE", 0x63: "KEY_TYPE_INCONSISTENT", 0x64: "KEY_NOT_NEEDED",
    0x65: "KEY_CHANGED", 0x66: "KEY_NEEDED", 0x67: "KEY_INDIGESTIBLE", 0x68: "KEY_FUNCTION_NOT_PERMITTED",
    0x69: "KEY_NOT_WRAPPABLE", 0x6a: "KEY_UNEXTRACTABLE", 0x70: "MECHANISM_INVALID", 0x71: "MECHANISM_PARAM_INVALID",
    0xa0: "PIN_INCORRECT", 0xa1: "PIN_INVALID", 0xa2: "PIN_LEN_RANGE", 0xa3: "PIN_EXPIRED", 0xa4: "PIN_LOCKED",
    0xb4: "SESSION_PARALLEL_NOT_SUPPORTED", 0xb5: "SESSION_READ_ONLY", 0xb6: "SESSION_EXISTS",
    0xb7: "SESSION_READ_ONLY_EXISTS", 0xb8: "SESSION_READ_WRITE_SO_EXISTS", 0xd0: "TEMPLATE_INCOMPLETE",
    0xd1: "TEMPLATE_INCONSISTENT", 0xe2: "TOKEN_WRITE_PROTECTED", 0xf1: "UNWRAPPING_KEY_SIZE_RANGE",
    0xf2: "UNWRAPPING_KEY_TYPE_INCONSISTENT", 0x100: "USER_ALREADY_LOGGED_IN", 0x102: "USER_PIN_NOT_INITIALIZED",
    0x103: "USER_TYPE_INVALID", 0x104: "USER_ANOTHER_ALREADY_LOGGED_IN", 0x105: "USER_TOO_MANY_TYPES",
    0x114: "WRAPPING_KEY_SIZE_RANGE", 0x115: "WRAPPING_KEY_TYPE_INCONSISTENT", 0x120: "RANDOM_SEED_NOT_SUPPORTED",
    0x130: "DOMAIN_PARAMS_INVALID", 0x140: "CURVE_NOT_SUPPORTED", 0x150: "BUFFER_TOO_SMALL",
    0x170: "INFORMATION_SENSITIVE", 0x180: "STATE_UNSAVEABLE", 0x191: "CRYPTOKI_ALREADY_INITIALIZED",
    0x1b0: "NEW_PIN_MODE", 0x1b1: "NEXT_OTP", 0x1b5: "EXCEEDED_MAX_ITERATIONS", 0x1b8: "PIN_TOO_WEAK",
    0x200: "FUNCTION_REJECTED", 0x203: "KEY_EXHAUSTED", 0x205: "SESSION_ASYNC_NOT_SUPPORTED",
    0x206: "SEED_RANDOM_REQUIRED", 0x207: "OPERATION_NOT_VALIDATED", 0x208: "TOKEN_NOT_INITIALIZED",
    0x209: "PARAMETER_SET_NOT_SUPPORTED",
  ]

  private static let data: KeyValuePairs<UInt, String> = [
    0x20: "DATA_INVALID", 0x21: "DATA_LEN_RANGE", 0x40: "ENCRYPTED_DATA_INVALID", 0x41: "ENCRYPTED_DATA_LEN_RANGE",
    0x42: "AEAD_DECRYPT_FAILED", 0xc0: "SIGNATURE_INVALID", 0xc1: "SIGNATURE_LEN_RANGE", 0x110: "WRAPPED_KEY_INVALID",
    0x112: "WRAPPED_KEY_LEN_RANGE", 0x160: "SAVED_STATE_INVALID", 0x1b9: "PUBLIC_KEY_INVALID",
  ]

  // Those that only functions which this client never calls return (NO_EVENT, PENDING) say nothing of a token either.
  private static let fatal: KeyValuePairs<UInt, String> = [
    0x5: "GENERAL_ERROR", 0x6: "FUNCTION_FAILED", 0x8: "NO_EVENT", 0x9: "NEED_TO_CREATE_THREADS", 0xa: "CANT_LOCK",
    0x121: "RANDOM_NO_RNG", 0x1a0: "MUTEX_BAD", 0x1a1: "MUTEX_NOT_LOCKED", 0x1b6: "FIPS_SELF_TEST_FAILED",
    0x1b7: "LIBRARY_LOAD_FAILED", 0x204: "PENDING",
  ]
}
