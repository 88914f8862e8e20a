import Envelope
import Foundation
import JOSE
import OperatorClient
import Synchronization
import Testing
import Wire

/// The program as a shell sees it: arguments in, streams and an exit status out.
@Suite("The program")
struct ProgramTests {
  struct Outcome {
    let status: Int32
    let output: [UInt8]
    let complaint: String
    var text: String { String(decoding: output, as: UTF8.self) }
  }

  /// Runs `trustcore`, which the build puts beside the tests.
  static func run(_ arguments: [String], input: [UInt8] = []) async throws -> Outcome {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    let program = folder.appendingPathComponent("trustcore").path
    try #require(FileManager.default.isExecutableFile(atPath: program), "\(program) is not built")
    let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("run-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: scratch) }
    let files = ["in", "out", "err"].map { scratch.appendingPathComponent($0) }
    for file in files { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
    try Data(input).write(to: files[0])
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = try FileHandle(forReadingFrom: files[0])
    process.standardOutput = try FileHandle(forWritingTo: files[1])
    process.standardError = try FileHandle(forWritingTo: files[2])
    let (ended, end) = AsyncStream.makeStream(of: Void.self)
    process.terminationHandler = { _ in end.finish() }
    try process.run()
    for await _ in ended {}
    return Outcome(
      status: process.terminationStatus, output: [UInt8](try Data(contentsOf: files[1])),
      complaint: String(decoding: try Data(contentsOf: files[2]), as: UTF8.self))
  }

  /// Keys as a daemon keeps them: a data key opens under the context that it was made with.
  final class Store: Sendable {
    private let contexts = Mutex<[String: JSONObject]>([:])

    func answer(_ seen: StubDaemon.Seen) throws -> (Int, JSONObject) {
      switch seen.path {
      case "/v1/keys/key_1/data-keys":
        contexts.withLock { $0["dek_1"] = seen.json["context"]?.object }
        return (201, try DataKeyTests.delivery(seen))
      case "/v1/data-keys/dek_1/open":
        guard let known = contexts.withLock({ $0["dek_1"] }), seen.json["context"]?.object == known else {
          throw Problem(403, "context_mismatch", "The context is not the one that the data key was made for.")
        }
        return (200, try DataKeyTests.delivery(seen))
      default: throw Problem(404, "key_not_found", "There is no such key: list them with GET /v1/keys.")
      }
    }
  }

  @Test("encrypts and decrypts, through pipes and files, and tells what is wrong")
  func files() async throws {
    let store = Store()
    try await StubDaemon.runOnWallClock({ try store.answer($0) }) { stub in
      let state = ["--state", stub.folder]
      let plaintext = pattern(200_000)
      let encrypted = try await Self.run(
        ["keys", "encrypt", "key_1", "--context", "customer=42"] + state, input: plaintext)
      #expect(encrypted.status == 0 && encrypted.complaint.isEmpty, "\(encrypted.complaint)")
      try #require(encrypted.output.count > plaintext.count && encrypted.output.starts(with: EnvelopeFile.magic))
      let decrypt = ["keys", "decrypt", "--context", "customer=42"] + state
      // Compared apart from #expect, which would print both in full.
      let isSame = try await Self.run(decrypt, input: encrypted.output).output == plaintext
      #expect(isSame)

      // By files, with a report for programs.
      let path = stub.folder + "/file.tc"
      try stub.write("plain", plaintext, mode: 0o600)
      let report = try await Self.run(
        [
          "keys", "encrypt", "key_1", "--context", "customer=42", "--in", stub.folder + "/plain", "--out", path,
          "--json",
        ]
          + state)
      #expect(report.complaint == #"{"data_key":"dek_1","key":"key_1","plaintext_bytes":200000}"# + "\n")
      #expect(report.output.isEmpty)
      let out = stub.folder + "/again"
      #expect(try await Self.run(decrypt + ["--in", path, "--out", out]).status == 0)
      let isThere = FileManager.default.contents(atPath: out) == Data(plaintext)
      #expect(isThere)

      func failure(_ arguments: [String], _ input: [UInt8]) async throws -> String {
        let outcome = try await Self.run(arguments, input: input)
        return "\(outcome.status) \(outcome.complaint)"
      }
      #expect(
        try await failure(["keys", "decrypt", "--context", "customer=43"] + state, encrypted.output) == """
          65 trustcore: The context is not the one that the data key was made for. [context_mismatch]

          """)
      #expect(
        try await failure(["keys", "encrypt", "key_2", "--context", "a=b"] + state, []) == """
          66 trustcore: There is no such key: list them with GET /v1/keys. [key_not_found]

          """)
      var changed = encrypted.output
      changed[100_000] ^= 1
      #expect(
        try await failure(decrypt, changed) == """
          65 trustcore: The file was changed, or cut short, after the first 0 bytes: fetch it again. [not_authentic]

          """)
      #expect(
        try await failure(decrypt, Array(encrypted.output.prefix(20))) == """
          65 trustcore: The file stops inside its header: fetch it again. [envelope_truncated]

          """)
      #expect(try await failure(decrypt, plaintext).contains("[not_an_envelope]"))
      #expect(try await failure(decrypt, Array("TCENV2\n".utf8) + plaintext).contains("[envelope_too_new]"))
      // With --out nothing is there, and nothing is left behind.
      let before = try FileManager.default.contentsOfDirectory(atPath: stub.folder).sorted()
      try stub.write("file.tc", changed, mode: 0o600)
      #expect(try await Self.run(decrypt + ["--in", path, "--out", stub.folder + "/never"]).status == 65)
      #expect(try FileManager.default.contentsOfDirectory(atPath: stub.folder).sorted() == before)
      #expect(try await Self.run(decrypt + ["--in", stub.folder + "/nowhere"]).status == 66)
    }
  }

  @Test("answers in words and in JSON, and ends with sysexits' codes")
  func answers() async throws {
    let status = Mutex(RenderingTests.status)
    try await StubDaemon.runOnWallClock({ seen in
      switch seen.path {
      case "/v1/status", "/v1/hsm": return (200, status.withLock { $0 })
      case "/v1/keys" where seen.method == "POST": return (201, ["key": "key_1", "version": 1, "leaf_index": 4])
      case "/v1/keys": return (200, ["keys": [["key": "key_1", "class": "files", "version": 1, "state": "active"]]])
      case "/v1/keys/key_1/rewrap": return (202, ["key": ["key": "key_1", "tasks": [["kind": "rewrap"]]]])
      case "/v1/keys/key_1":
        return (200, ["key": "key_1", "version": 2, "rewrap": ["rewrapped": 10, "total": 10]])
      case "/v1/keys/key_1/disable": throw Problem(503, "hsm_unavailable", "The data token is away: plug it in.")
      case "/v1/keys/key_1/rotate": throw Problem(403, "not_permitted", "Only officers rotate keys.")
      default: return (200, ["key": ["key": "key_1", "task_state": "done", "task_leaf_index": 9], "leaf_index": 8])
      }
    }) { stub in
      func run(_ arguments: String...) async throws -> Outcome {
        try await Self.run(arguments + ["--state", stub.folder])
      }
      let notReady = try await run("status")
      #expect(notReady.status == 75)
      #expect(notReady.text.hasPrefix("Mode            running\n"))
      #expect(notReady.complaint.contains("token data/1 is down"))
      status.withLock { $0["tokens"] = [["role": "data", "member": 0, "label": "data", "state": "ready"]] }
      #expect(try await run("status").status == 0)
      #expect(try await run("hsm", "status").status == 0)
      let json = try await run("status", "--json")
      #expect(try JSONValue(parsing: json.output).object == status.withLock { $0 })
      #expect(try await run("keys", "list").text.contains("key_1  -       files        1  active"))
      #expect(try await run("keys", "create", "--class", "files").text == "key_1 is made, version 1 (leaf 4).\n")
      let rewrap = try await run("keys", "rewrap", "key_1", "--wait")
      #expect(rewrap.text == "key_1 is rewrapped, version 2.\n")
      #expect(rewrap.complaint == "rewrapped 10 of 10\n")
      #expect(try await run("keys", "rewrap", "key_1").text.hasPrefix("key_1 is being rewrapped."))
      let refused = try await run("keys", "destroy", "key_1")
      #expect(refused.status == 64)
      #expect(refused.complaint.contains("--yes"))
      #expect(!stub.seen.contains { $0.path.hasSuffix("/destroy") })
      #expect(try await run("keys", "destroy", "key_1", "--yes").text == "key_1 is destroyed (leaf 9).\n")
      #expect(try await run("keys", "disable", "key_1").status == 75)
      let forbidden = try await run("keys", "rotate", "key_1", "--json")
      #expect(forbidden.status == 77)
      #expect(
        try JSONValue(parsing: forbidden.complaint).object == [
          "code": "not_permitted", "detail": "Only officers rotate keys.", "status": 403, "exit_code": 77,
        ])
      // Nothing serves from an empty folder, and an officer's key that others may read is not used.
      #expect(try await Self.run(["status", "--state", "/var"]).status == 69)
      #expect(try await Self.run(["status", "--state", "/nowhere"]).status == 66)
      try stub.write("officer.jwk", Array(StubDaemon.text(stub.officer.privateJWK).utf8), mode: 0o600)
      unsafe chmod(stub.folder + "/officer.jwk", 0o644)
      #expect(try await run("keys", "create", "--class", "files").status == 77)
    }
  }
}
