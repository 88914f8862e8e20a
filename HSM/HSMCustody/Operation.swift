import KeyHierarchy
import Synchronization

/// Why a token did not serve an operation, and whether another member of its cluster may.
struct TokenFailure: Error {
  let error: CustodyError
  var elsewhere = false
}

/// One operation on its way to a token. A call into the HSM cannot be cancelled, so who answers the caller is settled
/// here: the thread that did the work, or the deadline, whichever comes first, and never both.
final class Operation: Sendable {
  enum Phase: UInt8, AtomicRepresentable {
    /// Nobody has started it.
    case queued
    /// A thread has it and waits for a session or another thread, outside the HSM: it notices when it is late.
    case waiting
    /// A thread is inside the HSM with it.
    case calling
    /// The caller has an answer.
    case settled
  }

  let deadline: Duration
  private let phase = Atomic<Phase>(.queued)
  private let work: @Sendable (Operation) -> Void
  private let answer: @Sendable (TokenFailure) -> Void
  private let lateness: @Sendable (Operation) -> Void

  /// An operation.
  ///
  /// - Parameters:
  ///   - late: Told that the deadline has passed.
  ///   - body: The work, on one of the executor's threads.
  ///   - answer: Takes the result; called once.
  init<R: Sendable>(
    by deadline: Duration, late: @escaping @Sendable (Operation) -> Void,
    _ body: @escaping @Sendable (Operation) throws(TokenFailure) -> R,
    answer: @escaping @Sendable (Result<R, TokenFailure>) -> Void
  ) {
    self.deadline = deadline
    lateness = late
    work = { operation in
      let result = Result { () throws(TokenFailure) in try body(operation) }
      if operation.settle() != .settled { answer(result) }
    }
    self.answer = { answer(.failure($0)) }
  }

  /// True once the caller has an answer: what is still done is done for nobody.
  var isSettled: Bool { phase.load(ordering: .acquiring) == .settled }

  /// Takes it out of the queue; false when it was too late.
  func start() -> Bool { move(from: .queued, to: .waiting) }

  /// Goes into the HSM, or out again; false when it is too late.
  func enter() -> Bool { move(from: .waiting, to: .calling) }
  func leave() -> Bool { move(from: .calling, to: .waiting) }

  /// Ends it; ``Phase/settled`` when somebody has done so before.
  func settle() -> Phase { phase.exchange(.settled, ordering: .acquiringAndReleasing) }

  /// Does the work and answers.
  func perform() { work(self) }

  /// Answers without having done the work; whoever settled it does.
  func refuse(_ failure: TokenFailure) {
    answer(failure)
    lateness(self)
  }

  private func move(from old: Phase, to new: Phase) -> Bool {
    phase.compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
  }
}
