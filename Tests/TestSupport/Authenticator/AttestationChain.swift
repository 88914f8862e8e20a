public import COSE
import Foundation
import SwiftASN1
public import Wire
import X509

/// The certificates of an authenticator's maker: a root, intermediate authorities, and the attestation certificate.
public struct AttestationChain: Sendable {
  /// What the certificates say; the defaults are as WebAuthn Level 3 section 8.2.1 wants them.
  public struct Template: Sendable {
    /// The attestation key's algorithm: -7, -8, -257, -35 or -36.
    public var algorithm = COSEAlgorithm.es256
    /// The attestation certificate's subject; an attribute that is nil is left out.
    public var country: String? = "DE"
    /// O.
    public var organization: String? = "TrustCore tests"
    /// OU.
    public var unit: String? = "Authenticator Attestation"
    /// CN.
    public var commonName: String? = "TrustCore test attestation"
    /// The attestation certificate's basic constraints; nil leaves the extension out.
    public var isAuthority: Bool? = false
    /// The attestation certificate's version, 1 or 3.
    public var version = 3
    /// The model in the AAGUID extension; nil leaves the extension out.
    public var model: [UInt8]?
    /// Marks the AAGUID extension critical.
    public var isModelCritical = false
    /// Puts the model without its inner OCTET STRING.
    public var isModelBare = false
    /// Adds a critical extension that nobody knows.
    public var hasUnknownCritical = false
    /// The attestation certificate's key usage, with or without signatures; nil leaves the extension out.
    public var allowsSignatures: Bool?
    /// From when the certificates are valid.
    public var notBefore: Timestamp
    /// Until when the root and the intermediate authorities are valid.
    public var notAfter: Timestamp
    /// Until when the attestation certificate is valid.
    public var leafNotAfter: Timestamp
    /// How many intermediate authorities there are.
    public var intermediates = 1
    /// False to leave out that an intermediate is an authority.
    public var intermediatesAreAuthorities = true
    /// False to deny intermediates the signing of certificates.
    public var intermediatesMaySign = true
    /// The root's path length.
    public var pathLength: Int?

    /// A template for a model, valid for ten years around a moment.
    public init(model: [UInt8]?, now: Timestamp) {
      self.model = model
      notBefore = now.adding(seconds: -5 * 365 * 86_400)
      notAfter = now.adding(seconds: 5 * 365 * 86_400)
      leafNotAfter = notAfter
    }
  }

  /// The root's DER.
  public let root: [UInt8]
  /// The intermediate authorities' DER, the one next to the root first.
  public let intermediates: [[UInt8]]
  /// The attestation certificate's DER.
  public let leaf: [UInt8]
  /// What is sent as `x5c`: leaf, then intermediates up to the root, which is left out.
  public var presented: [[UInt8]]
  let leafKey: AuthenticatorKey

  /// Makes keys and certificates.
  public init(_ template: Template, random: any RandomSource) throws {
    let rootKey = try AuthenticatorKey(.es256, random: random)
    let rootName = try DistinguishedName { CommonName("TrustCore test attestation root") }
    var issuer = (name: rootName, key: rootKey)
    func certificate(
      _ name: DistinguishedName, _ key: AuthenticatorKey, version: Certificate.Version = .v3, until: Timestamp,
      _ extensions: [Certificate.Extension]
    ) throws -> [UInt8] {
      let made = try Certificate(
        version: version, serialNumber: Certificate.SerialNumber(bytes: [0x40] + random.bytes(15)),
        publicKey: key.certificateKey.publicKey, notValidBefore: Self.date(template.notBefore),
        notValidAfter: Self.date(until), issuer: issuer.name, subject: name,
        signatureAlgorithm: issuer.key.certificateAlgorithm, extensions: try Certificate.Extensions(extensions),
        issuerPrivateKey: issuer.key.certificateKey)
      var serializer = DER.Serializer()
      try serializer.serialize(made)
      return serializer.serializedBytes
    }
    let signing = KeyUsage(keyCertSign: true)
    root = try certificate(
      rootName, rootKey, until: template.notAfter,
      [
        try .init(BasicConstraints.isCertificateAuthority(maxPathLength: template.pathLength), critical: true),
        try .init(signing, critical: true),
      ])
    var authorities: [[UInt8]] = []
    for index in 0..<template.intermediates {
      let key = try AuthenticatorKey(.es256, random: random)
      let name = try DistinguishedName { CommonName("TrustCore test attestation authority \(index)") }
      let constraints: BasicConstraints =
        template.intermediatesAreAuthorities
        ? .isCertificateAuthority(maxPathLength: nil) : .notCertificateAuthority
      authorities.append(
        try certificate(
          name, key, until: template.notAfter,
          [
            try .init(constraints, critical: true),
            try .init(template.intermediatesMaySign ? signing : KeyUsage(digitalSignature: true), critical: true),
          ]))
      issuer = (name, key)
    }
    intermediates = authorities
    leafKey = try AuthenticatorKey(
      AuthenticatorKey.Kind(rawValue: template.algorithm.rawValue) ?? .es256, random: random)
    leaf = try certificate(
      try Self.subject(template), leafKey, version: template.version == 1 ? .v1 : .v3, until: template.leafNotAfter,
      template.version == 1 ? [] : try Self.extensions(template))
    presented = [leaf] + authorities.reversed()
  }

  private static func date(_ moment: Timestamp) -> Date { Date(timeIntervalSince1970: Double(moment.seconds)) }

  private static func subject(_ template: Template) throws -> DistinguishedName {
    let attributes: [(ASN1ObjectIdentifier, String?)] = [
      (.RDNAttributeType.countryName, template.country), (.RDNAttributeType.organizationName, template.organization),
      (.RDNAttributeType.organizationalUnitName, template.unit), (.RDNAttributeType.commonName, template.commonName),
    ]
    return DistinguishedName(
      attributes.compactMap { type, text in
        text.map { RelativeDistinguishedName(RelativeDistinguishedName.Attribute(type: type, utf8String: $0)) }
      })
  }

  private static func extensions(_ template: Template) throws -> [Certificate.Extension] {
    var all: [Certificate.Extension] = []
    if let isAuthority = template.isAuthority {
      let constraints: BasicConstraints =
        isAuthority ? .isCertificateAuthority(maxPathLength: nil) : .notCertificateAuthority
      all.append(try .init(constraints, critical: true))
    }
    if let allows = template.allowsSignatures {
      all.append(try .init(KeyUsage(digitalSignature: allows, keyAgreement: !allows), critical: true))
    }
    if let model = template.model {
      // A short OCTET STRING in DER: tag, length, content.
      let value = template.isModelBare ? model : [0x04, UInt8(model.count)] + model
      all.append(
        .init(oid: [1, 3, 6, 1, 4, 1, 45724, 1, 1, 4], critical: template.isModelCritical, value: value[...]))
    }
    if template.hasUnknownCritical {
      all.append(.init(oid: [1, 3, 6, 1, 4, 1, 99999, 1], critical: true, value: [0x05, 0x00]))
    }
    return all
  }
}
