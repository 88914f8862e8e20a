import Crypto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import SwiftASN1
import Synchronization
import Testing
import Wire
import WorkloadIdentity
import WorkloadProtocol
import X509

@testable import WorkloadAPI

/// A workload's connection whose snapshots the test gives.
private final class Feed: WorkloadConnection {
  private struct State {
    var newest: Result<WorkloadSnapshot?, WorkloadRefusal>
    var version = 1
    var waiting: [ObjectIdentifier: CheckedContinuation<Void, Never>] = [:]
  }

  private final class Reader: WorkloadUpdates {
    let feed: Feed
    let seen = Mutex(0)
    private let isCancelled = Mutex(false)
    init(_ feed: Feed) { self.feed = feed }
    func next() async throws -> WorkloadSnapshot? { try await feed.next(for: self) }
    func cancel() {
      isCancelled.withLock { $0 = true }
      feed.wake(self)
    }
    var isOver: Bool { isCancelled.withLock { $0 } }
  }

  private let state: Mutex<State>

  init(_ snapshot: WorkloadSnapshot) { state = Mutex(State(newest: .success(snapshot))) }

  func set(_ newest: Result<WorkloadSnapshot?, WorkloadRefusal>) {
    let waiting = state.withLock { state in
      (state.newest, state.version) = (newest, state.version + 1)
      defer { state.waiting = [:] }
      return state.waiting.values
    }
    for continuation in waiting { continuation.resume() }
  }

  private func wake(_ reader: Reader) {
    state.withLock { $0.waiting.removeValue(forKey: ObjectIdentifier(reader)) }?.resume()
  }

  private func next(for reader: Reader) async throws -> WorkloadSnapshot? {
    while true {
      try Task.checkCancellation()
      if reader.isOver { return nil }
      let last = reader.seen.withLock { $0 }
      let now = state.withLock { $0.version > last ? ($0.newest, $0.version) : nil }
      if let now {
        reader.seen.withLock { $0 = now.1 }
        return try now.0.get()
      }
      await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let isOver = state.withLock { state in
            guard state.version == last, !reader.isOver, !Task.isCancelled else { return true }
            state.waiting[ObjectIdentifier(reader)] = continuation
            return false
          }
          if isOver { continuation.resume() }
        }
      } onCancel: {
        wake(reader)
      }
    }
  }

  func updates() async throws -> any WorkloadUpdates { Reader(self) }
  func snapshot() async throws -> WorkloadSnapshot { try #require(try state.withLock { $0.newest }.get()) }
  func confirm() throws(WorkloadRefusal) {}
  func jwtSVIDs(audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID] { [] }
  func validate(jwtSVID token: String, audience: String) async throws -> (id: SPIFFEID, claims: JSONObject) {
    throw WorkloadRefusal(.unavailable, "no", "no")
  }
  func x509SVID(request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID { try await snapshot().svids[0] }
  func close() {}
}

/// SDS over a real unix socket, with grpc-swift's client and with Envoy.
@Suite struct SDSServiceTests {
  private static func serving(_ feed: Feed, _ body: @Sendable (String) async throws -> Void) async throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "sds-\(UUID().uuidString.prefix(8)).sock").path
    let transport = HTTP2ServerTransport.Posix(
      address: .unixDomainSocket(path: path), transportSecurity: .plaintext,
      config: .defaults { $0.rpc.maxRequestPayloadSize = 65_536 })
    var router = RPCRouter<HTTP2ServerTransport.Posix>()
    let connection: ConnectionLookup = { (_) throws(RPCError) in feed }
    SDSService(connection: connection, refusals: Refusals(logger: Logger(label: "sds"))).register(on: &router)
    let server = GRPCServer(transport: transport, router: router)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.serve() }
      defer {
        group.cancelAll()
        try? FileManager.default.removeItem(atPath: path)
      }
      _ = try await transport.listeningAddress
      try await body(path)
    }
  }

  private typealias Client = GRPCClient<HTTP2ClientTransport.Posix>

  private static func client(_ path: String, _ body: @Sendable (Client) async throws -> Void) async throws {
    try await withGRPCClient(
      transport: .http2NIOPosix(
        target: .unixDomainSocket(path: path, authority: "localhost"), transportSecurity: .plaintext)
    ) { try await body($0) }
  }

  private static func stream(
    _ client: Client, _ requests: AsyncStream<StateRequest>,
    _ body:
      @escaping @Sendable (RPCAsyncSequence<Envoy_Service_Discovery_V3_DiscoveryResponse, any Error>) async throws ->
      Void
  ) async throws {
    try await client.bidirectionalStreaming(
      request: StreamingClientRequest { writer in for await request in requests { try await writer.write(request) } },
      descriptor: MethodDescriptor(service: SDSService.name, method: "StreamSecrets", type: .bidirectionalStreaming),
      serializer: ProtobufSerializer<StateRequest>(),
      deserializer: ProtobufDeserializer<Envoy_Service_Discovery_V3_DiscoveryResponse>(), options: .defaults
    ) { try await body($0.messages) }
  }

  @Test func aStreamIsAnsweredPushedToAndEnded() async throws {
    var world = SDSWorld()
    let feed = Feed(try world.snapshot())
    world.svids[0].serial = 2
    let changed = try world.snapshot(2)
    try await Self.serving(feed) { path in
      try await Self.client(path) { client in
        let (requests, request) = AsyncStream.makeStream(of: StateRequest.self)
        request.yield(StateRequest(["default", "spiffe://own.test/none"]))
        let error = await #expect(throws: RPCError.self) {
          try await Self.stream(client, requests) { responses in
            var iterator = responses.makeAsyncIterator()
            let first = try #require(try await iterator.next())
            #expect(first.resources.count == 1 && first.nonce == "1")
            request.yield(StateRequest(["default", "ROOTCA"], nonce: "1"))
            #expect(try await iterator.next()?.resources.count == 2)
            feed.set(.success(changed))
            let third = try #require(try await iterator.next())
            #expect(third.nonce == "3" && third.versionInfo != first.versionInfo)
            feed.set(.failure(WorkloadRefusal(.permissionDenied, "no_identity", "no entry matches")))
            _ = try await iterator.next()
          }
        }
        #expect(error?.code == .permissionDenied)
        request.finish()
      }
    }
  }

  @Test func anotherTypeIsAnInvalidArgument() async throws {
    let feed = Feed(try SDSWorld().snapshot())
    try await Self.serving(feed) { path in
      try await Self.client(path) { client in
        let (requests, request) = AsyncStream.makeStream(of: StateRequest.self)
        var other = StateRequest(["default"])
        other.typeURL = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
        request.yield(other)
        let error = await #expect(throws: RPCError.self) {
          try await Self.stream(client, requests) { for try await _ in $0 {} }
        }
        #expect(error?.code == .invalidArgument)
        request.finish()
      }
    }
  }

  @Test func fetchGivesWhatThereIs() async throws {
    let feed = Feed(try SDSWorld().snapshot())
    try await Self.serving(feed) { path in
      try await Self.client(path) { client in
        let response = try await client.unary(
          request: ClientRequest(message: StateRequest(["ROOTCA", "none"])),
          descriptor: MethodDescriptor(service: SDSService.name, method: "FetchSecrets", type: .unary),
          serializer: ProtobufSerializer<StateRequest>(),
          deserializer: ProtobufDeserializer<Envoy_Service_Discovery_V3_DiscoveryResponse>(), options: .defaults
        ) { try $0.message }
        #expect(response.resources.count == 1 && response.nonce.isEmpty && !response.versionInfo.isEmpty)
      }
    }
  }

  // MARK: - Envoy

  /// A real authority, which issues anew with every snapshot.
  private struct Authority: Sendable {
    let key = P256.Signing.PrivateKey()
    let root: Certificate
    let store = SVIDKeyStore(capacity: 256)

    init() throws {
      let name = try DistinguishedName { CommonName("SDS test root") }
      root = try Certificate(
        version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: .now - 60,
        notValidAfter: .now + 3600, issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
        extensions: .init {
          Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
          Critical(KeyUsage(keyCertSign: true))
        }, issuerPrivateKey: .init(key))
    }

    private static func der(_ certificate: Certificate) throws -> [UInt8] {
      var serializer = DER.Serializer()
      try serializer.serialize(certificate)
      return serializer.serializedBytes
    }

    func snapshot(_ version: UInt64, isTrusted: Bool = true) throws -> WorkloadSnapshot {
      let leafKey = P256.Signing.PrivateKey()
      let trustDomain = try TrustDomain("own.test")
      let id = try SPIFFEID(trustDomain, path: "/web")
      let leaf = try Certificate(
        version: .v3, serialNumber: .init(), publicKey: .init(leafKey.publicKey), notValidBefore: .now - 60,
        notValidAfter: .now + 3600, issuer: root.subject, subject: DistinguishedName {},
        signatureAlgorithm: .ecdsaWithSHA256,
        extensions: .init {
          Critical(BasicConstraints.notCertificateAuthority)
          Critical(KeyUsage(digitalSignature: true))
          try ExtendedKeyUsage([.serverAuth, .clientAuth])
          Critical(SubjectAlternativeNames([.uniformResourceIdentifier(id.description)]))
        }, issuerPrivateKey: .init(key))
      let pkcs8 = Array(leafKey.derRepresentation)
      let svid = WorkloadX509SVID(
        id: id, chain: [try Self.der(leaf)], key: try unsafe store.key(copying: pkcs8.span.bytes), hint: "",
        expires: Timestamp(seconds: 0), entry: "")
      return WorkloadSnapshot(
        version: version, trustDomain: trustDomain, svids: [svid],
        bundles: [trustDomain: WorkloadBundle(roots: isTrusted ? [try Self.der(root)] : [], jwks: [])], crls: [])
    }
  }

  private static let python = ProcessInfo.processInfo.environment["TRUSTCORE_PYTHON"]

  /// Runs sds_envoy.py and does something at each line of it that tells of a new serial.
  /// - Returns: its last line; nil where there is no Envoy.
  private static func envoys(
    _ path: String, _ arguments: [String], _ onSerial: () throws -> Void
  ) async throws -> JSONObject? {
    let process = Process()
    process.executableURL = URL(filePath: try #require(python))
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "sds_envoy.py").path
    process.arguments = [script, "--socket", path] + arguments
    let output = Pipe()
    process.standardOutput = output
    let lines = AsyncStream<String> { continuation in
      Thread.detachNewThread {
        var rest = ""
        while case let data = output.fileHandleForReading.availableData, !data.isEmpty {
          rest += String(decoding: data, as: UTF8.self)
          var parts = rest.components(separatedBy: "\n")
          rest = parts.removeLast()
          for part in parts { continuation.yield(part) }
        }
        continuation.finish()
      }
    }
    try process.run()
    var result: JSONObject = [:]
    for await line in lines {
      result = try #require(JSONValue(parsing: Array(line.utf8)).object)
      if result["serials"] != nil { try onSerial() }
    }
    process.waitUntilExit()
    print(
      "sds_envoy.py \(arguments.joined(separator: " ")): \(String(decoding: JSONValue.object(result).canonical(), as: UTF8.self))"
    )
    return result["skipped"] == nil ? result : nil
  }

  /// Ten rotations under load, with both forms of discovery and each name of the bundle.
  @Test(.enabled(if: python != nil), arguments: [("default", "ROOTCA", false), ("spiffe://own.test/web", "ALL", true)])
  func envoysRotateWithoutAFailedRequest(_ identity: String, _ bundle: String, _ isDelta: Bool) async throws {
    let authority = try Authority()
    let feed = Feed(try authority.snapshot(1))
    try await Self.serving(feed) { path in
      let arguments = ["--identity", identity, "--bundle", bundle, "--rotations", "10", "--peer", "spiffe://own.test/"]
      var version: UInt64 = 1
      let result = try await Self.envoys(path, arguments + (isDelta ? ["--delta"] : [])) {
        version += 1
        feed.set(.success(try authority.snapshot(version)))
      }
      guard let result else { return }
      #expect(result["failed"] == .integer(0) && result["rejected"] == .integer(0))
      #expect(result["serials_seen"]?.array?.count == 11)
    }
  }

  /// Envoy takes the context that trusts nobody, and acts on it.
  @Test(.enabled(if: python != nil)) func envoysTrustNobodyOnceTheBundleIsEmpty() async throws {
    let authority = try Authority()
    let feed = Feed(try authority.snapshot(1))
    try await Self.serving(feed) { path in
      // Matching names too, which Envoy does not allow with every kind of context.
      let result = try await Self.envoys(path, ["--rotations", "9", "--failures", "3", "--peer", "spiffe://own.test/"])
      {
        feed.set(.success(try authority.snapshot(2, isTrusted: false)))
      }
      guard let result else { return }
      #expect(result["failed"] == .integer(3) && result["rejected"] == .integer(0))
    }
  }
}
