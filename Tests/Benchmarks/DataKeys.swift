import AgentIdentity
import CommandGate
import DemoClient
import Envelope
import Foundation
import HSMCustody
import JOSE
import KeyHierarchy
import KeyManifests
import KeyService
import Seal
import StorageSQLite
import TransparencyLog
import TrustCoreAPI
import Wire

/// Data keys made, opened and rewrapped through the key service, over SoftHSM, SQLite and a running gate, without HTTP.
/// HSM operations are all that the tokens did meanwhile, signatures on tree heads included.
enum DataKeys {
  private static let count = 5000
  private static let callers = 64
  /// As many as the cache holds.
  private static let cached = 1000

  static func measure(_ hsm: DevelopmentHSM, folder: String) async throws -> [Row] {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let custodian = try hsm.openCustodian(roles: [.log, .data])
    defer { custodian.close() }
    let keys = try await KeyWorkbench(custodian, folder: folder)
    do {
      let rows = try await rows(keys, custodian)
      try await keys.stop()
      return rows
    } catch {
      try? await keys.stop()
      throw error
    }
  }

  private static func rows(_ keys: KeyWorkbench, _ custodian: PKCS11Custodian) async throws -> [Row] {
    func rows(_ name: String, _ count: Int, _ work: () async throws -> Double) async throws -> [Row] {
      Benchmarks.progress("  \(name)")
      let before = custodian.operationCount
      let rate = try await work()
      return [
        Row(name, rate, "/s"),
        Row("  HSM operations each", Double(custodian.operationCount - before) / Double(count), ""),
      ]
    }
    func open(_ service: KeyWorkbench.Service, _ names: ArraySlice<String>) async throws -> Double {
      let (names, request) = (Array(names), keys.request)
      return try await Timing.rate(names.count, callers: callers) { number in
        _ = try await service.openDataKey(names[number], request)
      }
    }
    let key = try await keys.newKey()
    let names = NameList()
    var result = try await rows("data keys made, \(callers) callers", count) {
      let (service, request) = (keys.service, keys.request)
      return try await Timing.rate(count, callers: callers) { _ in
        await names.add(try await service.makeDataKey(of: key, request).id)
      }
    }
    let made = await names.all
    // As after a start: nothing is in memory.
    let restarted = try await keys.restart()
    result += try await rows("data keys opened, not in the cache, \(callers) callers", made.count) {
      try await open(restarted, made[...])
    }
    result += try await rows("data keys opened, in the cache, \(callers) callers", cached) {
      try await open(restarted, made.suffix(cached))
    }
    try await keys.carryOut(.rotate, key)
    result += try await rows("data keys rewrapped after a rotation", count) {
      let start = ContinuousClock.now
      try await keys.carryOut(.rewrap, key)
      return Double(count) / ((ContinuousClock.now - start) / .seconds(1))
    }
    guard let newest = try await keys.versions(of: key, made).max(), newest == 2,
      try await keys.versions(of: key, made).allSatisfy({ $0 == newest })
    else { throw BenchmarkError("a data key was not rewrapped") }
    return result
  }

  private actor NameList {
    private(set) var all: [String] = []
    func add(_ name: String) { all.append(name) }
  }
}

/// A deployment of the key service alone.
private final class KeyWorkbench {
  typealias Service = KeyService<GateKeyRecorder<SQLiteStore>>

  private(set) var service: Service
  let request: Service.DataKeyRequest
  private let parts: Service.Parts
  private let store: SQLiteStore
  private let gate: Gate<SQLiteStore>
  private let running: Task<Void, Never>
  private let tenant: String

  init(_ custodian: PKCS11Custodian, folder: String) async throws {
    let (time, random) = (WallClock(), KernelRandom())
    let origin = "benchmark.dev.invalid/log"
    let environment = "development"
    let key = try SigningKey(.p256, secret: random.bytes(32))
    tenant = "ten_benchmark"
    let officer = Principal(
      id: "off_benchmark", kind: .officer, tenant: tenant, owner: "", thumbprint: key.publicJWK.thumbprint,
      key: key.publicJWK.bareJSON.canonical(), status: .active, enrolmentIndex: 0)
    let genesis = Genesis(
      origin: origin, trustDomain: "benchmark.dev.invalid", environment: environment, created: time.now(),
      rootFingerprint: random.bytes(32), softwareDigest: random.bytes(32),
      logKeys: [try NoteVerifierKey(name: origin, publicKey: try custodian.publicKey(.logA).bytes)], roster: [officer])
    store = try SQLiteStore(path: folder + "/keys.sqlite")
    let manifest = KeyManifestRow(leafIndex: 0, document: KeyManifest.developmentText)
    try await store.openLog(genesis: try genesis.encoded(), events: [], at: time.now(), random: random) { unit in
      try unit.insert(officer)
      try unit.insert(manifest)
    }
    try CheckpointSigner.createNew(headFile: folder + "/log.head", origin: origin)
    let keyHead = folder + "/keys.head"
    try await Service.createHeadFile(keyHead, custodian: custodian)
    let signer = try CheckpointSigner(headFile: folder + "/log.head", origin: origin, custodian: custodian)
    let verifier = SealVerifier(
      audience: KeyModule<SQLiteUnit>.audience, environment: environment, origin: origin, logKeys: genesis.logKeys)
    let gate = Gate(
      store: store, signer: signer, modules: [KeyModule<SQLiteUnit>(verifier: verifier)], time: time, random: random,
      configuration: .init(environment: environment))
    try await gate.recover(genesis: genesis)
    self.gate = gate
    running = Task { await gate.run() }
    let recorder = GateKeyRecorder(
      gate: gate, store: store, genesis: genesis, erase: { [store] in try await store.eraseKeyVersions($0) },
      scrub: { [store] in try await store.scrub() })
    parts = Service.Parts(
      custodians: [custodian], recovery: try RecoveryKey.generate().publicKey, environment: environment,
      node: "benchmark", headFile: keyHead, journalFolder: folder + "/key-uses", recorder: recorder, time: time,
      random: random)
    service = try Service(parts)
    try await service.open()
    request = Service.DataKeyRequest(
      principal: officer, context: try EncryptionContext(pairs: ["purpose=benchmark"]),
      recipient: try RecoveryKey.generate().publicKey, digest: random.bytes(32))
  }

  /// A service with nothing in memory, in place of the one before.
  func restart() async throws -> Service {
    await service.close()
    service = try Service(parts)
    try await service.open()
    return service
  }

  func stop() async throws {
    await service.close()
    await gate.stop()
    await running.value
    try store.close()
  }

  /// Makes a key of the class `files`.
  func newKey() async throws -> String {
    let (id, tenant) = ("key_benchmark", tenant)
    _ = try await parts.recorder.record("benchmark.key") { unit, _, index in
      try unit.insert(
        KeyRow(id: id, tenant: tenant, dataClass: "files", leafIndex: index, state: .pending, version: 0, since: 0))
      return ["key": .string(id)]
    }
    try await carryOut(.create, id)
    return id
  }

  /// Orders work, as a sealed command would, and has it done.
  func carryOut(_ kind: KeyTask.Kind, _ key: String) async throws {
    let id = "task_\(kind.rawValue)"
    _ = try await parts.recorder.record("benchmark.task") { unit, _, index in
      try unit.insert(KeyTask(id: id, key: key, kind: kind, notBefore: 0, leafIndex: index))
      return ["task": .string(id)]
    }
    try await service.carryOut(id)
  }

  /// The version that each data key is encrypted under.
  func versions(of key: String, _ names: [String]) async throws -> [UInt32] {
    try await parts.recorder.read { unit in try names.compactMap { try unit.dataKey($0)?.version } }
  }
}
