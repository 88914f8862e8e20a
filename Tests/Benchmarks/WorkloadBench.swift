import CommandGate
import Crypto
import DemoClient
import Foundation
import HSMCustody
import KeyHierarchy
import Logging
import NIOCore
import Seal
import StorageSQLite
import Synchronization
import TransparencyLog
import TrustCoreAPI
import Wire
import WorkloadAPI
import WorkloadAttestation
import WorkloadIdentity
import WorkloadService

/// A deployment of workload identity alone: the service over SoftHSM, SQLite and a running gate, with a root in software.
final class WorkloadBench: Sendable {
  typealias Service = WorkloadService<GateWorkloadRecorder<SQLiteStore>>

  let custodian: PKCS11Custodian
  let store: SQLiteStore
  let service: Service
  let domain: TrustDomain
  /// How long loading entries and authorities took, in seconds, and how much memory, in MiB.
  let opening: (seconds: Double, memory: Double)
  private let parts: Service.Parts
  private let gate: Gate<SQLiteStore>
  private let running: Task<Void, Never>
  private let keeper: Task<Void, Never>
  private let socket: String
  private let server: Mutex<Task<Void, any Error>?>

  private static let origin = "benchmark.dev.invalid/log"
  /// What is below the entries' SPIFFE IDs.
  private static let node = "/node"

  /// Makes the deployment in a folder, or opens the one that is there.
  init(folder: String, users: Int) async throws {
    let (time, random) = (WallClock(), KernelRandom())
    let hsm = try DevelopmentHSM.openOrCreate(directory: folder + "/hsm")
    custodian = try hsm.openCustodian(roles: [.log, .identity])
    domain = try TrustDomain("benchmark.dev.invalid")
    let profile = try CertificateAuthorityProfile(trustDomain: domain, name: "Benchmark")
    store = try SQLiteStore(path: folder + "/workloads.sqlite")
    let (genesisFile, headFile) = (URL(fileURLWithPath: folder + "/genesis.json"), folder + "/log.head")
    if !FileManager.default.fileExists(atPath: genesisFile.path) {
      let genesis = Genesis(
        origin: Self.origin, trustDomain: domain.name, environment: "development", created: time.now(),
        rootFingerprint: random.bytes(32), softwareDigest: random.bytes(32),
        logKeys: [try NoteVerifierKey(name: Self.origin, publicKey: try custodian.publicKey(.logA).bytes)], roster: [])
      try await Self.create(store, genesis, try await Self.authorities(custodian, profile, time, random), domain)
      try CheckpointSigner.createNew(headFile: headFile, origin: Self.origin)
      try Data(try genesis.encoded()).write(to: genesisFile)
    }
    let genesis = try Genesis(decoding: [UInt8](try Data(contentsOf: genesisFile)))
    let gate = Gate(
      store: store, signer: try CheckpointSigner(headFile: headFile, origin: Self.origin, custodian: custodian),
      modules: [
        WorkloadModule<SQLiteUnit>(
          verifier: SealVerifier(
            audience: WorkloadModule<SQLiteUnit>.audience, environment: genesis.environment, origin: Self.origin,
            logKeys: genesis.logKeys), trustDomain: domain)
      ], time: time, random: random, configuration: .init(environment: genesis.environment))
    try await gate.recover(genesis: genesis)
    self.gate = gate
    running = Task { await gate.run() }
    var parts = Service.Parts(
      trustDomain: domain, node: try SPIFFEID(domain, path: Self.node), issuer: "https://benchmark.dev.invalid/svid",
      reservedAudience: "https://benchmark.dev.invalid/oauth", crlURL: nil, custodian: custodian, profile: profile,
      root: AbsentRoot(), attestor: try WorkloadUsers(users: users),
      recorder: GateWorkloadRecorder(gate: gate, store: store), time: time, random: random)
    // What the HSM can do is measured, and not what callers may have of it.
    parts.signaturesPerMinute = (all: 1_000_000_000, user: 1_000_000_000, caller: 1_000_000_000)
    self.parts = parts
    let service = Service(parts)
    let memory = try ProcessFigures.residentMiB(getpid())
    let start = ContinuousClock.now
    try await service.open()
    opening = ((ContinuousClock.now - start) / .seconds(1), try ProcessFigures.residentMiB(getpid()) - memory)
    self.service = service
    // As in the daemon. The first time makes the revocation list, which every later snapshot has.
    try await service.tend()
    keeper = Task {
      while !Task.isCancelled {
        try? await Task.sleep(for: .seconds(1))
        try? await service.tend()
      }
    }
    socket = folder + "/workload.sock"
    server = Mutex(nil)
  }

  /// Serves the Workload API.
  func serve() throws {
    var limits = WorkloadAPIServer.Limits()
    // One user has all connections here.
    limits.connectionsOfUser = limits.connections
    let api = try WorkloadAPIServer(path: socket, limits: limits, logger: Logger(label: "benchmark")) { [service] in
      service.connect($0)
    }
    server.withLock { $0 = Task { try await api.run() } }
  }

  func stop() async throws {
    let server = server.withLock { $0.take() }
    server?.cancel()
    _ = await server?.result
    keeper.cancel()
    await keeper.value
    await service.close()
    await gate.stop()
    await running.value
    try store.close()
    custodian.close()
  }

  // MARK: - Making

  private static func authorities(
    _ custodian: PKCS11Custodian, _ profile: CertificateAuthorityProfile, _ time: WallClock, _ random: KernelRandom
  ) async throws -> [AuthorityRow] {
    let own = P384.Signing.PrivateKey()
    let key = try X509SigningKey(
      CustodyPublicKey(algorithm: .ecdsaP384, bytes: Array(own.publicKey.x963Representation))
    ) { Array(try own.signature(for: $0).rawRepresentation) }
    let now = time.now()
    let validity = CertificateAuthorityProfile.Validity(
      notBefore: now.adding(seconds: -60), notAfter: now.adding(seconds: AuthorityKind.x509.lifetime))
    let root = try await profile.root(key: key, validity: validity, random: random)
    let signer = try X509Signer(certificate: root, key: key)
    var rows: [AuthorityRow] = []
    for kind in [AuthorityKind.x509, .jwt] {
      let publicKey = try custodian.publicKey(AuthoritySlot.a.key(of: kind))
      let chain =
        kind == .x509
        ? [try await profile.issuing(key: publicKey, signedBy: signer, validity: validity, random: random)] : []
      rows.append(
        AuthorityRow(
          id: "aut_" + Base64.URL.encode(random.bytes(16)), kind: kind, slot: .a, state: .prepared,
          publicKey: publicKey.bytes, chain: chain, root: kind == .x509 ? root : [], request: [], notBefore: now,
          notAfter: now.adding(seconds: kind.lifetime), leafIndex: 0, changeIndex: 0))
    }
    return rows
  }

  private static func create(
    _ store: SQLiteStore, _ genesis: Genesis, _ authorities: [AuthorityRow], _ domain: TrustDomain
  ) async throws {
    let events = authorities.map { WorkloadTransition.prepared($0, order: nil, takesOver: true).event }
    try await store.openLog(
      genesis: try genesis.encoded(), events: events.map { EventRecord(kind: $0.kind, content: $0.content) },
      at: genesis.created, random: KernelRandom()
    ) { unit in
      for (number, event) in events.enumerated() {
        let index = UInt64(number) + 1
        try WorkloadTransition(event.kind, .object(event.content), leafIndex: index)
          .apply(leafIndex: index, trustDomain: domain, in: &unit)
      }
    }
  }

  // MARK: - Entries

  /// The row of an entry, as a command would write it.
  private static func row(
    _ number: Int, _ selectors: [String], hint: String = "", sequence: UInt64, leafIndex: UInt64
  ) throws -> EntryRow {
    let name = (0..<16).map { $0 < 8 ? UInt8(0x5A) : UInt8(truncatingIfNeeded: number >> (8 * (15 - $0))) }
    let sorted = selectors.sorted()
    let base = "spiffe://benchmark.dev.invalid"
    let document: JSONValue = [
      "hint": .string(hint), "issues": ["x509", "jwt", "own_key"], "parent_id": .string(base + node),
      "selectors": .array(sorted.map { .string($0) }), "spiffe_id": .string("\(base)/workload/\(number)"),
    ]
    return EntryRow(
      id: "ent_" + Base64.URL.encode(name), sequence: sequence, fingerprint: name + name,
      selectors: SelectorDigest.encode(try sorted.map { SelectorDigest(try Selector($0)) }),
      document: document.canonical(), leafIndex: leafIndex, created: UInt64(number))
  }

  /// Writes an entry on the record, and has the service take it up, as the daemon does once a command is carried out.
  /// - Returns: when that was begun.
  func change(_ number: Int, _ selectors: [String], hint: String) async throws -> UInt64 {
    let start = NIODeadline.now().uptimeNanoseconds
    _ = try await parts.recorder.record { unit, _, index in
      try unit.put(
        try Self.row(
          number, selectors, hint: hint, sequence: try unit.lastEntrySequence() + 1, leafIndex: index))
      return [WorkloadEvent("benchmark.entry", ["number": .integer(Int64(number)), "hint": .string(hint)])]
    }
    try await service.follow()
    return start
  }

  /// Three selectors of an entry in a crowd: two that others have too, and one of its own.
  static func selectors(inCrowd number: Int) -> [String] {
    [
      "unix:uid:\(1000 + number % 500)", "unix:path:/opt/service-\(number % 5000)/bin/server",
      "systemd:id:service-\(number).service",
    ]
  }

  /// Writes entries into the database, past the log.
  func fill(_ count: Int) async throws {
    let first = try await store.read { unit in try unit.lastEntrySequence() }
    for start in stride(from: 0, to: count, by: 25_000) {
      try await store.write { unit in
        for number in start..<min(count, start + 25_000) {
          try unit.put(
            try Self.row(
              number + 100, Self.selectors(inCrowd: number), sequence: first + UInt64(number) + 1, leafIndex: 0))
        }
      }
    }
  }
}

/// No ceremony is held here.
private struct AbsentRoot: RootAuthority {
  func certify(
    _ publicKey: CustodyPublicKey, now: Timestamp, lifetime: Int64
  ) async throws -> (chain: [[UInt8]], root: [UInt8]) { throw BenchmarkError("there is no root") }

  func revocationList(
    _ certificates: [(der: [UInt8], at: Timestamp)], number: UInt64, now: Timestamp
  ) async throws -> [UInt8] { throw BenchmarkError("there is no root") }
}
