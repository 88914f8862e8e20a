import HSMCustody
import KeyHierarchy
import SwiftASN1
import WorkloadIdentity
import WorkloadService
import Wire
import X509

/// The root of a development deployment, which logs its token in whenever an issuing authority is to be certified: an
/// unattended ceremony. In production that takes people, and `trustcore ca request` with `ca import`.
struct DevelopmentRoot: RootAuthority {
  let hsm: DevelopmentHSM
  let profile: CertificateAuthorityProfile
  let certificate: [UInt8]
  let random: any RandomSource

  func certify(
    _ publicKey: CustodyPublicKey, now: Timestamp, lifetime: Int64
  ) async throws -> (chain: [[UInt8]], root: [UInt8]) {
    try await withRoot { root in
      (
        [
          try await Self.issuing(publicKey, root, profile, now: now, lifetime: lifetime, random: random)
        ], certificate
      )
    }
  }

  func revocationList(
    _ certificates: [(der: [UInt8], at: Timestamp)], number: UInt64, now: Timestamp
  ) async throws -> [UInt8] {
    let revoked = try certificates.map { der, since in
      CertificateRevocation(
        serial: try X509SerialNumber(Array(try Certificate(derEncoded: der).serialNumber.bytes)), since: since,
        reason: .authorityCompromise)
    }
    return try await withRoot { root in
      try await CRL.make(
        issuer: root, number: number, thisUpdate: now, nextUpdate: now.adding(seconds: 7 * 86_400), revoked: revoked)
    }
  }

  private func withRoot<Result>(_ body: (X509Signer) async throws -> Result) async throws -> Result {
    try await hsm.withRootCustodian { custodian in
      try await body(try X509Signer(certificate: certificate, key: try .init(.rootCA, custodian)))
    }
  }

  static func issuing(
    _ publicKey: CustodyPublicKey, _ root: X509Signer, _ profile: CertificateAuthorityProfile, now: Timestamp,
    lifetime: Int64, random: any RandomSource
  ) async throws -> [UInt8] {
    try await profile.issuing(
      key: publicKey, signedBy: root,
      // Clocks differ: a minute back.
      validity: .init(notBefore: now.adding(seconds: -60), notAfter: now.adding(seconds: lifetime)), random: random)
  }
}

extension X509SigningKey {
  /// A key of a custodian.
  init(_ name: KeyName, _ custodian: any KeyCustodian) throws {
    let publicKey = try custodian.publicKey(name)
    try self.init(publicKey) { try await custodian.sign($0, with: name, expecting: publicKey) }
  }
}
