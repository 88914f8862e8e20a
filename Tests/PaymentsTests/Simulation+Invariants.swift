import AgentIdentity
import CommandGate
import Consent
import Foundation
import Ledger
import Payments
import Rails
import Seal
import StorageSQLite
import TestSupport
import TransparencyLog
import Wire

// What must hold whenever nothing is in flight, and at the end of the world.

extension Simulation {
  func checkInvariants() async throws {
    let (model, now) = (model, world.clock.now())
    let last = model.payments.map(\.id)
    try await life.read { unit in
      var sums: [String: (balance: Int64, debits: Int64, credits: Int64)] = [:]
      let reserved = model.reserved
      for (id, expected) in model.accounts {
        guard let account = try unit.account(id) else { throw Discrepancy("account \(id) is missing") }
        let debits = reserved.reduce(0) { $0 + ($1.from == id ? $1.amount : 0) }
        let credits = reserved.reduce(0) { $0 + ($1.to == id ? $1.amount : 0) }
        guard account.balance == model.balance(id), account.debitsPending == debits, account.creditsPending == credits
        else {
          throw Discrepancy(
            "account \(id) has \(account.balance), \(account.debitsPending) and \(account.creditsPending) pending; "
              + "it must have \(model.balance(id)), \(debits) and \(credits)")
        }
        guard account.isUnderConsent == expected.isUnderConsent else {
          throw Discrepancy("account \(id) is\(account.isUnderConsent ? "" : " not") under consent")
        }
        guard expected.isExternal || account.available >= 0 else { throw Discrepancy("account \(id) is overdrawn") }
        var sum = sums[expected.currency] ?? (0, 0, 0)
        sum.balance += account.balance
        sum.debits += account.debitsPending
        sum.credits += account.creditsPending
        sums[expected.currency] = sum
      }
      for (currency, sum) in sums where sum.balance != 0 || sum.debits != sum.credits {
        throw Discrepancy("\(currency) is not conserved: \(sum)")
      }
      for id in last {
        guard let index = model.index(id) else { continue }
        try Self.check(model.payments[index], in: &unit)
      }
      for consent in model.consents.values {
        // Each window that money was spent in holds the naive sum.
        var moments = [now] + model.counting(consent.id).suffix(6).map(\.time)
        moments += model.payments.filter { $0.consent.id == consent.id }.suffix(3).map(\.time)
        for moment in moments {
          for window in try unit.budgets(consent: consent.id, containing: moment) {
            let spent = model.counting(consent.id).filter { window.start <= $0.time && $0.time < window.end }
              .reduce(0) { $0 + $1.amount }
            guard window.spent == spent else {
              throw Discrepancy("the budget \(window) of \(consent.id) must hold \(spent)")
            }
          }
        }
      }
    }
  }

  private static func check(_ expected: ModelPayment, in unit: inout Life<Disk>.Unit) throws {
    let id = expected.id
    guard let payment = try unit.payment(id) else { throw Discrepancy("payment \(id) is missing") }
    guard payment.state.rawValue == expected.state.rawValue, payment.postedIndex == expected.postedAt,
      (payment.endedBy == nil) == (expected.endedBy == nil)
    else {
      throw Discrepancy("payment \(id) is \(payment.state), and must be \(expected.state)")
    }
    let approvals = try unit.approvals(payment: id)
    guard approvals.map(\.leafIndex) == expected.approvals.map(\.leaf), approvals.allSatisfy(\.isSealed),
      Set(approvals.map(\.person)).count == approvals.count
    else { throw Discrepancy("payment \(id) has the approvals \(approvals), not \(expected.approvals)") }
    if let leaf = expected.postedAt {
      let entries = try unit.postings(leafIndex: leaf)
      guard entries.map(\.account) == [expected.consent.account, expected.credited],
        entries.allSatisfy({ $0.money.minorUnits == expected.amount })
      else { throw Discrepancy("payment \(id) is posted as \(entries)") }
      if expected.expires != nil {
        guard try unit.postings(leafIndex: expected.leaf).isEmpty else {
          throw Discrepancy("payment \(id) is posted under its held leaf too")
        }
      }
    }
    let entry = try unit.entry(payment: id)
    guard entry?.trace == expected.trace, entry?.file == expected.file else {
      throw Discrepancy("payment \(id) has the entry \(String(describing: entry))")
    }
  }

  /// Time passes until nothing is held any more; then everything is asked once more, and the books are closed.
  func finish() async throws {
    history.append("\(step): the end")
    world.custodian.hold(false)
    world.clock.advance(milliseconds: 32 * 86_400_000)
    var deeds = model.payments.filter { $0.state == .held }.map { Deed.expirePayment($0.id) }
    deeds += model.holds.filter { $0.state == .held }.map { Deed.expireHold($0.id) }
    if !deeds.isEmpty { try await carryOut(deeds) }
    while model.payments.contains(where: { $0.trace != nil && $0.file == nil }) {
      let before = model.files.count
      try await carryOut([.cutFile])
      guard model.files.count == before + 1 else { throw Discrepancy("entries wait, and no file is cut") }
    }
    try await carryOut(given.map(\.deed))
    guard given.count == verdicts.count else { throw Discrepancy("a command was decided that nobody gave") }
    for payment in model.payments {
      guard !payment.state.isOpen, payment.ends == (payment.expires == nil ? 0 : 1) else {
        throw Discrepancy("payment \(payment.id) is \(payment.state) and was ended \(payment.ends) times")
      }
    }
    for payment in model.payments {
      tally["payments \(payment.expires == nil ? "" : "once held, ")\(payment.state)", default: 0] += 1
    }
    try await checkFiles()
    last = try await root()
    await life.stop()
    try disk.close()
    guard let database = disk.database else { return }
    let report = try DeploymentAudit(database: database, genesis: world.genesisText).run()
    guard report.isSound, report.inFlight == 0, report.unsealed == 0 else {
      throw Discrepancy("the audit finds: \(report.findings.map(\.description))")
    }
  }

  /// Each entry stands in one file, once, and the bank reads what was paid.
  private func checkFiles() async throws {
    let (model, payments) = (model, life.payments)
    try await life.read { unit in
      var traces: [UInt64: Int64] = [:]
      for number in model.files.map(\.number) {
        guard let file = try unit.file(tenant: TestWorld.tenant, number: number) else {
          throw Discrepancy("file \(number) is missing")
        }
        let bytes = try payments.bytes(of: file, in: &unit)
        for entry in try ACHFile(parsing: bytes, .originated).entries {
          guard let trace = entry.traceNumber?.value, traces.updateValue(entry.amount, forKey: trace) == nil else {
            throw Discrepancy("file \(number) has an entry that was sent before")
          }
        }
      }
      var expected: [UInt64: Int64] = [:]
      for payment in model.payments { if let trace = payment.trace { expected[trace] = payment.amount } }
      guard traces == expected else { throw Discrepancy("the files have \(traces), not \(expected)") }
    }
  }

  /// The size of the log and its root.
  func root() async throws -> String {
    let head = try await life.read { unit in try unit.head() }
    return head.map { "\($0.size) \($0.root)" } ?? ""
  }
}
