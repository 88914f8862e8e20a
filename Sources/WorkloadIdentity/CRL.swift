public import Wire
import X509

/// A certificate that is revoked.
public struct CertificateRevocation: Sendable, Equatable {
  /// Why (RFC 5280 section 5.3.1); those that end a revocation or are for attribute certificates are not used.
  public enum Reason: UInt8, Sendable, CaseIterable {
    /// Not said; written as no reason at all.
    case unspecified = 0
    /// The certificate's key is known to others.
    case keyCompromise = 1
    /// The issuer's key is known to others.
    case authorityCompromise = 2
    /// A name in it is no longer the workload's.
    case affiliationChanged = 3
    /// Another certificate took its place.
    case superseded = 4
    /// It is not needed any more.
    case cessationOfOperation = 5
    /// It may come back.
    case certificateHold = 6
    /// The entry no longer entitles to it.
    case privilegeWithdrawn = 9
  }

  /// Which certificate of the issuer.
  public let serial: X509SerialNumber
  /// Since when.
  public let since: Timestamp
  /// Why.
  public let reason: Reason

  /// Collects the parts.
  public init(serial: X509SerialNumber, since: Timestamp, reason: Reason = .unspecified) {
    self.serial = serial
    self.since = since
    self.reason = reason
  }
}

/// A certificate revocation list of one issuer (RFC 5280 section 5) that its issuer signed.
public struct CRL: Sendable {
  /// The number, which grows from list to list; big-endian.
  public let number: [UInt8]
  /// When it was made.
  public let thisUpdate: Timestamp
  /// When the next one is there at the latest.
  public let nextUpdate: Timestamp
  /// The reason codes by the bytes of the serial number.
  public let revoked: [[UInt8]: UInt8]

  /// The most bytes of a list.
  public static let maximumBytes = 4 << 20
  /// The most certificates of a list.
  public static let maximumEntries = 65_536

  /// Whether it counts at a moment.
  public func isCurrent(at now: Timestamp) -> Bool {
    thisUpdate.seconds <= now.seconds && now.seconds <= nextUpdate.seconds
  }

  /// Makes a list: one signature.
  /// - Parameters:
  ///   - number: greater than that of every earlier list of this issuer.
  ///   - revoked: without those that have expired, at most ``maximumEntries``.
  /// - Returns: DER.
  /// - Throws: ``SPIFFEError/Code-swift.struct/authority`` for too many, one twice, an issuer that may not sign lists, or
  ///   moments out of order; what the signing key throws.
  public static func make(
    issuer: X509Signer, number: UInt64, thisUpdate: Timestamp, nextUpdate: Timestamp, revoked: [CertificateRevocation]
  ) async throws -> [UInt8] {
    guard revoked.count <= maximumEntries, Set(revoked.map(\.serial)).count == revoked.count else {
      throw SPIFFEError(.authority, "a revocation list has at most \(maximumEntries) certificates, each once")
    }
    guard issuer.certificate.keyUsage?.cRLSign == true, thisUpdate < nextUpdate else {
      throw SPIFFEError(.authority, "a revocation list needs an issuer with cRLSign and a next update after this one")
    }
    let entries = revoked.map { entry in
      let reason =
        entry.reason == .unspecified
        ? [] : CertificateDER.sequence(CertificateDER.ext(21, [0x0A, 0x01, entry.reason.rawValue]))
      return CertificateDER.sequence(
        CertificateDER.element(0x02, entry.serial.bytes), CertificateDER.time(entry.since), reason)
    }
    let tbs = CertificateDER.sequence(
      [0x02, 0x01, 0x01], issuer.key.algorithm.identifier, issuer.subject, CertificateDER.time(thisUpdate),
      CertificateDER.time(nextUpdate),
      // Section 5.1.2.6: where nothing is revoked, the list itself is absent.
      entries.isEmpty ? [] : CertificateDER.sequence(of: entries),
      CertificateDER.element(
        0xA0,
        CertificateDER.sequence(
          CertificateDER.authorityKeyIdentifier(issuer.keyIdentifier),
          CertificateDER.ext(20, CertificateDER.integer(number)))))
    return CertificateLayout.signed(tbs, issuer.key.algorithm, try await issuer.key.signature(over: tbs))
  }
}
