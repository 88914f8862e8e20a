import Crypto
public import Wire

/// A certificate's serial number: positive, of at most 160 bits (RFC 5280 section 4.1.2.2).
public struct X509SerialNumber: Hashable, Sendable, CustomStringConvertible {
  /// Big-endian bytes as the INTEGER has them, with a leading zero where the number's highest bit is set.
  public let bytes: [UInt8]

  /// The bytes of a serial number that is drawn here.
  public static let drawnBytes = 16

  /// Takes the bytes of an INTEGER over.
  /// - Throws: ``SPIFFEError/Code-swift.struct/x509SVID`` where they are no positive INTEGER in DER, or more than 160 bits.
  public init(_ bytes: [UInt8]) throws(SPIFFEError) {
    let isMinimal = bytes.count == 1 ? bytes != [0] : !bytes.starts(with: [0]) || bytes.dropFirst().first ?? 0 >= 0x80
    // RFC 5280 does not say whether the zero that only keeps the sign counts; many authorities draw 160 bits.
    guard let first = bytes.first, first < 0x80, isMinimal, bytes.count <= (first == 0 ? 21 : 20) else {
      throw SPIFFEError(.x509SVID, "a serial number is a positive INTEGER of at most 160 bits")
    }
    self.bytes = bytes
  }

  /// Draws one of 126 random bits, so that no two certificates of an authority share one.
  public init(from random: any RandomSource) {
    var bytes = random.bytes(Self.drawnBytes)
    // The highest bit keeps it positive, the next its length.
    bytes[0] = bytes[0] & 0x3F | 0x40
    self.bytes = bytes
  }

  /// Lower-case hexadecimal.
  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

/// The fixed parts of certificates that differ in serial number, validity and key alone; of these a TBSCertificate is
/// put together without any encoder (RFC 5280 section 4.1).
struct CertificateLayout: Sendable {
  /// Version, then serial number; then these: the algorithm and the issuer's name.
  private let issuer: [UInt8]
  private let subject: [UInt8]
  /// All but the subject key identifier.
  private let extensions: [UInt8]
  private static let version3: [UInt8] = [0xA0, 0x03, 0x02, 0x01, 0x02]

  init(algorithm: X509SigningKey.Algorithm, issuer: [UInt8], subject: [UInt8], extensions: [[UInt8]]) {
    self.issuer = algorithm.identifier + issuer
    self.subject = subject
    self.extensions = Array(extensions.joined())
  }

  /// The TBSCertificate, DER.
  func tbs(serial: X509SerialNumber, notBefore: Timestamp, notAfter: Timestamp, spki: [UInt8]) -> [UInt8] {
    let parts = [
      Self.version3, CertificateDER.element(0x02, serial.bytes), issuer,
      CertificateDER.sequence(CertificateDER.time(notBefore), CertificateDER.time(notAfter)), subject, spki,
    ]
    let key = CertificateDER.subjectKeyIdentifier(Self.keyIdentifier(spki))
    let list = CertificateDER.header(0x30, key.count + extensions.count)
    let tagged = CertificateDER.header(0xA3, list.count + key.count + extensions.count)
    return CertificateDER.element(0x30, parts + [tagged, list, key, extensions])
  }

  /// How many bytes of a TBSCertificate are copied as they stand.
  var fixedBytes: Int { Self.version3.count + issuer.count + subject.count + extensions.count }

  /// The first 160 bits of SHA-256 over the SubjectPublicKeyInfo. RFC 5280 section 4.2.1.2 leaves the method open; that
  /// of RFC 7093 section 2 (4), cut to the usual length, needs no look inside the key and no SHA-1.
  static func keyIdentifier(_ spki: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: spki).prefix(20)) }

  /// A certificate, or a CRL or request: what was signed, the algorithm, the signature.
  static func signed(_ tbs: [UInt8], _ algorithm: X509SigningKey.Algorithm, _ signature: [UInt8]) -> [UInt8] {
    CertificateDER.sequence(tbs, algorithm.identifier, CertificateDER.bits(signature))
  }
}
