import Crypto
import Foundation
import Logging
import ServiceLifecycle
import SwiftASN1
import Testing
import Wire
import WorkloadIdentity
import X509

@testable import WorkloadAPI

@Suite("Clients of the Workload API that nobody here wrote")
struct WorkloadPythonTests {
  static let python = ProcessInfo.processInfo.environment["TRUSTCORE_PYTHON"]

  @Test("py-spiffe does all five calls, and grpcio's reflection finds them", .enabled(if: python != nil))
  func pySPIFFE() async throws {
    let world = FakeWorld()
    let snapshot = try Self.realSnapshot(world)
    world.change { $0.snapshot = snapshot }
    try await serving(world) { path, _ in
      let output = await blocking { Self.run(path) }
      let answer = try #require(try JSONValue(parsing: output).object)
      let workload = try #require(answer["workload"]?.object)
      let both: JSONValue = ["spiffe://example.org/a", "spiffe://example.org/b"]
      for name in ["svids", "streamed", "jwt_svids"] { #expect(workload[name] == both, "\(name)") }
      for name in ["one_jwt_svid", "validated"] { #expect(workload[name] == "spiffe://example.org/a", "\(name)") }
      #expect(workload["chain"] == 1 && workload["key_matches"] == true && workload["roots"] == 1)
      #expect(workload["x509_bundles"] == ["example.org", "other.org"])
      #expect(workload["jwt_bundles"] == ["example.org", "other.org"] && workload["jwt_keys"] == 1)
      let reflection = try #require(answer["reflection"]?.object)
      let methods = try #require(reflection["methods"]?.object)
      #expect(methods["SpiffeWorkloadAPI"]?.array?.count == 7)
      #expect(methods["trustcore.workload.v1.Workload"] == ["FetchX509SVIDForKey"])
      #expect(reflection["v1"]?.array?.count == methods.members.count)
    }
  }

  @Test("grpcio's streams end with Unavailable when the server is shut down", .enabled(if: python != nil))
  func grpcioIsToldOfTheStop() async throws {
    let world = FakeWorld()
    let snapshot = try Self.realSnapshot(world)
    world.change { $0.snapshot = snapshot }
    let path = FileManager.default.temporaryDirectory.appending(path: "wp-\(UUID().uuidString.prefix(8))").path
    let server = try WorkloadAPIServer(path: path, logger: Logger(label: "test")) { world.connect($0) }
    let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: Logger(label: "test")))
    let running = Task { try await group.run() }
    let (lines, line) = AsyncStream.makeStream(of: Void.self)
    async let output = blocking {
      defer { line.finish() }
      return Self.run(path, "--watch") { line.yield() }
    }
    for await _ in lines { break }
    await group.triggerGracefulShutdown()
    let ends = try #require(try JSONValue(parsing: await output).object)
    try await running.value
    for name in ["FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles", "StreamSecrets", "DeltaSecrets"] {
      #expect(ends[name] == ["UNAVAILABLE", "stopping"], "\(name)")
    }
  }

  /// Runs the client.
  /// - Parameter onOutput: called whenever it has said something.
  /// - Returns: its last line.
  private static func run(_ arguments: String..., onOutput: () -> Void = {}) -> [UInt8] {
    let process = Process()
    process.executableURL = URL(filePath: python ?? "python3")
    process.arguments =
      [URL(filePath: #filePath).deletingLastPathComponent().appending(path: "workload_client.py").path] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    guard (try? process.run()) != nil else { return [] }
    var output: [UInt8] = []
    while case let data = pipe.fileHandleForReading.availableData, !data.isEmpty {
      output += data
      onOutput()
    }
    process.waitUntilExit()
    return output.split(separator: UInt8(ascii: "\n")).last.map { Array($0) } ?? []
  }

  /// A snapshot with certificates and keys that are real.
  private static func realSnapshot(_ world: FakeWorld) throws -> WorkloadSnapshot {
    let domain = try TrustDomain("example.org")
    let ca = P256.Signing.PrivateKey()
    let name = try DistinguishedName { CommonName("root") }
    func certificate(
      _ key: P256.Signing.PrivateKey, _ id: String, authority: Bool
    ) throws -> [UInt8] {
      let certificate = try Certificate(
        version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey),
        notValidBefore: .init(timeIntervalSince1970: 1_700_000_000),
        notValidAfter: .init(timeIntervalSince1970: 4_000_000_000), issuer: name,
        subject: authority ? name : DistinguishedName { CommonName("leaf") }, signatureAlgorithm: .ecdsaWithSHA256,
        extensions: try Certificate.Extensions {
          Critical(authority ? BasicConstraints.isCertificateAuthority(maxPathLength: nil) : .notCertificateAuthority)
          Critical(authority ? KeyUsage(keyCertSign: true, cRLSign: true) : KeyUsage(digitalSignature: true))
          SubjectAlternativeNames([.uniformResourceIdentifier(id)])
        }, issuerPrivateKey: .init(ca))
      var serializer = DER.Serializer()
      try serializer.serialize(certificate)
      return serializer.serializedBytes
    }
    let svids = try ["/a", "/b"].map { path in
      let key = P256.Signing.PrivateKey()
      let pkcs8 = Array(try Certificate.PrivateKey(key).serializeAsPEM().derBytes)
      let id = try SPIFFEID(domain, path: path)
      return WorkloadX509SVID(
        id: id, chain: [try certificate(key, id.description, authority: false)],
        key: unsafe try world.store.key(copying: pkcs8.span.bytes), hint: "",
        expires: Timestamp(seconds: 4_000_000_000),
        entry: "ent")
    }
    let root = try certificate(ca, "spiffe://example.org", authority: true)
    let point = Array(ca.publicKey.rawRepresentation)
    let jwks: JSONValue = [
      "keys": [
        [
          "kty": "EC", "crv": "P-256", "kid": "k", "use": "jwt-svid",
          "x": .string(Base64.URL.encode(point[..<32])), "y": .string(Base64.URL.encode(point[32...])),
        ]
      ]
    ]
    let bundle = WorkloadBundle(roots: [root], jwks: jwks.canonical())
    return WorkloadSnapshot(
      version: 1, trustDomain: domain, svids: svids, bundles: [domain: bundle, try TrustDomain("other.org"): bundle],
      crls: [])
  }
}
