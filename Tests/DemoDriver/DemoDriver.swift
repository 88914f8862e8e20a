import ArgumentParser
import Foundation

@main
struct DemoDriver: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs TrustCore's main job from end to end against a daemon of its own.",
    discussion: """
      Exit code 0: every line did what it should. 1: some did not; the summary says which.
      Example: DemoDriver --trustcored .build/debug/trustcored --trustcore .build/debug/trustcore
      """)

  @Option(help: "The path of trustcored.")
  var trustcored: String

  @Option(help: "The path of trustcore.")
  var trustcore: String

  @Option(
    help: "The daemon's state folder, absent or empty; it is kept. A fresh one is used and removed unless stated.")
  var state: String?

  @Option(help: "How many steps to run, from the first on: each builds on those before it.")
  var steps = Self.all.count

  private static let all: [@Sendable (Stage) async -> Void] = [
    StartStep.run, EnrolmentStep.run, MoneyStep.run, RefusalStep.run, PeopleStep.run, ConsentStep.run,
    ApprovalStep.run, PaymentRefusalStep.run, KeyStep.run, WorkloadStep.run, AuditStep.run, CrashStep.run,
  ]

  func validate() throws {
    for path in [trustcored, trustcore] where !FileManager.default.isExecutableFile(atPath: path) {
      throw ValidationError("\(path) is no executable; build it first.")
    }
    guard (1...Self.all.count).contains(steps) else {
      throw ValidationError("--steps takes a number from 1 to \(Self.all.count).")
    }
    if let state, let content = try? FileManager.default.contentsOfDirectory(atPath: state), !content.isEmpty {
      throw ValidationError("\(state) is not empty; the job starts on an empty folder.")
    }
  }

  func run() async throws {
    let scratch = FileManager.default.temporaryDirectory.path + "/trustcore-demo-" + UUID().uuidString.prefix(8)
    try FileManager.default.createDirectory(
      atPath: scratch, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    let folder = state.map { URL(fileURLWithPath: $0).standardizedFileURL.path } ?? scratch + "/state"
    let stage = Stage(
      trustcored: URL(fileURLWithPath: trustcored).path, trustcore: URL(fileURLWithPath: trustcore).path, state: folder,
      scratch: scratch)
    let watching = Interruption.watch(stage.daemon, removing: scratch)
    defer { for source in watching { source.cancel() } }
    let clock = ContinuousClock()
    let began = clock.now
    stage.narrator.line("TrustCore: a signed command moves money, on the record, end to end")
    stage.narrator.line("State in \(folder)" + (state == nil ? ", removed at the end." : "."))
    for step in Self.all.prefix(steps) { await step(stage) }
    try await Interruption.yield()
    await stage.end()
    stage.narrator.summary(clock.now - began)
    if stage.narrator.deviations == 0 {
      try FileManager.default.removeItem(atPath: scratch)
    } else {
      stage.narrator.line("  Kept for a look: \(scratch)")
      throw ExitCode.failure
    }
  }
}
