import AgentIdentity
import CommandGate
import Consent
import Cosign
import Foundation
import Ledger
import Payments
import Seal
import Synchronization
import TestSupport
import TransparencyLog
import Wire

/// What somebody does in a step.
enum Deed: Sendable {
  case command(SignedCommand, ModelCommand)
  case expirePayment(String)
  case expireHold(String)
  case cutFile

  /// Under what the gate keeps a command; nil for an event.
  var key: [UInt8]? {
    guard case .command(let signed, _) = self else { return nil }
    return IdempotencyScope.digest(
      tenant: signed.principal.tenant, principal: signed.principal.id, key: signed.idempotencyKey)
  }
}

/// How a deed was answered.
enum Reply: Hashable, Sendable {
  case receipt([UInt8], isHeld: Bool)
  case refused(String)
  /// An event, with its leaf where it left one.
  case recorded(UInt64?)

  var verdict: Verdict? {
    switch self {
    case .receipt(_, let isHeld): isHeld ? .held : .done
    case .refused(let code): .refused(code)
    case .recorded: nil
    }
  }
}

/// What was answered in this life, by the deed's place in the step; and the image that a crash leaves.
final class Watch<Disk: SimulatedDisk>: Sendable {
  struct State {
    var replies: [Int: Reply] = [:]
    var steps: [GateStep: Int] = [:]
    var left = -1
    var crash: (step: GateStep, open: @Sendable () throws -> Disk, replies: [Int: Reply])?
    var disk: Disk?
    var failure: (any Error)?
  }
  private let state = Mutex(State())

  func with<Result>(_ body: (inout State) throws -> Result) rethrows -> Result { try state.withLock { try body(&$0) } }

  /// Starts a step, and has the process crash after so many steps of the gate; never, where it is negative.
  func begin(on disk: Disk, crashAfter left: Int) {
    with { state in
      (state.replies, state.disk, state.left, state.crash) = ([:], disk, left, nil)
      state.steps = [:]
    }
  }

  func after(_ step: GateStep) {
    with { state in
      state.steps[step, default: 0] += 1
      guard state.left >= 0, state.crash == nil else { return }
      if state.left == 0, let disk = state.disk {
        do { state.crash = (step, try disk.image(), state.replies) } catch { state.failure = error }
      }
      state.left -= 1
    }
  }
}

/// Something is not as it must be.
struct Discrepancy: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A leaf with what is stored beside it.
struct LeafRecord: Sendable {
  let leaf: Leaf
  let time: Timestamp
  let command: CommandRecord?
  let content: [UInt8]?
}

/// One world from one seed, step by step, with the model beside it.
final class Simulation<Disk: SimulatedDisk> {
  let seed: UInt64
  let executor: OneByOne
  let dice: SeededRandom
  let world: SimulatedWorld
  let watch = Watch<Disk>()
  var disk: Disk
  var life: Life<Disk>
  /// Whether the HSM may be held in this life, so that one batch is recorded while another waits for its signature.
  var isSlow: Bool
  var model = Model()
  /// How many leaves the model was told of.
  var told: UInt64 = 0
  var people: [Person] = []
  var hardware: [String: Person] = [:]
  /// Versions of consents that somebody drew up.
  var drafts: [String: ConsentTerms] = [:]
  /// The consent whose limit the clock was set for.
  var focus: String?
  /// Decisions that were tapped and not sent yet.
  var tapped: [Deed] = []
  /// Every command, with the answer that it was given.
  var given: [(deed: Deed, reply: Reply)] = []
  /// The decision that each command had to get.
  var verdicts: [[UInt8]: Verdict] = [:]
  var commands: [[UInt8]: ModelCommand] = [:]
  /// The log's size and root at the end.
  var last = ""
  var history: [String] = []
  var step = 0
  /// For the report.
  var tally: [String: Int] = [:]

  init(seed: UInt64, on executor: OneByOne) async throws {
    self.seed = seed
    self.executor = executor
    dice = SeededRandom(seed &* 0x9E37_79B9 &+ 7)
    // Some hours before the clocks change somewhere.
    let changes: [Int64] = [
      1_805_007_600, 1_806_195_600, 1_809_036_000, 1_825_032_600, 1_825_635_600, 1_800_000_000, 1_824_757_200,
    ]
    let start = changes[dice.below(changes.count)] - Int64(dice.below(60_000))
    world = try SimulatedWorld(seed: seed, start: Timestamp(seconds: start))
    disk = try Disk(folder: try TemporaryFolder.make())
    try await world.found(disk)
    isSlow = false
    let watch = watch
    watch.begin(on: disk, crashAfter: -1)
    life = try await Life(world, disk, on: executor, isSlow: false) { watch.after($0) }
    try await populate()
  }

  // MARK: - Steps

  func run(steps: Int) async throws {
    do {
      for number in 0..<steps {
        step = number
        try await advance()
      }
      step = steps
      try await finish()
    } catch {
      let last = history.suffix(12).map { "  " + $0 }.joined(separator: "\n")
      throw Discrepancy(
        "\(error)\nseed \(seed) on \(Disk.self), step \(step) of \(steps); the last steps:\n\(last)\n"
          + "again: TRUSTCORE_SEED=\(seed) swift test --filter PaymentsSimulation")
    }
  }

  private func advance() async throws {
    moveClock()
    var deeds = try await drawDeeds()
    // Some ask twice at once, some ask again what was answered long ago.
    if dice.below(4) == 0 { deeds.append(dice.pick(deeds)) }
    if dice.below(4) == 0, !given.isEmpty { deeds.append(given[dice.below(given.count)].deed) }
    if dice.below(3) == 0 { deeds = shuffled(deeds) }
    let isCrash = dice.below(4) == 0
    // In a slow life every signature waits, or the gate's timer and the signature would race on the real clock.
    let delay = isSlow ? Int64(dice.below(2) == 0 ? 301_000 : dice.below(200_000)) : nil
    history.append(
      "\(step) at \(world.clock.now())\(isCrash ? ", crash" : "")\(delay.map { ", delay \($0) ms" } ?? ""): "
        + deeds.map(describe).joined(separator: "; "))
    try await carryOut(deeds, crashAfter: isCrash ? dice.below(11) : -1, delay: delay)
  }

  func carryOut(_ deeds: [Deed], crashAfter left: Int = -1, delay: Int64? = nil) async throws {
    for deed in deeds {
      if let key = deed.key, case .command(_, let command) = deed { commands[key] = command }
    }
    watch.begin(on: disk, crashAfter: left)
    if delay != nil { world.custodian.hold(true) }
    submit(Array(deeds.enumerated()))
    if let delay {
      // The rest of them is recorded while the first one waits for its signature.
      let commits = deeds.count > 1 ? 2 : 1
      while watch.with({ ($0.steps[.t1] ?? 0) < commits && $0.replies.count < deeds.count }) { await Task.yield() }
      world.clock.advance(milliseconds: delay)
      world.custodian.hold(false)
    }
    try await answered(deeds.count)
    try await life.settle()
    if let failure = watch.with({ $0.failure }) { throw failure }
    if let crash = watch.with({ $0.crash }) { try await restart(after: crash, deeds) }
    try await repeatUnanswered(deeds)
    try await compare(deeds)
  }

  /// An orderly stop and a new start.
  func reopen(isSlow: Bool) async throws {
    let watch = watch
    await life.stop()
    // The signer that was stopped may still have its file open.
    let open = try disk.image()
    try disk.close()
    disk = try open()
    self.isSlow = isSlow
    life = try await Life(world, disk, on: executor, isSlow: isSlow) { watch.after($0) }
  }

  private func submit(_ deeds: [(offset: Int, element: Deed)]) {
    for (place, deed) in deeds { Self.start(place, deed, life, watch, executor) }
  }

  private static func start(
    _ place: Int, _ deed: Deed, _ life: Life<Disk>, _ watch: Watch<Disk>, _ executor: OneByOne
  ) {
    Task(executorPreference: executor) {
      let reply = await Self.reply(to: deed, life)
      watch.with { $0.replies[place] = reply }
    }
  }

  private func answered(_ count: Int) async throws {
    while watch.with({ $0.replies.count < count }) { await Task.yield() }
  }

  private static func reply(to deed: Deed, _ life: Life<Disk>) async -> Reply {
    let (payments, ledger) = (life.payments, life.ledger)
    do {
      switch deed {
      case .command(let signed, _):
        let receipt = try await life.gate.submit(signed, to: Life<Disk>.audience(of: signed.path))
        return .receipt(JSONValue.object(receipt.json).canonical(), isHeld: receipt.command.state == .held)
      case .expirePayment(let id):
        return .recorded(
          try await life.gate.record { unit, moment in
            try payments.expire(id, at: moment.time, in: &unit).map {
              EventRecord(kind: "payment.expired", content: $0)
            }
          })
      case .expireHold(let id):
        return .recorded(
          try await life.gate.record { unit, moment in
            try ledger.expire(id, at: moment.time, in: &unit).map { EventRecord(kind: "hold.expired", content: $0) }
          })
      case .cutFile:
        return .recorded(
          try await life.gate.record { unit, moment in
            try payments.cutFile(tenant: TestWorld.tenant, at: moment.time, leafIndex: moment.leafIndex, in: &unit)
              .map { EventRecord(kind: "rail.file", content: $0) }
          })
      }
    } catch let denied as Denied {
      return .refused(denied.problem.code)
    } catch let problem as Problem {
      return .refused(problem.code)
    } catch {
      return .refused("\(error)")
    }
  }

  /// The next life, from what the crash left. What was answered before it must be answered again, byte for byte.
  private func restart(
    after crash: (step: GateStep, open: @Sendable () throws -> Disk, replies: [Int: Reply]), _ deeds: [Deed]
  ) async throws {
    tally["crash after \(crash.step.rawValue)", default: 0] += 1
    await life.stop()
    try disk.close()
    disk = try crash.open()
    if dice.below(3) == 0 { world.clock.advance(milliseconds: Int64(dice.below(400_000))) }
    isSlow = dice.below(4) == 0
    let (again, watch) = (deeds.enumerated().filter { $0.element.key != nil }, watch)
    watch.begin(on: disk, crashAfter: -1)
    life = try await Life(world, disk, on: executor, isSlow: isSlow) { watch.after($0) }
    guard await life.gate.mode == .running else { throw Discrepancy("the log is read-only after \(crash.step)") }
    // First what the crash left is finished: a client asks again only later.
    try await life.settle()
    submit(again)
    try await answered(again.count)
    try await life.settle()
    watch.with { state in
      for (place, deed) in deeds.enumerated() where deed.key == nil { state.replies[place] = .recorded(nil) }
    }
    let replies = watch.with { $0.replies }
    for (place, reply) in crash.replies where deeds[place].key != nil && reply != .refused("idempotency_key_in_flight")
    {
      guard replies[place] == reply else {
        throw Discrepancy(
          "\(describe(deeds[place])) was answered \(reply) before the crash after \(crash.step), and "
            + "\(String(describing: replies[place])) after it")
      }
    }
  }

  /// Whoever was told that the first request is under way asks again.
  private func repeatUnanswered(_ deeds: [Deed]) async throws {
    let replies = watch.with { $0.replies }
    let open = deeds.enumerated().filter { replies[$0.offset] == .refused("idempotency_key_in_flight") }
    guard !open.isEmpty else { return }
    watch.with { state in for (place, _) in open { state.replies[place] = nil } }
    submit(open)
    try await answered(deeds.count)
    try await life.settle()
  }

  // MARK: - Small things

  func describe(_ deed: Deed) -> String {
    switch deed {
    case .command(_, let command): "\(command.by) \(command.intent)"
    case .expirePayment(let id): "sweep payment \(id)"
    case .expireHold(let id): "sweep hold \(id)"
    case .cutFile: "cut a file"
    }
  }

  func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var (rest, result) = (elements, [Element]())
    while !rest.isEmpty { result.append(rest.remove(at: dice.below(rest.count))) }
    return result
  }
}
