// Every choice of algorithm and key size for signatures made outside the HSM stands in this file.

public import KeyHierarchy

/// A signature algorithm that this project verifies (RFC 7518 section 3.1, RFC 8037 section 3.1). There is no `none`,
/// and no HMAC: whoever holds a verification key must not be able to sign with it.
public enum JWSAlgorithm: String, Sendable, Hashable, CaseIterable {
  /// ECDSA on P-256 with SHA-256.
  case es256 = "ES256"
  /// ECDSA on P-384 with SHA-384.
  case es384 = "ES384"
  /// ECDSA on P-521 with SHA-512.
  case es512 = "ES512"
  /// Ed25519; Ed448 is not accepted under this name.
  case edDSA = "EdDSA"
  /// RSASSA-PKCS1-v1_5 with SHA-256.
  case rs256 = "RS256"
  /// RSASSA-PKCS1-v1_5 with SHA-384.
  case rs384 = "RS384"
  /// RSASSA-PKCS1-v1_5 with SHA-512.
  case rs512 = "RS512"
  /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
  case ps256 = "PS256"
  /// RSASSA-PSS with SHA-384 and a salt of 48 bytes.
  case ps384 = "PS384"
  /// RSASSA-PSS with SHA-512 and a salt of 64 bytes.
  case ps512 = "PS512"

  /// The algorithm of a custodian's signing key; nil for keys that do not sign.
  public init?(_ algorithm: KeyAlgorithm) {
    switch algorithm {
    case .ecdsaP256: self = .es256
    case .ecdsaP384: self = .es384
    case .ed25519: self = .edDSA
    case .rsa2048: self = .rs256
    case .aes256Wrap, .hmacSHA256: return nil
    }
  }
}

extension Set<JWSAlgorithm> {
  /// What agents may prove possession with: signatures that are short and fast to verify.
  public static let proofOfPossession: Set<JWSAlgorithm> = [.es256, .es384, .edDSA]
  /// What credentials and tokens of other issuers may be signed with.
  public static let issuers: Set<JWSAlgorithm> = Set(JWSAlgorithm.allCases)
  /// What JWT-SVIDs may be signed with (SPIFFE JWT-SVID section 2.1, which has no EdDSA).
  public static let jwtSVID: Set<JWSAlgorithm> = [
    .rs256, .rs384, .rs512, .es256, .es384, .es512, .ps256, .ps384, .ps512,
  ]
}

/// Limits on what comes from outside.
package enum JOSELimits {
  /// The longest compact JWS, in bytes.
  package static let token = 16_384
  /// The longest `kid`, in bytes.
  static let keyID = 256
  /// The most keys in a set.
  static let keys = 16
  /// RSA moduli, in bits.
  static let rsaModulus = 2048...4096
  /// RSA public exponents (FIPS 186-5 section 5.4: at least 65537); the upper bound is BoringSSL's.
  static let rsaExponent: ClosedRange<UInt64> = 65_537...(1 << 33 - 1)
}
