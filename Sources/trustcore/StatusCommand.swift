import ArgumentParser
import OperatorClient

struct StatusCommand: OperatorCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Shows how a deployment does: its log, tokens, keys and what waits.",
    discussion: """
      Exit code 0: all is ready. 69: no daemon answers. 75: a token, or the daemon, is not ready.
      Example: trustcore status --state .trustcore
      """)

  @OptionGroup var deployment: DeploymentOptions

  @Flag(help: "Print JSON.")
  var json = false

  func perform() async throws(OperatorError) {
    let status = try await deployment.client().status()
    tell(status) { StatusReport(json: $0).text }
    try StatusReport(json: status).demandReadiness()
  }
}
