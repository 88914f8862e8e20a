import DemoClient
import Foundation
import TransparencyLog
import TrustCoreAPI
import Wire

/// Step 11: the record is proven offline; a flipped byte and a rolled-back database are found.
enum AuditStep {
  static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("11  The record holds, or says where it does not")

    let older = DatabaseFiles(path: stage.scratch + "/older.sqlite")
    let newest = DatabaseFiles(path: stage.scratch + "/newest.sqlite")
    var marked: (leaf: [UInt8], index: UInt64, body: [UInt8])?

    await stage.item(
      "11.1", "trustcore log verify proves the record",
      "Offline, from genesis.json alone: every leaf, receipt, chain of evidence and balance is derived again."
    ) {
      // A command whose bytes the next lines look for.
      let agent = try stage.party("P-256")
      let request = try agent.command(
        "/v1/ledger/transfers", try stage.transfer(2300, memo: "marked \(agent.fresh())"),
        token: try await agent.token(try stage.client))
      let answer = try stage.demand(201, "transfer", try await stage.client.send(request))
      let receipt = try stage.log.receipt(answer, to: request, by: agent, enrolment: stage.enrolments[agent.id] ?? 0)
      try await stage.stop()
      marked = (receipt.leaf, receipt.index, request.body)
      try older.replace(with: try database(stage))
      let audit = try audit(stage, older)
      try audit.demandSound()
      say.value("command", "trustcore log verify --database older.sqlite --genesis genesis.json")
      say.value("leaves", "\(audit.count("leaves"))")
      say.value("receipts", "\(audit.count("receipts"))")
      say.value("evidence chains", "\(audit.count("evidence_chains"))")
      say.value("denied commands", "\(audit.count("denied"))")
      for name in ["held", "credentials", "consents", "payments", "approvals", "files"] {
        let count = audit.count(name)
        guard count > 0 else { throw Deviation(name, expected: "some", actual: count) }
        say.value(name, "\(count)")
      }
      return .done("sound: " + audit.proven)
    }

    await stage.item(
      "11.2", "the payment of step 7, link by link",
      "The same program follows one receipt offline: agent key, consent, policy, approval, seal, posting, bank file."
    ) {
      let audit = try Self.audit(stage, older, receipt: try stage.named("held payment"))
      try audit.demandSound()
      for (name, leaf, sentence) in audit.chain {
        say.value(name, (leaf.map { "leaf \($0), " } ?? "") + sentence)
      }
      let names = audit.chain.map(\.name)
      let needed = [
        "request", "key", "consent", "policy", "approval", "credential", "invitation", "seal", "posting", "file",
      ]
      guard needed.allSatisfy(names.contains) else {
        throw Deviation("links", expected: needed, actual: names)
      }
      return .done("\(names.count) links")
    }

    for (number, what, story) in [
      ("11.3", "a leaf", "One bit of the newest transfer's leaf, in a copy of the database."),
      ("11.4", "a request", "One bit of the amount in the request that was kept as evidence: 23.00 becomes 33.00."),
      ("11.5", "an approval", "One bit of what Ada's hardware key signed in step 7."),
    ] {
      await stage.item(number, "one flipped byte in \(what) is found", story) {
        guard let marked else { throw NotReached(missing: "the marked transfer") }
        let copy = DatabaseFiles(path: stage.scratch + "/flipped.sqlite")
        try copy.replace(with: older)
        let (needle, place, index) =
          switch what {
          case "a leaf": (marked.leaf, marked.leaf.count / 2, marked.index)
          case "a request": (marked.body, try offset(of: "23.00", in: marked.body), marked.index)
          default:
            (
              Array(try stage.named("approval body").utf8), 40,
              stage.enrolments[try stage.named("approval command")] ?? 0
            )
          }
        for offset in try copy.offsets(of: needle) {
          try copy.flip(at: offset + place)
          let audit = try audit(stage, copy)
          if audit.status == 0 {
            // A page that SQLite no longer uses may hold the bytes too.
            try copy.flip(at: offset + place)
            continue
          }
          say.value("byte", "\(offset + place)")
          try expect("exit code", audit.status, 65)
          guard let finding = audit.findings.first(where: { $0.hasPrefix("leaf \(index):") }) else {
            throw Deviation(
              "finding", expected: "one at leaf \(index)", actual: audit.findings.joined(separator: "; "))
          }
          return .done("at \(finding)")
        }
        throw Deviation("the flipped byte", expected: "a finding", actual: "sound")
      }
    }

    await stage.item(
      "11.6", "an older database is put back",
      "After more commands, the copy of 11.1 is restored: it forgets what was signed since. The signer's own file does not."
    ) {
      try await stage.start()
      let body = try stage.transfer(100)
      for _ in 0..<3 {
        try stage.demand(
          201, "transfer", try await stage.party("P-256").submit(try stage.client, "/v1/ledger/transfers", body))
      }
      try await stage.stop()
      try newest.replace(with: try database(stage))
      try database(stage).replace(with: older)
      try await stage.start()
      let checkpoint = try stage.demand(200, "/log/checkpoint", try await stage.client.get("/log/checkpoint"))
      let size = try stage.log.checkpoint(checkpoint.body).head.size
      guard let path = TilePath(.hashes(level: 0), index: 0, width: Int(min(size, 256))) else {
        throw Deviation("size of the log", expected: "at least 1", actual: size)
      }
      let tile = try stage.demand(200, "a tile", try await stage.client.get("/log/\(path)"))
      try expect("hashes served", tile.body.count, path.width * MerkleHash.byteCount)
      let ready = try await stage.client.get("/readyz")
      try expect("/readyz", ready.summary, "503 log_read_only")
      say.value("/readyz", ready["detail"]?.string ?? "")
      return .done("log served read-only, \(size) leaves")
    }

    await stage.refusal(
      "11.7", "command on the older database", "Nothing is recorded on a history that is shorter than the signed one.",
      503, "log_read_only"
    ) {
      try await stage.party("P-256").submit(try stage.client, "/v1/ledger/transfers", try stage.transfer(100))
    }

    await stage.item(
      "11.8", "the newest database goes on", "With what the signer knows of, commands are taken again."
    ) {
      try await stage.stop()
      try database(stage).replace(with: newest)
      try await stage.start()
      try stage.demand(200, "/readyz", try await stage.client.get("/readyz"))
      let body = try stage.transfer(100)
      let answer = try stage.demand(
        201, "transfer", try await stage.party("P-256").submit(try stage.client, "/v1/ledger/transfers", body))
      return .done("a transfer, in leaf \(answer["leaf_index"]?.integer ?? -1)")
    }
  }

  static func database(_ stage: Stage) throws -> DatabaseFiles {
    DatabaseFiles(path: try stage.deployment.ready["database"] ?? "")
  }

  static func audit(_ stage: Stage, _ files: DatabaseFiles, receipt: String? = nil) throws -> Audit {
    try Audit(stage, database: files.path, genesis: try stage.deployment.ready["genesis"] ?? "", receipt: receipt)
  }

  private static func offset(of text: String, in body: [UInt8]) throws -> Int {
    guard let range = Data(body).range(of: Data(text.utf8)) else { throw NotReached(missing: "the amount") }
    return range.lowerBound
  }
}
