internal import CP11Kit
internal import Glibc
public import SecretMemory

/// AES-GCM in one part, with an IV of 96 bits and a tag of 128 (NIST SP 800-38D, section 5.2.1.1). Tokens take other
/// shapes too, SoftHSM an empty IV even, for which it uses zeros; this client has no way to ask for them.
extension Session {
  /// Bytes of an IV.
  public static var gcmIVLength: Int { 12 }
  /// Bytes of a tag.
  public static var gcmTagLength: Int { 16 }
  /// The longest plaintext, in bytes: what one secret holds, with room for the tag.
  public static var gcmMaximumPlaintext: Int { SecretBytes.maximumCount - gcmTagLength }

  /// Encrypts.
  ///
  /// - Parameters:
  ///   - plaintext: At most ``gcmMaximumPlaintext`` bytes.
  ///   - iv: 12 bytes, never used with this key before.
  ///   - aad: The additional authenticated data.
  ///   - key: An AES key with CKA_ENCRYPT.
  /// - Returns: The ciphertext and the 16-byte tag.
  /// - Throws: ``PKCS11Error/Code-swift.struct/dataLengthRange`` for a plaintext or an IV of another length.
  public func encryptGCM(
    _ plaintext: RawSpan, iv: [UInt8], aad: [UInt8], with key: ObjectHandle
  ) throws(PKCS11Error) -> [UInt8] {
    guard plaintext.byteCount <= Self.gcmMaximumPlaintext else {
      throw PKCS11Error(
        .dataLengthRange, in: "C_Encrypt", "\(plaintext.byteCount) bytes: \(Self.gcmMaximumPlaintext) at most")
    }
    let expected = plaintext.byteCount + Self.gcmTagLength
    return try unsafe [UInt8](unsafeUninitializedCapacity: expected) { (buffer, count) throws(PKCS11Error) in
      let output = UnsafeMutableRawBufferPointer(buffer)
      try unsafe withGCM(iv, aad, "C_EncryptInit") { (mechanism) throws(PKCS11Error) in
        try unsafe plaintext.withUnsafeBytes { (bytes) throws(PKCS11Error) in
          // An empty plaintext still needs an address.
          let source = unsafe Self.bytes(bytes) ?? buffer.baseAddress
          count = try call { f throws(PKCS11Error) in
            try check(unsafe f.encryptInit(handle, mechanism, key.rawValue), "C_EncryptInit")
            return try unsafe finish("C_Encrypt", output) {
              unsafe f.encrypt(handle, source, UInt(bytes.count), $0, $1)
            }
          }
        }
      }
      guard count == expected else {
        throw PKCS11Error(.generalError, in: "C_Encrypt", "\(count) bytes instead of \(expected)")
      }
    }
  }

  /// Decrypts straight into locked memory.
  ///
  /// - Parameters:
  ///   - ciphertext: As ``encryptGCM(_:iv:aad:with:)`` returned it, of 1 byte of plaintext at least.
  ///   - iv: 12 bytes.
  ///   - aad: The additional authenticated data.
  ///   - key: An AES key with CKA_DECRYPT.
  /// - Throws: ``PKCS11Error/Code-swift.struct/aeadDecryptFailed`` when anything of it was changed, whatever the token
  ///   says then; ``PKCS11Error/Code-swift.struct/dataLengthRange`` for a length that no plaintext gives;
  ///   ``PKCS11Error/Code-swift.struct/hostMemory`` without locked memory.
  public func decryptGCM(
    _ ciphertext: [UInt8], iv: [UInt8], aad: [UInt8], with key: ObjectHandle
  ) throws(PKCS11Error) -> SecretBytes {
    guard ciphertext.count > Self.gcmTagLength, ciphertext.count <= SecretBytes.maximumCount else {
      throw PKCS11Error(
        .dataLengthRange, in: "C_Decrypt",
        "\(ciphertext.count) bytes: \(Self.gcmTagLength + 1) to \(SecretBytes.maximumCount) with the tag")
    }
    // Tokens want room for the tag too (SoftHSM).
    var room = try Self.locked { () throws(SecretMemoryError) in try SecretBytes(zeros: ciphertext.count) }
    let count = try unsafe room.withUnsafeMutableBytes { (output) throws(PKCS11Error) in
      try unsafe openGCM(ciphertext, iv: iv, aad: aad, with: key, into: output)
    }
    return try Self.locked { () throws(SecretMemoryError) in
      try SecretBytes(copying: room.bytes.extracting(first: count))
    }
  }

  private static func locked(
    _ make: () throws(SecretMemoryError) -> SecretBytes
  ) throws(PKCS11Error) -> SecretBytes {
    do throws(SecretMemoryError) { return try make() } catch {
      throw PKCS11Error(.hostMemory, in: "mlock", error.message)
    }
  }

  /// Decrypts into `output`, which has room for the ciphertext.
  ///
  /// - Returns: Bytes of plaintext.
  func openGCM(
    _ ciphertext: [UInt8], iv: [UInt8], aad: [UInt8], with key: ObjectHandle,
    into output: UnsafeMutableRawBufferPointer
  ) throws(PKCS11Error) -> Int {
    let count: Int
    do throws(PKCS11Error) {
      count = try unsafe withGCM(iv, aad, "C_DecryptInit") { (mechanism) throws(PKCS11Error) in
        try unsafe ciphertext.span.withUnsafeBytes { (bytes) throws(PKCS11Error) in
          try call { f throws(PKCS11Error) in
            try check(unsafe f.decryptInit(handle, mechanism, key.rawValue), "C_DecryptInit")
            return try unsafe finish("C_Decrypt", output) {
              unsafe f.decrypt(handle, Self.bytes(bytes), UInt(bytes.count), $0, $1)
            }
          }
        }
      }
    } catch {
      throw refusal(error)
    }
    guard count == ciphertext.count - Self.gcmTagLength else {
      throw PKCS11Error(.generalError, in: "C_Decrypt", "\(count) bytes of plaintext")
    }
    return count
  }

  /// PKCS#11 2.40 has no return value for a tag that does not fit: SoftHSM says CKR_GENERAL_ERROR, others what the 3.0
  /// of the specification or their taste gives. A token that has lost the session says CKR_GENERAL_ERROR as well, so the
  /// session is asked before the ciphertext is blamed.
  private func refusal(_ error: PKCS11Error) -> PKCS11Error {
    guard error.function == "C_Decrypt" else { return error }
    switch error.code {
    case .aeadDecryptFailed, .encryptedDataInvalid, .signatureInvalid, .dataInvalid: break
    case .generalError, .functionFailed:
      do throws(PKCS11Error) { try checkLogin() } catch let lost { return lost }
    default: return error
    }
    return PKCS11Error(.aeadDecryptFailed, in: "C_Decrypt", "the ciphertext, its IV or its context is not what it was")
  }

  private func withGCM<R>(
    _ iv: [UInt8], _ aad: [UInt8], _ function: String,
    _ body: (UnsafeMutablePointer<CK_MECHANISM>) throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    guard iv.count == Self.gcmIVLength else {
      throw PKCS11Error(.dataLengthRange, in: function, "an IV has \(Self.gcmIVLength) bytes, not \(iv.count)")
    }
    return try unsafe iv.span.withUnsafeBytes { (iv) throws(PKCS11Error) in
      try unsafe aad.span.withUnsafeBytes { (aad) throws(PKCS11Error) in
        // The structure of 48 bytes, with ulIvBits (PKCS#11 2.40 with its errata 01).
        var parameters = unsafe CK_GCM_PARAMS(
          pIv: Self.bytes(iv), ulIvLen: UInt(iv.count), ulIvBits: 8 * UInt(iv.count),
          pAAD: Self.bytes(aad), ulAADLen: UInt(aad.count), ulTagBits: 8 * UInt(Self.gcmTagLength))
        return try unsafe withUnsafeMutablePointer(to: &parameters) { (pointer) throws(PKCS11Error) in
          var mechanism = unsafe CK_MECHANISM(
            mechanism: MechanismType.aesGCM.rawValue, pParameter: pointer,
            ulParameterLen: UInt(MemoryLayout<CK_GCM_PARAMS>.size))
          return try unsafe body(&mechanism)
        }
      }
    }
  }
}

extension Session {
  /// The second half of an operation in one part. One that finds too little room stays active (PKCS#11 2.40, section
  /// 5.2) and would refuse the session's next one, so it is ended here, into room that is thrown away.
  ///
  /// - Returns: Bytes written to `output`.
  /// - Throws: ``PKCS11Error/Code-swift.struct/operationActive``, which asks for a fresh session, when it cannot be ended.
  func finish(
    _ function: String, _ output: UnsafeMutableRawBufferPointer,
    _ part: (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt>) -> CK_RV
  ) throws(PKCS11Error) -> Int {
    var length = UInt(output.count)
    let value = unsafe part(output.baseAddress?.assumingMemoryBound(to: UInt8.self), &length)
    if value == CKR_BUFFER_TOO_SMALL {
      let wanted = min(max(length, 1 << 12), 1 << 20)
      length = wanted
      let spare = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(wanted))
      defer {
        unsafe explicit_bzero(spare, Int(wanted))
        unsafe spare.deallocate()
      }
      guard unsafe part(spare, &length) != CKR_BUFFER_TOO_SMALL else {
        throw PKCS11Error(
          .operationActive, in: function, "the operation cannot be ended: the session is of no more use")
      }
    }
    try check(value, function)
    guard length <= output.count else {
      throw PKCS11Error(.generalError, in: function, "the module tells \(length) bytes where \(output.count) fit")
    }
    return Int(length)
  }
}
