import DemoClient
import TrustCoreAPI
import Wire

/// Commands of P-256 agents, one a request, durable, sealed and posted, over TLS 1.3: plain transfers, payments under
/// consent and policy, and payments that a person approves.
enum SealedCommands {
  static func measure(trustcored: String, state: String, seconds: Double) async throws -> [Row] {
    let daemon = DaemonProcess(executable: trustcored, state: state, environment: [:])
    let ready = try await daemon.start()
    let client = try TrustCoreClient(ready)
    do {
      let rows = try await rows(DaemonLoad(deployment: try Deployment(ready), client: client, seconds: seconds))
      await client.close()
      try await daemon.stop()
      return rows
    } catch {
      await client.close()
      await daemon.kill()
      throw error
    }
  }

  private static func rows(_ load: DaemonLoad) async throws -> [Row] {
    let parties = try await LoadParties(load.deployment, load.client)
    var rows: [Row] = []
    var transfers: [LoadGenerator.Result] = []
    for shape in DaemonLoad.Shape.all {
      Benchmarks.progress("  \(shape.name)")
      let constant = try await load.generator(shape)
        .run([OutgoingRequest("GET", "/healthz")], repeating: true, expecting: 200, for: min(load.seconds, 3))
      let plain = try await load.run(shape) { try parties.transfer($0) }
      transfers.append(plain.result)
      rows += [
        Row("sealed commands, \(shape.name)", plain.result.rate, "/s", least: 8000),
        Row(
          "  beside a constant answer", plain.result.rate, "/s", beside: "GET /healthz, \(shape.name)", constant.rate),
        Row("  p50", plain.result.percentile(50), "ms"),
        Row("  p99", plain.result.percentile(99), "ms", most: 25),
        Row("  the daemon's CPU time each", plain.cpuEach, "us"),
        Row("  HSM operations each", plain.operationsEach, "", most: 0.02),
      ]
      let payments = try await load.run(shape) { try parties.payment($0) }
      rows += Self.rows("payments with consent and policy, \(shape.name)", payments, beside: plain.result)
    }
    Benchmarks.progress("  approvals")
    let approvals = try await ApprovalLoad.run(load, parties)
    return rows + Self.rows("payments with approval, HTTP/1.1, 32 in flight", approvals, beside: transfers[0])
  }

  private static func rows(
    _ name: String, _ figures: DaemonLoad.Figures, beside plain: LoadGenerator.Result
  ) -> [Row] {
    [
      Row(name, figures.result.rate, "/s", beside: "the plain transfer of this run", plain.rate),
      Row("  p50", figures.result.percentile(50), "ms", beside: plain.percentile(50), "the plain transfer of this run"),
      Row("  p99", figures.result.percentile(99), "ms", beside: plain.percentile(99), "the plain transfer of this run"),
      Row("  the daemon's CPU time each", figures.cpuEach, "us"),
      Row("  HSM operations each", figures.operationsEach, ""),
    ]
  }
}
