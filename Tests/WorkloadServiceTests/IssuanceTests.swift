import Crypto
import JOSE
import KeyHierarchy
import SwiftASN1
import TestSupport
import Testing
import Wire
import WorkloadAttestation
@testable import WorkloadIdentity
@testable import WorkloadService
import X509

/// What is issued is on the record, once, before anyone has it.
@Suite struct IssuanceTests {
  private typealias D = ServiceDeployment

  private static func claims(_ token: String) throws -> JSONObject {
    let parts = token.split(separator: ".").map(String.init)
    return try JSONValue(parsing: try Base64.URL.decode(parts[1])).object ?? [:]
  }

  @Test func eachHasOneLeaf() async throws {
    let d = try await D.found()
    let ids = try await d.change(create: [
      D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:1", with: ["dns_names": ["b.example"]]),
    ])
    let peer = d.processes.start(uid: 1)
    let connection = d.service.connect(peer)
    let snapshot = try await connection.snapshot()
    try await d.paths(snapshot)
    let digest = Hex.encode(d.processes.attested(peer)?.digest ?? [])
    var leaves = try await d.events()
    #expect(leaves.count == 2)
    for (svid, leaf) in zip(snapshot.svids, leaves) {
      #expect(leaf["kind"] == "x509")
      #expect(leaf["serial"]?.string == Hex.encode(try serial(svid.chain[0])))
      #expect(leaf["spiffe_id"]?.string == svid.id.description)
      #expect(leaf["entry"]?.string == svid.entry && ids.contains(svid.entry))
      #expect(leaf["attestation"]?.string == digest)
      #expect(leaf["not_after"]?.integer == svid.expires.seconds)
      #expect(try await leaf["authority"]?.string == d.active().id)
    }
    let tokens = try await connection.jwtSVIDs(audiences: ["x", "y"], id: nil)
    leaves = Array(try await d.events().dropFirst(2))
    #expect(tokens.count == 2 && leaves.count == 2)
    for (token, leaf) in zip(tokens, leaves) {
      let claims = try Self.claims(token.token)
      #expect(leaf["kind"] == "jwt")
      #expect(leaf["jti"] == claims["jti"] && claims["jti"] != nil)
      #expect(leaf["spiffe_id"] == claims["sub"])
      #expect(leaf["audiences"] == claims["aud"])
      #expect(leaf["not_after"] == claims["exp"])
      #expect(leaf["attestation"]?.string == digest)
      #expect(claims["iss"]?.string == D.issuer)
    }
    // Asking again costs no leaf.
    _ = try await connection.snapshot()
    _ = try await connection.jwtSVIDs(audiences: ["x", "y"], id: nil)
    #expect(try await d.events().count == 4)
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test(arguments: [ServiceRecorder.Fault.before, .after])
  func nothingUnrecordedIsGivenOut(_ fault: ServiceRecorder.Fault) async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1", with: ["issues": ["x509", "jwt", "own_key"]])])
    d.recorder.fail("svid.issued", fault)
    let connection = d.connect(uid: 1)
    let request = try Self.request(P256.Signing.PrivateKey())
    for _ in 0..<2 {
      #expect(await code { _ = try await connection.updates() } == "test_fault")
      #expect(await code { _ = try await connection.jwtSVIDs(audiences: ["x"], id: nil) } == "test_fault")
      #expect(await code { _ = try await connection.x509SVID(request: request, id: nil) } == "test_fault")
    }
    // The gate's 503 is Unavailable to a workload.
    await #expect(throws: WorkloadRefusal.self) { _ = try await connection.snapshot() }
    let tried = Set(try await d.events().compactMap { $0["serial"]?.string })
    d.recorder.fail("svid.issued", nil)
    let snapshot = try await connection.snapshot()
    #expect(!tried.contains(Hex.encode(try serial(snapshot.svids[0].chain[0]))))
    #expect(try await connection.jwtSVIDs(audiences: ["x"], id: nil).count == 1)
    await d.stop()
  }

  @Test func nothingIsIssuedWhileSealingIsBehind() async throws {
    let d = try await D.found()
    _ = try await d.change(create: (1...4).map { D.entry("/\($0)", "unix:uid:\($0)") })
    try await d.settle()
    d.world.custodian.hold(true)
    _ = try await d.connect(uid: 1).snapshot()
    d.clock.advance(seconds: 1)
    // Exactly a second is not yet too long.
    _ = try await d.connect(uid: 2).snapshot()
    d.clock.advance(seconds: 1)
    let signatures = d.custodian.signatures
    let third = d.connect(uid: 3)
    #expect(await code { _ = try await third.snapshot() } == "log_behind")
    #expect(await code { _ = try await third.jwtSVIDs(audiences: ["x"], id: nil) } == "log_behind")
    do { _ = try await third.snapshot() } catch let refusal as WorkloadRefusal {
      #expect(refusal.status == .unavailable && refusal.retryAfter != nil)
    }
    #expect(d.custodian.signatures == signatures)
    d.world.custodian.hold(false)
    try await d.settle()
    #expect(try await d.paths(third.snapshot()) == ["/3"])
    #expect(try await third.jwtSVIDs(audiences: ["x"], id: nil).count == 1)
    await d.stop()
  }

  @Test func troubleOfTheHSMIsUnavailable() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let connection = d.connect(uid: 1)
    for failure in [CustodyError.Code.unavailable, .busy, .timedOut, .keyReplaced, .failed] {
      d.custodian.setAway(failure)
      for body in [
        { _ = try await connection.snapshot() }, { _ = try await connection.jwtSVIDs(audiences: ["x"], id: nil) },
      ] as [() async throws -> Void] {
        do {
          try await body()
          Issue.record("it was issued")
        } catch let refusal as WorkloadRefusal {
          #expect(refusal.status == .unavailable && (refusal.retryAfter ?? 0) > 0, "\(refusal)")
        }
      }
    }
    d.custodian.setAway(nil)
    #expect(try await d.paths(connection.snapshot()) == ["/a"])
    await d.stop()
  }

  @Test func manyAreRecordedTogether() async throws {
    let d = try await D.found()
    _ = try await d.change(create: (0..<100).map { D.entry("/\($0)", "unix:uid:\($0)") })
    try await withThrowingTaskGroup(of: Void.self) { group in
      for uid in 0..<100 { group.addTask { _ = try await d.connect(uid: UInt32(uid)).snapshot() } }
      try await group.waitForAll()
    }
    #expect(try await d.events().count == 100)
    #expect(d.custodian.signatures == 100)
    await d.stop()
  }

  @Test func renewalAtHalfOfLife() async throws {
    let d = try await D.found()
    _ = try await d.change(create: (1...20).map { D.entry("/\($0)", "unix:uid:\($0)", with: ["x509_svid_ttl": 2000]) })
    var all: [any WorkloadUpdates] = []
    for uid in 1...20 {
      all.append(try await d.connect(uid: UInt32(uid)).updates())
      _ = try await all[uid - 1].next()
    }
    try await d.service.tend()
    await d.quiet()
    let before = try await d.events().count
    // A half, and up to a tenth of it earlier.
    try await d.advance(seconds: 899)
    try await d.service.tend()
    await d.quiet()
    #expect(try await d.events().count == before)
    try await d.advance(seconds: 51)
    try await d.service.tend()
    await d.quiet()
    let some = try await d.events().count
    #expect(before < some && some < before + 20)
    try await d.advance(seconds: 51)
    try await d.service.tend()
    await d.quiet()
    #expect(try await d.events().count == before + 20)
    for updates in all {
      let snapshot = try await updates.next()
      #expect((snapshot?.svids[0].expires.seconds ?? 0) > d.clock.now().seconds + 1900)
    }
    await d.stop()
  }

  @Test func whatHasExpiredIsNeverServed() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1", with: ["x509_svid_ttl": 60])])
    let connection = d.connect(uid: 1)
    let updates = try await connection.updates()
    d.custodian.setAway(.unavailable)
    try await d.advance(seconds: 59)
    #expect(try await connection.snapshot().svids.count == 1)
    try await d.advance(seconds: 1)
    #expect(await code { _ = try await connection.snapshot() } == "hsm_unavailable")
    try await d.service.tend()
    await d.quiet()
    #expect(await code { _ = try await updates.next() } == "hsm_unavailable")
    d.custodian.setAway(nil)
    #expect(try await d.paths(connection.updates().next()) == ["/a"])
    await d.stop()
  }

  static func request(_ key: P256.Signing.PrivateKey, uri: String? = nil) throws -> [UInt8] {
    var attributes = CertificateSigningRequest.Attributes()
    if let uri {
      let extensions = try Certificate.Extensions {
        SubjectAlternativeNames([.uniformResourceIdentifier(uri)])
      }
      attributes = try CertificateSigningRequest.Attributes([.init(ExtensionRequest(extensions: extensions))])
    }
    let request = try CertificateSigningRequest(
      version: .v1, subject: DistinguishedName(), privateKey: .init(key), attributes: attributes)
    var serializer = DER.Serializer()
    try serializer.serialize(request)
    return serializer.serializedBytes
  }

  @Test func ownKeys() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [
      D.entry("/a", "unix:uid:1"), D.entry("/own", "unix:uid:1", with: ["issues": ["own_key"]]),
      D.entry("/none", "unix:uid:2"),
    ])
    let connection = d.connect(uid: 1)
    let key = P256.Signing.PrivateKey()
    let svid = try await connection.x509SVID(request: try Self.request(key), id: nil)
    #expect(svid.id.path == "/own" && svid.key == nil)
    let verified = try await UnverifiedX509SVID(chain: svid.chain)
      .verified(bundle: { _ in [d.root.certificate] }, now: d.clock.now())
    #expect(Array(key.publicKey.derRepresentation) == verified.spki)
    #expect(try await d.events().last?["serial"]?.string == Hex.encode(verified.serial))
    // What it keeps the key of is not pushed.
    #expect(try await d.paths(connection.snapshot()) == ["/a"])
    let domain = D.trustDomain
    _ = try await connection.x509SVID(request: try Self.request(key, uri: "spiffe://\(domain)/own"), id: nil)
    #expect(
      await code {
        _ = try await connection.x509SVID(request: try Self.request(key, uri: "spiffe://\(domain)/a"), id: nil)
      } == "csr_invalid")
    #expect(await code { _ = try await connection.x509SVID(request: [1], id: nil) } == "csr_invalid")
    let other = try SPIFFEID("spiffe://\(domain)/a")
    #expect(
      await code { _ = try await connection.x509SVID(request: try Self.request(key), id: other) }
        == "issuance_not_permitted")
    #expect(
      await code { _ = try await d.connect(uid: 2).x509SVID(request: try Self.request(key), id: nil) }
        == "issuance_not_permitted")
    #expect(
      await code { _ = try await d.connect(uid: 2).x509SVID(request: try Self.request(key), id: other) }
        == "identity_not_yours")
    #expect(await code { _ = try await d.connect(uid: 9).x509SVID(request: [1], id: nil) } == "no_identity")
    await d.stop()
  }
}
