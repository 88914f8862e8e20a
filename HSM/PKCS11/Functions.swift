internal import CP11Kit

/// The functions that this client calls, each checked once to be there; C hands them over as optional pointers.
@safe
struct Functions {
  let closeAllSessions: CK_C_CloseAllSessions
  let closeSession: CK_C_CloseSession
  let createObject: CK_C_CreateObject
  let decrypt: CK_C_Decrypt
  let decryptInit: CK_C_DecryptInit
  let destroyObject: CK_C_DestroyObject
  let encrypt: CK_C_Encrypt
  let encryptInit: CK_C_EncryptInit
  let finalize: CK_C_Finalize
  let findObjects: CK_C_FindObjects
  let findObjectsFinal: CK_C_FindObjectsFinal
  let findObjectsInit: CK_C_FindObjectsInit
  let generateKey: CK_C_GenerateKey
  let generateKeyPair: CK_C_GenerateKeyPair
  let generateRandom: CK_C_GenerateRandom
  let getAttributeValue: CK_C_GetAttributeValue
  let getInfo: CK_C_GetInfo
  let getMechanismInfo: CK_C_GetMechanismInfo
  let getMechanismList: CK_C_GetMechanismList
  let getSessionInfo: CK_C_GetSessionInfo
  let getSlotInfo: CK_C_GetSlotInfo
  let getSlotList: CK_C_GetSlotList
  let getTokenInfo: CK_C_GetTokenInfo
  let initialize: CK_C_Initialize
  let initPIN: CK_C_InitPIN
  let initToken: CK_C_InitToken
  let login: CK_C_Login
  let logout: CK_C_Logout
  let openSession: CK_C_OpenSession
  let sign: CK_C_Sign
  let signInit: CK_C_SignInit
  let unwrapKey: CK_C_UnwrapKey
  let verify: CK_C_Verify
  let verifyInit: CK_C_VerifyInit
  let wrapKey: CK_C_WrapKey

  /// Copies what this client needs out of a module's list.
  init(_ list: CK_FUNCTION_LIST) throws(PKCS11Error) {
    guard
      let closeAllSessions = list.C_CloseAllSessions,
      let closeSession = list.C_CloseSession,
      let createObject = unsafe list.C_CreateObject,
      let decrypt = unsafe list.C_Decrypt,
      let decryptInit = unsafe list.C_DecryptInit,
      let destroyObject = list.C_DestroyObject,
      let encrypt = unsafe list.C_Encrypt,
      let encryptInit = unsafe list.C_EncryptInit,
      let finalize = unsafe list.C_Finalize,
      let findObjects = unsafe list.C_FindObjects,
      let findObjectsFinal = list.C_FindObjectsFinal,
      let findObjectsInit = unsafe list.C_FindObjectsInit,
      let generateKey = unsafe list.C_GenerateKey,
      let generateKeyPair = unsafe list.C_GenerateKeyPair,
      let generateRandom = unsafe list.C_GenerateRandom,
      let getAttributeValue = unsafe list.C_GetAttributeValue,
      let getInfo = unsafe list.C_GetInfo,
      let getMechanismInfo = unsafe list.C_GetMechanismInfo,
      let getMechanismList = unsafe list.C_GetMechanismList,
      let getSessionInfo = unsafe list.C_GetSessionInfo,
      let getSlotInfo = unsafe list.C_GetSlotInfo,
      let getSlotList = unsafe list.C_GetSlotList,
      let getTokenInfo = unsafe list.C_GetTokenInfo,
      let initialize = unsafe list.C_Initialize,
      let initPIN = unsafe list.C_InitPIN,
      let initToken = unsafe list.C_InitToken,
      let login = unsafe list.C_Login,
      let logout = list.C_Logout,
      let openSession = unsafe list.C_OpenSession,
      let sign = unsafe list.C_Sign,
      let signInit = unsafe list.C_SignInit,
      let unwrapKey = unsafe list.C_UnwrapKey,
      let verify = unsafe list.C_Verify,
      let verifyInit = unsafe list.C_VerifyInit,
      let wrapKey = unsafe list.C_WrapKey
    else {
      throw PKCS11Error(.generalError, in: "C_GetFunctionList", "the module lacks a function of PKCS#11 2.40")
    }
    self.closeAllSessions = closeAllSessions
    self.closeSession = closeSession
    unsafe self.createObject = unsafe createObject
    unsafe self.decrypt = unsafe decrypt
    unsafe self.decryptInit = unsafe decryptInit
    self.destroyObject = destroyObject
    unsafe self.encrypt = unsafe encrypt
    unsafe self.encryptInit = unsafe encryptInit
    unsafe self.finalize = unsafe finalize
    unsafe self.findObjects = unsafe findObjects
    self.findObjectsFinal = findObjectsFinal
    unsafe self.findObjectsInit = unsafe findObjectsInit
    unsafe self.generateKey = unsafe generateKey
    unsafe self.generateKeyPair = unsafe generateKeyPair
    unsafe self.generateRandom = unsafe generateRandom
    unsafe self.getAttributeValue = unsafe getAttributeValue
    unsafe self.getInfo = unsafe getInfo
    unsafe self.getMechanismInfo = unsafe getMechanismInfo
    unsafe self.getMechanismList = unsafe getMechanismList
    unsafe self.getSessionInfo = unsafe getSessionInfo
    unsafe self.getSlotInfo = unsafe getSlotInfo
    unsafe self.getSlotList = unsafe getSlotList
    unsafe self.getTokenInfo = unsafe getTokenInfo
    unsafe self.initialize = unsafe initialize
    unsafe self.initPIN = unsafe initPIN
    unsafe self.initToken = unsafe initToken
    unsafe self.login = unsafe login
    self.logout = logout
    unsafe self.openSession = unsafe openSession
    unsafe self.sign = unsafe sign
    unsafe self.signInit = unsafe signInit
    unsafe self.unwrapKey = unsafe unwrapKey
    unsafe self.verify = unsafe verify
    unsafe self.verifyInit = unsafe verifyInit
    unsafe self.wrapKey = unsafe wrapKey
  }
}
