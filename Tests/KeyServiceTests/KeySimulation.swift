import AgentIdentity
import CommandGate
import KeyHierarchy
import KeyManifests
@testable import KeyService
import Seal
import TestSupport
import Wire

/// Commands, uses, failures and crashes under one seed, with a model of which data keys must open for whom.
struct KeySimulation<Disk: KeyDisk> {
  private enum State: String { case active, disabled, destroyed }

  private struct Key {
    let id: String
    let dataClass: String
    var state: State
  }

  private struct Data {
    let drawn: DrawnKey
    let key: Int
    let context: Int
  }

  private struct Disagreement: Error, CustomStringConvertible {
    let description: String
  }

  /// By the manifest: who encrypts and who decrypts.
  private static var rights: [(dataClass: String, encrypt: [String], decrypt: [String])] {
    [
      ("files", ["owner", "agent", "officer"], ["owner", "agent", "officer"]),
      ("documents", ["owner", "agent", "officer"], ["owner", "officer", "approver"]),
      ("pii", ["owner", "agent", "officer"], ["owner", "officer"]),
    ]
  }

  private var deployment: KeyDeployment<Disk>
  private let random: SeededRandom
  private var keys: [Key] = []
  private var data: [Data] = []
  private(set) var tally: [String: Int] = [:]

  init(seed: UInt64, disk: (String) throws -> Disk) async throws {
    deployment = try await KeyDeployment.found(
      seed: seed, manifest: manifest(("retire_after: never", "retire_after: 5d")), disk: disk)
    random = SeededRandom(seed &* 7919 &+ 1)
  }

  mutating func run(steps: Int) async throws {
    while keys.count < 2 { _ = try await create() }
    for step in 0..<steps {
      let what: String
      switch random.below(20) {
      case 0, 1: what = try await create()
      case 2...4: what = try await draw()
      case 5...11: what = try await open()
      case 12...16: what = try await order()
      case 17:
        deployment.clock.advance(seconds: Int64(random.below(12 * 86_400)))
        for _ in 0..<2 { try await deployment.service.tend() }
        what = "time"
      case 18:
        deployment = try await deployment.restarted()
        what = "restart"
      default:
        try await deployment.service.tend()
        what = "tend"
      }
      tally[what, default: 0] += 1
      try await check("step \(step), \(what)")
    }
    for last in [false, true] {
      if last { deployment = try await deployment.restarted() }
      for entry in data { try await compare(entry, deployment.owner, "at the end") }
    }
    await deployment.stop()
  }

  // MARK: - Steps

  private mutating func create() async throws -> String {
    let dataClass = random.pick(Self.rights).dataClass
    let exists = keys.contains { $0.dataClass == dataClass && $0.state != .destroyed }
    let task: (key: String, id: String)
    do {
      let receipt = try await deployment.submit("/v1/keys", ["class": .string(dataClass)])
      task = (try receipt.text("key"), receipt.command.id.description)
    } catch let problem as Problem {
      try demand(exists && problem.code == "key_exists", "\(problem)")
      return "create refused"
    }
    try demand(!exists, "a second key of a class was made")
    keys.append(Key(id: task.key, dataClass: dataClass, state: .active))
    return "create" + (try await carryOut(task.id, "key.created"))
  }

  private mutating func order() async throws -> String {
    guard let index = pickKey() else { return "nothing" }
    let key = keys[index]
    var verbs = ["rotate", "rotate", "rotate", "rewrap", "rewrap", "rewrap", "disable", "enable"]
    if random.below(4) == 0 { verbs = ["destroy"] }
    // What does not fit is tried now and then.
    if key.state == .disabled, random.below(3) > 0 { verbs = ["enable"] }
    let verb = random.pick(verbs)
    let expected: String? =
      switch (key.state, verb) {
      case (.destroyed, _): "key_destroyed"
      case (.active, "enable"): "key_enabled"
      case (.disabled, "rotate"), (.disabled, "rewrap"), (.disabled, "disable"): "key_disabled"
      default: nil
      }
    let task: String
    do { task = try await deployment.command(verb, key.id) } catch let problem as Problem {
      try demand(problem.code == expected, "\(verb): \(problem.code), not \(expected ?? "done")")
      return verb + " refused"
    }
    try demand(expected == nil, "\(verb) was taken, not \(expected ?? "")")
    switch verb {
    case "disable": keys[index].state = .disabled
    case "enable": keys[index].state = .active
    case "destroy": keys[index].state = .destroyed
    default: break
    }
    let kinds = [
      "rotate": "rotated", "rewrap": "rewrapped", "disable": "disabled", "enable": "enabled", "destroy": "destroyed",
    ]
    return verb + (try await carryOut(task, "key." + (kinds[verb] ?? "")))
  }

  /// Has a task carried out, in a third of all cases with trouble, after which it is done all the same.
  private mutating func carryOut(_ task: String, _ kind: String) async throws -> String {
    let token = deployment.tokens[0]
    var how = ""
    switch random.below(6) {
    case 0:
      let point = random.pick(
        [.beforeLeaf(kind), .afterLeaf(kind), .beforeScrub] as [HookedRecorder<Disk.Store>.Point])
      deployment.recorder.crash(at: point)
      _ = await code { try await deployment.service.carryOut(task) }
      deployment = try await deployment.restarted()
      try await deployment.service.tend()
      how = ", crash"
    case 1:
      token.reset()
      token.fail(
        random.pick(HSMTroubleTests.failures).code, atCall: 1 + random.below(8), isCarriedOut: random.below(2) == 0)
      _ = await code { try await deployment.service.carryOut(task) }
      token.reset()
      try await deployment.service.tend()
      how = ", trouble"
    default: try await deployment.service.carryOut(task)
    }
    let state = try await deployment.service.outcome(ofTask: task)?["task_state"]
    try demand(state == "done", "the task is \(state?.string ?? "nowhere")\(how)")
    return how
  }

  private var parties: [TestParty] {
    let parties = deployment.parties
    return [deployment.owner, parties.agent, deployment.officer, parties.approver, parties.foreignOwner]
  }

  private func pickParty() -> TestParty { random.below(2) == 0 ? deployment.owner : random.pick(parties) }

  /// Mostly a key that is not destroyed.
  private func pickKey() -> Int? {
    let live = keys.indices.filter { keys[$0].state != .destroyed }
    if !live.isEmpty, random.below(6) > 0 { return random.pick(live) }
    return keys.isEmpty ? nil : random.below(keys.count)
  }

  private mutating func draw() async throws -> String {
    guard let index = pickKey() else { return "nothing" }
    let (key, party, context) = (keys[index], pickParty(), random.below(3))
    let expected = refusal(of: party, key, \.encrypt, unknown: "key_not_found")
    var drawn: DrawnKey?
    let end = await code {
      drawn = try await deployment.make(key.id, by: party, try KeyDeployment<Disk>.context("\(context)"))
    }
    try demand(end == expected, "drawing by \(party.principal.id): \(end ?? "done"), not \(expected ?? "done")")
    if let drawn { data.append(Data(drawn: drawn, key: index, context: context)) }
    return end.map { "draw refused, \($0)" } ?? "draw"
  }

  private mutating func open() async throws -> String {
    guard !data.isEmpty else { return "nothing" }
    let live = data.filter { keys[$0.key].state == .active }
    let entry = random.pick(live.isEmpty || random.below(5) == 0 ? data : live)
    return try await compare(entry, pickParty(), "", wrong: random.below(6) == 0)
  }

  // MARK: - Model

  private func refusal(
    of party: TestParty, _ key: Key,
    _ list: KeyPath<(dataClass: String, encrypt: [String], decrypt: [String]), [String]>,
    unknown: String
  ) -> String? {
    guard party.principal.tenant == TestWorld.tenant else { return unknown }
    let permitted = Self.rights.first { $0.dataClass == key.dataClass }?[keyPath: list] ?? []
    guard permitted.contains(party.principal.kind.rawValue) else { return "key_use_not_permitted" }
    return switch key.state {
    case .active: nil
    case .disabled: "key_disabled"
    case .destroyed: "key_destroyed"
    }
  }

  @discardableResult
  private func compare(
    _ entry: Data, _ party: TestParty, _ when: String, wrong: Bool = false
  ) async throws -> String {
    let expected =
      refusal(of: party, keys[entry.key], \.decrypt, unknown: "data_key_not_found")
      ?? (wrong ? "context_mismatch" : nil)
    var opened: [UInt8]?
    let context = try KeyDeployment<Disk>.context("\(entry.context + (wrong ? 1 : 0))")
    let end = await code { opened = try await deployment.open(entry.drawn.id, by: party, context) }
    try demand(end == expected, "opening by \(party.principal.id) \(when): \(end ?? "done"), not \(expected ?? "done")")
    try demand(opened == (expected == nil ? entry.drawn.secret : nil), "other bytes were delivered \(when)")
    return end.map { "open refused, \($0)" } ?? "open"
  }

  private func check(_ when: String) async throws {
    for key in keys {
      let row = try await deployment.key(key.id)
      try demand(row.state.rawValue == key.state.rawValue, "\(when): \(key.id) is \(row.state)")
    }
    let pending = try await deployment.pending()
    try demand(pending.isEmpty, "\(when): \(pending.map(\.kind)) pending")
  }

  private func demand(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    guard holds else { throw Disagreement(description: what()) }
  }
}
