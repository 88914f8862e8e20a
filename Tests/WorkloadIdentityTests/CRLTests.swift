import Foundation
import Testing
import Wire

@testable import WorkloadIdentity

private let now = TestAuthority.now

private func list(
  _ issuer: X509Signer, _ revoked: [CertificateRevocation], number: UInt64 = 1
) async throws -> [UInt8] {
  try await CRL.make(
    issuer: issuer, number: number, thisUpdate: now, nextUpdate: now.adding(seconds: 600), revoked: revoked)
}

@Test func listsComeBackAsTheyWereMade() async throws {
  let authority = try await TestAuthority()
  let entries = CertificateRevocation.Reason.allCases.map {
    CertificateRevocation(serial: X509SerialNumber(from: authority.random), since: now.adding(seconds: -60), reason: $0)
  }
  for number in [0, 127, 128, 1 << 40, .max] as [UInt64] {
    let der = try await list(authority.issuing, entries, number: number)
    let crl = try UnverifiedCRL(der).verified(issuer: authority.issuing.der)
    #expect(crl.revoked == Dictionary(uniqueKeysWithValues: entries.map { ($0.serial.bytes, $0.reason.rawValue) }))
    #expect(crl.number.reduce(0) { $0 << 8 | UInt64($1) } == number)
    #expect(crl.thisUpdate == now && crl.nextUpdate == now.adding(seconds: 600))
    #expect(crl.isCurrent(at: now) && crl.isCurrent(at: now.adding(seconds: 600)))
    #expect(!crl.isCurrent(at: now.adding(seconds: 601)) && !crl.isCurrent(at: now.adding(seconds: -1)))
  }
}

@Test func opensslReadsListsAndRefusesTheRevoked() async throws {
  let authority = try await TestAuthority()
  let leaf = try await authority.leaf(authority.template())
  let chain = [leaf.certificate, authority.issuing.der]
  let folder = try TestFolder()
  let entry = CertificateRevocation(serial: leaf.serial, since: now, reason: .keyCompromise)
  let issuing = try await list(authority.issuing, [entry])
  let root = try await list(authority.root, [])
  try folder.write("crl", issuing)
  try folder.write("issuing.pem", pem: "CERTIFICATE", [authority.issuing.der])
  let (status, text) = try folder.run(
    "openssl", "crl", "-inform", "DER", "-in", "crl", "-CAfile", "issuing.pem", "-text", "-noout")
  #expect(status == 0 && text.contains("verify OK") && text.contains("Key Compromise"), "\(text)")
  try folder.write("root.pem", pem: "CERTIFICATE", [authority.root.der])
  try folder.write("leaf.pem", pem: "CERTIFICATE", [leaf.certificate])
  try folder.write("crl.pem", pem: "X509 CRL", [issuing, root])
  let (verdict, output) = try folder.run(
    "openssl", "verify", "-x509_strict", "-attime", String(now.seconds), "-crl_check_all", "-CRLfile", "crl.pem",
    "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem")
  #expect(verdict != 0 && output.contains("certificate revoked"), "\(output)")
  #expect(await isRefused(.x509SVID) { _ = try await authority.verify(chain, crls: [root, issuing]) })
  #expect(try await authority.verify(chain, crls: [root, list(authority.issuing, [])]).id.path == "/app/web")
}

@Test func listsAreMadeOnlyOfWhatMakesSense() async throws {
  let authority = try await TestAuthority()
  let entry = CertificateRevocation(serial: X509SerialNumber(from: authority.random), since: now)
  #expect(await isRefused(.authority) { _ = try await list(authority.issuing, [entry, entry]) })
  #expect(
    await isRefused(.authority) {
      _ = try await CRL.make(issuer: authority.issuing, number: 1, thisUpdate: now, nextUpdate: now, revoked: [])
    })
  let full = try (1...CRL.maximumEntries + 1).map { number -> CertificateRevocation in
    let digits = [16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    return CertificateRevocation(serial: try X509SerialNumber([1] + digits), since: now)
  }
  #expect(await isRefused(.authority) { _ = try await list(authority.issuing, full) })
  let most = try await list(authority.issuing, full.dropLast())
  #expect(try UnverifiedCRL(most).verified(issuer: authority.issuing.der).revoked.count == CRL.maximumEntries)
}

@Test func listsOfOthersAreRefused() async throws {
  let authority = try await TestAuthority()
  let der = try await list(authority.issuing, [])
  #expect(throws: SPIFFEError(.x509SVID, "")) { try UnverifiedCRL(der).verified(issuer: authority.root.der) }
  let leaf = try await authority.leaf(authority.template()).certificate
  #expect(throws: SPIFFEError(.x509SVID, "")) { try UnverifiedCRL(der).verified(issuer: leaf) }
  #expect(throws: SPIFFEError(.x509SVID, "")) {
    try UnverifiedCRL([UInt8](repeating: 0x30, count: CRL.maximumBytes + 1))
  }
  for bit in stride(from: 0, to: der.count * 8, by: 5) {
    var changed = der
    changed[bit / 8] ^= 1 << (bit % 8)
    #expect(throws: SPIFFEError(.x509SVID, ""), "bit \(bit)") {
      try UnverifiedCRL(changed).verified(issuer: authority.issuing.der)
    }
  }
}
