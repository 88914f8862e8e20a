internal import CFaultControl

/// The functions of PKCS#11 2.40 in the order of CK_FUNCTION_LIST, which FaultInjection/Control has too.
public enum PKCS11Function: UInt32, CaseIterable, Sendable {
  case initialize, finalize, getInfo, getFunctionList, getSlotList, getSlotInfo, getTokenInfo
  case getMechanismList, getMechanismInfo, initToken, initPIN, setPIN, openSession, closeSession
  case closeAllSessions, getSessionInfo, getOperationState, setOperationState, login, logout, createObject
  case copyObject, destroyObject, getObjectSize, getAttributeValue, setAttributeValue, findObjectsInit
  case findObjects, findObjectsFinal, encryptInit, encrypt, encryptUpdate, encryptFinal, decryptInit, decrypt
  case decryptUpdate, decryptFinal, digestInit, digest, digestUpdate, digestKey, digestFinal, signInit, sign
  case signUpdate, signFinal, signRecoverInit, signRecover, verifyInit, verify, verifyUpdate, verifyFinal
  case verifyRecoverInit, verifyRecover, digestEncryptUpdate, decryptDigestUpdate, signEncryptUpdate
  case decryptVerifyUpdate, generateKey, generateKeyPair, wrapKey, unwrapKey, deriveKey, seedRandom
  case generateRandom, getFunctionStatus, cancelFunction, waitForSlotEvent

  /// The name that FaultInjection/Control has for the number.
  public var name: String { unsafe fault_function_name(rawValue).map { unsafe String(cString: $0) } ?? "" }
}
