import ArgumentParser
import Glibc
import HSMCustody
import HSMProbe
import OperatorClient
import PKCS11
import SecretMemory
import Wire

struct HSMCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hsm", abstract: "Looks at PKCS#11 modules and their tokens.",
    discussion: "Example: trustcore hsm list", subcommands: [List.self, Probe.self, Status.self])

  struct Status: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Shows how the tokens of a deployment do.",
      discussion: """
        Exit code 0: all are ready. 69: no daemon answers. 75: one is not ready.
        Example: trustcore hsm status --state .trustcore
        """)

    @OptionGroup var deployment: DeploymentOptions

    @Flag(help: "Print JSON.")
    var json = false

    func perform() async throws(OperatorError) {
      let tokens = try await deployment.client().tokens()
      tell(tokens) { StatusReport(json: $0).text }
      try StatusReport(json: tokens).demandReadiness()
    }
  }

  struct List: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists the modules that p11-kit is configured with, and their tokens; logs in nowhere.",
      discussion: "Example: trustcore hsm list --module softhsm2")

    @Option(
      help: "A module's path, or its name in p11-kit; may be given several times. All configured ones unless stated.")
    var module: [String] = []

    @Flag(help: "Print JSON.")
    var json = false

    static var usesModules: Bool { true }

    func perform() async throws(OperatorError) {
      let inventories: [ModuleInventory]
      do throws(PKCS11Error) {
        // Libraries of modules that nobody asked for complain on standard error of what they do not find here.
        let quiet = module.isEmpty ? Silence() : nil
        let names = module.isEmpty ? try Module.configured().map(\.name) : module
        inventories = names.map(ModuleInventory.init(of:))
        _ = consume quiet
      } catch { throw OperatorError(error) }
      tell(["modules": .array(inventories.map { .object($0.json) })]) { _ in ModuleInventory.text(inventories) }
      let failed = inventories.contains { $0.failure != nil }
      // A module that was named must answer; one that merely is configured need not.
      leaveModules(failed && !module.isEmpty ? 69 : 0)
    }
  }

  struct Probe: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Finds out by trying what a token can do, and which roles it can serve.",
      discussion: """
        Logs in once and works with session objects alone, which it destroys. Prints the profile as YAML; what it means
        for the roles goes to standard error. Without --pin-file the PIN is asked for.
        Example: trustcore hsm probe --module softhsm2 --token 'pkcs11:token=data' --pin-file data.pin
        """)

    @Option(help: "The module's path, or its name in p11-kit.")
    var module: String

    @Option(help: "The token, as an RFC 7512 URI.")
    var token: String

    @Option(help: "A file of mode 0600 with the user's PIN.")
    var pinFile: String?

    @Option(help: "The file that takes the profile; standard output unless stated.")
    var output: String?

    @Flag(help: "Print the judgement of the roles as JSON on standard error.")
    var json = false

    static var usesModules: Bool { true }

    func perform() async throws(OperatorError) {
      let (library, probe) = try Self.find(module, token)
      // Only now is it known that there is a token to ask a PIN for.
      let pin = try pin()
      let profile: HSMProfile
      do throws(PKCS11Error) { profile = try probe.run(pin: pin) } catch { throw OperatorError(error) }
      library.finalizeIfUnused()
      let (yaml, roles) = (profile.yaml(), RoleReport(profile))
      if let output {
        var file = try OutputFile(output)
        try file.descriptor.write(yaml)
        try file.commit()
      } else {
        try Descriptor.output.write(yaml)
      }
      if json {
        complainJSON(roles.json)
      } else {
        complainRaw(roles.text + "\n")
      }
      leaveModules(0)
    }

    private static func find(_ module: String, _ token: String) throws(OperatorError) -> (Module, ModuleProbe) {
      do throws(PKCS11Error) {
        let library = try Module.load(module)
        return (library, try ModuleProbe(library, token: token))
      } catch { throw OperatorError(error) }
    }

    private func pin() throws(OperatorError) -> SecretBytes {
      let source = pinFile.map { PINSource.file($0) } ?? .prompt("PIN of \(Wording.visible(token)): ")
      do throws(SecretMemoryError) { return try source.read() } catch {
        throw OperatorError(error.code == .exposed ? .exposed : .noInput, "No PIN: \(error.message).")
      }
    }
  }
}

extension OperatorError {
  init(_ error: PKCS11Error, file: String = #fileID, line: UInt = #line) {
    let code: Code =
      switch error.code {
      case .argumentsBad: .usage
      case .tokenNotPresent: .noInput
      case .pinIncorrect, .pinLocked, .pinExpired: .wrongPIN
      default: .hsmFailed
      }
    self.init(code, Wording.visible(error.description), file: file, line: line)
  }
}

/// Ends the program without running destructors: after PKCS#11 modules were in the process, those of their libraries
/// (OpenSSL's above all) are apt to crash. Everything was written with write(2), so nothing waits to be flushed.
func leaveModules(_ status: Int32) -> Never { _exit(status) }

/// Standard error leads nowhere for as long as this lives.
private struct Silence: ~Copyable {
  private let before = dup(STDERR_FILENO)

  init() {
    let nowhere = unsafe open("/dev/null", O_WRONLY | O_CLOEXEC)
    guard nowhere >= 0 else { return }
    dup2(nowhere, STDERR_FILENO)
    close(nowhere)
  }

  deinit {
    guard before >= 0 else { return }
    dup2(before, STDERR_FILENO)
    close(before)
  }
}
