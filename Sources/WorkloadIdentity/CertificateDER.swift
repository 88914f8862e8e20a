import Wire

/// Writes the DER (X.690) of certificates, requests and revocation lists. What comes from outside is read with SwiftASN1
/// and swift-certificates, so nothing that this wrote is its own oracle.
enum CertificateDER {
  /// Tag and length of an element of so many bytes.
  static func header(_ tag: UInt8, _ count: Int) -> [UInt8] {
    switch count {
    case ..<0x80: [tag, UInt8(count)]
    case ..<0x100: [tag, 0x81, UInt8(count)]
    case ..<0x1_0000: [tag, 0x82, UInt8(count >> 8), UInt8(truncatingIfNeeded: count)]
    case ..<0x100_0000:
      [tag, 0x83, UInt8(count >> 16), UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
    default: [tag, 0x84] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) }
    }
  }

  static func element(_ tag: UInt8, _ parts: [UInt8]...) -> [UInt8] { element(tag, parts) }

  static func element(_ tag: UInt8, _ parts: [[UInt8]]) -> [UInt8] {
    var bytes = header(tag, parts.reduce(0) { $0 + $1.count })
    for part in parts { bytes += part }
    return bytes
  }

  static func sequence(_ parts: [UInt8]...) -> [UInt8] { element(0x30, parts) }

  static func sequence(of parts: [[UInt8]]) -> [UInt8] { element(0x30, parts) }

  /// An INTEGER that is not negative, from its big-endian bytes.
  static func integer(_ magnitude: some Collection<UInt8>) -> [UInt8] {
    let minimal = Array(magnitude.drop { $0 == 0 })
    return element(0x02, (minimal.first.map { $0 >= 0x80 } ?? true) ? [0] + minimal : minimal)
  }

  static func integer(_ value: UInt64) -> [UInt8] {
    integer((0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) })
  }

  /// A BIT STRING of whole bytes.
  static func bits(_ bytes: [UInt8]) -> [UInt8] { element(0x03, [0], bytes) }

  static let version1: [UInt8] = [0x02, 0x01, 0x00]

  // MARK: - Algorithms and names

  static let ecdsaWithSHA256: [UInt8] = [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]
  static let ecdsaWithSHA384: [UInt8] = [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03]
  /// What comes before the point in a P-256 SubjectPublicKeyInfo (RFC 5480 section 2).
  static let p256Key: [UInt8] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE,
    0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
  ]
  /// The same for P-384.
  static let p384Key: [UInt8] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
  ]

  /// A name of a common name and a serial number (X.520 attributes 2.5.4.3 and 2.5.4.5).
  static func name(commonName: String, serialNumber: String) -> [UInt8] {
    sequence(
      element(0x31, sequence([0x06, 0x03, 0x55, 0x04, 0x03], element(0x0C, Array(commonName.utf8)))),
      element(0x31, sequence([0x06, 0x03, 0x55, 0x04, 0x05], element(0x13, Array(serialNumber.utf8)))))
  }

  /// r ‖ s as Ecdsa-Sig-Value (RFC 3279 section 2.2.3).
  static func ecdsaSignature(_ raw: [UInt8]) -> [UInt8] {
    sequence(integer(raw.prefix(raw.count / 2)), integer(raw.suffix(raw.count / 2)))
  }

  // MARK: - Extensions (RFC 5280 section 4.2)

  /// An extension 2.5.29.`number`.
  static func ext(_ number: UInt8, critical: Bool = false, _ value: [UInt8]) -> [UInt8] {
    sequence([0x06, 0x03, 0x55, 0x1D, number], critical ? [0x01, 0x01, 0xFF] : [], element(0x04, value))
  }

  static func subjectKeyIdentifier(_ id: [UInt8]) -> [UInt8] { ext(14, element(0x04, id)) }
  static func authorityKeyIdentifier(_ id: [UInt8]) -> [UInt8] { ext(35, sequence(element(0x80, id))) }
  /// digitalSignature alone.
  static let leafKeyUsage = ext(15, critical: true, [0x03, 0x02, 0x07, 0x80])
  /// keyCertSign and cRLSign.
  static let authorityKeyUsage = ext(15, critical: true, [0x03, 0x02, 0x01, 0x06])
  static let leafConstraints = ext(19, critical: true, [0x30, 0x00])
  static func authorityConstraints(pathLength: UInt64) -> [UInt8] {
    ext(19, critical: true, sequence([0x01, 0x01, 0xFF], integer(pathLength)))
  }
  /// id-kp-serverAuth and id-kp-clientAuth.
  static let leafExtendedKeyUsage = ext(
    37,
    sequence(
      [0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
      [0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02]))
  static func subjectAlternativeName(_ id: SPIFFEID, dnsNames: [String] = [], critical: Bool) -> [UInt8] {
    let names = [element(0x86, Array(id.description.utf8))] + dnsNames.map { element(0x82, Array($0.utf8)) }
    return ext(17, critical: critical, sequence(of: names))
  }
  static func distributionPoint(_ url: String) -> [UInt8] {
    ext(31, sequence(sequence(element(0xA0, element(0xA0, element(0x86, Array(url.utf8)))))))
  }

  // MARK: - Time

  /// UTCTime from 1950 to 2049, GeneralizedTime otherwise (RFC 5280 section 4.1.2.5); no moment is before 1970 or after
  /// the year 9999.
  static func time(_ moment: Timestamp) -> [UInt8] {
    let seconds = min(max(moment.seconds, 0), 253_402_300_799)
    let (days, clock) = seconds.quotientAndRemainder(dividingBy: 86_400)
    // Howard Hinnant's civil-from-days, as in Wire's Timestamp, without its text: this runs once for each certificate.
    let shifted = days + 719_468
    let (era, dayOfEra) = shifted.quotientAndRemainder(dividingBy: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    var bytes: [UInt8] = year < 2050 ? [0x17, 13] : [0x18, 15]
    bytes.reserveCapacity(17)
    if year >= 2050 { bytes.appendDigits(year / 100) }
    bytes.appendDigits(year % 100)
    bytes.appendDigits(month)
    bytes.appendDigits(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    bytes.appendDigits(clock / 3600)
    bytes.appendDigits(clock / 60 % 60)
    bytes.appendDigits(clock % 60)
    bytes.append(UInt8(ascii: "Z"))
    return bytes
  }
}

extension [UInt8] {
  /// Two decimal digits.
  fileprivate mutating func appendDigits(_ value: Int64) {
    append(UInt8(ascii: "0") + UInt8(value / 10))
    append(UInt8(ascii: "0") + UInt8(value % 10))
  }
}
