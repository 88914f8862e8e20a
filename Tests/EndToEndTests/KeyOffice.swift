import DemoClient
import Foundation
import TestSupport
import Testing
import TrustCoreAPI
import Wire

/// A deployment of its own for tests of keys, with the command line that drives it: it may be killed, its tokens broken
/// and its files exchanged.
final class KeyOffice: Sendable {
  let state: String
  let daemon: DaemonProcess
  /// The faults of its PKCS#11 module; nil where it has SoftHSM itself.
  let faults: FaultyModule?
  let program: String
  /// What its PKCS#11 module is told through the environment.
  var environment: [String: String] { faults?.environment ?? [:] }

  /// Prepares one; nothing runs yet.
  init(_ name: String, faulty: Bool = false) throws {
    state = Built.fresh(name)
    faults = faulty ? try FaultyModule() : nil
    program = try Built.program("trustcore")
    daemon = DaemonProcess(
      executable: try Built.program("trustcored"), state: state,
      arguments: faults.map { ["--pkcs11-module", $0.library] } ?? [], environment: faults?.environment ?? [:])
  }

  // MARK: - The daemon

  /// A running daemon as its clients see it.
  struct Running: Sendable {
    let ready: ReadyFile
    let client: TrustCoreClient
    let deployment: Deployment

    /// What an auditor reads.
    func read(_ path: String) async throws -> Answer { try await client.get(path, bearer: deployment.auditorToken) }

    /// A token of the status.
    func token(_ role: String) async throws -> JSONObject {
      let answer = try await read("/v1/status")
      return try #require((answer["tokens"]?.array ?? []).compactMap(\.object).first { $0["role"]?.string == role })
    }

    /// An account of the owner.
    func openAccount() async throws -> Answer {
      try await deployment.owner.submit(client, "/v1/ledger/accounts", ["currency": "EUR"])
    }

    /// What an officer orders of a key.
    func order(_ verb: String, _ key: String, _ body: JSONValue = [:]) async throws -> Answer {
      try await deployment.officer.submit(client, "/v1/keys/\(key)/\(verb)", body)
    }

    /// A data key for the owner.
    func draw(_ key: String, _ recipient: Vault.Recipient) async throws -> Answer {
      try await deployment.owner.submit(
        client, "/v1/keys/\(key)/data-keys",
        ["context": Vault.context, "recipient": .string(recipient.text)])
    }
  }

  func start() async throws -> Running {
    let ready = try await daemon.start()
    return Running(ready: ready, client: try TrustCoreClient(ready), deployment: try Deployment(ready))
  }

  func stop(_ running: Running) async throws {
    await running.client.close()
    try await daemon.stop()
  }

  // MARK: - The command line

  /// Runs `trustcore` on this deployment.
  func tool(_ arguments: [String], input: String = "/dev/null", output: String? = nil) async throws -> Outcome {
    try await Built.pipe(program, arguments + ["--state", state], input: input, output: output)
  }

  /// Runs `trustcore … --json`, which must succeed, and gives what it prints.
  func json(_ arguments: [String], at location: SourceLocation = #_sourceLocation) async throws -> JSONObject {
    let outcome = try await tool(arguments + ["--json"])
    #expect(outcome.status == 0, "\(arguments): \(outcome.complaint)", sourceLocation: location)
    return try #require(
      try JSONValue(parsing: outcome.output).object, "\(arguments): \(outcome.text)", sourceLocation: location)
  }

  /// Makes the key of a class and gives its identifier.
  func makeKey(_ name: String = "files") async throws -> String {
    try #require(try await json(["keys", "create", "--class", name])["key"]?.string)
  }

  /// A file of this deployment's tests.
  func file(_ name: String, _ bytes: Data? = nil) throws -> String {
    let path = state + "." + name
    if let bytes { try bytes.write(to: URL(fileURLWithPath: path)) }
    return path
  }

  static let context = ["--context", "customer=42"]

  /// Encrypts a file with the command line and gives the path of what came out.
  func encrypted(_ bytes: Data, under key: String, as name: String) async throws -> String {
    let (plain, sealed) = (try file(name, bytes), try file(name + ".tc"))
    let outcome = try await tool(
      ["keys", "encrypt", key, "--in", plain, "--out", sealed] + Self.context)
    #expect(outcome.status == 0 && outcome.complaint.isEmpty && outcome.output.isEmpty, "\(outcome.complaint)")
    return sealed
  }

  /// Decrypts a file, and gives what went wrong with it.
  func decrypt(_ sealed: String, _ further: [String] = KeyOffice.context) async throws -> Outcome {
    try await tool(["keys", "decrypt", "--in", sealed] + further)
  }

  /// Runs `trustcore log verify`, while nothing runs.
  func isSound() async throws -> Bool {
    let outcome = try await Built.pipe(program, ["log", "verify", "--state", state])
    #expect(outcome.text.contains("\nSOUND"), "\(outcome.text.suffix(1500)) \(outcome.complaint)")
    return outcome.status == 0
  }
}
