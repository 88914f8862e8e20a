import DemoClient
import TrustCoreAPI
import Wire

/// A daemon under load.
struct DaemonLoad {
  let deployment: Deployment
  let client: TrustCoreClient
  /// How long a load runs.
  let seconds: Double

  /// What a load gave, and what the daemon spent on it.
  struct Figures {
    let result: LoadGenerator.Result
    /// The daemon's processor time for each, in microseconds.
    let cpuEach: Double
    /// HSM operations for each.
    let operationsEach: Double
  }

  /// How requests travel, so many connections with so many requests under way on each.
  struct Shape {
    let name: String
    let version: LoadGenerator.Version
    let inFlight: Int

    static let all = [
      Shape(name: "HTTP/1.1, 32 in flight", version: .http1, inFlight: 1),
      Shape(name: "HTTP/2, 256 in flight", version: .http2, inFlight: 8),
    ]
  }

  static let connections = 32
  /// More than the machine can do in a second, so that prepared requests do not run out.
  static let preparedPerSecond = 12_000.0

  func generator(_ shape: Shape) throws -> LoadGenerator {
    guard let port = Int(deployment.api.split(separator: ":").last ?? ""), let authority = deployment.ready["ca"]
    else { throw BenchmarkError("ready.json names no port or no CA") }
    return LoadGenerator(
      port: port, authority: authority, version: shape.version, connections: Self.connections, inFlight: shape.inFlight)
  }

  /// Runs commands that are prepared before the clock starts.
  /// - Parameters:
  ///   - status: what each answers.
  ///   - perSecond: how many to prepare for each second.
  ///   - warmsUp: whether the first of them are sent for a second before, which fills caches and makes pages.
  ///   - prepare: signs the command of a number.
  func run(
    _ shape: Shape, expecting status: Int = 201, preparing perSecond: Double = preparedPerSecond,
    warmingUp warmsUp: Bool = true,
    _ prepare: @escaping @Sendable (Int) throws -> OutgoingRequest
  ) async throws -> Figures {
    if warmsUp {
      let first = try await Self.prepared(Int(perSecond), prepare)
      _ = try await generator(shape).run(first, expecting: status, for: 1)
    }
    let requests = try await Self.prepared(Int(perSecond * seconds), prepare)
    return try await measured { ready in
      try await generator(shape).run(requests, expecting: status, for: seconds, ready: ready)
    }
  }

  /// Runs a load and reads the daemon's meters before and after.
  /// - Parameter body: calls what it is given when its clock starts.
  func measured(_ body: (_ ready: () async throws -> Void) async throws -> LoadGenerator.Result) async throws -> Figures
  {
    var (before, cpu) = (Int64(0), 0.0)
    let result = try await body {
      before = try await operations()
      cpu = try ProcessFigures.cpuSeconds(deployment.ready.pid)
    }
    cpu = try ProcessFigures.cpuSeconds(deployment.ready.pid) - cpu
    let count = Double(result.count)
    return Figures(
      result: result, cpuEach: cpu * 1e6 / count, operationsEach: Double(try await operations() - before) / count)
  }

  /// Makes so many requests, on both cores.
  private static func prepared(
    _ count: Int, _ prepare: @escaping @Sendable (Int) throws -> OutgoingRequest
  ) async throws -> [OutgoingRequest] {
    @concurrent func half(_ range: Range<Int>) async throws -> [OutgoingRequest] { try range.map(prepare) }
    async let first = half(0..<(count / 2))
    async let second = half((count / 2)..<count)
    return try await first + second
  }

  private func operations() async throws -> Int64 {
    let answer = try await client.get("/v1/status", bearer: deployment.auditorToken)
    guard let count = answer["hsm_operations"]?.integer else { throw BenchmarkError("no status: \(answer.text)") }
    return count
  }
}

extension Answer {
  /// The answer, if it is a success.
  func done() throws -> Answer {
    guard (200...202).contains(status) else { throw BenchmarkError("\(summary): \(text)") }
    return self
  }
}
