import Crypto
import JOSE
import KeyHierarchy
import StorageSQLite
import TestSupport
import Testing
import TransparencyLog
import Wire
@testable import WorkloadIdentity
@testable import WorkloadService

/// What is recorded of an issuance is true at its leaf; what is not any more is not issued.
@Suite struct RecordTests {
  private typealias D = ServiceDeployment

  /// What changes while the HSM signs.
  enum Change: CaseIterable, Sendable { case entryUpdated, entryDeleted, rotated }

  private static func change(_ change: Change, _ d: D, _ id: String, _ entry: JSONValue, _ kind: String) async throws {
    switch change {
    case .entryUpdated: _ = try await d.change(update: [(id, entry)])
    case .entryDeleted: _ = try await d.change(delete: [id])
    case .rotated:
      _ = try await d.command("/v1/authorities/\(kind)/rotate")
      // The key needs no held signature, a revocation list does.
      let tending = Task { try await d.service.tend() }
      while try await d.states(kind == "jwt" ? .jwt : .x509).count < 2 { await Task.yield() }
      d.custodian.hold(false)
      try await tending.value
    }
  }

  @Test(arguments: Change.allCases) func aTokenThatIsOvertaken(_ change: Change) async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/old", "unix:uid:1")])[0]
    let connection = d.connect(uid: 1)
    _ = try await connection.snapshot()
    try await d.service.tend()
    d.custodian.hold(true)
    let asked = Task { try await connection.jwtSVIDs(audiences: ["x"], id: nil) }
    await d.custodian.waitUntilHeld()
    // The entry's new certificate waits for the HSM too, behind the token.
    try await Self.change(change, d, id, D.entry("/new", "unix:uid:1"), "jwt")
    d.custodian.hold(false)
    let before = try await d.active(.jwt).id
    switch (change, await asked.result) {
    case (.entryUpdated, .success(let svids)): #expect(svids.map(\.id.path) == ["/new"])
    case (.rotated, .success(let svids)):
      let header = try JSONValue(parsing: Base64.URL.decode(String(svids[0].token.split(separator: ".")[0])))
      #expect(header.object?["kid"]?.string == before)
    case (.entryDeleted, .failure(let refusal as WorkloadRefusal)): #expect(refusal.code == "no_identity")
    case (_, let result): Issue.record("\(change): \(result)")
    }
    let recorded = try await d.events().filter { $0["kind"] == "jwt" }
    #expect(recorded.count == (change == .entryDeleted ? 0 : 1))
    await d.quiet()
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  @Test(arguments: Change.allCases) func aCertificateForAnOwnKeyThatIsOvertaken(_ change: Change) async throws {
    let d = try await D.found()
    let members: JSONObject = ["issues": ["own_key"]]
    let id = try await d.change(create: [D.entry("/old", "unix:uid:1", with: members)])[0]
    let connection = d.connect(uid: 1)
    let request = try IssuanceTests.request(P256.Signing.PrivateKey())
    d.custodian.hold(true)
    let asked = Task { try await connection.x509SVID(request: request, id: nil) }
    await d.custodian.waitUntilHeld()
    try await Self.change(change, d, id, D.entry("/new", "unix:uid:1", with: members), "x509")
    d.custodian.hold(false)
    switch (change, await asked.result) {
    case (.entryUpdated, .success(let svid)): #expect(svid.id.path == "/new")
    case (.rotated, .success(let svid)): #expect(try await svid.chain[1] == d.active().chain[0])
    case (.entryDeleted, .failure(let refusal as WorkloadRefusal)): #expect(refusal.code == "no_identity")
    case (_, let result): Issue.record("\(change): \(result)")
    }
    #expect(try await d.events().count == (change == .entryDeleted ? 0 : 1))
    await d.quiet()
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  /// Where everything changes all the time, whoever asks is told so in the end.
  @Test func whatIsAlwaysOvertaken() async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/0", "unix:uid:1", with: ["issues": ["jwt"]])])[0]
    let connection = d.connect(uid: 1)
    d.custodian.hold(true)
    let asked = Task { await code { _ = try await connection.jwtSVIDs(audiences: ["x"], id: nil) } }
    for number in 1...8 {
      await d.custodian.waitUntilHeld()
      _ = try await d.change(update: [(id, D.entry("/\(number)", "unix:uid:1", with: ["issues": ["jwt"]]))])
      d.custodian.letOneGo()
    }
    #expect(await asked.value == "entries_changing")
    #expect(try await d.events().isEmpty)
    d.custodian.hold(false)
    #expect(try await connection.jwtSVIDs(audiences: ["x"], id: nil).map(\.id.path) == ["/8"])
    await d.stop()
  }

  @Test func issuancesAreFound() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let connection = d.connect(uid: 1)
    let certificate = try serial(try await connection.snapshot().svids[0].chain[0])
    _ = try await connection.jwtSVIDs(audiences: ["x"], id: nil)
    let token = try #require(try await d.events().last?["jti"]?.string)
    let rows = try await d.store.read { unit in
      try [unit.issuance(.x509, Hex.encode(certificate)), unit.issuance(.jwt, token), unit.issuance(.x509, token)]
    }
    let size = try await d.store.read { unit in try unit.head()?.size ?? 0 }
    #expect(rows.map { $0?.leafIndex } == [size - 2, size - 1, nil])
    await d.stop()
  }

  /// A change does not make an entry younger: the default identity stays the oldest.
  @Test func theDefaultStaysTheOldest() async throws {
    let d = try await D.found()
    let ids = try await d.change(create: ["/c", "/a", "/b"].map { D.entry($0, "unix:uid:1") })
    let connection = d.connect(uid: 1)
    #expect(try await connection.snapshot().svids.map(\.id.path) == ["/c", "/a", "/b"])
    _ = try await d.change(update: [(ids[0], D.entry("/c2", "unix:uid:1"))])
    await d.quiet()
    #expect(try await connection.snapshot().svids.map(\.id.path) == ["/c2", "/a", "/b"])
    await d.stop()
  }

  /// Who is served a certificate that is revoked gets another one at once.
  @Test func whatIsRevokedIsReplaced() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:1")])
    let updates = try await d.connect(uid: 1).updates()
    let first = try #require(try await updates.next())
    let gone = Hex.encode(try serial(first.svids[0].chain[0]))
    _ = try await d.command("/v1/svids/revoke", ["serial": .string(gone)])
    try await d.service.follow()
    await d.quiet()
    let next = try #require(try await updates.next())
    #expect(next.svids.map(\.id.path) == ["/a", "/b"])
    #expect(try Hex.encode(serial(next.svids[0].chain[0])) != gone)
    #expect(next.svids[1].chain == first.svids[1].chain, "the other one is not concerned")
    await d.stop()
  }
}
