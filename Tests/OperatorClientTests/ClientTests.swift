import Foundation
import Glibc
import JOSE
import OperatorClient
import Synchronization
import Testing
import Wire

@Suite("Operator's client")
struct ClientTests {
  /// What a call throws.
  static func error(_ body: () async throws -> Void) async -> OperatorError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? OperatorError
    }
  }

  @Test("reads as the auditor, and signs commands with one access token")
  func commands() async throws {
    try await StubDaemon.run({ seen in
      seen.method == "GET"
        ? (200, ["keys": []])
        : (
          201, ["result": ["task": "cmd_1"], "key": ["key": "key_1", "version": 1, "leaf_index": 5], "leaf_index": 4]
        )
    }) { stub in
      let client = try stub.client
      #expect(try await client.keys() == ["keys": []])
      let made = try await client.createKey(class: "files", as: .officer)
      #expect(made == ["task": "cmd_1", "key": "key_1", "version": 1, "leaf_index": 4])
      _ = try await client.key("key_1", .rotate, as: .officer)
      _ = try await client.key("key_1", .destroy, as: .officer)
      #expect(stub.tokenCount == 1)
      _ = try await client.key("key_1", .disable, as: .owner)
      try stub.write("mine.jwk", Array(StubDaemon.text(stub.owner.privateJWK).utf8), mode: 0o600)
      _ = try await client.key("key_1", .enable, as: .file(path: stub.folder + "/mine.jwk", id: "owner-1"))
      #expect(stub.tokenCount == 2)
      #expect(
        stub.seen.map { $0.method + " " + $0.path } == [
          "GET /v1/keys", "POST /v1/keys", "POST /v1/keys/key_1/rotate", "POST /v1/keys/key_1/destroy",
          "POST /v1/keys/key_1/disable", "POST /v1/keys/key_1/enable",
        ])
      #expect(stub.seen[1].json == ["class": "files"])
      #expect(stub.seen[2].json == [:])
      #expect(stub.seen[3].json == ["confirm": "key_1"])
    }
  }

  @Test(
    "each problem has its exit status and its text",
    arguments: [
      (400, "json_syntax", 65), (400, "not_authentic", 65), (403, "context_mismatch", 65), (401, "token_invalid", 77),
      (403, "key_use_not_permitted", 77), (404, "key_not_found", 66), (409, "key_disabled", 65), (410, "gone", 65),
      (429, "hsm_busy", 75), (500, "internal", 70), (503, "hsm_unavailable", 75), (501, "not_here", 70),
    ])
  func problems(status: Int, code: String, exit: Int32) async throws {
    try await StubDaemon.run({ _ in throw Problem(status, code, "Do something about it.") }) { stub in
      let client = try stub.client
      let error = try #require(await Self.error { _ = try await client.status() })
      #expect(error.code.description == code)
      #expect(error.status == status)
      #expect(error.exitCode == exit)
      let id = status >= 500 ? " The request's id is request-1." : ""
      #expect(error.description == "Do something about it.\(id) [\(code)]")
    }
  }

  @Test("a status without a reason is told as such")
  func bareStatus() async throws {
    try await StubDaemon.run({ _ in (418, [:]) }) { stub in
      let client = try stub.client
      let error = try #require(await Self.error { _ = try await client.status() })
      #expect(error.code.description == "http_418")
      #expect(error.exitCode == 65)
    }
  }

  @Test("nothing serves: 69, with what to do")
  func unreachable() async throws {
    // The files of a daemon that was killed, with a port that is taken and where nobody listens.
    let copy = FileManager.default.temporaryDirectory.appendingPathComponent("copy-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: copy) }
    let socket = try SilentPort()
    defer { socket.close() }
    try await StubDaemon.run { stub in
      try FileManager.default.copyItem(atPath: stub.folder, toPath: copy)
      try String(contentsOfFile: copy + "/ready.json", encoding: .utf8)
        .replacingOccurrences(of: stub.api, with: "https://127.0.0.1:\(socket.port)")
        .replacingOccurrences(of: stub.folder, with: copy)
        .write(toFile: copy + "/ready.json", atomically: true, encoding: .utf8)
    }
    let client = try OperatorClient(try Deployment(state: copy), time: FixedClock())
    let error = try #require(await Self.error { _ = try await client.status() })
    #expect(error == OperatorError(.unreachable, ""))
    #expect(error.exitCode == 69)
    #expect(error.message.contains("trustcored serve --dev --state \(copy)"))

    try FileManager.default.removeItem(atPath: copy + "/ready.json")
    let gone = try #require(await Self.error { _ = try Deployment(state: copy) })
    #expect(gone.exitCode == 69)
    #expect(try #require(await Self.error { _ = try Deployment(state: copy + "/nowhere") }).exitCode == 66)
    try "{\"api\":\"http://x\",\"ca\":\"y\"}".write(toFile: copy + "/ready.json", atomically: true, encoding: .utf8)
    #expect(try #require(await Self.error { _ = try Deployment(state: copy) }).exitCode == 65)
  }

  @Test("another CA than the deployment's is not trusted")
  func foreignAuthority() async throws {
    try await StubDaemon.run { stub in
      let (_, other) = try StubDaemon.foreignCertificate()
      try stub.write("ca.pem", Array(other.utf8), mode: 0o600)
      let client = try stub.client
      #expect(await Self.error { _ = try await client.status() } == OperatorError(.unreachable, ""))
      #expect(stub.seen.isEmpty)
    }
  }

  @Test("a key file must be ours alone, there, and a private JWK")
  func keyFiles() async throws {
    try await StubDaemon.run { stub in
      let client = try stub.client
      func failure(_ name: String, id: String = "owner-1") async -> Int32? {
        await Self.error {
          _ = try await client.createKey(class: "files", as: .file(path: stub.folder + "/" + name, id: id))
        }?.exitCode
      }
      let jwk = Array(StubDaemon.text(stub.owner.privateJWK).utf8)
      try stub.write("open.jwk", jwk, mode: 0o644)
      try stub.write("public.jwk", Array(StubDaemon.text(stub.owner.publicJWK.bareJSON).utf8), mode: 0o600)
      try stub.write("good.jwk", jwk, mode: 0o600)
      #expect(await failure("open.jwk") == 77)
      #expect(await failure("nowhere.jwk") == 66)
      #expect(await failure("public.jwk") == 65)
      #expect(await failure("good.jwk", id: "stranger") == 77)
      #expect(stub.seen.isEmpty)
    }
  }

  @Test("what is no identifier never becomes a path", arguments: ["", ".", "..", "a/b", "a?b", "a b", "%2e", "ä"])
  func identifiers(id: String) async throws {
    try await StubDaemon.run { stub in
      let client = try stub.client
      #expect(await Self.error { _ = try await client.key(id) }?.exitCode == 64)
      #expect(await Self.error { _ = try await client.key(id, .rotate, as: .officer) }?.exitCode == 64)
      #expect(stub.seen.isEmpty)
    }
  }

  @Test("waits for a rewrap and tells each state")
  func rewrap() async throws {
    let tasks: JSONValue = [["kind": "rewrap", "key": "key_1"]]
    let steps: [JSONObject] = [
      ["key": "key_1", "tasks": tasks],
      [
        "key": "key_1", "tasks": tasks,
        "rewrap": ["rewrapped": 1200, "total": 5000, "refused": 0, "rate": 830, "seconds_left": 5],
      ],
      [
        "key": "key_1", "tasks": tasks,
        "rewrap": ["rewrapped": 5000, "total": 5000, "refused": 0, "rate": 840, "seconds_left": 0],
      ], ["key": "key_1", "tasks": []],
    ]
    let turn = Turn()
    try await StubDaemon.run({ _ in (200, steps[min(turn.next(), steps.count - 1)]) }) { stub in
      let client = try stub.client
      var told: [String] = []
      var pauses = 0
      _ = try await client.awaitRewrap("key_1", pause: { pauses += 1 }) { told.append($0.description) }
      #expect(told == ["rewrapped 1,200 of 5,000, 830/s, 5 s left", "rewrapped 5,000 of 5,000, 840/s"])
      #expect(pauses == 3)
    }
    let again = Turn()
    let refused: JSONValue = ["rewrapped": 3, "total": 5, "refused": 2]
    try await StubDaemon.run({ _ in
      (200, again.next() == 0 ? ["key": "key_1", "tasks": tasks, "rewrap": refused] : ["key": "key_1"])
    }) { stub in
      let client = try stub.client
      let error = await Self.error { _ = try await client.awaitRewrap("key_1", pause: {}) { _ in } }
      #expect(error?.exitCode == 75)
    }
  }
}

/// Counts calls.
final class Turn: Sendable {
  private let value = Mutex(0)
  func next() -> Int {
    value.withLock { value in
      defer { value += 1 }
      return value
    }
  }
}

/// A port of 127.0.0.1 that refuses connections.
struct SilentPort {
  let port: UInt16
  private let number: Int32

  init() throws {
    number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let descriptor = number
    let isBound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe bind(descriptor, generic, length) == 0 && getsockname(descriptor, generic, &length) == 0
      }
    }
    try #require(isBound)
    port = UInt16(bigEndian: address.sin_port)
  }

  func close() { Glibc.close(number) }
}
