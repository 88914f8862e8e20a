import DemoClient
import Envelope
import TrustCoreAPI
import Wire

/// Data keys asked for by signed requests over TLS 1.3, of a daemon in a process of its own.
enum DataKeyRequests {
  /// More than the daemon's cache holds: asked for in turn, after as many others were made, none of them is ever in it.
  private static let uncached = 1500
  /// More of these requests than the machine can do in a second.
  private static let preparedPerSecond = 6000.0

  static func measure(trustcored: String, state: String, seconds: Double) async throws -> [Row] {
    let daemon = DaemonProcess(executable: trustcored, state: state)
    let ready = try await daemon.start()
    let client = try TrustCoreClient(ready)
    do {
      let rows = try await rows(try Deployment(ready), client, seconds: seconds)
      await client.close()
      try await daemon.stop()
      return rows
    } catch {
      await client.close()
      await daemon.kill()
      throw error
    }
  }

  private static func rows(_ deployment: Deployment, _ client: TrustCoreClient, seconds: Double) async throws -> [Row] {
    let officer = deployment.officer
    let created = try await officer.submit(client, "/v1/keys", ["class": "files"]).done()
    guard let key = created["key", "key"]?.string else { throw BenchmarkError("no key: \(created.text)") }
    let body = JSONValue.object([
      "context": ["purpose": "benchmark"],
      "recipient": .string(Base64.URL.encode(try RecoveryKey.generate().publicKey.bytes)),
    ]).canonical()
    let token = try await officer.token(client)
    let making = "/v1/keys/\(key)/data-keys"
    var made: [String] = []
    for _ in 0..<uncached {
      let answer = try await client.send(try officer.command(making, body, token: token)).done()
      guard let name = answer["data_key"]?.string else { throw BenchmarkError("no data key: \(answer.text)") }
      made.append(name)
    }
    let load = DaemonLoad(deployment: deployment, client: client, seconds: seconds)
    let shape = DaemonLoad.Shape.all[0]
    let names = made
    let loads: [(name: String, status: Int, warmsUp: Bool, path: @Sendable (Int) -> String)] = [
      ("data keys made", 201, true, { _ in making }),
      ("data keys opened, not in the cache", 200, false, { "/v1/data-keys/\(names[$0 % names.count])/open" }),
      ("data keys opened, in the cache", 200, true, { "/v1/data-keys/\(names[$0 % 32])/open" }),
    ]
    var rows: [Row] = []
    for (name, status, warmsUp, path) in loads {
      Benchmarks.progress("  \(name), \(shape.name)")
      let figures = try await load.run(shape, expecting: status, preparing: preparedPerSecond, warmingUp: warmsUp) {
        try officer.command(path($0), body, token: token)
      }
      rows += [
        Row("\(name), \(shape.name)", figures.result.rate, "/s"),
        Row("  p50", figures.result.percentile(50), "ms"), Row("  p99", figures.result.percentile(99), "ms"),
        Row("  the daemon's CPU time each", figures.cpuEach, "us"),
        Row("  HSM operations each", figures.operationsEach, ""),
      ]
    }
    return rows
  }
}
