import KeyHierarchy
import PKCS11
import SecretMemory

extension CustodyError {
  /// A module's error in custody's terms.
  init(_ error: PKCS11Error, _ subject: String, file: String = #fileID, line: UInt = #line) {
    let (code, advice): (Code, String) =
      switch error.code {
      case .pinIncorrect, .pinLocked: (.wrongPIN, "it is not tried again by itself: give the right PIN and open anew")
      case .mechanismInvalid: (.mechanismMissing, "the token cannot do this: see its profile")
      case .keyFunctionNotPermitted: (.notPermitted, "the key's usage flags forbid it")
      case .userAlreadyLoggedIn: (.unavailable, "this process uses the token already: close that custodian first")
      default:
        switch error.kind {
        case .retry, .relogin, .reinitialise:
          (.unavailable, "check the HSM; the next operation tries to reach it again")
        case .caller, .data, .fatal: (.failed, "see the HSM's own log")
        }
      }
    self.init(code, "\(subject): \(error); \(advice)", file: file, line: line)
  }

  /// A PIN that could not be held.
  init(_ error: SecretMemoryError, _ subject: String, file: String = #fileID, line: UInt = #line) {
    self.init(.unavailable, "\(subject): \(error.message)", file: file, line: line)
  }
}
