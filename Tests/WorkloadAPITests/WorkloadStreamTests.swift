import GRPCCore
import SwiftProtobuf
import Testing
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

@Suite("Streams of the Workload API", .serialized)
struct WorkloadStreamTests {
  @Test("The first message comes at once, with certificates, keys, bundles, hints and revocation lists")
  func firstMessage() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(
      1, paths: ["/a", "/b", "/c"], hints: ["in", "in", "out"], federated: ["other.org", "third.org"],
      crls: [[0x30, 0], [0x30, 1, 5]])
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let first = try await client.x509 { try await $0.first { _ in true } }
        let response = try #require(first)
        #expect(
          response.svids.map(\.spiffeID) == [
            "spiffe://example.org/a", "spiffe://example.org/b", "spiffe://example.org/c",
          ])
        #expect(response.svids.map(\.hint) == ["in", "", "out"])
        for (index, svid) in response.svids.enumerated() {
          #expect(Array(svid.x509Svid) == snapshot.svids[index].chain.flatMap(\.self))
          #expect(Array(svid.x509SvidKey) == [UInt8](repeating: UInt8(1 + index), count: 138))
          #expect(Array(svid.bundle) == FakeWorld.der(1, 300))
        }
        #expect(response.federatedBundles.keys.sorted() == ["spiffe://other.org", "spiffe://third.org"])
        #expect(response.crl.map { Array($0) } == [[0x30, 0], [0x30, 1, 5]])
        let bundles: SPIFFEX509BundlesResponse? = try await client.stream(
          "FetchX509Bundles", SPIFFEX509BundlesRequest()
        ) { try await $0.first { _ in true } }
        #expect(bundles?.bundles.keys.sorted() == ["spiffe://example.org", "spiffe://other.org", "spiffe://third.org"])
        #expect(bundles?.crl.count == 2)
        let sets: SPIFFEJWTBundlesResponse? = try await client.stream(
          "FetchJWTBundles", SPIFFEJWTBundlesRequest()
        ) { try await $0.first { _ in true } }
        #expect(sets?.bundles["spiffe://example.org"].map { Array($0) } == Array("{\"keys\":[]}".utf8))
      }
    }
  }

  @Test("A change is pushed complete, an absence is a redaction, and losing everything ends the stream")
  func pushes() async throws {
    let world = FakeWorld()
    let snapshots = [
      try world.snapshot(1, paths: ["/a", "/b"], federated: ["other.org"]), try world.snapshot(2, paths: ["/b"]),
    ]
    world.change { $0.snapshot = snapshots[0] }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let end = await status {
          try await client.x509 { messages in
            var messages = messages.makeAsyncIterator()
            let first = try await messages.next()
            #expect(first?.svids.count == 2 && first?.federatedBundles.count == 1)
            world.change { $0.snapshot = snapshots[1] }
            let second = try await messages.next()
            #expect(second?.svids.map(\.spiffeID) == ["spiffe://example.org/b"])
            #expect(second?.federatedBundles.isEmpty == true)
            world.change { $0.snapshot = nil }
            _ = try await messages.next()
          }
        }
        #expect(end?.code == .permissionDenied)
        #expect(end?.message == "no_identity: no entry matches this workload")
        #expect(await status { try await client.x509 { for try await _ in $0 {} } }?.code == .permissionDenied)
      }
    }
  }

  @Test("A stream says nothing twice: it is silent while what it carries stays the same")
  func noDuplicates() async throws {
    let world = FakeWorld()
    let first = try world.snapshot(1)
    @Sendable func same(_ version: UInt64, root: UInt8 = 1, jwks: String = "{\"keys\":[]}") -> WorkloadSnapshot {
      WorkloadSnapshot(
        version: version, trustDomain: first.trustDomain, svids: first.svids,
        bundles: [first.trustDomain: WorkloadBundle(roots: [FakeWorld.der(root, 300)], jwks: Array(jwks.utf8))],
        crls: [])
    }
    world.change { $0.snapshot = first }
    try await serving(world) { path, _ in
      try await client(path) { client in
        try await client.stream("FetchX509Bundles", SPIFFEX509BundlesRequest()) {
          (messages: RPCAsyncSequence<SPIFFEX509BundlesResponse, any Error>) in
          var messages = messages.makeAsyncIterator()
          _ = try await messages.next()
          await world.wait(for: .waits)
          world.change { $0.snapshot = same(2, jwks: "{\"keys\":[{}]}") }
          await world.wait(for: .waits)
          world.change { $0.snapshot = same(3, root: 4) }
          #expect(try await messages.next()?.bundles.values.map { Array($0) } == [FakeWorld.der(4, 300)])
        }
        await world.wait(for: .cancelled)
        try await client.stream("FetchJWTBundles", SPIFFEJWTBundlesRequest()) {
          (messages: RPCAsyncSequence<SPIFFEJWTBundlesResponse, any Error>) in
          var messages = messages.makeAsyncIterator()
          _ = try await messages.next()
          await world.wait(for: .waits)
          world.change { $0.snapshot = same(4, root: 5) }
          await world.wait(for: .waits)
          world.change { $0.snapshot = same(5, root: 5, jwks: "{\"keys\":[1]}") }
          #expect(try await messages.next()?.bundles.values.map { Array($0) } == [Array("{\"keys\":[1]}".utf8)])
        }
        await world.wait(for: .cancelled)
        try await client.x509 { messages in
          var messages = messages.makeAsyncIterator()
          _ = try await messages.next()
          await world.wait(for: .waits)
          world.change { $0.snapshot = same(6, root: 5, jwks: "{\"keys\":[2]}") }
          await world.wait(for: .waits)
          world.change { $0.snapshot = same(7, root: 6) }
          #expect(try await messages.next().map { Array($0.svids[0].bundle) } == FakeWorld.der(6, 300))
        }
      }
    }
  }

  @Test("Nothing goes to a process that is not the one that was attested, at first or later")
  func confirmation() async throws {
    let world = FakeWorld()
    let snapshots = [try world.snapshot(1), try world.snapshot(2)]
    let gone = WorkloadRefusal(.permissionDenied, "process_replaced", "the process has changed: connect again")
    world.change {
      $0.snapshot = snapshots[0]
      $0.confirmation = gone
    }
    try await serving(world) { path, _ in
      try await client(path) { client in
        #expect(await status { try await client.x509 { for try await _ in $0 {} } }?.message == gone.description)
        let jwt = await status {
          let _: SPIFFEJWTSVIDResponse = try await client.unary(
            "FetchJWTSVID", SPIFFEJWTSVIDRequest.with { $0.audience = ["a"] })
        }
        #expect(jwt?.message == gone.description)
        world.change { $0.confirmation = nil }
        let later = await status {
          try await client.x509 { messages in
            var messages = messages.makeAsyncIterator()
            #expect(try await messages.next() != nil)
            world.change {
              $0.snapshot = snapshots[1]
              $0.confirmation = gone
            }
            _ = try await messages.next()
          }
        }
        #expect(later?.code == .permissionDenied)
      }
    }
  }

  @Test("Refusals keep their code, their words and when to try again")
  func refusals() async throws {
    let world = FakeWorld()
    try await serving(world) { path, _ in
      try await client(path) { client in
        for (refusal, code) in [
          (
            WorkloadRefusal(.unavailable, "shed", "too much at once: try again", retryAfter: 1500),
            RPCError.Code.unavailable
          ),
          (WorkloadRefusal(.failedPrecondition, "log_read_only", "ask the operator"), .failedPrecondition),
          (WorkloadRefusal(.invalidArgument, "bad", "é ü %"), .invalidArgument),
        ] {
          world.change { $0.refusal = refusal }
          let error = await status { try await client.x509 { for try await _ in $0 {} } }
          #expect(error?.code == code)
          #expect(error?.message == refusal.description)
          #expect(
            error?.metadata[stringValues: "grpc-retry-pushback-ms"].map { $0 }
              == (refusal.retryAfter.map { ["\($0)"] } ?? []))
        }
      }
    }
  }

  @Test("A workload whose keys are all its own gets no X.509-SVID here, but its bundles")
  func ownKeys() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1, ownKeys: true)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let error = await status { try await client.x509 { for try await _ in $0 {} } }
        #expect(error?.code == .permissionDenied && error?.message.hasPrefix("own_key_only") == true)
        let bundles: SPIFFEX509BundlesResponse? = try await client.stream(
          "FetchX509Bundles", SPIFFEX509BundlesRequest()
        ) { try await $0.first { _ in true } }
        #expect(bundles?.bundles.count == 1)
      }
    }
  }

  @Test("The daemon's stop ends streams with Unavailable, and removes the socket")
  func stop() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let end = await status {
          try await client.x509 { messages in
            var messages = messages.makeAsyncIterator()
            _ = try await messages.next()
            world.change { $0.stopped = true }
            _ = try await messages.next()
          }
        }
        #expect(end?.code == .unavailable && end?.message.hasPrefix("stopping") == true)
      }
    }
  }

  @Test("A rotated key is let go of while its stream stays open")
  func keysAreReleased() async throws {
    let world = FakeWorld()
    weak let old: WorkloadSnapshot?
    do {
      let snapshot = try world.snapshot(1)
      old = snapshot
      world.change { $0.snapshot = snapshot }
    }
    try await serving(world) { path, _ in
      try await client(path) { client in
        try await client.x509 { messages in
          var messages = messages.makeAsyncIterator()
          _ = try await messages.next()
          await world.wait(for: .waits)
          let next = try world.snapshot(2)
          world.change { $0.snapshot = next }
          _ = try await messages.next()
          await world.wait(for: .waits)
        }
      }
    }
    #expect(old == nil)
  }
}
