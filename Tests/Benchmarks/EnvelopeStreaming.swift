import ArgumentParser
import Foundation
import Glibc
import OperatorClient
import SecretMemory
import Wire

/// 1 GiB through `trustcore keys encrypt` and `decrypt`, from standard input to standard output, beside the AES-256-GCM of
/// `openssl speed`, which has one thread and copies nothing. Each runs in a process of its own, so that its memory can be told, and they take turns, so that all
/// meet the same weather. The daemon's part, a data key, is not in it.
enum EnvelopeStreaming {
  enum Direction: String, ExpressibleByArgument, CaseIterable {
    case encrypt
    case decrypt
  }

  /// What a process did, printed as JSON for the one that started it.
  struct Figures {
    let seconds: Double
    /// Processor time of all threads.
    let cpu: Double
    /// How far resident memory rose above what the process held before, in MiB.
    let growth: Double

    init(seconds: Double, cpu: Double, growth: Double) {
      (self.seconds, self.cpu, self.growth) = (seconds, cpu, growth)
    }

    init(json: JSONValue) throws {
      guard let object = json.object, let microseconds = object["microseconds"]?.integer,
        let cpu = object["cpu_microseconds"]?.integer, let kibibytes = object["growth_kib"]?.integer
      else { throw BenchmarkError("the process that streamed printed \(json)") }
      self.init(seconds: Double(microseconds) / 1e6, cpu: Double(cpu) / 1e6, growth: Double(kibibytes) / 1024)
    }

    var json: JSONValue {
      [
        "microseconds": .integer(Int64(seconds * 1e6)), "cpu_microseconds": .integer(Int64(cpu * 1e6)),
        "growth_kib": .integer(Int64(growth * 1024)),
      ]
    }
  }

  private static let mebibytes = 1024
  private static let rounds = 5
  private static let yardstick = "openssl speed -evp aes-256-gcm, 16 KiB blocks"

  static func measure(folder: String) throws -> [Row] {
    // In memory, so that no disk is measured; where there is no such folder the page cache has to do.
    let memory = "/dev/shm"
    let place =
      FileManager.default.isWritableFile(atPath: memory) ? "\(memory)/trustcore-bench-\(UUID().uuidString)" : folder
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: place) }
    let (plain, sealed) = (place + "/plain", place + "/sealed")
    try fill(plain)
    _ = try run(.encrypt, from: plain, to: sealed)

    let processors = ProcessInfo.processInfo.activeProcessorCount
    let runs = Direction.allCases.flatMap { direction -> [Run] in
      let input = direction == .encrypt ? plain : sealed
      return [
        Run("envelope \(direction) of 1 GiB, \(processors) processors", direction, input, .file),
        Run("  on one processor", direction, input, .oneProcessor), Run("  from a pipe", direction, input, .pipe),
      ]
    }
    var figures = [[Figures]](repeating: [], count: runs.count)
    var openssl: [Rates] = []
    for _ in 0..<rounds {
      openssl.append(try opensslRates())
      for (index, entry) in runs.enumerated() {
        figures[index].append(try run(entry.direction, from: entry.input, to: "/dev/null", entry.shape))
      }
    }
    let bare = Rates(
      byClock: Timing.median(openssl.map(\.byClock)), byProcessor: Timing.median(openssl.map(\.byProcessor)))
    return zip(runs, figures).flatMap { entry, figures in
      func row(_ name: String, _ seconds: [Double], _ yardstick: String, _ rate: Double, _ bound: Double? = nil) -> Row
      {
        Row(name, Double(mebibytes) / Timing.median(seconds), "MiB/s", beside: yardstick, rate, atLeast: bound)
      }
      let bound = entry.direction == .encrypt && entry.shape == .file ? 0.8 : nil
      let rate = row(entry.name, figures.map(\.seconds), yardstick, bare.byClock, bound)
      guard entry.shape == .file else { return [rate] }
      return [
        rate,
        row("  by processor time, all threads", figures.map(\.cpu), "the same, by processor time", bare.byProcessor),
        Row("  memory above idle", figures.map(\.growth).max() ?? .nan, "MiB", most: 32),
        // The data key's are those of ``DataKeys``; none is needed for the content.
        Row("  HSM operations beside its data key's", 0, ""),
      ]
    }
  }

  /// MiB a second.
  private struct Rates {
    let byClock: Double
    /// A second of processor time, which does not count how long others had the processor.
    let byProcessor: Double
  }

  private struct Run {
    let name: String
    let direction: Direction
    let input: String
    let shape: Shape

    init(_ name: String, _ direction: Direction, _ input: String, _ shape: Shape) {
      (self.name, self.direction, self.input, self.shape) = (name, direction, input, shape)
    }
  }

  /// Where the input comes from.
  private enum Shape: Equatable {
    case file
    case oneProcessor
    case pipe
  }

  /// Bytes that do not compress and are really there: a file with holes would cost nothing to read.
  private static func fill(_ path: String) throws {
    var generator = SystemRandomNumberGenerator()
    let block = Data((0..<(1 << 20)).map { _ in UInt8.random(in: 0...255, using: &generator) })
    let file = try writing(path)
    for _ in 0..<mebibytes { try file.write(contentsOf: block) }
    try file.close()
  }

  /// A file to write, which is made where it is not there; Foundation would put a file in the place of a device.
  private static func writing(_ path: String) throws -> FileHandle {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw BenchmarkError("\(path) cannot be written") }
    return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  // MARK: - Processes

  private static func opensslRates() throws -> Rates {
    let blockBytes = 16_384
    let before = try ProcessFigures.ownCPUSeconds(ofChildren: true)
    let output = Pipe()
    // It is timed by SIGALRM, which threads of this process block and children inherit.
    let process = try start(
      [
        "--default-signal=ALRM", "openssl", "speed", "-mr", "-elapsed", "-seconds", "3", "-bytes", "\(blockBytes)",
        "-evp", "aes-256-gcm",
      ],
      FileHandle.nullDevice, output, output)
    let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    let cpu = try ProcessFigures.ownCPUSeconds(ofChildren: true) - before
    // `+R:<blocks>:AES-256-GCM:<seconds>`
    let parts = text.split(separator: "\n").first { $0.hasPrefix("+R:") }?.split(separator: ":") ?? []
    guard process.terminationStatus == 0, parts.count == 4, let blocks = Double(parts[1]),
      let seconds = Double(parts[3])
    else { throw BenchmarkError("'openssl speed' gave no rate: \(text)") }
    let total = blocks * Double(blockBytes) / Double(1 << 20)
    return Rates(byClock: total / seconds, byProcessor: total / cpu)
  }

  @discardableResult
  private static func run(
    _ direction: Direction, from input: String, to output: String, _ shape: Shape = .file
  ) throws -> Figures {
    guard let source = FileHandle(forReadingAtPath: input) else { throw BenchmarkError("\(input) cannot be read") }
    let sink = try writing(output)
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
    let command = [own, "stream-envelope", direction.rawValue]
    let report = Pipe()
    let feeder: Process?
    let process: Process
    switch shape {
    case .file, .oneProcessor:
      feeder = nil
      process = try start((shape == .file ? [] : ["taskset", "-c", "0"]) + command, source, sink, report)
    case .pipe:
      let pipe = Pipe()
      feeder = try start(["cat"], source, pipe, FileHandle.standardError)
      process = try start(command, pipe, sink, report)
    }
    let text = try report.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    feeder?.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw BenchmarkError("'stream-envelope \(direction)' failed: \(String(decoding: text, as: UTF8.self))")
    }
    return try Figures(json: try JSONValue(parsing: [UInt8](text)))
  }

  private static func start(_ command: [String], _ input: Any, _ output: Any, _ error: Any) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.standardInput = input
    process.standardOutput = output
    process.standardError = error
    try process.run()
    return process
  }

  // MARK: - In the process of its own

  static func stream(_ direction: Direction) throws -> Figures {
    let bytes = [UInt8](repeating: 0x5A, count: 32)
    let key = try unsafe SecretBytes(copying: bytes.span.bytes)
    let context = try FileContext(["purpose=benchmark"])
    let header = try EnvelopeHeader(key: "key_benchmark", dataKey: "dek_benchmark")
    let (before, cpu) = (try ProcessFigures.residentMiB(getpid()), try ProcessFigures.ownCPUSeconds())
    var count: UInt64 = 0
    let seconds = try Timing.seconds {
      switch direction {
      case .encrypt:
        count = try EnvelopeStream.encrypt(.input, to: .output, key: key, header: header, context: context)
      case .decrypt:
        count = try UnverifiedEnvelope(.input).decrypt(to: .output, key: key, context: context)
      }
    }
    guard count == UInt64(mebibytes) << 20 else { throw BenchmarkError("\(count) bytes were streamed, not 1 GiB") }
    return Figures(
      seconds: seconds, cpu: try ProcessFigures.ownCPUSeconds() - cpu,
      growth: try ProcessFigures.peakMiB(getpid()) - before)
  }
}
