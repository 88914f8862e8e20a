import ArgumentParser
import DemoClient
import Foundation
import Wire
import WorkloadAttestation

/// Workload identity: the Workload API over its unix socket, and what stands behind it.
struct Workloads {
  /// What can be measured by itself.
  enum Topic: String, CaseIterable, ExpressibleByArgument {
    case fetches, issuing, tokens, push, connections, entries, attestation
  }

  /// For processes and their state.
  let folder: String
  /// How long the loads run.
  let seconds: Double
  /// How much of it is done: 1, or less to try it out.
  let scale: Double

  func measure(_ topic: Topic) async throws -> [Row] {
    Benchmarks.progress("  \(topic.rawValue)")
    switch topic {
    case .fetches: return try await with(users: 32, fetches)
    case .issuing: return try await with(issuing)
    case .tokens: return try await with(tokens)
    case .push: return try await with(push)
    case .connections: return try await with(users: 32, connections)
    case .entries: return try await entries()
    case .attestation: return try await attestation()
    }
  }

  private func with(
    users: Int = Int(Int32.max), folder name: String = UUID().uuidString,
    _ body: (WorkloadProcess) async throws -> [Row]
  ) async throws -> [Row] {
    let process = try WorkloadProcess(folder: folder + "/" + name.prefix(8), users: users)
    defer { process.stop() }
    return try await body(process)
  }

  func scaled(_ count: Int) -> Int { max(1, Int(Double(count) * scale)) }

  static func percentile(_ sorted: [Double], _ percent: Int) -> Double {
    sorted.isEmpty ? .nan : sorted[min(sorted.count - 1, sorted.count * percent / 100)]
  }

  // MARK: - Fetches

  private func fetches(_ process: WorkloadProcess) async throws -> [Row] {
    // The first fetches issue the certificates.
    let warm = WorkloadFetches(socket: process.socket, connections: 32, inFlight: 1, perConnection: 100)
    let bytes = try await warm.run(for: min(1, seconds / 2)).bytes
    _ = try process.ask("constant \(bytes)")
    return try await fetches(
      process, "32 connections, 8 streams each", inFlight: 8, perConnection: 150, for: seconds, atLeast: 0.9)
      + fetches(
        process, "each on a new connection, 32 at once", inFlight: 1, perConnection: 1, for: seconds / 2, atLeast: nil)
  }

  private func fetches(
    _ process: WorkloadProcess, _ shape: String, inFlight: Int, perConnection: Int, for seconds: Double,
    atLeast: Double?
  ) async throws -> [Row] {
    let sockets = [process.socket, process.constantSocket]
    let rounds = 6
    var rates: [[Double]] = [[], []]
    var latencies: [[Double]] = [[], []]
    var cpu: [Double] = [0, 0]
    for round in 0..<rounds {
      // Each comes first as often as the other.
      for server in round % 2 == 0 ? [0, 1] : [1, 0] {
        let load = WorkloadFetches(
          socket: sockets[server], connections: 32, inFlight: inFlight, perConnection: perConnection)
        let before = try ProcessFigures.cpuSeconds(process.pid)
        let result = try await load.run(for: seconds / Double(rounds)).result
        cpu[server] += try ProcessFigures.cpuSeconds(process.pid) - before
        rates[server].append(result.rate)
        latencies[server] += result.latencies
      }
    }
    let sorted = latencies.map { $0.sorted() }
    let each = zip(cpu, latencies).map { $0 * 1e6 / Double($1.count) }
    let against = "the same gRPC server answering a constant"
    return [
      Row(
        "cached X.509-SVID fetches, \(shape)", Timing.median(rates[0]), "/s", beside: against,
        Timing.median(rates[1]), atLeast: atLeast),
      Row("  p50", Self.percentile(sorted[0], 50), "ms", beside: Self.percentile(sorted[1], 50), against),
      Row("  p99", Self.percentile(sorted[0], 99), "ms", beside: Self.percentile(sorted[1], 99), against),
      Row("  the server's CPU time each", each[0], "us", beside: each[1], against),
    ]
  }

  // MARK: - Issuing

  private func issuing(_ process: WorkloadProcess) async throws -> [Row] {
    let rates = try process.ask("issue \(scaled(20_000))")
    let raw = try rates.number("raw")
    let against = "the HSM's P-256 signatures, 8 callers"
    return [
      Row(
        "X.509-SVIDs from the template, 8 callers", try rates.number("leaf"), "/s", beside: against, raw, atLeast: 0.8),
      Row("X.509-SVIDs with key, on the record, 64 callers", try rates.number("whole"), "/s", beside: against, raw),
      Row("  HSM operations each", try rates.number("whole_operations"), ""),
      Row("X.509-SVIDs for a CSR, on the record, 64 callers", try rates.number("own_key"), "/s", beside: against, raw),
      Row("  HSM operations each", try rates.number("own_key_operations"), ""),
    ]
  }

  private func tokens(_ process: WorkloadProcess) async throws -> [Row] {
    let rates = try process.ask("tokens \(scaled(10_000))")
    let against = "the HSM's P-256 signatures, 8 callers"
    return [
      Row(
        "JWT-SVIDs minted, on the record, 64 callers", try rates.number("minted"), "/s", beside: against,
        try rates.number("raw")),
      Row("  HSM operations each", try rates.number("minted_operations"), ""),
      Row("JWT-SVIDs from the cache, 64 callers", try rates.number("cached"), "/s"),
      Row("  HSM operations each", try rates.number("cached_operations"), ""),
    ]
  }

  // MARK: - Entries and attestation

  private func entries() async throws -> [Row] {
    let count = scaled(500_000)
    let name = "entries"
    _ = try await with(folder: name) { process in
      _ = try process.ask("fill \(count)")
      return []
    }
    return try await with(folder: name) { process in
      let times = try process.ask("match \(count)")
      return [
        Row("\(count) entries loaded at start", try process.ready.number("load"), "s", most: 2),
        Row("  memory for them", try process.ready.number("memory"), "MiB"),
        Row("  a caller's entries found, p50", try times.number("p50"), "us"),
        Row("  a caller's entries found, p99", try times.number("p99"), "us"),
      ]
    }
  }

  /// This process, attested as a caller.
  private func attestation() async throws -> [Row] {
    var pair: [Int32] = [-1, -1]
    guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else {
      throw BenchmarkError("no socket pair")
    }
    defer { for descriptor in pair { close(descriptor) } }
    let descriptor = pair[0]
    let attestor = try ProcessAttestor(time: WallClock())
    let peer = try PeerProcess.pin(socket: descriptor)
    // The first time hashes the executable; its digest is remembered.
    let start = ContinuousClock.now
    let process = try await attestor.attest(peer)
    let first = (ContinuousClock.now - start) / .milliseconds(1)
    let (attestations, confirmations) = (scaled(5000), scaled(100_000))
    let attesting = try await Timing.rate(attestations, callers: 1) { _ in _ = try await attestor.attest(peer) }
    let confirming = try Timing.seconds { for _ in 0..<confirmations { try attestor.confirm(peer, process) } }
    let pinning = try Timing.seconds {
      for _ in 0..<attestations { _ = try PeerProcess.pin(socket: descriptor) }
    }
    return [
      Row("a process pinned", pinning * 1e6 / Double(attestations), "us"),
      Row("a process attested, for the first time", first, "ms"),
      Row("a process attested, its executable known", 1e6 / attesting, "us"),
      Row("a process confirmed", confirming * 1e6 / Double(confirmations), "us"),
    ]
  }
}
