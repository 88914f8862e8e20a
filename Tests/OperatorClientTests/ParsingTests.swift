import ArgumentParser
import Foundation
import OperatorClient
import Testing

@testable import trustcore

@Suite("Command lines")
struct ParsingTests {
  @Test(
    "are understood",
    arguments: [
      "status", "status --state DIR --json", "hsm list", "hsm list --module a --module /b.so --json",
      "hsm probe --module m --token pkcs11:token=data", "hsm status --state DIR",
      "hsm probe --module m --token pkcs11:token=data --pin-file F --output O --json", "keys list --state DIR",
      "keys show key_1", "keys create --class files --as officer", "keys create --class files --as F --id agent-1",
      "keys rotate key_1 --as owner --json", "keys rewrap key_1 --wait", "keys disable key_1", "keys enable key_1",
      "keys destroy key_1 --yes", "keys encrypt key_1 --context a=b --context c=d --in I --out O",
      "keys decrypt --context a=b", "log verify --state DIR", "log verify --database D --genesis G --json",
      "log show 17 --state DIR", "approvals list --state DIR", "approvals show P --database D",
      "entry create --spiffe-id I --selector a:b --selector c:d --x509-ttl 1h --jwt-ttl 300 --dns D --admin",
      "entry list --spiffe-id spiffe://a/b --selector c:d --json", "entry show E",
      "entry update E --no-admin --as F --id reg_1",
      "entry delete E F", "entry apply -f FILE --prune --dry-run", "ca list", "ca prepare x509 --json", "ca rotate jwt",
      "ca activate jwt-rs256", "ca request x509 --out F", "ca import A --chain F", "ca taint A", "ca revoke A --yes",
      "federation list", "federation set --trust-domain a.org --bundle F", "federation delete a.org",
      "registrar list --json", "registrar enrol --name N --key F", "registrar revoke R",
      "svid fetch --socket S --out D",
      "svid watch --out D --pid-file F --signal HUP", "svid watch --out D --exec nginx -s reload",
      "svid jwt --audience A --audience B", "svid verify F --bundle B --trust-domain a.org",
      "svid verify --jwt T --audience A", "svid show --jti -q2-7wAAAAAAAAAAAAAAAA",
      "log verify --state D --receipt -q2-7wAAAAAAAAAAAAAAAA", "svid revoke --serial 0A",
      "svid revoke --jti J --expires-in 5m",
    ])
  func understood(line: String) throws {
    _ = try Trustcore.parseAsRoot(line.split(separator: " ").map(String.init))
  }

  @Test(
    "are refused with 64",
    arguments: [
      "keys", "keys fly", "keys show", "keys create", "keys create --class files --as F",
      "keys create --class files --as officer --id x", "keys create --class files --id x", "keys encrypt key_1",
      "keys encrypt --context a=b", "keys encrypt key_1 --context nothing", "keys decrypt --context a=b --context a=c",
      "hsm probe --module m", "hsm probe --token t", "log verify", "status --nothing", "entry create --selector a:b",
      "entry create --spiffe-id I", "entry update E", "entry delete", "entry apply", "ca prepare", "ca prepare x510",
      "ca request jwt", "ca import A", "federation set --trust-domain A --url U", "svid watch",
      "entry create --spiffe-id I --selector a:b --x509-ttl soon", "svid watch --out D --signal HUP",
      "svid watch --out D --pid-file F --signal KILL", "svid jwt", "svid verify", "svid verify F --jwt T --audience A",
      "svid fetch --id x", "svid revoke", "svid revoke --jti J --expires-in default",
    ])
  func refused(line: String) throws {
    let arguments = line.split(separator: " ").map(String.init)
    do {
      let command = try Trustcore.parseAsRoot(arguments)
      // A group without a verb parses as the group, whose run() shows help.
      #expect(line == "keys" && command is KeyCommands)
    } catch {
      #expect(Trustcore.exitCode(for: error).rawValue == 64)
    }
  }

  /// Every command of the tree.
  static func commands(_ root: any ParsableCommand.Type = Trustcore.self) -> [any ParsableCommand.Type] {
    [root] + root.configuration.subcommands.flatMap(commands)
  }

  @Test("every command shows one example, and every one that does something speaks JSON")
  func help() {
    let commands = Self.commands()
    #expect(commands.count == 54)
    for command in commands {
      let text = command.configuration.discussion
      #expect(text.components(separatedBy: "Example: trustcore ").count == 2, "\(command)")
      #expect(text.utf8.allSatisfy { $0 < 0x7F } && command.configuration.abstract.utf8.allSatisfy { $0 < 0x7F })
      let help = Trustcore.helpMessage(for: command, columns: 100)
      #expect(command.configuration.subcommands.isEmpty == help.contains("--json"), "\(command)")
    }
  }

  @Test("who signs")
  func signers() throws {
    func who(_ line: String) throws -> Deployment.Who {
      try SignerOptions.parse(line.split(separator: " ").map(String.init)).who(unsaid: .owner)
    }
    #expect(try who("") == .owner)
    #expect(try who("--as officer") == .officer)
    #expect(try who("--as owner") == .owner)
    #expect(try who("--as k.jwk --id agent-1") == .file(path: "k.jwk", id: "agent-1"))
  }

  @Test("a key is destroyed only by who means it")
  func confirmation() {
    typealias Destroy = KeyCommands.Destroy
    func code(yes: Bool, isTerminal: Bool, _ typed: String?) -> OperatorError? {
      do throws(OperatorError) {
        try Destroy.confirm("key_1", yes: yes, isTerminal: isTerminal) { typed }
        return nil
      } catch { return error }
    }
    #expect(code(yes: true, isTerminal: false, nil) == nil)
    #expect(code(yes: false, isTerminal: true, "key_1") == nil)
    for (isTerminal, typed) in [(false, "key_1"), (true, "key_2"), (true, ""), (true, nil)] {
      #expect(code(yes: false, isTerminal: isTerminal, typed)?.exitCode == 64)
    }
  }
}
