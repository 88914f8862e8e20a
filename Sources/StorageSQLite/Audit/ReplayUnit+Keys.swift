package import KeyService

// MARK: - Keys

extension ReplayStore {
  package func key(_ id: String) -> KeyRow? { tables.keys[id] }

  package func keys() -> [KeyRow] { tables.keys.values.sorted { $0.id < $1.id } }

  package func liveKey(tenant: String, dataClass: String) -> KeyRow? {
    tables.keys.values.first { $0.tenant == tenant && $0.dataClass == dataClass && $0.state != .destroyed }
  }

  package mutating func insert(_ key: KeyRow) throws {
    guard try key.state == .destroyed || liveKey(tenant: key.tenant, dataClass: key.dataClass) == nil else {
      throw StorageError("the tenant has a key of this class already")
    }
    try tables.keys.add(key, at: key.id, "key")
  }

  package mutating func update(_ key: KeyRow) throws {
    if let before = tables.keys[key.id], before.state == .destroyed, key.state != .destroyed,
      try liveKey(tenant: before.tenant, dataClass: before.dataClass) != nil
    {
      throw StorageError("the tenant has another key of this class")
    }
    try tables.keys.change(key.id, "key") {
      ($0.state, $0.version, $0.since) = (key.state, key.version, key.since)
    }
  }

  package func keyVersion(_ key: String, _ version: UInt32) -> KeyVersionRow? { tables.keyVersions[key]?[version] }

  package func keyVersions(of key: String) -> [KeyVersionRow] {
    (tables.keyVersions[key] ?? [:]).values.sorted { $0.version < $1.version }
  }

  package mutating func put(_ version: KeyVersionRow) {
    tables.keyVersions[version.key, default: [:]][version.version] = version
  }
}

// MARK: - Data keys

extension ReplayStore {
  package func dataKey(_ id: String) -> DataKeyRow? { tables.dataKeys[id] }

  package mutating func insert(_ dataKey: DataKeyRow) throws {
    try tables.dataKeys.add(dataKey, at: dataKey.id, "data key")
    tables.dataKeyCounts[dataKey.key, default: [:]][dataKey.version, default: 0] += 1
  }

  package mutating func update(_ dataKey: DataKeyRow) throws {
    let before = tables.dataKeys[dataKey.id]
    try tables.dataKeys.change(dataKey.id, "data key") {
      ($0.version, $0.record) = (dataKey.version, dataKey.record)
      ($0.codes, $0.leafIndex) = (dataKey.codes, dataKey.leafIndex)
    }
    guard let before else { return }
    tables.dataKeyCounts[before.key]?[before.version, default: 0] -= 1
    tables.dataKeyCounts[before.key]?[dataKey.version, default: 0] += 1
  }

  package func dataKeys(of key: String, below version: UInt32, limit: Int) -> [DataKeyRow] {
    Array(
      tables.dataKeys.values.filter { $0.key == key && $0.version < version }
        .sorted { ($0.version, $0.id) < ($1.version, $1.id) }.prefix(limit))
  }

  package func dataKeys(after id: String, limit: Int) -> [DataKeyRow] {
    Array(tables.dataKeys.values.filter { $0.id > id }.sorted { $0.id < $1.id }.prefix(limit))
  }

  package func countDataKeys(of key: String, versions: ClosedRange<UInt32>) -> Int {
    (tables.dataKeyCounts[key] ?? [:]).reduce(0) { $0 + (versions.contains($1.key) ? $1.value : 0) }
  }
}

// MARK: - History, tasks and manifests

extension ReplayStore {
  package mutating func append(_ event: KeyEventRow) throws {
    guard event.sequence == (tables.newestKeyEvent?.sequence ?? 0) + 1 else {
      throw StorageError("a step in the history of keys does not follow the last one")
    }
    tables.keyEvents.append(event)
    tables.newestKeyEvent = event
    tables.newestKeyEvents[event.record] = event
  }

  package func lastKeyEvent() -> KeyEventRow? { tables.newestKeyEvent }

  package func lastKeyEvent(of record: String) -> KeyEventRow? { tables.newestKeyEvents[record] }

  package func keyEvents(after sequence: UInt64, limit: Int) -> [KeyEventRow] {
    Array(tables.keyEvents[tables.keyEvents.partition(after: sequence, by: \.sequence)...].prefix(limit))
  }

  package func keyTask(_ id: String) -> KeyTask? { tables.keyTasks[id] }

  package func pendingKeyTasks() -> [KeyTask] {
    tables.pendingKeyTasks.compactMap { tables.keyTasks[$0] }.sorted { $0.leafIndex < $1.leafIndex }
  }

  package mutating func insert(_ task: KeyTask) throws {
    try tables.keyTasks.add(task, at: task.id, "task")
    note(task)
  }

  package mutating func update(_ task: KeyTask) throws {
    try tables.keyTasks.change(task.id, "task") { ($0.state, $0.endIndex) = (task.state, task.endIndex) }
    note(task)
  }

  private mutating func note(_ task: KeyTask) {
    if task.state == .pending { tables.pendingKeyTasks.insert(task.id) } else { tables.pendingKeyTasks.remove(task.id) }
  }

  package func keyManifest() -> KeyManifestRow? { tables.keyManifests.last }

  package mutating func insert(_ manifest: KeyManifestRow) throws {
    guard manifest.leafIndex > tables.keyManifests.last?.leafIndex ?? 0 || tables.keyManifests.isEmpty else {
      throw StorageError("the manifest is not newer than the one in force")
    }
    tables.keyManifests.append(manifest)
  }
}
