public import Envelope
import KeyHierarchy
import KeyManifests
import SecretMemory
import class SecretMemory.SharedSecret
import Wire

extension KeyService {
  /// Wraps every key to the tokens that are configured now, from the copies for the recovery key: what a lost `data`
  /// token is replaced by. The lost token's codes of authenticity cannot be verified any more, so each record must
  /// be the one that its latest leaf, under a signed tree head, names.
  /// - Returns: how many versions were wrapped anew.
  public func recover(with recovery: borrowing RecoveryKey) async throws -> Int {
    // A head that the lost token authenticated cannot be verified, but the log's signed head can.
    try? await open()
    if case .refused(let why) = mode { throw Self.unrecoverable(why) }
    try await parts.recorder.demandLog()
    let kept = try KeyHeadFile.read(parts.headFile).head
    if let why = try await contradiction(of: kept) { throw Self.unrecoverable(why) }
    let keys = try await parts.recorder.read { unit in try unit.keys() }
    if let lost = kept.destroyed.first(where: { id in !keys.contains { $0.id == id && $0.state == .destroyed } }) {
      throw Self.unrecoverable("\(parts.headFile) calls '\(lost)' destroyed")
    }
    var count = 0
    for key in keys where key.state != .destroyed {
      var written: [Written] = []
      let stored = try await parts.recorder.read { unit in
        try unit.keyVersions(of: key.id).map { try Self.stored(key, $0.version, in: &unit) }
      }
      for version in stored {
        let record = try await proven(version)
        guard record.state != .destroyed else { continue }
        written.append(try await rewrapped(record, with: recovery))
      }
      guard !written.isEmpty else { continue }
      let (id, versions) = (key.id, written)
      let transition = KeyTransition(
        "key.recovered", key: id, entries: versions.map(\.entry),
        facts: ["recovery_key": .string(Hex.encode(recovery.publicKey.fingerprint))])
      _ = try await parts.recorder.record(transition.kind) { unit, now, index in
        for version in stored {
          guard try unit.keyVersion(id, version.row.version) == version.row else {
            throw Problem(409, "key_busy", "The key '\(id)' was changed meanwhile; recover again.")
          }
        }
        try transition.apply(leafIndex: index, at: now, in: &unit)
        for version in versions { try unit.put(version.row(leafIndex: index)) }
        return transition.json
      }
      count += versions.count
    }
    // Data keys keep their ciphertext; their codes are made anew by the present tokens.
    try await authenticateDataKeys()
    try await anchor()
    verified = [:]
    verifiedDataKeys = []
    mode = .waiting("keys were recovered")
    try await open()
    return count
  }

  private static func unrecoverable(_ why: String) -> Problem {
    Problem(409, "key_records_refused", "Nothing is recovered: \(why). Restore the newest copy first.")
  }

  private func rewrapped(_ record: KEKRecord, with recovery: borrowing RecoveryKey) async throws -> Written {
    let recipient = KEKRecord.Recipient.recovery(fingerprint: recovery.publicKey.fingerprint)
    guard let copy = record.wraps.first(where: { $0.recipient == recipient }) else {
      throw Problem(
        422, "recovery_key_wrong",
        "Version \(record.version) of '\(record.id)' was not wrapped to this recovery key; take the right one.")
    }
    let secret: SharedSecret
    do {
      secret = try recovery.open(
        copy.bytes, info: Envelopes.recoveryInfo,
        aad: Envelopes.recoveryContext(key: record.id, version: record.version))
    } catch {
      throw Problem(422, "not_authentic", "The recovery copy of '\(record.id)' does not open: \(error.message).")
    }
    let wraps = try await tokenWraps(of: secret)
    let kept = record.wraps.filter { old in !wraps.contains { $0.recipient == old.recipient } }
    let next = try KEKRecord(
      id: record.id, coordinates: record.coordinates, version: record.version, state: record.state,
      created: record.created, wraps: kept + wraps)
    return Written(record: next, codes: try await codes { next.macInput(for: $0) })
  }

  /// A record that its latest leaf names, with the proof that this leaf is under a signed tree head.
  private func proven(_ stored: Stored) async throws -> KEKRecord {
    let (key, row) = (stored.key, stored.row)
    let name = "\(key.id)/\(row.version)"
    guard let record = try? KEKRecord(decoding: row.record), let event = stored.event, event.digest == record.digest,
      event.leafIndex == row.leafIndex, record.id == key.id, record.version == row.version,
      record.coordinates == (try coordinates(of: key)), record.state.description == event.state,
      try await isOnRecord(event)
    else { throw await refuse(name, row.record, of: key.id, "no leaf under a signed tree head names it") }
    return record
  }

  /// Gives every data key codes of the present tokens, after comparing each record with its latest step.
  private func authenticateDataKeys() async throws {
    var after = ""
    while true {
      let last = after
      let rows = try await parts.recorder.read { unit in
        try unit.dataKeys(after: last, limit: 256).map { ($0, try unit.lastKeyEvent(of: $0.id)) }
      }
      guard let newest = rows.last?.0.id else { return }
      var changed: [(before: DataKeyRow, after: DataKeyRow)] = []
      for (row, event) in rows {
        guard let record = try? DEKRecord(decoding: row.record), let event, event.digest == record.digest,
          event.leafIndex == row.leafIndex, try await isOnRecord(event)
        else {
          _ = await refuse(row.id, row.record, of: row.key, "no leaf under a signed tree head names it")
          continue
        }
        var next = row
        next.codes = try await codes { record.macInput(for: $0) }.encoded
        changed.append((row, next))
      }
      let batch = changed
      _ = try await parts.recorder.record("key.recovered") { unit, _, _ in
        // One that was rewrapped meanwhile has codes of the present tokens.
        for row in batch where try unit.dataKey(row.before.id) == row.before { try unit.update(row.after) }
        return nil
      }
      after = newest
    }
  }
}
