import Foundation
import GRPCCore
import Logging
import NIOCore
import NIOEmbedded
import NIOHTTP2
import SwiftProtobuf
import Testing
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

@Suite("Messages of the Workload API")
struct WorkloadEncodingTests {
  @Test("What is laid out by hand is what the generated messages say, in 200 random snapshots")
  func layout() throws {
    let world = FakeWorld()
    var random = SystemRandomNumberGenerator()
    for version in 1...200 {
      let snapshot = try world.snapshot(
        UInt64(version), paths: (0..<Int.random(in: 1...4, using: &random)).map { "/p\($0)" }, hints: ["h", "", "h"],
        federated: (0..<Int.random(in: 0...3, using: &random)).map { "t\($0).org" },
        crls: (0..<Int.random(in: 0...2, using: &random)).map { _ in [UInt8](repeating: 3, count: .random(in: 0...300))
        },
        chainBytes: .random(in: 0...40_000, using: &random), ownKeys: false)
      let encoding = SnapshotEncoding(snapshot)
      let message = OutgoingMessage(bytes: try #require(encoding.x509SVIDs), keys: encoding.keys(of: snapshot))
      let bytes: [UInt8] = OutgoingSerializer().serialize(message)
      let read = try SPIFFEX509SVIDResponse(serializedBytes: bytes)
      #expect(read.svids.count == snapshot.svids.count)
      for (svid, original) in zip(read.svids, snapshot.svids) {
        #expect(Array(svid.x509Svid) == original.chain.flatMap(\.self))
        #expect(original.key?.withBytes { unsafe $0.withUnsafeBytes { unsafe [UInt8]($0) } } == Array(svid.x509SvidKey))
      }
      #expect(read.crl.map { Array($0) } == snapshot.crls)
      #expect(read.federatedBundles.count == snapshot.bundles.count - 1)
      // Nothing is in our bytes that the generated message does not say.
      #expect(read.unknownFields.data.isEmpty)
      let own = try X509UpdateDeserializer(store: SVIDKeyStore(capacity: 8)).deserialize(bytes)
      #expect(own.svids.map(\.chain) == snapshot.svids.map(\.chain))
      #expect(own.federated.count == snapshot.bundles.count - 1)
    }
  }

  @Test("The client refuses answers that are cut off or lie about lengths")
  func malformed() throws {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1, federated: ["other.org"])
    let encoding = SnapshotEncoding(snapshot)
    let bytes: [UInt8] = OutgoingSerializer().serialize(
      OutgoingMessage(bytes: try #require(encoding.x509SVIDs), keys: encoding.keys(of: snapshot)))
    let reader = X509UpdateDeserializer(store: SVIDKeyStore(capacity: 4096))
    var refused = 0
    for count in 0..<bytes.count {
      if (try? reader.deserialize(Array(bytes.prefix(count)))) == nil { refused += 1 }
    }
    // Without the last field, the federated bundle, it is an answer still.
    #expect(refused == bytes.count - 1)
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<5000 {
      var mutated = bytes
      mutated[Int.random(in: 0..<mutated.count, using: &generator)] = .random(in: 0...255, using: &generator)
      _ = try? reader.deserialize(mutated)
    }
    for bad in [[0x30], [0x31, 0], [0x30, 1], [0x30, 0x80], [0x30, 0x85, 0, 0, 0, 0, 0], [0x30, 0x82, 1]] as [[UInt8]] {
      #expect(throws: WorkloadAPIError.self) { try DERSequence.split(bad) }
    }
    #expect(try DERSequence.split([]) == [])
    #expect(try DERSequence.split([0x30, 0, 0x30, 0x81, 1, 5]) == [[0x30, 0], [0x30, 0x81, 1, 5]])
  }

  @Test("Encodings go with their snapshots")
  func encodings() throws {
    let world = FakeWorld()
    let encodings = SnapshotEncodings()
    let kept = try world.snapshot(1)
    let first = encodings.of(kept)
    for version in 2...500 { _ = encodings.of(try world.snapshot(UInt64(version))) }
    #expect(encodings.count <= 130)
    #expect(encodings.of(kept) === first)
  }

  @Test("A message that has been sent is wiped where the transport keeps it")
  func wiped() throws {
    let channel = EmbeddedChannel(
      handler: StreamHandler(number: "1", maximumMetadata: 100, writeTimeout: .seconds(1)))
    let buffer = ByteBuffer(bytes: [UInt8](repeating: 7, count: 500))
    channel.write(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(buffer))), promise: nil)
    #expect(buffer.readableBytesView.allSatisfy { $0 == 7 })
    channel.flush()
    #expect(buffer.readableBytesView.allSatisfy { $0 == 0 })
  }

  @Test("Every service that is registered is described, with all its methods")
  func reflection() throws {
    var router = RPCRouter<WorkloadTransport>()
    let lookup: ConnectionLookup = { (_) throws(RPCError) in throw RPCError(.stopping) }
    SPIFFEService(connection: lookup, refusals: Refusals(logger: .init(label: "test"))).register(on: &router)
    ExtensionService(connection: lookup, refusals: Refusals(logger: .init(label: "test"))).register(on: &router)
    let reflection = ReflectionService(router: router)
    reflection.register(on: &router)
    func ask(
      _ body: (inout Grpc_Reflection_V1_ServerReflectionRequest) -> Void
    ) -> Grpc_Reflection_V1_ServerReflectionResponse {
      reflection.answer(.with { body(&$0) })
    }
    let services = ask { $0.listServices = "*" }.listServicesResponse.service.map(\.name)
    #expect(
      services == [
        "SpiffeWorkloadAPI", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
        "trustcore.workload.v1.Workload",
      ])
    for method in router.methods {
      let symbol = method.service.fullyQualifiedService + "." + method.method
      let files = ask { $0.fileContainingSymbol = symbol }.fileDescriptorResponse.fileDescriptorProto
      #expect(!files.isEmpty, "\(symbol)")
      let file = try Google_Protobuf_FileDescriptorProto(serializedBytes: files[0])
      #expect(!ask { $0.fileByFilename = file.name }.fileDescriptorResponse.fileDescriptorProto.isEmpty)
      // What it imports comes along.
      #expect(files.count == 1 + file.dependency.count)
    }
    #expect(ask { $0.fileContainingSymbol = "X509SVIDResponse.FederatedBundlesEntry" }.hasFileDescriptorResponse)
    #expect(ask { $0.allExtensionNumbersOfType = "X509SVID" }.allExtensionNumbersResponse.baseTypeName == "X509SVID")
    for question in [
      ask { $0.fileByFilename = "x" }, ask { $0.fileContainingSymbol = "x" },
      ask { $0.allExtensionNumbersOfType = "x" },
      ask { $0.fileContainingExtension = .with { $0.containingType = "X509SVID" } },
    ] { #expect(question.errorResponse.errorCode == 5) }
    #expect(ask { _ in }.errorResponse.errorCode == 3)
  }
}

extension Grpc_Reflection_V1_ServerReflectionResponse {
  fileprivate var hasFileDescriptorResponse: Bool { !fileDescriptorResponse.fileDescriptorProto.isEmpty }
}
