import Crypto
import Envelope
import KeyHierarchy
import KeyManifests
import SecretMemory
import class SecretMemory.SharedSecret
import Wire

/// Records: made, checked before use, and opened.
extension KeyService {
  /// A record that was made or changed, with what is written of it.
  struct Written: Sendable {
    let record: KEKRecord
    let codes: RecordMACs

    var entry: KeyTransition.Entry {
      KeyTransition.Entry(
        record: "\(record.id)/\(record.version)", number: record.version, state: record.state.description,
        digest: record.digest)
    }

    /// What people want to read of a new version.
    var facts: JSONObject { ["wrapped_to": .array(record.wraps.map { .string($0.recipient.description) })] }

    func row(leafIndex: UInt64) -> KeyVersionRow {
      KeyVersionRow(
        key: record.id, version: record.version, record: record.encoded, codes: codes.encoded, leafIndex: leafIndex)
    }
  }

  /// Draws a version of a key in the HSM and wraps it to every token that answers and to the recovery key. The first
  /// token proves that what it holds is what was drawn.
  func draw(_ key: KeyRow, version: UInt32) async throws -> Written {
    let secret = try await withToken { (custodian, _) throws(CustodyError) -> SharedSecret? in
      try await custodian.randomSecret(count: 32)
    }
    var wraps = try await tokenWraps(of: secret)
    if let recovery = parts.recovery {
      wraps.append(
        .init(
          .recovery(fingerprint: recovery.fingerprint),
          try secret.withBytes { bytes in
            try recovery.seal(
              bytes, info: Envelopes.recoveryInfo, aad: Envelopes.recoveryContext(key: key.id, version: version))
          }))
    }
    let record = try KEKRecord(
      id: key.id, coordinates: try coordinates(of: key), version: version, state: .active,
      created: UInt64(parts.time.now().milliseconds), wraps: wraps)
    return Written(record: record, codes: try await codes { record.macInput(for: $0) })
  }

  /// A key wrapped to every token that answers, at least one.
  func tokenWraps(of secret: SharedSecret) async throws -> [KEKRecord.Wrap] {
    var wraps: [KEKRecord.Wrap] = []
    var last: CustodyError?
    for (index, custodian) in parts.custodians.enumerated() {
      do throws(CustodyError) {
        let root = try await root(index, custodian)
        let wrapped = try await custodian.wrap(secret)
        try await prove(secret, wrapped, custodian)
        wraps.append(.init(.token(root), wrapped.bytes))
      } catch {
        last = error
      }
    }
    guard !wraps.isEmpty else {
      throw last.map(Self.problem) ?? Problem(503, "hsm_unavailable", "No data token is configured.")
    }
    return wraps
  }

  /// Compares what the token computes with the key that it unwraps with what the drawn key gives: a token that pads or
  /// cuts what it wraps (SoftHSM does, for other lengths) would lose every data key under it.
  private func prove(
    _ secret: SharedSecret, _ wrapped: WrappedKey, _ custodian: any KEKCustodian
  ) async throws(CustodyError) {
    let iv = parts.random.bytes(12)
    let context = Array("trustcore/kek-proof/v1".utf8)
    let zeros: SharedSecret
    do throws(SecretMemoryError) { zeros = SharedSecret(try SecretBytes(zeros: 32)) } catch {
      throw CustodyError(.failed, "\(error.message)")
    }
    let theirs = try await custodian.encrypt(zeros, iv: iv, context: context, under: wrapped)
    let key = unsafe secret.secret.withUnsafeBytes { unsafe SymmetricKey(data: $0) }
    let ours = try? AES.GCM.seal(
      [UInt8](repeating: 0, count: 32), using: key, nonce: AES.GCM.Nonce(data: iv), authenticating: context)
    guard let ours, Array(ours.ciphertext) + Array(ours.tag) == theirs else {
      throw CustodyError(.failed, "the token unwraps another key than it wrapped: see its profile")
    }
  }

  /// The same version in another state, with new codes. A destroyed one loses its wrapped bytes.
  func rewritten(_ record: KEKRecord, _ state: KeyState) async throws -> Written {
    let changed = try record.with(state: state)
    return Written(record: changed, codes: try await codes { changed.macInput(for: $0) })
  }

  func coordinates(of key: KeyRow) throws -> KeyCoordinates {
    try KeyCoordinates(tenant: key.tenant, environment: parts.environment, dataClass: key.dataClass)
  }

  // MARK: - Checks

  /// A version as the database holds it, with the newest step of its history.
  struct Stored: Sendable {
    let key: KeyRow
    let row: KeyVersionRow
    let event: KeyEventRow?
  }

  static func stored(_ key: KeyRow, _ version: UInt32, in unit: inout Recorder.Unit) throws -> Stored {
    guard let row = try unit.keyVersion(key.id, version) else {
      throw Problem(503, "key_record_missing", "Version \(version) of '\(key.id)' is not stored; restore the database.")
    }
    return Stored(key: key, row: row, event: try unit.lastKeyEvent(of: "\(key.id)/\(version)"))
  }

  /// A record that is what its latest leaf says, bound to its place, and authentic.
  func checked(_ stored: Stored) async throws -> KEKRecord {
    let (key, row) = (stored.key, stored.row)
    let name = "\(key.id)/\(row.version)"
    func refused(_ reason: String) async -> Problem { await refuse(name, row.record, of: key.id, reason) }
    guard let event = stored.event, event.digest == Array(SHA256.hash(data: row.record)), event.number == row.version,
      event.leafIndex == row.leafIndex
    else { throw await refused("it is not the form that its latest leaf records") }
    guard event.sequence >= newest[name] ?? 0 else { throw await refused("a later form of it was seen already") }
    let known = verified[Self.form(row.record, row.codes)]
    guard let record = try? known ?? KEKRecord(decoding: row.record), let codes = try? RecordMACs(decoding: row.codes)
    else { throw await refused("it is malformed") }
    guard record.id == key.id, record.coordinates == (try coordinates(of: key)), record.version == row.version,
      record.state.description == event.state
    else { throw await refused("it belongs to another key, version or state") }
    if known == nil {
      guard try await isAuthentic(codes, { record.macInput(for: $0) }) else {
        throw await refused("its code of authenticity is not the HSM's")
      }
      remember(record, codes)
    }
    newest[name] = max(newest[name] ?? 0, event.sequence)
    return record
  }

  /// A data key's record, likewise.
  func checked(_ row: DataKeyRow, _ event: KeyEventRow?, of key: KeyRow) async throws -> DEKRecord {
    func refused(_ reason: String) async -> Problem { await refuse(row.id, row.record, of: key.id, reason) }
    guard let event, event.digest == Array(SHA256.hash(data: row.record)), event.leafIndex == row.leafIndex else {
      throw await refused("it is not the form that its latest leaf records")
    }
    guard let record = try? DEKRecord(decoding: row.record), let codes = try? RecordMACs(decoding: row.codes) else {
      throw await refused("it is malformed")
    }
    guard record.id == row.id, record.context.kek == key.id, record.context.version == row.version,
      record.context.coordinates == (try coordinates(of: key)), record.revision == event.number,
      record.state.description == event.state
    else { throw await refused("it belongs to another data key, version or state") }
    if !verifiedDataKeys.contains(Self.form(row.record, row.codes)) {
      guard try await isAuthentic(codes, { record.macInput(for: $0) }) else {
        throw await refused("its code of authenticity is not the HSM's")
      }
      remember(record, codes)
    }
    return record
  }

  private static var maximumVerified: Int { 4096 }

  /// Spares the HSM codes of authenticity that it made or verified already.
  func remember(_ record: KEKRecord, _ codes: RecordMACs) {
    if verified.count >= Self.maximumVerified { verified.removeAll() }
    verified[Self.form(record.encoded, codes.encoded)] = record
  }

  func remember(_ record: DEKRecord, _ codes: RecordMACs) {
    if verifiedDataKeys.count >= Self.maximumVerified { verifiedDataKeys.removeAll() }
    verifiedDataKeys.insert(Self.form(record.encoded, codes.encoded))
  }

  /// What tells a record with its codes from every other.
  private static func form(_ record: [UInt8], _ codes: [UInt8]) -> [UInt8] {
    Array(SHA256.hash(data: Array(SHA256.hash(data: record)) + codes))
  }

  private func isAuthentic(_ codes: RecordMACs, _ input: (KeyCheckValue) -> [UInt8]) async throws -> Bool {
    try await withToken { (custodian, root) throws(CustodyError) -> Bool? in
      guard let code = codes.mac(of: root) else { return nil }
      return constantTimeEqual(try await custodian.authenticate(record: input(root)), code)
    }
  }

  /// Puts a refused record on the record, once for each form, and gives the refusal.
  func refuse(_ name: String, _ record: [UInt8], of key: String, _ reason: String) async -> Problem {
    let digest = Array(SHA256.hash(data: record))
    let form = Self.form(record, Array(name.utf8))
    if refusals.count < 1024, refusals.insert(form).inserted {
      let written = try? await parts.recorder.record("key.refused") { _, _, _ in
        [
          "key": .string(key), "record": .string(name), "digest": .string(Base64.URL.encode(digest)),
          "reason": .string(reason),
        ]
      }
      // Tried again with the next refusal.
      if written == nil { refusals.remove(form) }
    }
    return Problem(
      503, "key_record_refused",
      "The stored record of '\(name)' is refused: \(reason). Restore the database, or look for who changed it.")
  }

  /// Runs `body` with the first token that holds a root key by which a version is wrapped.
  func open<Result>(
    _ record: KEKRecord, _ body: (any KEKCustodian, WrappedKey) async throws(CustodyError) -> Result
  ) async throws -> Result {
    try await withToken { (custodian, root) throws(CustodyError) -> Result? in
      guard let wrapped = record.wrap(for: root) else { return nil }
      return try await body(custodian, wrapped)
    }
  }
}

/// Compares two codes in a time that depends on their lengths alone.
func constantTimeEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
  unsafe SecretMemory.constantTimeEqual(a.span.bytes, b.span.bytes)
}

extension KEKRecord.Recipient {
  /// `token:<check value>` or `recovery:<fingerprint>`.
  var description: String {
    switch self {
    case .token(let root): "token:\(root)"
    case .recovery(let fingerprint): "recovery:" + Hex.encode(fingerprint)
    }
  }
}
