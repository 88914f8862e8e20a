import Foundation
import TestSupport
import Testing

@testable import WorkloadIdentity

/// Certificates with one flaw each; x509-svid.py made them and says what they break.
@Test func everyRuleIsBrokenByExactlyTheCertificatesThatBreakIt() throws {
  let cases = try #require(try X509Conformance.object("x509-lint.json")["cases"] as? [[String: Any]])
  var tally = Tally("x509-lint")
  var broken: Set<String> = []
  for entry in cases {
    let name = entry["name"] as? String ?? ""
    let role = try #require((entry["role"] as? String).flatMap(X509Rule.Role.init))
    let expected = entry["rules"] as? [String]
    let found = (try? X509Lint.violations(of: X509Conformance.bytes(entry["certificate"]), as: role))?.map(\.id)
    tally.expect(found == expected, "\(name): \(found ?? ["unreadable"]), expected \(expected ?? ["unreadable"])")
    broken.formUnion(expected ?? [])
  }
  tally.report()
  #expect(Set(X509Lint.rules.map(\.id)) == broken)
}

@Test func keysAreToldApart() throws {
  #expect(CertificateKeyStrength(spki: CertificateDER.p256Key + [UInt8](repeating: 4, count: 65)) == .p256)
  #expect(CertificateKeyStrength(spki: CertificateDER.p384Key + [UInt8](repeating: 4, count: 97)) == .p384)
  #expect(CertificateKeyStrength(spki: [0x30, 0x00]) == .unknown)
  for (bits, modulus) in [(1024, 128), (2047, 256), (2048, 256), (4096, 512)] {
    var number = [UInt8](repeating: 0xFF, count: modulus)
    if bits == 2047 { number[0] = 0x7F }
    let spki = CertificateDER.sequence(
      [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00],
      CertificateDER.bits(CertificateDER.sequence(CertificateDER.integer(number), CertificateDER.integer(65537))))
    #expect(CertificateKeyStrength(spki: spki) == .rsa(bits: bits, usualExponent: true))
  }
}

@Test func issuedCertificatesKeepEveryRule() async throws {
  let authority = try await TestAuthority()
  #expect(try X509Lint.violations(of: authority.root.der, as: .authority).isEmpty)
  #expect(try X509Lint.violations(of: authority.issuing.der, as: .authority).isEmpty)
  for template in [
    try authority.template(), try authority.template(dnsNames: ["web.example.org", "*.example.org"]),
    try authority.template(crl: "http://ca.example.org/issuing.crl"),
  ] {
    let leaf = try await authority.leaf(template)
    #expect(try X509Lint.violations(of: leaf.certificate, as: .leaf).isEmpty)
    // And the rules of the other role do not pass by accident.
    #expect(try !X509Lint.violations(of: leaf.certificate, as: .authority).isEmpty)
  }
}
