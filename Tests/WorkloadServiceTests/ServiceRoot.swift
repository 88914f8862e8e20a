import Crypto
import KeyHierarchy
import TestSupport
import Wire
import WorkloadIdentity
import WorkloadService

/// A root in software: the deployment's own, or somebody else's.
struct ServiceRoot: RootAuthority {
  let profile: CertificateAuthorityProfile
  let certificate: [UInt8]
  let signer: X509Signer
  let clock: ManualClock
  let random: SeededRandom
  let faults: Faults

  /// What goes wrong.
  final class Faults: Sendable {
    private let isAway = Counter()
    /// From now on it certifies nothing, or all.
    func setAway(_ isAway: Bool) { self.isAway.set(isAway ? 1 : 0) }
    fileprivate func check() throws {
      if isAway.value > 0 { throw Problem(503, "root_away", "The root is away.") }
    }
  }

  init(_ domain: TrustDomain, clock: ManualClock, random: SeededRandom, years: Int64 = 10) async throws {
    let key = P384.Signing.PrivateKey()
    let publicKey = CustodyPublicKey(algorithm: .ecdsaP384, bytes: Array(key.publicKey.x963Representation))
    let signing = try X509SigningKey(publicKey) { Array(try key.signature(for: $0).rawRepresentation) }
    profile = try CertificateAuthorityProfile(trustDomain: domain, name: "Test")
    let now = clock.now()
    certificate = try await profile.root(
      key: signing,
      validity: .init(notBefore: now.adding(seconds: -60), notAfter: now.adding(seconds: years * 31_536_000)),
      random: random)
    signer = try X509Signer(certificate: certificate, key: signing)
    (self.clock, self.random, faults) = (clock, random, Faults())
  }

  func certify(
    _ publicKey: CustodyPublicKey, now: Timestamp, lifetime: Int64
  ) async throws -> (chain: [[UInt8]], root: [UInt8]) {
    try faults.check()
    let issued = try await profile.issuing(
      key: publicKey, signedBy: signer,
      validity: .init(notBefore: now.adding(seconds: -60), notAfter: now.adding(seconds: lifetime)), random: random)
    return ([issued], certificate)
  }

  func revocationList(
    _ certificates: [(der: [UInt8], at: Timestamp)], number: UInt64, now: Timestamp
  ) async throws -> [UInt8] {
    try faults.check()
    let revoked = try certificates.map { der, since in
      CertificateRevocation(serial: try X509SerialNumber(serial(der)), since: since, reason: .authorityCompromise)
    }
    return try await CRL.make(
      issuer: signer, number: number, thisUpdate: now, nextUpdate: now.adding(seconds: 7 * 86_400), revoked: revoked)
  }
}
