import Foundation
import GRPCCore
import Testing
import WorkloadIdentity

@testable import WorkloadAPI

@Suite("The client of the Workload API", .serialized)
struct WorkloadClientTests {
  @Test("Streams, tokens and certificates for own keys")
  func everything() async throws {
    let world = FakeWorld()
    let snapshots = [try world.snapshot(1, federated: ["other.org"]), try world.snapshot(2)]
    world.change { $0.snapshot = snapshots[0] }
    try await serving(world) { path, _ in
      try await WorkloadClient.connected(to: path) { client in
        try await client.x509SVIDs { update in
          #expect(update.svids[0].id.description == "spiffe://example.org/web")
          let version = update.federated.isEmpty ? UInt8(2) : 1
          #expect(
            update.svids[0].key?.withBytes { unsafe $0.withUnsafeBytes { unsafe [UInt8]($0) } }
              == [UInt8](repeating: version, count: 138))
          #expect(update.svids[0].chain == snapshots[Int(version) - 1].svids[0].chain)
          if version == 2 { return .enough }
          world.change { $0.snapshot = snapshots[1] }
          return .more
        }
        try await client.x509Bundles { bundles in
          #expect(bundles.roots.values.map(\.self) == [[FakeWorld.der(1, 300)]])
          return .enough
        }
        try await client.jwtBundles { bundles in
          #expect(bundles.count == 1)
          return .enough
        }
        let tokens = try await client.jwtSVIDs(audiences: ["a"])
        let verified = try await client.validate(jwtSVID: tokens[0].token, audience: "a")
        #expect(verified.id == tokens[0].id && verified.claims.contains("\"aud\""))
        let own = try await client.x509SVID(request: [1, 2, 3])
        #expect(own.key == nil && own.chain == snapshots[1].svids[0].chain)
      }
    }
  }

  @Test("A refusal comes back as it was, and a daemon that is not there is said so")
  func refusals() async throws {
    let world = FakeWorld()
    let refusal = WorkloadRefusal(.unavailable, "shed", "too much at once: try again", retryAfter: 1500)
    world.change { $0.refusal = refusal }
    try await serving(world) { path, _ in
      try await WorkloadClient.connected(to: path) { client in
        do {
          try await client.x509SVIDs { _ in .more }
          Issue.record("no refusal")
        } catch let error as WorkloadRefusal {
          #expect(error == refusal && error.message == refusal.message && error.retryAfter == 1500)
        }
      }
    }
    await #expect(throws: WorkloadRefusal(.unavailable, "workload_api", "")) {
      try await WorkloadClient.connected(to: "/nonexistent/socket") { _ = try await $0.jwtSVIDs(audiences: ["a"]) }
    }
  }
}
