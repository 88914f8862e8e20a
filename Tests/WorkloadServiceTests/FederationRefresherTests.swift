import Synchronization
import TestSupport
import Testing
import Wire
import WorkloadIdentity

@testable import WorkloadService

/// Federations in memory, with the rules that the service keeps.
actor MemoryFederations: FederationBundles {
  private var terms: [FederationTerms] = []
  private var bundles: [TrustDomain: SPIFFEBundle] = [:]
  private var leaf: UInt64 = 0
  private var written: [TrustDomain: UInt64] = [:]
  private(set) var taken = 0

  func endpoints() -> [(terms: FederationTerms, bundle: SPIFFEBundle?)] {
    terms.map { ($0, bundles[$0.trustDomain]) }
  }

  func bundle(of trustDomain: TrustDomain) -> SPIFFEBundle? { bundles[trustDomain] }

  func leaves() -> [TrustDomain: UInt64] {
    written.filter { domain, _ in terms.contains { $0.trustDomain == domain } }
  }

  func take(_ document: [UInt8], of trustDomain: TrustDomain) throws -> Bool {
    let bundle = try SPIFFEBundle(trustDomain: trustDomain, parsing: document)
    let present = bundles[trustDomain]
    guard bundle != present else { return false }
    guard bundle.sequence ?? .max >= present?.sequence ?? 0 else { throw Problem(409, "bundle_older", "It is older.") }
    bundles[trustDomain] = bundle
    taken += 1
    record(trustDomain)
    return true
  }

  func set(_ terms: [FederationTerms]) {
    self.terms = terms
    for terms in terms { record(terms.trustDomain) }
  }

  func set(_ bundle: SPIFFEBundle) {
    bundles[bundle.trustDomain] = bundle
    record(bundle.trustDomain)
  }

  private func record(_ trustDomain: TrustDomain) {
    leaf += 1
    written[trustDomain] = leaf
  }
}

@Suite("Refreshing federated bundles", .serialized)
struct FederationRefresherTests {
  let federations = MemoryFederations()
  let start = FederationAuthority.now

  private func refresher(limit: Int = 4, _ fetch: FederationRefresher.Fetch? = nil) -> FederationRefresher {
    let client = BundleEndpointClient()
    return FederationRefresher(
      federations, random: SeededRandom(1), limit: limit,
      fetch: fetch ?? { try await client.fetch($0, endpoint: $1, now: $2) })
  }

  private func tick(_ refresher: FederationRefresher, after seconds: Int64) async -> JSONObject? {
    await refresher.tick(start.adding(seconds: seconds))
    await refresher.settle()
    return await refresher.status().first
  }

  @Test("an endpoint rotates its own key through the bundle that it serves")
  func rotation() async throws {
    let (old, new) = (try await FederationAuthority(seed: 1), try await FederationAuthority(seed: 2))
    let refresher = refresher()
    let first = try old.bundle(sequence: 1, hint: 60)
    let both = try old.bundle(new, sequence: 2, hint: 60)
    let last = try new.bundle(sequence: 3, hint: 60)
    await federations.set(first)
    try await FederationServer.run(try await old.server(), .document(first.json())) { server async throws in
      await federations.set([try .of(old.domain, server.url(), endpoint: old.id("/bundle"))])
      #expect(await tick(refresher, after: 0)?["failures"] == 0)
      #expect(await federations.taken == 0)
      // The new key is announced under the old one, taken into use, and then the old one is dropped.
      server.answer(.document(both.json()))
      #expect(await tick(refresher, after: 100)?["failures"] == 0)
      #expect(await federations.bundle(of: old.domain) == both)
      server.prove(try await new.server())
      server.answer(.document(last.json()))
      #expect(await tick(refresher, after: 200)?["failures"] == 0)
      #expect(await federations.bundle(of: old.domain) == last)
      // Who has the old key is nobody any more.
      server.prove(try await old.server())
      server.answer(.document(try old.bundle(sequence: 4).json()))
      let status = await tick(refresher, after: 300)
      #expect(status?["last_error"]?.object?["reason"]?.string?.hasPrefix("federation_identity: ") == true)
      #expect(await federations.bundle(of: old.domain) == last)
      #expect(await federations.taken == 2)
    }
  }

  @Test("nothing that is wrong takes the place of the bundle at hand")
  func wrong() async throws {
    let (here, other) = (try await FederationAuthority(), try await FederationAuthority("other.test"))
    let present = try here.bundle(sequence: 5, hint: 60)
    let newer = try here.bundle(other, sequence: 6)
    let refresher = refresher()
    await federations.set(present)
    let table: [(String, ServerIdentity, FederationServer.Reply, code: String)] = [
      ("older", try await here.server(), .document(try here.bundle(sequence: 4).json()), "bundle_older"),
      ("garbage", try await here.server(), .document(Array("<html>".utf8)), "spiffe_bundle_invalid"),
      ("no keys member", try await here.server(), .document(Array("{}".utf8)), "spiffe_bundle_invalid"),
      ("empty", try await here.server(), .document([]), "spiffe_bundle_invalid"),
      ("another identity", try await here.server("/x"), .document(newer.json()), "federation_identity"),
      ("another trust domain", try await other.server(), .document(newer.json()), "federation_identity"),
      ("not found", try await here.server(), .init("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"), "federation_status"),
    ]
    try await FederationServer.run(try await here.server()) { server async throws in
      await federations.set([try .of(here.domain, server.url(), endpoint: here.id("/bundle"))])
      for (index, row) in table.enumerated() {
        server.prove(row.1)
        server.answer(row.2)
        let status = await tick(refresher, after: Int64(index) * 100)
        #expect(status?["failures"]?.integer == Int64(index + 1), "\(row.0)")
        #expect(
          status?["last_error"]?.object?["reason"]?.string?.hasPrefix(row.code + ": ") == true,
          "\(row.0): \(status.map { JSONValue.object($0) } ?? .null)")
        #expect(await federations.bundle(of: here.domain) == present, "\(row.0)")
      }
      #expect(await federations.taken == 0)
      server.prove(try await here.server())
      server.answer(.document(newer.json()))
      let status = await tick(refresher, after: 10_000)
      #expect(status?["failures"] == 0 && status?["last_error"] == nil)
      #expect(await federations.bundle(of: here.domain) == newer)
    }
  }

  @Test("an endpoint of a third trust domain is verified with the bundle of that one")
  func third() async throws {
    let (here, other) = (try await FederationAuthority(), try await FederationAuthority("other.test"))
    let refresher = refresher()
    let bundle = try other.bundle()
    try await FederationServer.run(try await here.server(), .document(bundle.json())) { server async throws in
      await federations.set([try .of(other.domain, server.url(), endpoint: here.id("/bundle"))])
      let reason = await tick(refresher, after: 0)?["last_error"]?.object?["reason"]?.string
      #expect(reason?.hasPrefix("federation_bundle_missing: ") == true)
      await federations.set(try here.bundle())
      #expect(await tick(refresher, after: 100)?["failures"] == 0)
      #expect(await federations.bundle(of: other.domain) == bundle)
    }
  }

  @Test("status, member by member")
  func status() async throws {
    let here = try await FederationAuthority()
    let answer = Mutex<Result<[UInt8], FederationError>>(.success(try here.bundle(hint: 600).json()))
    let refresher = refresher { _, _, _ in try answer.withLock { try $0.get() } }
    let terms = try FederationTerms.of(here.domain, "https://here.test/b")
    await federations.set([terms])
    #expect(await refresher.status().isEmpty)
    let good = await tick(refresher, after: 0)
    #expect(good?["last_success"] == .string(start.description) && good?["last_error"] == nil)
    let next = try #require(good?["next"]?.string)
    #expect((start.adding(seconds: 600).description...start.adding(seconds: 660).description).contains(next))
    for member in terms.json { #expect(good?[member.name] == member.value) }
    answer.withLock { $0 = .failure(FederationError(.timeout, "too slow")) }
    let bad = await tick(refresher, after: 660)
    #expect(bad?["last_success"] == .string(start.description) && bad?["failures"] == 1)
    #expect(
      bad?["last_error"]
        == ["at": .string(start.adding(seconds: 660).description), "reason": "federation_timeout: too slow"])
    await federations.set([FederationTerms]())
    #expect(await tick(refresher, after: 661) == nil)
  }

  /// Fetches that wait until the test lets them go.
  private final class Gate: Sendable {
    private let waiting = Mutex<[(FederationTerms, CheckedContinuation<[UInt8], any Error>)]>([])
    let arrivals = AsyncStream.makeStream(of: FederationTerms.self)

    var fetch: FederationRefresher.Fetch {
      { [self] terms, _, _ in
        try await withTaskCancellationHandler {
          try await withCheckedThrowingContinuation { continuation in
            waiting.withLock { $0.append((terms, continuation)) }
            arrivals.continuation.yield(terms)
          }
        } onCancel: {
          release(.failure(CancellationError()))
        }
      }
    }

    var held: [String] { waiting.withLock { $0.map(\.0.trustDomain.name).sorted() } }

    func release(_ result: Result<[UInt8], any Error>) {
      let all = waiting.withLock { all in
        defer { all = [] }
        return all
      }
      for (_, continuation) in all { continuation.resume(with: result) }
    }

    func arrived(_ count: Int) async {
      var left = count
      for await _ in arrivals.stream {
        left -= 1
        if left == 0 { return }
      }
    }
  }

  @Test("some at once, none of one trust domain twice, and all in the end", .timeLimit(.minutes(1)))
  func concurrency() async throws {
    let gate = Gate()
    let refresher = refresher(limit: 2, gate.fetch)
    await federations.set(try ["a", "b", "c"].map { try .of(TrustDomain($0), "https://\($0)/") })
    for _ in 0..<5 { await refresher.tick(start) }
    await gate.arrived(2)
    #expect(gate.held == ["a", "b"])
    #expect(await refresher.status().map { $0["refreshing"] == true } == [true, true, false])
    gate.release(.success(Array(#"{"keys":[]}"#.utf8)))
    await refresher.settle()
    await refresher.tick(start)
    await gate.arrived(1)
    #expect(gate.held == ["c"])
    gate.release(.success(Array(#"{"keys":[]}"#.utf8)))
    await refresher.settle()
    #expect(await federations.taken == 3)
  }

  @Test("what is fetched by terms that have changed or ended since is not taken", .timeLimit(.minutes(1)))
  func overtaken() async throws {
    let gate = Gate()
    let refresher = refresher(gate.fetch)
    let domain = try TrustDomain("a")
    let (old, new) = (try FederationTerms.of(domain, "https://a/1"), try FederationTerms.of(domain, "https://a/2"))
    for terms in [[new], []] {
      await federations.set([old])
      await refresher.tick(start)
      await gate.arrived(1)
      await federations.set(terms)
      await refresher.tick(start)
      gate.release(.success(Array(#"{"keys":[]}"#.utf8)))
      await refresher.settle()
      #expect(await federations.taken == 0)
      #expect(await refresher.status().map { $0["failures"] } == terms.map { _ in 0 })
    }
  }

  @Test("what is set again, whatever it says, is fetched at once; a fetch's own news is no reason for another")
  func setAgain() async throws {
    let here = try await FederationAuthority()
    let bundle = try here.bundle(hint: 86_400)
    let answer = Mutex<Result<[UInt8], FederationError>>(.failure(FederationError(.timeout, "too slow")))
    let calls = Mutex(0)
    let refresher = refresher { _, _, _ in
      calls.withLock { $0 += 1 }
      return try answer.withLock { try $0.get() }
    }
    let terms = try FederationTerms.of(here.domain, "https://here.test/b")
    await federations.set([terms])
    for second in [0, 1] as [Int64] { #expect(await tick(refresher, after: second)?["failures"] == 1) }
    #expect(calls.withLock { $0 } == 1)
    await federations.set([terms])
    #expect(await tick(refresher, after: 2)?["failures"] == 1)
    #expect(calls.withLock { $0 } == 2)
    await federations.set(bundle)
    answer.withLock { $0 = .success(bundle.json()) }
    #expect(await tick(refresher, after: 3)?["failures"] == 0)
    await federations.set([terms])
    let newer = try here.bundle(sequence: 9, hint: 86_400)
    answer.withLock { $0 = .success(newer.json()) }
    for second in [4, 5, 6] as [Int64] { #expect(await tick(refresher, after: second)?["failures"] == 0) }
    #expect(calls.withLock { $0 } == 4)
    #expect(await federations.taken == 1)
  }

  @Test("what is set while it is fetched is fetched again, and what came before is not taken", .timeLimit(.minutes(1)))
  func setMeanwhile() async throws {
    let gate = Gate()
    let refresher = refresher(gate.fetch)
    let terms = try FederationTerms.of(TrustDomain("a"), "https://a/")
    await federations.set([terms])
    for isNoticed in [false, true] {
      await refresher.tick(start)
      await gate.arrived(1)
      await federations.set([terms])
      if isNoticed { await refresher.tick(start) }
      gate.release(.success(Array(#"{"keys":[]}"#.utf8)))
      await refresher.settle()
      #expect(await federations.taken == 0)
    }
    await refresher.tick(start)
    await gate.arrived(1)
    gate.release(.success(Array(#"{"keys":[]}"#.utf8)))
    await refresher.settle()
    #expect(await federations.taken == 1)
    #expect(await refresher.status().first?["failures"] == 0)
  }

  @Test("closing ends what is under way", .timeLimit(.minutes(1)))
  func closing() async throws {
    let gate = Gate()
    let refresher = refresher(gate.fetch)
    await federations.set([try .of(TrustDomain("a"), "https://a/")])
    await refresher.tick(start)
    await gate.arrived(1)
    await refresher.close()
    #expect(gate.held.isEmpty)
    await refresher.tick(start.adding(seconds: 1000))
    #expect(gate.held.isEmpty)
    #expect(await federations.taken == 0)
  }
}
