import Foundation
import NIOCore

/// Streams that stay open: how soon a change is there, and what each takes.
extension Workloads {
  /// 10,000 streams on 1,000 connections, each of a process of its own. The first connection has one stream, so that a
  /// change can concern one alone; nine have eleven.
  func push(_ process: WorkloadProcess) async throws -> [Row] {
    let count = max(20, scaled(1000))
    let counts = [1] + [Int](repeating: 11, count: 9) + [Int](repeating: 10, count: count - 10)
    let total = counts.reduce(0, +)
    let before = try process.memory()
    let start = ContinuousClock.now
    let streams = try await WorkloadStreams.open(process.socket, counts)
    let opening = (ContinuousClock.now - start) / .seconds(1)
    let memory = (try process.memory() - before) / Double(total)
    let many = "\(total) streams on \(count) connections"
    var one: [Double] = []
    for number in 0..<max(20, scaled(200)) {
      one += try await arrivals(process, streams, "change-first \(number)", 1)
    }
    var (every, last): ([Double], [Double]) = ([], [])
    for number in 1...5 {
      let times = try await arrivals(process, streams, "change-everybody \(number)", total)
      every += times
      last.append(times.max() ?? .nan)
    }
    let changed = (try process.memory() - before) / Double(total)
    try await streams.abandon()
    (one, every) = (one.sorted(), every.sorted())
    return [
      Row("\(many), opened", opening, "s"),
      Row("  memory each", memory, "KiB", most: 32),
      Row("  memory each, after all were changed five times", changed, "KiB", most: 32),
      Row("entry changed to message read, one stream of \(total), p50", Self.percentile(one, 50), "ms"),
      Row("  p99", Self.percentile(one, 99), "ms", most: 100),
      Row("entry changed to message read, all \(total) streams, p50", Self.percentile(every, 50), "ms"),
      Row("  p99", Self.percentile(every, 99), "ms"),
      Row("  the last one", Timing.median(last), "ms"),
    ]
  }

  /// How many milliseconds after a change began each message came.
  private func arrivals(
    _ process: WorkloadProcess, _ streams: WorkloadStreams, _ change: String, _ count: Int
  ) async throws -> [Double] {
    try await streams.forget()
    let started = try process.ask(change).number("started")
    return try await streams.arrivals(count).map { (Double($0.uptimeNanoseconds) - started) * 1e-6 }
  }

  /// Connections of one stream each, opened and abandoned three times. What the server keeps of the first it uses again,
  /// so the third time must take no more than the second.
  func connections(_ process: WorkloadProcess) async throws -> [Row] {
    let count = scaled(5000)
    try await WorkloadStreams.open(process.socket, [1]).abandon()
    try await Task.sleep(for: .milliseconds(500))
    let (before, descriptors) = (try process.memory(), try process.descriptors())
    var (seconds, open, abandoned, back): ([Double], [Double], [Double], [Double]) = ([], [], [], [])
    for _ in 0..<3 {
      let start = ContinuousClock.now
      let streams = try await WorkloadStreams.open(process.socket, [Int](repeating: 1, count: count))
      seconds.append((ContinuousClock.now - start) / .seconds(1))
      open.append(try process.memory() - before)
      let left = ContinuousClock.now
      try await streams.abandon()
      while try process.descriptors() > descriptors {
        guard ContinuousClock.now - left < .seconds(20) else {
          throw BenchmarkError("\(try process.descriptors() - descriptors) descriptors are left")
        }
        try await Task.sleep(for: .milliseconds(20))
      }
      back.append((ContinuousClock.now - left) / .seconds(1))
      abandoned.append(try process.memory() - before)
    }
    let second = "the second time"
    return [
      Row("\(count) connections of one stream, opened", seconds[0], "s"),
      Row("  memory each", open[0] / Double(count), "KiB"),
      Row("  abandoned: every descriptor is back after", back[0], "s"),
      Row("  abandoned: memory kept for the next ones", abandoned[0] / 1024, "MiB"),
      Row("as many for the third time, opened", seconds[2], "s", beside: seconds[1], second),
      Row("  memory with them", open[2] / 1024, "MiB", beside: open[1] / 1024, second),
      Row("  abandoned: memory kept", abandoned[2] / 1024, "MiB", beside: abandoned[1] / 1024, second),
    ]
  }
}
