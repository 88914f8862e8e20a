import Testing
import TransparencyLog

/// Steele, Lea and Flood's generator, so that a seed names a run.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// A broken invariant.
struct Violation: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A world around the sequencer: what is durable, what a crash loses, and the invariants between them.
struct SequencerModel {
  // Durable.
  private var heads = [TreeHead.empty]
  private var authorised: [Int: UInt64] = [:]  // command → size of the tree that first held its leaf
  private var outcomes: Set<Int> = []
  private var signerHead = TreeHead.empty
  private var published: TreeHead?
  private var signed: [UInt64: MerkleHash] = [:]
  // Lost in a crash.
  private var sequencer: Sequencer
  private var queue: [Int] = []
  private var batches: [UInt64: [Int]] = [:]
  private var running: [Sequencer.Action] = []
  private var timers: [Sequencer.Timer] = []
  // Book-keeping.
  private var random: SplitMix64
  private let configuration: Sequencer.Configuration
  private var commands = 0
  private var recorded: Set<Int> = []
  private var lost: Set<Int> = []
  private(set) var signatures = 0
  private(set) var crashes = 0
  private(set) var commitsAhead = 0

  init(seed: UInt64, configuration: Sequencer.Configuration) {
    random = SplitMix64(state: seed)
    self.configuration = configuration
    sequencer = Sequencer(
      recovering: .init(database: .empty, signer: .empty, published: nil, owesOutcomes: false),
      configuration: configuration)
  }

  private var database: TreeHead { heads[heads.count - 1] }
  private var unapplied: [Int] { authorised.keys.filter { !outcomes.contains($0) }.sorted() }

  private func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    if !holds { throw Violation(what()) }
  }

  mutating func explore(steps: Int) throws {
    try take(sequencer.start())
    for _ in 0..<steps { try step() }
    try settle()
  }

  private mutating func step() throws {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<30: try submit(Int.random(in: 1...4, using: &random))
    case 30..<80: try finishOne(failing: Int.random(in: 0..<6, using: &random) == 0)
    case 80..<97: try fireOne()
    default: try crash()
    }
  }

  /// Lets everything succeed until nothing is left to do, and looks at what became of every command.
  private mutating func settle() throws {
    var left = 10_000
    while !running.isEmpty || !timers.isEmpty {
      left -= 1
      try require(left > 0, "the machine does not come to rest")
      if running.isEmpty { try fireOne() } else { try finishOne(failing: false) }
    }
    try require(sequencer.isIdle && sequencer.haltReason == nil, "not idle at rest: \(sequencer)")
    try require(queue.isEmpty && unapplied.isEmpty, "commands are left over")
    try require(published == database, "leaves are left unsealed")
    try require(recorded.union(lost).count == commands && recorded.isDisjoint(with: lost), "a command was forgotten")
  }

  private mutating func submit(_ count: Int) throws {
    let actions: [Sequencer.Action]
    do {
      actions = try sequencer.submit(count)
    } catch {
      try require(error.code == .overloaded && queue.count + count > configuration.queueLimit, "refused: \(error)")
      return
    }
    queue += commands..<(commands + count)
    commands += count
    try take(actions)
  }

  private mutating func finishOne(failing: Bool) throws {
    guard let place = running.indices.randomElement(using: &random) else { return }
    let action = running.remove(at: place)
    if failing {
      if case .commit(_, let new?) = action { queue = (batches[new.number] ?? []) + queue }
      // A signature may exist although its answer was lost.
      if case .sign = action, Bool.random(using: &random) { _ = try carryOut(action) }
      try take(sequencer.receive(.failed(step(of: action), .transient)))
    } else {
      try take(sequencer.receive(carryOut(action)))
    }
  }

  private mutating func fireOne() throws {
    guard let place = timers.indices.randomElement(using: &random) else { return }
    let timer = timers.remove(at: place)
    try take(sequencer.receive(.timer(timer)))
    if Int.random(in: 0..<4, using: &random) == 0 { try take(sequencer.receive(.timer(timer))) }
  }

  /// Each step under way took effect or did not; then only what is durable is left.
  private mutating func crash() throws {
    crashes += 1
    for action in running where Bool.random(using: &random) { _ = try carryOut(action) }
    lost.formUnion((0..<commands).filter { !recorded.contains($0) })
    (queue, running, timers) = ([], [], [])
    batches = [0: unapplied]
    sequencer = Sequencer(
      recovering: .init(
        database: database, signer: signerHead, published: published, owesOutcomes: !unapplied.isEmpty),
      configuration: configuration)
    try take(sequencer.start())
  }

  private func step(of action: Sequencer.Action) -> Sequencer.Step {
    switch action {
    case .persistHead: .persistHead
    case .sign: .sign
    case .publish: .publish
    default: .commit
    }
  }

  /// Takes over what the machine wants done, and fills a batch as its commit begins.
  private mutating func take(_ actions: [Sequencer.Action]) throws {
    for action in actions {
      switch action {
      case .setTimer(let timer): timers.append(timer)
      case .halt(let reason): throw Violation("halted: \(reason)")
      case .commit(_, let new):
        if let new {
          try require((1...configuration.batchLimit).contains(new.count), "a batch of \(new.count)")
          try require(new.count <= queue.count, "a batch takes more than waits")
          try require(batches[new.number] == nil, "batch number \(new.number) is used twice")
          batches[new.number] = Array(queue.prefix(new.count))
          queue.removeFirst(new.count)
        }
        if running.contains(where: { step(of: $0) != .commit }) { commitsAhead += 1 }
        running.append(action)
      default: running.append(action)
      }
      let commits = running.count { step(of: $0) == .commit }
      try require(commits <= 1 && running.count - commits <= 1, "two of a lane run at once: \(running)")
    }
    try require(sequencer.waiting == queue.count, "the queues differ")
  }

  /// Takes the durable effect of an action, and holds it to the rules.
  private mutating func carryOut(_ action: Sequencer.Action) throws -> Sequencer.Input {
    switch action {
    case .commit(let applying, let new):
      return try commit(applying, new)
    case .persistHead(let head):
      try require(heads.contains(head), "a head is persisted before its commit")
      try require(head.size >= signerHead.size, "the signer's head goes back")
      signerHead = head
      return .headPersisted
    case .sign(let head):
      try require(signerHead == head, "signed before its head is in the file")
      try require(signed[head.size] ?? head.root == head.root, "two heads of size \(head.size) are signed")
      signed[head.size] = head.root
      signatures += 1
      return .signed(note: "\(head.size) \(head.root)")
    case .publish(let head, let note):
      try require(signed[head.size] == head.root && note == "\(head.size) \(head.root)", "published before signed")
      try require(head.size >= published?.size ?? 0, "the published head goes back")
      published = head
      return .published
    case .setTimer, .halt:
      throw Violation("no step")
    }
  }

  private mutating func append(_ text: String) {
    heads.append(TreeHead(size: database.size + 1, root: .node(database.root, .leaf(Array(text.utf8)))))
  }

  private mutating func commit(_ applying: [UInt64], _ new: Sequencer.Batch?) throws -> Sequencer.Input {
    for number in applying {
      for command in batches[number] ?? [] {
        guard let size = authorised[command] else { continue }
        try require(size <= published?.size ?? 0, "command \(command) is applied before its leaf is published")
        try require(outcomes.insert(command).inserted, "command \(command) is applied twice")
        append("outcome \(command)")
      }
    }
    var owes = false
    for command in new.flatMap({ batches[$0.number] }) ?? [] {
      try require(recorded.insert(command).inserted, "command \(command) is in two batches")
      switch Int.random(in: 0..<6, using: &random) {
      case 0: append("denied \(command)")
      case 1: break  // Refused without a leaf: its savepoint was rolled back.
      default:
        append("authorized \(command)")
        authorised[command] = database.size
        owes = true
      }
    }
    return .committed(database, owesOutcomes: owes)
  }
}
