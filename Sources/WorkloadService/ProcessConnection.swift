import Synchronization
import Wire
import WorkloadAttestation
import WorkloadIdentity

/// A connection of a process: attested at its first request and again when that is a while ago, and confirmed before
/// each answer.
final class ProcessConnection<Recorder: WorkloadRecorder>: WorkloadConnection {
  private let peer: PeerProcess
  private let service: WorkloadService<Recorder>
  private let attestor: any WorkloadAttestor
  private let time: any TimeSource

  /// What this connection's process was found to be, and when: an object, as the process is copied for each answer.
  private final class Finding: Sendable {
    let process: AttestedProcess
    let at: Timestamp

    init(_ process: AttestedProcess, at: Timestamp) {
      self.process = process
      self.at = at
    }
  }

  private struct State {
    var membership: Membership?
    var attested: Finding?
    var isClosed = false
  }

  private let state = Mutex(State())

  /// How long an attestation is good for, in milliseconds; groups and control groups of a process may change.
  private static var freshness: Int64 { 5000 }

  init(
    _ peer: PeerProcess, service: WorkloadService<Recorder>, attestor: any WorkloadAttestor, time: any TimeSource
  ) {
    self.peer = peer
    self.service = service
    self.attestor = attestor
    self.time = time
  }

  /// The group of a process that is still the one that was attested, before anything is signed for it.
  private func confirmedGroup() async throws -> WorkloadGroup {
    let membership = try await membership()
    try confirm()
    return membership.group
  }

  private func membership() async throws -> Membership {
    let now = time.now()
    let (membership, attested, isClosed) = state.withLock { ($0.membership, $0.attested, $0.isClosed) }
    guard !isClosed else { throw Self.gone }
    if let membership, let attested {
      if now.milliseconds - attested.at.milliseconds < Self.freshness, attested.at <= now { return membership }
    }
    let process: AttestedProcess
    do { process = try await attestor.attest(peer) } catch { throw Self.refusal(error) }
    // Another program or user on the same connection is another process: it would inherit open streams.
    if membership != nil { try confirm() }
    let isSame = membership?.group.id == process.digest
    let joined = if let membership, isSame { membership } else { try await service.join(process) }
    let isSet = try state.withLock { state throws(WorkloadRefusal) in
      guard !state.isClosed else { throw Self.gone }
      // Of two requests that attest at once the second one's finding is held to the first one's.
      guard state.membership === membership else { return false }
      (state.membership, state.attested) = (joined, Finding(process, at: now))
      return true
    }
    return isSet ? joined : try await self.membership()
  }

  private static var gone: WorkloadRefusal {
    WorkloadRefusal(.permissionDenied, "process_gone", "The process that connected is gone; connect again.")
  }

  private static func refusal(_ error: AttestationError) -> WorkloadRefusal {
    error.code == .busy
      ? WorkloadRefusal(.unavailable, error.code.description, error.message, retryAfter: 1000)
      : WorkloadRefusal(.permissionDenied, error.code.description, error.message)
  }

  /// Puts what the gate refuses into the terms of the Workload API.
  private func telling<Result>(_ body: () async throws -> Result) async throws -> Result {
    do { return try await body() } catch let problem as Problem {
      guard problem.status == 503 else {
        throw WorkloadRefusal(.failedPrecondition, problem.code, problem.detail)
      }
      throw WorkloadRefusal(.unavailable, problem.code, problem.detail, retryAfter: 1000)
    }
  }

  func confirm() throws(WorkloadRefusal) {
    let attested = state.withLock { $0.membership == nil ? nil : $0.attested }
    guard let attested else { throw Self.gone }
    do throws(AttestationError) { try attestor.confirm(peer, attested.process) } catch { throw Self.refusal(error) }
  }

  func updates() async throws -> any WorkloadUpdates {
    let membership = try await membership()
    _ = try await telling { try await snapshot(of: membership) }
    return Updates(membership.group.channel, membership: membership) { () throws(WorkloadRefusal) in
      guard self.state.withLock({ $0.membership === membership }) else { throw Self.gone }
    }
  }

  func snapshot() async throws -> WorkloadSnapshot {
    let current = try await telling { try await snapshot(of: try await membership()) }
    try confirm()
    return current
  }

  /// What is at hand goes to whoever the caller confirms; nothing is signed for who is not.
  private func snapshot(of membership: Membership) async throws -> WorkloadSnapshot {
    // What could not be renewed in time is not given out; what ended may have begun anew.
    if let snapshot = try? membership.group.channel.newest(), time.now() < snapshot.expires { return snapshot }
    try confirm()
    return try await service.snapshot(membership.group)
  }

  func jwtSVIDs(audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID] {
    try await telling { try await service.jwtSVIDs(try await confirmedGroup(), audiences: audiences, id: id) }
  }

  func validate(jwtSVID token: String, audience: String) async throws -> (id: SPIFFEID, claims: JSONObject) {
    try await telling { try await service.validate(try await confirmedGroup(), token: token, audience: audience) }
  }

  func x509SVID(request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID {
    try await telling { try await service.x509SVID(try await confirmedGroup(), request: request, id: id) }
  }

  func close() {
    state.withLock { state in
      state.isClosed = true
      state.membership = nil
    }
  }
}
