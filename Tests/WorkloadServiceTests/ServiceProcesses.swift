import Synchronization
@testable import WorkloadAttestation
import WorkloadIdentity

/// Processes as a test says that they are.
final class ServiceProcesses: WorkloadAttestor {
  private struct State {
    var processes: [Int32: AttestedProcess] = [:]
    var next: Int32 = 100
    var attestations = 0
    var failure: AttestationError.Code?
  }

  private let state = Mutex(State())

  /// How often a process was attested.
  var attestations: Int { state.withLock { $0.attestations } }

  /// Every attestation fails from now on, or none does.
  func fail(_ code: AttestationError.Code?) { state.withLock { $0.failure = code } }

  /// A new process.
  func start(uid: UInt32, unit: String? = nil, groups: [UInt32] = []) -> PeerProcess {
    state.withLock { state in
      state.next += 1
      let pid = state.next
      state.processes[pid] = Self.process(pid, uid: uid, unit: unit, groups: groups)
      return PeerProcess(pidfd: -1, pid: pid, uid: uid, gid: uid)
    }
  }

  /// It becomes another: another user is another process on the same connection, another group or unit is not.
  func change(_ peer: PeerProcess, uid: UInt32, unit: String? = nil, groups: [UInt32] = []) {
    state.withLock { $0.processes[peer.pid] = Self.process(peer.pid, uid: uid, unit: unit, groups: groups) }
  }

  /// It exits.
  func exit(_ peer: PeerProcess) { state.withLock { $0.processes[peer.pid] = nil } }

  /// What it is.
  func attested(_ peer: PeerProcess) -> AttestedProcess? { state.withLock { $0.processes[peer.pid] } }

  private static func process(_ pid: Int32, uid: UInt32, unit: String?, groups: [UInt32]) -> AttestedProcess {
    AttestedProcess(
      pid: pid, supplementaryGroups: groups, userName: nil, groupNames: [:], executable: nil, controlGroups: [],
      unit: unit, container: nil, namespaces: [:], startTime: UInt64(pid), absent: [:],
      credentials: Credentials(
        uid: uid, effectiveUID: uid, savedUID: uid, fileUID: uid, gid: uid, effectiveGID: uid, savedGID: uid,
        fileGID: uid), link: nil)
  }

  func attest(_ peer: PeerProcess) async throws(AttestationError) -> AttestedProcess {
    let (process, failure) = state.withLock { state in
      state.attestations += 1
      return (state.processes[peer.pid], state.failure)
    }
    if let failure { throw AttestationError(failure, "the test has it fail") }
    guard let process else { throw AttestationError(.gone, "it has exited") }
    return process
  }

  func confirm(_ peer: PeerProcess, _ attested: AttestedProcess) throws(AttestationError) {
    guard let process = self.attested(peer) else { throw AttestationError(.gone, "it has exited") }
    guard process.credentials == attested.credentials else { throw AttestationError(.changed, "it is another") }
  }
}
