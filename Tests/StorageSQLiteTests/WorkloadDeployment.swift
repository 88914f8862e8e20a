import AgentIdentity
import CommandGate
import Crypto
import JOSE
import KeyHierarchy
import Seal
import StorageSQLite
import SwiftASN1
import TestSupport
import TransparencyLog
import Wire
import WorkloadAttestation
import WorkloadIdentity
import WorkloadService

/// A gate with the module of workloads, and the events that their service would record once the HSM has done its part.
final class WorkloadDeployment: Sendable {
  let world: TestWorld
  let store: SQLiteStore
  let gate: Gate<SQLiteStore>
  let domain: TrustDomain
  let root: Root
  private let running: Task<Void, Never>

  init(_ world: TestWorld, store: SQLiteStore, headFile: String) async throws {
    (self.world, self.store) = (world, store)
    domain = try TrustDomain(world.genesis.trustDomain)
    root = try await Root(domain, world)
    var configuration = Gate<SQLiteStore>.Configuration(environment: world.genesis.environment)
    configuration.retryDelay = 1
    configuration.closeDelay = 1
    gate = Gate(
      store: store,
      signer: try CheckpointSigner(headFile: headFile, origin: world.genesis.origin, custodian: world.custodian),
      modules: [
        WorkloadModule(verifier: world.verifier(WorkloadModule<SQLiteUnit>.audience), trustDomain: domain),
        GovernanceModule(verifier: world.verifier(GovernanceModule<SQLiteUnit>.audience)),
      ],
      time: world.clock, random: world.random, configuration: configuration)
    try await gate.recover(genesis: world.genesis)
    running = Task { [gate] in await gate.run() }
  }

  func stop() async {
    await gate.stop()
    await running.value
  }

  // MARK: - Keys

  /// A key as the HSM would have it.
  struct Key: Sendable {
    let own: P256.Signing.PrivateKey
    var publicKey: CustodyPublicKey {
      CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(own.publicKey.x963Representation))
    }

    init(_ world: TestWorld) throws {
      own = try P256.Signing.PrivateKey(rawRepresentation: [0] + world.random.bytes(31))
    }

    func signing() throws -> X509SigningKey {
      try X509SigningKey(publicKey) { [own] in Array(try own.signature(for: $0).rawRepresentation) }
    }
  }

  /// A root that certifies authorities.
  struct Root: Sendable {
    let der: [UInt8]
    let signer: X509Signer
    let profile: CertificateAuthorityProfile

    init(_ domain: TrustDomain, _ world: TestWorld) async throws {
      let key = try Key(world).signing()
      profile = try CertificateAuthorityProfile(trustDomain: domain, name: "Test")
      der = try await profile.root(key: key, validity: Self.validity(world, days: 3650), random: world.random)
      signer = try X509Signer(certificate: der, key: key)
    }

    func certify(_ key: CustodyPublicKey, _ world: TestWorld) async throws -> [UInt8] {
      try await profile.issuing(
        key: key, signedBy: signer, validity: Self.validity(world, days: 365), random: world.random)
    }

    private static func validity(_ world: TestWorld, days: Int64) -> CertificateAuthorityProfile.Validity {
      let now = world.clock.now()
      return .init(notBefore: now, notAfter: now.adding(seconds: days * 86_400))
    }
  }

  // MARK: - Commands

  @discardableResult
  func submit(_ path: String, _ body: JSONValue, by party: TestParty? = nil) async throws -> Receipt {
    let party = party ?? world.officer
    let known = try await store.read { unit in try unit.principal(thumbprint: party.principal.thumbprint) }
    let signed = try world.sign(path, body, as: known ?? party.principal, key: party.key)
    return try await gate.submit(
      signed,
      to: path == "/v1/registrars" ? GovernanceModule<SQLiteUnit>.audience : WorkloadModule<SQLiteUnit>.audience)
  }

  /// Has the officer enrol somebody who may change entries.
  func enrolRegistrar() async throws -> TestParty {
    let key = SigningKey(.ed25519, random: world.random)
    let party = TestParty(id: "reg", .registrar, tenant: TestWorld.tenant, key)
    try await submit("/v1/registrars", ["name": "Pipeline", "key": try JSONValue(parsing: party.principal.key)])
    return party
  }

  /// Orders an authority and returns the order's leaf.
  func order(_ action: AuthorityOrder.Action, _ kind: AuthorityKind) async throws -> UInt64 {
    try await submit("/v1/authorities/\(kind.rawValue)/\(action.rawValue)", [:])
    return try await store.read { unit in try unit.pendingAuthorityOrders().last?.leafIndex } ?? 0
  }

  // MARK: - Events

  /// Records a transition, as the service does; or only says so.
  func record(_ transition: WorkloadTransition, applying: Bool = true) async throws {
    let domain = domain
    try await gate.record { unit, moment in
      let event = transition.event
      if applying {
        try WorkloadTransition(event.kind, .object(event.content), leafIndex: moment.leafIndex)
          .apply(leafIndex: moment.leafIndex, trustDomain: domain, in: &unit)
      }
      return EventRecord(kind: event.kind, content: event.content)
    }
  }

  /// The row of a new authority, in the slot that is free.
  func authority(
    _ kind: AuthorityKind, _ key: Key, isRequested: Bool = false, days: Int64? = nil
  ) async throws -> AuthorityRow {
    let active = try await store.read { unit in try unit.authorities(kind).last { $0.state == .active } }
    let now = world.clock.now()
    var publicKey = key.publicKey
    if kind == .jwtRS256, let rsa = CustodyPublicKey(rsaModulus: [0x80] + world.random.bytes(254) + [1]) {
      publicKey = rsa
    }
    let isCertified = kind == .x509 && !isRequested
    return AuthorityRow(
      id: "aut_" + Base64.URL.encode(world.random.bytes(16)), kind: kind, slot: active?.slot.other ?? .a,
      state: isRequested ? .requested : .prepared, publicKey: publicKey.bytes,
      chain: isCertified ? [try await root.certify(publicKey, world)] : [], root: isCertified ? root.der : [],
      request: isRequested ? try await root.profile.request(key: try key.signing()) : [], notBefore: now,
      notAfter: now.adding(seconds: (days ?? (kind == .x509 ? 365 : 30)) * 86_400), leafIndex: 0, changeIndex: 0)
  }

  /// Prepares an authority; returns its identifier.
  @discardableResult
  func prepare(
    _ kind: AuthorityKind, _ key: Key? = nil, order: UInt64? = nil, takesOver: Bool = false, isRequested: Bool = false
  ) async throws -> String {
    let row = try await authority(kind, try key ?? Key(world), isRequested: isRequested)
    try await record(.prepared(row, order: order, takesOver: takesOver))
    return row.id
  }

  /// Records the list of an issuer, which `signer` signs.
  func list(_ issuer: String, by signer: X509Signer, endsLater: Int64 = 0, applying: Bool = true) async throws {
    let now = world.clock.now()
    let next = now.adding(seconds: 7 * 86_400)
    let list = try await CRL.make(issuer: signer, number: 1, thisUpdate: now, nextUpdate: next, revoked: [])
    try await record(.listed(issuer: issuer, list: list, nextUpdate: next.adding(seconds: endsLater)))
  }

  /// A bundle of another trust domain.
  func bundle(_ sequence: UInt64) throws -> [UInt8] {
    try SPIFFEBundle(
      trustDomain: try TrustDomain("other.test"), x509Authorities: [root.der], jwtAuthorities: [], sequence: sequence,
      refreshHint: 300
    ).json()
  }

  /// The issuance of an SVID to some process, under an entry and by the authority that signs.
  func issuance(
    _ kind: SVIDKind = .x509, under entry: String, of path: String, id: String, audiences: [String] = [],
    lifetime: Int64 = 60, authority: String? = nil, attestation: [UInt8]? = nil
  ) async throws -> WorkloadTransition {
    let authorities = try await store.read { unit in try unit.authorities(kind == .x509 ? .x509 : .jwt) }
    let process: JSONObject = ["pid": 4711, "start_time": "1", "uid": 1000]
    return .issued(
      SVIDIssuance(
        kind, id: id, spiffeID: try SPIFFEID(domain, path: path), audiences: audiences,
        notAfter: world.clock.now().adding(seconds: lifetime), entry: try EntryID(entry),
        authority: authority ?? authorities.last { $0.state == .active }?.id ?? "", process: process,
        attestation: attestation ?? AttestedProcess.digest(of: process)))
  }

  /// Makes an entry and returns its identifier.
  func create(_ entry: JSONValue) async throws -> String {
    let receipt = try await submit("/v1/entries", ["create": [entry]])
    let created = try JSONValue(parsing: receipt.command.result).object?["created"]?.array
    return created?.first?.string ?? ""
  }

  // MARK: - Sample

  static func entry(_ name: String, hint: String = "", admin: Bool = false) -> JSONValue {
    var object: JSONObject = [
      "spiffe_id": .string("spiffe://test.dev.invalid/\(name)"), "parent_id": "spiffe://test.dev.invalid/node",
      "selectors": [.string("unix:uid:\(name.utf8.count)"), "unix:gid:7"],
    ]
    if !hint.isEmpty { object["hint"] = .string(hint) }
    if admin { object["admin"] = true }
    return .object(object)
  }

  /// Entries that came, changed and went, by officer and registrar.
  private func fillEntries() async throws {
    try await record(.registered(EntryID(random: world.random), Self.entry("dev/user")))
    let registrar = try await enrolRegistrar()
    let receipt = try await submit(
      "/v1/entries", ["create": [Self.entry("a"), Self.entry("b"), Self.entry("c"), Self.entry("d")]], by: registrar)
    let ids = try JSONValue(parsing: receipt.command.result).object?["created"]?.array?.compactMap(\.string) ?? []
    try await submit("/v1/entries", ["create": [Self.entry("root", admin: true)]])
    // A registrar does not decide about administrators, nor about what is there already.
    _ = try? await submit("/v1/entries", ["create": [Self.entry("another", admin: true)]], by: registrar)
    _ = try? await submit("/v1/entries", ["create": [Self.entry("a")]], by: registrar)
    // Two exchange what no two may share, one ends, and one comes.
    try await submit(
      "/v1/entries",
      [
        "create": [Self.entry("e")],
        "update": [
          ["id": .string(ids[0]), "entry": Self.entry("b", hint: "was a")],
          ["id": .string(ids[1]), "entry": Self.entry("a", hint: "was b")],
        ], "delete": [.string(ids[2])],
      ], by: registrar)
    try await submit("/v1/entries", ["delete": [.string(ids[3])]])
    try await submit("/v1/svids/revoke", ["serial": "4711"], by: registrar)
    try await submit("/v1/svids/revoke", ["jti": "token", "expires_in": 60])
  }

  /// Authorities in every state, an order that waits, and lists.
  private func fillAuthorities() async throws {
    let keys = try (0..<3).map { _ in try Key(world) }
    let first = try await prepare(.x509, keys[0], order: try await order(.rotate, .x509), takesOver: true)
    try await list(first, by: X509Signer(certificate: try await chain(first)[0], key: keys[0].signing()))
    let second = try await prepare(.x509, keys[1], order: try await order(.prepare, .x509))
    _ = try? await order(.prepare, .x509)
    try await submit("/v1/authorities/x509/activate", [:])
    try await submit("/v1/authorities/\(first)/taint", [:])
    try await submit("/v1/authorities/\(first)/revoke", ["confirm": .string(first)])
    try await list(second, by: X509Signer(certificate: try await chain(second)[0], key: keys[1].signing()))
    try await list("root", by: root.signer)
    let third = try await prepare(.x509, keys[2], order: try await order(.request, .x509), isRequested: true)
    // Of two answers the first leads nowhere.
    let certificate = try await root.certify(keys[2].publicKey, world)
    try await send([certificate], to: third)
    try await record(.certified(third, chain: [], root: [], notAfter: world.clock.now()))
    try await send([certificate, root.der], to: third)
    try await record(
      .certified(third, chain: [certificate], root: root.der, notAfter: world.clock.now().adding(seconds: 300 * 86_400))
    )
    try await submit("/v1/authorities/x509/rotate", [:])
    try await submit("/v1/authorities/\(second)/taint", [:])
    let fourth = try await prepare(.x509, order: try await order(.request, .x509), isRequested: true)
    try await send([certificate], to: fourth)

    try await prepare(.jwtRS256, takesOver: true)
    _ = try await order(.rotate, .jwtRS256)
    // What the schedule does by itself.
    try await prepare(.jwt, takesOver: true)
    world.clock.advance(seconds: 16 * 86_400)
    let next = try await prepare(.jwt)
    world.clock.advance(seconds: 10 * 86_400)
    try await record(.activated(next))
  }

  /// Gives an authority the certificates that it asked for.
  func send(_ chain: [[UInt8]], to id: String) async throws {
    let texts = chain.map { PEMDocument(type: "CERTIFICATE", derBytes: $0).pemString + "\n" }
    try await submit("/v1/authorities/\(id)/certificate", ["chain": .string(texts.joined())])
  }

  private func chain(_ id: String) async throws -> [[UInt8]] {
    try await store.read { unit in try unit.authority(id)?.chain ?? [] }
  }

  private func fillFederations() async throws {
    let bundle = try bundle(1)
    try await submit(
      "/v1/federations",
      [
        "trust_domain": "other.test", "bundle_endpoint_url": "https://other.test/bundle",
        "bundle_endpoint_profile": "https_web",
      ])
    try await record(.refreshed(trustDomain: "other.test", bundle: bundle))
    try await record(.refreshed(trustDomain: "other.test", bundle: try self.bundle(2)))
    for domain in ["gone.test", "kept.test"] {
      try await submit(
        "/v1/federations", ["trust_domain": .string(domain), "bundle": try JSONValue(parsing: bundle)])
    }
    try await submit("/v1/federations/gone.test/delete", [:])
  }

  func fill() async throws {
    try await fillEntries()
    try await fillAuthorities()
    try await fillFederations()
    let entry = try await create(Self.entry("issued"))
    try await record(try await issuance(under: entry, of: "/issued", id: "0badcafe"))
    try await record(try await issuance(.jwt, under: entry, of: "/issued", id: "token-1", audiences: ["a", "b"]))
  }
}
