internal import CP11Kit

/// A way to sign or authenticate, with its lengths.
public enum SignatureScheme: Sendable {
  /// CKM_ECDSA on P-256 over a digest of 32 bytes; r ‖ s, 64 bytes.
  case ecdsaP256
  /// CKM_ECDSA on P-384 over a digest of 48 bytes; r ‖ s, 96 bytes.
  case ecdsaP384
  /// CKM_EDDSA (Ed25519) over a message; 64 bytes.
  case ed25519
  /// CKM_RSA_PKCS with 2048 bits over a DigestInfo of SHA-256, 51 bytes (RFC 8017, section 9.2); 256 bytes. Not
  /// CKM_SHA256_RSA_PKCS, which NetHSM lacks (HSM/Profiles).
  case rsa2048
  /// CKM_SHA256_HMAC over a message; 32 bytes.
  case hmacSHA256

  /// The mechanism.
  public var mechanism: MechanismType {
    switch self {
    case .ecdsaP256, .ecdsaP384: .ecdsa
    case .ed25519: .eddsa
    case .rsa2048: .rsaPKCS
    case .hmacSHA256: .hmacSHA256
    }
  }

  /// Bytes of the digest, or DigestInfo, that is signed; nil where the message itself is.
  public var digestLength: Int? {
    switch self {
    case .ecdsaP256: 32
    case .ecdsaP384: 48
    case .rsa2048: 51
    case .ed25519, .hmacSHA256: nil
    }
  }

  /// Bytes of the signature.
  public var signatureLength: Int {
    switch self {
    case .ecdsaP256, .ed25519: 64
    case .ecdsaP384: 96
    case .rsa2048: 256
    case .hmacSHA256: 32
    }
  }
}

extension Session {
  /// Signs in one part. It allocates the result and nothing else.
  ///
  /// - Parameters:
  ///   - data: A digest of the scheme's length (SoftHSM cuts a longer one without a word), or a message.
  ///   - key: A key of the scheme's kind.
  /// - Throws: ``PKCS11Error/Code-swift.struct/dataLengthRange`` for a digest of another length.
  public func sign(
    _ data: Span<UInt8>, with key: ObjectHandle, as scheme: SignatureScheme
  ) throws(PKCS11Error) -> [UInt8] {
    guard scheme.digestLength.map({ $0 == data.count }) ?? true else {
      throw PKCS11Error(
        .dataLengthRange, in: "C_Sign", "\(scheme) signs a digest, hash first: \(data.count) bytes given")
    }
    var mechanism = unsafe CK_MECHANISM(mechanism: scheme.mechanism.rawValue, pParameter: nil, ulParameterLen: 0)
    let expected = scheme.signatureLength
    return try unsafe [UInt8](unsafeUninitializedCapacity: expected) { (buffer, count) throws(PKCS11Error) in
      let output = UnsafeMutableRawBufferPointer(buffer)
      let length = try unsafe data.withUnsafeBytes { (bytes) throws(PKCS11Error) in
        // An empty message still needs an address: a null pointer is refused as an argument.
        let source = unsafe Self.bytes(bytes) ?? buffer.baseAddress
        return try call { f throws(PKCS11Error) in
          try check(unsafe f.signInit(handle, &mechanism, key.rawValue), "C_SignInit")
          return try unsafe finish("C_Sign", output) {
            unsafe f.sign(handle, source, UInt(bytes.count), $0, $1)
          }
        }
      }
      guard length == expected else {
        throw PKCS11Error(.generalError, in: "C_Sign", "\(length) bytes instead of \(expected): another kind of key?")
      }
      count = expected
    }
  }
}
