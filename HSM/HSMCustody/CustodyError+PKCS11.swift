import KeyHierarchy
import PKCS11
import SecretMemory

extension CustodyError {
  /// A module's error in custody's terms.
  init(_ error: PKCS11Error, _ subject: String, file: String = #fileID, line: UInt = #line) {
    let (code, advice): (Code, String) =
      switch error.code {
      case .pinIncorrect, .pinLocked, .pinExpired, .pinInvalid, .pinLengthRange:
        (.wrongPIN, "it is not tried again by itself: give the right PIN and open anew")
      case .mechanismInvalid: (.mechanismMissing, "the token cannot do this: see its profile")
      case .keyFunctionNotPermitted: (.notPermitted, "the key's usage flags forbid it")
      case .userAlreadyLoggedIn: (.unavailable, "this process uses the token already: close that custodian first")
      case .sessionCount, .deviceMemory, .tokenResourceExceeded:
        (.full, "close what else uses the token, or give it more room")
      case .aeadDecryptFailed: (.notAuthentic, "it was encrypted with another key or context, or changed since")
      case .keyChanged: (.keyChanged, "it is not used until a person has looked: check the token, then open anew")
      case .rootMissing: (.keyNotFound, "run the ceremony that generates it")
      case .leaks: (.hostileUnwrap, "do not use this token; make root-kek anew on one that keeps keys inside")
      default:
        switch error.kind {
        case .retry, .relogin, .reinitialise:
          (.unavailable, "check the HSM; the next operation tries to reach it again")
        case .caller, .data, .fatal: (.failed, "see the HSM's own log")
        }
      }
    self.init(code, "\(subject): \(error), class \(error.kind.rawValue); \(advice)", file: file, line: line)
  }

  /// A PIN that could not be held.
  init(_ error: SecretMemoryError, _ subject: String, file: String = #fileID, line: UInt = #line) {
    self.init(.unavailable, "\(subject): \(error.message)", file: file, line: line)
  }
}

extension PKCS11Error.Code {
  /// CKR_PIN_INVALID and CKR_PIN_LEN_RANGE (PKCS#11 2.40, section 11.1).
  fileprivate static let pinInvalid = Self(rawValue: 0xa1)
  fileprivate static let pinLengthRange = Self(rawValue: 0xa2)
  /// CKR_TOKEN_WRITE_PROTECTED.
  static let tokenWriteProtected = Self(rawValue: 0xe2)
  /// CKR_UNWRAPPING_KEY_HANDLE_INVALID and CKR_WRAPPING_KEY_HANDLE_INVALID.
  fileprivate static let unwrappingKeyHandleInvalid = Self(rawValue: 0xf0)
  fileprivate static let wrappingKeyHandleInvalid = Self(rawValue: 0x113)
}

extension PKCS11Error {
  /// True when opening the token again may help.
  var isCurable: Bool { kind == .retry || kind == .relogin || kind == .reinitialise }

  /// True when trying again makes it worse, and a person has to decide: the login was refused, or a key is not the one
  /// that it was. What else a module refuses once, it may do the next time.
  var latches: Bool {
    code == .keyChanged || code == .leaks || kind == .caller && function == "C_Login"
  }

  /// True when the token has no room.
  var isFull: Bool { code == .sessionCount || code == .deviceMemory || code == .tokenResourceExceeded }

  /// True when an object is not there, though its session may well be.
  var isAboutObject: Bool {
    let handles: [Code] = [
      .keyHandleInvalid, .objectHandleInvalid, .unwrappingKeyHandleInvalid, .wrappingKeyHandleInvalid,
    ]
    return handles.contains(code)
  }
}
