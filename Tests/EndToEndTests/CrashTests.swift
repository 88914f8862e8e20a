import AgentIdentity
import DemoClient
import Foundation
import JOSE
import Synchronization
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// The process dies in the middle of a burst, at a named point or at any moment. What was acknowledged is there, and
  /// everything that is sent again with its Idempotency-Key is done exactly once.
  @Suite(.serialized) struct Crashes {
    /// The bodies of answers, by Idempotency-Key.
    private final class Acknowledged: Sendable {
      private let answers = Mutex<[String: [UInt8]]>([:])
      var bodies: [String: [UInt8]] { answers.withLock { $0 } }

      /// Adds one and says how many there are.
      func add(_ key: String, _ body: [UInt8]) -> Int {
        answers.withLock {
          $0[key] = body
          return $0.count
        }
      }
    }

    /// A deployment that dies and comes back.
    private struct Victim {
      let state: String
      let agent: Party
      let owner: Party
      let from: String
      let to: String
      /// Cents that must be on `to`.
      var expected: Int64 = 0

      static func make() async throws -> Victim {
        let state = Built.fresh("crash")
        let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
        let ready = try await daemon.start()
        let client = try TrustCoreClient(ready)
        let deployment = try Deployment(ready)
        let agent = try await deployment.enrol(try deployment.newKey(.p256), name: "burst", client)
        try #require(try await deployment.approve(agent, client).status == 200)
        func open(_ party: Party, _ body: JSONValue) async throws -> String {
          let answer = try await party.submit(client, "/v1/ledger/accounts", body)
          return try #require(answer["result", "account", "id"]?.string, "\(answer.text)")
        }
        let bank = try await open(deployment.officer, ["currency": "EUR", "kind": "external"])
        let from = try await open(deployment.owner, ["currency": "EUR"])
        let to = try await open(deployment.owner, ["currency": "EUR"])
        let funding = Transfer.body(from: bank, to: from, "1000000.00")
        try #require(try await deployment.officer.submit(client, "/v1/ledger/transfers", funding).status == 201)
        await client.close()
        try await daemon.stop()
        return Victim(state: state, agent: agent, owner: deployment.owner, from: from, to: to)
      }

      /// A transfer with a key of its own; the same key and body each time that it is sent.
      struct Command: Sendable {
        let key: String
        let cents: Int64
      }

      func send(_ command: Command, _ client: TrustCoreClient) async throws -> Answer {
        let amount = "\(command.cents / 100)." + String(String(100 + command.cents % 100).dropFirst())
        return try await agent.submit(
          client, "/v1/ledger/transfers", Transfer.body(from: from, to: to, amount), .init(idempotencyKey: command.key))
      }

      func commands(_ count: Int) -> [Command] {
        // Different amounts: one that is missing cannot be made up by another that is done twice.
        (0..<count).map { Command(key: agent.fresh(), cents: Int64(1000 + 7 * $0)) }
      }

      /// Sends commands in lanes, each after the answer to the one before, until the daemon is gone.
      /// - Returns: the bodies of the answers, by key; and whether the daemon was still there at the end.
      func burst(
        _ commands: [Command], _ client: TrustCoreClient, lanes: Int,
        after: @escaping @Sendable (Int) -> Void = { _ in }
      ) async -> [String: [UInt8]] {
        let acknowledged = Acknowledged()
        let victim = self
        await withTaskGroup(of: Void.self) { group in
          for lane in 0..<lanes {
            group.addTask {
              for command in stride(from: lane, to: commands.count, by: lanes).map({ commands[$0] }) {
                guard let answer = try? await victim.send(command, client) else { return }
                #expect(answer.status == 201, "\(answer.summary)")
                after(acknowledged.add(command.key, answer.body))
              }
            }
          }
        }
        return acknowledged.bodies
      }

      /// Starts the real daemon on what is left, sends everything again, and compares money, answers and the log.
      mutating func settle(_ commands: [Command], _ acknowledged: [String: [UInt8]], _ what: String) async throws {
        let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
        let ready = try await daemon.start()
        let client = try TrustCoreClient(ready)
        let victim = self
        try await withThrowingTaskGroup(of: Void.self) { group in
          for command in commands {
            group.addTask {
              var answer = try await victim.send(command, client)
              // Recovery carries out what was recorded; until it has, its key is taken.
              while answer.code == "idempotency_key_in_flight" { answer = try await victim.send(command, client) }
              #expect(answer.status == 201, "\(what): \(answer.text)")
              if let earlier = acknowledged[command.key] {
                #expect(answer.body == earlier, "\(what): an acknowledged command has another answer now")
              }
              let again = try await victim.send(command, client)
              #expect(again.body == answer.body, "\(what): the same key has two answers")
            }
          }
          try await group.waitForAll()
        }
        expected += commands.reduce(0) { $0 + $1.cents }
        let account = try await owner.get(client, "/v1/ledger/accounts/\(to)")
        let balance = (account["balance"]?.string ?? "").filter { $0 != "." }
        #expect(Int64(balance) == expected, "\(what): \(account.text)")
        let source = try await owner.get(client, "/v1/ledger/accounts/\(from)")
        #expect(
          source["debits_pending"]?.string == "0.00" && source["credits_pending"]?.string == "0.00",
          "\(what): \(source.text)")
        await client.close()
        try await daemon.stop()
        let (status, output) = try await Built.run(try Built.program("trustcore"), ["log", "verify", "--state", state])
        #expect(status == 0 && output.contains("\nSOUND"), "\(what): \(output.suffix(1500))")
      }
    }

    @Test func diesAtEachNamedPointAndLosesNothing() async throws {
      var victim = try await Victim.make()
      let program = try Built.program("CrashDaemon")
      var rounds = 0
      for step in ["T1", "file", "sign", "publish", "T2"] {
        for nth in [1, 2, 6] {
          let what = "\(step) \(nth)"
          let daemon = DaemonProcess(
            executable: program, state: victim.state, arguments: ["--at", step, "--nth", "\(nth)"])
          let ready: ReadyFile
          do { ready = try await daemon.start() } catch {
            // What the last run left was finished at once, and the point was reached before anything was served.
            try await victim.settle([], [:], what + " at start")
            continue
          }
          let client = try TrustCoreClient(ready)
          // The token is asked for before the burst; its own leaf may reach the point.
          let commands = victim.commands(60)
          let acknowledged = await victim.burst(commands, client, lanes: 4)
          await client.close()
          await daemon.kill()
          // A lane ends early only where its daemon has gone.
          #expect(acknowledged.count < commands.count, "\(what): the daemon outlived the burst")
          try await victim.settle(commands, acknowledged, what)
          rounds += 1
        }
      }
      #expect(rounds >= 10)
    }

    @Test(arguments: [5, 23]) func killedAtAnyMomentItLosesNothing(count: Int) async throws {
      var victim = try await Victim.make()
      let daemon = DaemonProcess(executable: try Built.program("trustcored"), state: victim.state)
      let ready = try await daemon.start()
      let client = try TrustCoreClient(ready)
      let commands = victim.commands(120)
      let pid = ready.pid
      let acknowledged = await victim.burst(commands, client, lanes: 8) { answers in
        if answers == count { kill(pid, SIGKILL) }
      }
      await client.close()
      await daemon.kill()
      #expect(acknowledged.count >= count && acknowledged.count < commands.count)
      try await victim.settle(commands, acknowledged, "kill -9 after \(count)")
    }
  }
}
