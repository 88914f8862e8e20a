import KeyManifests
import Wire

/// The data keys of earlier versions, brought under the newest while uses go on.
extension KeyService {
  /// How many data keys one leaf names.
  static var rewrapBatch: Int { 64 }

  private struct Rewrapped: Sendable {
    let before: DataKeyRow
    let record: DEKRecord
    let codes: RecordMACs
  }

  /// Encrypts the data keys of earlier versions under the newest, a batch under each leaf. A data key whose record is
  /// refused is left where it is, and counted.
  func rewrap(_ key: KeyRow, _ task: KeyTask) async throws {
    let id = key.id
    let records = Dictionary(uniqueKeysWithValues: try await versions(of: key).map { ($0.version, $0) })
    guard let newest = records[key.version], newest.state == .active else { throw Self.inactive(key) }
    let total =
      try await key.version == 1
      ? 0 : parts.recorder.read { unit in try unit.countDataKeys(of: id, versions: 1...(key.version - 1)) }
    progress[id] = Progress(total: total, started: parts.time.now())
    defer { progress[id] = nil }
    var refused: Set<String> = []
    while try await rewrapBatch(of: key, records, under: newest, &refused) { try Task.checkCancellation() }
    let (done, left) = (progress[id]?.done ?? 0, refused.count)
    try await commit(
      KeyTransition(
        "key.rewrapped", key: id, entries: [],
        facts: ["data_keys": .integer(Int64(done)), "refused": .integer(Int64(left))]), task)
    unfinished[id] = left > 0 ? key.version : nil
  }

  /// - Returns: false where none was left.
  private func rewrapBatch(
    of key: KeyRow, _ records: [UInt32: KEKRecord], under newest: KEKRecord, _ refused: inout Set<String>
  ) async throws -> Bool {
    let id = key.id
    // A use like any other: whoever destroys the key waits for it, and finds the key let go of afterwards.
    let use = begin(id)
    defer { end(id, use) }
    let skipped = refused
    let rows = try await parts.recorder.read { unit in
      try Self.demand(id, at: newest.version, in: &unit)
      return try unit.dataKeys(of: id, below: newest.version, limit: Self.rewrapBatch + skipped.count)
        .filter { !skipped.contains($0.id) }.prefix(Self.rewrapBatch)
        .map { ($0, try unit.lastKeyEvent(of: $0.id)) }
    }
    guard !rows.isEmpty else { return false }
    var batch: [Rewrapped] = []
    for (row, event) in rows {
      do {
        batch.append(try await rewrapped(row, event, of: key, records, under: newest))
      } catch let problem as Problem where ["key_record_refused", "not_authentic"].contains(problem.code) {
        refused.insert(row.id)
        progress[id]?.refused += 1
      }
    }
    guard !batch.isEmpty else { return true }
    let (written, transition) = (batch, KeyTransition("key.rewrapped", key: id, entries: batch.map(\.record.entry)))
    _ = try await parts.recorder.record(transition.kind) { unit, now, index in
      try Self.demand(id, at: newest.version, in: &unit)
      for data in written {
        guard try unit.dataKey(data.before.id) == data.before else {
          throw Problem(409, "key_record_missing", "The data key '\(data.before.id)' was changed meanwhile.")
        }
        try unit.update(
          DataKeyRow(
            id: data.before.id, key: id, version: newest.version, record: data.record.encoded,
            codes: data.codes.encoded, leafIndex: index))
      }
      try transition.apply(leafIndex: index, at: now, in: &unit)
      return transition.json
    }
    progress[id]?.done += batch.count
    return true
  }

  private func rewrapped(
    _ row: DataKeyRow, _ event: KeyEventRow?, of key: KeyRow, _ records: [UInt32: KEKRecord], under newest: KEKRecord
  ) async throws -> Rewrapped {
    let record = try await checked(row, event, of: key)
    guard let old = records[row.version], let sealed = record.sealed else {
      throw await refuse(row.id, row.record, of: key.id, "the version that encrypts it is destroyed")
    }
    let secret = try await decrypted(sealed, record.context, under: old)
    let drawn = try await encrypted(
      secret, row.id, record.context.contextDigest, under: newest, revision: record.revision)
    guard let renewed = drawn.sealed else { throw Self.inactive(key) }
    let next = try record.rewrapped(version: newest.version, renewed)
    return Rewrapped(before: row, record: next, codes: try await codes { next.macInput(for: $0) })
  }

  /// Demands that a key is in use and its newest version still the one that data keys are brought under.
  private static func demand(_ id: String, at version: UInt32, in unit: inout Recorder.Unit) throws {
    guard let key = try unit.key(id), key.state == .active, key.version == version else {
      throw Problem(409, "key_task_ended", "The key was changed while it was being rewrapped.")
    }
  }
}
