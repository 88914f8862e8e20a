import AgentIdentity
import CommandGate
import Foundation
import JOSE
import KeyHierarchy
import Seal
import StorageSQLite
import Synchronization
import TestSupport
import TransparencyLog
import TrustCoreAPI
import Wire
import WorkloadAttestation
@testable import WorkloadIdentity
@testable import WorkloadService
import X509

typealias Service = WorkloadService<ServiceRecorder>

/// A number that many change.
final class Counter: Sendable {
  private let state = Mutex(0)
  var value: Int { state.withLock { $0 } }
  func set(_ value: Int) { state.withLock { $0 = value } }
  func add(_ count: Int = 1) { state.withLock { $0 += count } }
}

/// A certificate's serial number.
func serial(_ der: [UInt8]) throws -> [UInt8] { try X509Certificate(der, .x509SVID).serial }

/// Gate, storage and service over an identity token in software, one process long; ``restarted()`` is the next one.
final class ServiceDeployment: Sendable {
  static let trustDomain = "test.dev.invalid"
  static let issuer = "https://trustcore.test/workload"
  static let reserved = "https://trustcore.test"

  let world: TestWorld
  var genesis: Genesis { world.genesis }
  let folder: String
  let signerFile: String
  let store: SQLiteStore
  let gate: Gate<SQLiteStore>
  let custodian: ServiceCustodian
  let root: ServiceRoot
  let processes: ServiceProcesses
  let recorder: ServiceRecorder
  let service: Service
  /// How long renewals slept for the budget.
  let slept: Counter
  private let running: Task<Void, Never>

  var clock: ManualClock { world.clock }
  var domain: TrustDomain { get throws { try TrustDomain(Self.trustDomain) } }

  /// Founds a deployment with an active authority of each of these kinds.
  static func found(
    seed: UInt64 = 1, kinds: [AuthorityKind] = [.x509, .jwt], configure: (inout Service.Parts) -> Void = { _ in }
  ) async throws -> ServiceDeployment {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld(seed: seed)
    let store = try SQLiteStore(path: folder + "/db")
    try await world.found(store, headFile: folder + "/head")
    let root = try await ServiceRoot(TrustDomain(trustDomain), clock: world.clock, random: world.random)
    let d = try await ServiceDeployment(
      world, folder, folder + "/head", store, ServiceCustodian(), root, ServiceProcesses(), configure)
    for kind in kinds { try await d.begin(kind) }
    try await d.service.open()
    return d
  }

  init(
    _ world: TestWorld, _ folder: String, _ signerFile: String, _ store: SQLiteStore,
    _ custodian: ServiceCustodian, _ root: ServiceRoot, _ processes: ServiceProcesses,
    _ configure: (inout Service.Parts) -> Void
  ) async throws {
    (self.world, self.folder, self.signerFile, self.store) = (world, folder, signerFile, store)
    (self.custodian, self.root, self.processes) = (custodian, root, processes)
    var configuration = Gate<SQLiteStore>.Configuration(environment: world.genesis.environment)
    (configuration.retryDelay, configuration.closeDelay) = (1, 1)
    let domain = try TrustDomain(Self.trustDomain)
    gate = Gate(
      store: store,
      signer: try CheckpointSigner(headFile: signerFile, origin: world.genesis.origin, custodian: world.custodian),
      modules: [
        WorkloadModule<SQLiteUnit>(
          verifier: world.verifier(WorkloadModule<SQLiteUnit>.audience), trustDomain: domain),
        GovernanceModule<SQLiteUnit>(verifier: world.verifier(GovernanceModule<SQLiteUnit>.audience)),
        IdentityModule<SQLiteUnit>(verifier: world.verifier(IdentityModule<SQLiteUnit>.audience)),
      ], time: world.clock, random: world.random, configuration: configuration)
    try await gate.recover(genesis: world.genesis)
    running = Task { [gate] in await gate.run() }
    recorder = ServiceRecorder(GateWorkloadRecorder(gate: gate, store: store))
    var parts = Service.Parts(
      trustDomain: domain, node: try SPIFFEID("spiffe://\(domain)/trustcore/node"), issuer: Self.issuer,
      reservedAudience: Self.reserved, crlURL: nil, custodian: custodian, profile: root.profile, root: root,
      attestor: processes, recorder: recorder, time: world.clock, random: world.random)
    let slept = Counter()
    parts.sleep = { [clock = world.clock, gate] milliseconds in
      slept.add()
      try await Self.settle(store, gate)
      clock.advance(seconds: milliseconds / 1000 + 1)
    }
    configure(&parts)
    (self.slept, service) = (slept, Service(parts))
  }

  /// Makes the first authority of a kind, as the ceremony does.
  func begin(_ kind: AuthorityKind, lifetime: Int64? = nil) async throws {
    let now = clock.now()
    let publicKey = try await custodian.replace(AuthoritySlot.a.key(of: kind))
    let made =
      kind == .x509 ? try await root.certify(publicKey, now: now, lifetime: lifetime ?? kind.lifetime) : ([], [])
    let row = AuthorityRow(
      id: "aut_" + Base64.URL.encode(world.random.bytes(16)), kind: kind, slot: .a, state: .prepared,
      publicKey: publicKey.bytes, chain: made.0, root: made.1, request: [], notBefore: now,
      notAfter: now.adding(seconds: lifetime ?? kind.lifetime), leafIndex: 0, changeIndex: 0)
    try await record(.prepared(row, order: nil, takesOver: true))
  }

  func record(_ transition: WorkloadTransition) async throws {
    let domain = try domain
    _ = try await recorder.record { unit, _, index in
      let event = transition.event
      try WorkloadTransition(event.kind, .object(event.content), leafIndex: index)
        .apply(leafIndex: index, trustDomain: domain, in: &unit)
      return [event]
    }
  }

  /// Ends the process and starts the next one.
  func restarted(configure: (inout Service.Parts) -> Void = { _ in }) async throws -> ServiceDeployment {
    await stop()
    try store.close()
    let file = "\(folder)/head-\(Hex.encode(world.random.bytes(8)))"
    try FileManager.default.copyItem(atPath: signerFile, toPath: file)
    let next = try await ServiceDeployment(
      world, folder, file, try SQLiteStore(path: folder + "/db"), custodian, root, processes, configure)
    try await next.service.open()
    return next
  }

  func stop() async {
    await service.close()
    await quiet()
    await gate.stop()
    await running.value
  }

  /// What the offline audit finds wrong.
  func audit() async throws -> [String] {
    try await settle()
    let report = try DeploymentAudit(database: folder + "/db", genesis: world.genesisText).run()
    return report.findings.map { "\($0)" }
  }

  /// Lets time pass once all is sealed: else sealing would be behind.
  func advance(seconds: Int64) async throws {
    try await settle()
    clock.advance(seconds: seconds)
  }

  func settle() async throws { try await Self.settle(store, gate) }

  /// Returns once every command has its outcome and every leaf is sealed.
  private static func settle(_ store: SQLiteStore, _ gate: Gate<SQLiteStore>) async throws {
    while true {
      let head = try await store.read { unit in try unit.unfinished().isEmpty ? unit.head() : nil }
      if let head, let note = gate.published.note, try UnverifiedCheckpoint(note).claimed.head == head { return }
      await Task.yield()
    }
  }

  /// Returns once the service works on nothing.
  func quiet() async { while await !service.isQuiet { await Task.yield() } }

  // MARK: - Commands

  @discardableResult
  func submit(
    _ path: String, _ body: JSONValue = [:], as principal: Principal, _ key: SigningKey
  ) async throws -> JSONObject {
    let signed = try world.sign(path, body, as: principal, key: key)
    let audience =
      path == "/v1/registrars" ? "governance" : path.hasPrefix("/v1/agents") ? "identity" : "workloads"
    do {
      return try JSONValue(parsing: try await gate.submit(signed, to: audience).command.result).object ?? [:]
    } catch let denied as Denied { throw denied.problem }
  }

  /// An officer's command, which the service has followed when this returns.
  @discardableResult
  func command(_ path: String, _ body: JSONValue = [:]) async throws -> JSONObject {
    let result = try await submit(path, body, as: world.officer.principal, world.officer.key)
    try await service.follow()
    return result
  }

  func change(
    create: [JSONValue] = [], update: [(String, JSONValue)] = [], delete: [String] = []
  ) async throws -> [String] {
    let result = try await command("/v1/entries", Self.changes(create: create, update: update, delete: delete))
    return result["created"]?.array?.compactMap(\.string) ?? []
  }

  static func changes(
    create: [JSONValue] = [], update: [(String, JSONValue)] = [], delete: [String] = []
  ) -> JSONValue {
    var body = JSONObject()
    if !create.isEmpty { body["create"] = .array(create) }
    if !update.isEmpty { body["update"] = .array(update.map { ["id": .string($0.0), "entry": $0.1] }) }
    if !delete.isEmpty { body["delete"] = .array(delete.map { .string($0) }) }
    return .object(body)
  }

  /// An entry of this node.
  static func entry(_ path: String, _ selectors: String..., with members: JSONObject = [:]) -> JSONValue {
    var object: JSONObject = [
      "spiffe_id": .string("spiffe://\(trustDomain)\(path)"),
      "parent_id": .string("spiffe://\(trustDomain)/trustcore/node"),
      "selectors": .array(selectors.map { .string($0) }),
    ]
    for member in members { object[member.name] = member.value }
    return .object(object)
  }

  /// Enrols an agent.
  func enrolledAgent() async throws -> (Principal, SigningKey) {
    let party = world.agents[0]
    let (principal, key) = (party.principal, try JSONValue(parsing: party.principal.key))
    try await gate.record { unit, _ in
      try unit.insert(principal)
      return EventRecord(
        kind: "agent.registered",
        content: [
          "agent": .string(principal.id), "owner": .string(principal.owner), "tenant": .string(principal.tenant),
          "thumbprint": .string(principal.thumbprint), "key": key,
        ])
    }
    try await submit(
      "/v1/agents/\(principal.id)/approve", ["thumbprint": .string(principal.thumbprint)],
      as: world.owner.principal, world.owner.key)
    guard let agent = try await store.read({ unit in try unit.principal(id: principal.id) }) else {
      throw Problem(500, "test", "no agent")
    }
    return (agent, party.key)
  }

  /// Enrols a registrar.
  func registrar() async throws -> (Principal, SigningKey) {
    let key = SigningKey(.p256, random: world.random)
    try await submit(
      "/v1/registrars", ["name": "Pipeline", "key": .object(key.publicJWK.bareJSON.object ?? [:])],
      as: world.officer.principal, world.officer.key)
    let thumbprint = key.verificationKey.thumbprint
    guard let principal = try await store.read({ unit in try unit.principal(thumbprint: thumbprint) }) else {
      throw Problem(500, "test", "no registrar")
    }
    return (principal, key)
  }

  // MARK: - What is so

  func connect(uid: UInt32, unit: String? = nil, groups: [UInt32] = []) -> any WorkloadConnection {
    service.connect(processes.start(uid: uid, unit: unit, groups: groups))
  }

  /// The contents of the event leaves of a kind, in order.
  func events(_ kind: String = "svid.issued") async throws -> [JSONObject] {
    try await store.read { unit in
      guard let head = try unit.head() else { return [] }
      return try unit.entries(in: 0..<head.size).enumerated().compactMap { index, bytes in
        guard case .event(let event) = try Leaf.decode(bytes).leaf, event.kind == kind,
          let content = try unit.content(leafIndex: UInt64(index))
        else { return nil }
        return try JSONValue(parsing: content.content).object ?? [:]
      }
    }
  }

  func authorities(_ kind: AuthorityKind = .x509) async throws -> [AuthorityRow] {
    try await store.read { unit in try unit.authorities(kind) }
  }

  /// The states of a kind's authorities, the oldest first.
  func states(_ kind: AuthorityKind = .x509) async throws -> [String] {
    try await authorities(kind).map(\.state.rawValue)
  }

  func active(_ kind: AuthorityKind = .x509) async throws -> AuthorityRow {
    guard let row = try await authorities(kind).last(where: { $0.state == .active }) else {
      throw Problem(500, "test", "none is active")
    }
    return row
  }

  /// Verifies a snapshot's certificates by its own bundles, and gives their paths.
  @discardableResult
  func paths(_ snapshot: WorkloadSnapshot?) async throws -> [String] {
    var paths: [String] = []
    for svid in snapshot?.svids ?? [] {
      let verified = try await UnverifiedX509SVID(chain: svid.chain)
        .verified(bundle: { snapshot?.bundles[$0]?.roots }, now: clock.now(), crls: snapshot?.crls ?? [])
      guard verified.id == svid.id else { throw Problem(500, "test", "another identity") }
      paths.append(svid.id.path)
    }
    return paths
  }
}

extension WorkloadService {
  /// Whether nothing is under way.
  var isQuiet: Bool {
    workers == 0 && urgent.isEmpty && routine.isEmpty && following == nil
      && served.values.allSatisfy { $0.refreshing == nil }
      && minting.isEmpty && preparing.isEmpty
  }
}

/// The code of the problem or refusal that a body throws; nil where it throws none.
func code(_ body: () async throws -> Void) async -> String? {
  do {
    try await body()
    return nil
  } catch let problem as Problem {
    return problem.code
  } catch let refusal as WorkloadRefusal {
    return refusal.code
  } catch {
    return "\(error)"
  }
}
