import AgentIdentity
import CommandGate
import Envelope
import Foundation
@_spi(Testing) import HSMCustody
import JOSE
import KeyHierarchy
import KeyManifests
import KeyService
import Seal
import SecretMemory
import StorageSQLite
import Synchronization
import TestSupport
import TransparencyLog
import TrustCoreAPI
import Wire

/// The `data` tokens of these tests: made once, each with keys of its own.
enum DataTokens {
  private static let made = Mutex<[Int: PKCS11Custodian]>([:])

  /// The custodian of a token, with a wrapper of the caller's own.
  static func custodian(_ number: Int = 0) throws -> UnreliableKEKCustodian {
    try made.withLock { made in
      if let custodian = made[number] { return UnreliableKEKCustodian(custodian) }
      let custodian = try SoftHSMFixture.shared.makeCustodian(.data)
      made[number] = custodian
      return UnreliableKEKCustodian(custodian)
    }
  }
}

/// A storage with what outlives a process beside it, in a folder.
protocol KeyDisk: Sendable {
  associatedtype Store: UnitStore where Store.Unit: KeyStore
  var store: Store { get }
  func close() throws
  /// Opens the storage anew, as the next process does.
  func reopened() throws -> Self
  func erase(_ keys: [String]) async throws
  func scrub() async throws
}

struct SQLiteDisk: KeyDisk {
  let path: String
  let store: SQLiteStore

  init(folder: String) throws {
    path = folder + "/db"
    store = try SQLiteStore(path: path)
  }

  private init(path: String) throws {
    self.path = path
    store = try SQLiteStore(path: path)
  }

  func close() throws { try store.close() }
  func reopened() throws -> SQLiteDisk { try SQLiteDisk(path: path) }

  func erase(_ keys: [String]) async throws { try await store.eraseKeyVersions(keys) }
  func scrub() async throws { try await store.scrub(pause: .milliseconds(1)) }
}

struct MemoryDisk: KeyDisk {
  let store: InMemoryStore

  init(folder: String) { store = InMemoryStore() }

  func close() {}
  func reopened() -> MemoryDisk { self }

  func erase(_ keys: [String]) async throws {
    try await store.write { unit in
      for key in keys {
        for version in unit.keyVersions(of: key) {
          unit.put(
            KeyVersionRow(
              key: key, version: version.version, record: [], codes: [], leafIndex: version.leafIndex))
        }
      }
    }
  }
  func scrub() async throws {}
}

/// Whoever asks for data keys, with a key pair to seal them to.
final class Recipient: Sendable {
  let pair: RecoveryKey

  init() throws { pair = try RecoveryKey.generate() }

  /// The data key that was delivered.
  func open<Recorder>(_ delivery: KeyService<Recorder>.Delivery) throws -> [UInt8] {
    let secret = try pair.open(
      delivery.sealed, info: Envelopes.deliveryInfo, aad: Array(delivery.id.utf8))
    return secret.withBytes { bytes in unsafe bytes.withUnsafeBytes { unsafe Array($0) } }
  }
}

/// Gate and key service over a storage, one process long; ``restarted(_:)`` is the next one.
final class KeyDeployment<Disk: KeyDisk>: Sendable {
  typealias Service = KeyService<HookedRecorder<Disk.Store>>

  let world: TestWorld
  let genesis: Genesis
  let folder: String
  let disk: Disk
  let gate: Gate<Disk.Store>
  let recorder: HookedRecorder<Disk.Store>
  let service: Service
  let tokens: [UnreliableKEKCustodian]
  let parties: KeyParties
  let recovery: RecoveryKey.PublicKey?
  let recipient: Recipient
  let signerFile: String
  private let running: Task<Void, Never>

  var store: Disk.Store { disk.store }
  var clock: ManualClock { world.clock }
  var headFile: String { folder + "/key-head" }
  var journal: String { folder + "/key-uses" }
  var officer: TestParty { world.officer }
  var owner: TestParty { world.owner }

  /// Founds a deployment and runs it.
  static func found(
    seed: UInt64 = 1, tokens: [UnreliableKEKCustodian]? = nil, manifest: [UInt8] = KeyManifest.developmentText,
    recovery: RecoveryKey.PublicKey? = nil, on _: Disk.Type = Disk.self,
    disk make: (String) throws -> Disk
  ) async throws -> KeyDeployment {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld(seed: seed)
    let parties = KeyParties(world.random)
    let disk = try make(folder)
    let tokens = try tokens ?? [DataTokens.custodian()]
    let genesis = try await world.found(
      disk.store, headFile: folder + "/head", manifest: manifest, with: parties.all)
    try await Service.createHeadFile(folder + "/key-head", custodian: tokens[0])
    for token in tokens { token.reset() }
    return try await KeyDeployment(
      world, genesis, folder, disk, tokens, parties, recovery, try Recipient(), signerFile: folder + "/head")
  }

  init(
    _ world: TestWorld, _ genesis: Genesis, _ folder: String, _ disk: Disk, _ tokens: [UnreliableKEKCustodian],
    _ parties: KeyParties, _ recovery: RecoveryKey.PublicKey?, _ recipient: Recipient, signerFile: String
  ) async throws {
    (self.world, self.genesis, self.folder, self.disk) = (world, genesis, folder, disk)
    self.signerFile = signerFile
    (self.tokens, self.parties, self.recovery, self.recipient) = (tokens, parties, recovery, recipient)
    var configuration = Gate<Disk.Store>.Configuration(environment: genesis.environment)
    configuration.retryDelay = 1
    configuration.closeDelay = 1
    let signer = try CheckpointSigner(
      headFile: signerFile, origin: genesis.origin, custodian: world.custodian)
    gate = Gate(
      store: disk.store, signer: signer,
      modules: [KeyModule<Disk.Store.Unit>(verifier: world.verifier(KeyModule<Disk.Store.Unit>.audience))],
      time: world.clock, random: world.random, configuration: configuration)
    try await gate.recover(genesis: genesis)
    running = Task { [gate] in await gate.run() }
    recorder = HookedRecorder(
      GateKeyRecorder(
        gate: gate, store: disk.store, genesis: genesis, erase: { try await disk.erase($0) },
        scrub: { try await disk.scrub() }))
    service = try Service(
      Service.Parts(
        custodians: tokens, recovery: recovery, environment: genesis.environment, node: "node-1",
        headFile: folder + "/key-head", journalFolder: folder + "/key-uses", recorder: recorder, time: world.clock,
        random: world.random))
  }

  /// Ends the process, without a word to the key service, and starts the next one.
  func restarted(
    _ tokens: [UnreliableKEKCustodian]? = nil, between: () throws -> Void = {}
  ) async throws -> KeyDeployment {
    await stop()
    if let tokens { for token in tokens { token.reset() } } else { for token in self.tokens { token.reset() } }
    try disk.close()
    try between()
    let disk = try disk.reopened()
    // The last process' signer still holds its file.
    let signerFile = "\(folder)/head-\(Hex.encode(world.random.bytes(8)))"
    try FileManager.default.copyItem(atPath: self.signerFile, toPath: signerFile)
    return try await KeyDeployment(
      world, genesis, folder, disk, tokens ?? self.tokens, parties, recovery, recipient, signerFile: signerFile)
  }

  /// Stops the gate.
  func stop() async {
    await gate.stop()
    await running.value
  }

  // MARK: - Commands

  /// Submits a command and gives its identifier.
  @discardableResult
  func submit(
    _ path: String, _ body: JSONValue = [:], by party: TestParty? = nil, idempotencyKey: String? = nil
  ) async throws -> Receipt {
    let party = party ?? officer
    let signed = try world.sign(
      path, body, as: party.principal, key: party.key, idempotencyKey: idempotencyKey)
    do { return try await gate.submit(signed, to: KeyModule<Disk.Store.Unit>.audience) } catch let denied as Denied {
      throw denied.problem
    }
  }

  /// Orders something about a key, and has it carried out.
  @discardableResult
  func order(_ verb: String, _ key: String, by party: TestParty? = nil) async throws -> String {
    let task = try await command(verb, key, by: party)
    try await service.carryOut(task)
    return task
  }

  /// Orders something about a key.
  func command(_ verb: String, _ key: String, by party: TestParty? = nil) async throws -> String {
    let body: JSONValue = verb == "destroy" ? ["confirm": .string(key)] : [:]
    return try await submit("/v1/keys/\(key)/\(verb)", body, by: party).command.id.description
  }

  /// Has the key of a class made.
  func create(_ dataClass: String = "files", by party: TestParty? = nil) async throws -> String {
    let receipt = try await submit("/v1/keys", ["class": .string(dataClass)], by: party)
    try await service.carryOut(receipt.command.id.description)
    return try receipt.text("key")
  }

  // MARK: - Data keys

  static func context(_ text: String = "a") throws -> EncryptionContext {
    try EncryptionContext(["purpose": .string(text)] as JSONObject)
  }

  func request(_ party: TestParty? = nil, _ context: EncryptionContext? = nil) throws -> Service.DataKeyRequest {
    .init(
      principal: (party ?? owner).principal, context: try context ?? Self.context(),
      recipient: recipient.pair.publicKey, digest: [UInt8](repeating: 7, count: 32))
  }

  /// Draws a data key.
  func make(
    _ key: String, by party: TestParty? = nil, _ context: EncryptionContext? = nil
  ) async throws -> DrawnKey {
    let delivery = try await service.makeDataKey(of: key, try request(party, context))
    return DrawnKey(id: delivery.id, secret: try recipient.open(delivery), version: delivery.version)
  }

  /// Opens a data key.
  func open(
    _ id: String, by party: TestParty? = nil, _ context: EncryptionContext? = nil
  ) async throws -> [UInt8] {
    try recipient.open(try await service.openDataKey(id, try request(party, context)))
  }

  /// Why a data key does not open as it was drawn; nil where it does.
  func failure(_ data: DrawnKey, by party: TestParty? = nil) async -> String? {
    await code {
      guard try await open(data.id, by: party) == data.secret else { throw Problem(500, "other_bytes", "") }
    }
  }

  // MARK: - What is so

  func key(_ id: String) async throws -> KeyRow {
    guard let key = try await store.read({ unit in try unit.key(id) }) else { throw Problem(500, "test", "no key") }
    return key
  }

  /// The state of each version, the oldest first.
  func states(_ id: String) async throws -> [String] {
    try await store.read { unit in
      try unit.keyVersions(of: id).map { try unit.lastKeyEvent(of: "\(id)/\($0.version)")?.state ?? "" }
    }
  }

  func pending() async throws -> [KeyTask] { try await store.read { unit in try unit.pendingKeyTasks() } }

  /// The kinds of the event leaves, in order, with their content.
  func events() async throws -> [(kind: String, content: JSONObject)] {
    try await store.read { unit in
      guard let head = try unit.head() else { return [] }
      return try unit.entries(in: 0..<head.size).enumerated().compactMap { index, bytes in
        guard case .event(let event) = try Leaf.decode(bytes).leaf,
          let content = try unit.content(leafIndex: UInt64(index))
        else { return nil }
        return (event.kind, try JSONValue(parsing: content.content).object ?? [:])
      }
    }
  }

  func count(_ kind: String) async throws -> Int { try await events().count { $0.kind == kind } }
}

/// A data key as it was delivered.
struct DrawnKey: Sendable, Equatable {
  let id: String
  let secret: [UInt8]
  let version: UInt32
}

/// Principals beside those of the world.
struct KeyParties: Sendable {
  let secondOfficer: TestParty
  let agent: TestParty
  let approver: TestParty
  let foreignOfficer: TestParty
  let foreignOwner: TestParty

  init(_ random: SeededRandom) {
    secondOfficer = TestParty(id: "off_2", .officer, tenant: TestWorld.tenant, SigningKey(.p256, random: random))
    agent = TestParty(id: "agt_9", .agent, tenant: TestWorld.tenant, owner: "own_1", SigningKey(.p256, random: random))
    approver = TestParty(id: "apr_1", .approver, tenant: TestWorld.tenant, SigningKey(.p256, random: random))
    foreignOfficer = TestParty(id: "off_9", .officer, tenant: "tnt_other", SigningKey(.p256, random: random))
    foreignOwner = TestParty(
      id: "own_9", .owner, tenant: "tnt_other", owner: "own_9", SigningKey(.p256, random: random))
  }

  var all: [TestParty] { [secondOfficer, agent, approver, foreignOfficer, foreignOwner] }
}

extension KeyDeployment where Disk == SQLiteDisk {
  static func onSQLite(
    seed: UInt64 = 1, tokens: [UnreliableKEKCustodian]? = nil, manifest: [UInt8] = KeyManifest.developmentText,
    recovery: RecoveryKey.PublicKey? = nil
  ) async throws -> KeyDeployment {
    try await found(seed: seed, tokens: tokens, manifest: manifest, recovery: recovery) { try SQLiteDisk(folder: $0) }
  }
}

extension KeyDeployment where Disk == MemoryDisk {
  static func inMemory(
    seed: UInt64 = 1, tokens: [UnreliableKEKCustodian]? = nil, manifest: [UInt8] = KeyManifest.developmentText,
    recovery: RecoveryKey.PublicKey? = nil
  ) async throws -> KeyDeployment {
    try await found(seed: seed, tokens: tokens, manifest: manifest, recovery: recovery) { MemoryDisk(folder: $0) }
  }
}

/// The development manifest with words replaced.
func manifest(_ replacements: (String, String)...) -> [UInt8] {
  var text = String(decoding: KeyManifest.developmentText, as: UTF8.self)
  for (old, new) in replacements { text = text.replacingOccurrences(of: old, with: new) }
  return Array(text.utf8)
}

/// The code of the problem that a body throws; nil where it throws none.
func code(_ body: () async throws -> Void) async -> String? {
  do {
    try await body()
    return nil
  } catch let problem as Problem {
    return problem.code
  } catch {
    return "\(error)"
  }
}
