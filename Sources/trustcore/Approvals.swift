import ArgumentParser
import Payments
import StorageSQLite
import Wire

struct ApprovalCommands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "approvals", abstract: "Shows the payments that wait for approvals.",
    discussion: "Example: trustcore approvals list --state .trustcore", subcommands: [List.self, Show.self])

  /// Where a command finds the database of a deployment.
  struct Input: ParsableArguments {
    @Option(help: "The deployment's state folder.")
    var state: String?

    @Option(help: "A database, or a copy of one, with its -wal file beside it.")
    var database: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
      guard state != nil || database != nil else { throw ValidationError("Name --state or --database.") }
    }

    /// Reads the database; a file that cannot be read ends the program with 66.
    func read<Result>(_ body: (inout SQLiteUnit) throws -> Result) throws -> Result {
      do {
        return try SQLiteStore(path: database ?? (state ?? "") + "/trustcore.sqlite", mode: .readOnly)
          .readBlocking(body)
      } catch {
        complain("\(error)")
        throw ExitCode.noInput
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists the payments that wait, the soonest end first.",
      discussion: "Example: trustcore approvals list --state .trustcore")

    @OptionGroup var input: Input

    func run() throws {
      let rows = try input.read { unit in
        // Of every tenant, whenever they end.
        try unit.heldPayments(expiringAtOrBefore: Timestamp(milliseconds: .max), limit: 1000)
          .compactMap { try unit.payment($0) }
          .map { payment in
            (payment, try PaymentStatement(of: payment, in: &unit), try unit.approvals(payment: payment.id))
          }
      }
      if input.json {
        let items = rows.map { payment, statement, approvals -> JSONValue in
          var object = payment.summary(given: approvals.count { $0.approves })
          object["headline"] = .string(statement.headline)
          return .object(object)
        }
        return say(String(decoding: JSONValue.object(["approvals": .array(items)]).canonical(), as: UTF8.self))
      }
      if rows.isEmpty { return say("Nothing waits.") }
      for (payment, statement, approvals) in rows {
        let needed = payment.needs.reduce(0) { $0 + $1.approvals }
        say(
          "\(payment.id)  until \(payment.expires?.description ?? "-")  \(approvals.count { $0.approves }) of \(needed)"
        )
        say("  \(statement.headline)")
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Shows the exact statement that approvers of a payment sign, and who has decided.",
      discussion: """
        The text is made from the record on this machine. It must be the same, letter by letter, as the one on the
        approver's page; the digest is that of the text.
        Example: trustcore approvals show 3q2-7wAAAAAAAAAAAAAAAA --state .trustcore
        """)

    @Argument(help: "The payment's identifier.")
    var payment: String

    @OptionGroup var input: Input

    func run() throws {
      let found = try input.read { unit -> (Payment, PaymentStatement, [GivenApproval])? in
        guard let payment = try unit.payment(payment), !payment.needs.isEmpty else { return nil }
        return (payment, try PaymentStatement(of: payment, in: &unit), try unit.approvals(payment: payment.id))
      }
      guard let (payment, statement, approvals) = found else {
        complain("no payment '\(payment)' was held for approvals here; list them with 'trustcore approvals list'")
        throw ExitCode.noInput
      }
      let digest = Base64.URL.encode(statement.digest)
      if input.json {
        var object = payment.summary(given: approvals.count { $0.approves })
        object["statement"] = .string(statement.text)
        object["statement_digest"] = .string(digest)
        object["approvals"] = .array(approvals.map { .object($0.json) })
        return say(String(decoding: JSONValue.object(object).canonical(), as: UTF8.self))
      }
      say(statement.text)
      say("State:          \(payment.state.rawValue)")
      for approval in approvals {
        say(
          (approval.approves ? "Approved by:" : "Declined by:") + "    \(approval.person), leaf \(approval.leafIndex)")
      }
      say("Statement digest: \(digest)")
    }
  }
}
