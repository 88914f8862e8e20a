public import AgentIdentity
import Crypto
public import Envelope
import KeyHierarchy
public import KeyManifests
import class SecretMemory.SharedSecret
import Wire

/// Data keys: drawn and opened for principals, sealed to a key of theirs so that no copy rests in a message.
extension KeyService {
  /// A data key on its way to whoever asked.
  public struct Delivery: Sendable {
    /// `dek_…`
    public let id: String
    /// The key that encrypts it.
    public let key: String
    /// The version of that key.
    public let version: UInt32
    /// The data key, sealed to the recipient (HPKE with X-Wing), with the identifier as additional data.
    public let sealed: [UInt8]
    /// Index of the leaf that records it; nil where an earlier one was opened.
    public let leafIndex: UInt64?
  }

  /// What a principal asks for.
  public struct DataKeyRequest: Sendable {
    /// Whose request it is.
    public let principal: Principal
    /// What the data key is bound to.
    public let context: EncryptionContext
    /// The recipient's X-Wing key.
    public let recipient: RecoveryKey.PublicKey
    /// SHA-256 of the signed request.
    public let digest: [UInt8]

    /// Collects a request.
    public init(principal: Principal, context: EncryptionContext, recipient: RecoveryKey.PublicKey, digest: [UInt8]) {
      self.principal = principal
      self.context = context
      self.recipient = recipient
      self.digest = digest
    }
  }

  /// Draws a data key under a key's newest version: three HSM operations, one of them the drawing, once the key is
  /// loaded; one more for each further token.
  public func makeDataKey(of id: String, _ request: DataKeyRequest) async throws -> Delivery {
    try await demandOpen()
    let use = begin(id)
    defer { end(id, use) }
    let principal = request.principal
    let stored = try await parts.recorder.read { unit in
      let key = try Self.usable(id, by: principal, to: .encrypt, in: &unit)
      return try Self.stored(key, key.version, in: &unit)
    }
    let kek = try await checked(stored, for: .encrypt)
    let secret = try await withToken { (custodian, _) throws(CustodyError) -> SharedSecret? in
      try await custodian.randomSecret(count: 32)
    }
    let name = "dek_" + Base64.URL.encode(parts.random.bytes(16))
    let record = try await encrypted(secret, name, request.context.digest, under: kek, revision: 1)
    let codes = try await codes { record.macInput(for: $0) }
    let transition = KeyTransition(
      "data-key.created", key: id, entries: [record.entry],
      facts: [
        "principal": .string(principal.id), "version": .integer(Int64(kek.version)),
        "request_sha256": .string(Base64.URL.encode(request.digest)),
      ])
    let index = try await parts.recorder.record(transition.kind) { unit, now, index in
      guard try Self.usable(id, by: principal, to: .encrypt, in: &unit).version == kek.version else {
        throw Problem(409, "key_rotated", "The key was rotated meanwhile; ask again.")
      }
      try unit.insert(
        DataKeyRow(
          id: name, key: id, version: kek.version, record: record.encoded, codes: codes.encoded, leafIndex: index))
      try transition.apply(leafIndex: index, at: now, in: &unit)
      return transition.json
    }
    remember(record, codes)
    anchorSoon()
    try journal.write(.init("encrypt", name, key: id, principal.id, request.digest), at: parts.time.now())
    keep(secret, name, of: id, try await bounds(of: stored.key))
    return try secret.withBytes { bytes in
      try delivery(bytes, name, kek.version, key: id, to: request.recipient, leafIndex: index)
    }
  }

  /// Opens a data key: from the cache, or with two HSM operations once its key is loaded.
  public func openDataKey(_ name: String, _ request: DataKeyRequest) async throws -> Delivery {
    try await demandOpen()
    let principal = request.principal
    guard let id = try await parts.recorder.read({ unit in try unit.dataKey(name)?.key }) else {
      throw Self.noDataKey(name)
    }
    // From here on, whoever stops the key waits for this use, or this use sees that the key was stopped.
    let use = begin(id)
    defer { end(id, use) }
    let found = try await parts.recorder.read { unit -> (DataKeyRow, KeyEventRow?, Stored)? in
      guard let row = try unit.dataKey(name), row.key == id else { return nil }
      guard let key = try Self.visible(id, to: principal, in: &unit) else { return nil }
      try Self.demand(key, by: principal, to: .decrypt, in: &unit)
      return (row, try unit.lastKeyEvent(of: name), try Self.stored(key, row.version, in: &unit))
    }
    guard let (row, event, stored) = found else { throw Self.noDataKey(name) }
    let record = try await checked(row, event, of: stored.key)
    let kek = try await checked(stored, for: .decrypt)
    guard let sealed = record.sealed else {
      throw Problem(409, "data_key_destroyed", "The data key '\(name)' is destroyed; what it encrypted is lost.")
    }
    guard constantTimeEqual(record.context.contextDigest, request.context.digest) else {
      throw Problem(
        422, "context_mismatch", "The data key was made for another context; give the one that was given then.")
    }
    let now = parts.time.now()
    let delivery: Delivery
    func deliver(_ secret: RawSpan) throws -> Delivery {
      try self.delivery(secret, name, kek.version, key: id, to: request.recipient, leafIndex: nil)
    }
    if let held = try cache.with(name, now: UInt64(now.milliseconds), deliver) {
      delivery = held
    } else {
      let secret = try await decrypted(sealed, record.context, under: kek)
      keep(secret, name, of: id, try await bounds(of: stored.key))
      delivery = try secret.withBytes(deliver)
    }
    // The key may have been disabled, or the principal revoked, while the HSM worked.
    _ = try await parts.recorder.read { unit in try Self.usable(id, by: principal, to: .decrypt, in: &unit) }
    try journal.write(.init("decrypt", name, key: id, principal.id, request.digest), at: now)
    return delivery
  }

  // MARK: - Parts

  /// A key that a principal may use in this way, by the manifest in force and the key's state.
  static func usable(
    _ id: String, by principal: Principal, to use: DataClass.Operation, in unit: inout Recorder.Unit
  ) throws -> KeyRow {
    guard let key = try visible(id, to: principal, in: &unit) else {
      throw Problem(404, "key_not_found", "There is no key '\(id.prefix(64))' in this tenant; check the identifier.")
    }
    try demand(key, by: principal, to: use, in: &unit)
    return key
  }

  /// A key of the principal's own tenant; nil for whoever may not act.
  private static func visible(
    _ id: String, to principal: Principal, in unit: inout Recorder.Unit
  ) throws -> KeyRow? {
    guard let known = try unit.principal(id: principal.id), known.status == .active, let key = try unit.key(id),
      key.tenant == known.tenant
    else { return nil }
    return key
  }

  private static func demand(
    _ key: KeyRow, by principal: Principal, to use: DataClass.Operation, in unit: inout Recorder.Unit
  ) throws {
    let declared = try KeyModule<Recorder.Unit>.manifestInForce(&unit).dataClass(key.dataClass)
    guard let declared, let kind = PrincipalKind(rawValue: principal.kind.rawValue),
      declared.permits(use, kind, id: principal.id, tenant: key.tenant)
    else {
      throw Problem(
        403, "key_use_not_permitted",
        "The manifest does not let \(principal.kind.rawValue)s \(use == .encrypt ? "encrypt" : "decrypt") in this class."
      )
    }
    guard key.state == .active else { throw inactive(key) }
  }

  /// A version that is in the state which its key's is: of one that is in use, the newest encrypts and earlier ones open.
  private func checked(_ stored: Stored, for use: DataClass.Operation) async throws -> KEKRecord {
    let (key, record) = (stored.key, try await checked(stored))
    let isNewest = record.version == key.version
    guard record.version <= key.version, record.state == (isNewest ? .active : .retired), isNewest || use == .decrypt
    else {
      throw await refuse(
        "\(key.id)/\(record.version)", stored.row.record, of: key.id, "the key is not in the state that it is in")
    }
    return record
  }

  static func inactive(_ key: KeyRow) -> Problem {
    switch key.state {
    case .pending: Problem(409, "key_pending", "The key is not made yet; ask again shortly.")
    case .destroying, .destroyed: Problem(409, "key_destroyed", "The key is destroyed, or about to be.")
    case .active, .disabled: Problem(409, "key_disabled", "The key or this version of it is disabled.")
    }
  }

  private static func noDataKey(_ name: String) -> Problem {
    Problem(
      404, "data_key_not_found", "There is no data key '\(name.prefix(64))' in this tenant; check the identifier.")
  }

  /// A data key encrypted under a version, as a record.
  func encrypted(
    _ secret: SharedSecret, _ name: String, _ context: [UInt8], under kek: KEKRecord, revision: UInt32
  ) async throws -> DEKRecord {
    let iv = parts.random.bytes(12)
    let bound = try KeyContext(
      coordinates: kek.coordinates, kek: kek.id, version: kek.version, dek: name, contextDigest: context)
    let ciphertext = try await open(kek) { (custodian, wrapped) throws(CustodyError) in
      try await custodian.encrypt(secret, iv: iv, context: bound.aad, under: wrapped)
    }
    return DEKRecord(
      context: bound, created: UInt64(parts.time.now().milliseconds), revision: revision,
      sealed: try .init(iv: iv, ciphertext: ciphertext))
  }

  func decrypted(
    _ sealed: DEKRecord.Sealed, _ context: KeyContext, under kek: KEKRecord
  ) async throws -> SharedSecret {
    try await open(kek) { (custodian, wrapped) throws(CustodyError) in
      try await custodian.decrypt(sealed.ciphertext, iv: sealed.iv, context: context.aad, under: wrapped)
    }
  }

  private func bounds(of key: KeyRow) async throws -> DataKeyCache.Bounds {
    let declared = try await parts.recorder.read { unit in
      try KeyModule<Recorder.Unit>.manifestInForce(&unit).dataClass(key.dataClass)
    }
    return DataKeyCache.Bounds(
      age: UInt64((declared?.dataKey.age.components.seconds ?? 0) * 1000), uses: UInt64(declared?.dataKey.uses ?? 0),
      bytes: UInt64(declared?.dataKey.bytes ?? 0))
  }

  /// Keeps a data key for a while, unless its key was stopped meanwhile; a cache without room keeps nothing.
  private func keep(_ secret: SharedSecret, _ name: String, of key: String, _ bounds: DataKeyCache.Bounds) {
    let now = UInt64(parts.time.now().milliseconds)
    try? secret.withBytes { bytes throws(EnvelopeError) in
      try cache.insert(bytes, id: name, tag: key, bounds: bounds, now: now)
    }
  }

  private func delivery(
    _ secret: RawSpan, _ name: String, _ version: UInt32, key: String, to recipient: RecoveryKey.PublicKey,
    leafIndex: UInt64?
  ) throws -> Delivery {
    Delivery(
      id: name, key: key, version: version,
      sealed: try recipient.seal(secret, info: Envelopes.deliveryInfo, aad: Array(name.utf8)),
      leafIndex: leafIndex)
  }

  /// Lets the file outside follow without keeping anyone waiting; whoever needs it there calls ``anchor()``.
  func anchorSoon() {
    following = Task { try? await anchor() }
  }
}

extension DEKRecord {
  /// The record's entry in a leaf.
  var entry: KeyTransition.Entry {
    KeyTransition.Entry(record: id, number: revision, state: state.description, digest: digest)
  }
}

/// What binds the uses of X-Wing apart from each other.
public enum Envelopes {
  /// HPKE info of a data key on its way to whoever asked; the additional data are its identifier's bytes.
  public static let deliveryInfo = Array("trustcore/data-key/v1".utf8)
  /// HPKE info of a key-encryption key that is wrapped for recovery.
  public static let recoveryInfo = Array("trustcore/kek-recovery/v1".utf8)

  /// The additional data of a recovery wrap: key and version.
  public static func recoveryContext(key: String, version: UInt32) -> [UInt8] { Array("\(key)/\(version)".utf8) }
}
