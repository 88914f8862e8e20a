import Crypto
import Foundation
import KeyHierarchy
import SwiftASN1
import TestSupport
import Testing
import Wire
import X509

@testable import WorkloadIdentity

private let now = TestAuthority.now

@Test func templatesGiveBackWhatWasAskedFor() async throws {
  let authority = try await TestAuthority()
  let random = SeededRandom(7)
  let letters = Array("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789._-")
  for round in 0..<150 {
    let path = (0...random.below(6)).map { _ in "/x" + String((0...random.below(40)).map { _ in random.pick(letters) })
    }
    let names = (0..<random.below(6)).map { "n\($0).d\(random.below(1000)).example" }
    let template = try authority.template(path.joined(), dnsNames: names)
    let key = Array(P256.Signing.PrivateKey().publicKey.derRepresentation)
    let serial = X509SerialNumber(from: random)
    let begins = Timestamp(seconds: 1_700_000_000 + Int64(random.below(2_000_000_000)))
    let ends = begins.adding(seconds: Int64(random.below(100_000_000)))
    let tbs = template.tbs(serial: serial, notBefore: begins, notAfter: ends, spki: key)
    let signature = try await authority.issuing.key.signature(over: tbs)
    let certificate = try Certificate(derEncoded: template.certificate(tbs, signature: signature))
    #expect(certificate.version == .v3 && Array(certificate.serialNumber.bytes) == serial.bytes)
    #expect(certificate.notValidBefore.timeIntervalSince1970 == Double(begins.seconds), "round \(round)")
    #expect(certificate.notValidAfter.timeIntervalSince1970 == Double(ends.seconds), "round \(round)")
    #expect(certificate.subject.isEmpty && certificate.issuer == authority.issuing.certificate.parsed.subject)
    #expect(P256.Signing.PublicKey(certificate.publicKey).map { Array($0.derRepresentation) } == key)
    #expect(
      try certificate.extensions.subjectAlternativeNames.map(Array.init)
        == [.uniformResourceIdentifier(template.id.description)] + names.map { .dnsName($0) })
    #expect(certificate.extensions[oid: .X509ExtensionID.subjectAlternativeName]?.critical == true)
    #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
    #expect(try certificate.extensions.keyUsage == KeyUsage(digitalSignature: true))
    #expect(try certificate.extensions.extendedKeyUsage.map(Array.init) == [.serverAuth, .clientAuth])
    #expect(
      try certificate.extensions.authorityKeyIdentifier?.keyIdentifier.map(Array.init)
        == authority.issuing.certificate.subjectKeyIdentifier)
    #expect(
      Certificate.PublicKey(authority.issuingKey.publicKey).isValidSignature(certificate.signature, for: certificate))
  }
}

@Test func mostOfACertificateIsLaidOutOnce() async throws {
  let authority = try await TestAuthority()
  let template = try authority.template(dnsNames: ["web.example.org"])
  let tbs = template.tbs(
    serial: X509SerialNumber(from: authority.random), notBefore: now, notAfter: now.adding(seconds: 3600),
    spki: CertificateDER.p256Key + authority.issuingKey.publicKey.x963Representation)
  // Key 91, key identifier 31, validity 32, serial number 18, lengths 8.
  #expect(tbs.count - template.fixedBytes == 91 + 31 + 32 + 18 + 8 + 2)
}

@Test func opensslVerifiesStrictly() async throws {
  let authority = try await TestAuthority()
  let seconds = String(now.seconds)
  let rsa = try TestFolder()
  #expect(try rsa.run("openssl", "genpkey", "-algorithm", "RSA", "-outform", "DER", "-out", "key").status == 0)
  #expect(
    try rsa.run("openssl", "pkey", "-inform", "DER", "-in", "key", "-pubout", "-outform", "DER", "-out", "public")
      .status == 0)
  let rsaKey = Array(try Data(contentsOf: rsa.url.appendingPathComponent("public")))
  let crl = try await CRL.make(
    issuer: authority.issuing, number: 1, thisUpdate: now, nextUpdate: now.adding(seconds: 600), revoked: [])
  let rootList = try await CRL.make(
    issuer: authority.root, number: 1, thisUpdate: now, nextUpdate: now.adding(seconds: 600), revoked: [])
  for (dnsNames, key) in [([], nil), (["web.example.org"], nil), ([], rsaKey)] as [([String], [UInt8]?)] {
    let template = try authority.template(dnsNames: dnsNames, crl: "http://ca.example.org/crl")
    let leaf = try await authority.leaf(template, spki: key)
    #expect(try await authority.verify([leaf.certificate, authority.issuing.der]).dnsNames == dnsNames)
    let folder = try TestFolder()
    try folder.write("root.pem", pem: "CERTIFICATE", [authority.root.der])
    try folder.write("issuing.pem", pem: "CERTIFICATE", [authority.issuing.der])
    try folder.write("leaf.pem", pem: "CERTIFICATE", [leaf.certificate])
    try folder.write("crl.pem", pem: "X509 CRL", [crl, rootList])
    for purpose in ["sslserver", "sslclient"] {
      let (status, output) = try folder.run(
        "openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", seconds, "-crl_check_all", "-CRLfile",
        "crl.pem", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem")
      #expect(status == 0, "\(output)")
    }
    // A later OpenSSL must keep refusing what is wrong, or the acceptance above means nothing.
    #expect(
      try folder.run(
        "openssl", "verify", "-x509_strict", "-attime", seconds, "-CAfile", "root.pem", "leaf.pem"
      ).status != 0)
  }
}

@Test(.enabled(if: ProcessInfo.processInfo.environment["TRUSTCORE_PYTHON"]?.isEmpty == false))
func pythonVerifiesAsServerAndClient() async throws {
  let authority = try await TestAuthority()
  let leaf = try await authority.leaf(authority.template(dnsNames: ["web.example.org"]))
  let folder = try TestFolder()
  try folder.write("root", authority.root.der)
  try folder.write("issuing", authority.issuing.der)
  try folder.write("leaf", leaf.certificate)
  let python = try #require(ProcessInfo.processInfo.environment["TRUSTCORE_PYTHON"])
  let program = """
    import datetime, sys
    from cryptography import x509
    from cryptography.x509 import verification as v
    root, issuing, leaf = (x509.load_der_x509_certificate(open(n, "rb").read()) for n in ("root", "issuing", "leaf"))
    b = v.PolicyBuilder().store(v.Store([root])).time(datetime.datetime.fromtimestamp(int(sys.argv[1]), datetime.UTC))
    b.build_server_verifier(x509.DNSName("web.example.org")).verify(leaf, [issuing])
    print(b.build_client_verifier().verify(leaf, [issuing]).subjects[0].value)
    """
  let (status, output) = try folder.run(python, "-c", program, String(now.seconds))
  #expect(status == 0 && output == "spiffe://example.org/app/web\n", "\(output)")
}

@Test func templatesRefuseWhatTheyCannotIssue() async throws {
  let authority = try await TestAuthority()
  let other = try SPIFFEID("spiffe://other.test/app")
  #expect(throws: SPIFFEError(.authority, "")) { try X509LeafTemplate(issuer: authority.issuing, id: other) }
  #expect(throws: SPIFFEError(.id, "")) {
    try X509LeafTemplate(issuer: authority.issuing, id: authority.trustDomain.id)
  }
  let many = (0..<33).map { "n\($0).example" }
  #expect(throws: Never.self) { try authority.template(dnsNames: Array(many.dropLast())) }
  #expect(throws: SPIFFEError(.entry, "")) { try authority.template(dnsNames: many) }
  for name in ["a", "*.a.b", "a-b.c", String(repeating: "a", count: 63) + ".b"] {
    #expect(throws: Never.self) { try authority.template(dnsNames: [name]) }
  }
  for name in [
    "", ".", "a.", ".a", "a..b", "*", "a.*.b", "*a.b", "A.b", "a_b", "-a", "a-", "ä.b",
    String(repeating: "a", count: 64),
  ] {
    #expect(throws: SPIFFEError(.entry, "")) { try authority.template(dnsNames: [name]) }
  }
  let long = Array(repeating: String(repeating: "a", count: 63), count: 4).joined(separator: ".")
  #expect(throws: Never.self) { try authority.template(dnsNames: [String(long.dropLast(2))]) }
  #expect(throws: SPIFFEError(.entry, "")) { try authority.template(dnsNames: [String(long.dropLast(1))]) }
  for address in ["ldap://a/b", "http://a/\u{e4}", "http://a/ b", "https://a/" + String(repeating: "b", count: 2039)] {
    #expect(throws: SPIFFEError(.entry, "")) { try authority.template(crl: address) }
  }
  #expect(throws: Never.self) { try authority.template(crl: "https://a/" + String(repeating: "b", count: 2038)) }
}

@Test func certificatesDoNotOutliveTheirIssuer() async throws {
  let authority = try await TestAuthority()
  let template = try authority.template()
  let key = Array(P256.Signing.PrivateKey().publicKey.derRepresentation)
  let long = try await template.issue(spki: key, now: now, lifetime: 1_000_000, random: authority.random)
  #expect(long.notAfter == TestAuthority.validity.notAfter)
  let short = try await template.issue(spki: key, now: now, lifetime: 60, random: authority.random)
  let parsed = try Certificate(derEncoded: short.certificate)
  #expect(short.notAfter == now.adding(seconds: 60))
  #expect(parsed.notValidBefore.timeIntervalSince1970 == Double(now.seconds - 10))
  for (moment, lifetime) in [(TestAuthority.validity.notAfter.adding(seconds: 1), 60), (now, 0)] as [(Timestamp, Int64)]
  {
    #expect(
      await isRefused(.authority) {
        _ = try await template.issue(spki: key, now: moment, lifetime: lifetime, random: authority.random)
      })
  }
}

@Test func serialNumbersArePositiveAndShort() throws {
  let random = SeededRandom(3)
  let drawn = (0..<1000).map { _ in X509SerialNumber(from: random) }
  #expect(Set(drawn).count == 1000)
  for serial in drawn {
    #expect(serial.bytes.count == 16)
    #expect(throws: Never.self) { try X509SerialNumber(serial.bytes) }
  }
  for good in [[1], [0x7F], [0, 0x80], [UInt8](repeating: 0x7F, count: 20), [0] + [UInt8](repeating: 0x80, count: 20)]
    as [[UInt8]]
  {
    #expect(throws: Never.self) { try X509SerialNumber(good) }
  }
  for bad in [
    [], [0], [0x80], [0, 1], [0, 0x7F], [UInt8](repeating: 1, count: 21), [0] + [UInt8](repeating: 0x80, count: 21),
  ] as [[UInt8]] {
    #expect(throws: SPIFFEError(.x509SVID, "")) { try X509SerialNumber(bad) }
  }
}

@Test func signersNeedTheirCertificatesKey() async throws {
  let authority = try await TestAuthority()
  let stranger = try signingKey(P256.Signing.PrivateKey())
  #expect(throws: SPIFFEError(.authority, "")) { try X509Signer(certificate: authority.issuing.der, key: stranger) }
  let leaf = try await authority.leaf(
    authority.template(), spki: Array(authority.issuingKey.publicKey.derRepresentation))
  #expect(throws: SPIFFEError(.authority, "")) {
    try X509Signer(certificate: leaf.certificate, key: signingKey(authority.issuingKey))
  }
  #expect(throws: SPIFFEError(.authority, "")) {
    try X509SigningKey(CustodyPublicKey(algorithm: .ed25519, bytes: [UInt8](repeating: 1, count: 32))) { $0 }
  }
  let broken = try X509SigningKey(custodyKey(authority.issuingKey)) { _ in [1, 2, 3] }
  #expect(await isRefused(.authority) { _ = try await broken.signature(over: []) })
}

@Test func momentsAreWrittenAsTheirYearDemands() {
  for (seconds, text) in [
    (0, "\u{17}\u{0D}700101000000Z"), (951_782_400, "\u{17}\u{0D}000229000000Z"),
    (2_524_607_999, "\u{17}\u{0D}491231235959Z"), (2_524_608_000, "\u{18}\u{0F}20500101000000Z"),
    (4_107_542_400, "\u{18}\u{0F}21000301000000Z"), (253_402_300_799, "\u{18}\u{0F}99991231235959Z"),
    (Int64.max / 1000, "\u{18}\u{0F}99991231235959Z"), (-1, "\u{17}\u{0D}700101000000Z"),
  ] as [(Int64, String)] {
    #expect(CertificateDER.time(Timestamp(seconds: seconds)) == Array(text.utf8))
  }
}

@Test func lengthsTakeAsManyBytesAsTheyNeed() {
  for (count, bytes) in [
    (0, [0]), (0x7F, [0x7F]), (0x80, [0x81, 0x80]), (0xFF, [0x81, 0xFF]), (0x100, [0x82, 1, 0]),
    (0xFFFF, [0x82, 0xFF, 0xFF]), (0x1_0000, [0x83, 1, 0, 0]), (0x100_0000, [0x84, 1, 0, 0, 0]),
  ] as [(Int, [UInt8])] {
    #expect(CertificateDER.header(0x30, count) == [0x30] + bytes)
  }
}
