/// Where keys, their versions, data keys and what was done to them are kept. Synchronous: a unit of work is taken
/// `inout`.
public protocol KeyStore {
  /// The key with an identifier.
  mutating func key(_ id: String) throws -> KeyRow?
  /// Every key, by identifier.
  mutating func keys() throws -> [KeyRow]
  /// The key of a tenant and data class that is not destroyed.
  mutating func liveKey(tenant: String, dataClass: String) throws -> KeyRow?
  /// Adds a key; a taken identifier, or a second one of a tenant and class that is not destroyed, is an error of the
  /// store.
  mutating func insert(_ key: KeyRow) throws
  /// Writes `state`, `version` and `since` of a key that exists.
  mutating func update(_ key: KeyRow) throws

  /// A version of a key.
  mutating func keyVersion(_ key: String, _ version: UInt32) throws -> KeyVersionRow?
  /// The versions of a key, the oldest first.
  mutating func keyVersions(of key: String) throws -> [KeyVersionRow]
  /// Adds or replaces a version.
  mutating func put(_ version: KeyVersionRow) throws

  /// The data key with an identifier.
  mutating func dataKey(_ id: String) throws -> DataKeyRow?
  /// Adds a data key; a taken identifier is an error of the store.
  mutating func insert(_ dataKey: DataKeyRow) throws
  /// Writes `version`, `record`, `codes` and `leafIndex` of a data key that exists.
  mutating func update(_ dataKey: DataKeyRow) throws
  /// At most `limit` data keys of a key that are encrypted under a version below one, by version and identifier.
  mutating func dataKeys(of key: String, below version: UInt32, limit: Int) throws -> [DataKeyRow]
  /// At most `limit` data keys after an identifier, by identifier.
  mutating func dataKeys(after id: String, limit: Int) throws -> [DataKeyRow]
  /// How many data keys of a key are encrypted under versions in a range.
  mutating func countDataKeys(of key: String, versions: ClosedRange<UInt32>) throws -> Int

  /// Adds a step; its sequence is one above the last.
  mutating func append(_ event: KeyEventRow) throws
  /// The newest step of all.
  mutating func lastKeyEvent() throws -> KeyEventRow?
  /// The newest step of a record.
  mutating func lastKeyEvent(of record: String) throws -> KeyEventRow?
  /// At most `limit` steps after a sequence number, in order.
  mutating func keyEvents(after sequence: UInt64, limit: Int) throws -> [KeyEventRow]

  /// The task with an identifier.
  mutating func keyTask(_ id: String) throws -> KeyTask?
  /// The tasks that are pending, by leaf.
  mutating func pendingKeyTasks() throws -> [KeyTask]
  /// Adds a task; a taken identifier is an error of the store.
  mutating func insert(_ task: KeyTask) throws
  /// Writes `state` and `endIndex` of a task that exists.
  mutating func update(_ task: KeyTask) throws

  /// The manifest in force; nil before the first.
  mutating func keyManifest() throws -> KeyManifestRow?
  /// Adds a manifest, which is in force from then on.
  mutating func insert(_ manifest: KeyManifestRow) throws
}
