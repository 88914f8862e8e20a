import DemoClient
import Rails
import Wire

/// What the bank of step 6 does: it fetches files and answers them.
enum ConsentFiles {
  /// A file as it was fetched.
  struct File {
    let number: Int64
    let bytes: [UInt8]
    let entries: Int
  }

  /// The bank's list.
  static func list(_ stage: Stage) async throws -> [JSONObject] {
    let answer = try await stage.party("bank").get(try stage.client, "/v1/rails/ach/files")
    return (try stage.demand(200, "the list of files", answer)["files"]?.array ?? []).compactMap(\.object)
  }

  /// Waits until the payments are in files, and fetches these.
  static func fetch(_ made: [ConsentStep.Made], _ stage: Stage) async throws -> [File] {
    let listed = try await stage.poll("a file for the bank", seconds: 15) { () -> [JSONObject]? in
      let files = try await list(stage)
      return files.reduce(0) { $0 + ($1["entries"]?.integer ?? 0) } >= Int64(made.count) ? files : nil
    }
    let (client, bank) = (try stage.client, try stage.party("bank"))
    var files: [File] = []
    var entries: [String: ACHEntryRecords] = [:]
    for item in listed.sorted(by: { $0["file"]?.integer ?? 0 < $1["file"]?.integer ?? 0 }) {
      let number = item["file"]?.integer ?? 0
      let path = "/v1/rails/ach/files/\(number)"
      let first = try stage.demand(200, "the file", try await bank.get(client, path))
      let second = try stage.demand(200, "the file again", try await bank.get(client, path))
      try expect("bytes of file \(number), read again", second.body, first.body)
      try expect("SHA-256 of file \(number)", first.sha256, item["sha256"]?.string)
      let file = try ACHFile(parsing: first.body, .originated)
      for entry in file.entries { entries[entry.traceNumber?.description ?? ""] = entry }
      files.append(File(number: number, bytes: first.body, entries: file.entries.count))
      stage.narrator.value(
        "file \(number)",
        "\(file.entries.count) entries, \(first.body.count) bytes, leaf \(item["leaf_index"]?.integer ?? -1)")
    }
    try expect("entries", entries.count, made.count)
    for payment in made {
      let trace = "12104288" + String(String(10_000_000 + payment.leaf).dropFirst())
      guard let entry = entries[trace] else {
        throw Deviation("the entry of leaf \(payment.leaf)", expected: trace, actual: entries.keys.sorted())
      }
      try expect("amount of \(trace)", Int(entry.amount), payment.units)
      try expect("trace number as the payment tells", try await stage.read(payment.id)["trace_number"]?.string, trace)
      stage.narrator.value("to \(payment.counterparty)", "trace \(trace), \(entry.identification)")
    }
    return files
  }

  /// The bank takes the files, says what it accepted, and sends the rest of what it decided about back.
  static func answer(_ files: [File], _ made: [ConsentStep.Made], _ stage: Stage) async throws -> Outcome {
    let (client, bank) = (try stage.client, try stage.party("bank"))
    let path = "/v1/rails/ach/answers"
    let before = try await balances(stage)
    for file in files {
      guard let (acknowledgement, returns) = try stage.bank?.receive(file.bytes) else { continue }
      if !acknowledgement.accepted.isEmpty {
        let traces = acknowledgement.accepted.map { JSONValue.string($0.description) }
        try stage.demand(
          200, "the acceptance",
          try await bank.submit(
            client, path, ["accepted_file": .integer(file.number), "trace_numbers": .array(traces)]))
      }
      if let returns {
        let body: JSONValue = ["returns": .string(String(decoding: returns, as: UTF8.self))]
        let answer = try stage.demand(200, "the returns", try await bank.submit(client, path, body))
        for item in answer["result", "returns"]?.array ?? [] {
          stage.narrator.value(
            item.object?["code"]?.string ?? "", "trace \(item.object?["trace_number"]?.string ?? "") comes back")
        }
        let again = try await bank.submit(client, path, body)
        try expect("the same returns again", again.summary, "409 return_repeated")
      }
    }
    let expected = [
      "acme": "accepted", "jane": "accepted", "empty": "returned R01", "nobody": "returned R03", "quiet": "sent",
      "supplier": "posted",
    ]
    for payment in made {
      let answer = try await stage.read(payment.id)
      let state = [answer["state"]?.string, answer["return_code"]?.string].compactMap { $0 }.joined(separator: " ")
      try expect("the payment to \(payment.counterparty)", state, expected[payment.counterparty] ?? "")
    }
    let back = made.filter { ["empty", "nobody"].contains($0.counterparty) }.reduce(0) { $0 + $1.units }
    let after = try await balances(stage)
    try expect("back in the payments account", after.payments - before.payments, back)
    try expect("out of the settlement account", before.settlement - after.settlement, back)
    return .done("2 accepted, 2 returned, 1 unheard of")
  }

  private static func balances(_ stage: Stage) async throws -> (payments: Int, settlement: Int) {
    (
      try await stage.account("payments account").balance,
      try await stage.account("settlement account", as: try stage.officer).balance
    )
  }
}
