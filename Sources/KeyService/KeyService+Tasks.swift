import Crypto
import Envelope
import KeyHierarchy
import KeyManifests
import SecretMemory
import Wire

/// What was ordered, carried out.
extension KeyService {
  /// Carries out a task that is due; returns when it is done. Several callers share one attempt.
  /// - Throws: what kept it from being done; it stays pending then, and is tried again.
  public func carryOut(_ id: String) async throws {
    try await demandOpen()
    let work =
      running[id]
      ?? Task {
        defer { running[id] = nil }
        try await attempt(id)
      }
    running[id] = work
    try await work.value
  }

  private func attempt(_ id: String) async throws {
    do {
      if unsettled[id] == nil { try await perform(id) }
      if unsettled[id] != nil { try await settle() }
      unsettled[id] = nil
      obstacles[id] = nil
    } catch let problem as Problem where problem.code == "key_task_ended" {
      // It was called off while it was under way: nothing of it was written.
      obstacles[id] = nil
    } catch {
      obstacles[id] = "\(error)"
      throw error
    }
  }

  /// Carries out what is due, and orders what the schedule asks for.
  public func tend() async throws {
    try await demandOpen()
    try await closeJournal()
    for id in Array(unsettled.keys) { try? await carryOut(id) }
    if scrubbed < erasures { try await settle() }
    let now = parts.time.now()
    let pending = try await parts.recorder.read { unit in try unit.pendingKeyTasks() }
    for task in pending where now >= Timestamp(milliseconds: task.notBefore) { try? await carryOut(task.id) }
    for (key, kind) in try await due(at: now) {
      let index = try await parts.recorder.record("key.due") { unit, now, index in
        try KeyModule.due(kind, key: key, leafIndex: index, at: now, in: &unit)
      }
      if let index { try? await carryOut("due_\(index)") }
    }
  }

  /// What the schedule asks for. A rotation is followed by its rewrap, and that by the end of what nobody needs.
  private func due(at now: Timestamp) async throws -> [(key: String, kind: KeyTask.Kind)] {
    let unfinished = unfinished
    return try await parts.recorder.read { unit in
      try unit.keys().filter { $0.state == .active }.compactMap { key in
        try [KeyTask.Kind.rotate, .rewrap, .retire]
          .first { kind in
            guard try KeyModule<Recorder.Unit>.isDue(kind, key, at: now, in: &unit) else { return false }
            return switch kind {
            case .rewrap: unfinished[key.id] != key.version
            case .retire: try !Self.idleVersions(of: key, at: now, in: &unit).isEmpty
            default: true
            }
          }
          .map { (key.id, $0) }
      }
    }
  }

  /// The versions that no data key needs and whose time is over: it runs from the day on which the next one was made.
  private static func idleVersions(
    of key: KeyRow, at now: Timestamp, in unit: inout Recorder.Unit
  ) throws -> Set<UInt32> {
    guard
      let seconds = try KeyModule<Recorder.Unit>.manifestInForce(&unit).dataClass(key.dataClass)?
        .retireAfter?.components.seconds
    else { return [] }
    let records = try unit.keyVersions(of: key.id).compactMap { try? KEKRecord(decoding: $0.record) }
    var idle: Set<UInt32> = []
    for (record, next) in zip(records, records.dropFirst()) where record.state == .retired {
      let end = Timestamp(milliseconds: Int64(clamping: next.created)).adding(seconds: seconds)
      guard now >= end, try unit.countDataKeys(of: key.id, versions: record.version...record.version) == 0 else {
        continue
      }
      idle.insert(record.version)
    }
    return idle
  }

  private func perform(_ task: String) async throws {
    let found = try await parts.recorder.read { unit -> (KeyTask, KeyRow)? in
      guard let task = try unit.keyTask(task), task.state == .pending else { return nil }
      guard let key = try unit.key(task.key) else {
        throw Problem(503, "key_record_missing", "The key '\(task.key)' is not stored; restore the database.")
      }
      return (task, key)
    }
    guard let (task, key) = found, parts.time.now() >= Timestamp(milliseconds: task.notBefore) else { return }
    switch task.kind {
    case .create: try await create(key, task)
    case .rotate: try await rotate(key, task)
    case .rewrap: try await rewrap(key, task)
    case .disable: try await rewrite(key, task, "key.disabled", .disabled) { _ in .disabled }
    case .enable where key.version == 0: try await create(key, task)
    case .enable:
      try await rewrite(key, task, "key.enabled", .active) { $0.version == key.version ? .active : .retired }
    case .destroy: try await destroy(key, task)
    case .retire: try await retire(key, task)
    }
  }

  /// Records the transition that completes a task, together with the records that it writes.
  func commit(_ transition: KeyTransition, _ task: KeyTask, _ versions: [Written] = []) async throws {
    var transition = transition
    transition.task = task.id
    let complete = transition
    _ = try await parts.recorder.record(complete.kind) { unit, now, index in
      try complete.apply(leafIndex: index, at: now, in: &unit)
      for version in versions { try unit.put(version.row(leafIndex: index)) }
      return complete.json
    }
    unsettled[task.id] = task
    for version in versions { remember(version.record, version.codes) }
    // From here on an earlier form of them is a replay.
    let steps = try? await parts.recorder.read { unit in
      try versions.compactMap { try unit.lastKeyEvent(of: $0.entry.record) }
    }
    for step in steps ?? [] { newest[step.record] = max(newest[step.record] ?? 0, step.sequence) }
  }

  /// The versions of a key that are not destroyed, each checked.
  func versions(of key: KeyRow) async throws -> [KEKRecord] {
    let stored = try await parts.recorder.read { unit in
      try unit.keyVersions(of: key.id).map { try Self.stored(key, $0.version, in: &unit) }
    }
    var records: [KEKRecord] = []
    for version in stored { records.append(try await checked(version)) }
    return records.filter { $0.state != .destroyed }
  }

  // MARK: - Kinds

  private func create(_ key: KeyRow, _ task: KeyTask) async throws {
    let drawn = try await draw(key, version: 1)
    try await commit(
      KeyTransition("key.created", key: key.id, state: .active, version: 1, entries: [drawn.entry], facts: drawn.facts),
      task, [drawn])
  }

  private func rotate(_ key: KeyRow, _ task: KeyTask) async throws {
    let earlier = try await versions(of: key)
    let drawn = try await draw(key, version: key.version + 1)
    var written = [drawn]
    for record in earlier where record.state == .active { written.append(try await rewritten(record, .retired)) }
    try await commit(
      KeyTransition(
        "key.rotated", key: key.id, version: drawn.record.version, entries: written.map(\.entry), facts: drawn.facts),
      task, written)
  }

  /// Writes every version in another state.
  private func rewrite(
    _ key: KeyRow, _ task: KeyTask, _ kind: String, _ state: KeyRow.State,
    _ versionState: (KEKRecord) -> KeyState
  ) async throws {
    var written: [Written] = []
    for record in try await versions(of: key) { written.append(try await rewritten(record, versionState(record))) }
    try await commit(
      KeyTransition(kind, key: key.id, state: state, entries: written.map(\.entry)), task, written)
    // Its state keeps uses away already; what is left of it in the HSM is no use to anybody.
    if state == .disabled { try? await drop(key.id, written.map(\.record)) }
  }

  // MARK: - Ends

  private func destroy(_ key: KeyRow, _ task: KeyTask) async throws {
    let records = try await versions(of: key)
    // Its state keeps new uses away; those under way end, and the HSM lets go, before anything is erased.
    try await drop(key.id, records)
    let count =
      try await key.version == 0
      ? 0 : parts.recorder.read { unit in try unit.countDataKeys(of: key.id, versions: 1...key.version) }
    try await erase(
      records, key, task, "key.destroyed", state: .destroyed, facts: ["data_keys": .integer(Int64(count))])
  }

  /// Erases earlier versions that no data key needs and whose time is over.
  private func retire(_ key: KeyRow, _ task: KeyTask) async throws {
    let now = parts.time.now()
    let idle = try await parts.recorder.read { unit in try Self.idleVersions(of: key, at: now, in: &unit) }
    let records = try await versions(of: key).filter { idle.contains($0.version) }
    try await erase(records, key, task, "key.retired", state: nil, facts: [:])
    // No data key leads to them any more; a use that began before may have loaded one again.
    try? await drop(key.id, records, andDataKeys: false)
  }

  private func erase(
    _ records: [KEKRecord], _ key: KeyRow, _ task: KeyTask, _ kind: String, state: KeyRow.State?, facts: JSONObject
  ) async throws {
    var written: [Written] = []
    for record in records { written.append(try await rewritten(record, .destroyed)) }
    var facts = facts
    facts["nodes"] = [.string(parts.node)]
    facts["reach"] = reach(of: records)
    try await commit(
      KeyTransition(kind, key: key.id, state: state, entries: written.map(\.entry), facts: facts), task, written)
    erasures += 1
    let erased = Set(records.map { "\($0.id)/\($0.version)" })
    verified = verified.filter { !erased.contains("\($0.value.id)/\($0.value.version)") }
  }

  /// Lets go of versions of a key on this node: its data keys in memory, then its session objects once the uses that
  /// are under way have ended.
  private func drop(_ key: String, _ records: [KEKRecord], andDataKeys: Bool = true) async throws {
    await drain(key)
    if andDataKeys { cache.remove(where: key) }
    for (index, custodian) in parts.custodians.enumerated() {
      // One that has not answered since this service started has loaded nothing.
      guard let root = roots[index] else { continue }
      for wrapped in records.compactMap({ $0.wrap(for: root) }) {
        do throws(CustodyError) { try await custodian.forget(wrapped) } catch { throw Self.problem(error) }
      }
    }
  }

  /// What copies of the database made before now can still open, and with which keys.
  private func reach(of records: [KEKRecord]) -> JSONValue {
    guard let first = records.map(\.created).min() else { return "nothing" }
    var recipients: [String] = []
    for wrap in records.flatMap(\.wraps) where !recipients.contains(wrap.recipient.description) {
      recipients.append(wrap.recipient.description)
    }
    return [
      "copies_since": .string(Timestamp(milliseconds: Int64(clamping: first)).description),
      "copies_until": .string(parts.time.now().description),
      "open_with": .array(recipients.map { .string($0) }),
    ]
  }
}
