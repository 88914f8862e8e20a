import FoundationEssentials
import SwiftASN1
import Wire
import X509

/// A certificate that was read, whatever it says: swift-certificates' view of it, the parts as they are encoded, and the
/// extensions that the rules look at.
struct X509Certificate: Sendable {
  let der: [UInt8]
  let parsed: Certificate
  /// The INTEGER's bytes.
  let serial: [UInt8]
  let innerAlgorithm: [UInt8]
  let outerAlgorithm: [UInt8]
  /// The names and the key, DER.
  let issuer: [UInt8]
  let subject: [UInt8]
  let spki: [UInt8]
  /// Tag and year of the two moments of the validity.
  let times: [(tag: UInt8, year: Int)]

  let constraints: BasicConstraints?
  let keyUsage: KeyUsage?
  let extendedKeyUsage: ExtendedKeyUsage?
  let names: [GeneralName]
  let subjectKeyIdentifier: [UInt8]?
  let authorityKeyIdentifier: [UInt8]?

  /// The most bytes of a certificate.
  static let maximumBytes = 1 << 16

  /// Reads DER.
  /// - Throws: an error of the code, for what is no certificate, is too long, or has a malformed extension.
  init(_ der: [UInt8], _ code: SPIFFEError.Code) throws(SPIFFEError) {
    guard der.count <= Self.maximumBytes else {
      throw SPIFFEError(code, "der: a certificate has at most \(Self.maximumBytes) bytes")
    }
    do {
      self = try Self(reading: der)
    } catch {
      throw SPIFFEError(code, "der: the certificate is no X.509 in DER, or one of its extensions is malformed")
    }
  }

  private init(reading der: [UInt8]) throws {
    self.der = der
    parsed = try Certificate(derEncoded: der)
    let (tbs, outer) = try DER.sequence(DER.parse(der), identifier: .sequence) { nodes in
      let parts = (try nodes.needed(), Array(try nodes.needed().encodedBytes))
      _ = nodes.next()
      return parts
    }
    outerAlgorithm = outer
    var fields = try DER.sequence(tbs, identifier: .sequence) { nodes in
      var fields: [ASN1Node] = []
      while let node = nodes.next() { fields.append(node) }
      return fields
    }
    // The version is absent from a certificate of version 1.
    if fields.first?.identifier.tagClass == .contextSpecific { fields.removeFirst() }
    serial = try fields[0].integer()
    innerAlgorithm = Array(fields[1].encodedBytes)
    issuer = Array(fields[2].encodedBytes)
    subject = Array(fields[4].encodedBytes)
    spki = Array(fields[5].encodedBytes)
    times = try DER.sequence(fields[3], identifier: .sequence) { nodes in
      var times: [(tag: UInt8, year: Int)] = []
      while let node = nodes.next() {
        times.append(
          node.identifier == .utcTime
            ? (0x17, try UTCTime(derEncoded: node).year) : (0x18, try GeneralizedTime(derEncoded: node).year))
      }
      return times
    }
    let extensions = parsed.extensions
    constraints = try extensions.basicConstraints
    keyUsage = try extensions.keyUsage
    extendedKeyUsage = try extensions.extendedKeyUsage
    names = try extensions.subjectAlternativeNames.map(Array.init) ?? []
    subjectKeyIdentifier = try extensions.subjectKeyIdentifier.map { Array($0.keyIdentifier) }
    authorityKeyIdentifier = try extensions.authorityKeyIdentifier?.keyIdentifier.map(Array.init)
  }

  // MARK: - What the rules ask

  var isAuthority: Bool {
    if case .isCertificateAuthority? = constraints { true } else { false }
  }

  var isSelfIssued: Bool { issuer == subject }

  var hasSubject: Bool { subject != [0x30, 0x00] }

  var uris: [String] {
    names.compactMap { if case .uniformResourceIdentifier(let text) = $0 { text } else { nil } }
  }

  var dnsNames: [String] {
    names.compactMap { if case .dnsName(let text) = $0 { text } else { nil } }
  }

  /// The SPIFFE ID, where there is one URI and it is one.
  var id: SPIFFEID? { uris.count == 1 ? try? SPIFFEID(uris[0]) : nil }

  var notBefore: Timestamp { Timestamp(seconds: Int64(parsed.notValidBefore.timeIntervalSince1970)) }
  /// The last second that it is valid in (RFC 5280 section 4.1.2.5: both ends count).
  var notAfter: Timestamp { Timestamp(seconds: Int64(parsed.notValidAfter.timeIntervalSince1970)) }

  func isValid(at now: Timestamp) -> Bool { notBefore.seconds <= now.seconds && now.seconds <= notAfter.seconds }

  func isCritical(_ oid: ASN1ObjectIdentifier) -> Bool? { parsed.extensions[oid: oid]?.critical }
}

extension ASN1NodeCollection.Iterator {
  /// The next node, which has to be there.
  mutating func needed() throws -> ASN1Node {
    guard let node = next() else { throw SPIFFEError(.x509SVID, "der: a sequence ends early") }
    return node
  }
}

extension ASN1Node {
  /// The bytes of an INTEGER as they stand, sign and all.
  func integer() throws -> [UInt8] {
    guard identifier == .integer, case .primitive(let bytes) = content, !bytes.isEmpty else {
      throw SPIFFEError(.x509SVID, "der: a number is no INTEGER")
    }
    return Array(bytes)
  }
}
