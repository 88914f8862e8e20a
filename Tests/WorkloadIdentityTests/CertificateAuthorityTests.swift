import Crypto
import Foundation
import KeyHierarchy
import SwiftASN1
import Testing
import Wire
import X509

@testable import WorkloadIdentity

private let now = TestAuthority.now

@Test func authoritiesHaveSubjectsOfTheirOwn() async throws {
  let authority = try await TestAuthority()
  let keys = (0..<4).map { _ in P256.Signing.PrivateKey() }
  var subjects: Set<[UInt8]> = [authority.root.subject, authority.issuing.subject]
  for key in keys {
    let der = try await authority.profile.issuing(
      key: custodyKey(key), signedBy: authority.root, validity: TestAuthority.validity, random: authority.random)
    subjects.insert(try X509Certificate(der, .authority).subject)
  }
  #expect(subjects.count == 6)
  let parsed = authority.issuing.certificate
  #expect(parsed.id == authority.trustDomain.id && parsed.constraints == .isCertificateAuthority(maxPathLength: 0))
  #expect(authority.root.certificate.constraints == .isCertificateAuthority(maxPathLength: 1))
}

@Test func issuingAuthoritiesStayWithinTheirRoot() async throws {
  let authority = try await TestAuthority()
  let other = try CertificateAuthorityProfile(trustDomain: TrustDomain("other.test"), name: "Other")
  let key = custodyKey(P256.Signing.PrivateKey())
  let long = CertificateAuthorityProfile.Validity(notBefore: now, notAfter: now.adding(seconds: 1_000_000_000))
  let der = try await authority.profile.issuing(
    key: key, signedBy: authority.root, validity: long, random: authority.random)
  #expect(try X509Certificate(der, .authority).notAfter == TestAuthority.validity.notAfter)
  for (profile, signer, validity) in [
    (other, authority.root, long), (authority.profile, authority.issuing, long),
    (authority.profile, authority.root, .init(notBefore: now, notAfter: now)),
  ] {
    #expect(
      await isRefused(.authority) {
        _ = try await profile.issuing(key: key, signedBy: signer, validity: validity, random: authority.random)
      })
  }
  for name in ["", String(repeating: "a", count: 49), "a\nb"] {
    #expect(throws: SPIFFEError(.authority, "")) {
      try CertificateAuthorityProfile(trustDomain: authority.trustDomain, name: name)
    }
  }
  #expect(throws: Never.self) {
    try CertificateAuthorityProfile(trustDomain: authority.trustDomain, name: String(repeating: "a", count: 48))
  }
}

// MARK: - Upstream

/// Somebody else's authority: what it makes of our request is up to the test.
private struct Upstream {
  let key: P256.Signing.PrivateKey
  let root: Certificate
  let own: P256.Signing.PrivateKey
  let request: CertificateSigningRequest
  let ours: TestAuthority

  init(limits: NameConstraints? = nil, length: Int? = nil) async throws {
    ours = try await TestAuthority()
    let key = P256.Signing.PrivateKey()
    self.key = key
    own = P256.Signing.PrivateKey()
    request = try CertificateSigningRequest(derEncoded: await ours.profile.request(key: signingKey(own)))
    let name = try DistinguishedName { CommonName("Somebody else") }
    root = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: Upstream.date(-60),
      notValidAfter: Upstream.date(600), issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: length))
        Critical(KeyUsage(keyCertSign: true))
        SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
        if let limits { Critical(limits) }
      }, issuerPrivateKey: .init(key))
  }

  static func date(_ seconds: Double) -> Date { Date(timeIntervalSince1970: Double(now.seconds) + seconds) }

  static func der(_ certificate: Certificate) throws -> [UInt8] {
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    return serializer.serializedBytes
  }

  func signed(
    key: Certificate.PublicKey? = nil, ends: Double = 300, with extensions: Certificate.Extensions? = nil,
    without: ASN1ObjectIdentifier? = nil, usage: KeyUsage? = nil, subject: DistinguishedName? = nil,
    issuer: DistinguishedName? = nil, by signer: P256.Signing.PrivateKey? = nil
  ) throws -> [UInt8] {
    var given = try extensions ?? request.attributes.extensionRequest?.extensions ?? Certificate.Extensions()
    let key = key ?? request.publicKey
    if let usage { given.update(try Certificate.Extension(usage, critical: true)) }
    if extensions == nil {
      try given.append(SubjectKeyIdentifier(hash: key).makeCertificateExtension())
    }
    if let without { given.remove(without) }
    return try Self.der(
      Certificate(
        version: .v3, serialNumber: .init(), publicKey: key, notValidBefore: Self.date(-60),
        notValidAfter: Self.date(ends), issuer: issuer ?? root.subject, subject: subject ?? request.subject,
        signatureAlgorithm: .ecdsaWithSHA256, extensions: given, issuerPrivateKey: .init(signer ?? self.key)))
  }

  /// An authority between the root and ours, with its key.
  func between() throws -> (der: [UInt8], name: DistinguishedName, key: P256.Signing.PrivateKey) {
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName { CommonName("Between") }
    let extensions = try Certificate.Extensions {
      Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
      Critical(KeyUsage(keyCertSign: true, cRLSign: true))
      SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
    }
    return (try signed(key: .init(key.publicKey), with: extensions, subject: name), name, key)
  }

  /// Checks certificates with the root behind them.
  func check(_ below: [[UInt8]]) async throws -> CertificateAuthorityProfile.Upstream {
    try await check(chain: below + [Self.der(root)])
  }

  func check(
    chain: [[UInt8]], others: [[UInt8]] = []
  ) async throws -> CertificateAuthorityProfile.Upstream {
    try await ours.profile.checkUpstream(chain: chain, key: custodyKey(own), others: others, now: now)
  }

  func isRefused(_ reason: String, _ below: [[UInt8]]) async throws -> Bool {
    await isRefused(reason, chain: below + [try Self.der(root)])
  }

  func isRefused(_ reason: String, chain: [[UInt8]], others: [[UInt8]] = []) async -> Bool {
    do {
      _ = try await check(chain: chain, others: others)
      return false
    } catch let error as SPIFFEError {
      #expect(error.message.hasPrefix(reason), "\(error)")
      return error.code == .authority
    } catch {
      return false
    }
  }
}

@Test func opensslReadsOurRequest() async throws {
  let authority = try await TestAuthority()
  let folder = try TestFolder()
  try folder.write("csr", try await authority.profile.request(key: signingKey(P384.Signing.PrivateKey())))
  let (status, output) = try folder.run(
    "openssl", "req", "-inform", "DER", "-in", "csr", "-verify", "-noout", "-text")
  #expect(
    status == 0 && output.contains("URI:spiffe://example.org") && output.contains("CA:TRUE, pathlen:0"), "\(output)")
}

@Test func upstreamCertificatesIssueOurLeaves() async throws {
  let upstream = try await Upstream()
  let signed = try upstream.signed()
  let checked = try await upstream.check([signed])
  #expect(checked.chain == [signed])
  #expect(checked.root == (try Upstream.der(upstream.root)))
  let between = try upstream.between()
  let lower = try upstream.signed(issuer: between.name, by: between.key)
  #expect(try await upstream.check([lower, between.der]).chain == [lower, between.der])
  // Without a SAN of ours it may still issue.
  let bare = try upstream.signed(without: .X509ExtensionID.subjectAlternativeName)
  #expect(try await upstream.check([bare]).chain == [bare])
  for der in [signed, bare] {
    let signer = try X509Signer(certificate: der, key: signingKey(upstream.own))
    let template = try X509LeafTemplate(issuer: signer, id: SPIFFEID("spiffe://example.org/app"))
    let leaf = try await upstream.ours.leaf(template).certificate
    let svid = try await UnverifiedX509SVID(chain: [leaf, der])
      .verified(bundle: { _ in [checked.root] }, now: now)
    #expect(svid.chain == [leaf, der])
  }
}

@Test func upstreamCertificatesAreHeldToOurTerms() async throws {
  let upstream = try await Upstream()
  let signed = try upstream.signed()
  let stranger = Certificate.PublicKey(P256.Signing.PrivateKey().publicKey)
  #expect(await upstream.isRefused("length", chain: []))
  #expect(try await upstream.isRefused("length", Array(repeating: signed, count: 8)))
  #expect(try await upstream.isRefused("der", [signed + [0]]))
  #expect(try await upstream.isRefused("key", [upstream.signed(key: stranger)]))
  #expect(await upstream.isRefused("path", chain: [signed, upstream.ours.root.der]))
  #expect(try await upstream.isRefused("validity: certificate 1 of the chain", [upstream.signed(ends: -1)]))
  #expect(
    try await upstream.isRefused("authority-ca", [upstream.signed(without: .X509ExtensionID.basicConstraints)]))
  #expect(try await upstream.isRefused("key-usage", [upstream.signed(without: .X509ExtensionID.keyUsage)]))
  #expect(
    try await upstream.isRefused("key-identifier", [upstream.signed(without: .X509ExtensionID.subjectKeyIdentifier)]))
  // A list that nobody can sign would revoke nothing.
  #expect(try await upstream.isRefused("crl-sign", [upstream.signed(usage: KeyUsage(keyCertSign: true))]))
  var foreign = try #require(try upstream.request.attributes.extensionRequest).extensions
  foreign.update(
    try Certificate.Extension(
      SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://other.test")]), critical: false))
  try foreign.append(SubjectKeyIdentifier(hash: upstream.request.publicKey).makeCertificateExtension())
  #expect(try await upstream.isRefused("trust-domain", [upstream.signed(with: foreign)]))
  // A path length of nought leaves room for leaves alone, and ours is an authority.
  let short = try await Upstream(length: 0)
  #expect(try await short.isRefused("path-length", [short.signed()]))
  let enough = try await Upstream(length: 1)
  #expect(try await enough.check([enough.signed()]).chain.count == 1)
}

/// A bundle whose root has an issuer makes OpenSSL refuse every SVID.
@Test func upstreamChainsEndInARoot() async throws {
  let upstream = try await Upstream()
  #expect(await upstream.isRefused("root", chain: [try upstream.signed()]))
  let between = try upstream.between()
  let lower = try upstream.signed(issuer: between.name, by: between.key)
  #expect(await upstream.isRefused("root", chain: [lower, between.der]))
  // Its own name as issuer is not its own signature.
  let key = P256.Signing.PrivateKey()
  let extensions = upstream.root.extensions
  let posing = try upstream.signed(
    key: .init(key.publicKey), with: extensions, subject: upstream.root.subject)
  #expect(await upstream.isRefused("root", chain: [try upstream.signed(by: key), posing]))
  // Nor does a root on disk sign that is none.
  let signer = try X509Signer(certificate: between.der, key: signingKey(between.key))
  await #expect(throws: SPIFFEError(.authority, "")) {
    try await upstream.ours.profile.issuing(
      key: custodyKey(upstream.own), signedBy: signer, validity: TestAuthority.validity, random: upstream.ours.random)
  }
}

/// Verifiers find issuers by name.
@Test func upstreamSubjectsAreOfTheirOwn() async throws {
  let upstream = try await Upstream()
  let signed = try upstream.signed()
  #expect(try await upstream.isRefused("subject", [upstream.signed(subject: upstream.root.subject)]))
  let between = try upstream.between()
  let same = try upstream.signed(subject: between.name, issuer: between.name, by: between.key)
  #expect(try await upstream.isRefused("subject", [same, between.der]))
  let root = try Upstream.der(upstream.root)
  let another = try upstream.signed(key: .init(P256.Signing.PrivateKey().publicKey))
  #expect(await upstream.isRefused("subject", chain: [signed, root], others: [root, another]))
  #expect(try await upstream.check(chain: [signed, root], others: [root, between.der]).chain == [signed])
}

@Test(arguments: [
  (["example.org"], [], true), ([".org"], [], true), (["other.test"], [], false), (["org"], [], false),
  ([".example.org"], [], false), ([], ["example.org"], false), ([], [".org"], false), ([], ["org"], false),
  ([], ["other.test"], true), ([], ["ample.org"], true), (["example.org"], ["example.org"], false),
])
func nameConstraintsAboveUsCount(permitted: [String], excluded: [String], isAllowed: Bool) async throws {
  let trees: ([String]) -> [GeneralName] = { $0.map { .uniformResourceIdentifier($0) } }
  var limits = NameConstraints()
  limits.permittedSubtrees = trees(permitted)
  limits.excludedSubtrees = trees(excluded)
  let upstream = try await Upstream(limits: limits)
  // With our SAN the path itself breaks; without, only our own look at the constraints sees it.
  let bare = try upstream.signed(without: .X509ExtensionID.subjectAlternativeName)
  #expect(((try? await upstream.check([bare])) != nil) == isAllowed)
  let full = try upstream.signed()
  #expect(((try? await upstream.check([full])) != nil) == isAllowed)
}
