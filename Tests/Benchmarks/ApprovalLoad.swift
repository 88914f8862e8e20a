import DemoClient
import TrustCoreAPI
import Wire

/// Payments that wait for a person: the agent asks, the person reads what to sign, taps, and decides. One payment a
/// cycle; what is timed is the whole of it, three requests.
enum ApprovalLoad {
  static func run(_ load: DaemonLoad, _ parties: LoadParties) async throws -> DaemonLoad.Figures {
    guard let api = load.deployment.ready["api"] else { throw BenchmarkError("ready.json lacks api") }
    var options = TrustCoreClient.Options(authority: load.deployment.ready["ca"])
    options.http2 = false
    options.connections = DaemonLoad.connections
    let client = try TrustCoreClient(api: api, options)
    do {
      _ = try await cycles(parties, client, seconds: 1)
      let figures = try await load.measured { ready in
        try await ready()
        return try await cycles(parties, client, seconds: load.seconds)
      }
      await client.close()
      return figures
    } catch {
      await client.close()
      throw error
    }
  }

  /// Each approver works through payments of one agent, one at a time.
  private static func cycles(
    _ parties: LoadParties, _ client: TrustCoreClient, seconds: Double
  ) async throws -> LoadGenerator.Result {
    let start = ContinuousClock.now
    let end = start + .seconds(seconds)
    var result = LoadGenerator.Result()
    result.latencies = try await withThrowingTaskGroup(of: [Double].self) { group in
      for payer in parties.payers {
        for approver in payer.approvers {
          group.addTask {
            var latencies: [Double] = []
            while ContinuousClock.now < end {
              let begun = ContinuousClock.now
              try await cycle(payer, approver, client)
              latencies.append((ContinuousClock.now - begun) / .milliseconds(1))
            }
            return latencies
          }
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }.sorted()
    }
    result.count = result.latencies.count
    result.seconds = (ContinuousClock.now - start) / .seconds(1)
    return result
  }

  private static func cycle(
    _ payer: LoadParties.Payer, _ approver: Person, _ client: TrustCoreClient
  ) async throws {
    let held = try await client.send(try LoadParties.heldPayment(by: payer))
    guard held.status == 202, let payment = held["result", "payment"]?.string else {
      throw BenchmarkError("the payment was not held: \(held.summary) \(held.text)")
    }
    let decided = try await approver.decide(client, payment)
    guard decided.status == 200, decided["result", "state"]?.string == "posted" else {
      throw BenchmarkError("the payment was not posted: \(decided.summary) \(decided.text)")
    }
  }
}
