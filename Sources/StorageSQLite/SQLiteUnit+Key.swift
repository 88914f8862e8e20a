package import KeyService

extension SQLiteUnit: KeyStore {
  // MARK: - Keys

  package mutating func key(_ id: String) throws -> KeyRow? {
    try first("SELECT * FROM kek WHERE id = ?", [id], Self.key)
  }

  package func keys() throws -> [KeyRow] { try all("SELECT * FROM kek ORDER BY id", [], Self.key) }

  package mutating func liveKey(tenant: String, dataClass: String) throws -> KeyRow? {
    try first(
      "SELECT * FROM kek WHERE tenant = ? AND data_class = ? AND state <> 'destroyed'", [tenant, dataClass], Self.key)
  }

  private static func key(_ row: SQLRow) throws -> KeyRow {
    KeyRow(
      id: row[0], tenant: row[1], dataClass: row[2], leafIndex: try unsigned(row[3], "leaf index"),
      state: try decoded(KeyRow.State(rawValue: row[4]), "key state"), version: try counter(row[5], "key version"),
      since: row[6])
  }

  package mutating func insert(_ key: KeyRow) throws {
    try run(
      "INSERT INTO kek (id, tenant, data_class, leaf_index, state, version, since) VALUES (?, ?, ?, ?, ?, ?, ?)",
      [
        key.id, key.tenant, key.dataClass, Int64(key.leafIndex), key.state.rawValue, Int64(key.version), key.since,
      ])
  }

  package mutating func update(_ key: KeyRow) throws {
    try runOnce(
      "UPDATE kek SET state = ?, version = ?, since = ? WHERE id = ?",
      [key.state.rawValue, Int64(key.version), key.since, key.id])
  }

  // MARK: - Versions

  package mutating func keyVersion(_ key: String, _ version: UInt32) throws -> KeyVersionRow? {
    try first("SELECT * FROM kek_version WHERE kek = ? AND version = ?", [key, Int64(version)], Self.keyVersion)
  }

  package mutating func keyVersions(of key: String) throws -> [KeyVersionRow] {
    try all("SELECT * FROM kek_version WHERE kek = ? ORDER BY version", [key], Self.keyVersion)
  }

  static func keyVersion(_ row: SQLRow) throws -> KeyVersionRow {
    KeyVersionRow(
      key: row[0], version: try counter(row[1], "key version"), record: row[2], codes: row[3],
      leafIndex: try unsigned(row[4], "leaf index"))
  }

  package mutating func put(_ version: KeyVersionRow) throws {
    try run(
      """
      INSERT INTO kek_version (kek, version, record, codes, leaf_index) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (kek, version) DO UPDATE
        SET record = excluded.record, codes = excluded.codes, leaf_index = excluded.leaf_index
      """, [version.key, Int64(version.version), version.record, version.codes, Int64(version.leafIndex)])
  }

  // MARK: - Data keys

  package mutating func dataKey(_ id: String) throws -> DataKeyRow? {
    try first("SELECT * FROM data_key WHERE id = ?", [id], Self.dataKey)
  }

  package mutating func dataKeys(of key: String, below version: UInt32, limit: Int) throws -> [DataKeyRow] {
    try all(
      "SELECT * FROM data_key WHERE kek = ? AND version < ? ORDER BY version, id LIMIT ?",
      [key, Int64(version), limit], Self.dataKey)
  }

  package mutating func dataKeys(after id: String, limit: Int) throws -> [DataKeyRow] {
    try all("SELECT * FROM data_key WHERE id > ? ORDER BY id LIMIT ?", [id, limit], Self.dataKey)
  }

  static func dataKey(_ row: SQLRow) throws -> DataKeyRow {
    DataKeyRow(
      id: row[0], key: row[1], version: try counter(row[2], "key version"), record: row[3], codes: row[4],
      leafIndex: try unsigned(row[5], "leaf index"))
  }

  package mutating func countDataKeys(of key: String, versions: ClosedRange<UInt32>) throws -> Int {
    try first(
      "SELECT count(*) FROM data_key WHERE kek = ? AND version BETWEEN ? AND ?",
      [key, Int64(versions.lowerBound), Int64(versions.upperBound)]
    ) { $0[0] } ?? 0
  }

  package mutating func insert(_ dataKey: DataKeyRow) throws {
    try run(
      "INSERT INTO data_key (id, kek, version, record, codes, leaf_index) VALUES (?, ?, ?, ?, ?, ?)",
      [dataKey.id, dataKey.key, Int64(dataKey.version), dataKey.record, dataKey.codes, Int64(dataKey.leafIndex)])
  }

  package mutating func update(_ dataKey: DataKeyRow) throws {
    try runOnce(
      "UPDATE data_key SET version = ?, record = ?, codes = ?, leaf_index = ? WHERE id = ?",
      [Int64(dataKey.version), dataKey.record, dataKey.codes, Int64(dataKey.leafIndex), dataKey.id])
  }

  // MARK: - History

  package mutating func append(_ event: KeyEventRow) throws {
    try run(
      """
      INSERT INTO key_event (sequence, record, number, state, digest, leaf_index, chain)
      SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?1 = (SELECT coalesce(max(sequence), 0) + 1 FROM key_event)
      """,
      [
        Int64(clamping: event.sequence), event.record, Int64(event.number), event.state, event.digest,
        Int64(event.leafIndex), event.chain,
      ])
    guard try changes() == 1 else { throw StorageError("a step in the history of keys does not follow the last one") }
  }

  package mutating func lastKeyEvent() throws -> KeyEventRow? {
    try first("SELECT * FROM key_event ORDER BY sequence DESC LIMIT 1", [], Self.keyEvent)
  }

  package mutating func lastKeyEvent(of record: String) throws -> KeyEventRow? {
    try first("SELECT * FROM key_event WHERE record = ? ORDER BY sequence DESC LIMIT 1", [record], Self.keyEvent)
  }

  package mutating func keyEvents(after sequence: UInt64, limit: Int) throws -> [KeyEventRow] {
    try all(
      "SELECT * FROM key_event WHERE sequence > ? ORDER BY sequence LIMIT ?", [Int64(clamping: sequence), limit],
      Self.keyEvent)
  }

  private static func keyEvent(_ row: SQLRow) throws -> KeyEventRow {
    KeyEventRow(
      sequence: try unsigned(row[0], "sequence number"), record: row[1], number: try counter(row[2], "key version"),
      state: row[3], digest: row[4], leafIndex: try unsigned(row[5], "leaf index"), chain: row[6])
  }

  // MARK: - Tasks

  package mutating func keyTask(_ id: String) throws -> KeyTask? {
    try first("SELECT * FROM key_task WHERE id = ?", [id], Self.keyTask)
  }

  package mutating func pendingKeyTasks() throws -> [KeyTask] {
    try all("SELECT * FROM key_task WHERE state = 'pending' ORDER BY leaf_index", [], Self.keyTask)
  }

  /// Every task, by leaf.
  package func keyTasks() throws -> [KeyTask] {
    try all("SELECT * FROM key_task ORDER BY leaf_index", [], Self.keyTask)
  }

  private static func keyTask(_ row: SQLRow) throws -> KeyTask {
    KeyTask(
      id: row[0], key: row[1], kind: try decoded(KeyTask.Kind(rawValue: row[2]), "kind of key task"),
      notBefore: row[3], leafIndex: try unsigned(row[4], "leaf index"),
      state: try decoded(KeyTask.State(rawValue: row[5]), "state of a key task"),
      endIndex: try (row[6] as Int64?).map { try unsigned($0, "leaf index") })
  }

  package mutating func insert(_ task: KeyTask) throws {
    try run(
      "INSERT INTO key_task (id, kek, kind, not_before, leaf_index, state, end_index) VALUES (?, ?, ?, ?, ?, ?, ?)",
      [
        task.id, task.key, task.kind.rawValue, task.notBefore, Int64(task.leafIndex), task.state.rawValue,
        task.endIndex.map(Int64.init),
      ])
  }

  package mutating func update(_ task: KeyTask) throws {
    try runOnce(
      "UPDATE key_task SET state = ?, end_index = ? WHERE id = ?",
      [task.state.rawValue, task.endIndex.map(Int64.init), task.id])
  }

  // MARK: - Manifests

  package mutating func keyManifest() throws -> KeyManifestRow? {
    try first("SELECT * FROM key_manifest ORDER BY leaf_index DESC LIMIT 1", [], Self.keyManifest)
  }

  /// Every manifest, in the order in which they came into force.
  package func keyManifests() throws -> [KeyManifestRow] {
    try all("SELECT * FROM key_manifest ORDER BY leaf_index", [], Self.keyManifest)
  }

  private static func keyManifest(_ row: SQLRow) throws -> KeyManifestRow {
    KeyManifestRow(leafIndex: try unsigned(row[0], "leaf index"), document: row[1])
  }

  package mutating func insert(_ manifest: KeyManifestRow) throws {
    try run(
      "INSERT INTO key_manifest (leaf_index, document) VALUES (?, ?)", [Int64(manifest.leafIndex), manifest.document])
  }
}

/// A version or revision, which has 32 bits.
private func counter(_ value: Int64, _ what: StaticString) throws -> UInt32 {
  try decoded(UInt32(exactly: value), what)
}
