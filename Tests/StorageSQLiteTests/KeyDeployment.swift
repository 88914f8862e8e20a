import CommandGate
import Crypto
import KeyService
import Seal
import StorageSQLite
import TestSupport
import TransparencyLog
import Wire

/// A gate with the module of keys, and the records that the service of keys would write once the HSM has done its part.
final class KeyDeployment: Sendable {
  /// A manifest with short times.
  static let manifest = """
    version: 1
    environment: development
    keys:
      root-kek:
        token: data
        algorithm: AES-256-KWP
        lifetime: 10y
        rotation: ceremony
        uses: [wrap-keys, unwrap-keys]
      record-mac:
        token: data
        algorithm: HMAC-SHA-256
        lifetime: 10y
        rotation: ceremony
        uses: [authenticate-records]
    data_classes:

    """ + ["audit", "cards", "files", "mail"].map(dataClass).joined()

  private static func dataClass(_ name: String) -> String {
    """
      \(name):
        algorithm: AES-256-GCM
        rotate_every: 30d
        retire_after: 1d
        may_encrypt: [owner]
        may_decrypt: [owner]
        data_key: {max_age: 5m, max_uses: 1000, max_bytes: 1GiB}
        destroy_after: \(name == "mail" ? "7d" : "0s")
        tenants: "*"

    """
  }

  let world: TestWorld
  let store: SQLiteStore
  let gate: Gate<SQLiteStore>
  private let running: Task<Void, Never>

  init(_ world: TestWorld, store: SQLiteStore, headFile: String) async throws {
    (self.world, self.store) = (world, store)
    var configuration = Gate<SQLiteStore>.Configuration(environment: world.genesis.environment)
    configuration.retryDelay = 1
    configuration.closeDelay = 1
    gate = Gate(
      store: store,
      signer: try CheckpointSigner(headFile: headFile, origin: world.genesis.origin, custodian: world.custodian),
      modules: [KeyModule(verifier: world.verifier(KeyModule<SQLiteUnit>.audience))], time: world.clock,
      random: world.random, configuration: configuration)
    try await gate.recover(genesis: world.genesis)
    running = Task { [gate] in await gate.run() }
  }

  func stop() async {
    await gate.stop()
    await running.value
  }

  // MARK: - Orders

  func publishFirst() async throws {
    try await gate.record { unit, moment in
      try unit.insert(KeyManifestRow(leafIndex: moment.leafIndex, document: Array(Self.manifest.utf8)))
      return EventRecord(kind: "key-manifest.first", content: ["manifest": .string(Self.manifest)])
    }
  }

  @discardableResult
  func submit(_ path: String, _ body: JSONValue) async throws -> Receipt {
    let signed = try world.sign(path, body, as: world.officer.principal, key: world.officer.key)
    return try await gate.submit(signed, to: KeyModule<SQLiteUnit>.audience)
  }

  /// Orders a key's creation and returns its identifier and the task's.
  func create(_ dataClass: String) async throws -> (key: String, task: String) {
    let receipt = try await submit("/v1/keys", ["class": .string(dataClass)])
    return try (receipt.text("key"), receipt.text("task"))
  }

  /// Orders work on a key and returns the task's identifier.
  @discardableResult
  func order(_ kind: KeyTask.Kind, _ key: String) async throws -> String {
    try await submit("/v1/keys/\(key)/\(kind.rawValue)", kind == .destroy ? ["confirm": .string(key)] : [:])
      .text("task")
  }

  /// Has the schedule order work on a key, and returns the task's identifier.
  func due(_ kind: KeyTask.Kind, _ key: String) async throws -> String {
    let index = try await gate.record { unit, moment in
      try KeyModule.due(kind, key: key, leafIndex: moment.leafIndex, at: moment.time, in: &unit)
        .map { EventRecord(kind: "key.due", content: $0) }
    }
    guard let index else { throw Problem(500, "internal", "Nothing is due.") }
    return "due_\(index)"
  }

  // MARK: - Records

  /// A record that a transition writes.
  struct Record: Sendable {
    let entry: KeyTransition.Entry
    let bytes: [UInt8]
    let codes: [UInt8]
  }

  func record(_ name: String, _ number: UInt32, _ state: String) -> Record {
    let bytes = Array("\(name) \(number) \(state) ".utf8) + world.random.bytes(state == "destroyed" ? 16 : 300)
    return Record(
      entry: .init(record: name, number: number, state: state, digest: Array(SHA256.hash(data: bytes))), bytes: bytes,
      codes: world.random.bytes(40))
  }

  /// A version of a key.
  func version(_ key: String, _ number: UInt32, _ state: String) -> Record { record("\(key)/\(number)", number, state) }

  /// Records a transition with its records, as the service does.
  func change(
    _ kind: String, _ key: String, task: String? = nil, state: KeyRow.State? = nil, version: UInt32? = nil,
    _ records: [Record] = []
  ) async throws {
    let transition = KeyTransition(
      kind, key: key, task: task, state: state, version: version, entries: records.map(\.entry), facts: ["note": "test"]
    )
    try await gate.record { unit, moment in
      try transition.apply(leafIndex: moment.leafIndex, at: moment.time, in: &unit)
      for record in records {
        if record.entry.record.contains("/") {
          try unit.put(
            KeyVersionRow(
              key: key, version: record.entry.number, record: record.bytes, codes: record.codes,
              leafIndex: moment.leafIndex))
          continue
        }
        let row = DataKeyRow(
          id: record.entry.record, key: key, version: try unit.key(key)?.version ?? 0, record: record.bytes,
          codes: record.codes, leafIndex: moment.leafIndex)
        if try unit.dataKey(row.id) == nil { try unit.insert(row) } else { try unit.update(row) }
      }
      return EventRecord(kind: kind, content: transition.json)
    }
  }

  /// Makes an active key of a class, with data keys.
  func make(_ dataClass: String, dataKeys: [String] = []) async throws -> String {
    let (key, task) = try await create(dataClass)
    try await change("key.created", key, task: task, state: .active, version: 1, [version(key, 1, "active")])
    for name in dataKeys { try await change("data-key.created", key, [record("dek_\(name)", 1, "active")]) }
    return key
  }

  // MARK: - Sample

  /// Keys in every state, data keys, tasks in every state, and manifests.
  func fill() async throws {
    try await gate.record { _, _ in
      EventRecord(
        kind: "token-key.created", content: ["token": "data", "label": "root-kek", "algorithm": "AES-256-KWP"])
    }
    try await publishFirst()
    let files = try await make("files", dataKeys: ["a", "b", "c"])
    world.clock.advance(seconds: 31 * 86_400)
    let rotate = try await due(.rotate, files)
    try await change(
      "key.rotated", files, task: rotate, version: 2, [version(files, 2, "active"), version(files, 1, "retired")])
    try await change("data-key.created", files, [record("dek_d", 1, "active")])
    let rewrap = try await due(.rewrap, files)
    try await change("key.rewrapped", files, ["a", "b"].map { record("dek_\($0)", 2, "active") })
    try await change("key.rewrapped", files, [record("dek_c", 2, "active")])
    try await change("key.rewrapped", files, task: rewrap)
    world.clock.advance(seconds: 2 * 86_400)
    let retire = try await due(.retire, files)
    try await change("key.retired", files, task: retire, [version(files, 1, "destroyed")])
    // The first task is cancelled by the second.
    try await order(.rotate, files)
    try await order(.disable, files)

    let cards = try await make("cards", dataKeys: ["e"])
    _ = try? await submit("/v1/keys", ["class": "cards"])
    let disable = try await order(.disable, cards)
    try await change("key.disabled", cards, task: disable, state: .disabled, [version(cards, 1, "disabled")])
    try await change("key.recovered", cards, [version(cards, 1, "disabled")])
    try await order(.enable, cards)

    _ = try await create("audit")

    let mail = try await make("mail", dataKeys: ["f"])
    let destroy = try await order(.destroy, mail)
    world.clock.advance(seconds: 8 * 86_400)
    try await change("key.destroyed", mail, task: destroy, state: .destroyed, [version(mail, 1, "destroyed")])

    try await submit("/v1/key-manifests", ["manifest": .string("# again\n" + Self.manifest)])
    for kind in ["key.refused", "key-uses"] {
      try await gate.record { _, _ in EventRecord(kind: kind, content: ["key": .string(cards)]) }
    }
  }
}
