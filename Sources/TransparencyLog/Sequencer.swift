/// Decides when batches commit, are sealed and applied: the protocol of the two commits, without I/O and clock.
///
/// T1 commits commands under an unsigned head; the signer's file takes that head; the HSM signs it; the checkpoint is
/// published; T2 applies the batch, in one transaction with the next T1. Outcome leaves that T2 writes are sealed in
/// turn, by themselves when nothing waits.
///
/// Whoever drives it carries out each ``Action``, answers with the ``Input`` that the action names, and carries out
/// what comes back. Two things can be under way at once: one commit and one step of a seal. While a seal is under way the
/// next batch stays open until the signature returns, or until the timer closes it. A step that fails is tried again
/// when its timer fires, and until the failed step of a seal succeeds no further commit begins: nothing moves.
public struct Sequencer: Sendable {
  /// The limits.
  public struct Configuration: Sendable {
    /// The most commands in one batch.
    public let batchLimit: Int
    /// The most commands that may wait.
    public let queueLimit: Int

    /// Sets the limits, both at least 1.
    public init(batchLimit: Int = 512, queueLimit: Int = 4096) {
      precondition(batchLimit > 0 && queueLimit > 0, "the limits of a sequencer are positive")
      self.batchLimit = batchLimit
      self.queueLimit = queueLimit
    }
  }

  /// Some commands that commit together.
  public struct Batch: Hashable, Sendable {
    /// Counts up from 1 since the start; 0 names what the last run left unapplied.
    public let number: UInt64
    /// How many commands to take from the front of the queue.
    public let count: Int

    /// Names a batch.
    public init(number: UInt64, count: Int) {
      self.number = number
      self.count = count
    }
  }

  /// A timer to start.
  public struct Timer: Hashable, Sendable {
    /// What the timer is for, which decides how long it runs.
    public enum Purpose: Hashable, Sendable {
      /// Closes the open batch although the signature has not returned: 5 ms.
      case closeBatch
      /// Tries a step again: a backoff that grows with `attempt`, which starts at 1.
      case retry(Step, attempt: Int)
    }

    let number: UInt64
    /// What the timer is for.
    public let purpose: Purpose
  }

  /// A step that can fail.
  public enum Step: Hashable, Sendable {
    /// The transaction.
    case commit
    /// Writing the signer's file.
    case persistHead
    /// Signing by the HSM.
    case sign
    /// Publishing the checkpoint.
    case publish
  }

  /// What to do.
  public enum Action: Hashable, Sendable {
    /// Run one transaction: T2 of the batches in `applying`, then T1 of `new`. Answer
    /// ``Input/committed(_:owesOutcomes:)``.
    case commit(applying: [UInt64], new: Batch?)
    /// Make the head the last one of the signer's file. Answer ``Input/headPersisted``.
    case persistHead(TreeHead)
    /// Let the HSM sign the head. Answer ``Input/signed(note:)``.
    case sign(TreeHead)
    /// Publish the signed checkpoint, which seals every leaf below its size. Answer ``Input/published``.
    case publish(TreeHead, note: String)
    /// Start a timer. Answer ``Input/timer(_:)``; late answers do no harm.
    case setTimer(Timer)
    /// Stop: the log is read-only until an operator acts.
    case halt(HaltReason)
  }

  /// What happened.
  public enum Input: Hashable, Sendable {
    /// The transaction is durable and left this head. `owesOutcomes` tells whether its new batch holds authorised
    /// leaves, which T2 has yet to apply.
    case committed(TreeHead, owesOutcomes: Bool)
    /// The signer's file is on the disk.
    case headPersisted
    /// The HSM signed.
    case signed(note: String)
    /// The checkpoint is published.
    case published
    /// A step failed. Commands of a batch whose commit failed go back to the front of the queue.
    case failed(Step, Failure)
    /// A timer fired.
    case timer(Timer)
  }

  /// How a step failed.
  public enum Failure: Hashable, Sendable {
    /// It took no effect, or repeating it does no harm: try again.
    case transient
    /// Its effect is unknown: stop, and recover from what is durable.
    case unknown
    /// The signer refused the head as no extension of its last one.
    case fork
  }

  /// Why the log stopped.
  public enum HaltReason: Hashable, Sendable {
    /// The database holds less than was signed for: it was rolled back.
    case databaseBehind
    /// Two trees of one size exist.
    case forked
    /// The signer's file is older than the published checkpoint: it was rolled back.
    case signerBehind
    /// The effect of a step is unknown.
    case unknownOutcome(Step)
    /// An input came that no action asked for.
    case unexpectedInput
  }

  /// What survives a crash, read before the start.
  public struct DurableState: Sendable {
    /// The head that the database committed last.
    public var database: TreeHead
    /// The head in the signer's file.
    public var signer: TreeHead
    /// The head of the newest published checkpoint; nil before the first.
    public var published: TreeHead?
    /// True where the database holds authorised leaves without outcome.
    public var owesOutcomes: Bool

    /// Collects the state.
    public init(database: TreeHead, signer: TreeHead, published: TreeHead?, owesOutcomes: Bool) {
      self.database = database
      self.signer = signer
      self.published = published
      self.owesOutcomes = owesOutcomes
    }
  }

  private enum CommitLane {
    case idle
    case running(applying: [UInt64], new: Batch?)
    case backingOff(Timer)
  }

  private struct Seal {
    let head: TreeHead
    var action: Action
    var step: Step
    var attempt = 0
    var retry: Timer?
    var batchWasClosed = false
  }

  private let configuration: Configuration
  private var database: TreeHead
  private var published: TreeHead?
  /// Batches that wait for a published head of their size, oldest first.
  private var unsealed: [(number: UInt64, size: UInt64)] = []
  /// Batches that are sealed and not applied.
  private var ready: [UInt64] = []
  private var commit = CommitLane.idle
  private var commitAttempt = 0
  private var seal: Seal?
  private var mayCommitAhead = false
  private var closeTimer: Timer?
  private var timers: UInt64 = 0
  private var batches: UInt64 = 0

  /// How many commands wait.
  public private(set) var waiting = 0
  /// Why the log is read-only, or nil.
  public private(set) var haltReason: HaltReason?

  /// Starts from what is durable; ``start()`` gives the first actions.
  public init(recovering state: DurableState, configuration: Configuration = Configuration()) {
    self.configuration = configuration
    database = state.database
    published = state.published
    haltReason = Self.refusal(of: state)
    if state.owesOutcomes {
      if published == database { ready = [0] } else { unsealed = [(0, database.size)] }
    }
  }

  private static func refusal(of state: DurableState) -> HaltReason? {
    for signed in [state.signer, state.published ?? .empty] {
      switch HeadStanding(database: state.database, signer: signed) {
      case .databaseBehind: return .databaseBehind
      case .forked: return .forked
      case .inStep, .databaseAhead: break
      }
    }
    switch HeadStanding(database: state.signer, signer: state.published ?? .empty) {
    case .databaseBehind: return .signerBehind
    case .forked: return .forked
    case .inStep, .databaseAhead: return nil
    }
  }

  /// True where nothing waits, runs or is owed.
  public var isIdle: Bool {
    guard case .idle = commit, seal == nil else { return false }
    return waiting == 0 && ready.isEmpty && unsealed.isEmpty
  }

  // MARK: - Inputs

  /// Finishes what the last run left. Call once, first.
  public mutating func start() -> [Action] {
    if let haltReason { return [.halt(haltReason)] }
    return proceed()
  }

  /// Takes commands into the queue.
  ///
  /// - Throws: ``LogError/Code-swift.struct/overloaded`` when they do not all fit,
  ///   ``LogError/Code-swift.struct/readOnly`` once the log has halted; then none is taken.
  public mutating func submit(_ count: Int = 1) throws(LogError) -> [Action] {
    guard haltReason == nil else {
      throw LogError(.readOnly, "the log is read-only: ask its operator to look at the status")
    }
    precondition(count >= 0, "a number of commands is not negative")
    guard count <= configuration.queueLimit - waiting else {
      throw LogError(.overloaded, "\(waiting) commands wait already: try again in a moment")
    }
    waiting += count
    return proceed()
  }

  /// Takes in what happened.
  public mutating func receive(_ input: Input) -> [Action] {
    guard haltReason == nil else { return [] }
    switch input {
    case .committed(let head, let owesOutcomes): return committed(head, owesOutcomes)
    case .headPersisted: return sealed(.persistHead) { .sign($0) }
    case .signed(let note): return sealed(.sign) { .publish($0, note: note) }
    case .published: return sealed(.publish) { _ in nil }
    case .failed(_, .fork): return halt(.forked)
    case .failed(let step, .unknown): return halt(.unknownOutcome(step))
    case .failed(.commit, .transient): return commitFailed()
    case .failed(let step, .transient): return sealFailed(step)
    case .timer(let timer): return fired(timer)
    }
  }

  private mutating func committed(_ head: TreeHead, _ owesOutcomes: Bool) -> [Action] {
    guard case .running(_, let new) = commit else { return halt(.unexpectedInput) }
    guard head.size > database.size || head == database else { return halt(.forked) }
    // What is owed stands on a leaf, which only a larger tree can hold.
    guard !owesOutcomes || (new != nil && head.size > database.size) else { return halt(.unexpectedInput) }
    if let new, owesOutcomes { unsealed.append((new.number, head.size)) }
    database = head
    commit = .idle
    commitAttempt = 0
    return proceed()
  }

  private mutating func sealed(_ step: Step, _ next: (TreeHead) -> Action?) -> [Action] {
    guard var seal, seal.step == step, seal.retry == nil else { return halt(.unexpectedInput) }
    if let action = next(seal.head) {
      seal.action = action
      seal.step = step == .persistHead ? .sign : .publish
      seal.attempt = 0
      self.seal = seal
      return [action]
    }
    published = seal.head
    self.seal = nil
    ready += unsealed.prefix { $0.size <= seal.head.size }.map(\.number)
    unsealed.removeFirst(unsealed.prefix { $0.size <= seal.head.size }.count)
    // The signature has returned, so the open batch closes, even if a commit went ahead and its seal begins now.
    mayCommitAhead = true
    return proceed()
  }

  private mutating func commitFailed() -> [Action] {
    guard case .running(let applying, let new) = commit else { return halt(.unexpectedInput) }
    ready = applying + ready
    waiting += new?.count ?? 0
    commitAttempt += 1
    let timer = newTimer(.retry(.commit, attempt: commitAttempt))
    commit = .backingOff(timer)
    return [.setTimer(timer)]
  }

  private mutating func sealFailed(_ step: Step) -> [Action] {
    guard var seal, seal.step == step, seal.retry == nil else { return halt(.unexpectedInput) }
    seal.attempt += 1
    let timer = newTimer(.retry(step, attempt: seal.attempt))
    seal.retry = timer
    self.seal = seal
    return [.setTimer(timer)]
  }

  private mutating func fired(_ timer: Timer) -> [Action] {
    if case .backingOff(timer) = commit {
      commit = .idle
      return proceed()
    }
    if let seal, seal.retry == timer {
      self.seal?.retry = nil
      return [seal.action]
    }
    if closeTimer == timer, seal != nil {
      seal?.batchWasClosed = true
      mayCommitAhead = true
      return proceed()
    }
    return []
  }

  private mutating func halt(_ reason: HaltReason) -> [Action] {
    haltReason = reason
    return [.halt(reason)]
  }

  // MARK: - Decisions

  private mutating func proceed() -> [Action] {
    var actions: [Action] = []
    if seal == nil {
      closeTimer = nil
      if database != published {
        seal = Seal(head: database, action: .persistHead(database), step: .persistHead)
        actions.append(.persistHead(database))
      }
    }
    guard case .idle = commit else { return actions }
    guard waiting > 0 || !ready.isEmpty else {
      mayCommitAhead = false
      return actions
    }
    // While the signer is away nothing moves; after a retry that succeeds, the next signature opens the way again.
    if let seal, seal.attempt > 0 { return actions }
    if seal == nil || mayCommitAhead {
      actions.append(beginCommit())
    } else if seal?.batchWasClosed == false, closeTimer == nil {
      let timer = newTimer(.closeBatch)
      closeTimer = timer
      actions.append(.setTimer(timer))
    }
    return actions
  }

  private mutating func beginCommit() -> Action {
    var new: Batch?
    if waiting > 0 {
      batches += 1
      new = Batch(number: batches, count: min(waiting, configuration.batchLimit))
      waiting -= new?.count ?? 0
    }
    let applying = ready
    ready = []
    mayCommitAhead = false
    commit = .running(applying: applying, new: new)
    return .commit(applying: applying, new: new)
  }

  private mutating func newTimer(_ purpose: Timer.Purpose) -> Timer {
    timers += 1
    return Timer(number: timers, purpose: purpose)
  }
}
