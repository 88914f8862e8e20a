import AgentIdentity
import KeyManifests
public import Seal
public import Wire

/// What security officers decide about keys.
public enum KeyCommand: Sendable, Equatable {
  /// Make the key of a data class for the officer's tenant.
  case create(dataClass: String)
  /// Order work on a key.
  case order(KeyTask.Kind, key: String)
  /// Put a manifest in force.
  case publish(document: [UInt8])
}

/// Takes officers' decisions about keys. It orders work and never calls the HSM: ``KeyService`` carries out what is
/// ordered, and records that it did.
public struct KeyModule<Unit: KeyStore>: CommandModule {
  /// The audience that leaves name.
  public static var audience: String { "keys" }

  /// The module's own check of seals.
  public let verifier: SealVerifier

  /// Makes the module.
  public init(verifier: SealVerifier) { self.verifier = verifier }

  /// Reads `POST /v1/keys`, `/v1/keys/{id}/rotate|rewrap|disable|enable|destroy` and `/v1/key-manifests`.
  public func parse(_ signed: SignedCommand) throws(Problem) -> KeyCommand {
    let parts = signed.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard signed.method == "POST", signed.asserted == nil, parts.count >= 3, parts[1] == "v1" else {
      throw Self.noRoute
    }
    return try Problem.reading {
      var reader = try ObjectReader(try JSONValue(parsing: signed.body), "the command")
      switch (parts.count, parts[2]) {
      case (3, "keys"):
        let dataClass = try reader.string("class", maximumBytes: 64)
        try reader.finish()
        return .create(dataClass: dataClass)
      case (3, "key-manifests"):
        let text = Array(try reader.string("manifest", maximumBytes: KeyManifest.maximumBytes).utf8)
        try reader.finish()
        let environment = try Self.manifest(text).environment
        guard environment == verifier.environment else {
          throw Problem(
            422, "manifest_environment",
            "The manifest is for '\(environment)', and this deployment is '\(verifier.environment)'; take the right one."
          )
        }
        return .publish(document: text)
      case (5, "keys"):
        guard let kind = KeyTask.Kind(rawValue: parts[4]), kind != .create, kind != .retire else { throw Self.noRoute }
        if kind == .destroy {
          guard try reader.string("confirm", maximumBytes: 64) == parts[3] else {
            throw Problem(422, "confirmation_mismatch", "Write the key's identifier in 'confirm' to destroy it.")
          }
        }
        try reader.finish()
        return .order(kind, key: parts[3])
      default: throw Self.noRoute
      }
    }
  }

  private static var noRoute: Problem { Problem(404, "route_not_found", "There is no command at this path.") }

  static func manifest(_ text: [UInt8]) throws(Problem) -> KeyManifest {
    do throws(ManifestError) { return try ManifestCache.manifest(text) } catch {
      throw Problem(422, error.code.description, error.description)
    }
  }

  // MARK: - Deciding

  /// Checks that the signer is an officer and that the key's state allows what is ordered.
  public func reserve(_ command: KeyCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    guard context.principal.kind == .officer else {
      throw Problem(403, "officer_required", "Only a security officer decides about keys.")
    }
    try check(command, context, in: &unit)
    return .allow
  }

  private func check(_ command: KeyCommand, _ context: CommandContext, in unit: inout Unit) throws {
    let tenant = context.principal.tenant
    switch command {
    case .publish: break
    case .create(let name):
      let manifest = try Self.manifestInForce(&unit)
      guard let declared = manifest.dataClass(name), declared.has(tenant: tenant) else {
        throw Problem(
          422, "data_class_unknown",
          "The manifest in force declares no class '\(name)' for this tenant; publish one that does.")
      }
      if let key = try unit.liveKey(tenant: tenant, dataClass: name) {
        throw Problem(409, "key_exists", "This tenant's key for '\(name)' is '\(key.id)'; rotate it instead.")
      }
    case .order(let kind, let id):
      let key = try Self.key(id, tenant, in: &unit)
      try Self.check(kind, key)
      if let task = try unit.pendingKeyTasks().first(where: { $0.key == id }), !Self.mayFollow(kind, task.kind) {
        throw Problem(
          409, "key_busy", "The key's task '\(task.kind.rawValue)' is under way; wait for it, or look at its state.",
          headers: ["Retry-After": "1"])
      }
    }
  }

  /// What stops harm does not wait: a key is disabled or destroyed whatever else is under way, and destruction that
  /// still waits for its time is called off by enabling the key.
  private static func mayFollow(_ kind: KeyTask.Kind, _ pending: KeyTask.Kind) -> Bool {
    switch kind {
    case .disable: pending != .disable && pending != .destroy
    case .destroy: pending != .destroy
    case .enable: pending == .destroy || pending == .disable
    default: false
    }
  }

  private static func check(_ kind: KeyTask.Kind, _ key: KeyRow) throws(Problem) {
    func refused(_ code: String, _ sentence: String) -> Problem { Problem(409, code, sentence) }
    switch (kind, key.state) {
    case (_, .destroyed): throw refused("key_destroyed", "The key '\(key.id)' is destroyed; make a new one.")
    case (.destroy, .destroying): throw refused("key_destroying", "The key's destruction is ordered already.")
    case (.destroy, _), (.disable, .active), (.disable, .pending), (.enable, .disabled), (.enable, .destroying),
      (.rotate, .active), (.rewrap, .active), (.retire, .active):
      return
    case (.enable, _): throw refused("key_enabled", "The key is \(key.state.rawValue); only a disabled one is enabled.")
    case (_, .disabled): throw refused("key_disabled", "The key is disabled; enable it first.")
    case (_, .destroying): throw refused("key_destroying", "The key is about to be destroyed; enable it to keep it.")
    case (_, .pending), (.create, _):
      throw refused("key_pending", "The key is not made yet; look at 'trustcore status' for what the HSM says.")
    }
  }

  private static func key(_ id: String, _ tenant: String, in unit: inout Unit) throws -> KeyRow {
    guard let key = try unit.key(id), key.tenant == tenant else {
      throw Problem(404, "key_not_found", "There is no key '\(id)' in this tenant; check the identifier.")
    }
    return key
  }

  /// The manifest in force.
  static func manifestInForce(_ unit: inout Unit) throws -> KeyManifest {
    guard let row = try unit.keyManifest() else {
      throw Problem(409, "manifest_missing", "No key manifest is in force; publish one.")
    }
    return try manifest(row.document)
  }

  // MARK: - Carrying out

  /// Writes what is ordered: the key's state where it stops its use at once, and the task.
  public func apply(_ sealed: Sealed<KeyCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    let context = sealed.context
    // Two commands of one batch may have passed the same checks.
    try check(sealed.command, context, in: &unit)
    switch sealed.command {
    case .publish(let document):
      try unit.insert(KeyManifestRow(leafIndex: context.leafIndex, document: document))
      let manifest = try Self.manifestInForce(&unit)
      return ["manifest_digest": .string(Base64.URL.encode(manifest.digest))]
    case .create(let dataClass):
      let key = KeyRow(
        id: "key_\(context.id)", tenant: context.principal.tenant, dataClass: dataClass, leafIndex: context.leafIndex,
        state: .pending, version: 0, since: 0)
      try unit.insert(key)
      return try order(.create, key, context, in: &unit)
    case .order(let kind, let id):
      return try order(kind, try Self.key(id, context.principal.tenant, in: &unit), context, in: &unit)
    }
  }

  private func order(
    _ kind: KeyTask.Kind, _ key: KeyRow, _ context: CommandContext, in unit: inout Unit
  ) throws -> JSONObject {
    var key = key
    var notBefore = context.decidedAt
    if kind == .destroy, key.version > 0,
      let declared = try Self.manifestInForce(&unit).dataClass(key.dataClass)
    {
      notBefore = notBefore.adding(seconds: declared.destroyAfter.components.seconds)
    }
    switch kind {
    case .disable: key.state = .disabled
    case .destroy: key.state = .destroying
    case .create, .rotate, .rewrap, .enable, .retire: break
    }
    try unit.update(key)
    for task in try unit.pendingKeyTasks() where task.key == key.id && Self.mayFollow(kind, task.kind) {
      var task = task
      (task.state, task.endIndex) = (.cancelled, context.leafIndex)
      try unit.update(task)
    }
    try unit.insert(
      KeyTask(
        id: context.id.description, key: key.id, kind: kind, notBefore: notBefore.milliseconds,
        leafIndex: context.leafIndex))
    return [
      "key": .string(key.id), "task": .string(context.id.description), "kind": .string(kind.rawValue),
      "not_before": .string(notBefore.description),
    ]
  }

  /// Nothing is reserved for a decision.
  public func release(_ command: KeyCommand, context: CommandContext, in unit: inout Unit) throws {}

  // MARK: - Schedule

  /// Orders what the manifest's schedule asks for, in the transaction that records it.
  /// - Returns: the content of the event `key.due`; nil where nothing is due any more.
  public static func due(
    _ kind: KeyTask.Kind, key id: String, leafIndex index: UInt64, at now: Timestamp, in unit: inout Unit
  ) throws -> JSONObject? {
    guard let key = try unit.key(id), key.state == .active,
      try !unit.pendingKeyTasks().contains(where: { $0.key == id }),
      try isDue(kind, key, at: now, in: &unit)
    else { return nil }
    try unit.insert(
      KeyTask(id: "due_\(index)", key: id, kind: kind, notBefore: now.milliseconds, leafIndex: index))
    return ["key": .string(id), "kind": .string(kind.rawValue)]
  }

  /// Whether the schedule of the manifest in force asks for something now: a rotation when the newest version is old
  /// enough, a rewrap while data keys are under earlier versions, a retirement when a version is needed no more.
  static func isDue(_ kind: KeyTask.Kind, _ key: KeyRow, at now: Timestamp, in unit: inout Unit) throws -> Bool {
    guard let declared = try manifestInForce(&unit).dataClass(key.dataClass) else { return false }
    switch kind {
    case .rotate:
      return now >= Timestamp(milliseconds: key.since).adding(seconds: declared.rotateEvery.components.seconds)
    case .rewrap: return try key.version > 1 && unit.countDataKeys(of: key.id, versions: 1...(key.version - 1)) > 0
    case .retire:
      // Whether their time is over stands in the records, which the service looks at.
      guard key.version > 1, declared.retireAfter != nil else { return false }
      return try unit.keyVersions(of: key.id).contains { row in
        guard row.version < key.version else { return false }
        let last = try unit.lastKeyEvent(of: "\(key.id)/\(row.version)")
        return try last?.state != "destroyed"
          && unit.countDataKeys(of: key.id, versions: row.version...row.version) == 0
      }
    default: return false
    }
  }
}
