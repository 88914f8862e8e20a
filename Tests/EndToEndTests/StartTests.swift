import DemoClient
import Foundation
import JOSE
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// What the daemon does with a state folder that is not as it left it.
  @Suite(.serialized) struct Starts {
    private static let files = FileManager.default

    /// A deployment that was made, has a command on its record and was stopped.
    private static func made() async throws -> String {
      let state = Built.fresh("start")
      let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
      let ready = try await daemon.start()
      let client = try TrustCoreClient(ready)
      try await open(try Deployment(ready), client)
      await client.close()
      try await daemon.stop()
      return state
    }

    private static func open(_ deployment: Deployment, _ client: TrustCoreClient) async throws {
      let answer = try await deployment.owner.submit(client, "/v1/ledger/accounts", ["currency": "EUR"])
      #expect(answer.status == 201, "\(answer.text)")
    }

    /// Starts a daemon that must not come up, and gives what it says.
    private static func refusal(_ state: String, _ arguments: [String] = []) async throws -> String {
      let (status, output) = try await Built.run(
        try Built.program("trustcored"), ["serve", "--dev", "--state", state] + arguments, within: .seconds(30))
      #expect(status == 70, "\(output)")
      #expect(!output.contains("Fatal error"), "\(output)")
      #expect(!files.fileExists(atPath: state + "/ready.json"))
      return output
    }

    @Test func readyFileComesAndGoes() async throws {
      let state = Built.fresh("ready")
      let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
      let ready = try await daemon.start()
      for name in [
        "api", "ca", "trust_domain", "genesis", "database", "registration_token_file", "auditor_token_file",
        "pkcs11_module", "pkcs11_config",
      ] {
        let value = try #require(ready[name])
        if name != "api", name != "trust_domain" {
          #expect(value.hasPrefix("/") && Self.files.fileExists(atPath: value), "\(name)")
        }
      }
      #expect(Set(ready.pins.keys) == ["root", "log", "identity", "data"])
      #expect(ready["trust_domain"]?.hasSuffix(".dev.invalid") == true)
      let mode = try Self.files.attributesOfItem(atPath: state + "/auditor.token")[.posixPermissions] as? Int
      #expect(mode == 0o600)
      #expect(try await daemon.stop() == 0)
      #expect(!Self.files.fileExists(atPath: state + "/ready.json"))
      // URL, origin and keys survive.
      let again = try await daemon.start()
      #expect(again["api"] == ready["api"] && again.logKeys == ready.logKeys)
      try await daemon.stop()
    }

    @Test func rolledBackDatabaseIsServedReadOnly() async throws {
      let state = try await Self.made()
      let database = state + "/trustcore.sqlite"
      let older = try Data(contentsOf: URL(fileURLWithPath: database))
      let program = try Built.program("trustcored")
      var daemon = DaemonProcess(executable: program, state: state)
      var ready = try await daemon.start()
      var client = try TrustCoreClient(ready)
      let earlier = try Deployment(ready)
      try await Self.open(earlier, client)
      await client.close()
      try await daemon.stop()

      for suffix in ["-wal", "-shm"] { try? Self.files.removeItem(atPath: database + suffix) }
      try older.write(to: URL(fileURLWithPath: database))
      daemon = DaemonProcess(executable: program, state: state)
      ready = try await daemon.start()
      client = try TrustCoreClient(ready)
      let description = try APIDescription(try await client.get("/openapi.json"))
      func get(_ path: String, bearer: String? = nil) async throws -> Answer {
        let answer = try await client.get(path, bearer: bearer)
        description.check(.init("GET", path), answer, at: #_sourceLocation)
        return answer
      }
      let deployment = try Deployment(ready)
      #expect(try await get("/healthz").status == 200)
      #expect(try await get("/readyz").summary == "503 log_read_only")
      #expect(try await get("/log/checkpoint").status == 200)
      #expect(try await get("/log/tile/0/000.p/1").status == 200)
      #expect(try await get("/log/tile/entries/000.p/1", bearer: deployment.auditorToken).status == 200)
      #expect(try await get("/v1/status", bearer: deployment.auditorToken)["mode"]?.string == "read_only")
      // No command, token or agent: each would have to be recorded. The owner's token is one of before.
      let command = try await earlier.owner.submit(client, "/v1/ledger/accounts", ["currency": "EUR"])
      #expect(command.summary == "503 log_read_only")
      let token = try await client.send(try deployment.owner.tokenRequest())
      #expect(token.summary == "503 log_read_only")
      let registration = try await client.post(
        "/oauth/register", ["jwks": ["keys": [try deployment.newKey(.p256).publicJWK.bareJSON]]],
        bearer: deployment.registrationToken)
      #expect(registration.summary == "503 log_read_only")
      await client.close()
      #expect(try await daemon.stop() == 0)
    }

    @Test func missingHeadFileStopsTheStart() async throws {
      let state = try await Self.made()
      try Self.files.removeItem(atPath: state + "/signer.head")
      let said = try await Self.refusal(state)
      #expect(said.contains("signer.head"), "\(said)")
      // It is not made anew: that would let the signer sign another history.
      #expect(!Self.files.fileExists(atPath: state + "/signer.head"))
    }

    @Test func corruptHeadFileStopsTheStart() async throws {
      let state = try await Self.made()
      try Data(repeating: 0x55, count: 8192).write(to: URL(fileURLWithPath: state + "/signer.head"))
      let said = try await Self.refusal(state)
      #expect(said.contains("signer.head") && said.contains("corrupt"), "\(said)")
    }

    @Test func corruptGenesisStopsTheStart() async throws {
      let state = try await Self.made()
      let file = URL(fileURLWithPath: state + "/genesis.json")
      let good = try Data(contentsOf: file)
      for bad in [Data(), good.dropLast(), good + Data(" ".utf8), Data("{}".utf8)] {
        try bad.write(to: file)
        let said = try await Self.refusal(state)
        #expect(said.lowercased().contains("genesis"), "\(said)")
      }
      // Well-formed, and another than the one whose digest is leaf 0.
      let text = String(decoding: good, as: UTF8.self)
      try Data(text.replacing("\"environment\":\"development\"", with: "\"environment\":\"developmenx\"").utf8).write(
        to: file)
      let said = try await Self.refusal(state)
      #expect(said.lowercased().contains("genesis"), "\(said)")
      try Self.files.removeItem(at: file)
      #expect(try await Self.refusal(state).contains("genesis.json"))
    }

    @Test func secondDaemonOnTheSameStateIsRefused() async throws {
      let fixture = try await Fixture.shared
      let ready = try Data(contentsOf: URL(fileURLWithPath: fixture.daemon.state + "/ready.json"))
      let (status, output) = try await Built.run(
        try Built.program("trustcored"), ["serve", "--dev", "--state", fixture.daemon.state], within: .seconds(30))
      #expect(status == 70 && output.contains("another trustcored uses"), "\(output)")
      // The first one is not disturbed, nor is its file.
      #expect(try Data(contentsOf: URL(fileURLWithPath: fixture.daemon.state + "/ready.json")) == ready)
      #expect(try await fixture.get("/readyz").status == 200)
    }

    @Test func secondDaemonDoesNotDisturbAFirstStart() async throws {
      let state = Built.fresh("making")
      let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
      async let ready = daemon.start()
      // The first has begun to make its deployment; the second must not take that for an interrupted start.
      while !Self.files.fileExists(atPath: state + "/development") { try await Task.sleep(for: .milliseconds(1)) }
      let (status, output) = try await Built.run(
        try Built.program("trustcored"), ["serve", "--dev", "--state", state], within: .seconds(30))
      #expect(status == 70 && output.contains("another trustcored uses"), "\(output)")
      let client = try TrustCoreClient(try await ready)
      #expect(try await client.get("/readyz").status == 200)
      await client.close()
      try await daemon.stop()
    }

    @Test func foreignFolderIsRefused() async throws {
      let state = Built.fresh("foreign")
      try Self.files.createDirectory(atPath: state, withIntermediateDirectories: true)
      try Data("mine".utf8).write(to: URL(fileURLWithPath: state + "/file"))
      let said = try await Self.refusal(state)
      #expect(said.contains("--dev did not make"), "\(said)")
      #expect(try Self.files.contentsOfDirectory(atPath: state) == ["file"])
    }

    @Test func portInUseIsSaid() async throws {
      let fixture = try await Fixture.shared
      let port = try #require(URL(string: fixture.client.api)?.port)
      let state = try await Self.made()
      let said = try await Self.refusal(state, ["--port", "\(port)"])
      #expect(said.contains("\(port)") && said.contains("in use"), "\(said)")
    }

    @Test func interruptedMakingIsStartedOver() async throws {
      let state = Built.fresh("half")
      try Self.files.createDirectory(atPath: state + "/hsm", withIntermediateDirectories: true)
      try Data().write(to: URL(fileURLWithPath: state + "/development"))
      try Data("half".utf8).write(to: URL(fileURLWithPath: state + "/genesis.json"))
      let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
      let ready = try await daemon.start()
      let client = try TrustCoreClient(ready)
      #expect(try await client.get("/readyz").status == 200)
      await client.close()
      try await daemon.stop()
    }

    @Test func productionIsNotPretended() async throws {
      let (status, output) = try await Built.run(
        try Built.program("trustcored"), ["serve", "--state", Built.fresh("production")])
      #expect(status == 64 && output.contains("--dev"), "\(output)")
    }
  }
}
