import SwiftASN1

/// What kind of key a SubjectPublicKeyInfo holds, as far as rules ask.
enum CertificateKeyStrength: Equatable {
  case p256
  case p384
  case p521
  case ed25519
  /// With the modulus' bits and whether the exponent is 65537.
  case rsa(bits: Int, usualExponent: Bool)
  case unknown

  private static let ec: ASN1ObjectIdentifier = [1, 2, 840, 10045, 2, 1]
  private static let rsaEncryption: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 1, 1]
  private static let curves: [ASN1ObjectIdentifier: CertificateKeyStrength] = [
    [1, 2, 840, 10045, 3, 1, 7]: .p256, [1, 3, 132, 0, 34]: .p384, [1, 3, 132, 0, 35]: .p521,
  ]

  init(spki: [UInt8]) { self = (try? Self.read(spki)) ?? .unknown }

  private static func read(_ spki: [UInt8]) throws -> CertificateKeyStrength {
    try DER.sequence(DER.parse(spki), identifier: .sequence) { nodes in
      let (oid, curve) = try DER.sequence(nodes.needed(), identifier: .sequence) { algorithm in
        let oid = try ASN1ObjectIdentifier(derEncoded: &algorithm)
        return (oid, try algorithm.next().flatMap { oid == ec ? try ASN1ObjectIdentifier(derEncoded: $0) : nil })
      }
      let key = try ASN1BitString(derEncoded: &nodes)
      if let curve { return curves[curve] ?? .unknown }
      if oid == [1, 3, 101, 112] { return .ed25519 }
      guard oid == rsaEncryption else { return .unknown }
      return try DER.sequence(DER.parse(key.bytes), identifier: .sequence) { numbers in
        let modulus = try ArraySlice<UInt8>(derEncoded: &numbers).drop { $0 == 0 }
        let exponent = try ArraySlice<UInt8>(derEncoded: &numbers)
        let bits = modulus.count * 8 - (modulus.first?.leadingZeroBitCount ?? 0)
        return .rsa(bits: bits, usualExponent: Array(exponent) == [1, 0, 1])
      }
    }
  }
}
