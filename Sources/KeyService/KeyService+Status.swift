import Envelope
import KeyHierarchy
import KeyManifests
public import Wire

/// What operators read.
extension KeyService {
  /// The service's state: whether keys can be used, what waits and why, what is in memory.
  public func status() async throws -> JSONObject {
    let (keys, tasks, manifest) = try await parts.recorder.read { unit in
      (try unit.keys(), try unit.pendingKeyTasks(), try? KeyModule<Recorder.Unit>.manifestInForce(&unit))
    }
    var object: JSONObject = [:]
    switch mode {
    case .open: object["keys_mode"] = "open"
    case .waiting(let why): (object["keys_mode"], object["keys_reason"]) = ("waiting", .string(why))
    case .refused(let why): (object["keys_mode"], object["keys_reason"]) = ("refused", .string(why))
    }
    object["keys"] = .object(
      KeyRow.State.allCases.reduce(into: [:]) { counts, state in
        let count = keys.count { $0.state == state }
        if count > 0 { counts[state.rawValue] = .integer(Int64(count)) }
      })
    object["tasks"] = .array((tasks + unsettled.values).map { .object(description(of: $0)) })
    let counters = cache.counters
    object["data_key_cache"] = [
      "held": .integer(Int64(counters.held)), "capacity": .integer(Int64(parts.cachedDataKeys)),
      "hits": .integer(Int64(counters.hits)), "misses": .integer(Int64(counters.misses)),
    ]
    object["hostile_unwrap"] = .string(hostileUnwrap)
    if let manifest { object["manifest_digest"] = .string(Base64.URL.encode(manifest.digest)) }
    object["recovery_key"] = parts.recovery.map { .string(Hex.encode($0.fingerprint)) } ?? "none"
    return object
  }

  /// What the tokens answered to the hostile unwrap.
  public var hostileUnwrap: String {
    let answers = parts.custodians.map { $0.hostileUnwrap }
    if answers.contains(where: { $0 == nil }) { return "not tried yet" }
    return answers.contains(.locked) ? HostileUnwrap.locked.rawValue : HostileUnwrap.refused.rawValue
  }

  private func description(of task: KeyTask) -> JSONObject {
    var object: JSONObject = [
      "task": .string(task.id), "key": .string(task.key), "kind": .string(task.kind.rawValue),
      "state": .string(task.state.rawValue),
      "not_before": .string(Timestamp(milliseconds: task.notBefore).description),
    ]
    if let obstacle = obstacles[task.id] { object["obstacle"] = .string(obstacle) }
    return object
  }

  /// Every key of a tenant, or of all.
  public func list(tenant: String? = nil) async throws -> [JSONObject] {
    let keys = try await parts.recorder.read { unit in try unit.keys() }
    return keys.filter { tenant == nil || $0.tenant == tenant }.map(Self.summary)
  }

  private static func summary(_ key: KeyRow) -> JSONObject {
    [
      "key": .string(key.id), "tenant": .string(key.tenant), "class": .string(key.dataClass),
      "state": .string(key.state.rawValue), "version": .integer(Int64(key.version)),
      "leaf_index": .integer(Int64(key.leafIndex)),
    ]
  }

  /// A key with its versions, what is under way and what was ordered; nil where there is none.
  public func describe(_ id: String) async throws -> JSONObject? {
    let found = try await parts.recorder.read { unit -> (KeyRow, [(KeyVersionRow, String, Int)], [KeyTask])? in
      guard let key = try unit.key(id) else { return nil }
      let versions = try unit.keyVersions(of: id).map { row in
        (
          row, try unit.lastKeyEvent(of: "\(id)/\(row.version)")?.state ?? "unknown",
          try unit.countDataKeys(of: id, versions: row.version...row.version)
        )
      }
      return (key, versions, try unit.pendingKeyTasks().filter { $0.key == id })
    }
    guard let (key, versions, tasks) = found else { return nil }
    var object = Self.summary(key)
    object["environment"] = .string(parts.environment)
    object["versions"] = .array(
      versions.map { row, state, count in
        var version: JSONObject = [
          "version": .integer(Int64(row.version)), "state": .string(state), "data_keys": .integer(Int64(count)),
          "leaf_index": .integer(Int64(row.leafIndex)),
        ]
        if let record = try? KEKRecord(decoding: row.record) {
          version["created_at"] = .string(Timestamp(milliseconds: Int64(clamping: record.created)).description)
          version["wrapped_to"] = .array(record.wraps.map { .string($0.recipient.description) })
        }
        return .object(version)
      })
    object["tasks"] = .array((tasks + unsettled.values.filter { $0.key == id }).map { .object(description(of: $0)) })
    if let progress = progress[id] {
      let seconds = Double(parts.time.now().milliseconds - progress.started.milliseconds) / 1000
      let rate = seconds > 0 ? Double(progress.done) / seconds : 0
      var report: JSONObject = [
        "rewrapped": .integer(Int64(progress.done)), "total": .integer(Int64(progress.total)),
        "refused": .integer(Int64(progress.refused)), "rate": .integer(Int64(rate)),
      ]
      if rate > 0 {
        report["seconds_left"] = .integer(Int64(Double(progress.total - progress.done) / rate))
      }
      object["rewrap"] = .object(report)
    }
    return object
  }

  /// What became of a task, for whoever ordered it: the key, and for a destruction its receipt. The receipt is the leaf
  /// under a signed tree head, written after this node let go of the key. It is given once the file outside the database
  /// says so and the erased bytes have left the storage's files; until then the task counts as pending.
  public func outcome(ofTask id: String) async throws -> JSONObject? {
    guard let task = try await parts.recorder.read({ unit in try unit.keyTask(id) }) else { return nil }
    var object = try await describe(task.key) ?? [:]
    if task.kind == .destroy, task.state == .done, scrubbed < erasures { try? await settle() }
    let isSettled = unsettled[id] == nil && (task.kind != .destroy || scrubbed >= erasures)
    object["task_state"] = .string((isSettled ? task.state : .pending).rawValue)
    if let index = task.endIndex {
      object["task_leaf_index"] = .integer(Int64(index))
      if isSettled, task.kind == .destroy, task.state == .done {
        object["destruction"] = .object(try await parts.recorder.seal(ofLeaf: index))
      }
    }
    return object
  }
}
