import AgentIdentity
import Foundation
import GRDB
import Ledger

/// Compares the tables with the state that the record comes to: nothing more, nothing less.
struct StateAudit {
  private let state: ReplayUnit

  init(_ state: ReplayUnit) { self.state = state }

  func run(in unit: SQLiteUnit, _ report: inout AuditReport) {
    report.principals = state.principals.count
    report.accounts = state.accounts.count
    report.holds = state.holds.count
    compare("principal", state.principals, try unit.principals(), by: \.id, &report)
    compare("invitation", state.invitations, try unit.invitations(), by: \.digest, &report)
    compare("account", state.accounts, try unit.accounts(), by: \.id, &report)
    compare("hold", state.holds, try unit.holds(), by: \.id, &report)
    balance(in: unit, &report)
  }

  private func compare<Key: Hashable & Comparable, Value: Equatable>(
    _ table: String, _ expected: [Key: Value], _ rows: @autoclosure () throws -> [Value], by key: (Value) -> Key,
    _ report: inout AuditReport
  ) where Key: CustomStringConvertible {
    compare(table, expected, try rows(), by: key, { $0.description }, &report)
  }

  private func compare(
    _ table: String, _ expected: [[UInt8]: Invitation], _ rows: @autoclosure () throws -> [Invitation],
    by key: (Invitation) -> [UInt8], _ report: inout AuditReport
  ) {
    compare(table, expected, try rows(), by: key, { "of owner \(expected[$0]?.owner ?? "unknown")" }, &report)
  }

  private func compare<Key: Hashable, Value: Equatable>(
    _ table: String, _ expected: [Key: Value], _ rows: @autoclosure () throws -> [Value], by key: (Value) -> Key,
    _ name: (Key) -> String, _ report: inout AuditReport
  ) {
    report.audit("table \(table)") { report throws in
      var missing = expected
      for row in try rows() {
        let place = "\(table) \(name(key(row)))"
        switch missing.removeValue(forKey: key(row)) {
        case nil: report.add(place, "the log accounts for no such row.")
        case row: break
        default: report.add(place, "its row is not what the log comes to.")
        }
      }
      for (key, _) in missing { report.add("\(table) \(name(key))", "its row is missing.") }
    }
  }

  /// The sums of the postings against the accounts' totals, in SQL and apart from the ledger's own code, and debits
  /// against credits in each currency.
  private func balance(in unit: SQLiteUnit, _ report: inout AuditReport) {
    report.audit("table posting") { report throws in
      var sums: [String: (debits: Int64, credits: Int64)] = [:]
      let rows = try unit.all("SELECT account, side, sum(amount) FROM posting GROUP BY account, side", []) { row in
        (account: row[0] as String, side: row[1] as String, sum: row[2] as Int64)
      }
      for row in rows {
        if row.side == Entry.Side.debit.rawValue {
          sums[row.account, default: (0, 0)].debits = row.sum
        } else {
          sums[row.account, default: (0, 0)].credits = row.sum
        }
      }
      var currencies: [String: (posted: Int64, pending: Int64)] = [:]
      for account in try unit.accounts() {
        let sum = sums[account.id] ?? (0, 0)
        if sum.debits != account.debitsPosted || sum.credits != account.creditsPosted {
          report.add("account \(account.id)", "its posted totals are not the sums of its postings.")
        }
        currencies[account.currency.code, default: (0, 0)].posted &+= account.creditsPosted &- account.debitsPosted
        currencies[account.currency.code, default: (0, 0)].pending &+= account.creditsPending &- account.debitsPending
      }
      for (currency, gap) in currencies where gap != (0, 0) {
        report.add("currency \(currency)", "debits and credits differ.")
      }
    }
  }
}

extension SQLiteUnit {
  /// Every invitation, by digest.
  func invitations() throws -> [Invitation] {
    try all("SELECT digest, owner, tenant FROM invitation ORDER BY digest", []) { row in
      Invitation(digest: row[0], owner: row[1], tenant: row[2])
    }
  }

  /// The number of rows of a table of ours.
  func count(_ table: String) throws -> Int { try Int.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0 }

  /// The schema as it is stored, each object by its name.
  func schema() throws -> [String: String] {
    let rows = try Row.fetchAll(db, sql: "SELECT name, coalesce(sql, '') FROM sqlite_master")
    return Dictionary(rows.map { ($0[0] as String, $0[1] as String) }, uniquingKeysWith: { $0 + $1 })
  }
}
