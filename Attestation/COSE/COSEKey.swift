/// A COSE algorithm by its number in IANA's registry. An open set; which of them are accepted is the caller's choice.
public struct COSEAlgorithm: RawRepresentable, Hashable, Sendable, CustomStringConvertible, ExpressibleByIntegerLiteral
{
  /// The registered number.
  public let rawValue: Int
  /// The algorithm of a number.
  public init(rawValue: Int) { self.rawValue = rawValue }
  /// The algorithm of a number.
  public init(integerLiteral value: Int) { rawValue = value }
  /// ECDSA with SHA-256 (RFC 9053 section 2.1); here on P-256 only.
  public static let es256: COSEAlgorithm = -7
  /// EdDSA (RFC 9053 section 2.2); here with Ed25519 only.
  public static let edDSA: COSEAlgorithm = -8
  /// ECDSA with SHA-384 (RFC 9053 section 2.1); here on P-384 only.
  public static let es384: COSEAlgorithm = -35
  /// ECDSA with SHA-512 (RFC 9053 section 2.1); here on P-521 only.
  public static let es512: COSEAlgorithm = -36
  /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8812 section 2).
  public static let rs256: COSEAlgorithm = -257
  /// The registered number.
  public var description: String { String(rawValue) }
}

/// A public COSE_Key (RFC 9052 section 7) for ES256, EdDSA or RS256. Points and moduli are checked for form alone: that
/// a point lies on its curve is found by who loads it into a library.
public struct COSEKey: Sendable, Equatable {
  /// The numbers of a key, big-endian.
  public enum Material: Sendable, Equatable {
    /// A point on P-256; 32 bytes each (RFC 9053 section 7.1.1).
    case p256(x: [UInt8], y: [UInt8])
    /// The 32 bytes of RFC 8032 (RFC 9053 section 7.2).
    case ed25519([UInt8])
    /// Modulus and exponent without leading zeros (RFC 8230 section 4).
    case rsa(modulus: [UInt8], exponent: [UInt8])
  }

  /// `alg`.
  public let algorithm: COSEAlgorithm
  /// The key itself.
  public let material: Material

  /// A key of given numbers, which must have the form that decoding demands.
  public init(_ material: Material) throws(COSEError) {
    switch material {
    case .p256(let x, let y):
      guard x.count == 32, y.count == 32 else {
        throw COSEError(.keyMalformed, "x and y of a P-256 key must have 32 bytes each")
      }
      algorithm = .es256
    case .ed25519(let x):
      guard x.count == 32 else { throw COSEError(.keyMalformed, "x of an Ed25519 key must have 32 bytes") }
      algorithm = .edDSA
    case .rsa(let modulus, let exponent):
      try Self.check(modulus: modulus, exponent: exponent)
      algorithm = .rs256
    }
    self.material = material
  }

  /// Decodes a key that takes up all bytes.
  public init(encoded bytes: [UInt8]) throws(COSEError) {
    try self.init(try CBOR(decoding: bytes, limits: .init(bytes: 2048, items: 64, depth: 2)))
  }

  /// Reads a key. Members beyond those that its type requires are refused, except for `kid` and for a `key_ops` that
  /// allows `verify`: a member that is not understood may restrict what the key is for.
  /// - Throws: ``COSEError`` with one of the codes `cose_key_…`.
  public init(_ item: CBOR) throws(COSEError) {
    guard let map = item.map else { throw COSEError(.keyMalformed, "a COSE key must be a map") }
    guard let type = map[label: Label.type]?.integer else { throw COSEError(.keyMalformed, "the COSE key lacks kty") }
    guard let shape = Shape.all[type] else {
      throw type == 4
        ? COSEError(.keyPrivate, "the COSE key is symmetric; send a public key")
        : COSEError(.keyUnsupported, "kty \(type) of the COSE key is not accepted; use EC2, OKP or RSA")
    }
    try Self.checkMembers(map, shape)
    guard let algorithm = map[label: Label.algorithm]?.integer else {
      throw COSEError(.keyAlgorithm, "the COSE key lacks alg; state its number")
    }
    guard algorithm == shape.algorithm.rawValue else {
      throw COSEError(.keyAlgorithm, "alg \(algorithm) of the COSE key does not fit kty \(type), or is not accepted")
    }
    if let curve = shape.curve {
      guard let stated = map[label: -1]?.integer else { throw COSEError(.keyMalformed, "the COSE key lacks crv") }
      guard stated == curve else {
        throw COSEError(
          .keyAlgorithm, "crv \(stated) of the COSE key does not fit alg \(algorithm), or is not accepted")
      }
    }
    func bytes(_ label: Int, _ name: String) throws(COSEError) -> [UInt8] {
      guard let bytes = map[label: label]?.bytes else {
        throw COSEError(.keyMalformed, "the COSE key lacks \(name) as a byte string")
      }
      return bytes
    }
    switch shape.algorithm {
    case .es256:
      // RFC 9053 section 7.1.1: a truth value for y stands for a compressed point.
      if case .bool? = map[label: -3] {
        throw COSEError(.keyUnsupported, "the COSE key's point is compressed; send y as 32 bytes")
      }
      try self.init(.p256(x: bytes(-2, "x"), y: bytes(-3, "y")))
    case .edDSA: try self.init(.ed25519(bytes(-2, "x")))
    default: try self.init(.rsa(modulus: bytes(-1, "n"), exponent: bytes(-2, "e")))
    }
  }

  private enum Label {
    static let type = 1
    static let keyID = 2
    static let algorithm = 3
    static let operations = 4
  }

  /// What a key type requires (RFC 9053 sections 7.1 and 7.2, RFC 8230 section 4).
  private struct Shape {
    let algorithm: COSEAlgorithm
    let curve: Int?
    let members: Set<Int>
    let privateMembers: Set<Int>

    static let all: [Int: Shape] = [
      1: Shape(algorithm: .edDSA, curve: 6, members: [-1, -2], privateMembers: [-4]),
      2: Shape(algorithm: .es256, curve: 1, members: [-1, -2, -3], privateMembers: [-4]),
      3: Shape(algorithm: .rs256, curve: nil, members: [-1, -2], privateMembers: Set(-12 ... -3)),
    ]
  }

  private static func checkMembers(_ map: CBORMap, _ shape: Shape) throws(COSEError) {
    for entry in map {
      if let label = entry.key.integer, shape.privateMembers.contains(label) {
        throw COSEError(.keyPrivate, "the COSE key carries the private member \(label); send only the public key")
      }
    }
    for entry in map {
      let label = entry.key.integer
      switch label {
      case Label.type, Label.algorithm: continue
      case Label.keyID:
        guard entry.value.bytes != nil else { throw COSEError(.keyMalformed, "kid of the COSE key must be bytes") }
      case Label.operations:
        // RFC 9052 section 7.1: 2 is `verify`.
        guard let operations = entry.value.array, operations.count <= 8, operations.contains(2) else {
          throw COSEError(.keyUnsupported, "key_ops of the COSE key must hold verify (2)")
        }
      default:
        guard let label, shape.members.contains(label) else {
          throw COSEError(.keyUnsupported, "the COSE key has a member that is not known here; leave it out")
        }
      }
    }
  }

  private static func check(modulus: [UInt8], exponent: [UInt8]) throws(COSEError) {
    guard let first = modulus.first, first != 0, let lead = exponent.first, lead != 0 else {
      throw COSEError(.keyMalformed, "n and e of an RSA key must be without leading zero bytes")
    }
    let bits = modulus.count * 8 - first.leadingZeroBitCount
    guard (2048...4096).contains(bits), modulus.last.map({ $0 & 1 }) == 1 else {
      throw COSEError(.keyUnsupported, "n of an RSA key must be odd and have 2048 to 4096 bits")
    }
    let value = exponent.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    guard exponent.count <= 4, value >= 3, value & 1 == 1 else {
      throw COSEError(.keyUnsupported, "e of an RSA key must be odd, at least 3, and have at most 32 bits")
    }
  }

  /// The key with the members that its type requires and no others; ``CBOR/encoded`` gives its one encoding.
  public var cbor: CBOR {
    switch material {
    case .p256(let x, let y): [1: 2, 3: CBOR(algorithm.rawValue), -1: 1, -2: .bytes(x), -3: .bytes(y)]
    case .ed25519(let x): [1: 1, 3: CBOR(algorithm.rawValue), -1: 6, -2: .bytes(x)]
    case .rsa(let modulus, let exponent):
      [1: 3, 3: CBOR(algorithm.rawValue), -1: .bytes(modulus), -2: .bytes(exponent)]
    }
  }
}

extension CBORMap {
  /// The value of a key that is an integer, as those of COSE are.
  fileprivate subscript(label label: Int) -> CBOR? { entries.first { $0.key.integer == label }?.value }
}
