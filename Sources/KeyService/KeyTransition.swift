import KeyManifests
public import Wire

/// What one leaf says of keys: the records that were written, and where key and task stand from then on. The service
/// applies it in the transaction that records it, and the audit applies it again.
public struct KeyTransition: Sendable, Equatable {
  /// A record in its new form.
  public struct Entry: Sendable, Equatable {
    /// `key_…/<version>` or `dek_…`.
    public let record: String
    /// A key's version, or a data key's revision.
    public let number: UInt32
    /// The record's state.
    public let state: String
    /// SHA-256 of the encoded record.
    public let digest: [UInt8]

    /// Describes a record.
    public init(record: String, number: UInt32, state: String, digest: [UInt8]) {
      self.record = record
      self.number = number
      self.state = state
      self.digest = digest
    }
  }

  /// What happened: `key.created`, `key.rotated`, `key.rewrapped`, `key.disabled`, `key.enabled`, `key.destroyed`,
  /// `key.retired`, `key.recovered` or `data-key.created`.
  public let kind: String
  /// The key.
  public let key: String
  /// The task that this completes.
  public var task: String?
  /// Where the key stands from then on; as before where nil.
  public var state: KeyRow.State?
  /// The key's newest version from then on; as before where nil.
  public var version: UInt32?
  /// The records that were written.
  public var entries: [Entry]
  /// What people want to read beside it; nothing depends on it.
  public var facts: JSONObject

  /// Describes a transition.
  public init(
    _ kind: String, key: String, task: String? = nil, state: KeyRow.State? = nil, version: UInt32? = nil,
    entries: [Entry], facts: JSONObject = [:]
  ) {
    self.kind = kind
    self.key = key
    self.task = task
    self.state = state
    self.version = version
    self.entries = entries
    self.facts = facts
  }

  /// The event kinds that are transitions.
  public static let kinds: Set = [
    "key.created", "key.rotated", "key.rewrapped", "key.disabled", "key.enabled", "key.destroyed", "key.retired",
    "key.recovered", "data-key.created",
  ]

  /// Reads the content of a leaf; members that nobody knows are refused.
  public init(_ kind: String, _ content: JSONValue) throws {
    var reader = try ObjectReader(content, "the key event")
    self.kind = kind
    key = try reader.string("key", maximumBytes: 64)
    task = try reader.optionalString("task", maximumBytes: 64)
    state = try reader.optionalString("state", maximumBytes: 16).map { text in
      guard let state = KeyRow.State(rawValue: text) else { throw Self.malformed("'\(text)' is no state of a key") }
      return state
    }
    version = try reader.optionalInteger("version", in: 1...Int64(UInt32.max)).map { UInt32($0) }
    entries = try reader.array("records", limit: 1024).map { value in
      var entry = try ObjectReader(value, "the record")
      let read = Entry(
        record: try entry.string("record", maximumBytes: 80),
        number: UInt32(try entry.integer("number", in: 1...Int64(UInt32.max))),
        state: try entry.string("state", maximumBytes: 16), digest: try entry.base64URL("digest", count: 32))
      try entry.finish()
      return read
    }
    guard let facts = try reader.value("facts").object else { throw Self.malformed("its facts are no object") }
    self.facts = facts
    try reader.finish()
  }

  /// The content of the leaf.
  public var json: JSONObject {
    var object: JSONObject = ["key": .string(key)]
    if let task { object["task"] = .string(task) }
    if let state { object["state"] = .string(state.rawValue) }
    if let version { object["version"] = .integer(Int64(version)) }
    object["records"] = .array(
      entries.map { entry in
        [
          "record": .string(entry.record), "number": .integer(Int64(entry.number)), "state": .string(entry.state),
          "digest": .string(Base64.URL.encode(entry.digest)),
        ]
      })
    object["facts"] = .object(facts)
    return object
  }

  /// Writes the history, the key and the task; the records themselves are written beside it.
  /// - Parameters:
  ///   - index: the leaf that records it.
  ///   - now: the time of that leaf.
  public func apply(leafIndex index: UInt64, at now: Timestamp, in unit: inout some KeyStore) throws {
    var last = try unit.lastKeyEvent()
    for entry in entries {
      let next = try Self.event(entry, after: last, leafIndex: index)
      try unit.append(next)
      last = next
    }
    if state != nil || version != nil {
      guard var row = try unit.key(key) else { throw Self.missing("key '\(key)'") }
      if let version { (row.version, row.since) = (version, now.milliseconds) }
      row.state = state ?? row.state
      try unit.update(row)
    }
    if let task {
      guard var row = try unit.keyTask(task), row.key == key else { throw Self.missing("task '\(task)'") }
      guard row.state == .pending else { throw Problem(409, "key_task_ended", "The task '\(task)' has ended already.") }
      (row.state, row.endIndex) = (.done, index)
      try unit.update(row)
    }
  }

  /// The step that an entry makes.
  static func event(
    _ entry: Entry, after last: KeyEventRow?, leafIndex index: UInt64
  ) throws -> KeyEventRow {
    guard let state = KeyState.allCases.first(where: { $0.description == entry.state }) else {
      throw malformed("'\(entry.state)' is no state of a record")
    }
    let parts = entry.record.split(separator: "/", maxSplits: 1).map(String.init)
    let step = try KeyEvent(
      id: parts.first ?? "", kind: parts.count == 2 ? .kek : .dek, version: entry.number, state: state,
      recordDigest: entry.digest, leafIndex: index)
    guard parts.count == 1 || parts[1] == String(entry.number) else {
      throw malformed("'\(entry.record)' does not name version \(entry.number)")
    }
    var chain = try KeyEventChain(count: last?.sequence ?? 0, value: last?.chain ?? KeyEventChain().value)
    chain.append(step)
    return KeyEventRow(
      sequence: chain.count, record: entry.record, number: entry.number, state: entry.state, digest: entry.digest,
      leafIndex: index, chain: chain.value)
  }

  private static func malformed(_ what: String) -> Problem { Problem(422, "key_event_malformed", what + ".") }

  private static func missing(_ what: String) -> Problem {
    Problem(409, "key_record_missing", "There is no \(what) in the database; restore it.")
  }
}
