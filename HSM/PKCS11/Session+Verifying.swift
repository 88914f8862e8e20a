internal import CP11Kit

/// What test vectors need, and the product does not: it verifies in software, so that nobody has to trust a token's word,
/// and signs with ``SignatureScheme`` alone.
@_spi(Testing)
extension Session {
  /// A hash of the RSA mechanisms.
  public enum RSAHash: Sendable {
    /// SHA-256
    case sha256
    /// SHA-384
    case sha384
    /// SHA-512
    case sha512
  }

  /// CKM_SHAx_RSA_PKCS_PSS, with MGF1 over the same hash and a salt of `salt` bytes.
  public func verifyPSS(
    _ signature: [UInt8], of message: [UInt8], with key: ObjectHandle, hash: RSAHash, salt: Int
  ) throws(PKCS11Error) -> Bool {
    let (type, algorithm, generator) =
      switch hash {
      case .sha256: (CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256)
      case .sha384: (CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA384)
      case .sha512: (CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512, CKG_MGF1_SHA512)
      }
    var parameters = CK_RSA_PKCS_PSS_PARAMS(hashAlg: algorithm, mgf: generator, sLen: UInt(salt))
    return try unsafe withUnsafeMutablePointer(to: &parameters) { (pointer) throws(PKCS11Error) in
      try unsafe verify(
        signature, message, key,
        CK_MECHANISM(
          mechanism: type, pParameter: pointer, ulParameterLen: UInt(MemoryLayout<CK_RSA_PKCS_PSS_PARAMS>.size)))
    }
  }

  /// A mechanism without parameters.
  public func verify(
    _ signature: [UInt8], of data: [UInt8], with key: ObjectHandle, mechanism: MechanismType
  ) throws(PKCS11Error) -> Bool {
    try unsafe verify(
      signature, data, key, CK_MECHANISM(mechanism: mechanism.rawValue, pParameter: nil, ulParameterLen: 0))
  }

  private func verify(
    _ signature: [UInt8], _ data: [UInt8], _ key: ObjectHandle, _ mechanism: CK_MECHANISM
  ) throws(PKCS11Error) -> Bool {
    // Empty ones still need an address.
    var (mechanism, signed, text) = unsafe (mechanism, signature + [0], data + [0])
    let value = try call { f throws(PKCS11Error) in
      try check(unsafe f.verifyInit(handle, &mechanism, key.rawValue), "C_VerifyInit")
      return unsafe f.verify(handle, &text, UInt(data.count), &signed, UInt(signature.count))
    }
    if value == CKR_SIGNATURE_INVALID || value == CKR_SIGNATURE_LEN_RANGE { return false }
    try check(value, "C_Verify")
    return true
  }

  /// Signs or authenticates with a mechanism without parameters.
  public func sign(
    _ data: [UInt8], with key: ObjectHandle, mechanism: MechanismType, length: Int
  ) throws(PKCS11Error) -> [UInt8] {
    var (mechanism, text) = unsafe (
      CK_MECHANISM(mechanism: mechanism.rawValue, pParameter: nil, ulParameterLen: 0), data + [0]
    )
    return try unsafe [UInt8](unsafeUninitializedCapacity: length) { (buffer, count) throws(PKCS11Error) in
      let output = UnsafeMutableRawBufferPointer(buffer)
      count = try call { f throws(PKCS11Error) in
        try check(unsafe f.signInit(handle, &mechanism, key.rawValue), "C_SignInit")
        return try unsafe finish("C_Sign", output) { unsafe f.sign(handle, &text, UInt(data.count), $0, $1) }
      }
    }
  }

  /// As ``decryptGCM(_:iv:aad:with:)``, also of an empty plaintext, onto the heap.
  public func decryptPublicGCM(
    _ ciphertext: [UInt8], iv: [UInt8], aad: [UInt8], with key: ObjectHandle
  ) throws(PKCS11Error) -> [UInt8] {
    try unsafe [UInt8](unsafeUninitializedCapacity: ciphertext.count) { (buffer, count) throws(PKCS11Error) in
      let output = UnsafeMutableRawBufferPointer(buffer)
      count = try unsafe openGCM(ciphertext, iv: iv, aad: aad, with: key, into: output)
    }
  }
}
