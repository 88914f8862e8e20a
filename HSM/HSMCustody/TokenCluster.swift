import KeyHierarchy
import PKCS11
import Synchronization

/// The tokens that serve one role: one, or the members of a vendor's cluster, which have the same keys, in order of
/// preference. An operation goes to the first that can serve it, and to the next when that one fails as a whole. A member
/// that failed is tried again after its pause: by the operation itself when there is no other, in the background else.
final class TokenCluster: Sendable {
  let role: TokenRole
  let members: [TokenConnection]
  let known: KnownKeys
  private let clock: any CustodyClock
  private let deadline: Duration
  private let inUse = Atomic<Int>(0)

  init(
    _ role: TokenRole, _ members: [TokenConnection], _ known: KnownKeys, _ clock: any CustodyClock, _ deadline: Duration
  ) {
    self.role = role
    self.members = members
    self.known = known
    self.clock = clock
    self.deadline = deadline
  }

  /// When an operation that starts now is late.
  var nextDeadline: Duration { clock.now + deadline }

  /// Does `body` on a member. Only for what is safe to repeat.
  func perform<R: Sendable>(
    _ body: @escaping @Sendable (TokenConnection, Operation) throws(TokenFailure) -> R
  ) async throws(CustodyError) -> R {
    var route = Route(self)
    while let member = route.next() {
      switch await member.run(by: route.deadline, body) {
      case .success(let result):
        served(member)
        return result
      case .failure(let failure): try route.failed(failure)
      }
    }
    throw route.reason
  }

  /// As ``perform(_:)``, while the calling thread waits.
  func performBlocking<R: Sendable>(
    _ body: @escaping @Sendable (TokenConnection, Operation) throws(TokenFailure) -> R
  ) throws(CustodyError) -> R {
    var route = Route(self)
    while let member = route.next() {
      switch member.runBlocking(by: route.deadline, body) {
      case .success(let result):
        served(member)
        return result
      case .failure(let failure): try route.failed(failure)
      }
    }
    throw route.reason
  }

  /// The member that served last.
  var current: TokenConnection { members[inUse.load(ordering: .relaxed)] }

  /// How each member does.
  var health: [TokenHealth] {
    let current = current.member
    return members.map { $0.health(isInUse: $0.member == current) }
  }

  /// Logs out of every member.
  func close() {
    for member in members { member.close(by: nextDeadline) }
  }

  private func served(_ member: TokenConnection) {
    if inUse.load(ordering: .relaxed) != member.member { inUse.store(member.member, ordering: .relaxed) }
  }

  /// The members that one operation is tried on.
  private struct Route {
    let deadline: Duration
    private let now: Duration
    private let cluster: TokenCluster
    private var index = 0
    /// Passed over for one that was ready, and the last resort.
    private var skipped: TokenConnection?
    private var failure: TokenFailure?

    init(_ cluster: TokenCluster) {
      self.cluster = cluster
      now = cluster.clock.now
      deadline = now + cluster.deadline
    }

    mutating func next() -> TokenConnection? {
      while index < cluster.members.count {
        let member = cluster.members[index]
        index += 1
        switch member.standing(now) {
        case .ready: return member
        case .recovering, .due:
          guard let other = cluster.members[index...].first(where: { $0.isReady(now) }) else { return member }
          if case .due = member.standing(now) { member.reopenInBackground(by: deadline) }
          index = other.member + 1
          skipped = skipped ?? member
          return other
        case .refused(let failure): self.failure = self.failure ?? failure
        }
      }
      return skipped.take()
    }

    mutating func failed(_ failure: TokenFailure) throws(CustodyError) {
      guard failure.elsewhere else { throw failure.error }
      self.failure = self.failure ?? failure
    }

    var reason: CustodyError {
      failure?.error ?? CustodyError(.unavailable, "no token serves \(cluster.role.rawValue): give its URI and PIN")
    }
  }
}

extension TokenConnection {
  fileprivate func isReady(_ now: Duration) -> Bool {
    if case .ready = standing(now) { true } else { false }
  }
}
