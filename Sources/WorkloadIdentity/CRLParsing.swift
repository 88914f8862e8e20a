import SwiftASN1
import Wire
import X509

/// A list whose signature nobody has checked yet.
public struct UnverifiedCRL: Sendable {
  /// The issuer's name, DER.
  let issuer: [UInt8]
  private let tbs: [UInt8]
  private let algorithm: [UInt8]
  private let signature: [UInt8]
  private let keyIdentifier: [UInt8]?
  private let content: CRL

  /// Reads DER of at most ``CRL/maximumBytes``, version 2, complete and direct: a delta list, one of some reasons alone
  /// or one about other issuers' certificates has a critical extension, and any such refuses the list.
  /// - Throws: ``SPIFFEError/Code-swift.struct/x509SVID``.
  public init(_ der: [UInt8]) throws(SPIFFEError) {
    guard der.count <= CRL.maximumBytes else {
      throw SPIFFEError(.x509SVID, "crl: a revocation list has at most \(CRL.maximumBytes) bytes")
    }
    do {
      self = try Self(reading: der)
    } catch {
      throw SPIFFEError(.x509SVID, "crl: the revocation list is none of version 2 in DER, or not a complete one")
    }
  }

  /// Checks that an authority signed it.
  /// - Parameter issuer: the authority's certificate, DER.
  /// - Throws: ``SPIFFEError/Code-swift.struct/x509SVID``.
  public func verified(issuer der: [UInt8]) throws(SPIFFEError) -> CRL {
    try verified(issuer: X509Certificate(der, .x509SVID))
  }

  /// Whether the list does not name another key than this authority's.
  func mayBe(of authority: X509Certificate) -> Bool {
    keyIdentifier == nil || authority.subjectKeyIdentifier == nil || keyIdentifier == authority.subjectKeyIdentifier
  }

  func verified(issuer authority: X509Certificate) throws(SPIFFEError) -> CRL {
    let scheme = Self.schemes[algorithm]
    guard authority.subject == issuer, authority.keyUsage?.cRLSign != false, mayBe(of: authority), let scheme,
      authority.parsed.publicKey.isValidSignature(signature, for: tbs, signatureAlgorithm: scheme)
    else { throw SPIFFEError(.x509SVID, "the revocation list is not signed by its issuer") }
    return content
  }

  private static let schemes: [[UInt8]: Certificate.SignatureAlgorithm] = [
    CertificateDER.ecdsaWithSHA256: .ecdsaWithSHA256, CertificateDER.ecdsaWithSHA384: .ecdsaWithSHA384,
    rsa(11): .sha256WithRSAEncryption, rsa(12): .sha384WithRSAEncryption, rsa(13): .sha512WithRSAEncryption,
  ]

  /// 1.2.840.113549.1.1.`number` with NULL (RFC 4055 section 5).
  private static func rsa(_ number: UInt8) -> [UInt8] {
    [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, number, 0x05, 0x00]
  }

  private struct Malformed: Error {}

  private init(reading der: [UInt8]) throws {
    let (list, outer, signature) = try DER.sequence(DER.parse(der), identifier: .sequence) { nodes in
      (try nodes.needed(), Array(try nodes.needed().encodedBytes), try ASN1BitString(derEncoded: &nodes))
    }
    guard signature.paddingBits == 0 else { throw Malformed() }
    tbs = Array(list.encodedBytes)
    algorithm = outer
    self.signature = Array(signature.bytes)
    (issuer, content, keyIdentifier) = try DER.sequence(list, identifier: .sequence) { nodes in
      guard try Int(derEncoded: &nodes) == 1, Array(try nodes.needed().encodedBytes) == outer else { throw Malformed() }
      let issuer = Array(try nodes.needed().encodedBytes)
      let thisUpdate = try Self.moment(nodes.needed())
      // Section 5.1.2.5: the next update is REQUIRED.
      let nextUpdate = try Self.moment(nodes.needed())
      var next = nodes.next()
      var revoked: [[UInt8]: UInt8] = [:]
      if let entries = next, entries.identifier == .sequence {
        revoked = try Self.entries(entries)
        next = nodes.next()
      }
      guard let tagged = next, tagged.identifier == ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific) else {
        throw Malformed()
      }
      let extensions = try Self.extensions(tagged)
      guard let number = extensions[oid: [2, 5, 29, 20]].map({ Array($0.value) }),
        extensions.allSatisfy({ !$0.critical })
      else { throw Malformed() }
      let digits = try DER.parse(number).integer()
      guard digits.count <= 21, digits[0] < 0x80 else { throw Malformed() }
      return (
        issuer, CRL(number: digits, thisUpdate: thisUpdate, nextUpdate: nextUpdate, revoked: revoked),
        try extensions.authorityKeyIdentifier?.keyIdentifier.map(Array.init)
      )
    }
  }

  private static func extensions(_ tagged: ASN1Node) throws -> Certificate.Extensions {
    guard case .constructed(let nodes) = tagged.content else { throw Malformed() }
    var inner = nodes.makeIterator()
    let list = try DER.sequence(
      of: Certificate.Extension.self, identifier: .sequence, rootNode: inner.needed())
    guard inner.next() == nil else { throw Malformed() }
    return try Certificate.Extensions(list)
  }

  private static func entries(_ list: ASN1Node) throws -> [[UInt8]: UInt8] {
    try DER.sequence(list, identifier: .sequence) { nodes in
      var revoked: [[UInt8]: UInt8] = [:]
      while let node = nodes.next() {
        guard revoked.count < CRL.maximumEntries else { throw Malformed() }
        let (serial, reason) = try DER.sequence(node, identifier: .sequence) { fields in
          let serial = try fields.needed().integer()
          _ = try Self.moment(fields.needed())
          var reason: UInt8 = 0
          if let node = fields.next() {
            let list = try Certificate.Extensions(
              DER.sequence(of: Certificate.Extension.self, identifier: .sequence, rootNode: node))
            guard list.allSatisfy({ !$0.critical }) else { throw Malformed() }
            if let code = list[oid: [2, 5, 29, 21]]?.value {
              guard code.count == 3, code.starts(with: [0x0A, 0x01]), let last = code.last, last <= 10, last != 7 else {
                throw Malformed()
              }
              reason = last
            }
          }
          return (serial, reason)
        }
        guard revoked.updateValue(reason, forKey: serial) == nil else { throw Malformed() }
      }
      guard !revoked.isEmpty else { throw Malformed() }
      return revoked
    }
  }

  private static func moment(_ node: ASN1Node) throws -> Timestamp {
    // The same CHOICE as in a certificate, whose reader keeps its own to itself.
    let time =
      node.identifier == .utcTime
      ? try Self.parts(UTCTime(derEncoded: node)) : try Self.parts(GeneralizedTime(derEncoded: node))
    // Days from the civil calendar: the inverse of what CertificateDER writes.
    let year = Int64(time.month <= 2 ? time.year - 1 : time.year)
    let era = year / 400
    let yearOfEra = year - era * 400
    let shiftedMonth = Int64(time.month + (time.month > 2 ? -3 : 9))
    let dayOfYear = (153 * shiftedMonth + 2) / 5 + Int64(time.day) - 1
    let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    return Timestamp(seconds: days * 86_400 + Int64(time.hours * 3600 + time.minutes * 60 + time.seconds))
  }

  private typealias Parts = (year: Int, month: Int, day: Int, hours: Int, minutes: Int, seconds: Int)
  private static func parts(_ time: UTCTime) -> Parts {
    (time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
  }
  private static func parts(_ time: GeneralizedTime) -> Parts {
    (time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
  }
}
