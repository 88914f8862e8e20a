import HSMCustody
import KeyHierarchy
import PKCS11
import TestSupport

/// What an operation may come to, by the class of the CKR that one of its calls answered: the promise, written down
/// apart from custody's own mapping.
struct Expectation {
  /// It must succeed: the class is cured by one repetition.
  let mustSucceed: Bool
  /// What it may throw.
  let codes: Set<CustodyError.Code>

  /// Of a call that is part of the operation itself.
  init(_ code: PKCS11Error.Code, of function: PKCS11Function, isLost: Bool, isLasting: Bool) {
    let isCurable = [.retry, .relogin, .reinitialise].contains(code.kind)
    // The room that the client offers is ended as a call of its own, which finds no operation any more.
    let isRoom = code == .bufferTooSmall
    // A token without room keeps its sessions, so the repetition finds the operation that was begun all the same.
    let isBegun =
      isLost && [.signInit, .encryptInit, .decryptInit].contains(function)
      && (Self.code(code) == .full || code == .hostMemory)
    // Whatever C_DestroyObject says, an extractable key must not stay: its session is closed, the operation repeated.
    mustSucceed = !isLasting && isCurable && !isBegun
    var codes: Set<CustodyError.Code> = [Self.code(code)]
    if [.decrypt, .unwrapKey].contains(function) { codes.insert(.notAuthentic) }
    if isLasting && isCurable || isRoom || isBegun || function == .destroyObject { codes.insert(.unavailable) }
    self.codes = codes
  }

  private static let pin: Set<UInt> = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4]

  static func code(_ code: PKCS11Error.Code) -> CustodyError.Code {
    switch code {
    case _ where pin.contains(code.rawValue): .wrongPIN
    case .mechanismInvalid: .mechanismMissing
    case .keyFunctionNotPermitted: .notPermitted
    case .userAlreadyLoggedIn: .unavailable
    case .sessionCount, .deviceMemory, .tokenResourceExceeded: .full
    case .aeadDecryptFailed: .notAuthentic
    case .keyChanged: .keyChanged
    default: [.retry, .relogin, .reinitialise].contains(code.kind) ? .unavailable : .failed
    }
  }

  /// True when a person has to decide: the PIN was refused, or the key is another one.
  static func latches(_ code: PKCS11Error.Code, of function: PKCS11Function) -> Bool {
    code == .keyChanged || function == .login && code.kind == .caller
  }
}
