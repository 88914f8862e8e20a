import Foundation
import GRPCCore
import SwiftProtobuf
import Testing
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

@Suite("Calls of the Workload API", .serialized)
struct WorkloadCallTests {
  private func jwt(_ client: TestClient, _ audience: [String], _ id: String = "") async throws -> SPIFFEJWTSVIDResponse
  {
    try await client.unary(
      "FetchJWTSVID",
      SPIFFEJWTSVIDRequest.with {
        $0.audience = audience
        $0.spiffeID = id
      })
  }

  @Test("The security header is demanded, once and as 'true'")
  func securityHeader() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let twice: Metadata = ["workload.spiffe.io": "true", "workload.spiffe.io": "true"]
        for metadata in [[:], ["workload.spiffe.io": "false"], ["workload.spiffe.io": "True"], twice] as [Metadata] {
          let stream = await status { try await client.x509(metadata) { for try await _ in $0 {} } }
          #expect(stream?.code == .invalidArgument, "\(metadata)")
          let call = await status {
            let _: SPIFFEJWTSVIDResponse = try await client.unary("FetchJWTSVID", SPIFFEJWTSVIDRequest(), metadata)
          }
          #expect(call?.message.hasPrefix("security_header_missing") == true, "\(metadata)")
          let own = await status {
            let _: Trustcore_Workload_V1_FetchX509SVIDForKeyResponse = try await client.unary(
              "FetchX509SVIDForKey", Trustcore_Workload_V1_FetchX509SVIDForKeyRequest(), metadata,
              service: "trustcore.workload.v1.Workload")
          }
          #expect(own?.message.hasPrefix("security_header_missing") == true, "\(metadata)")
        }
      }
    }
  }

  @Test("JWT-SVIDs: audiences on both sides of their limits, identities, hints")
  func jwtSVIDs() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1, paths: ["/a", "/b"], hints: ["x", "x"])
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let all = try await jwt(client, ["a", "b"])
        #expect(all.svids.map(\.spiffeID) == ["spiffe://example.org/a", "spiffe://example.org/b"])
        #expect(all.svids.map(\.hint) == ["x", ""])
        let one = try await jwt(client, ["a"], "spiffe://example.org/b")
        #expect(one.svids.map(\.spiffeID) == ["spiffe://example.org/b"])
        #expect(try await jwt(client, (0..<64).map { "\($0)" }).svids.count == 2)
        #expect(try await jwt(client, [String(repeating: "a", count: 1024)]).svids.count == 2)
        for bad in [[], [""], ["a", ""], (0..<65).map { "\($0)" }, [String(repeating: "a", count: 1025)]] {
          #expect(await status { try await jwt(client, bad) }?.code == .invalidArgument, "\(bad.count)")
        }
        #expect(await status { try await jwt(client, ["a"], "spiffe://example.org/zz") }?.code == .permissionDenied)
        #expect(await status { try await jwt(client, ["a"], "http://example.org/b") }?.code == .invalidArgument)
      }
    }
  }

  @Test("A JWT-SVID is verified, and its claims come back as they are")
  func validation() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        let token = try await jwt(client, ["a"]).svids[0].svid
        let answer: SPIFFEValidateJWTSVIDResponse = try await client.unary(
          "ValidateJWTSVID",
          SPIFFEValidateJWTSVIDRequest.with { ($0.audience, $0.svid) = ("a", token) })
        #expect(answer.spiffeID == "spiffe://example.org/web")
        #expect(answer.claims.fields["exp"]?.numberValue == 1_900_000_000)
        #expect(answer.claims.fields["aud"]?.listValue.values.map(\.stringValue) == ["a"])
        for (audience, token) in [("", token), ("a", ""), ("b", token)] {
          let error = await status {
            let _: SPIFFEValidateJWTSVIDResponse = try await client.unary(
              "ValidateJWTSVID",
              SPIFFEValidateJWTSVIDRequest.with { ($0.audience, $0.svid) = (audience, token) })
          }
          #expect(error?.code == .invalidArgument)
        }
      }
    }
  }

  @Test("The extension gives a certificate for the workload's own key")
  func ownKey() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        func fetch(_ count: Int) async throws -> Trustcore_Workload_V1_FetchX509SVIDForKeyResponse {
          try await client.unary(
            "FetchX509SVIDForKey",
            Trustcore_Workload_V1_FetchX509SVIDForKeyRequest.with { $0.csr = Data(repeating: 1, count: count) },
            service: "trustcore.workload.v1.Workload")
        }
        let answer = try await fetch(16_384)
        #expect(Array(answer.x509Svid) == snapshot.svids[0].chain.flatMap(\.self))
        #expect(answer.expiresAt == 1_900_000_000 && answer.hint == "own")
        #expect(Array(answer.bundle) == FakeWorld.der(1, 300))
        for count in [0, 16_385] { #expect(await status { try await fetch(count) }?.code == .invalidArgument) }
      }
    }
  }

  @Test("What is not here is Unimplemented", arguments: ["FetchWITSVID", "FetchWITBundles", "Nothing"])
  func unimplemented(_ method: String) async throws {
    try await serving(FakeWorld()) { path, _ in
      try await client(path) { client in
        let error = await status {
          let _: SPIFFEWITSVIDResponse = try await client.unary(method, SPIFFEWITSVIDRequest())
        }
        #expect(error?.code == .unimplemented)
      }
    }
  }

  @Test("A request that is no message, or too large, is refused alone")
  func messages() async throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      try await client(path) { client in
        // 64 KiB in all: the field's tag and its length, in three bytes, take four.
        func validate(_ count: Int) async throws {
          let _: SPIFFEValidateJWTSVIDResponse = try await client.unary(
            "ValidateJWTSVID",
            SPIFFEValidateJWTSVIDRequest.with { ($0.audience, $0.svid) = ("a", String(repeating: "x", count: count)) })
        }
        #expect(await status { try await validate(65_536 - 3 - 4) }?.message.hasPrefix("jwt_svid_invalid") == true)
        let message = SPIFFEValidateJWTSVIDRequest.with {
          ($0.audience, $0.svid) = ("a", String(repeating: "x", count: 65_530))
        }
        #expect(try message.serializedData().count == 65_537)
        let large = await status { try await validate(65_536 - 3 - 4 + 1) }
        #expect(large?.description.hasPrefix("resourceExhausted: \"message_too_large") == true)
        // Beyond twice as much the transport does not read on.
        #expect(await status { try await validate(200_000) } != nil)
        let _: SPIFFEJWTSVIDResponse = try await jwt(client, ["a"])
        // A string that is not UTF-8 in the field of the audience.
        let malformed = await status {
          try await client.unary(
            request: ClientRequest(message: OutgoingMessage(bytes: [0x0A, 1, 0xFF], keys: []), metadata: header),
            descriptor: MethodDescriptor(fullyQualifiedService: "SpiffeWorkloadAPI", method: "FetchJWTSVID"),
            serializer: OutgoingSerializer(), deserializer: ProtobufDeserializer<SPIFFEJWTSVIDResponse>(),
            options: .defaults
          ) { _ = try $0.message }
        }
        #expect(malformed?.code == .invalidArgument && malformed?.message.hasPrefix("request_malformed") == true)
      }
    }
  }
}
