import Crypto
import Foundation
import KeyHierarchy
import Seal
import SwiftASN1
import Wire
import WorkloadIdentity
import X509

/// Makes the certificates of the deployment's own servers; every signature comes from the HSM.
struct CertificateAuthority: Sendable {
  let custodian: any KeyCustodian
  let time: any TimeSource
  let random: any RandomSource

  private static let day: TimeInterval = 86_400

  /// The API server's certificate for loopback names, for 90 days. It is an X.509-SVID too, by which other trust domains
  /// know the bundle endpoint (SPIFFE Federation section 5.2.2).
  /// - Parameters:
  ///   - issuing: the issuing authority's certificate.
  ///   - name: its key.
  ///   - id: the server's identity.
  func server(issuing: Certificate, key name: KeyName, id: SPIFFEID) throws -> Certificate {
    let key = try HSMCertificateKey(.apiTLSA, custodian)
    let issuer = try HSMCertificateKey(name, custodian)
    return try certificate(
      try DistinguishedName { CommonName("localhost") }, key.publicKey, issuer: issuing.subject, signedBy: issuer,
      days: 90,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        // X509-SVID section 4.4 wants both.
        try ExtendedKeyUsage([.serverAuth, .clientAuth])
        SubjectAlternativeNames([
          .uniformResourceIdentifier(id.description), .dnsName("localhost"),
          .dnsName(DevelopmentDeployment.console.host),
          .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
          .ipAddress(ASN1OctetString(contentBytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        ])
        SubjectKeyIdentifier(hash: key.publicKey)
        // The issuer's own: there is more than one way to make one.
        AuthorityKeyIdentifier(keyIdentifier: try issuing.extensions.subjectKeyIdentifier?.keyIdentifier)
      })
  }

  private func certificate(
    _ subject: DistinguishedName, _ key: Certificate.PublicKey, issuer: DistinguishedName,
    signedBy signer: HSMCertificateKey, days: Double, extensions: Certificate.Extensions
  ) throws -> Certificate {
    let now = Date(timeIntervalSince1970: TimeInterval(time.now().seconds))
    return try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(bytes: [0x40] + random.bytes(15)), publicKey: key,
      // Clocks differ: a minute back.
      notValidBefore: now.addingTimeInterval(-60), notValidAfter: now.addingTimeInterval(days * Self.day),
      issuer: issuer, subject: subject, signatureAlgorithm: signer.defaultSignatureAlgorithm, extensions: extensions,
      issuerPrivateKey: Certificate.PrivateKey(signer))
  }
}

extension Certificate {
  /// The certificate as PEM.
  var pem: String { get throws { try serializeAsPEM().pemString + "\n" } }

  /// SHA-256 of the certificate's DER.
  var fingerprint: [UInt8] {
    get throws {
      var serializer = DER.Serializer()
      try serializer.serialize(self)
      return Array(SHA256.hash(data: serializer.serializedBytes))
    }
  }
}
