import SwiftASN1
import X509

/// A rule that a certificate keeps or breaks.
public struct X509Rule: Sendable, CustomStringConvertible {
  /// What a certificate is meant to be.
  public enum Role: String, Sendable {
    /// A workload's own.
    case leaf
    /// A root or an issuing authority's.
    case authority
  }

  /// Where a rule comes from.
  public enum Level: Sendable {
    /// A standard says MUST: who verifies refuses what breaks it.
    case standard
    /// A standard says SHOULD, or our profile is narrower: what we issue keeps it.
    case profile
  }

  /// The stable name.
  public let id: String
  /// Which certificates it is about; nil for all.
  public let role: Role?
  /// Where it comes from.
  public let level: Level
  /// The rule.
  public let sentence: String
  /// The document and its section.
  public let source: String
  let holds: @Sendable (X509Certificate) -> Bool

  init(
    _ id: String, for role: Role? = nil, level: Level = .standard, _ sentence: String, _ source: String,
    _ holds: @escaping @Sendable (X509Certificate) -> Bool
  ) {
    (self.id, self.role, self.level, self.sentence, self.source) = (id, role, level, sentence, source)
    self.holds = holds
  }

  /// The name, the rule and its source.
  public var description: String { "\(id): \(sentence) (\(source))" }
}

/// Holds certificates to the rules of X509-SVID, RFC 5280 and our profile.
public enum X509Lint {
  /// The rules that a certificate breaks.
  /// - Parameter der: a certificate.
  /// - Throws: ``SPIFFEError/Code-swift.struct/x509SVID`` for what is no certificate or has a malformed extension.
  public static func violations(of der: [UInt8], as role: X509Rule.Role) throws(SPIFFEError) -> [X509Rule] {
    let certificate = try X509Certificate(der, .x509SVID)
    return rules.filter { ($0.role ?? role) == role && !$0.holds(certificate) }
  }

  /// Throws the first rule of the standards that a certificate breaks.
  static func check(
    _ certificate: X509Certificate, as role: X509Rule.Role, _ code: SPIFFEError.Code = .x509SVID
  ) throws(SPIFFEError) {
    for rule in rules where rule.level == .standard && (rule.role ?? role) == role && !rule.holds(certificate) {
      throw SPIFFEError(code, rule.description)
    }
  }

  private static let understood: Set<ASN1ObjectIdentifier> = [
    .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.extendedKeyUsage,
    .X509ExtensionID.subjectAlternativeName, .X509ExtensionID.nameConstraints,
  ]
  private static let given: [X509Rule.Role: Set<ASN1ObjectIdentifier>] = [
    .leaf: [
      .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.extendedKeyUsage,
      .X509ExtensionID.subjectAlternativeName, .X509ExtensionID.subjectKeyIdentifier,
      .X509ExtensionID.authorityKeyIdentifier, [2, 5, 29, 31],
    ],
    .authority: [
      .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.subjectAlternativeName,
      .X509ExtensionID.subjectKeyIdentifier, .X509ExtensionID.authorityKeyIdentifier,
    ],
  ]
  private static let strongAlgorithms: Set<Certificate.SignatureAlgorithm> = [
    .ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512, .ed25519, .sha256WithRSAEncryption, .sha384WithRSAEncryption,
    .sha512WithRSAEncryption,
  ]
  private static func hasOnly(_ role: X509Rule.Role, _ certificate: X509Certificate) -> Bool {
    certificate.parsed.extensions.allSatisfy { given[role]?.contains($0.oid) == true }
  }

  /// Every rule, in the order in which a verifier names them.
  public static let rules: [X509Rule] = form + names + usage + profile

  // MARK: - The certificate itself

  private static let form: [X509Rule] = [
    X509Rule("version", "the version is 3", "RFC 5280 section 4.1.2.1") { $0.parsed.version == .v3 },
    X509Rule("serial", "the serial number is positive and has at most 160 bits", "RFC 5280 section 4.1.2.2") {
      (try? X509SerialNumber($0.serial)) != nil
    },
    X509Rule("algorithms-equal", "the signed algorithm is the one outside", "RFC 5280 section 4.1.1.2") {
      $0.innerAlgorithm == $0.outerAlgorithm
    },
    X509Rule("algorithm-strong", "the signature is of ECDSA, RSA or Ed25519 and not of SHA-1", "RFC 9155") {
      strongAlgorithms.contains($0.parsed.signatureAlgorithm)
    },
    X509Rule(
      "key-strong", "the key is of P-256, P-384, P-521, Ed25519, or RSA with 2048 to 8192 bits and exponent 65537",
      "NIST SP 800-131A; of free exponents several keys could fit one signature"
    ) {
      switch CertificateKeyStrength(spki: $0.spki) {
      case .rsa(let bits, usualExponent: true): (2048...8192).contains(bits)
      case .rsa, .unknown: false
      default: true
      }
    },
    X509Rule("validity-order", "the validity does not end before it begins", "RFC 5280 section 4.1.2.5") {
      $0.notBefore <= $0.notAfter
    },
    X509Rule(
      "validity-form", "moments up to 2049 are UTCTime and later ones GeneralizedTime", "RFC 5280 section 4.1.2.5"
    ) { $0.times.count == 2 && $0.times.allSatisfy { ($0.tag == 0x17) == ($0.year < 2050) } },
    X509Rule("issuer-named", "the issuer has a name", "RFC 5280 section 4.1.2.4") { $0.issuer != [0x30, 0x00] },
    X509Rule("subject-named", for: .authority, "an authority has a name", "RFC 5280 section 4.1.2.6") { $0.hasSubject },
    X509Rule("critical-understood", "every critical extension is understood", "RFC 5280 section 4.2") {
      $0.parsed.extensions.allSatisfy { !$0.critical || understood.contains($0.oid) }
    },
  ]

  // MARK: - Names

  private static let names: [X509Rule] = [
    X509Rule("uri-one", for: .leaf, "there is exactly one URI SAN", "X509-SVID section 2") { $0.uris.count == 1 },
    X509Rule("uri-one", for: .authority, "there is at most one URI SAN", "X509-SVID section 2") { $0.uris.count <= 1 },
    X509Rule("spiffe-id", "the URI SAN is a SPIFFE ID", "X509-SVID section 5.2, SPIFFE-ID section 2") {
      $0.uris.allSatisfy { (try? SPIFFEID($0)) != nil }
    },
    X509Rule("leaf-path", for: .leaf, "a leaf's SPIFFE ID has a path", "X509-SVID section 3.1") {
      $0.uris.allSatisfy { (try? SPIFFEID($0))?.path.isEmpty != true }
    },
    X509Rule("authority-path", for: .authority, "an authority's SPIFFE ID has no path", "X509-SVID section 3.2") {
      $0.uris.allSatisfy { (try? SPIFFEID($0))?.path.isEmpty != false }
    },
    X509Rule("san-critical", "the SAN is critical where the subject is empty", "RFC 5280 section 4.1.2.6") {
      $0.hasSubject || $0.isCritical(.X509ExtensionID.subjectAlternativeName) == true
    },
  ]

  // MARK: - Constraints and usage

  private static let usage: [X509Rule] = [
    X509Rule("leaf-ca", for: .leaf, "a leaf is no authority", "X509-SVID section 4.1") { !$0.isAuthority },
    X509Rule(
      "authority-ca", for: .authority, "an authority says so in critical constraints", "RFC 5280 section 4.2.1.9"
    ) {
      $0.isAuthority && $0.isCritical(.X509ExtensionID.basicConstraints) == true
    },
    X509Rule("key-usage", "the key usage is there and critical", "X509-SVID section 4.3") {
      $0.isCritical(.X509ExtensionID.keyUsage) == true
    },
    X509Rule("leaf-signs", for: .leaf, "a leaf's key usage has digitalSignature", "X509-SVID section 4.3") {
      $0.keyUsage?.digitalSignature != false
    },
    X509Rule("leaf-certifies", for: .leaf, "a leaf's key usage has no keyCertSign, no cRLSign", "X509-SVID section 4.3")
    {
      $0.keyUsage?.keyCertSign != true && $0.keyUsage?.cRLSign != true
    },
    X509Rule(
      "authority-certifies", for: .authority, "an authority's key usage has keyCertSign", "X509-SVID section 4.3"
    ) {
      $0.keyUsage?.keyCertSign != false
    },
    X509Rule(
      "leaf-eku", for: .leaf, "an extended key usage has serverAuth and clientAuth", "X509-SVID section 4.4"
    ) { $0.extendedKeyUsage.map { $0.contains(.serverAuth) && $0.contains(.clientAuth) } ?? true },
    X509Rule(
      "authority-eku", for: .authority, "an extended key usage of an authority leaves serverAuth and clientAuth",
      "X509-SVID section 4.4; Go and OpenSSL apply it to what is below"
    ) {
      $0.extendedKeyUsage.map { $0.contains(.any) || $0.contains(.serverAuth) && $0.contains(.clientAuth) } ?? true
    },
  ]

  // MARK: - Our profile

  private static let profile: [X509Rule] = [
    X509Rule("serial-drawn", for: .leaf, level: .profile, "the serial number has 121 to 160 bits", "profile") {
      (16...21).contains($0.serial.count)
    },
    X509Rule(
      "algorithm-ours", level: .profile, "the signature is of ECDSA with SHA-256 or SHA-384",
      "profile; what Envoy, Go and rustls all accept"
    ) { [.ecdsaWithSHA256, .ecdsaWithSHA384].contains($0.parsed.signatureAlgorithm) },
    X509Rule("leaf-subject", for: .leaf, level: .profile, "a leaf's subject is empty", "profile; X509-SVID section 3.1")
    {
      !$0.hasSubject
    },
    X509Rule("leaf-names", for: .leaf, level: .profile, "a leaf's SAN has a URI and DNS names alone", "profile") {
      $0.names.count == $0.uris.count + $0.dnsNames.count && $0.dnsNames.allSatisfy(DNSName.isValid)
    },
    X509Rule(
      "authority-id", for: .authority, level: .profile, "an authority is an SVID itself", "X509-SVID section 3.2"
    ) {
      $0.id != nil && $0.names.count == 1
    },
    X509Rule(
      "leaf-constraints", for: .leaf, level: .profile, "a leaf says in critical constraints that it is none",
      "profile; X509-SVID section 4.1"
    ) { $0.isCritical(.X509ExtensionID.basicConstraints) == true },
    X509Rule("authority-length", for: .authority, level: .profile, "an authority limits the path below it", "profile") {
      if case .isCertificateAuthority(maxPathLength: let length?) = $0.constraints { length <= 1 } else { false }
    },
    X509Rule(
      "leaf-usage", for: .leaf, level: .profile, "a leaf's key usage is digitalSignature alone", "X509-SVID section 4.3"
    ) {
      $0.keyUsage == KeyUsage(digitalSignature: true)
    },
    X509Rule(
      "authority-usage", for: .authority, level: .profile, "an authority's key usage is keyCertSign and cRLSign alone",
      "X509-SVID appendix A"
    ) { $0.keyUsage == KeyUsage(keyCertSign: true, cRLSign: true) },
    X509Rule("leaf-eku-there", for: .leaf, level: .profile, "a leaf has an extended key usage", "X509-SVID section 4.4")
    {
      $0.extendedKeyUsage?.count == 2
    },
    X509Rule("key-identifier", level: .profile, "the subject key identifier is there", "RFC 5280 section 4.2.1.2") {
      $0.subjectKeyIdentifier?.isEmpty == false && $0.isCritical(.X509ExtensionID.subjectKeyIdentifier) == false
    },
    X509Rule(
      "issuer-identifier", level: .profile, "the authority key identifier is there unless it signed itself",
      "RFC 5280 section 4.2.1.1"
    ) {
      $0.isSelfIssued
        || $0.authorityKeyIdentifier?.isEmpty == false
          && $0.isCritical(.X509ExtensionID.authorityKeyIdentifier) == false
    },
    X509Rule(
      "leaf-extensions", for: .leaf, level: .profile, "no other extension than the profile's is there", "profile"
    ) {
      hasOnly(.leaf, $0)
    },
    X509Rule(
      "authority-extensions", for: .authority, level: .profile, "no other extension than the profile's is there",
      "profile"
    ) { hasOnly(.authority, $0) },
  ]
}
