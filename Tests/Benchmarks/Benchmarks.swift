import ArgumentParser
import Foundation
import HSMCustody
import Wire

@main
struct Benchmarks: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures a release build.",
    subcommands: [Measure.self, WriteNACHA.self, ReadNACHA.self, StreamEnvelope.self, ServeWorkloads.self],
    defaultSubcommand: Measure.self)
}

/// The measurements of `make bench`, each bounded in time and on loopback alone.
struct Measure: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures; prints a table and writes it as JSON.")

  /// What can be measured by itself.
  enum Part: String, CaseIterable, ExpressibleByArgument {
    case pkcs11, keys, envelope, verification, webauthn, nacha, storage, recovery, commands, workloads
  }

  @Option(help: "The trustcored to measure.") var trustcored: String
  @Option(help: "Where the rows go as JSON.") var output: String
  @Option(help: "Measure this part alone; may be repeated.") var only: [Part] = []
  @Option(help: "How long each load runs.") var seconds = 6.0
  @Option(help: "Of the workloads, measure this alone; may be repeated.") var workloads: [Workloads.Topic] = []
  @Option(help: "How much of the workloads' measurements to do; less than 1 tries them out.") var scale = 1.0

  func run() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("trustcore-bench-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var rows: [Row] = []
    let parts = Part.allCases.filter { only.isEmpty || only.contains($0) }
    // The HSM first, one for all parts: SoftHSM reads its environment once, before threads do.
    let hsm =
      try parts.contains(.pkcs11) || parts.contains(.keys)
      ? DevelopmentHSM.openOrCreate(directory: folder.appendingPathComponent("hsm").path) : nil
    for part in parts {
      let state = folder.appendingPathComponent(part.rawValue).path
      Benchmarks.progress("measuring \(part.rawValue)")
      switch part {
      case .pkcs11:
        guard let hsm else { continue }
        rows += try HSMSigning.measure(hsm)
        rows += try await HSMEncryption.measure(hsm)
      case .keys:
        guard let hsm else { continue }
        rows += try await DataKeys.measure(hsm, folder: state)
        rows += try await DataKeyRequests.measure(trustcored: trustcored, state: state + "-daemon", seconds: seconds)
      case .envelope: rows += try EnvelopeStreaming.measure(folder: state)
      case .verification: rows += try Verification.measure()
      case .webauthn: rows += try WebAuthnVerification.measure()
      case .nacha: rows += try NACHAFile.measure(folder: state)
      case .storage: rows += try await LogStorage.measure(folder: state)
      case .recovery: rows += try await Recovery.measure(trustcored: trustcored, state: state)
      case .commands: rows += try await SealedCommands.measure(trustcored: trustcored, state: state, seconds: seconds)
      case .workloads:
        let measurements = Workloads(folder: state, seconds: seconds, scale: scale)
        for topic in Workloads.Topic.allCases where workloads.isEmpty || workloads.contains(topic) {
          rows += try await measurements.measure(topic)
        }
      }
    }
    print(Table.render(rows))
    let json = JSONValue.array(rows.map(\.json)).canonical()
    try Data(json + [UInt8(ascii: "\n")]).write(to: URL(fileURLWithPath: output))
  }
}

/// What ``NACHAFile`` measures, in a process of its own.
struct WriteNACHA: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "write-nacha", shouldDisplay: false)

  @Argument var path: String

  func run() throws { print(String(decoding: try NACHAFile.write(path).json.canonical(), as: UTF8.self)) }
}

/// The other half of it.
struct ReadNACHA: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "read-nacha", shouldDisplay: false)

  @Argument var path: String

  func run() throws { print(String(decoding: try NACHAFile.read(path).json.canonical(), as: UTF8.self)) }
}

/// What ``EnvelopeStreaming`` measures, in a process of its own: standard input to standard output, as `trustcore keys
/// encrypt` and `decrypt`; the figures go to standard error.
struct StreamEnvelope: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "stream-envelope", shouldDisplay: false)

  @Argument var direction: EnvelopeStreaming.Direction

  func run() throws {
    FileHandle.standardError.write(Data(try EnvelopeStreaming.stream(direction).json.canonical()))
  }
}

extension Benchmarks {
  /// Says on standard error what is under way.
  static func progress(_ what: String) { FileHandle.standardError.write(Data("\(what) ...\n".utf8)) }
}
