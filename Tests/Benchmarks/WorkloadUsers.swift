import DemoClient
import Synchronization
import WorkloadAttestation

/// Says of connections of one process that they are of many: each has another user. What asking costs is real, as the
/// process is confirmed before each answer by the attestor of the product; only finding out everything is done once.
final class WorkloadUsers: WorkloadAttestor {
  /// The user of the first connection; that of the next one is greater by one.
  static let firstUser = 100_000
  /// Everybody's group.
  static let group = 5000

  private struct State {
    var next = 0
    /// By connection; a later one may have an earlier one's place, and is then who that was.
    var numbers: [ObjectIdentifier: Int] = [:]
    var process: Finding?
  }

  /// As the product keeps what it found: an object, since each answer would copy it.
  private final class Finding: Sendable {
    let process: AttestedProcess

    init(_ process: AttestedProcess) { self.process = process }
  }

  private let product: ProcessAttestor
  private let users: Int
  private let state = Mutex(State())

  /// - Parameter users: how many there are; after that many connections the first has another one.
  init(users: Int) throws {
    product = try ProcessAttestor(time: WallClock())
    self.users = users
  }

  func attest(_ peer: PeerProcess) async throws(AttestationError) -> AttestedProcess {
    if state.withLock({ $0.process == nil }) {
      let finding = Finding(try await product.attest(peer))
      state.withLock { $0.process = finding }
    }
    let number = state.withLock { state in
      let connection = ObjectIdentifier(peer)
      if let number = state.numbers[connection] { return number }
      defer { state.next += 1 }
      state.numbers[connection] = state.next % users
      return state.next % users
    }
    return AttestedProcess(
      pid: peer.pid, uid: UInt32(Self.firstUser + number), gid: UInt32(Self.group), startTime: 0)
  }

  func confirm(_ peer: PeerProcess, _ attested: AttestedProcess) throws(AttestationError) {
    guard let finding = state.withLock({ $0.process }) else { return }
    try product.confirm(peer, finding.process)
  }
}
