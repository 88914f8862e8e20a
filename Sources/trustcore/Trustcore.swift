import ArgumentParser

@main
struct Trustcore: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trustcore", abstract: "Drives a TrustCore deployment.",
    discussion: "Example: trustcore status --state .trustcore",
    subcommands: [
      StatusCommand.self, KeyCommands.self, HSMCommands.self, LogCommands.self, ApprovalCommands.self,
      EntryCommands.self, AuthorityCommands.self, FederationCommands.self, RegistrarCommands.self, SVIDCommands.self,
    ])
}

struct LogCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Reads and proves the log.",
    discussion: "Example: trustcore log verify --state .trustcore", subcommands: [Verify.self, Show.self])
}

/// Exit codes of sysexits.h.
extension ExitCode {
  /// EX_DATAERR: the data is not what it should be.
  static let data = ExitCode(65)
  /// EX_NOINPUT: a file is missing or cannot be read.
  static let noInput = ExitCode(66)
}
