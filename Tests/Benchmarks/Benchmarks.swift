import ArgumentParser
import Foundation
import Wire

/// The measurements of `make bench`, each bounded in time and on loopback alone.
@main
struct Benchmarks: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures a release build; prints a table and writes it as JSON.")

  /// What can be measured by itself.
  enum Part: String, CaseIterable, ExpressibleByArgument {
    case pkcs11, verification, storage, recovery, commands
  }

  @Option(help: "The trustcored to measure.") var trustcored: String
  @Option(help: "Where the rows go as JSON.") var output: String
  @Option(help: "Measure this part alone; may be repeated.") var only: [Part] = []
  @Option(help: "How long each load runs.") var seconds = 6.0

  func run() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("trustcore-bench-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var rows: [Row] = []
    // The PKCS#11 part first: SoftHSM reads its environment once, before threads do.
    for part in Part.allCases where only.isEmpty || only.contains(part) {
      let state = folder.appendingPathComponent(part.rawValue).path
      Self.progress("measuring \(part.rawValue)")
      switch part {
      case .pkcs11: rows += try HSMSigning.measure(folder: state)
      case .verification: rows += try Verification.measure()
      case .storage: rows += try await LogStorage.measure(folder: state)
      case .recovery: rows += try await Recovery.measure(trustcored: trustcored, state: state)
      case .commands: rows += try await SealedCommands.measure(trustcored: trustcored, state: state, seconds: seconds)
      }
    }
    print(Table.render(rows))
    let json = JSONValue.array(rows.map(\.json)).canonical()
    try Data(json + [UInt8(ascii: "\n")]).write(to: URL(fileURLWithPath: output))
  }

  /// Says on standard error what is under way.
  static func progress(_ what: String) { FileHandle.standardError.write(Data("\(what) ...\n".utf8)) }
}
