import Foundation
import TestSupport
import Testing
import Wire

@testable import WorkloadIdentity

/// Chains, bundles and lists with the verdict that X509-SVID asks for; x509-svid.py made them.
@Test func chainsGetTheVerdictOfTheConformanceSuite() async throws {
  let file = try X509Conformance.object("x509-svid.json")
  var bundles: [String: [[UInt8]]] = [:]
  for (domain, roots) in try #require(file["bundles"] as? [String: [String]]) {
    bundles[domain] = try roots.map(X509Conformance.bytes)
  }
  let moment = try #require(file["now"] as? Int64)
  var tally = Tally("x509-svid")
  for entry in try #require(file["cases"] as? [[String: Any]]) {
    let name = entry["name"] as? String ?? ""
    let chain = try (entry["chain"] as? [String] ?? []).map(X509Conformance.bytes)
    let crls = try (entry["crls"] as? [String] ?? []).map(X509Conformance.bytes)
    let now = Timestamp(seconds: entry["now"] as? Int64 ?? moment)
    let id = entry["id"] as? String
    do {
      let svid = try await UnverifiedX509SVID(chain: chain)
        .verified(bundle: { bundles[$0.name] }, now: now, crls: crls)
      tally.expect(svid.id.description == id, "\(name): accepted as \(svid.id)")
      #expect(svid.chain.first == chain.first && !svid.chain.contains(svid.root))
      #expect(bundles[svid.id.trustDomain.name]?.contains(svid.root) == true)
    } catch {
      let reason = error.code == .untrusted ? "untrusted" : String(error.message.prefix { $0 != ":" })
      tally.expect(id == nil && reason == entry["reason"] as? String, "\(name): \(error)")
    }
  }
  tally.report()
}

@Test func everySampledBitOfACertificateCounts() async throws {
  let authority = try await TestAuthority()
  let leaf = try await authority.leaf(authority.template(dnsNames: ["web.example.org"])).certificate
  let chain = [leaf, authority.issuing.der]
  #expect(try await authority.verify(chain).id.path == "/app/web")
  // 11 and 8 have no common divisor, so every position in a byte comes up.
  for which in 0...1 {
    for bit in stride(from: 0, to: chain[which].count * 8, by: 11) {
      var changed = chain
      changed[which][bit / 8] ^= 1 << (bit % 8)
      // A bit of the trust domain's name makes it one without a bundle.
      let isMalformed = await isRefused(.x509SVID) { _ = try await authority.verify(changed) }
      let isUnknown = await isRefused(.untrusted) { _ = try await authority.verify(changed) }
      #expect(isMalformed || isUnknown, "bit \(bit) of certificate \(which)")
    }
  }
}

@Test func rootsAreChosenByTheTrustDomain() async throws {
  let ours = try await TestAuthority()
  let theirs = try await TestAuthority("other.test")
  let chain = [try await ours.leaf(ours.template()).certificate, ours.issuing.der]
  let asked = try await UnverifiedX509SVID(chain: chain)
    .verified(bundle: { $0 == ours.trustDomain ? [theirs.root.der, ours.root.der] : nil }, now: TestAuthority.now)
  #expect(asked.root == ours.root.der && asked.notAfter == TestAuthority.now.adding(seconds: 3600))
  #expect(
    await isRefused(.x509SVID) {
      _ = try await UnverifiedX509SVID(chain: chain).verified(
        bundle: { _ in [theirs.root.der] }, now: TestAuthority.now)
    })
  #expect(
    await isRefused(.untrusted) {
      _ = try await UnverifiedX509SVID(chain: chain).verified(bundle: { _ in nil }, now: TestAuthority.now)
    })
  #expect(
    await isRefused(.bundle) {
      _ = try await UnverifiedX509SVID(chain: chain).verified(bundle: { _ in [[0x30]] }, now: TestAuthority.now)
    })
}
