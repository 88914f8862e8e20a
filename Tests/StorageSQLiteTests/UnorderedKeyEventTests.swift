import CommandGate
import KeyService
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire

/// A service of keys that does what nobody has ordered: log and tables agree with it, and the audit finds it.
@Suite struct UnorderedKeyEventTests {
  enum Lie: String, CaseIterable, Sendable {
    case destroysByItself, completesAnotherTask, destroysTooEarly, skipsAVersion, statesNoVersion, disablesHalf
    case rewrapsAFurtherRevision, rewrapsTwoKeysAsOne, makesADataKeyOfADisabledKey, retiresWhatIsNeeded
    case revivesADestroyedVersion, writesAnothersRecord, publishesAFirstManifestAgain, ordersWhatIsNotDue
    case recoversIntoAnotherState, destroysADataKey
  }

  @Test(arguments: Lie.allCases) func areFound(_ lie: Lie) async throws {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let store = try SQLiteStore(path: folder + "/s.sqlite")
    try await world.found(store, headFile: folder + "/head")
    let d = try await KeyDeployment(world, store: store, headFile: folder + "/head")
    try await d.publishFirst()
    let (files, mail) = (try await d.make("files", dataKeys: ["a"]), try await d.make("mail", dataKeys: ["b"]))
    let rotate = try await d.order(.rotate, files)
    let first = try await Self.tell(lie, d, files, mail, rotate: rotate)
    await d.stop()
    try store.close()
    let findings = try DeploymentAudit(database: folder + "/s.sqlite", genesis: world.genesisText).run().findings
    #expect(findings.first?.place == "leaf \(first)", "\(findings)")
  }

  /// - Returns: the leaf of the lie.
  private static func tell(
    _ lie: Lie, _ d: KeyDeployment, _ files: String, _ mail: String, rotate: String
  ) async throws -> UInt64 {
    func rotated() async throws {
      try await d.change(
        "key.rotated", files, task: rotate, version: 2,
        [d.version(files, 2, "active"), d.version(files, 1, "retired")])
    }
    func next() async throws -> UInt64 {
      while true {
        let waits = try await d.store.read { unit in try !unit.unfinished().isEmpty }
        if !waits { return try await d.store.read { unit in try unit.head()?.size ?? 0 } }
        await Task.yield()
      }
    }
    var leaf = try await next()
    switch lie {
    case .destroysByItself:
      try await d.change("key.destroyed", mail, state: .destroyed, [d.version(mail, 1, "destroyed")])
    case .completesAnotherTask:
      try await d.change("key.disabled", files, task: rotate, state: .disabled, [d.version(files, 1, "disabled")])
    case .destroysTooEarly:
      let task = try await d.order(.destroy, mail)
      leaf = try await next()
      try await d.change("key.destroyed", mail, task: task, state: .destroyed, [d.version(mail, 1, "destroyed")])
    case .skipsAVersion:
      try await d.change(
        "key.rotated", files, task: rotate, version: 3,
        [d.version(files, 3, "active"), d.version(files, 1, "retired")])
    case .statesNoVersion: try await d.change("key.rotated", files, task: rotate, [d.version(files, 1, "active")])
    case .disablesHalf:
      try await rotated()
      let task = try await d.order(.disable, files)
      leaf = try await next()
      try await d.change("key.disabled", files, task: task, state: .disabled, [d.version(files, 2, "disabled")])
    case .rewrapsAFurtherRevision: try await d.change("key.rewrapped", files, [d.record("dek_a", 3, "active")])
    case .rewrapsTwoKeysAsOne: try await d.change("key.rewrapped", files, [d.record("dek_b", 2, "active")])
    case .makesADataKeyOfADisabledKey:
      try await d.order(.disable, mail)
      leaf = try await next()
      try await d.change("data-key.created", mail, [d.record("dek_c", 1, "active")])
    case .retiresWhatIsNeeded:
      try await rotated()
      d.world.clock.advance(seconds: 2 * 86_400)
      let rewrap = try await d.due(.rewrap, files)
      try await d.change("key.rewrapped", files, [d.record("dek_a", 2, "active")])
      try await d.change("key.rewrapped", files, task: rewrap)
      let task = try await d.due(.retire, files)
      leaf = try await next()
      try await d.change("key.retired", files, task: task, [d.version(files, 2, "destroyed")])
    case .revivesADestroyedVersion:
      let task = try await d.order(.destroy, mail)
      d.world.clock.advance(seconds: 8 * 86_400)
      try await d.change("key.destroyed", mail, task: task, state: .destroyed, [d.version(mail, 1, "destroyed")])
      leaf = try await next()
      try await d.change("key.recovered", mail, [d.version(mail, 1, "active")])
    case .writesAnothersRecord: try await d.change("key.recovered", files, [d.version(mail, 1, "active")])
    case .recoversIntoAnotherState: try await d.change("key.recovered", mail, [d.version(mail, 1, "retired")])
    case .destroysADataKey: try await d.change("key.rewrapped", files, [d.record("dek_a", 2, "destroyed")])
    case .publishesAFirstManifestAgain: try await d.publishFirst()
    case .ordersWhatIsNotDue:
      try await d.gate.record { unit, moment in
        try unit.insert(
          KeyTask(
            id: "due_\(moment.leafIndex)", key: mail, kind: .rotate, notBefore: moment.time.milliseconds,
            leafIndex: moment.leafIndex))
        return EventRecord(kind: "key.due", content: ["key": .string(mail), "kind": "rotate"])
      }
    }
    return leaf
  }
}
