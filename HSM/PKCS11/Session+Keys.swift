internal import CP11Kit

/// A kind of key pair.
public enum KeyPairKind: Sendable {
  /// EC on P-256.
  case p256
  /// EC on P-384.
  case p384
  /// Ed25519.
  case ed25519
  /// RSA with 2048 bits and the exponent 65537.
  case rsa2048

  var mechanism: MechanismType {
    switch self {
    case .p256, .p384: .ecKeyPairGeneration
    case .ed25519: .edwardsKeyPairGeneration
    case .rsa2048: .rsaKeyPairGeneration
    }
  }

  /// What the public key's template has of the kind.
  var attributes: [Attribute] {
    self == .rsa2048
      ? [.number(.modulusBits, 2048), .bytes(.publicExponent, [0x01, 0x00, 0x01])]
      : [.bytes(.ecParameters, parameters)]
  }

  /// CKA_EC_PARAMS: the curve's object identifier in DER (RFC 5480, section 2.1.1.1; RFC 8410, section 3). RSA has none.
  public var parameters: [UInt8] {
    switch self {
    case .p256: [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    case .p384: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]
    case .ed25519: [0x06, 0x03, 0x2b, 0x65, 0x70]
    case .rsa2048: []
    }
  }
}

/// A kind of secret key.
public enum SecretKeyKind: Sendable {
  /// AES with a 256-bit key.
  case aes256
  /// A secret of so many bytes, for HMAC.
  case generic(bytes: Int)
}

extension Session {
  /// Generates a key pair on the token.
  ///
  /// - Parameters:
  ///   - publicKey: The public key's template; the curve, or size and exponent, are added.
  ///   - privateKey: The private key's template.
  public func generateKeyPair(
    _ kind: KeyPairKind, publicKey: [Attribute], privateKey: [Attribute]
  ) throws(PKCS11Error) -> (publicKey: ObjectHandle, privateKey: ObjectHandle) {
    let publicTemplate = publicKey + kind.attributes
    var handles: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) = (0, 0)
    var mechanism = unsafe CK_MECHANISM(mechanism: kind.mechanism.rawValue, pParameter: nil, ulParameterLen: 0)
    try unsafe withTemplate(publicTemplate) { (first, firstCount) throws(PKCS11Error) in
      try unsafe withTemplate(privateKey) { (second, secondCount) throws(PKCS11Error) in
        try callWriting { f throws(PKCS11Error) in
          try check(
            unsafe f.generateKeyPair(
              handle, &mechanism, first, firstCount, second, secondCount, &handles.0, &handles.1),
            "C_GenerateKeyPair")
        }
      }
    }
    return (ObjectHandle(rawValue: handles.0), ObjectHandle(rawValue: handles.1))
  }

  /// Generates a secret key on the token.
  ///
  /// - Parameter template: The key's template; type and length are added.
  public func generateKey(_ kind: SecretKeyKind, _ template: [Attribute]) throws(PKCS11Error) -> ObjectHandle {
    let (type, length, added): (MechanismType, Int, KeyType) =
      switch kind {
      case .aes256: (.aesKeyGeneration, 32, .aes)
      case .generic(let bytes): (.genericSecretGeneration, bytes, .genericSecret)
      }
    var key: CK_OBJECT_HANDLE = 0
    var mechanism = unsafe CK_MECHANISM(mechanism: type.rawValue, pParameter: nil, ulParameterLen: 0)
    let whole =
      template + [.objectClass(.secretKey), .keyType(added), .number(.valueLength, UInt(length))]
    try unsafe withTemplate(whole) { (attributes, count) throws(PKCS11Error) in
      try callWriting { f throws(PKCS11Error) in
        try check(unsafe f.generateKey(handle, &mechanism, attributes, count, &key), "C_GenerateKey")
      }
    }
    return ObjectHandle(rawValue: key)
  }

  /// Wraps a key.
  ///
  /// - Parameters:
  ///   - key: Extractable, and of a multiple of 8 bytes.
  ///   - wrappingKey: An AES key with CKA_WRAP.
  ///   - mechanism: ``MechanismType/aesKeyWrapPad``, ``MechanismType/aesKeyWrapKWP`` or ``MechanismType/aesKeyWrap``. All
  ///     three give 8 bytes more than the key has, but not the same ones.
  public func wrapKey(
    _ key: ObjectHandle, with wrappingKey: ObjectHandle, mechanism: MechanismType = .aesKeyWrapPad
  ) throws(PKCS11Error) -> [UInt8] {
    var mechanism = try unsafe Self.wrapping(mechanism, "C_WrapKey")
    let room = Self.maximumWrapped
    return try unsafe [UInt8](unsafeUninitializedCapacity: room) { (buffer, count) throws(PKCS11Error) in
      var length = UInt(room)
      try call { f throws(PKCS11Error) in
        try check(
          unsafe f.wrapKey(
            handle, &mechanism, wrappingKey.rawValue, key.rawValue, buffer.baseAddress, &length), "C_WrapKey")
      }
      guard length >= 16, length <= room, length.isMultiple(of: 8) else {
        throw PKCS11Error(.generalError, in: "C_WrapKey", "\(length) bytes are no wrapped key")
      }
      count = Int(length)
    }
  }

  /// Unwraps a key that ``wrapKey(_:with:mechanism:)`` wrapped.
  ///
  /// - Parameters:
  ///   - wrapped: A multiple of 8 bytes, 24 at least (16 with padding). SoftHSM pads a key of another length with zeros
  ///     before it wraps, so such keys come back longer and are not wrapped in the first place.
  ///   - mechanism: That of the wrapping.
  ///   - template: Must restate what the unwrapping key's CKA_UNWRAP_TEMPLATE demands.
  public func unwrapKey(
    _ wrapped: [UInt8], with wrappingKey: ObjectHandle, mechanism: MechanismType = .aesKeyWrapPad,
    _ template: [Attribute]
  ) throws(PKCS11Error) -> ObjectHandle {
    let least = mechanism == .aesKeyWrap ? 24 : 16
    guard (least...Self.maximumWrapped).contains(wrapped.count), wrapped.count.isMultiple(of: 8) else {
      throw PKCS11Error(
        .dataLengthRange, in: "C_UnwrapKey",
        "a wrapped key is \(least) to \(Self.maximumWrapped) bytes, in eights")
    }
    var mechanism = try unsafe Self.wrapping(mechanism, "C_UnwrapKey")
    var bytes = wrapped
    var key: CK_OBJECT_HANDLE = 0
    try unsafe withTemplate(template) { (attributes, count) throws(PKCS11Error) in
      try callWriting(isSessionObject: template.isOfSession) { f throws(PKCS11Error) in
        try check(
          unsafe f.unwrapKey(
            handle, &mechanism, wrappingKey.rawValue, &bytes, UInt(bytes.count), attributes, count, &key),
          "C_UnwrapKey")
      }
    }
    return ObjectHandle(rawValue: key)
  }

  /// The longest wrapped key, in bytes.
  private static var maximumWrapped: Int { 8192 }

  private static func wrapping(_ type: MechanismType, _ function: String) throws(PKCS11Error) -> CK_MECHANISM {
    guard [.aesKeyWrap, .aesKeyWrapPad, .aesKeyWrapKWP].contains(type) else {
      throw PKCS11Error(.mechanismInvalid, in: function, "\(type) does not wrap here: AES key wrap does")
    }
    return unsafe CK_MECHANISM(mechanism: type.rawValue, pParameter: nil, ulParameterLen: 0)
  }
}
