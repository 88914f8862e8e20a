/// What trying something on a token came to.
public enum Finding<Value: RawRepresentable & Sendable & Hashable>: Sendable, Hashable where Value.RawValue == String {
  /// What was seen.
  case found(Value)
  /// The token answered with this error, by its CKR name.
  case refused(String)
  /// The token does not have the mechanism.
  case absent
  /// It could not be tried, and why.
  case untried(String)

  /// What was seen; nil when nothing was.
  public var value: Value? { if case .found(let value) = self { value } else { nil } }

  /// As it stands in a profile.
  public var text: String {
    switch self {
    case .found(let value): value.rawValue
    case .refused(let name): "refused with \(name)"
    case .absent: "absent"
    case .untried(let reason): "untried, \(reason)"
    }
  }
}

/// How a token behaves, found by trying with session objects.
public struct Behaviour: Sendable, Hashable {
  /// Something does what it should.
  public enum Works: String, Sendable {
    /// It does.
    case works
  }

  /// What becomes of a key that was asked for as a session object.
  public enum SessionObjects: String, Sendable {
    /// It is one.
    case works
    /// It is stored on the token. The probe destroys it and makes no further keys.
    case stored = "stored on the token"
  }

  /// A question with two answers.
  public enum Answer: String, Sendable {
    /// It is so.
    case yes = "true"
    /// It is not.
    case no = "false"
  }

  /// How C_Login answers while the user is logged in, given a wrong PIN.
  public enum SecondLogin: String, Sendable {
    /// CKR_USER_ALREADY_LOGGED_IN: the PIN may as well be wrong.
    case pinIgnored = "PIN not looked at"
    /// The PIN was found wrong.
    case pinChecked = "PIN checked"
  }

  /// What a mechanism makes of 32 bytes, held against the specifications' own results.
  public enum WrapForm: String, Sendable {
    /// AES key wrap.
    case rfc3394 = "RFC 3394"
    /// AES key wrap with padding.
    case rfc5649 = "RFC 5649"
    /// RFC 3394 over a key that was padded as PKCS#7 does.
    case pkcs7 = "RFC 3394 after PKCS#7 padding"
    /// None of these.
    case other
  }

  /// What becomes of a key whose length is no multiple of 8 bytes.
  public enum OddLength: String, Sendable {
    /// It comes back with its length.
    case kept
    /// It comes back longer.
    case grown = "comes back longer"
  }

  /// One of the AES key wrap mechanisms.
  public struct Wrap: Sendable, Hashable {
    /// Whether a 32-byte key goes out and comes back.
    public var roundTrip: Finding<Works> = .absent
    /// Which wrapping it is.
    public var form: Finding<WrapForm> = .absent
    /// What becomes of 20 bytes.
    public var oddLength: Finding<OddLength> = .absent
    /// Makes one that is absent.
    public init() {}
  }

  /// The structure that CKM_AES_GCM takes.
  public enum GCMParameters: String, Sendable {
    /// With `ulIvBits`.
    case bytes48 = "48 bytes"
    /// Without.
    case bytes40 = "40 bytes"
  }

  /// Who makes an initialisation vector.
  public enum IVSource: String, Sendable {
    /// The caller's is used.
    case caller
    /// The token's own.
    case token
  }

  /// What stands for an initialisation vector of no bytes.
  public enum EmptyIV: String, Sendable {
    /// Zeros, every time.
    case zeros
    /// Something else, every time the same.
    case fixed
    /// A new one each time.
    case made = "made by the token"
  }

  /// What becomes of a ciphertext that was tampered with.
  public enum BadTag: String, Sendable {
    /// It is decrypted.
    case accepted
  }

  /// CKM_AES_GCM.
  public struct GCM: Sendable, Hashable {
    /// The structure that it takes.
    public var parameters: Finding<GCMParameters> = .absent
    /// Who makes a 12-byte IV.
    public var iv: Finding<IVSource> = .absent
    /// What becomes of an empty one.
    public var emptyIV: Finding<EmptyIV> = .absent
    /// Whether tags of 32 bits pass.
    public var tagOf32Bits: Finding<Works> = .absent
    /// How a tampered ciphertext is refused.
    public var badTag: Finding<BadTag> = .absent
    /// Whether it wraps keys.
    public var wrap: Finding<Works> = .absent
    /// Makes one that is absent.
    public init() {}
  }

  /// What is signed of a digest that is longer than the curve.
  public enum LongDigest: String, Sendable {
    /// Its first bytes.
    case cut = "cut to its first bytes"
    /// Something else.
    case other
  }

  /// CKM_ECDSA on P-256.
  public struct ECDSA: Sendable, Hashable {
    /// Whether a signature of a SHA-256 digest verifies in software.
    public var digest: Finding<Works> = .absent
    /// What becomes of 64 bytes.
    public var longDigest: Finding<LongDigest> = .absent
    /// Whether CKM_ECDSA_SHA256 signs a message.
    public var hashing: Finding<Works> = .absent
    /// How CKA_EC_POINT comes.
    public var point: Finding<PointForm> = .absent
    /// Makes one that is absent.
    public init() {}
  }

  /// How CKA_EC_POINT comes.
  public enum PointForm: String, Sendable {
    /// In a DER OCTET STRING.
    case octetString = "OCTET STRING"
    /// In a DER BIT STRING.
    case bitString = "BIT STRING"
    /// As it is.
    case raw
    /// Otherwise.
    case other
  }

  /// CKM_EDDSA with Ed25519.
  public struct EdDSA: Sendable, Hashable {
    /// Whether a key pair is generated from the curve's object identifier (RFC 8410).
    public var oid: Finding<Works> = .absent
    /// Whether one is from the PrintableString `edwards25519` (PKCS#11 3.0, section 2.3.5).
    public var name: Finding<Works> = .absent
    /// How CKA_EC_POINT comes.
    public var point: Finding<PointForm> = .absent
    /// Whether a signature verifies in software.
    public var signature: Finding<Works> = .absent
    /// Makes one that is absent.
    public init() {}
  }

  /// CKM_RSA_PKCS_OAEP, by its hash, which MGF1 uses too.
  public struct OAEP: Sendable, Hashable {
    /// SHA-1.
    public var sha1: Finding<Works> = .absent
    /// SHA-256.
    public var sha256: Finding<Works> = .absent
    /// SHA-384.
    public var sha384: Finding<Works> = .absent
    /// SHA-512.
    public var sha512: Finding<Works> = .absent
    /// Makes one that is absent.
    public init() {}
  }

  /// What a key is that was unwrapped.
  public enum Unwrapped: String, Sendable {
    /// Sensitive and not extractable.
    case locked
    /// Extractable, or not sensitive.
    case open
  }

  /// CKA_UNWRAP_TEMPLATE that demands sensitive and non-extractable keys.
  public struct UnwrapTemplate: Sendable, Hashable {
    /// Whether a key with it can be made.
    public var set: Finding<Works> = .absent
    /// What comes of an unwrapping that restates it.
    public var restated: Finding<Unwrapped> = .absent
    /// What comes of one that says nothing of it.
    public var unstated: Finding<Unwrapped> = .absent
    /// What comes of one that asks for the opposite.
    public var opposed: Finding<Unwrapped> = .absent
    /// Makes one that is absent.
    public init() {}
  }

  /// The random generator.
  public var random: Finding<Works> = .untried("not yet")
  /// Keys that are session objects.
  public var sessionObjects: Finding<SessionObjects> = .untried("not yet")
  /// Whether a sibling session uses a session object.
  public var sharedAmongSessions: Finding<Answer> = .untried("not yet")
  /// Whether it outlives the session that made it.
  public var outlivesItsSession: Finding<Answer> = .untried("not yet")
  /// C_Login while logged in.
  public var secondLogin: Finding<SecondLogin> = .untried("it could lock the PIN")
  /// CKM_AES_KEY_WRAP (0x2109).
  public var keyWrap = Wrap()
  /// CKM_AES_KEY_WRAP_PAD (0x210A): RFC 5649 on some tokens, PKCS#7 padding on others.
  public var keyWrapPad = Wrap()
  /// CKM_AES_KEY_WRAP_KWP (0x210B, PKCS#11 3.0).
  public var keyWrapKWP = Wrap()
  /// CKA_UNWRAP_TEMPLATE.
  public var unwrapTemplate = UnwrapTemplate()
  /// CKM_AES_GCM.
  public var gcm = GCM()
  /// CKM_ECDSA.
  public var ecdsa = ECDSA()
  /// CKM_EDDSA.
  public var eddsa = EdDSA()
  /// CKM_RSA_PKCS_OAEP.
  public var oaep = OAEP()

  /// Makes one in which nothing was tried.
  public init() {}
}
