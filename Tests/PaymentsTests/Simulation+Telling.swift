import CommandGate
import Seal
import TransparencyLog
import Wire

// The model beside the world: it is told the record, and says of each leaf and each answer what it had to be.

extension Simulation {
  func compare(_ deeds: [Deed]) async throws {
    try await tell()
    let replies = watch.with { $0.replies }
    for (place, deed) in deeds.enumerated() {
      guard let key = deed.key, let reply = replies[place] else { continue }
      guard let verdict = verdicts[key] else { throw Discrepancy("\(describe(deed)) left no leaf; \(reply)") }
      guard reply.verdict == verdict else {
        throw Discrepancy("\(describe(deed)) was answered \(reply), and had to come to \(verdict)")
      }
      if let before = given.first(where: { $0.deed.key == key })?.reply {
        guard before == reply else { throw Discrepancy("\(describe(deed)) is answered otherwise than before") }
      } else {
        given.append((deed, reply))
      }
    }
    try await checkInvariants()
  }

  /// Tells the model each new leaf, which must be the one that the model expects.
  private func tell() async throws {
    let from = told
    let records = try await life.read { unit -> [LeafRecord] in
      guard let head = try unit.head() else { return [] }
      return try (from..<head.size).map { index in
        guard let bytes = try unit.entry(at: index) else { throw Discrepancy("leaf \(index) is missing") }
        let (leaf, time) = try Leaf.decode(bytes)
        var place = index
        if case .outcome(let outcome) = leaf { place = outcome.authorizedIndex }
        return LeafRecord(
          leaf: leaf, time: time, command: try unit.command(leafIndex: place),
          content: try unit.content(leafIndex: index)?.content)
      }
    }
    for (offset, record) in records.enumerated() {
      let index = from + UInt64(offset)
      switch record.leaf {
      case .authorized, .held, .denied:
        guard let row = record.command, let command = commands[row.idempotency] else {
          throw Discrepancy("leaf \(index) is of a command that nobody gave")
        }
        guard verdicts[row.idempotency] == nil else { throw Discrepancy("leaf \(index) decides a command again") }
        let verdict = model.decide(command, id: row.id.description, leaf: index, at: record.time)
        let recorded: Verdict =
          switch record.leaf {
          case .held: .held
          case .denied(_, let code, _): .refused(code)
          default: .done
          }
        tally["\(verdict)", default: 0] += 1
        guard verdict == recorded else {
          throw Discrepancy("leaf \(index) says \(recorded) of \(command), and the model \(verdict)")
        }
        verdicts[row.idempotency] = verdict
      case .outcome(let outcome):
        guard let row = record.command, let verdict = model.finish(outcome.authorizedIndex, at: record.time) else {
          throw Discrepancy("leaf \(index) is a second outcome of leaf \(outcome.authorizedIndex)")
        }
        let status: Leaf.Outcome.Status =
          verdict == .done ? .done : verdict == .refused("seal_expired") ? .expired : .failed
        guard outcome.status == status else {
          throw Discrepancy("leaf \(index) says \(outcome.status) of leaf \(outcome.authorizedIndex), not \(verdict)")
        }
        if verdict != .done { tally["\(verdict) at T2", default: 0] += 1 }
        verdicts[row.idempotency] = verdict
      case .event(let event):
        let content = try JSONValue(parsing: record.content ?? []).object
        switch event.kind {
        case "payment.expired":
          guard model.expire(payment: content?["payment"]?.string ?? "", at: record.time) else {
            throw Discrepancy("leaf \(index) lets a payment expire that had not to")
          }
        case "hold.expired":
          guard model.expire(hold: content?["hold"]?.string ?? "", at: record.time) else {
            throw Discrepancy("leaf \(index) lets a hold expire that had not to")
          }
        case "rail.file":
          let count = model.cut(at: record.time)
          guard let count, content?["entries"]?.integer == Int64(count) else {
            throw Discrepancy("leaf \(index) cuts another file than one of \(count ?? 0) entries")
          }
        default: throw Discrepancy("leaf \(index) is an event '\(event.kind)' that nobody caused")
        }
        tally[event.kind, default: 0] += 1
      case .genesis: throw Discrepancy("leaf \(index) is a second genesis")
      }
    }
    told = from + UInt64(records.count)
    guard model.inFlight.isEmpty else { throw Discrepancy("leaves \(model.inFlight.keys.sorted()) have no outcome") }
  }
}
