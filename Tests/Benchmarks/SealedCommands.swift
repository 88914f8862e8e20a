import AgentIdentity
import DemoClient
import JOSE
import TrustCoreAPI
import Wire

/// Transfers of P-256 agents, one a request, durable, sealed and posted, over TLS 1.3.
enum SealedCommands {
  private static let connections = 32
  /// Each agent moves money between its own pair of accounts.
  private static let pairs = 16
  /// More than the machine can do in a second, so that prepared requests do not run out.
  private static let preparedPerSecond = 12_000.0

  static func measure(trustcored: String, state: String, seconds: Double) async throws -> [Row] {
    let daemon = DaemonProcess(executable: trustcored, state: state, environment: [:])
    let ready = try await daemon.start()
    let client = try TrustCoreClient(ready)
    do {
      let rows = try await rows(try Deployment(ready), client, seconds)
      await client.close()
      try await daemon.stop()
      return rows
    } catch {
      await client.close()
      await daemon.kill()
      throw error
    }
  }

  private static func rows(
    _ deployment: Deployment, _ client: TrustCoreClient, _ seconds: Double
  ) async throws -> [Row] {
    let agents = try await makeAgents(deployment, client)
    func generator(_ version: LoadGenerator.Version, inFlight: Int) throws -> LoadGenerator {
      guard let port = Int(deployment.api.split(separator: ":").last ?? ""), let authority = deployment.ready["ca"]
      else { throw BenchmarkError("ready.json names no port or no CA") }
      return LoadGenerator(
        port: port, authority: authority, version: version, connections: connections, inFlight: inFlight)
    }
    let constant = try await generator(.http1, inFlight: 1)
      .run([OutgoingRequest("GET", "/healthz")], repeating: true, expecting: 200, for: min(seconds, 3))
    let constant2 = try await generator(.http2, inFlight: 8)
      .run([OutgoingRequest("GET", "/healthz")], repeating: true, expecting: 200, for: min(seconds, 3))
    var rows: [Row] = []
    for (name, version, inFlight, constant) in [
      ("HTTP/1.1, 32 in flight", LoadGenerator.Version.http1, 1, constant),
      ("HTTP/2, 256 in flight", .http2, 8, constant2),
    ] {
      // The first requests fill caches and make pages; they are not counted.
      let warmUp = try await prepare(Int(preparedPerSecond), agents)
      _ = try await generator(version, inFlight: inFlight).run(warmUp, expecting: 201, for: 1)
      let requests = try await prepare(Int(preparedPerSecond * seconds), agents)
      Benchmarks.progress("  \(name)")
      var before: Int64 = 0
      var cpu = 0.0
      let result = try await generator(version, inFlight: inFlight)
        .run(requests, expecting: 201, for: seconds) {
          before = try await operations(deployment, client)
          cpu = try ProcessFigures.cpuSeconds(deployment.ready.pid)
        }
      cpu = try ProcessFigures.cpuSeconds(deployment.ready.pid) - cpu
      let after = try await operations(deployment, client)
      rows += [
        Row("sealed commands, \(name)", result.rate, "/s", least: 8000),
        Row("  beside a constant answer", result.rate, "/s", beside: "GET /healthz, \(name)", constant.rate),
        Row("  p50", result.percentile(50), "ms"),
        Row("  p99", result.percentile(99), "ms", most: 25),
        Row("  the daemon's CPU time each", cpu * 1e6 / Double(result.count), "us"),
        Row("  HSM operations each", Double(after - before) / Double(result.count), "", most: 0.02),
      ]
    }
    return rows
  }

  /// An agent with its access token, its account to debit and its account to credit.
  private struct Agent: Sendable {
    let party: Party
    let token: String
    let debit: String
    let credit: String
  }

  private static func makeAgents(_ deployment: Deployment, _ client: TrustCoreClient) async throws -> [Agent] {
    func done(_ answer: Answer) throws -> Answer {
      guard (200...201).contains(answer.status) else { throw BenchmarkError("\(answer.summary): \(answer.text)") }
      return answer
    }
    func open(_ party: Party, _ kind: String) async throws -> String {
      let answer = try done(
        try await party.submit(client, "/v1/ledger/accounts", ["currency": "USD", "kind": .string(kind)]))
      guard let id = answer["result", "account", "id"]?.string else {
        throw BenchmarkError("no account: \(answer.text)")
      }
      return id
    }
    let source = try await open(deployment.officer, "external")
    var agents: [Agent] = []
    for number in 0..<pairs {
      let debit = try await open(deployment.owner, "customer")
      let credit = try await open(deployment.owner, "customer")
      _ = try done(
        try await deployment.officer.submit(
          client, "/v1/ledger/transfers", transfer(from: source, to: debit, "1000000.00")))
      let agent = try await deployment.enrol(try deployment.newKey(.p256), name: "load \(number)", client)
      _ = try done(try await deployment.approve(agent, client))
      agents.append(Agent(party: agent, token: try await agent.token(client), debit: debit, credit: credit))
    }
    return agents
  }

  private static func transfer(from: String, to: String, _ amount: String) -> JSONValue {
    func entry(_ account: String, _ side: String) -> JSONValue {
      ["account": .string(account), "side": .string(side), "amount": .string(amount), "currency": "USD"]
    }
    return ["entries": [entry(from, "debit"), entry(to, "credit")]]
  }

  /// Signs so many transfers, on both cores.
  private static func prepare(_ count: Int, _ agents: [Agent]) async throws -> [OutgoingRequest] {
    @concurrent func half(_ range: Range<Int>) async throws -> [OutgoingRequest] {
      try range.map { number in
        let agent = agents[number % agents.count]
        return try agent.party.command(
          "/v1/ledger/transfers", transfer(from: agent.debit, to: agent.credit, "0.01"), token: agent.token)
      }
    }
    async let first = half(0..<(count / 2))
    async let second = half((count / 2)..<count)
    return try await first + second
  }

  private static func operations(_ deployment: Deployment, _ client: TrustCoreClient) async throws -> Int64 {
    let answer = try await client.get("/v1/status", bearer: deployment.auditorToken)
    guard let count = answer["hsm_operations"]?.integer else { throw BenchmarkError("no status: \(answer.text)") }
    return count
  }
}
