import ArgumentParser
import StorageSQLite
import Wire

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Reads the whole log offline and proves every receipt and every chain of evidence.",
    discussion: """
      Exit code 0: sound. 65: something does not hold, and where. 66: a file cannot be read.
      Example: trustcore log verify --database copy.sqlite --genesis genesis.json
      """)

  @Option(parsing: .unconditional, help: "A command or payment whose receipt to follow, link by link.")
  var receipt: String?

  @OptionGroup var input: LogInput

  func run() throws {
    let report: AuditReport
    do {
      report = try DeploymentAudit(
        database: input.databasePath, genesis: try input.genesisBytes(), receipt: receipt
      ).run()
    } catch {
      complain("\(error)")
      throw ExitCode.noInput
    }
    say(input.json ? String(decoding: JSONValue.object(report.json).canonical(), as: UTF8.self) : report.text)
    if !report.isSound { throw ExitCode.data }
  }
}

extension AuditReport {
  private var counts: [(label: String, name: String, count: UInt64)] {
    [
      ("leaves", "leaves", leaves), ("not under a stored checkpoint", "unsealed", unsealed),
      ("signed checkpoints", "checkpoints", UInt64(checkpoints)), ("tiles", "tiles", UInt64(tiles)),
      ("authorised commands", "authorized", UInt64(authorized)), ("held commands", "held", UInt64(held)),
      ("denied commands", "denied", UInt64(denied)),
      ("failed or expired commands", "failed", UInt64(failed)), ("commands in flight", "in_flight", UInt64(inFlight)),
      ("chains of evidence", "evidence_chains", UInt64(evidenceChains)), ("receipts", "receipts", UInt64(receipts)),
      ("events", "events", UInt64(events)),
      (
        "principals; for workloads " + workloads.map { "\($0.count) \($0.name)" }.joined(separator: ", "),
        "principals", UInt64(principals)
      ),
      ("accounts", "accounts", UInt64(accounts)), ("holds", "holds", UInt64(holds)),
      ("credentials", "credentials", UInt64(credentials)), ("consents", "consents", UInt64(consents)),
      ("payments", "payments", UInt64(payments)), ("approvals and declines", "approvals", UInt64(approvals)),
      ("files for the bank", "files", UInt64(files)),
      ("keys", "keys", UInt64(keys)), ("data keys", "data_keys", UInt64(dataKeys)),
      ("posted entries", "postings", UInt64(postings)),
    ]
  }

  private var workloads: [(name: String, count: Int)] {
    [("entries", entries), ("authorities", authorities), ("federations", federations)]
  }

  var text: String {
    let width = counts.map { String($0.count).count }.max() ?? 1
    var lines = counts.map { item in
      String(repeating: " ", count: width - String(item.count).count) + "\(item.count)  \(item.label)"
    }
    if !chain.isEmpty {
      lines.append("The receipt rests on:")
      let leaves = chain.map { $0.leaf.map { "leaf \($0)" } ?? "" }
      let place = leaves.map(\.count).max() ?? 0
      for (link, leaf) in zip(chain, leaves) {
        lines.append(
          "  " + link.name + String(repeating: " ", count: max(1, 12 - link.name.count)) + leaf
            + String(repeating: " ", count: place - leaf.count + 2) + link.sentence)
      }
    }
    if isSound {
      lines.append("SOUND: every leaf, receipt, chain of evidence and balance holds.")
    } else {
      lines.append(contentsOf: findings.map { "  at \($0.place): \($0.sentence)" })
      if findingCount > findings.count { lines.append("  … and \(findingCount - findings.count) more") }
      lines.append("NOT SOUND: \(findingCount) finding\(findingCount == 1 ? "" : "s").")
    }
    return lines.joined(separator: "\n")
  }

  var json: JSONObject {
    var object: JSONObject = ["sound": .bool(isSound), "finding_count": .integer(Int64(findingCount))]
    for item in counts { object[item.name] = .integer(Int64(item.count)) }
    for item in workloads { object[item.name] = .integer(Int64(item.count)) }
    if !chain.isEmpty {
      object["chain"] = .array(
        chain.map { link in
          var item: JSONObject = ["name": .string(link.name), "sentence": .string(link.sentence)]
          if let leaf = link.leaf { item["leaf"] = .integer(Int64(leaf)) }
          return .object(item)
        })
    }
    object["findings"] = .array(findings.map { ["place": .string($0.place), "sentence": .string($0.sentence)] })
    return object
  }
}
