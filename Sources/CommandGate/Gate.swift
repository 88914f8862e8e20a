import AgentIdentity
public import Seal
public import TransparencyLog
public import Wire

/// What stands between a signed command and its effect: decided, recorded and reserved in one commit (T1), sealed by
/// the HSM, and only then carried out (T2).
///
/// One task runs ``run()``; it takes what has been submitted in batches, so that one commit and one signature serve
/// many commands. T2 of one batch shares the transaction of the next batch's T1.
public actor Gate<Store: UnitStore> {
  /// The unit of work of the storage.
  public typealias Unit = Store.Unit

  /// What a gate is told once.
  public struct Configuration: Sendable {
    /// The deployment's environment, which leaves name.
    public var environment: String
    /// At most so many submissions in one transaction.
    public var batchLimit = 512
    /// At most so many submissions waiting; above it they are refused.
    public var queueLimit = 4096
    /// How long to wait before the HSM or the storage is tried again, in milliseconds; it doubles up to 32 times.
    public var retryDelay = 50
    /// How long a batch stays open for a signature that does not return, in milliseconds.
    public var closeDelay = 5
    /// How long signatures may fail before those who wait for one are told, in milliseconds.
    public var signingPatience = 10_000
    /// Called after each step; the product leaves it alone.
    public var onStep: @Sendable (GateStep) -> Void = { _ in }

    /// A configuration for an environment.
    public init(environment: String) { self.environment = environment }
  }

  /// Whether commands are taken.
  public enum Mode: Sendable, Equatable {
    /// They are.
    case running
    /// They are not: the database is not what the signer last signed, so only a ceremony can go on.
    case readOnly(String)
    /// They are not: the gate has stopped.
    case stopped
  }

  private let store: Store
  private let signer: CheckpointSigner
  private let modules: [String: any CommandModule<Unit>]
  private let time: any TimeSource
  private let random: any RandomSource
  private let configuration: Configuration
  private let transaction: BatchTransaction<Unit>

  private var sequencer: Sequencer?
  private var queue: [Submission<Unit>] = []
  private var tree = MerkleTree()
  /// The newest head that the modules have accepted.
  private var acceptedSize: UInt64 = 0
  /// Commands between T1 and their seal, by batch.
  private var unsealed: [(batch: UInt64, size: UInt64, commands: [InFlight<Unit>])] = []
  /// Sealed batches that wait for T2.
  private var sealed: [UInt64: SealedBatch<Unit>] = [:]
  /// A published checkpoint that the database does not hold yet.
  private var unstored: UnverifiedCheckpoint?
  private var commitFailures = 0
  /// Since when the log's key signs nothing; nil while it does.
  private var unsignedSince: Timestamp?
  private var isStopping = false
  /// The time of the newest leaf.
  private var lastTime = Timestamp(milliseconds: 0)
  /// The newest checkpoint as each module accepted it, by audience.
  private var accepted: [String: AcceptedCheckpoint] = [:]
  private let actions: AsyncStream<Sequencer.Action>
  private let act: AsyncStream<Sequencer.Action>.Continuation
  /// Whether commands are taken.
  public private(set) var mode: Mode = .stopped

  /// The checkpoint that is public, as a signed note; nil until there is one.
  public nonisolated let published = PublishedCheckpoint()

  /// Makes a gate over opened parts; ``recover(genesis:)`` must come before ``run()``.
  public init(
    store: Store, signer: CheckpointSigner, modules: [any CommandModule<Unit>], time: any TimeSource,
    random: any RandomSource, configuration: Configuration
  ) {
    self.store = store
    self.signer = signer
    self.modules = Dictionary(uniqueKeysWithValues: modules.map { ($0.verifier.audience, $0) })
    self.time = time
    self.random = random
    self.configuration = configuration
    (actions, act) = AsyncStream.makeStream(of: Sequencer.Action.self)
    transaction = BatchTransaction(
      environment: configuration.environment, random: random)
  }

  // MARK: - Start

  /// Takes up what the last run left: compares the database with the signer's head, and puts every command that is
  /// recorded without an outcome back in line.
  public func recover(genesis: Genesis) async throws {
    let (tree, lastTime, note, unfinished) = try await store.read { unit in
      guard let head = try unit.head() else {
        throw Problem(503, "log_empty", "The log has no head; restore the database or start in an empty directory.")
      }
      var recovered: [(CommandRecord, [UInt8], SaltedContent, SignedCommand)] = []
      for record in try unit.unfinished() {
        guard let leaf = try unit.entry(at: record.leafIndex),
          let content = try unit.content(leafIndex: record.leafIndex)
        else {
          throw Problem(
            503, "log_incomplete", "Leaf \(record.leafIndex) or its content is missing; restore the database.")
        }
        let signed = try Self.evidence(content.content, leaf: leaf, genesis: genesis, in: &unit)
        recovered.append((record, leaf, content, signed))
      }
      guard head.size > 0, let last = try unit.entry(at: head.size - 1) else {
        throw Problem(503, "log_incomplete", "The log's last leaf is missing; restore the database.")
      }
      let lastTime = try Leaf.decode(last).time
      return (try MerkleTree(restoring: head, from: unit), lastTime, try unit.latestCheckpoint(), recovered)
    }
    self.tree = tree
    self.lastTime = lastTime
    let stored = try note.map { try UnverifiedCheckpoint($0) }
    if let stored {
      try accept(stored, consistency: [])
      published.set(stored.note.rendered, size: stored.claimed.size)
    }
    var commands: [InFlight<Unit>] = []
    for (record, leaf, content, signed) in unfinished {
      let (decoded, decidedAt) = try Leaf.decode(leaf)
      let audience: String? =
        switch (decoded, record.state) {
        case (.authorized(let leaf), .authorized), (.held(let leaf), .held): leaf.audience
        default: nil
        }
      guard let audience, let module = modules[audience] else {
        throw Problem(
          503, "log_incomplete", "Leaf \(record.leafIndex) is not what its command says; restore the database.")
      }
      let context = CommandContext(
        id: record.id, principal: signed.principal, decidedAt: decidedAt, leafIndex: record.leafIndex, signed: signed)
      commands.append(
        InFlight(
          prepared: try prepare(module, signed),
          authorized: AuthorizedCommand(
            context: context, leaf: leaf, salt: content.salt,
            references: try CommandEvidence(decoding: content.content).references),
          record: record, answer: nil))
    }
    let sequencer = Sequencer(
      recovering: Sequencer.DurableState(
        database: tree.head, signer: await signer.lastHead, published: stored?.claimed.head,
        owesOutcomes: !commands.isEmpty),
      configuration: .init(batchLimit: configuration.batchLimit, queueLimit: configuration.queueLimit))
    self.sequencer = sequencer
    if !commands.isEmpty { unsealed = [(0, tree.size, commands)] }
    if let stored, stored.claimed.head == tree.head { try await seal(under: stored) }
    mode = sequencer.haltReason.map { .readOnly(Self.sentence($0)) } ?? .running
    drive { $0.start() }
  }

  /// Verifies a command's recorded evidence with what the log holds about its signer's key.
  package static func evidence(
    _ content: [UInt8], leaf: [UInt8], genesis: Genesis, in unit: inout Unit
  ) throws -> SignedCommand {
    let time = try Leaf.decode(leaf).time
    return try EvidenceVerifier(genesis: genesis).verify(content, at: time) { index in
      guard let leaf = try? unit.entry(at: index), let content = try? unit.content(leafIndex: index) else { return nil }
      return (leaf, content)
    }
  }

  // MARK: - Submissions

  /// Decides and carries out a signed command; returns when it is sealed and done.
  /// - Parameter audience: the module that is to carry it out.
  /// - Throws: ``Denied`` when the refusal is on the record; a ``Problem`` otherwise.
  public func submit(_ signed: SignedCommand, to audience: String) async throws -> Receipt {
    guard let module = modules[audience] else {
      throw Problem(404, "route_not_found", "There is no module '\(audience)'.")
    }
    guard case .receipt(let receipt) = try await enqueue(.command(try prepare(module, signed))) else {
      throw Problem(500, "internal", "The gate gave no receipt.")
    }
    return receipt
  }

  /// Whether a command was decided under this one's idempotency key: then ``submit(_:to:)`` gives what came of it, or
  /// refuses the key.
  public func hasDecided(_ signed: SignedCommand) async throws -> Bool {
    let idempotency = IdempotencyScope.digest(
      tenant: signed.principal.tenant, principal: signed.principal.id, key: signed.idempotencyKey)
    return try await store.read { unit in try unit.command(idempotency: idempotency) != nil }
  }

  /// Records an event in the transaction that makes its change; returns when both are durable, before they are sealed.
  /// - Parameter change: makes the change and says what to record; nil where there is nothing to do.
  /// - Returns: the event's leaf index, or nil.
  @discardableResult
  public func record(
    _ change: @Sendable @escaping (inout Unit, EventMoment) throws -> EventRecord?
  ) async throws -> UInt64? {
    try await recordAll { unit, moment in try change(&unit, moment).map { [$0] } ?? [] }.first
  }

  /// As ``record(_:)``, for several events that share a change: each has a leaf of its own, side by side.
  /// - Returns: the leaves' indices, in the order of the events.
  @discardableResult
  public func recordAll(
    _ change: @Sendable @escaping (inout Unit, EventMoment) throws -> [EventRecord]
  ) async throws -> Range<UInt64> {
    guard case .recorded(let indices) = try await enqueue(.events(change)) else { return 0..<0 }
    return indices
  }

  /// A recorded leaf with its content and the proof that it is under a signed checkpoint; waits for that checkpoint.
  public func seal(ofLeaf index: UInt64) async throws -> SealBundle.Part {
    guard let note = await published.note(covering: index) else { throw refusal ?? Self.stopping }
    return try await store.read { unit in
      guard let leaf = try unit.entry(at: index), let content = try unit.content(leafIndex: index) else {
        throw Problem(503, "receipt_unavailable", "The receipt's parts are not stored; restore the database.")
      }
      return SealBundle.Part(
        leaf: leaf, salt: content.salt, content: content.content,
        proof: try Receipt.proof(of: index, under: note, in: &unit))
    }
  }

  private func enqueue(_ work: Submission<Unit>.Work) async throws -> GateAnswer {
    if let refusal { throw refusal }
    return try await withCheckedThrowingContinuation { continuation in
      do throws(LogError) {
        queue.append(Submission(work: work) { continuation.resume(with: $0) })
        try drive { (sequencer) throws(LogError) in try sequencer.submit() }
      } catch {
        queue.removeLast()
        continuation.resume(
          throwing: Problem(
            503, error.code.description, "Too many requests are waiting; send it again later.",
            headers: ["Retry-After": "1"]))
      }
    }
  }

  // MARK: - The driver

  /// Carries submissions through until ``stop()``; what is in flight then is finished first.
  public func run() async {
    await withDiscardingTaskGroup { group in
      for await action in actions {
        group.addTask { await self.perform(action) }
      }
      group.cancelAll()
    }
  }

  /// Takes no more submissions and lets ``run()`` return once nothing is in flight.
  public func stop() {
    isStopping = true
    if mode == .running { mode = .stopped }
    finishIfIdle()
  }

  private func finishIfIdle() {
    guard isStopping else { return }
    // A log that has halted finishes nothing.
    if mode != .stopped || (sequencer?.isIdle ?? true) && unstored == nil {
      act.finish()
      published.close()
    }
  }

  /// Lets the state machine decide and hands on what it wants done.
  private func drive<E: Error>(_ step: (inout Sequencer) throws(E) -> [Sequencer.Action]) throws(E) {
    guard sequencer != nil else { return }
    for action in try step(&sequencer!) {
      // Whoever is answered from here on must not find the gate running.
      if case .halt(let reason) = action { mode = .readOnly(Self.sentence(reason)) }
      act.yield(action)
    }
  }

  private func report(_ input: Sequencer.Input) { drive { $0.receive(input) } }

  private func perform(_ action: Sequencer.Action) async {
    switch action {
    case .commit(let applying, let new): await commit(applying, new)
    case .persistHead(let head):
      await step(.persistHead) {
        let from = await signer.lastHead.size
        let proof = try await consistency(from: from, to: head.size)
        try await signer.advance(to: try Checkpoint(origin: signer.origin, head: head), consistencyProof: proof)
        configuration.onStep(.file)
        return .headPersisted
      }
    case .sign:
      await step(.sign) {
        let note = try await signer.signLastHead()
        configuration.onStep(.sign)
        return .signed(note: note)
      }
    case .publish(_, let note):
      await step(.publish) {
        let note = try UnverifiedCheckpoint(note)
        try accept(note, consistency: try await consistency(from: acceptedSize, to: note.claimed.size))
        published.set(note.note.rendered, size: note.claimed.size)
        configuration.onStep(.publish)
        try await seal(under: note)
        unstored = note
        return .published
      }
      await storeCheckpointIfIdle()
    case .setTimer(let timer):
      try? await Task.sleep(for: .milliseconds(delay(timer.purpose)))
      report(.timer(timer))
    case .halt: answerAfterHalt()
    }
    finishIfIdle()
  }

  private func delay(_ purpose: Sequencer.Timer.Purpose) -> Int {
    switch purpose {
    case .closeBatch: configuration.closeDelay
    case .retry(_, let attempt): configuration.retryDelay << min(attempt - 1, 5)
    }
  }

  private func step(_ step: Sequencer.Step, _ body: () async throws -> Sequencer.Input) async {
    do {
      let input = try await body()
      if step == .sign { unsignedSince = nil }
      report(input)
    } catch let error as LogError where error.code == .notAnExtension || error.code == .wrongOrigin {
      report(.failed(step, .fork))
    } catch {
      if step == .sign { tellOfDelay() }
      report(.failed(step, .transient))
    }
  }

  /// Once signatures have failed for long, those who wait are told: of recorded commands that they are finished all the
  /// same, later on, and of what waits for its batch that nothing was recorded.
  private func tellOfDelay() {
    let now = time.now()
    let since = unsignedSince ?? now
    unsignedSince = since
    guard now.milliseconds - since.milliseconds >= Int64(configuration.signingPatience) else { return }
    for batch in unsealed.indices {
      for command in unsealed[batch].commands.indices {
        unsealed[batch].commands[command].answer?(.failure(Self.sealDelayed))
        unsealed[batch].commands[command].answer = nil
      }
    }
    for waiting in queue.indices {
      queue[waiting].answer(.failure(Self.logUnsigned))
      // A submission that does nothing keeps the place.
      queue[waiting] = .nothing
    }
  }

  /// T2 of sealed batches and T1 of the next, in one transaction.
  private func commit(_ applying: [UInt64], _ new: Sequencer.Batch?) async {
    let batch = Array(queue.prefix(new?.count ?? 0))
    queue.removeFirst(batch.count)
    let now = decisionTime(for: batch)
    let (transaction, tree, checkpoint) = (transaction, tree, unstored)
    // Whoever is in this transaction is answered by it alone, also when the log halts meanwhile.
    let ready = applying.compactMap { sealed.removeValue(forKey: $0) }
    do {
      let result = try await store.write { unit in
        try transaction.run(sealed: ready, checkpoint: checkpoint, new: batch, tree: tree, now: now, in: &unit)
      }
      if new != nil { configuration.onStep(.t1) }
      if !applying.isEmpty { configuration.onStep(.t2) }
      commitFailures = 0
      self.tree = result.tree
      if unstored?.claimed == checkpoint?.claimed { unstored = nil }
      if let new, !result.authorized.isEmpty { unsealed.append((new.number, result.tree.size, result.authorized)) }
      for answer in result.answers { answer() }
      report(.committed(result.tree.head, owesOutcomes: !result.authorized.isEmpty))
      await storeCheckpointIfIdle()
    } catch {
      for (number, batch) in zip(applying, ready) { sealed[number] = batch }
      if await (try? store.read { unit in try unit.head() }) == tree.head {
        commitFailures += 1
        // Whoever has waited through several attempts is told; a submission that does nothing keeps the place.
        let giveUp = commitFailures > 3
        if giveUp { for submission in batch { submission.answer(.failure(Self.storageFailed)) } }
        queue.insert(contentsOf: giveUp ? batch.map { _ in .nothing } : batch, at: 0)
        report(.failed(.commit, .transient))
      } else {
        // The transaction may have been kept although it reported a failure: nobody is told that nothing was recorded.
        report(.failed(.commit, .unknown))
        for submission in batch { submission.answer(.failure(Self.outcomeUnknown)) }
      }
    }
    answerAfterHalt()
  }

  /// The time that this transaction's leaves bear. A clock that is set back must not make a leaf older than the one
  /// before it, nor a decision older than the verification that it rests on: evidence is verified again at that time.
  private func decisionTime(for batch: [Submission<Unit>]) -> Timestamp {
    var now = max(time.now(), lastTime)
    for case .command(let prepared) in batch.map(\.work) { now = max(now, prepared.signed.verifiedAt) }
    lastTime = now
    return now
  }

  /// Once the log has halted nothing is carried out any more, so whoever waits is told.
  private func answerAfterHalt() {
    guard case .readOnly = mode else { return }
    published.close()
    for submission in queue { submission.answer(.failure(refusal ?? Self.stopping)) }
    for command in unsealed.flatMap(\.commands) + sealed.values.flatMap(\.commands) {
      command.answer?(.failure(Self.outcomeUnknown))
    }
    (queue, unsealed, sealed) = ([], [], [:])
  }

  private func storeCheckpointIfIdle() async {
    guard sequencer?.isIdle == true, let checkpoint = unstored else { return }
    let stored: Void? = try? await store.write { unit in
      try unit.putCheckpoint(size: checkpoint.claimed.size, checkpoint.note.rendered)
    }
    if stored != nil || mode != .running, unstored?.claimed == checkpoint.claimed { unstored = nil }
  }

  /// Makes sealed batches of those whose leaves are under a checkpoint.
  private func seal(under note: UnverifiedCheckpoint) async throws {
    let size = note.claimed.size
    let accepted = accepted
    for (number, _, commands) in unsealed.filter({ $0.size <= size }) {
      let indices = commands.map(\.record.leafIndex)
      let proofs = try await fromTiles { (tree, tiles) -> [[MerkleHash]] in
        // The leaves of a batch stand side by side but for refusals and events between them.
        guard let first = indices.first, let last = indices.last else { return [] }
        let proofs = try tree.inclusionProofs(first..<(last + 1), size: size, from: tiles)
        return indices.map { proofs[Int($0 - first)] }
      }
      // Whoever waited was told if the log has halted meanwhile.
      if case .readOnly = mode { return }
      sealed[number] = SealedBatch(commands: commands, proofs: proofs, accepted: accepted, note: note)
    }
    unsealed.removeAll { $0.size <= size }
  }

  private func accept(_ note: UnverifiedCheckpoint, consistency: [MerkleHash]) throws {
    for (audience, module) in modules {
      accepted[audience] = try module.verifier.advance(to: note, consistency: consistency)
    }
    acceptedSize = note.claimed.size
  }

  private func consistency(from: UInt64, to: UInt64) async throws -> [MerkleHash] {
    try await fromTiles { (tree, tiles) in try tree.consistencyProof(from: from, to: to, from: tiles) }
  }

  /// Computes proofs from the tiles that the tree keeps in memory; asks the storage, where a commit may be under way,
  /// only where older ones are needed.
  private func fromTiles<Proofs: Sendable>(
    _ compute: @Sendable @escaping (MerkleTree, any TileReader) throws -> Proofs
  ) async throws -> Proofs {
    let tree = tree
    if let proofs = try? compute(tree, NoTiles()) { return proofs }
    return try await store.read { unit in try compute(tree, unit) }
  }
}
