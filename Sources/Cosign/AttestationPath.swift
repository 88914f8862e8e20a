import COSE
import Crypto
import Wire

/// The certificates of an attestation, the leaf first.
struct AttestationPath {
  private let certificates: [AttestationCertificate]

  var leaf: AttestationCertificate { certificates[0] }

  /// Reads `x5c`: an array of DER certificates.
  init(_ chain: CBOR) throws(CosignError) {
    guard let items = chain.array, CosignLimits.certificates.contains(items.count) else {
      throw CosignError(.attestation, "x5c must hold 1 to \(CosignLimits.certificates.upperBound) certificates")
    }
    var certificates: [AttestationCertificate] = []
    for item in items {
      guard let der = item.bytes else { throw CosignError(.attestation, "x5c must hold byte strings") }
      certificates.append(try AttestationCertificate(der))
    }
    self.certificates = certificates
  }

  /// Walks up. A certificate that is itself an anchor ends the path, leaf or not; otherwise an anchor must have issued
  /// the last one. What the statement brings must hold together even where it leads to nothing trusted.
  /// - Returns: SHA-256 of the anchor's DER, or nil where the path leads to none.
  /// - Throws: where a certificate is not valid at `now`, or was not issued by the one after it.
  func anchor(among anchors: [[UInt8]], at now: Timestamp) throws(CosignError) -> [UInt8]? {
    var reached: [UInt8]?
    for (index, certificate) in certificates.enumerated() {
      try certificate.checkValidity(at: now)
      if index > 0, try !certificate.issued(certificates[index - 1], authoritiesBelow: index - 1) {
        throw CosignError(.attestation, "certificate \(index) of x5c did not issue the one before it")
      }
      if reached == nil, anchors.contains(certificate.der) { reached = certificate.der }
    }
    if reached == nil { reached = try issuer(among: anchors, at: now) }
    return reached.map { Array(SHA256.hash(data: $0)) }
  }

  /// The anchor that issued the last certificate. Authorities are renewed under one name and key: of several that fit,
  /// the first that is valid counts.
  private func issuer(among anchors: [[UInt8]], at now: Timestamp) throws(CosignError) -> [UInt8]? {
    var invalid: CosignError?
    for der in anchors {
      let anchor = try AttestationCertificate(der)
      guard try anchor.issued(certificates[certificates.count - 1], authoritiesBelow: certificates.count - 1) else {
        continue
      }
      do {
        try anchor.checkValidity(at: now)
        return der
      } catch {
        invalid = error
      }
    }
    if let invalid { throw invalid }
    return nil
  }
}
