import TestSupport
import Testing
import Wire
import WorkloadAttestation
import WorkloadIdentity
@testable import WorkloadService

/// Connections: who is at the other end is found out, and found out again.
@Suite struct ConnectionTests {
  private typealias D = ServiceDeployment

  private func served() async throws -> ServiceDeployment {
    let d = try await D.found()
    _ = try await d.change(create: [
      D.entry("/one", "unix:uid:1"), D.entry("/two", "unix:uid:2"), D.entry("/group", "unix:supplementary_gid:5"),
    ])
    return d
  }

  @Test func attestedAgainAfterAWhile() async throws {
    let d = try await served()
    let connection = d.connect(uid: 1)
    for _ in 0..<3 { _ = try await connection.snapshot() }
    #expect(d.processes.attestations == 1)
    try await d.advance(seconds: 4)
    _ = try await connection.snapshot()
    #expect(d.processes.attestations == 1)
    try await d.advance(seconds: 1)
    _ = try await connection.snapshot()
    #expect(d.processes.attestations == 2)
    #expect(d.custodian.signatures == 1)
    await d.stop()
  }

  @Test func whoHasExitedGetsNothing() async throws {
    let d = try await served()
    let peer = d.processes.start(uid: 1)
    let connection = d.service.connect(peer)
    #expect(await code { try connection.confirm() } == "process_gone")
    let updates = try await connection.updates()
    try connection.confirm()
    d.processes.exit(peer)
    #expect(await code { try connection.confirm() } == "process_gone")
    #expect(await code { _ = try await connection.snapshot() } == "process_gone")
    #expect(await code { _ = try await connection.jwtSVIDs(audiences: ["x"], id: nil) } == "process_gone")
    _ = try await updates.next()  // The caller confirms what it gets.
    #expect(await code { try connection.confirm() } == "process_gone")
    #expect(await code { _ = try await d.service.connect(peer).snapshot() } == "process_gone")
    connection.close()
    #expect(await code { _ = try await connection.snapshot() } == "process_gone")
    await d.stop()
  }

  /// Another program on the same connection gets neither its own identities there nor what its forerunner's streams
  /// bring, also once the attestation is old.
  @Test(arguments: [0, 4, 5, 60] as [Int64]) func anotherProcessOnTheSameConnection(_ seconds: Int64) async throws {
    let d = try await served()
    let peer = d.processes.start(uid: 1)
    let connection = d.service.connect(peer)
    let updates = try await connection.updates()
    _ = try await updates.next()
    d.processes.change(peer, uid: 2)
    try await d.advance(seconds: seconds)
    #expect(await code { _ = try await connection.snapshot() } == "process_changed")
    _ = try await d.change(create: [D.entry("/more", "unix:uid:1")])
    _ = try? await updates.next()
    #expect(await code { try connection.confirm() } == "process_changed")
    // What is at hand may still be there; who sends it confirms first.
    _ = try? await connection.updates()
    #expect(await code { try connection.confirm() } == "process_changed")
    // On a connection of its own it is served.
    #expect(try await d.paths(d.service.connect(peer).snapshot()) == ["/two"])
    await d.stop()
  }

  /// What a process is found to be later ends the streams that rest on what it was.
  @Test func whatAProcessIsChanges() async throws {
    let d = try await served()
    let peer = d.processes.start(uid: 1, groups: [5])
    let connection = d.service.connect(peer)
    let before = try await connection.updates()
    #expect(try await Set(d.paths(before.next())) == ["/one", "/group"])
    d.processes.change(peer, uid: 1)
    try await d.advance(seconds: 5)
    #expect(try await d.paths(connection.snapshot()) == ["/one"])
    try connection.confirm()
    _ = try await d.change(create: [D.entry("/more", "unix:supplementary_gid:5")])
    #expect(await code { _ = try await before.next() } == "process_gone")
    await d.stop()
  }

  @Test func attestationThatIsBusyIsNoDenial() async throws {
    let d = try await served()
    let connection = d.connect(uid: 1)
    for (failure, status) in [
      (.busy, .unavailable), (.gone, .permissionDenied), (.unreadable, .permissionDenied),
      (.pidNotVisible, .permissionDenied),
    ] as [(AttestationError.Code, WorkloadRefusal.Status)] {
      d.processes.fail(failure)
      do {
        _ = try await connection.snapshot()
        Issue.record("it was served")
      } catch let refusal as WorkloadRefusal {
        #expect(refusal.status == status && refusal.code == failure.description)
      }
    }
    d.processes.fail(nil)
    #expect(try await d.paths(connection.snapshot()) == ["/one"])
    await d.stop()
  }

  @Test func whoIsGoneIsForgotten() async throws {
    let d = try await served()
    func count() async -> Int64? { await d.service.status()["processes"]?.integer }
    var connection: (any WorkloadConnection)? = d.connect(uid: 1)
    let updates = try await connection?.updates()
    for _ in 0..<50 {
      let other = d.connect(uid: 2)
      _ = try await other.snapshot()
      other.close()
    }
    #expect(await count() == 51)
    try await d.service.tend()
    try await d.advance(seconds: 59)
    // Whoever comes back in time finds everything, and has the whole time again.
    let peer = d.processes.start(uid: 1)
    _ = try await d.service.connect(peer).snapshot()
    try await d.service.tend()
    #expect(await count() == 52)
    try await d.advance(seconds: 1)
    try await d.service.tend()
    #expect(await count() == 2)
    let signatures = d.custodian.signatures
    try await d.advance(seconds: 58)
    try await d.service.tend()
    _ = try await d.service.connect(peer).snapshot()
    try await d.advance(seconds: 2)
    try await d.service.tend()
    try await d.advance(seconds: 1)
    try await d.service.tend()
    _ = try await d.service.connect(peer).snapshot()
    #expect(d.custodian.signatures == signatures)
    connection = nil
    _ = updates
    await d.stop()
  }

  @Test func afterCloseNobodyIsServed() async throws {
    let d = try await served()
    let connection = d.connect(uid: 1)
    let updates = try await connection.updates()
    _ = try await updates.next()
    let waiting = Task { try await updates.next() }
    await d.service.close()
    #expect(try await waiting.value == nil)
    #expect(await code { _ = try await d.connect(uid: 2).snapshot() } == "stopping")
    await d.stop()
  }
}
