import Testing
import Wire
import WorkloadIdentity

@testable import WorkloadService

@Suite("Commands about federations") struct FederationCommandTests {
  @Test("each set has a leaf of its own, whatever it says, and so has each bundle that is taken")
  func leaves() async throws {
    let d = try await ServiceDeployment.found()
    let other = try TrustDomain("other.example")
    #expect(await d.service.leaves().isEmpty)
    var seen: [UInt64] = []
    for _ in 0..<2 {
      try await d.command(
        "/v1/federations",
        [
          "trust_domain": "other.example", "bundle_endpoint_url": "https://other.example/b",
          "bundle_endpoint_profile": "https_web",
        ])
      seen.append(try #require(await d.service.leaves()[other]))
    }
    let document = Array(#"{"keys":[],"spiffe_sequence":1}"#.utf8)
    for _ in 0..<2 {
      _ = try await d.service.take(document, of: other)
      seen.append(try #require(await d.service.leaves()[other]))
    }
    #expect(seen[0] < seen[1] && seen[1] < seen[2] && seen[2] == seen[3])
    try await d.command("/v1/federations/other.example/delete")
    #expect(await d.service.leaves().isEmpty)
    await d.stop()
  }
}
