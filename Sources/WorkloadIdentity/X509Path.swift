import FoundationEssentials
import SwiftASN1
import Wire
@_spi(FixedExpiryValidationTime) import X509

/// A path from a certificate to a root (RFC 5280 section 6). swift-certificates builds it and applies signatures, path
/// lengths, name constraints and validity; before it, here, what would make that long or what it leaves out.
struct X509Path {
  /// From the first certificate up, without the root.
  let below: [X509Certificate]
  let root: X509Certificate

  init(
    leaf: X509Certificate, others: [X509Certificate], roots: [[UInt8]], now: Timestamp,
    code: SPIFFEError.Code = .x509SVID
  ) async throws(SPIFFEError) {
    // One name and key twice would let many paths be: the search is linear only where a signature has few signers.
    guard Set(others.map { $0.subject + $0.spki }).count == others.count else {
      throw SPIFFEError(code, "repeated: two of the issuers have one name and key; send each once")
    }
    for (index, certificate) in ([leaf] + others).enumerated() where !certificate.isValid(at: now) {
      // By its place: a leaf has no subject.
      throw SPIFFEError(
        code,
        "validity: certificate \(index + 1) of the chain is valid from \(certificate.notBefore) to "
          + "\(certificate.notAfter), not at \(now): renew it, or set the clock")
    }
    var anchors: [X509Certificate] = []
    for der in roots {
      let anchor = try X509Certificate(der, .bundle)
      // RFC 5280 section 6.1.4 (n) for the anchor too, where it states a usage at all.
      if anchor.isAuthority, anchor.keyUsage?.keyCertSign != false { anchors.append(anchor) }
    }
    let moment = Date(timeIntervalSince1970: Double(now.seconds))
    var verifier = Verifier(rootCertificates: CertificateStore(anchors.map(\.parsed))) {
      RFC5280Policy(fixedExpiryValidationTime: moment)
      CheckedExtensions()
    }
    let result = await verifier.validate(leaf: leaf.parsed, intermediates: CertificateStore(others.map(\.parsed)))
    guard case .validCertificate(let chain) = result, let last = chain.last,
      let root = anchors.first(where: { $0.parsed == last })
    else {
      throw SPIFFEError(
        code, "path: the certificates lead to no root that is valid now and allows them: send every issuer between")
    }
    self.root = root
    below = chain.dropLast().compactMap { step in ([leaf] + others).first { $0.parsed == step } }
  }

  /// RFC 5280 section 6.3 for complete lists that the issuers signed themselves.
  func checkRevocation(_ crls: [[UInt8]], now: Timestamp) throws(SPIFFEError) {
    for der in crls {
      let list = try UnverifiedCRL(der)
      for (certificate, issuer) in zip(below, below.dropFirst() + [root]) where list.issuer == certificate.issuer {
        // Another key of the same name: that list is about other certificates.
        guard list.mayBe(of: issuer) else { continue }
        let crl: CRL
        do { crl = try list.verified(issuer: issuer) } catch {
          throw SPIFFEError(.x509SVID, "crl: \(error.message)")
        }
        guard crl.isCurrent(at: now) else {
          throw SPIFFEError(.x509SVID, "crl: the issuer's revocation list is not current: fetch it anew")
        }
        if crl.revoked[certificate.serial] != nil {
          throw SPIFFEError(.x509SVID, "revoked: the issuer has revoked a certificate of the path")
        }
      }
    }
  }
}

/// The critical extensions that ``X509Lint`` has checked before a path is built.
private struct CheckedExtensions: VerifierPolicy {
  let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [
    .X509ExtensionID.subjectAlternativeName, .X509ExtensionID.extendedKeyUsage,
  ]

  func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) -> PolicyEvaluationResult { .meetsPolicy }
}
