import Crypto
import Foundation
import JOSE
import KeyHierarchy
import SwiftASN1
import TestSupport
import Testing
import Wire
@testable import WorkloadIdentity
@testable import WorkloadService
import X509

/// Authorities: when they are made, take over and go, what is refused, and what the bundle says meanwhile.
@Suite struct AuthorityTests {
  private typealias D = ServiceDeployment
  private static let day: Int64 = 86_400

  private func order(_ d: ServiceDeployment, _ path: String, _ body: JSONValue = [:]) async throws {
    try await d.submit("/v1/authorities/" + path, body, as: d.world.officer.principal, d.world.officer.key)
    try await d.service.tend()
    await d.quiet()
  }

  @Test(arguments: [AuthorityKind.x509, .jwt]) func schedule(_ kind: AuthorityKind) async throws {
    let d = try await D.found()
    let life = kind.lifetime
    let (prepared, activated) = (
      life - min(life / 2, 30 * Self.day), life - min(life / 6, 7 * Self.day)
    )
    let sequence = try await d.service.publishedBundle().sequence ?? 0
    func at(_ second: Int64, from start: Timestamp) async throws -> [String] {
      try await d.advance(seconds: start.seconds + second - d.clock.now().seconds)
      try await d.service.tend()
      await d.quiet()
      return try await d.states(kind)
    }
    let start = try await d.active(kind).notBefore
    #expect(try await at(prepared - 1, from: start) == ["active"])
    #expect(try await at(prepared, from: start) == ["active", "prepared"])
    #expect(try await d.authorities(kind).map(\.slot) == [.a, .b])
    if kind == .jwt {
      let kids = try await d.service.publishedBundle().jwtAuthorities.compactMap(\.keyID)
      #expect(try await kids == d.authorities(kind).map(\.id))
    }
    #expect(try await at(activated - 1, from: start) == ["active", "prepared"])
    #expect(try await at(activated, from: start) == ["old", "active"])
    #expect(try await d.service.publishedBundle().sequence ?? 0 > sequence)
    // The old one leaves the bundle at its end, without anybody's doing; the next goes where it was.
    let second = try await d.active(kind).notBefore
    #expect(try await at(life - 1, from: start) == ["old", "active"])
    if kind == .jwt { #expect(try await d.service.publishedBundle().jwtAuthorities.count == 2) }
    #expect(try await at(prepared + (kind == .jwt ? 1 : 0), from: second) == ["old", "active", "prepared"])
    if kind == .jwt {
      let kids = try await d.service.publishedBundle().jwtAuthorities.compactMap(\.keyID)
      #expect(try await Array(d.authorities(kind).dropFirst().map(\.id)) == kids)
    }
    #expect(try await d.authorities(kind).map(\.slot) == [.a, .b, .a])
    #expect(try await at(activated, from: second) == ["old", "old", "active"])
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func rotationReachesEveryStream() async throws {
    let d = try await D.found()
    _ = try await d.change(create: (1...40).map { D.entry("/\($0)", "unix:uid:\($0)") })
    var all: [any WorkloadUpdates] = []
    for uid in 1...40 {
      all.append(try await d.connect(uid: UInt32(uid)).updates())
      _ = try await all[uid - 1].next()
    }
    try await order(d, "x509/rotate")
    let active = try await d.active()
    #expect(active.slot == .b)
    for updates in all {
      let snapshot = try await updates.next()
      #expect(snapshot?.svids[0].chain[1] == active.chain[0])
      try await d.paths(snapshot)
    }
    #expect(try await d.states() == ["old", "active"])
    await d.stop()
  }

  /// What one authority is signing while another takes over is replaced too.
  @Test func rotationReachesWhatIsBeingSigned() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    try await order(d, "x509/prepare")
    let connection = d.connect(uid: 1)
    d.custodian.hold(true)
    let first = Task { try await connection.snapshot() }
    await d.custodian.waitUntilHeld()
    try await d.command("/v1/authorities/x509/activate")
    d.custodian.hold(false)
    _ = try await first.value
    await d.quiet()
    #expect(try await connection.snapshot().svids[0].chain[1] == d.active().chain[0])
    await d.stop()
  }

  @Test func wrongOrdersAreRefused() async throws {
    let d = try await D.found()
    func refusal(_ path: String, _ body: JSONValue = [:]) async -> String? {
      await code { try await order(d, path, body) }
    }
    let first = try await d.active().id
    #expect(await refusal("x509/activate") == "authority_not_prepared")
    #expect(await refusal("\(first)/taint") == "authority_active")
    #expect(await refusal("\(first)/revoke", ["confirm": .string(first)]) == "authority_active")
    #expect(await refusal("\(first)/revoke", ["confirm": "aut_other"]) == "confirmation_mismatch")
    #expect(await refusal("aut_none/taint") == "authority_not_found")
    #expect(await refusal("aut_none/revoke", ["confirm": "aut_none"]) == "authority_not_found")
    #expect(await refusal("x509/prepare") == nil)
    #expect(await refusal("x509/prepare") == "authority_prepared")
    #expect(await refusal("x509/request") == "authority_prepared")
    let second = try await d.authorities()[1].id
    #expect(await refusal("\(second)/taint") == "authority_prepared")
    let (before, made) = (d.custodian.signatures, d.custodian.replaced)
    #expect(await refusal("x509/rotate") == nil)
    #expect(try await d.states() == ["old", "active"])
    // The prepared one takes over: no key was made for that.
    #expect(d.custodian.replaced == made && d.custodian.signatures == before + 1)
    #expect(await refusal("\(first)/taint") == nil)
    #expect(await refusal("\(first)/taint") == "authority_tainted")
    #expect(await refusal("\(first)/revoke", ["confirm": .string(first)]) == nil)
    #expect(await refusal("\(first)/revoke", ["confirm": .string(first)]) == "authority_revoked")
    #expect(await refusal("\(first)/taint") == "authority_revoked")
    // One that waits is given up; the next takes its slot.
    #expect(await refusal("jwt/prepare") == nil)
    let waiting = try await d.authorities(.jwt)[1].id
    #expect(await refusal("\(waiting)/revoke", ["confirm": .string(waiting)]) == nil)
    #expect(await refusal("jwt/activate") == "authority_not_prepared")
    #expect(await refusal("jwt/rotate") == nil)
    #expect(try await d.states(.jwt) == ["old", "revoked", "active"])
    #expect(try await d.authorities(.jwt).map(\.slot) == [.a, .b, .b])
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func theSequenceGrowsWithEachChange() async throws {
    let d = try await D.found()
    var (content, sequence) = ([UInt8](), UInt64(0))
    func look(_ what: String) async throws {
      let bundle = try await d.service.publishedBundle()
      let (now, number) = (
        bundle.x509Authorities.flatMap { $0 } + bundle.jwt.jwks(.svid).canonical(), bundle.sequence ?? 0
      )
      #expect(number >= sequence && (now == content || number > sequence), "\(what)")
      (content, sequence) = (now, number)
    }
    try await look("at first")
    for step in ["jwt/prepare", "jwt/activate", "x509/prepare", "x509/rotate", "jwt/rotate"] {
      try await order(d, step)
      try await look(step)
    }
    let old = try await d.authorities(.jwt)[0].id
    try await order(d, "\(old)/taint")
    try await order(d, "\(old)/revoke", ["confirm": .string(old)])
    try await look("revoked")
    #expect(try await !d.service.publishedBundle().jwtAuthorities.contains { $0.keyID == old })
    for _ in 0..<30 {
      try await d.advance(seconds: 2 * Self.day)
      try await d.service.tend()
      await d.quiet()
      try await look("later")
    }
    let next = try await d.restarted()
    #expect(try await next.service.publishedBundle().sequence == sequence)
    await next.stop()
  }

  @Test func somebodyElsesRoot() async throws {
    let d = try await D.found()
    let upstream = try await ServiceRoot(d.domain, clock: d.clock, random: d.world.random)
    let stranger = try await ServiceRoot(TrustDomain("other.example"), clock: d.clock, random: d.world.random)
    try await order(d, "x509/request")
    let row = try await d.authorities()[1]
    #expect(row.state == .requested && !row.request.isEmpty && row.chain.isEmpty)
    #expect(
      await d.service.status()["authorities"]?.array?[1].object?["request"]?.string?.hasPrefix("-----BEGIN") == true)
    #expect(try await d.service.publishedBundle().x509Authorities.count == 1)
    #expect(await code { try await order(d, "x509/activate") } == "authority_not_prepared")
    #expect(await code { try await order(d, "x509/rotate") } == "authority_requested")
    func certify(_ root: ServiceRoot, _ key: [UInt8]) async throws {
      let publicKey = CustodyPublicKey(algorithm: .ecdsaP256, bytes: key)
      let made = try await root.certify(publicKey, now: d.clock.now(), lifetime: 100 * Self.day)
      let text = (made.chain + [made.root]).map { PEMText.encode($0, "CERTIFICATE") }.joined()
      try await order(d, "\(row.id)/certificate", ["chain": .string(text)])
    }
    #expect(await code { try await order(d, "\(row.id)/certificate", ["chain": "no"]) } == "chain_malformed")
    let active = try await d.active()
    #expect(
      await code {
        try await order(d, "\(active.id)/certificate", ["chain": .string(PEMText.encode(active.root, "CERTIFICATE"))])
      } == "authority_active")
    // Of another key, and of another trust domain: refused on the record, and it can be sent again.
    try await certify(upstream, active.publicKey)
    #expect(try await d.states() == ["active", "requested"])
    #expect(try await d.authorities()[1].chain.isEmpty)
    try await certify(stranger, row.publicKey)
    #expect(try await d.authorities()[1].chain.isEmpty)
    #expect(try await d.events("authority.certified").count == 2)
    // A good one is not lost where its record fails.
    d.recorder.fail("authority.certified", .before)
    try await certify(upstream, row.publicKey)
    #expect(try await d.states() == ["active", "requested"])
    #expect(await d.service.status()["obstacles"] != nil)
    d.recorder.fail("authority.certified", nil)
    try await d.service.tend()
    #expect(try await d.states() == ["active", "prepared"])
    #expect(await d.service.status()["obstacles"] == nil)
    #expect(try await d.service.publishedBundle().x509Authorities.contains(upstream.certificate))
    try await order(d, "x509/activate")
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let snapshot = try await d.connect(uid: 1).snapshot()
    #expect(try await d.paths(snapshot) == ["/a"])
    #expect(try await d.active().notAfter.seconds <= d.clock.now().seconds + 100 * Self.day)
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test func revocationLists() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:2")])
    let (a, b) = (try await d.connect(uid: 1).snapshot(), try await d.connect(uid: 2).snapshot())
    func list(of der: [UInt8]) async throws -> Set<[UInt8]> {
      for list in await d.service.crls {
        if let crl = try? UnverifiedCRL(list).verified(issuer: der) {
          #expect(crl.isCurrent(at: d.clock.now()))
          return Set(crl.revoked.keys)
        }
      }
      throw Problem(500, "test", "there is no list of it")
    }
    func revoke(_ der: [UInt8], seconds: Int64 = 3600) async throws {
      try await d.submit(
        "/v1/svids/revoke", ["serial": .string(Hex.encode(try serial(der))), "expires_in": .integer(seconds)],
        as: d.world.officer.principal, d.world.officer.key)
    }
    try await d.service.tend()
    let issuing = try await d.active().chain[0]
    #expect(try await list(of: issuing).isEmpty)
    // A revocation that takes effect while the list is signed is in the next one.
    try await revoke(a.svids[0].chain[0])
    d.custodian.hold(true)
    let tending = Task { try await d.service.tend() }
    await d.custodian.waitUntilHeld()
    try await revoke(b.svids[0].chain[0])
    d.custodian.hold(false)
    try await tending.value
    try await d.service.tend()
    await d.quiet()
    #expect(try await list(of: issuing) == [try serial(a.svids[0].chain[0]), try serial(b.svids[0].chain[0])])
    let snapshot = try await d.connect(uid: 1).snapshot()
    #expect(await snapshot.crls == d.service.crls)
    await #expect(throws: SPIFFEError.self) {
      _ = try await UnverifiedX509SVID(chain: a.svids[0].chain)
        .verified(bundle: { _ in [d.root.certificate] }, now: d.clock.now(), crls: snapshot.crls)
    }
    // Nothing has changed: nothing is signed. What has ended is forgotten by the next list, at the latest in five days.
    let lists = try await d.events("crl.issued").count
    try await d.service.tend()
    #expect(try await d.events("crl.issued").count == lists)
    try await d.advance(seconds: 5 * Self.day)
    try await d.service.tend()
    #expect(try await list(of: issuing).isEmpty)

    // An authority that is revoked is on the root's list; the list of who signs now comes first.
    let late = try await d.connect(uid: 2).snapshot()
    try await order(d, "x509/rotate")
    let old = try await d.authorities()[0]
    // What an old one signed can still be revoked, on a list of its own.
    try await revoke(late.svids[0].chain[0])
    try await d.service.tend()
    #expect(try await list(of: old.chain[0]).count == 1)
    try await order(d, "\(old.id)/revoke", ["confirm": .string(old.id)])
    #expect(try await list(of: d.root.certificate) == [try serial(old.chain[0])])
    let published = await d.service.crls
    let signing = try await d.active().chain[0]
    #expect(throws: Never.self) { _ = try UnverifiedCRL(published[0]).verified(issuer: signing) }
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  /// A certificate of an authority's key by somebody else's root, and the root.
  private func chain(
    _ d: ServiceDeployment, _ row: AuthorityRow, usage: KeyUsage = KeyUsage(keyCertSign: true, cRLSign: true),
    subject: DistinguishedName? = nil
  ) throws -> [[UInt8]] {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let name = try DistinguishedName { CommonName("Somebody else") }
    func certificate(_ subject: DistinguishedName, _ publicKey: Certificate.PublicKey) throws -> [UInt8] {
      let start = Date(timeIntervalSince1970: Double(d.clock.now().seconds - 60))
      var serializer = DER.Serializer()
      try serializer.serialize(
        try Certificate(
          version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: start,
          notValidAfter: start.addingTimeInterval(Double(100 * Self.day)), issuer: name, subject: subject,
          signatureAlgorithm: .ecdsaWithSHA256,
          extensions: try Certificate.Extensions {
            Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
            Critical(usage)
            SubjectKeyIdentifier(hash: publicKey)
          }, issuerPrivateKey: key))
      return serializer.serializedBytes
    }
    let own = try P256.Signing.PublicKey(x963Representation: row.publicKey)
    return [
      try certificate(subject ?? DistinguishedName { CommonName("Ours") }, .init(own)),
      try certificate(name, key.publicKey),
    ]
  }

  @Test func certificatesThatCannotDoAllAreRefused() async throws {
    let d = try await D.found()
    try await order(d, "x509/request")
    let row = try await d.authorities()[1]
    func refusal(_ chain: [[UInt8]]) async -> String? {
      do {
        _ = try await d.service.check(chain, for: row.id)
        return nil
      } catch { return "\(error)" }
    }
    #expect(await refusal(try chain(d, row)) == nil)
    #expect(await refusal(try chain(d, row, usage: KeyUsage(keyCertSign: true)))?.contains("cRLSign") == true)
    #expect(await refusal([try chain(d, row)[0]])?.contains("is no root") == true)
    // The subjects of our other authorities and of their roots are taken.
    for taken in [try await d.active().chain[0], d.root.certificate] {
      let subject = try Certificate(derEncoded: taken).subject
      #expect(await refusal(try chain(d, row, subject: subject))?.contains("subject") == true)
    }
    await d.stop()
  }

  /// One authority that can sign no list, such as one that was imported before that was asked, is in no other's way.
  @Test func listsThatFailAreInNobodysWay() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let first = try await d.active()
    try await order(d, "x509/request")
    let row = try await d.authorities()[1]
    let bad = try chain(d, row, usage: KeyUsage(keyCertSign: true))
    let text = bad.map { PEMText.encode($0, "CERTIFICATE") }.joined()
    try await d.submit(
      "/v1/authorities/\(row.id)/certificate", ["chain": .string(text)], as: d.world.officer.principal,
      d.world.officer.key)
    try await d.record(
      .certified(row.id, chain: [bad[0]], root: bad[1], notAfter: d.clock.now().adding(seconds: 90 * Self.day)))
    try await d.service.tend()
    try await order(d, "x509/activate")
    try await order(d, "x509/prepare")
    try await order(d, "x509/activate")
    #expect(try await d.states() == ["old", "old", "active"])
    let leaf = try await d.connect(uid: 1).snapshot().svids[0].chain[0]
    try await d.submit(
      "/v1/svids/revoke", ["serial": .string(Hex.encode(try serial(leaf)))], as: d.world.officer.principal,
      d.world.officer.key)
    try await order(d, "\(first.id)/revoke", ["confirm": .string(first.id)])
    let active = try await d.active().chain[0]
    let lists = try await d.service.crls.map { try UnverifiedCRL($0) }
    let own = try #require(lists.compactMap { try? $0.verified(issuer: active) }.last)
    #expect(try own.revoked[serial(leaf)] != nil)
    let roots = try #require(lists.compactMap { try? $0.verified(issuer: d.root.certificate) }.last)
    #expect(try roots.revoked[serial(first.chain[0])] != nil)
    // It is told, and what is done is not done again.
    #expect(await d.service.status()["obstacles"]?.object?["x509"]?.string?.contains(row.id) == true)
    let count = try await d.events("crl.issued").count
    try await d.service.tend()
    #expect(try await d.events("crl.issued").count == count)
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  /// A refusal says what can be done with the authority as it is.
  @Test func refusalsSayWhatCanBeDone() async throws {
    let d = try await D.found()
    func refusal(_ path: String, _ body: JSONValue = [:]) async -> String {
      do {
        try await order(d, path, body)
        return ""
      } catch { return (error as? Problem)?.detail ?? "\(error)" }
    }
    let first = try await d.active().id
    #expect(await refusal("\(first)/taint").contains("is active: rotate"))
    try await order(d, "x509/request")
    let second = try await d.authorities()[1].id
    #expect(await refusal("x509/prepare").contains("'\(second)' is requested: import its certificate, or revoke it"))
    #expect(await refusal("\(second)/taint").contains("import its certificate, or revoke it"))
    try await order(d, "\(second)/revoke", ["confirm": .string(second)])
    #expect(await refusal("\(second)/revoke", ["confirm": .string(second)]).contains("is revoked: nobody trusts it"))
    try await order(d, "x509/prepare")
    #expect(await refusal("x509/request").contains("is prepared: activate or revoke it"))
    try await order(d, "x509/activate")
    let certificate: JSONValue = ["chain": .string(PEMText.encode(d.root.certificate, "CERTIFICATE"))]
    #expect(await refusal("\(first)/certificate", certificate).contains("is old: taint or revoke it"))
    try await order(d, "\(first)/taint")
    #expect(await refusal("\(first)/taint").contains("is tainted: revoke it"))
    await d.stop()
  }

  enum Trouble: String, CaseIterable { case replace, certify, recordBefore, recordAfter }

  @Test(arguments: Trouble.allCases) func aCrashWhilePreparing(_ trouble: Trouble) async throws {
    var d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    for isRestarted in [true, false] {
      let before = try await d.authorities().count
      switch trouble {
      case .replace: d.custodian.failReplacements(1)
      case .certify: d.root.faults.setAway(true)
      case .recordBefore: d.recorder.fail("authority.prepared", .before)
      case .recordAfter: d.recorder.fail("authority.prepared", .after)
      }
      try await order(d, "x509/rotate")
      let count = try await d.authorities().count
      #expect(trouble == .recordAfter || count == before)
      #expect(await d.service.status()["obstacles"] != nil)
      d.root.faults.setAway(false)
      d.recorder.fail("authority.prepared", nil)
      if isRestarted { d = try await d.restarted() } else { try await d.advance(seconds: 60) }
      try await d.service.tend()
      await d.quiet()
      #expect(try await d.authorities().count == before + 1)
      #expect(try await d.states().filter { $0 == "active" }.count == 1)
      #expect(await d.service.status()["obstacles"] == nil)
      // The active one's key is the one in its slot.
      #expect(try await d.connect(uid: 1).snapshot().svids[0].chain[1] == d.active().chain[0])
    }
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  /// What fails is not tried again every second: each attempt makes a key.
  @Test func whatFailsIsTriedLessAndLess() async throws {
    let d = try await D.found()
    d.root.faults.setAway(true)
    let made = d.custodian.replaced
    try await order(d, "x509/prepare")
    for _ in 0..<59 {
      try await d.advance(seconds: 1)
      try await d.service.tend()
    }
    #expect(d.custodian.replaced == made + 1)
    for _ in 0..<(24 * 60) {
      try await d.advance(seconds: 60)
      try await d.service.tend()
    }
    #expect((25...35).contains(d.custodian.replaced - made))
    #expect(await d.service.status()["obstacles"]?.object?["x509"]?.string?.hasPrefix("root_away") == true)
    d.root.faults.setAway(false)
    try await d.advance(seconds: 3600)
    try await d.service.tend()
    #expect(try await d.states() == ["active", "prepared"])
    await d.stop()
  }

  /// Two that tend at once carry an order out once: another key in its slot would leave the prepared one without.
  @Test func anOrderIsCarriedOutOnce() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let officer = d.world.officer
    for kind in ["x509", "jwt"] {
      try await d.submit("/v1/authorities/\(kind)/prepare", as: officer.principal, officer.key)
    }
    let made = d.custodian.replaced
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<20 { group.addTask { try await d.service.tend() } }
      try await group.waitForAll()
    }
    try await d.service.tend()
    #expect(d.custodian.replaced == made + 2)
    for kind in ["x509", "jwt"] { try await order(d, "\(kind)/activate") }
    #expect(try await d.paths(d.connect(uid: 1).snapshot()) == ["/a"])
    #expect(try await d.connect(uid: 1).jwtSVIDs(audiences: ["x"], id: nil).count == 1)
    await d.stop()
  }

  /// An event that would leave an authority without its key is not recorded.
  @Test func aKeyThatIsNeededIsNotReplaced() async throws {
    let d = try await D.found()
    let active = try await d.active(.jwt)
    func row(_ slot: AuthoritySlot) -> AuthorityRow {
      AuthorityRow(
        id: "aut_x\(slot.rawValue)", kind: .jwt, slot: slot, state: .prepared, publicKey: active.publicKey, chain: [],
        root: [], request: [], notBefore: active.notBefore, notAfter: active.notAfter, leafIndex: 0, changeIndex: 0)
    }
    #expect(
      await code { try await d.record(.prepared(row(.a), order: nil, takesOver: false)) } == "authority_waiting")
    let officer = d.world.officer
    try await d.submit("/v1/authorities/jwt/prepare", as: officer.principal, officer.key)
    // The order came first.
    #expect(
      await code { try await d.record(.prepared(row(.b), order: nil, takesOver: false)) } == "authority_waiting")
    try await d.service.tend()
    #expect(try await d.states(.jwt) == ["active", "prepared"])
    #expect(
      await code { try await d.record(.prepared(row(.b), order: nil, takesOver: false)) } == "authority_waiting")
    await d.stop()
  }
}
