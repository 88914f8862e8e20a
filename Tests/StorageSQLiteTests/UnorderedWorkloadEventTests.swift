import CommandGate
import KeyHierarchy
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire
import WorkloadIdentity
import WorkloadService

/// A service of workloads that does what nobody has ordered: log and tables agree with it, and the audit finds it.
@Suite struct UnorderedWorkloadEventTests {
  enum Lie: String, CaseIterable, Sendable {
    case preparesByItself, takesOverByItself, preparesInTheSlotOfTheActive, certifiesAnotherKey, certifiesNothing
    case requestsForAnotherKey, makesNoKey, certifiesATokenKey, endsBeforeItBegins, activatesTooEarly, answersNoOrder
    case answersAnotherOrder, listsByAnother, listsForNobody, listsForLonger, listsNothing, fetchesNoBundle
    case fetchesForNobody, registersASecondEntry, activatesTheActive
    case takesAnotherCertificate, takesOneForAnotherKey, takesOneUnasked
    case issuesWithoutEntry, issuesAfterTheEntry, issuesAnotherIdentity, issuesAToken, issuesForAnotherAudience
    case issuesByNobody, issuesByAnother, issuesForLonger, issuesBeyondTheAuthority, issuesToAnother, issuesUnlisted
  }

  @Test(arguments: Lie.allCases) func areFound(_ lie: Lie) async throws {
    let (d, path) = try await Self.founded()
    try await d.prepare(.x509, takesOver: true)
    let leaf = try await Self.tell(lie, d)
    let findings = try await Self.audit(d, path)
    #expect(findings.first?.place == "leaf \(leaf)", "\(findings)")
  }

  /// What the lies are told beside is sound.
  @Test func theTruthIsSound() async throws {
    let (d, path) = try await Self.founded()
    try await d.prepare(.x509, takesOver: true)
    try await d.prepare(.x509, order: try await d.order(.request, .x509), isRequested: true)
    try await d.prepare(.jwt, takesOver: true)
    let entry = try await d.create(Self.entry(["audiences": ["a", "b"], "issues": ["own_key", "jwt"]]))
    try await d.record(try await d.issuance(under: entry, of: "/x", id: "01", lifetime: 3600))
    try await d.record(try await d.issuance(.jwt, under: entry, of: "/x", id: "t", audiences: ["b"], lifetime: 300))
    #expect(try await Self.audit(d, path) == [])
  }

  private static func entry(_ others: JSONObject = [:]) -> JSONValue {
    var entry = WorkloadDeployment.entry("x").object ?? [:]
    for member in others { entry[member.name] = member.value }
    return .object(entry)
  }

  /// Tells of an SVID that nobody should have.
  private static func issue(_ lie: Lie, _ d: WorkloadDeployment, _ active: AuthorityRow) async throws -> UInt64 {
    var (kind, path, authority, lifetime): (SVIDKind, String, String?, Int64) = (.x509, "/x", nil, 3600)
    var others: JSONObject = [:]
    var attestation: [UInt8]?
    try await d.prepare(.jwt, takesOver: true)
    switch lie {
    case .issuesAnotherIdentity: path = "/y"
    case .issuesAToken: (kind, others) = (.jwt, ["issues": ["x509"]])
    case .issuesForAnotherAudience: (kind, others, lifetime) = (.jwt, ["audiences": ["b"]], 300)
    case .issuesByNobody: authority = "aut_nobody"
    case .issuesByAnother:
      authority = active.id
      try await d.prepare(.x509, order: try await d.order(.rotate, .x509), takesOver: true)
    case .issuesForLonger: lifetime = 3600 + 301
    case .issuesBeyondTheAuthority:
      others = ["x509_svid_ttl": .integer(86_400 * 30)]
      lifetime = 86_400 * 30
      d.world.clock.advance(seconds: 86_400 * 340)
    case .issuesToAnother: attestation = d.world.random.bytes(32)
    default: break
    }
    var entry = try await d.create(Self.entry(others))
    if lie == .issuesAfterTheEntry { try await d.submit("/v1/entries", ["delete": [.string(entry)]]) }
    if lie == .issuesWithoutEntry { entry = EntryID(random: d.world.random).description }
    let leaf = try await next(d)
    let issuance = try await d.issuance(
      kind, under: entry, of: path, id: "0a", audiences: kind == .jwt ? ["a"] : [], lifetime: lifetime,
      authority: authority, attestation: attestation)
    try await d.record(issuance, applying: lie != .issuesUnlisted && lie != .issuesToAnother)
    return leaf
  }

  private static func founded() async throws -> (WorkloadDeployment, path: String) {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let store = try SQLiteStore(path: folder + "/s.sqlite")
    try await world.found(store, headFile: folder + "/head")
    return (try await WorkloadDeployment(world, store: store, headFile: folder + "/head"), folder + "/s.sqlite")
  }

  private static func audit(_ d: WorkloadDeployment, _ path: String) async throws -> [AuditReport.Finding] {
    await d.stop()
    try d.store.close()
    return try DeploymentAudit(database: path, genesis: d.world.genesisText).run().findings
  }

  /// - Returns: the leaf of the lie.
  private static func tell(_ lie: Lie, _ d: WorkloadDeployment) async throws -> UInt64 {
    let (key, other) = try (WorkloadDeployment.Key(d.world), WorkloadDeployment.Key(d.world))
    let active = try #require(try await d.store.read { unit in try unit.authorities(.x509).first })
    var leaf = try await next(d)
    func ordered(_ action: AuthorityOrder.Action) async throws -> UInt64 {
      let order = try await d.order(action, .x509)
      leaf = try await next(d)
      return order
    }
    func prepared(_ row: AuthorityRow, order: UInt64?, takesOver: Bool = false, applying: Bool = true) async throws {
      try await d.record(.prepared(row, order: order, takesOver: takesOver), applying: applying)
    }
    switch lie {
    case .preparesByItself: try await d.prepare(.x509)
    case .takesOverByItself:
      d.world.clock.advance(seconds: 360 * 86_400)
      try await d.prepare(.x509, takesOver: true)
    case .preparesInTheSlotOfTheActive:
      let row = try await d.authority(.x509, key)
      try await prepared(row.changed(slot: active.slot), order: try await ordered(.prepare), applying: false)
    case .certifiesAnotherKey:
      let row = try await d.authority(.x509, key)
      try await prepared(row.changed(publicKey: other.publicKey.bytes), order: try await ordered(.prepare))
    case .certifiesNothing:
      var row = try await d.authority(.x509, key)
      (row.chain, row.root) = ([], [])
      try await prepared(row, order: try await ordered(.prepare))
    case .requestsForAnotherKey:
      let row = try await d.authority(.x509, key, isRequested: true)
      try await prepared(row.changed(publicKey: other.publicKey.bytes), order: try await ordered(.request))
    case .makesNoKey:
      let row = try await d.authority(.jwt, key)
      try await prepared(row.changed(publicKey: [4] + d.world.random.bytes(64)), order: nil, takesOver: true)
    case .certifiesATokenKey:
      var row = try await d.authority(.jwt, key)
      (row.chain, row.root) = (active.chain, active.root)
      try await prepared(row, order: nil, takesOver: true)
    case .endsBeforeItBegins:
      try await prepared(try await d.authority(.jwt, key, days: -1), order: nil, takesOver: true)
    case .activatesTooEarly:
      let id = try await d.prepare(.x509, order: try await ordered(.prepare))
      leaf = try await next(d)
      try await d.record(.activated(id))
    case .activatesTheActive: try await d.record(.activated(active.id), applying: false)
    case .answersNoOrder:
      try await prepared(try await d.authority(.x509, key), order: 1, applying: false)
    case .answersAnotherOrder:
      try await prepared(
        try await d.authority(.x509, key), order: try await ordered(.prepare), takesOver: true, applying: false)
    case .takesAnotherCertificate, .takesOneForAnotherKey:
      let id = try await d.prepare(.x509, key, order: try await ordered(.request), isRequested: true)
      let (own, another) = try await (
        d.root.certify(key.publicKey, d.world), d.root.certify(other.publicKey, d.world)
      )
      let (sent, taken) = lie == .takesAnotherCertificate ? (another, own) : (another, another)
      try await d.send([sent, d.root.der], to: id)
      leaf = try await next(d)
      try await d.record(.certified(id, chain: [taken], root: d.root.der, notAfter: active.notAfter))
    case .takesOneUnasked:
      try await d.record(
        .certified(active.id, chain: active.chain, root: active.root, notAfter: active.notAfter), applying: false)
    case .listsByAnother: try await d.list(active.id, by: d.root.signer)
    case .listsForNobody: try await d.list("nobody", by: d.root.signer)
    case .listsForLonger: try await d.list("root", by: d.root.signer, endsLater: 1)
    case .listsNothing: try await d.record(.listed(issuer: "root", list: [1], nextUpdate: d.world.clock.now()))
    case .fetchesNoBundle:
      try await d.submit(
        "/v1/federations", ["trust_domain": "other.test", "bundle": try JSONValue(parsing: try d.bundle(1))])
      leaf = try await next(d)
      try await d.record(.refreshed(trustDomain: "other.test", bundle: [1]))
    case .fetchesForNobody:
      try await d.record(.refreshed(trustDomain: "other.test", bundle: try d.bundle(1)), applying: false)
    case .issuesWithoutEntry, .issuesAfterTheEntry, .issuesAnotherIdentity, .issuesAToken, .issuesForAnotherAudience,
      .issuesByNobody, .issuesByAnother, .issuesForLonger, .issuesBeyondTheAuthority, .issuesToAnother, .issuesUnlisted:
      return try await issue(lie, d, active)
    case .registersASecondEntry:
      for applying in [true, false] {
        leaf = try await next(d)
        try await d.record(
          .registered(EntryID(random: d.world.random), WorkloadDeployment.entry("dev/\(applying)")), applying: applying)
      }
    }
    return leaf
  }

  private static func next(_ d: WorkloadDeployment) async throws -> UInt64 {
    while true {
      let waits = try await d.store.read { unit in try !unit.unfinished().isEmpty }
      if !waits { return try await d.store.read { unit in try unit.head()?.size ?? 0 } }
      await Task.yield()
    }
  }
}

extension AuthorityRow {
  fileprivate func changed(slot: AuthoritySlot? = nil, publicKey: [UInt8]? = nil) -> AuthorityRow {
    AuthorityRow(
      id: id, kind: kind, slot: slot ?? self.slot, state: state, publicKey: publicKey ?? self.publicKey, chain: chain,
      root: root, request: request, notBefore: notBefore, notAfter: notAfter, leafIndex: 0, changeIndex: 0)
  }
}
