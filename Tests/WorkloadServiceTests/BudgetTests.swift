import KeyHierarchy
import TestSupport
import Testing
import Wire
import WorkloadIdentity
@testable import WorkloadService

/// How many signatures whom the HSM gives, and who waits.
@Suite struct BudgetTests {
  private typealias D = ServiceDeployment

  private func code(of connection: any WorkloadConnection, _ audience: String) async -> String? {
    await WorkloadServiceTests.code { _ = try await connection.jwtSVIDs(audiences: [audience], id: nil) }
  }

  @Test func buckets() {
    let start = Timestamp(seconds: 1000)
    func after(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: start.milliseconds + milliseconds) }
    var bucket = TokenBucket(perMinute: 60, burst: 3, at: start)
    for _ in 0..<3 { #expect(bucket.take(at: start) == nil) }
    #expect(bucket.take(at: start) == 1000)
    #expect(bucket.take(at: after(999)) == 1)
    #expect(bucket.take(at: after(1000)) == nil)
    #expect(bucket.take(at: after(1000)) == 1000)
    // A clock that is set back gives nothing, and however much time passes it gives no more than the burst.
    #expect(bucket.take(at: start) == 1000)
    #expect(bucket.isFull(at: Timestamp(milliseconds: Int64.max)))
    for _ in 0..<3 { #expect(bucket.take(at: Timestamp(milliseconds: Int64.max)) == nil) }
    #expect(bucket.take(at: Timestamp(milliseconds: Int64.max)) != nil)
  }

  @Test func eachCallerEachEntryAndAll() async throws {
    let d = try await D.found { $0.signaturesPerMinute = (all: 600, user: 600, caller: 100) }
    _ = try await d.change(create: [
      D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:2"),
      D.entry("/c", "unix:uid:3", with: ["signatures_per_minute": 40]),
    ])
    // A twentieth of a minute's budget at once: 5 for a caller, 2 for the entry, 30 for all.
    let (a, b) = (d.connect(uid: 1), d.connect(uid: 2))
    for number in 0..<5 { #expect(await code(of: a, "\(number)") == nil) }
    #expect(await code(of: a, "6") == "caller_rate")
    #expect(await code(of: a, "1") == nil, "what is at hand costs nothing")
    #expect(await code(of: b, "1") == nil, "another caller is not concerned")
    do { _ = try await a.jwtSVIDs(audiences: ["6"], id: nil) } catch let refusal as WorkloadRefusal {
      #expect(refusal.status == .unavailable && refusal.retryAfter == 600)
    }
    let (c, other) = (d.connect(uid: 3), d.connect(uid: 3))
    #expect(await code(of: c, "1") == nil)
    #expect(await code(of: other, "2") == nil)
    #expect(await code(of: c, "3") == "entry_rate")
    for uid in 0..<5 {
      let connection = d.connect(uid: UInt32(1 + uid % 2))
      for number in 0..<5 { _ = await code(of: connection, "\(uid)/\(number)") }
    }
    #expect(await code(of: d.connect(uid: 1), "last") == "signature_budget")
    #expect(d.custodian.signatures == 30)
    try await d.advance(seconds: 1)
    #expect(await code(of: d.connect(uid: 1), "last") == nil)
    await d.stop()
  }

  /// More processes do not give a user more than others leave.
  @Test func oneUserLeavesSomethingToOthers() async throws {
    let d = try await D.found { $0.signaturesPerMinute = (all: 600, user: 200, caller: 100) }
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:2")])
    // A twentieth of a minute's budget at once: 10 for a user, 5 for each process.
    for process in 0..<2 {
      let connection = d.connect(uid: 1)
      for number in 0..<5 { #expect(await code(of: connection, "\(process)/\(number)") == nil) }
    }
    #expect(await code(of: d.connect(uid: 1), "third") == "user_rate")
    #expect(await code(of: d.connect(uid: 2), "another user") == nil)
    await d.stop()
  }

  @Test func aChangedRateCounts() async throws {
    let d = try await D.found()
    // For tokens alone, so that nothing is issued besides.
    func entry(_ rate: Int64) -> JSONValue {
      D.entry("/c", "unix:uid:3", with: ["signatures_per_minute": .integer(rate), "issues": ["jwt"]])
    }
    let id = try await d.change(create: [entry(100_000)])[0]
    let connection = d.connect(uid: 3)
    #expect(await code(of: connection, "1") == nil)
    _ = try await d.change(update: [(id, entry(1))])
    #expect(await code(of: connection, "2") == nil)
    #expect(await code(of: connection, "3") == "entry_rate")
    await d.stop()
  }

  @Test func whoIsRefusedIsInNobodysWay() async throws {
    let d = try await D.found { $0.signaturesPerMinute = (all: 180_000, user: 60_000, caller: 20) }
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let greedy = d.connect(uid: 1)
    #expect(await code(of: greedy, "1") == nil)
    let (other, again) = (d.connect(uid: 1), greedy)
    async let refused = code(of: again, "2")
    async let served = code(of: other, "2")
    #expect(await [refused, served].contains(nil))
    #expect(await code(of: d.connect(uid: 1), "2") == nil)
    await d.stop()
  }

  @Test func renewalsWait() async throws {
    let d = try await D.found { $0.signaturesPerMinute = (all: 200, user: 200, caller: 1200) }
    _ = try await d.change(create: (1...30).map { D.entry("/\($0)", "unix:uid:\($0)") })
    var all: [any WorkloadUpdates] = []
    for uid in 1...30 {
      try await d.advance(seconds: 1)
      all.append(try await d.connect(uid: UInt32(uid)).updates())
      _ = try await all[uid - 1].next()
    }
    #expect(d.slept.value == 0)
    try await d.submit("/v1/authorities/x509/rotate", as: d.world.officer.principal, d.world.officer.key)
    try await d.service.tend()
    let active = try await d.active().chain[0]
    for updates in all { #expect(try await updates.next()?.svids[0].chain[1] == active) }
    #expect(d.slept.value > 0)
    await d.stop()
  }

  @Test func keysAreAsManyAsThereIsMemoryFor() async throws {
    let d = try await D.found { $0.keyCapacity = 2 }
    _ = try await d.change(create: (1...3).map { D.entry("/\($0)", "unix:uid:\($0)") })
    let connections = (1...3).map { d.connect(uid: UInt32($0)) }
    for connection in connections.prefix(2) { _ = try await connection.snapshot() }
    #expect(await WorkloadServiceTests.code { _ = try await connections[2].snapshot() } == "key_memory_full")
    connections[0].close()
    try await d.service.tend()
    try await d.advance(seconds: 61)
    try await d.service.tend()
    await d.quiet()
    #expect(try await d.paths(connections[2].snapshot()) == ["/3"])
    await d.stop()
  }

  @Test func oneUserLeavesLockedMemoryToOthers() async throws {
    let d = try await D.found { $0.keyCapacity = 8 }
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1"), D.entry("/b", "unix:uid:2")])
    let greedy = (0..<7).map { d.connect(uid: 1, unit: "\($0).service") }
    for connection in greedy.prefix(6) { _ = try await connection.snapshot() }
    #expect(await WorkloadServiceTests.code { _ = try await greedy[6].snapshot() } == "key_memory_full")
    #expect(try await d.connect(uid: 2).snapshot().svids.count == 1)
    await d.stop()
  }

  /// One entry's rate takes nothing from a process but that entry's identity, and only until there is room.
  @Test func anEntrysRateIsItsOwn() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [
      D.entry("/a", "unix:uid:1"), D.entry("/rare", "unix:uid:1", with: ["signatures_per_minute": 1]),
      D.entry("/z", "unix:uid:1"),
    ])
    #expect(try await d.connect(uid: 1).snapshot().svids.map(\.id.path) == ["/a", "/rare", "/z"])
    let second = d.connect(uid: 1, unit: "b.service")
    let updates = try await second.updates()
    #expect(try await updates.next()?.svids.map(\.id.path) == ["/a", "/z"])
    #expect(try await second.jwtSVIDs(audiences: ["x"], id: nil).map(\.id.path) == ["/a", "/z"])
    #expect(
      await WorkloadServiceTests.code {
        _ = try await second.jwtSVIDs(audiences: ["x"], id: try SPIFFEID(d.domain, path: "/rare"))
      } == "entry_rate")
    func pass(_ seconds: Int64) async throws {
      try await d.advance(seconds: seconds)
      try await d.service.tend()
      await d.quiet()
    }
    for _ in 0..<5 { try await pass(10) }
    #expect(try await second.snapshot().svids.count == 2, "the entry's rate holds for what the service does by itself")
    try await pass(15)
    #expect(try await updates.next()?.svids.map(\.id.path) == ["/a", "/rare", "/z"])
    #expect(try await d.audit().isEmpty)
    await d.stop()
  }

  /// Nobody runs under another name because the first one is used up.
  @Test func noOtherIdentityTakesTheDefaultsPlace() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [
      D.entry("/first", "unix:uid:1", with: ["signatures_per_minute": 1]), D.entry("/second", "unix:uid:1"),
    ])
    #expect(try await d.connect(uid: 1).snapshot().svids.map(\.id.path) == ["/first", "/second"])
    let next = d.connect(uid: 1, unit: "b.service")
    #expect(await WorkloadServiceTests.code { _ = try await next.snapshot() } == "entry_rate")
    #expect(await code(of: next, "x") == "entry_rate")
    let second = try await next.jwtSVIDs(audiences: ["x"], id: try SPIFFEID(d.domain, path: "/second"))
    #expect(second.map(\.id.path) == ["/second"], "who asks for it by name gets it")
    await d.stop()
  }

  /// A process with more entries than its burst gets the rest a moment later.
  @Test func moreEntriesThanTheBurst() async throws {
    let d = try await D.found { $0.signaturesPerMinute = (all: 6000, user: 6000, caller: 200) }
    _ = try await d.change(create: (0..<25).map { D.entry("/\($0)", "unix:uid:1") })
    let updates = try await d.connect(uid: 1).updates()
    #expect(try await updates.next()?.svids.count == 10)
    try await d.advance(seconds: 1)
    try await d.service.tend()
    #expect(try await updates.next()?.svids.count == 25)
    await d.stop()
  }

  /// Nobody is given a token that verifiers do not read.
  @Test func tokensHaveALength() async throws {
    let d = try await D.found()
    _ = try await d.change(create: [D.entry("/a", "unix:uid:1")])
    let connection = d.connect(uid: 1)
    func audiences(_ count: Int) -> [String] { (0..<count).map { String(repeating: "x", count: 1000) + "\($0)" } }
    #expect(try await connection.jwtSVIDs(audiences: audiences(10), id: nil).count == 1)
    #expect(
      await WorkloadServiceTests.code { _ = try await connection.jwtSVIDs(audiences: audiences(16), id: nil) }
        == "audience_invalid")
    #expect(try await d.events().count == 1)
    await d.stop()
  }
}
