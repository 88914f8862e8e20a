import KeyHierarchy
import TestSupport
import Testing
import Wire
import WorkloadIdentity
@testable import WorkloadService

/// Who is pushed what, and at what price.
@Suite struct PushTests {
  private typealias D = ServiceDeployment

  @Test func changesReachOpenStreams() async throws {
    let d = try await D.found()
    let connection = d.connect(uid: 1, unit: "web.service")
    do {
      _ = try await connection.updates()
      Issue.record("updates for nobody")
    } catch let refusal as WorkloadRefusal {
      #expect(refusal.code == "no_identity")
      #expect(
        refusal.message.hasSuffix("Its selectors: systemd:id:web.service, unix:gid:1, unix:uid:1"), "\(refusal.message)"
      )
    }
    do {
      _ = try await d.connect(uid: 2, unit: String(repeating: "x", count: 1000) + ".service").updates()
      Issue.record("updates for nobody")
    } catch let refusal as WorkloadRefusal {
      #expect(refusal.message.hasSuffix("Its selectors: unix:gid:2, unix:uid:2"), "\(refusal.message)")
    }
    let a = try await d.change(create: [D.entry("/a", "unix:uid:1")])[0]
    let updates = try await connection.updates()
    #expect(try await d.paths(updates.next()) == ["/a"])
    // Several selectors must all match; the oldest entry comes first.
    let b = try await d.change(create: [
      D.entry("/b", "unix:uid:1", "systemd:id:web.service"), D.entry("/no", "unix:uid:1", "systemd:id:db.service"),
      D.entry("/other", "unix:uid:2"),
    ])[0]
    #expect(try await d.paths(updates.next()) == ["/a", "/b"])
    _ = try await d.change(update: [(b, D.entry("/c", "unix:uid:1"))])
    #expect(try await d.paths(updates.next()) == ["/a", "/c"])
    _ = try await d.change(update: [(a, D.entry("/a", "unix:uid:7"))])
    #expect(try await d.paths(updates.next()) == ["/c"])
    let waiting = Task { try await updates.next() }
    _ = try await d.change(delete: [b])
    await #expect(throws: WorkloadRefusal(.permissionDenied, "no_identity", "")) { _ = try await waiting.value }
    #expect(await code { _ = try await connection.snapshot() } == "no_identity")
    // It may come again.
    _ = try await d.change(create: [D.entry("/d", "unix:uid:1")])
    #expect(try await d.paths(connection.snapshot()) == ["/d"])
    await d.stop()
    #expect(try await connection.updates().next() == nil)
  }

  @Test func entriesOfOtherNodesAreNotServed() async throws {
    let d = try await D.found()
    let other = D.entry(
      "/a", "unix:uid:1", with: ["parent_id": .string("spiffe://\(D.trustDomain)/trustcore/other")])
    _ = try await d.change(create: [other])
    #expect(await code { _ = try await d.connect(uid: 1).snapshot() } == "no_identity")
    await d.stop()
  }

  @Test func onlyGroupsConcernedAreTouched() async throws {
    let d = try await D.found()
    _ = try await d.change(create: (0..<8).map { D.entry("/w/\($0)", "unix:uid:\($0)") })
    var all: [any WorkloadUpdates] = []
    for uid in 0..<8 {
      all.append(try await d.connect(uid: UInt32(uid)).updates())
      _ = try await all[uid].next()
    }
    #expect(d.custodian.signatures == 8)
    _ = try await d.change(create: [D.entry("/new", "unix:uid:100"), D.entry("/3", "unix:uid:3")])
    #expect(try await d.paths(all[3].next()) == ["/w/3", "/3"])
    await d.quiet()
    #expect(d.custodian.signatures == 9)
    // Nobody else has been woken with what he has already.
    for uid in 0..<8 where uid != 3 {
      let next = all[uid]
      let waiting = Task { try await next.next() }
      waiting.cancel()
      await #expect(throws: CancellationError.self) { _ = try await waiting.value }
    }
    // The same again changes nothing that a process could see.
    try await d.service.follow()
    try await d.service.tend()
    await d.quiet()
    #expect(d.custodian.signatures == 10)  // The first revocation list, of the first tending.
    await d.stop()
  }

  @Test func eachProcessHasItsOwnCertificate() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let peer = d.processes.start(uid: 1)
    let connections = [d.service.connect(peer), d.service.connect(peer)]
    var snapshots: [WorkloadSnapshot] = []
    for connection in connections {
      for _ in 0..<3 {
        let updates = try await connection.updates()
        if let snapshot = try await updates.next() { snapshots.append(snapshot) }
      }
    }
    #expect(Set(snapshots.map(\.version)).count == 1)
    #expect(d.custodian.signatures == 1)
    let other = try await d.connect(uid: 1).snapshot()
    #expect(other.svids[0].chain[0] != snapshots[0].svids[0].chain[0])
    #expect(other.svids[0].key !== snapshots[0].svids[0].key)
    let issued = try await d.events()
    #expect(Set(issued.compactMap { $0["attestation"]?.string }).count == 2)
    await d.stop()
  }

  @Test func slowReadersSeeTheNewestAlone() async throws {
    let d = try await D.found()
    let id = try await d.change(create: [D.entry("/0", "unix:uid:1")])[0]
    let updates = try await d.connect(uid: 1).updates()
    _ = try await updates.next()
    for number in 1...5 {
      _ = try await d.change(update: [(id, D.entry("/\(number)", "unix:uid:1"))])
      await d.quiet()
    }
    #expect(try await d.paths(updates.next()) == ["/5"])
    let waiting = Task { try await updates.next() }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { _ = try await waiting.value }
    await d.stop()
  }

  @Test func cancellationLeavesNobodyBehind() async throws {
    let channel = SnapshotChannel()
    let readers = (0..<50).map { _ in Updates(channel, membership: 0) {} }
    let tasks = readers.map { updates in Task { try await updates.next() } }
    while channel.waitingCount < 50 { await Task.yield() }
    for task in tasks { task.cancel() }
    for task in tasks { await #expect(throws: CancellationError.self) { _ = try await task.value } }
    #expect(channel.waitingCount == 0)
    let updates = readers[0]
    let last = Task { try await updates.next() }
    while channel.waitingCount < 1 { await Task.yield() }
    channel.close()
    #expect(try await last.value == nil)
    #expect(channel.waitingCount == 0)
  }

  @Test func cancelledReadersHaveNothingMore() async throws {
    let channel = SnapshotChannel()
    let readers = (0..<50).map { _ in Updates(channel, membership: 0) {} }
    let tasks = readers.map { updates in Task { try await updates.next() } }
    while channel.waitingCount < 50 { await Task.yield() }
    for updates in readers.dropFirst() { updates.cancel() }
    for task in tasks.dropFirst() { #expect(try await task.value == nil) }
    // The one that was not goes on waiting.
    #expect(channel.waitingCount == 1)
    let snapshot = WorkloadSnapshot(
      version: 1, trustDomain: try TrustDomain("example.org"), svids: [], bundles: [:], crls: [])
    channel.set(snapshot)
    #expect(try await tasks[0].value === snapshot)
    #expect(try await readers[1].next() == nil)
    channel.end(WorkloadRefusal(.permissionDenied, "no_identity", ""))
    #expect(try await readers[1].next() == nil)
    // However the two cross, nobody is left to wait.
    for _ in 0..<1000 {
      let updates = Updates(channel, membership: 0) {}
      channel.set(snapshot)
      _ = try await updates.next()
      async let next = updates.next()
      updates.cancel()
      #expect(try await next == nil)
    }
    #expect(channel.waitingCount == 0)
  }

  @Test func hintsAreToldApart() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [
      D.entry("/a", "unix:uid:1", with: ["hint": "x"]), D.entry("/b", "unix:uid:1", with: ["hint": "y"]),
    ])
    _ = try await d.change(create: [D.entry("/c", "unix:uid:1", with: ["hint": "x"])])
    let svids = try await d.connect(uid: 1).snapshot().svids
    #expect(svids.first { $0.id.path == "/c" }?.hint == "")
    #expect(Set(svids.map(\.hint)) == ["x", "y", ""])
    await d.stop()
  }

  /// An entry that is read while it changes must not be kept as it was.
  @Test func whatIsReadWhileItChangesIsReadAgain() async throws {
    var next = try await D.found()
    let id = try await next.change(create: [D.entry("/old", "unix:uid:1")])[0]
    for (path, isDeleted) in [("/new", false), ("", true)] {
      next = try await next.restarted()
      next.recorder.holdReaders(true)
      let connection = next.connect(uid: 1)
      let first = Task { try await connection.snapshot() }
      await next.recorder.waitUntilReading()
      if isDeleted {
        _ = try await next.change(delete: [id])
      } else {
        _ = try await next.change(update: [(id, D.entry(path, "unix:uid:1"))])
      }
      next.recorder.holdReaders(false)
      _ = try? await first.value
      await next.quiet()
      if isDeleted {
        #expect(await code { _ = try await connection.snapshot() } == "no_identity")
      } else {
        #expect(try await next.paths(connection.snapshot()) == [path])
        #expect(try await next.paths(next.connect(uid: 1).snapshot()) == [path])
      }
    }
    await next.stop()
  }

  /// What was being issued when its entry went is not put out.
  @Test func whatIsIssuedWhileItsEntryGoesIsNotGivenOut() async throws {
    let d = try await D.found()
    let ids = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:1")])
    let connection = d.connect(uid: 1)
    let updates = try await connection.updates()
    _ = try await updates.next()
    d.custodian.hold(true)
    _ = try await d.change(update: [(ids[0], D.entry("/c", "unix:uid:1"))])
    await d.custodian.waitUntilHeld()
    _ = try await d.change(create: [D.entry("/d", "unix:uid:1")], delete: [ids[0]])
    d.custodian.letOneGo()
    // That of the new one.
    await d.custodian.waitUntilHeld()
    #expect(try await !connection.snapshot().svids.contains { $0.id.path == "/c" })
    d.custodian.hold(false)
    #expect(try await d.paths(updates.next()) == ["/b", "/d"])
    await d.stop()
  }

  /// Taking away does not wait for the HSM.
  @Test func redactionDoesNotNeedTheHSM() async throws {
    let d = try await D.found()
    let ids = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:1")])
    let updates = try await d.connect(uid: 1).updates()
    _ = try await updates.next()
    d.custodian.setAway(.unavailable)
    _ = try await d.change(create: [D.entry("/c", "unix:uid:1")], delete: [ids[0]])
    #expect(try await d.paths(updates.next()) == ["/b"])
    _ = try await d.change(update: [(ids[1], D.entry("/b2", "unix:uid:1"))])
    #expect(await code { _ = try await updates.next() } == "hsm_unavailable")
    d.custodian.setAway(nil)
    await d.quiet()
    try await d.advance(seconds: 2)
    try await d.service.tend()
    await d.quiet()
    #expect(try await Set(d.paths(d.connect(uid: 1).snapshot())) == ["/b2", "/c"])
    await d.stop()
  }

  /// However many entries are kept in memory, a process keeps all of its own.
  @Test func aFullMemoryTakesNothingAway() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let updates = try await d.connect(uid: 1).updates()
    _ = try await updates.next()
    await d.service.crowd(d.world.random)
    _ = try await d.change(create: [D.entry("/b", "unix:uid:1")])
    #expect(try await d.paths(updates.next()) == ["/a", "/b"])
    await d.stop()
  }
}

extension WorkloadService {
  /// Fills the memory for entries.
  fileprivate func crowd(_ random: SeededRandom) {
    guard let some = registrations.values.first else { return }
    while registrations.count <= Self.registrationLimit { registrations[EntryID(random: random)] = some }
  }
}
