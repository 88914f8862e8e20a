import KeyService
import Wire

// What the log says of keys. What the service did with the HSM cannot be repeated, so each event is held to what was
// ordered before it, and the records, which are not in the log, are known by the digests that it names.
extension ReplayModules {
  /// Lets an event about keys have its effect; a kind that has none passes.
  func replayKeys(
    _ kind: String, _ content: JSONObject, at time: Timestamp, leafIndex index: UInt64, in state: inout ReplayUnit
  ) throws {
    switch kind {
    case "key-manifest.first":
      try demand(state.keyManifest() == nil, "a manifest was in force already.")
      try state.insert(KeyManifestRow(leafIndex: index, document: Array(try content.text("manifest").utf8)))
    case "key.due":
      let again = try KeyTask.Kind(rawValue: try content.text("kind")).flatMap { kind in
        try KeyModule.due(kind, key: try content.text("key"), leafIndex: index, at: time, in: &state)
      }
      try demand(again == content, "the schedule did not ask for it then.")
    case _ where KeyTransition.kinds.contains(kind):
      try replay(try KeyTransition(kind, .object(content)), at: time, leafIndex: index, in: &state)
    default: return
    }
  }

  private func replay(
    _ transition: KeyTransition, at time: Timestamp, leafIndex index: UInt64, in state: inout ReplayUnit
  ) throws {
    guard let key = state.key(transition.key) else { throw Mismatch("its key does not exist.") }
    try demand(Self.isOrdered(transition, key, at: time, in: state), "nobody has ordered it.")
    for entry in transition.entries {
      try demand(Self.isNext(entry, of: transition, key, in: state), "it does not continue '\(entry.record)'.")
    }
    try transition.apply(leafIndex: index, at: time, in: &state)
    let version = state.key(key.id)?.version ?? key.version
    for entry in transition.entries {
      if entry.record.contains("/") {
        state.put(
          KeyVersionRow(key: key.id, version: entry.number, record: entry.digest, codes: [], leafIndex: index))
      } else {
        let row = DataKeyRow(
          id: entry.record, key: key.id, version: version, record: entry.digest, codes: [], leafIndex: index)
        if state.dataKey(row.id) == nil { try state.insert(row) } else { try state.update(row) }
      }
    }
    if transition.task != nil {
      try demand(Self.agrees(key.id, in: state), "it leaves a version of the key in a state that the key is not in.")
    }
  }

  /// Which task an event completes, and what state that leaves the key in; as before where nil.
  private static let completes: [String: (tasks: [KeyTask.Kind], state: KeyRow.State?)] = [
    "key.created": ([.create, .enable], .active), "key.rotated": ([.rotate], nil), "key.rewrapped": ([.rewrap], nil),
    "key.disabled": ([.disable], .disabled), "key.enabled": ([.enable], .active),
    "key.destroyed": ([.destroy], .destroyed), "key.retired": ([.retire], nil),
  ]

  /// A key changes its state or gets a version at the end of a task alone, whose time has come.
  private static func isOrdered(
    _ transition: KeyTransition, _ key: KeyRow, at time: Timestamp, in state: ReplayUnit
  ) -> Bool {
    let kind = transition.kind
    guard let id = transition.task else {
      return transition.state == nil && transition.version == nil
        && (kind == "key.recovered" || (["key.rewrapped", "data-key.created"].contains(kind) && key.state == .active))
    }
    guard let task = state.keyTask(id), let end = completes[kind] else { return false }
    let makesVersion = ["key.created", "key.rotated"].contains(kind)
    return task.key == key.id && task.state == .pending && task.notBefore <= time.milliseconds
      && end.tasks.contains(task.kind) && transition.state == end.state
      && transition.version == (makesVersion ? key.version + 1 : nil)
  }

  /// A record has one form after the other: of a version that exists or is made here, or of a data key's next revision.
  private static func isNext(
    _ entry: KeyTransition.Entry, of transition: KeyTransition, _ key: KeyRow, in state: ReplayUnit
  ) -> Bool {
    let last = state.lastKeyEvent(of: entry.record)
    switch transition.kind {
    case "data-key.created":
      return entry.state == "active" && entry.number == 1 && last == nil && transition.entries.count == 1
    case "key.rewrapped":
      return entry.state == "active" && state.dataKey(entry.record)?.key == key.id && last?.number == entry.number - 1
    default: break
    }
    // What is destroyed stays so, and a version that data keys need is not.
    guard entry.record == "\(key.id)/\(entry.number)", last?.state != "destroyed",
      entry.number == transition.version || state.keyVersion(key.id, entry.number) != nil
    else { return false }
    switch transition.kind {
    case "key.recovered": return entry.state == last?.state
    case "key.retired": return state.countDataKeys(of: key.id, versions: entry.number...entry.number) == 0
    default: return true
    }
  }

  /// Whether each version of a key is in a state that goes with the key's.
  private static func agrees(_ id: String, in state: ReplayUnit) -> Bool {
    guard let key = state.key(id) else { return false }
    let versions = state.keyVersions(of: id)
    return versions.count == key.version
      && versions.allSatisfy { row in
        switch (key.state, state.lastKeyEvent(of: "\(id)/\(row.version)")?.state) {
        case (_, "destroyed"): key.state != .active || row.version < key.version
        case (.active, "active"): row.version == key.version
        case (.active, "retired"): row.version < key.version
        case (.disabled, "disabled"): true
        default: false
        }
      }
  }
}
