import Crypto
import CryptoExtras
import Foundation
import SwiftASN1
import Testing
import X509

@testable import WorkloadIdentity

private let id = "spiffe://example.org/app/web"

private func request(
  _ key: Certificate.PrivateKey = Certificate.PrivateKey(P256.Signing.PrivateKey()),
  subject: String? = nil, algorithm: Certificate.SignatureAlgorithm? = nil, extensions: [Certificate.Extension]? = nil,
  others: [CertificateSigningRequest.Attribute] = []
) throws -> [UInt8] {
  var attributes = CertificateSigningRequest.Attributes(others)
  if let extensions {
    attributes.insert(try .init(ExtensionRequest(extensions: Certificate.Extensions(extensions))))
  }
  let name = try DistinguishedName { if let subject { CommonName(subject) } }
  let request =
    if let algorithm {
      try CertificateSigningRequest(
        version: .v1, subject: name, privateKey: key, attributes: attributes, signatureAlgorithm: algorithm)
    } else {
      try CertificateSigningRequest(version: .v1, subject: name, privateKey: key, attributes: attributes)
    }
  var serializer = DER.Serializer()
  try serializer.serialize(request)
  return serializer.serializedBytes
}

private func verified(_ der: [UInt8]) throws -> VerifiedCSR {
  try UnverifiedCSR(der).verified(for: SPIFFEID(id), dnsNames: ["web.example.org", "*.example.org"])
}

private func san(_ names: GeneralName...) throws -> Certificate.Extension {
  try Certificate.Extension(SubjectAlternativeNames(names), critical: false)
}

@Test func goodRequestsGiveTheirKey() throws {
  let p256 = P256.Signing.PrivateKey()
  #expect(try verified(request(.init(p256))).spki == Array(p256.publicKey.derRepresentation))
  let p384 = P384.Signing.PrivateKey()
  #expect(try verified(request(.init(p384))).spki == Array(p384.publicKey.derRepresentation))
  let wishes = [
    try san(.uniformResourceIdentifier(id), .dnsName("web.example.org")),
    try Certificate.Extension(BasicConstraints.notCertificateAuthority, critical: true),
    try Certificate.Extension(KeyUsage(digitalSignature: true), critical: true),
    try Certificate.Extension(ExtendedKeyUsage([.clientAuth, .serverAuth]), critical: false),
  ]
  let password = CertificateSigningRequest.Attribute(
    oid: [1, 2, 840, 113549, 1, 9, 7], values: [try ASN1Any(erasing: ASN1UTF8String("x"))])
  for der in [
    try request(subject: "anything"), try request(extensions: []), try request(extensions: wishes),
    try request(extensions: [try san(.dnsName("*.example.org"))]), try request(others: [password]),
    try request(algorithm: .ecdsaWithSHA384),
  ] {
    #expect(throws: Never.self) { try verified(der) }
  }
}

@Test func requestsForMoreAreRefused() throws {
  for wish in [
    try san(.uniformResourceIdentifier("spiffe://example.org/app/other")),
    try san(.uniformResourceIdentifier("spiffe://example.org")),
    try san(.uniformResourceIdentifier(id), .uniformResourceIdentifier(id)),
    try san(.dnsName("other.example.org")), try san(.dnsName("WEB.example.org")), try san(.rfc822Name("a@example.org")),
    try san(.ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1]))),
    try Certificate.Extension(BasicConstraints.isCertificateAuthority(maxPathLength: nil), critical: true),
    try Certificate.Extension(KeyUsage(digitalSignature: true, keyCertSign: true), critical: true),
    try Certificate.Extension(KeyUsage(digitalSignature: true, keyEncipherment: true), critical: true),
    try Certificate.Extension(ExtendedKeyUsage([.serverAuth, .codeSigning]), critical: false),
    try Certificate.Extension(ExtendedKeyUsage([.any]), critical: false),
    Certificate.Extension(oid: .X509ExtensionID.keyUsage, critical: true, value: [0x05, 0x00]),
    Certificate.Extension(oid: [1, 3, 6, 1, 4, 1, 55555, 1], critical: false, value: [0x05, 0x00]),
  ] {
    #expect(throws: SPIFFEError(.request, ""), "\(wish)") { try verified(request(extensions: [wish])) }
  }
  let wish = try CertificateSigningRequest.Attribute(
    ExtensionRequest(extensions: Certificate.Extensions([san(.uniformResourceIdentifier(id))])))
  let twofold = CertificateSigningRequest.Attribute(oid: wish.oid, values: Array(wish.values) + Array(wish.values))
  #expect(throws: SPIFFEError(.request, "")) { try verified(request(others: [twofold])) }
}

@Test func weakAndUncommonKeysAreRefused() throws {
  #expect(throws: SPIFFEError(.request, "")) { try verified(request(.init(Curve25519.Signing.PrivateKey()))) }
  #expect(throws: SPIFFEError(.request, "")) { try verified(request(.init(P521.Signing.PrivateKey()))) }
  let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
  #expect(throws: Never.self) { try verified(request(.init(rsa))) }
  #expect(throws: SPIFFEError(.request, "")) { try verified(request(.init(rsa), algorithm: .sha1WithRSAEncryption)) }
  // What swift-crypto makes no keys for comes from OpenSSL.
  for (algorithm, option, isGood) in [
    ("RSA", "rsa_keygen_bits:1024", false), ("RSA", "rsa_keygen_bits:2040", false),
    ("RSA", "rsa_keygen_bits:4096", true),
    ("RSA", "rsa_keygen_bits:4104", false), ("RSA", "rsa_keygen_pubexp:3", false),
    ("EC", "ec_paramgen_curve:secp256k1", false),
    ("EC", "ec_paramgen_curve:P-256", true), ("EC", "ec_paramgen_curve:P-224", false),
  ] {
    let folder = try TestFolder()
    let (made, output) = try folder.run(
      "openssl", "req", "-new", "-newkey", algorithm, "-pkeyopt", option, "-nodes", "-subj", "/CN=x", "-keyout", "key",
      "-outform", "DER", "-out", "csr")
    #expect(made == 0, "\(output)")
    let der = Array(try Data(contentsOf: folder.url.appendingPathComponent("csr")))
    do {
      _ = try verified(der)
      #expect(isGood, "\(option)")
    } catch let error as SPIFFEError {
      #expect(!isGood && error.message.hasPrefix("use a key of"), "\(option): \(error)")
    }
  }
}

@Test func everyBitOfARequestCounts() throws {
  var der: [UInt8]
  // A signature whose last bits could go unused.
  repeat { der = try request(extensions: [san(.uniformResourceIdentifier(id))]) } while der[der.count - 1] & 15 != 0
  for bit in stride(from: 0, to: der.count * 8, by: 3) {
    var changed = der
    changed[bit / 8] ^= 1 << (bit % 8)
    #expect(throws: SPIFFEError(.request, ""), "bit \(bit)") { try verified(changed) }
  }
}

@Test func malformedRequestsAreRefused() throws {
  let der = try request()
  for bad in [[], [0x30, 0x00], Array(der.dropLast()), der + [0], Array("-----BEGIN".utf8)] {
    #expect(throws: SPIFFEError(.request, "")) { try UnverifiedCSR(bad) }
  }
  // An attribute twice: the second would win in swift-certificates.
  let key = P256.Signing.PrivateKey()
  func attributes(_ count: Int) throws -> [UInt8] {
    let one = CertificateDER.sequence(
      [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x0E],
      CertificateDER.element(0x31, CertificateDER.sequence()))
    let info = CertificateDER.sequence(
      CertificateDER.version1, CertificateDER.sequence(), Array(key.publicKey.derRepresentation),
      CertificateDER.element(0xA0, Array(repeating: one, count: count)))
    return CertificateLayout.signed(info, .ecdsaP256, Array(try key.signature(for: info).derRepresentation))
  }
  #expect(throws: Never.self) { try verified(attributes(1)) }
  #expect(throws: SPIFFEError(.request, "")) { try UnverifiedCSR(attributes(2)) }
}

@Test func requestsHaveALimit() throws {
  func padded(_ count: Int) throws -> [UInt8] {
    try request(others: [
      .init(
        oid: [1, 2, 840, 113549, 1, 9, 7],
        values: [try ASN1Any(erasing: ASN1UTF8String(String(repeating: "x", count: count)))])
    ])
  }
  let base = try padded(10_000).count - 10_000
  // The signature's length varies by a few bytes.
  #expect(throws: Never.self) { try verified(padded(UnverifiedCSR.maximumBytes - base - 8)) }
  #expect(throws: SPIFFEError(.request, "")) { try verified(padded(UnverifiedCSR.maximumBytes - base + 8)) }
}
