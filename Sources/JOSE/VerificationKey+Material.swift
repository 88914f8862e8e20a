// Public keys from raw numbers, with the checks that the libraries leave to their callers.

import Crypto
import CryptoExtras
import Wire

extension VerificationKey {
  package enum Curve: String {
    case p256 = "P-256"
    case p384 = "P-384"
    case p521 = "P-521"

    /// Bytes in a coordinate (RFC 7518 section 6.2.1.2).
    var coordinateBytes: Int {
      switch self {
      case .p256: 32
      case .p384: 48
      case .p521: 66
      }
    }
  }

  /// An elliptic-curve key from X9.63's uncompressed point.
  init(curve: Curve, uncompressed point: [UInt8]) throws(JOSEError) {
    guard point.count == 1 + 2 * curve.coordinateBytes, point[0] == 4 else {
      throw JOSEError(.malformedKey, "a \(curve.rawValue) key must be an uncompressed point")
    }
    try self.init(
      curve: curve, x: Array(point[1...curve.coordinateBytes]), y: Array(point[(1 + curve.coordinateBytes)...]))
  }

  /// An elliptic-curve key from its coordinates, each of the curve's full length.
  package init(curve: Curve, x: [UInt8], y: [UInt8]) throws(JOSEError) {
    self.init(
      try Material(curve: curve, x: x, y: y),
      [
        "crv": .string(curve.rawValue), "kty": "EC", "x": .string(Base64.URL.encode(x)),
        "y": .string(Base64.URL.encode(y)),
      ])
  }

  /// An Ed25519 key from RFC 8032's 32 bytes.
  package init(ed25519 bytes: [UInt8]) throws(JOSEError) {
    self.init(
      try Material(ed25519: bytes), ["crv": "Ed25519", "kty": "OKP", "x": .string(Base64.URL.encode(bytes))])
  }

  /// An RSA key from modulus and exponent, big-endian without leading zeros (RFC 7518 section 6.3.1).
  package init(rsaModulus modulus: [UInt8], exponent: [UInt8]) throws(JOSEError) {
    self.init(
      try Material(rsaModulus: modulus, exponent: exponent),
      ["e": .string(Base64.URL.encode(exponent)), "kty": "RSA", "n": .string(Base64.URL.encode(modulus))])
  }
}

extension VerificationKey.Material {
  /// As ``VerificationKey/init(curve:x:y:)``.
  package init(curve: VerificationKey.Curve, x: [UInt8], y: [UInt8]) throws(JOSEError) {
    guard x.count == curve.coordinateBytes, y.count == curve.coordinateBytes else {
      throw JOSEError(
        .malformedKey, "'x' and 'y' of a \(curve.rawValue) key must have \(curve.coordinateBytes) bytes each")
    }
    do {
      switch curve {
      case .p256: self = .p256(try P256.Signing.PublicKey(rawRepresentation: x + y))
      case .p384: self = .p384(try P384.Signing.PublicKey(rawRepresentation: x + y))
      case .p521: self = .p521(try P521.Signing.PublicKey(rawRepresentation: x + y))
      }
    } catch {
      throw JOSEError(.malformedKey, "the point is not on \(curve.rawValue)")
    }
  }

  /// The y coordinates, little-endian and without the sign bit, of Ed25519's points of order 1, 2, 4 and 8 in every
  /// encoding. Under such a key one signature verifies for many messages, so it proves nothing.
  private static let smallOrder: Set<[UInt8]> = {
    func bytes(_ first: UInt8, _ middle: UInt8, _ last: UInt8) -> [UInt8] {
      [first] + [UInt8](repeating: middle, count: 30) + [last]
    }
    let ofOrderEight = [
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ].compactMap { Hex.decode($0) }
    let others = [
      bytes(0x00, 0x00, 0x00), bytes(0x01, 0x00, 0x00), bytes(0xEC, 0xFF, 0x7F), bytes(0xED, 0xFF, 0x7F),
      bytes(0xEE, 0xFF, 0x7F),
    ]
    return Set(ofOrderEight + others)
  }()

  /// As ``VerificationKey/init(ed25519:)``.
  package init(ed25519 bytes: [UInt8]) throws(JOSEError) {
    guard bytes.count == 32, let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else {
      throw JOSEError(.malformedKey, "'x' of an Ed25519 key must have 32 bytes")
    }
    var y = bytes
    y[31] &= 0x7F
    guard !Self.smallOrder.contains(y) else {
      throw JOSEError(.malformedKey, "the Ed25519 key is a point of small order; generate a proper key")
    }
    self = .ed25519(key)
  }

  /// As ``VerificationKey/init(rsaModulus:exponent:)``.
  package init(rsaModulus modulus: [UInt8], exponent: [UInt8]) throws(JOSEError) {
    guard let first = modulus.first, first != 0, let lead = exponent.first, lead != 0, exponent.count <= 8 else {
      throw JOSEError(.malformedKey, "'n' and 'e' of an RSA key must be without leading zero bytes")
    }
    let bits = modulus.count * 8 - first.leadingZeroBitCount
    let e = exponent.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard JOSELimits.rsaModulus.contains(bits), JOSELimits.rsaExponent.contains(e), e & 1 == 1 else {
      throw JOSEError(
        .unsupportedKey,
        "an RSA key must have \(JOSELimits.rsaModulus.lowerBound) to \(JOSELimits.rsaModulus.upperBound) bits and an "
          + "odd exponent of at least 65537")
    }
    guard !Self.hasROCAFingerprint(modulus) else {
      throw JOSEError(.unsupportedKey, "the RSA key was made by hardware with CVE-2017-15361; generate another")
    }
    guard let key = try? _RSA.Signing.PublicKey(n: modulus, e: exponent) else {
      throw JOSEError(.malformedKey, "the RSA key is not valid")
    }
    self = .rsa(key)
  }

  /// True for moduli of CVE-2017-15361's generator: modulo each small prime they are powers of 65537.
  private static func hasROCAFingerprint(_ modulus: [UInt8]) -> Bool {
    // Primes below 170 modulo which the powers of 65537 are few; a random modulus passes all with chance 2^-27.
    let primes: [UInt32] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]
    return primes.allSatisfy { prime in
      let residue = modulus.reduce(UInt32(0)) { ($0 << 8 | UInt32($1)) % prime }
      var power: UInt32 = 1
      repeat {
        if power == residue { return true }
        power = power * 65_537 % prime
      } while power != 1
      return false
    }
  }
}
