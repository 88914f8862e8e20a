import COSE
import Crypto
import FoundationEssentials
import SwiftASN1
import Wire
import X509

/// A certificate of an attestation, or one that it may lead to.
struct AttestationCertificate {
  let der: [UInt8]
  let certificate: Certificate

  init(_ der: [UInt8]) throws(CosignError) {
    guard der.count <= CosignLimits.certificate, let certificate = try? Certificate(derEncoded: der) else {
      throw CosignError(
        .attestation, "a certificate of the attestation is no X.509 in DER of at most \(CosignLimits.certificate) bytes"
      )
    }
    self.der = der
    self.certificate = certificate
  }

  private func refuse(_ message: String) -> CosignError { CosignError(.attestation, message) }

  /// What RFC 5280 section 4.2 demands of a reader: a critical extension that is not understood refuses the certificate.
  private func checkCriticalExtensions() throws(CosignError) {
    let known: Set = [ASN1ObjectIdentifier.X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage]
    guard certificate.extensions.allSatisfy({ !$0.critical || known.contains($0.oid) }) else {
      throw refuse("a certificate of the attestation has a critical extension that is not understood")
    }
  }

  private var usage: KeyUsage? {
    get throws(CosignError) {
      do { return try certificate.extensions.keyUsage } catch { throw refuse("a certificate's key usage is malformed") }
    }
  }

  private var constraints: BasicConstraints? {
    get throws(CosignError) {
      do { return try certificate.extensions.basicConstraints } catch {
        throw refuse("a certificate's basic constraints are malformed")
      }
    }
  }

  // MARK: - The attestation certificate itself

  /// WebAuthn Level 3 section 8.2.1.
  func checkAttestationRules(aaguid: [UInt8]) throws(CosignError) {
    guard certificate.version == .v3 else { throw refuse("the attestation certificate must be of version 3") }
    let country = subject(.RDNAttributeType.countryName)
    guard country?.utf8.count == 2, subject(.RDNAttributeType.organizationName) != nil,
      subject(.RDNAttributeType.organizationalUnitName) == "Authenticator Attestation",
      subject(.RDNAttributeType.commonName) != nil
    else {
      throw refuse("the attestation certificate's subject must have C, O, CN, and OU 'Authenticator Attestation'")
    }
    guard try constraints == .notCertificateAuthority else {
      throw refuse("the attestation certificate must state in its basic constraints that it is no authority")
    }
    if let usage = try usage, !usage.digitalSignature {
      throw refuse("the attestation certificate's key usage does not allow signatures")
    }
    try checkModel(aaguid)
    try checkCriticalExtensions()
  }

  /// An attribute of the subject that is there once and not empty.
  private func subject(_ type: ASN1ObjectIdentifier) -> String? {
    let values = certificate.subject.flatMap { $0 }.filter { $0.type == type }
    guard values.count == 1, let text = String(values[0].value), !text.isEmpty else { return nil }
    return text
  }

  /// id-fido-gen-ce-aaguid: an octet string in the extension's value.
  private static let modelExtension: ASN1ObjectIdentifier = [1, 3, 6, 1, 4, 1, 45724, 1, 1, 4]

  private func checkModel(_ aaguid: [UInt8]) throws(CosignError) {
    guard let ext = certificate.extensions[oid: Self.modelExtension] else { return }
    guard !ext.critical else { throw refuse("the attestation certificate's AAGUID must not be critical") }
    guard let model = try? ASN1OctetString(derEncoded: Array(ext.value)), Array(model.bytes) == aaguid else {
      throw refuse("the attestation certificate is of another authenticator model than the authenticator data")
    }
  }

  /// Attestation keys may have algorithms that credentials may not.
  private static let algorithms: [COSEAlgorithm: Certificate.SignatureAlgorithm] = [
    .es256: .ecdsaWithSHA256, .es384: .ecdsaWithSHA384, .es512: .ecdsaWithSHA512, .edDSA: .ed25519,
    .rs256: .sha256WithRSAEncryption,
  ]

  /// ECDSA's numbers name a hash; the curve is pinned to it as it is for credentials (section 5.8.5).
  private func fits(_ algorithm: COSEAlgorithm) -> Bool {
    switch algorithm {
    case .es256: P256.Signing.PublicKey(certificate.publicKey) != nil
    case .es384: P384.Signing.PublicKey(certificate.publicKey) != nil
    case .es512: P521.Signing.PublicKey(certificate.publicKey) != nil
    default: true
    }
  }

  func verify(signature: [UInt8], message: [UInt8], algorithm: COSEAlgorithm) throws(CosignError) {
    guard let scheme = Self.algorithms[algorithm] else {
      throw refuse("the attestation's algorithm \(algorithm) is not verified here; use -7, -8, -35, -36 or -257")
    }
    guard fits(algorithm), certificate.publicKey.isValidSignature(signature, for: message, signatureAlgorithm: scheme)
    else { throw refuse("the attestation's signature does not verify under its certificate and algorithm") }
  }

  // MARK: - Steps of a path

  func checkValidity(at now: Timestamp) throws(CosignError) {
    let seconds = Double(now.seconds)
    guard certificate.notValidBefore.timeIntervalSince1970 <= seconds,
      seconds <= certificate.notValidAfter.timeIntervalSince1970
    else { throw refuse("a certificate of the attestation is not valid at this time") }
  }

  private static let linkAlgorithms: Set<Certificate.SignatureAlgorithm> = [
    .ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512, .ed25519, .sha256WithRSAEncryption, .sha384WithRSAEncryption,
    .sha512WithRSAEncryption,
  ]

  /// Whether this authority issued a certificate (RFC 5280 section 6.1.3 and 6.1.4, without policies and name
  /// constraints, which attestation does not use: a critical one refuses the certificate).
  /// - Parameter authoritiesBelow: how many authorities stand between this one and the leaf.
  func issued(_ other: AttestationCertificate, authoritiesBelow: Int) throws(CosignError) -> Bool {
    guard certificate.subject == other.certificate.issuer,
      Self.linkAlgorithms.contains(other.certificate.signatureAlgorithm),
      case .isCertificateAuthority(let longest)? = try constraints, longest.map({ authoritiesBelow <= $0 }) ?? true,
      try usage.map(\.keyCertSign) ?? true
    else { return false }
    try checkCriticalExtensions()
    return certificate.publicKey.isValidSignature(other.certificate.signature, for: other.certificate)
  }
}
