internal import CP11Kit

/// A slot (CK_SLOT_ID). Valid for one initialisation of the module, and SoftHSM changes it when a token is initialised:
/// keep labels, not slots.
public struct SlotID: Hashable, Sendable {
  /// The number.
  public let rawValue: UInt
  /// Makes an identifier.
  public init(rawValue: UInt) { self.rawValue = rawValue }
}

/// An object on a token (CK_OBJECT_HANDLE), valid while its session's login lasts.
public struct ObjectHandle: Hashable, Sendable {
  /// The number.
  public let rawValue: UInt
  /// Makes a handle.
  public init(rawValue: UInt) { self.rawValue = rawValue }
}

/// A mechanism (CK_MECHANISM_TYPE).
public struct MechanismType: Hashable, Sendable, CustomStringConvertible {
  /// The number.
  public let rawValue: UInt
  /// Makes a mechanism.
  public init(rawValue: UInt) { self.rawValue = rawValue }

  /// Generates an EC key pair on a Weierstrass curve.
  public static let ecKeyPairGeneration = Self(rawValue: CKM_EC_KEY_PAIR_GEN)
  /// Generates an Edwards key pair (PKCS#11 3.0).
  public static let edwardsKeyPairGeneration = Self(rawValue: CKM_EC_EDWARDS_KEY_PAIR_GEN)
  /// ECDSA over a digest.
  public static let ecdsa = Self(rawValue: CKM_ECDSA)
  /// EdDSA over a message (PKCS#11 3.0).
  public static let eddsa = Self(rawValue: CKM_EDDSA)
  /// Generates an RSA key pair.
  public static let rsaKeyPairGeneration = Self(rawValue: CKM_RSA_PKCS_KEY_PAIR_GEN)
  /// RSASSA-PKCS1-v1_5 over a DigestInfo.
  public static let rsaPKCS = Self(rawValue: CKM_RSA_PKCS)
  /// HMAC with SHA-256.
  public static let hmacSHA256 = Self(rawValue: CKM_SHA256_HMAC)
  /// Generates an AES key.
  public static let aesKeyGeneration = Self(rawValue: CKM_AES_KEY_GEN)
  /// Generates a secret of no particular use.
  public static let genericSecretGeneration = Self(rawValue: CKM_GENERIC_SECRET_KEY_GEN)
  /// AES key wrap (RFC 3394), for multiples of 8 bytes.
  public static let aesKeyWrap = Self(rawValue: CKM_AES_KEY_WRAP)
  /// AES key wrap with padding: RFC 5649 on SoftHSM.
  public static let aesKeyWrapPad = Self(rawValue: CKM_AES_KEY_WRAP_PAD)
  /// AES key wrap with padding as RFC 5649 has it (since PKCS#11 3.0).
  public static let aesKeyWrapKWP = Self(rawValue: 0x210b)
  /// AES in Galois/counter mode.
  public static let aesGCM = Self(rawValue: CKM_AES_GCM)

  /// The name, `CKM_…`, of the mechanisms above; the number in hexadecimal of others.
  public var description: String {
    switch self {
    case .ecKeyPairGeneration: "CKM_EC_KEY_PAIR_GEN"
    case .edwardsKeyPairGeneration: "CKM_EC_EDWARDS_KEY_PAIR_GEN"
    case .ecdsa: "CKM_ECDSA"
    case .eddsa: "CKM_EDDSA"
    case .rsaKeyPairGeneration: "CKM_RSA_PKCS_KEY_PAIR_GEN"
    case .rsaPKCS: "CKM_RSA_PKCS"
    case .hmacSHA256: "CKM_SHA256_HMAC"
    case .aesKeyGeneration: "CKM_AES_KEY_GEN"
    case .genericSecretGeneration: "CKM_GENERIC_SECRET_KEY_GEN"
    case .aesKeyWrap: "CKM_AES_KEY_WRAP"
    case .aesKeyWrapKWP: "CKM_AES_KEY_WRAP_KWP"
    case .aesKeyWrapPad: "CKM_AES_KEY_WRAP_PAD"
    case .aesGCM: "CKM_AES_GCM"
    default: "CKM_0x" + String(rawValue, radix: 16)
    }
  }
}

/// What a token can do with a mechanism (CK_MECHANISM_INFO).
public struct MechanismInfo: Sendable {
  /// Uses, by their CKF_ flags.
  public struct Uses: OptionSet, Hashable, Sendable {
    /// The flags.
    public let rawValue: UInt
    /// Makes a set.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// CKF_ENCRYPT
    public static let encrypt = Self(rawValue: CKF_ENCRYPT)
    /// CKF_DECRYPT
    public static let decrypt = Self(rawValue: CKF_DECRYPT)
    /// CKF_SIGN
    public static let sign = Self(rawValue: CKF_SIGN)
    /// CKF_WRAP
    public static let wrap = Self(rawValue: CKF_WRAP)
    /// CKF_UNWRAP
    public static let unwrap = Self(rawValue: CKF_UNWRAP)
  }

  /// The uses.
  public let uses: Uses
  /// Smallest and largest key; the unit, bits or bytes, depends on the mechanism.
  public let keySizes: (least: UInt, most: UInt)
}

/// A kind of attribute (CK_ATTRIBUTE_TYPE).
public struct AttributeType: Hashable, Sendable {
  /// The number.
  public let rawValue: UInt
  /// Makes a kind.
  public init(rawValue: UInt) { self.rawValue = rawValue }

  /// CKA_CLASS
  public static let objectClass = Self(rawValue: CKA_CLASS)
  /// CKA_TOKEN: the object outlives its session.
  public static let token = Self(rawValue: CKA_TOKEN)
  /// CKA_PRIVATE: invisible without login.
  public static let `private` = Self(rawValue: CKA_PRIVATE)
  /// CKA_LABEL
  public static let label = Self(rawValue: CKA_LABEL)
  /// CKA_ID: shared by the halves of a pair.
  public static let id = Self(rawValue: CKA_ID)
  /// CKA_KEY_TYPE
  public static let keyType = Self(rawValue: CKA_KEY_TYPE)
  /// CKA_SENSITIVE: never told in the clear.
  public static let sensitive = Self(rawValue: CKA_SENSITIVE)
  /// CKA_EXTRACTABLE: may be wrapped out.
  public static let extractable = Self(rawValue: CKA_EXTRACTABLE)
  /// CKA_ALWAYS_SENSITIVE: was so from its making.
  public static let alwaysSensitive = Self(rawValue: CKA_ALWAYS_SENSITIVE)
  /// CKA_NEVER_EXTRACTABLE: was so from its making.
  public static let neverExtractable = Self(rawValue: CKA_NEVER_EXTRACTABLE)
  /// CKA_LOCAL: generated on the token.
  public static let local = Self(rawValue: CKA_LOCAL)
  /// CKA_SIGN
  public static let sign = Self(rawValue: CKA_SIGN)
  /// CKA_VERIFY
  public static let verify = Self(rawValue: CKA_VERIFY)
  /// CKA_ENCRYPT
  public static let encrypt = Self(rawValue: CKA_ENCRYPT)
  /// CKA_DECRYPT
  public static let decrypt = Self(rawValue: CKA_DECRYPT)
  /// CKA_WRAP
  public static let wrap = Self(rawValue: CKA_WRAP)
  /// CKA_UNWRAP
  public static let unwrap = Self(rawValue: CKA_UNWRAP)
  /// CKA_DERIVE
  public static let derive = Self(rawValue: CKA_DERIVE)
  /// CKA_MODIFIABLE
  public static let modifiable = Self(rawValue: CKA_MODIFIABLE)
  /// CKA_COPYABLE
  public static let copyable = Self(rawValue: CKA_COPYABLE)
  /// CKA_EC_PARAMS: the curve, in DER.
  public static let ecParameters = Self(rawValue: CKA_EC_PARAMS)
  /// CKA_EC_POINT: the public key.
  public static let ecPoint = Self(rawValue: CKA_EC_POINT)
  /// CKA_MODULUS: of an RSA key, big-endian.
  public static let modulus = Self(rawValue: CKA_MODULUS)
  /// CKA_MODULUS_BITS
  public static let modulusBits = Self(rawValue: CKA_MODULUS_BITS)
  /// CKA_PUBLIC_EXPONENT: of an RSA key, big-endian.
  public static let publicExponent = Self(rawValue: CKA_PUBLIC_EXPONENT)
  /// CKA_VALUE
  public static let value = Self(rawValue: CKA_VALUE)
  /// CKA_VALUE_LEN, in bytes.
  public static let valueLength = Self(rawValue: CKA_VALUE_LEN)
  /// CKA_UNWRAP_TEMPLATE: what every key that this one unwraps must be.
  public static let unwrapTemplate = Self(rawValue: CKA_UNWRAP_TEMPLATE)
}

/// A class of objects (CK_OBJECT_CLASS).
public enum ObjectClass: Hashable, Sendable, CaseIterable {
  /// CKO_PUBLIC_KEY
  case publicKey
  /// CKO_PRIVATE_KEY
  case privateKey
  /// CKO_SECRET_KEY
  case secretKey
  /// CKO_CERTIFICATE
  case certificate
  /// CKO_DATA
  case data

  /// The number.
  public var rawValue: UInt {
    switch self {
    case .certificate: CKO_CERTIFICATE
    case .data: CKO_DATA
    case .publicKey: CKO_PUBLIC_KEY
    case .privateKey: CKO_PRIVATE_KEY
    case .secretKey: CKO_SECRET_KEY
    }
  }
}

/// A kind of key (CK_KEY_TYPE).
public enum KeyType: Sendable {
  /// CKK_EC
  case ec
  /// CKK_EC_EDWARDS
  case edwards
  /// CKK_RSA
  case rsa
  /// CKK_AES
  case aes
  /// CKK_GENERIC_SECRET
  case genericSecret

  /// The number.
  public var rawValue: UInt {
    switch self {
    case .ec: CKK_EC
    case .edwards: CKK_EC_EDWARDS
    case .rsa: CKK_RSA
    case .aes: CKK_AES
    case .genericSecret: CKK_GENERIC_SECRET
    }
  }
}
