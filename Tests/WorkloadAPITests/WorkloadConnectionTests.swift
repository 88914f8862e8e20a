import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import ServiceLifecycle
import Synchronization
import Testing
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

@Suite("Connections of the Workload API", .serialized)
struct WorkloadConnectionTests {
  private let x509 = "/SpiffeWorkloadAPI/FetchX509SVID"

  private func world() throws -> FakeWorld {
    let world = FakeWorld()
    let snapshot = try world.snapshot(1)
    world.change { $0.snapshot = snapshot }
    return world
  }

  @Test("The caller is who the kernel says, whatever number it claims to be")
  func forgedHeader() async throws {
    let world = try world()
    try await serving(world) { path, server in
      let status = await blocking { () -> String in
        guard let raw = RawHTTP2(path) else { return "" }
        raw.begin()
        // A stream that goes on has no status: this one ends, at the second header.
        raw.call(
          "/SpiffeWorkloadAPI/FetchJWTSVID",
          [
            (Connections.header, "999999"), ("workload.spiffe.io", "true"), (Connections.header, "1"),
          ])
        return raw.status().message
      }
      // It was found by its own number, for it is only then that the audience matters.
      #expect(status.hasPrefix("audience_invalid"))
      await world.wait(for: .closed)
      let peers = world.state.withLock { $0.peers }
      #expect(peers.map(\.pid) == [getpid()] && peers.map(\.uid) == [getuid()])
      #expect(server.connections.count == 0)
    }
  }

  @Test("Metadata has a limit, and who breaks it hurts nobody else")
  func metadataLimit() async throws {
    let world = try world()
    try await serving(world) { path, _ in
      try await client(path) { other in
        let codes = await blocking { () -> [String] in
          [8192, 8193, 16_384, 16_385, 60_000].map { size in
            guard let raw = RawHTTP2(path) else { return "no connection" }
            raw.begin()
            let method = "/SpiffeWorkloadAPI/FetchJWTSVID"
            var headers = [("workload.spiffe.io", "true"), ("x-pad", "")]
            // As SETTINGS_MAX_HEADER_LIST_SIZE counts.
            let rest = (RawHTTP2.headers(method) + headers).reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 }
            headers[1].1 = String(repeating: "a", count: size - rest)
            raw.call(method, headers)
            return raw.status().code
          }
        }
        // Beyond the decoder's own limit the connection ends.
        #expect(codes == ["3", "8", "8", "", ""])
        let unhurt = try await other.x509 { try await $0.first { _ in true } }
        #expect(unhurt != nil)
      }
    }
  }

  @Test("The server says how many streams a connection may have, and how large the lists of headers")
  func settings() async throws {
    try await serving(try world()) { path, _ in
      let settings = await blocking { RawHTTP2(path)?.settings() ?? [:] }
      #expect(settings[3] == 128 && settings[6] == 16_384 && settings[5] == 16_384)
    }
  }

  @Test("The transport bears 200 cancelled streams of a connection within 30 s, and no more")
  func cancelledStreams() async throws {
    let world = try world()
    try await serving(world) { path, _ in
      @Sendable func after(_ count: UInt32) -> String? {
        guard let raw = RawHTTP2(path) else { return nil }
        raw.begin()
        for number in 0..<count {
          raw.call(x509, stream: 2 * number + 1)
          raw.cancel(stream: 2 * number + 1)
        }
        raw.call("/SpiffeWorkloadAPI/FetchJWTSVID", stream: 2 * count + 1)
        return raw.status().code
      }
      #expect(await blocking { after(200) } == "3")
      #expect(await blocking { after(201) } == "")
    }
  }

  @Test("One user's connections, and all, have limits; a place that is free is given again")
  func connectionLimits() async throws {
    for change in [{ $0.connectionsOfUser = 3 }, { $0.connections = 3 }] as [(inout WorkloadAPIServer.Limits) -> Void] {
      let world = try world()
      try await serving(world, limits: change) { path, server in
        let held = await blocking { (0..<3).map { _ in RawHTTP2(path) } }
        await world.wait(for: [.connected: 3])
        #expect(await blocking { RawHTTP2(path)?.ends } == true)
        #expect(server.connections.count == 3)
        _ = consume held
        await world.wait(for: [.closed: 3])
        let again = try await client(path) { client in try await client.x509 { try await $0.first { _ in true } } }
        #expect(again != nil)
      }
    }
  }

  @Test("A peer that never speaks is dropped; one with a stream is not")
  func mutePeer() async throws {
    let world = try world()
    try await serving(world, limits: { $0.firstCall = .seconds(2) }) { path, _ in
      try await client(path) { client in
        let next = try world.snapshot(2)
        try await client.x509 { messages in
          var messages = messages.makeAsyncIterator()
          _ = try await messages.next()
          #expect(await blocking { RawHTTP2(path)?.ends } == true)
          let greeted = await blocking { () -> Bool? in
            let raw = RawHTTP2(path)
            raw?.begin()
            return raw?.ends
          }
          #expect(greeted == true)
          world.change { $0.snapshot = next }
          #expect(try await messages.next() != nil)
        }
      }
    }
  }

  @Test("200 connections that are abandoned with a stream open leave nothing behind")
  func abandonedConnections() async throws {
    let world = try world()
    try await serving(world) { path, server in
      // Whatever the first one opens for good is open now.
      _ = try await client(path) { try await $0.x509 { try await $0.first { _ in true } } }
      await world.wait(for: [.closed: 1, .released: 1])
      let before = openDescriptors()
      let held = await blocking { [x509] in
        (0..<200).map { _ in
          let raw = RawHTTP2(path)
          raw?.begin()
          raw?.call(x509)
          return raw
        }
      }
      await world.wait(for: [.waits: 200])
      #expect(server.connections.count == 200)
      #expect(openDescriptors() > before + 550)
      _ = consume held
      await world.wait(for: [.closed: 200, .released: 200])
      #expect(server.connections.count == 0)
      #expect(world.state.withLock { $0.waiting.isEmpty })
      // The process is released with its connection, which may be a moment after `close()`.
      for _ in 0..<1000 where openDescriptors() > before { await Task.yield() }
      // Other tests of this process open and close some of their own; 200 connections would leave 400.
      #expect(openDescriptors() <= before + 40)
    }
  }

  @Test("A reader that stalls loses its stream, and others do not notice")
  func slowReader() async throws {
    let world = FakeWorld()
    // More than the peer's window and the connection's, together.
    let large = try world.snapshot(1, chainBytes: 1 << 20)
    let next = try world.snapshot(2, chainBytes: 1 << 20)
    world.change { $0.snapshot = large }
    try await serving(world, limits: { $0.write = .milliseconds(150) }) { path, server in
      let slow = await blocking { [x509] in
        let raw = RawHTTP2(path)
        raw?.begin()
        raw?.call(x509)
        return raw
      }
      await world.wait(for: .waits)
      world.change { $0.snapshot = next }
      let other = try await client(path) { quick in try await quick.x509 { try await $0.first { _ in true } } }
      #expect(other != nil)
      // The quick stream's, and the slow one's.
      await world.wait(for: [.released: 2])
      #expect(await blocking { slow?.isReset } == true)
    }
  }

  @Test("1,000 streams over 100 connections cost at most 32 KiB each")
  func memory() async throws {
    let world = try world()
    try await serving(world) { path, _ in
      @Sendable func hold(_ connections: Int) async -> [RawHTTP2?] {
        await blocking { [x509] in
          (0..<connections).map { _ in
            let raw = RawHTTP2(path)
            raw?.begin()
            for stream in 0..<10 { raw?.call(x509, stream: UInt32(2 * stream + 1)) }
            return raw
          }
        }
      }
      // What is there once for all of them is there already.
      let first = await hold(20)
      await world.wait(for: [.waits: 200])
      let before = residentBytes()
      let held = await hold(100)
      await world.wait(for: [.waits: 1000])
      let each = (residentBytes() - before) / 1000
      print("memory: \(each) bytes a stream")
      #expect(each <= 32_768)
      _ = (consume first, consume held)
    }
  }

  // MARK: - The socket

  @Test("The socket is everybody's, replaces a dead one, and spares whatever else is there")
  func socketFile() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "ws-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "s").path
    func make(_ path: String) throws -> WorkloadAPIServer {
      try WorkloadAPIServer(path: path, logger: Logger(label: "test")) { FakeWorld().connect($0) }
    }
    func refusal(_ path: String) -> WorkloadAPIError? {
      do throws(WorkloadAPIError) {
        _ = try WorkloadAPIServer(path: path, logger: Logger(label: "test")) { FakeWorld().connect($0) }
        return nil
      } catch { return error }
    }
    var server: WorkloadAPIServer? = try make(path)
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode == 0o777)
    #expect(refusal(path)?.code == .inUse)
    #expect(server != nil)
    server = nil
    #expect(!FileManager.default.fileExists(atPath: path))

    // Left behind by a daemon that died: bound, and closed without being removed.
    try bindOnly(path)
    #expect(FileManager.default.fileExists(atPath: path))
    server = try make(path)
    server = nil

    for name in ["file", "link", "dangling"] {
      let other = folder.appending(path: name).path
      if name == "file" { try Data("x".utf8).write(to: URL(filePath: other)) }
      if name == "link" { try FileManager.default.createSymbolicLink(atPath: other, withDestinationPath: "file") }
      if name == "dangling" { try FileManager.default.createSymbolicLink(atPath: other, withDestinationPath: "none") }
      #expect(refusal(other)?.code == .socket, "\(name)")
      #expect((try? FileManager.default.attributesOfItem(atPath: other)) != nil)
    }
    let longest = path + String(repeating: "p", count: 107 - path.utf8.count)
    #expect(refusal(longest) == nil)
    #expect(refusal(longest + "p")?.code == .socket)
    #expect(refusal("")?.code == .socket)
  }

  private func bindOnly(_ path: String) throws {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: Array(path.utf8)) }
    let bound = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(bound == 0)
  }

  /// Serves in a `ServiceGroup`, as the daemon does.
  private func inGroup<R: Sendable>(
    _ world: FakeWorld, grace: Duration, _ body: (String, WorkloadAPIServer, ServiceGroup) async throws -> R
  ) async throws -> R {
    let path = FileManager.default.temporaryDirectory.appending(path: "wg-\(UUID().uuidString.prefix(8))").path
    var limits = WorkloadAPIServer.Limits()
    limits.grace = grace
    let server = try WorkloadAPIServer(path: path, limits: limits, logger: Logger(label: "test")) { world.connect($0) }
    let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: Logger(label: "test")))
    let running = Task { try await group.run() }
    let result = try await body(path, server, group)
    try await running.value
    #expect(!FileManager.default.fileExists(atPath: path))
    #expect(server.connections.count == 0)
    return result
  }

  @Test(
    "A graceful shutdown ends every stream with Unavailable",
    arguments: [
      "SpiffeWorkloadAPI/FetchX509SVID", "SpiffeWorkloadAPI/FetchX509Bundles", "SpiffeWorkloadAPI/FetchJWTBundles",
      "envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
      "envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
    ])
  func gracefulShutdown(_ method: String) async throws {
    let world = try world()
    let end = try await inGroup(world, grace: .seconds(5)) { path, _, group in
      let raw = await blocking {
        let raw = RawHTTP2(path)
        raw?.begin()
        raw?.call("/" + method, isOpen: method.hasSuffix("Secrets"))
        return raw
      }
      await world.wait(for: .waits)
      await group.triggerGracefulShutdown()
      return await blocking { raw?.status() }
    }
    #expect(end?.code == "14" && end?.message.hasPrefix("stopping: ") == true, "\(end as Any)")
    await world.wait(for: [.closed: 1, .released: 1])
  }

  @Test("A graceful shutdown cuts off who lingers, or does not read")
  func gracefulShutdownOfTheMute() async throws {
    let world = FakeWorld()
    // More than the peer's window and the connection's, together.
    let large = try world.snapshot(1, chainBytes: 1 << 20)
    world.change { $0.snapshot = large }
    let held = try await inGroup(world, grace: .milliseconds(200)) { [x509] path, _, group in
      let held = await blocking {
        ["/SpiffeWorkloadAPI/FetchJWTBundles", x509].map { method in
          let raw = RawHTTP2(path)
          raw?.begin()
          raw?.call(method)
          return raw
        }
      }
      await world.wait(for: [.waits: 2])
      let next = try world.snapshot(2, chainBytes: 1 << 20)
      world.change { $0.snapshot = next }
      await group.triggerGracefulShutdown()
      return held
    }
    await world.wait(for: [.closed: 2, .released: 2])
    _ = consume held
  }
}
