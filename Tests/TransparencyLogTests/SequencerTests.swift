import Testing
import TransparencyLog

@Suite("Sequencer")
struct SequencerTests {
  private static func head(_ size: UInt64) -> TreeHead {
    size == 0 ? .empty : TreeHead(size: size, root: .leaf([UInt8(size & 0xFF)]))
  }

  private func atRest(_ size: UInt64 = 5, _ configuration: Sequencer.Configuration = .init()) -> Sequencer {
    let head = Self.head(size)
    var sequencer = Sequencer(
      recovering: .init(database: head, signer: head, published: head, owesOutcomes: false),
      configuration: configuration)
    #expect(sequencer.start() == [])
    #expect(sequencer.isIdle)
    return sequencer
  }

  /// Random runs with failures and crashes; a run that breaks an invariant reports its seed.
  @Test func keepsItsInvariants() {
    var (signatures, crashes, ahead) = (0, 0, 0)
    for seed in 0..<600 as Range<UInt64> {
      let small = Sequencer.Configuration(batchLimit: 1 + Int(seed % 7), queueLimit: 8)
      var model = SequencerModel(seed: seed, configuration: seed % 2 == 0 ? small : .init())
      do {
        try model.explore(steps: 150)
      } catch {
        Issue.record("seed \(seed): \(error)")
      }
      signatures += model.signatures
      crashes += model.crashes
      ahead += model.commitsAhead
    }
    // The exploration must have been where it matters.
    #expect(signatures > 3000 && crashes > 1000 && ahead > 300, "\(signatures) \(crashes) \(ahead)")
  }

  @Test func followsTheTwoCommits() throws {
    var sequencer = atRest()
    let (six, eight) = (Self.head(6), Self.head(8))
    #expect(try sequencer.submit(1) == [.commit(applying: [], new: .init(1, 1))])
    #expect(try sequencer.submit(2) == [])
    let sealing = sequencer.receive(.committed(six, owesOutcomes: true))
    #expect(sealing.first == .persistHead(six))
    #expect(sequencer.receive(.headPersisted) == [.sign(six)])
    #expect(sequencer.receive(.signed(note: "n6")) == [.publish(six, note: "n6")])
    // T2 of the first batch shares the transaction of the second.
    #expect(sequencer.receive(.published) == [.commit(applying: [1], new: .init(2, 2))])
    #expect(sequencer.receive(.committed(eight, owesOutcomes: false)) == [.persistHead(eight)])
    #expect(sequencer.receive(.headPersisted) == [.sign(eight)])
    #expect(sequencer.receive(.signed(note: "n8")) == [.publish(eight, note: "n8")])
    #expect(sequencer.receive(.published) == [])
    #expect(sequencer.isIdle)
  }

  @Test func sealsOutcomesByThemselves() throws {
    var sequencer = atRest()
    _ = try sequencer.submit()
    _ = sequencer.receive(.committed(Self.head(6), owesOutcomes: true))
    _ = sequencer.receive(.headPersisted)
    _ = sequencer.receive(.signed(note: ""))
    #expect(sequencer.receive(.published) == [.commit(applying: [1], new: nil)])
    #expect(sequencer.receive(.committed(Self.head(7), owesOutcomes: false)) == [.persistHead(Self.head(7))])
    _ = sequencer.receive(.headPersisted)
    _ = sequencer.receive(.signed(note: ""))
    #expect(sequencer.receive(.published) == [])
    #expect(sequencer.isIdle)
  }

  @Test func batchesWithoutLeavesNeedNoSignature() throws {
    var sequencer = atRest()
    _ = try sequencer.submit()
    #expect(sequencer.receive(.committed(Self.head(5), owesOutcomes: false)) == [])
    #expect(sequencer.isIdle)
  }

  @Test func batchesAndQueueHaveLimits() throws {
    var sequencer = atRest(5, .init(batchLimit: 3, queueLimit: 4))
    #expect(throws: LogError(.overloaded, "")) { try sequencer.submit(5) }
    #expect(try sequencer.submit(4) == [.commit(applying: [], new: .init(1, 3))])
    #expect(sequencer.waiting == 1)
    #expect(try sequencer.submit(3) == [])
    #expect(throws: LogError(.overloaded, "")) { try sequencer.submit() }
    #expect(sequencer.waiting == 4)
    var large = atRest()
    _ = try large.submit()
    _ = try large.submit(4096)
    #expect(throws: LogError(.overloaded, "")) { try large.submit() }
    var batches = atRest()
    #expect(try batches.submit(513) == [.commit(applying: [], new: .init(1, 512))])
  }

  @Test func aTimerClosesTheBatchOnce() throws {
    var sequencer = atRest()
    _ = try sequencer.submit()
    #expect(sequencer.receive(.committed(Self.head(6), owesOutcomes: true)) == [.persistHead(Self.head(6))])
    let actions = try sequencer.submit()
    guard case .setTimer(let timer)? = actions.first, actions.count == 1 else {
      Issue.record("no timer: \(actions)")
      return
    }
    #expect(timer.purpose == .closeBatch)
    #expect(try sequencer.submit() == [])
    #expect(sequencer.receive(.timer(timer)) == [.commit(applying: [], new: .init(2, 2))])
    #expect(sequencer.receive(.timer(timer)) == [])
    _ = sequencer.receive(.committed(Self.head(8), owesOutcomes: true))
    // One batch may go ahead of a signature that takes its time, not one after the other.
    #expect(try sequencer.submit() == [])
    #expect(sequencer.receive(.headPersisted) == [.sign(Self.head(6))])
    _ = sequencer.receive(.signed(note: ""))
    let next = sequencer.receive(.published)
    #expect(next == [.persistHead(Self.head(8)), .commit(applying: [1], new: .init(3, 1))])
    // A timer of the past closes nothing.
    _ = sequencer.receive(.committed(Self.head(10), owesOutcomes: true))
    #expect(sequencer.receive(.timer(timer)) == [])
  }

  @Test func nothingMovesWhileTheSignerIsAway() throws {
    var sequencer = atRest()
    _ = try sequencer.submit()
    _ = sequencer.receive(.committed(Self.head(6), owesOutcomes: true))
    _ = sequencer.receive(.headPersisted)
    let close = try sequencer.submit()
    for attempt in 1...3 {
      let actions = sequencer.receive(.failed(.sign, .transient))
      guard case .setTimer(let timer)? = actions.first, actions.count == 1 else {
        Issue.record("no retry: \(actions)")
        return
      }
      #expect(timer.purpose == .retry(.sign, attempt: attempt))
      #expect(try sequencer.submit() == [])
      if attempt == 1, case .setTimer(let closing)? = close.first { #expect(sequencer.receive(.timer(closing)) == []) }
      #expect(sequencer.receive(.timer(timer)) == [.sign(Self.head(6))])
      #expect(sequencer.receive(.timer(timer)) == [])
    }
    _ = sequencer.receive(.signed(note: ""))
    #expect(sequencer.receive(.published) == [.commit(applying: [1], new: .init(2, 4))])
  }

  @Test func failedCommitsAreTriedAgain() throws {
    var sequencer = atRest()
    _ = try sequencer.submit(2)
    let actions = sequencer.receive(.failed(.commit, .transient))
    guard case .setTimer(let timer)? = actions.first else {
      Issue.record("no retry: \(actions)")
      return
    }
    #expect(timer.purpose == .retry(.commit, attempt: 1))
    #expect(try sequencer.submit() == [])
    #expect(sequencer.receive(.timer(timer)) == [.commit(applying: [], new: .init(2, 3))])
  }

  @Test func stopsForGood() throws {
    let causes: [(Sequencer.Input, Sequencer.HaltReason)] = [
      (.failed(.sign, .fork), .forked), (.failed(.commit, .unknown), .unknownOutcome(.commit)),
      (.committed(Self.head(4), owesOutcomes: false), .forked),
      (.committed(TreeHead(size: 5, root: .emptyTree), owesOutcomes: false), .forked),
      (.committed(Self.head(5), owesOutcomes: true), .unexpectedInput),
      (.headPersisted, .unexpectedInput), (.signed(note: ""), .unexpectedInput), (.published, .unexpectedInput),
      (.failed(.sign, .transient), .unexpectedInput),
    ]
    for (input, reason) in causes {
      var sequencer = atRest()
      _ = try sequencer.submit()
      #expect(sequencer.receive(input) == [.halt(reason)])
      #expect(sequencer.haltReason == reason)
      #expect(throws: LogError(.readOnly, "")) { try sequencer.submit() }
      #expect(sequencer.receive(.committed(Self.head(9), owesOutcomes: true)) == [])
    }
    var idle = atRest()
    #expect(idle.receive(.committed(Self.head(9), owesOutcomes: false)) == [.halt(.unexpectedInput)])
  }

  @Test func refusesToRecoverWhatWasRolledBack() {
    let (five, six) = (Self.head(5), Self.head(6))
    let fork = TreeHead(size: 6, root: .leaf([99]))
    let cases: [(TreeHead, TreeHead, TreeHead?, Sequencer.HaltReason?)] = [
      (six, six, six, nil), (six, five, five, nil), (six, six, five, nil), (six, .empty, nil, nil),
      (five, six, five, .databaseBehind), (five, five, six, .databaseBehind), (fork, six, five, .forked),
      (six, five, fork, .forked), (six, five, six, .signerBehind),
    ]
    for (database, signer, published, reason) in cases {
      var sequencer = Sequencer(
        recovering: .init(database: database, signer: signer, published: published, owesOutcomes: false))
      #expect(sequencer.haltReason == reason)
      let actions = sequencer.start()
      if let reason {
        #expect(actions == [.halt(reason)])
        #expect(throws: LogError(.readOnly, "")) { try sequencer.submit() }
      } else {
        #expect(actions == (published == database ? [] : [.persistHead(database)]))
      }
    }
  }

  @Test func recoversWhatIsOwed() {
    let six = Self.head(6)
    var published = Sequencer(recovering: .init(database: six, signer: six, published: six, owesOutcomes: true))
    #expect(published.start() == [.commit(applying: [0], new: nil)])
    var unsigned = Sequencer(recovering: .init(database: six, signer: six, published: nil, owesOutcomes: true))
    #expect(unsigned.start() == [.persistHead(six)])
    _ = unsigned.receive(.headPersisted)
    _ = unsigned.receive(.signed(note: ""))
    #expect(unsigned.receive(.published) == [.commit(applying: [0], new: nil)])
  }
}

extension Sequencer.Batch {
  fileprivate init(_ number: UInt64, _ count: Int) { self.init(number: number, count: count) }
}
