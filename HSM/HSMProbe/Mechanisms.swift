internal import CP11Kit
internal import PKCS11

/// Mechanisms that profiles speak of and the client does not use.
enum Probed {
  static let ecdsaSHA256 = MechanismType(rawValue: CKM_ECDSA_SHA256)
  static let rsaKeyPairGeneration = MechanismType(rawValue: CKM_RSA_PKCS_KEY_PAIR_GEN)
  static let rsaOAEP = MechanismType(rawValue: CKM_RSA_PKCS_OAEP)
  static let keyWrap = MechanismType(rawValue: 0x2109)
  static let keyWrapPad = MechanismType(rawValue: 0x210a)
  static let keyWrapKWP = MechanismType(rawValue: 0x210b)
  static let generates = MechanismInfo.Uses(rawValue: CKF_GENERATE)
  static let generatesPairs = MechanismInfo.Uses(rawValue: CKF_GENERATE_KEY_PAIR)
}

extension MechanismInfo.Uses {
  private static let known: [(UInt, String)] = [
    (CKF_HW, "hardware"), (CKF_ENCRYPT, "encrypt"), (CKF_DECRYPT, "decrypt"), (CKF_DIGEST, "digest"),
    (CKF_SIGN, "sign"), (CKF_SIGN_RECOVER, "sign_recover"), (CKF_VERIFY, "verify"),
    (CKF_VERIFY_RECOVER, "verify_recover"), (CKF_GENERATE, "generate"), (CKF_GENERATE_KEY_PAIR, "generate_key_pair"),
    (CKF_WRAP, "wrap"), (CKF_UNWRAP, "unwrap"), (CKF_DERIVE, "derive"),
  ]

  /// The uses' names in the order of their flags; flags that are no uses have none.
  var names: [String] { Self.known.filter { rawValue & $0.0 != 0 }.map(\.1) }
}

/// The names of mechanisms, PKCS#11 3.0's among them, as profiles show them.
enum MechanismNames {
  /// `CKM_…`, with the number in hexadecimal where no name is known.
  static func name(_ mechanism: MechanismType) -> String {
    "CKM_" + (known[mechanism.rawValue] ?? "0x" + String(mechanism.rawValue, radix: 16))
  }

  private static let known: [UInt: String] = [
    0x0: "RSA_PKCS_KEY_PAIR_GEN", 0x1: "RSA_PKCS", 0x3: "RSA_X_509", 0x5: "MD5_RSA_PKCS", 0x6: "SHA1_RSA_PKCS",
    0x9: "RSA_PKCS_OAEP", 0xa: "RSA_X9_31_KEY_PAIR_GEN", 0xb: "RSA_X9_31", 0xc: "SHA1_RSA_X9_31",
    0xd: "RSA_PKCS_PSS", 0xe: "SHA1_RSA_PKCS_PSS", 0x10: "DSA_KEY_PAIR_GEN", 0x11: "DSA", 0x12: "DSA_SHA1",
    0x13: "DSA_SHA224", 0x14: "DSA_SHA256", 0x15: "DSA_SHA384", 0x16: "DSA_SHA512", 0x20: "DH_PKCS_KEY_PAIR_GEN",
    0x21: "DH_PKCS_DERIVE", 0x40: "SHA256_RSA_PKCS", 0x41: "SHA384_RSA_PKCS", 0x42: "SHA512_RSA_PKCS",
    0x43: "SHA256_RSA_PKCS_PSS", 0x44: "SHA384_RSA_PKCS_PSS", 0x45: "SHA512_RSA_PKCS_PSS", 0x46: "SHA224_RSA_PKCS",
    0x47: "SHA224_RSA_PKCS_PSS", 0x48: "SHA512_224", 0x49: "SHA512_224_HMAC", 0x4a: "SHA512_224_HMAC_GENERAL",
    0x4b: "SHA512_224_KEY_DERIVATION", 0x4c: "SHA512_256", 0x4d: "SHA512_256_HMAC",
    0x4e: "SHA512_256_HMAC_GENERAL", 0x4f: "SHA512_256_KEY_DERIVATION", 0x50: "SHA512_T", 0x51: "SHA512_T_HMAC",
    0x52: "SHA512_T_HMAC_GENERAL", 0x53: "SHA512_T_KEY_DERIVATION", 0x120: "DES_KEY_GEN", 0x121: "DES_ECB",
    0x122: "DES_CBC", 0x123: "DES_MAC", 0x124: "DES_MAC_GENERAL", 0x125: "DES_CBC_PAD", 0x130: "DES2_KEY_GEN",
    0x131: "DES3_KEY_GEN", 0x132: "DES3_ECB", 0x133: "DES3_CBC", 0x134: "DES3_MAC", 0x135: "DES3_MAC_GENERAL",
    0x136: "DES3_CBC_PAD", 0x137: "DES3_CMAC_GENERAL", 0x138: "DES3_CMAC", 0x150: "DES_OFB64", 0x151: "DES_OFB8",
    0x152: "DES_CFB64", 0x153: "DES_CFB8", 0x210: "MD5", 0x211: "MD5_HMAC", 0x212: "MD5_HMAC_GENERAL",
    0x220: "SHA_1", 0x221: "SHA_1_HMAC", 0x222: "SHA_1_HMAC_GENERAL", 0x250: "SHA256", 0x251: "SHA256_HMAC",
    0x252: "SHA256_HMAC_GENERAL", 0x255: "SHA224", 0x256: "SHA224_HMAC", 0x257: "SHA224_HMAC_GENERAL",
    0x260: "SHA384", 0x261: "SHA384_HMAC", 0x262: "SHA384_HMAC_GENERAL", 0x270: "SHA512", 0x271: "SHA512_HMAC",
    0x272: "SHA512_HMAC_GENERAL", 0x350: "GENERIC_SECRET_KEY_GEN", 0x360: "CONCATENATE_BASE_AND_KEY",
    0x362: "CONCATENATE_BASE_AND_DATA", 0x363: "CONCATENATE_DATA_AND_BASE", 0x364: "XOR_BASE_AND_DATA",
    0x365: "EXTRACT_KEY_FROM_KEY", 0x370: "SSL3_PRE_MASTER_KEY_GEN", 0x371: "SSL3_MASTER_KEY_DERIVE",
    0x372: "SSL3_KEY_AND_MAC_DERIVE", 0x373: "SSL3_MASTER_KEY_DERIVE_DH", 0x380: "SSL3_MD5_MAC",
    0x381: "SSL3_SHA1_MAC", 0x390: "MD5_KEY_DERIVATION", 0x392: "SHA1_KEY_DERIVATION",
    0x393: "SHA256_KEY_DERIVATION", 0x394: "SHA384_KEY_DERIVATION", 0x395: "SHA512_KEY_DERIVATION",
    0x396: "SHA224_KEY_DERIVATION", 0x3ac: "SP800_108_COUNTER_KDF", 0x1040: "EC_KEY_PAIR_GEN", 0x1041: "ECDSA",
    0x1042: "ECDSA_SHA1", 0x1043: "ECDSA_SHA224", 0x1044: "ECDSA_SHA256", 0x1045: "ECDSA_SHA384",
    0x1046: "ECDSA_SHA512", 0x1050: "ECDH1_DERIVE", 0x1051: "ECDH1_COFACTOR_DERIVE", 0x1053: "ECDH_AES_KEY_WRAP",
    0x1054: "RSA_AES_KEY_WRAP", 0x1055: "EC_EDWARDS_KEY_PAIR_GEN", 0x1056: "EC_MONTGOMERY_KEY_PAIR_GEN",
    0x1057: "EDDSA", 0x1080: "AES_KEY_GEN", 0x1081: "AES_ECB", 0x1082: "AES_CBC", 0x1083: "AES_MAC",
    0x1084: "AES_MAC_GENERAL", 0x1085: "AES_CBC_PAD", 0x1086: "AES_CTR", 0x1087: "AES_GCM", 0x1088: "AES_CCM",
    0x1089: "AES_CTS", 0x108a: "AES_CMAC", 0x108b: "AES_CMAC_GENERAL", 0x108c: "AES_XCBC_MAC",
    0x108d: "AES_XCBC_MAC_96", 0x108e: "AES_GMAC", 0x1100: "DES_ECB_ENCRYPT_DATA", 0x1101: "DES_CBC_ENCRYPT_DATA",
    0x1102: "DES3_ECB_ENCRYPT_DATA", 0x1103: "DES3_CBC_ENCRYPT_DATA", 0x1104: "AES_ECB_ENCRYPT_DATA",
    0x1105: "AES_CBC_ENCRYPT_DATA", 0x2000: "DSA_PARAMETER_GEN", 0x2001: "DH_PKCS_PARAMETER_GEN",
    0x2003: "DSA_PROBABLISTIC_PARAMETER_GEN", 0x2004: "DSA_SHAWE_TAYLOR_PARAMETER_GEN", 0x2104: "AES_OFB",
    0x2105: "AES_CFB64", 0x2106: "AES_CFB8", 0x2107: "AES_CFB128", 0x2108: "AES_CFB1", 0x2109: "AES_KEY_WRAP",
    0x210a: "AES_KEY_WRAP_PAD", 0x210b: "AES_KEY_WRAP_KWP", 0x210c: "AES_KEY_WRAP_PKCS7",
  ]
}
