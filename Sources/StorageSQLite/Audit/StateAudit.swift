import AgentIdentity
import Consent
import Cosign
import Crypto
import GRDB
import KeyService
import Ledger
import Payments
import Policy
import Wire
import WorkloadService

/// Compares the tables with the state that the record comes to: nothing more, nothing less.
struct StateAudit {
  private let state: ReplayTables

  init(_ state: ReplayUnit) { self.state = state.tables }

  func run(in unit: SQLiteUnit, _ report: inout AuditReport) {
    report.principals = state.principals.count
    report.accounts = state.accounts.count
    report.holds = state.holds.count
    report.credentials = state.credentials.count
    report.consents = state.consents.count
    report.payments = state.payments.count
    report.approvals = state.approvals.count
    report.files = state.files.count
    report.keys = state.keys.count
    report.dataKeys = state.dataKeys.count
    report.entries = state.registrations.values.count(where: \.isPresent)
    report.authorities = state.authorities.count
    report.federations = state.federations.count
    compare("principal", state.principals.values, try unit.principals(), by: \.id, &report)
    compare("invitation", state.invitations.values, try unit.invitations(), by: \.digest, &report) {
      "of owner \($0.owner)"
    }
    compare("account", state.accounts.values, try unit.accounts(), by: \.id, &report)
    compare("hold", state.holds.values, try unit.holds(), by: \.id, &report)
    comparePeople(in: unit, &report)
    compareConsents(in: unit, &report)
    comparePayments(in: unit, &report)
    compareKeys(in: unit, &report)
    compareWorkloads(in: unit, &report)
    balance(in: unit, &report)
  }

  private func comparePeople(in unit: SQLiteUnit, _ report: inout AuditReport) {
    compare("credential", state.credentials.values, try unit.credentials(), by: \.id, &report) { "of \($0.person)" }
    compare("approver_group", state.groups.values, try unit.groups(), by: \.id, &report)
    compare("person_invitation", state.personInvitations.values, try unit.personInvitations(), by: \.id, &report)
    compare(
      "policy", state.policies.values.joined(), try unit.policies(), by: { "\($0.tenant) \($0.document.name)" }, &report
    )
  }

  private func compareConsents(in unit: SQLiteUnit, _ report: inout AuditReport) {
    let current = state.consents.values.compactMap(\.current)
    compare(
      "consent", current.map { ConsentRow($0.terms.id, $0.terms.owner, $0.terms.version, $0.status.rawValue) },
      try unit.consentRows(), by: \.id, &report)
    compare(
      "consent_version",
      state.consents.values.flatMap(\.all).map { ConsentVersion(terms: $0.terms, leaf: $0.leafIndex) },
      try unit.consentVersions().map { ConsentVersion(terms: $0.terms, leaf: $0.leafIndex) },
      by: { "\($0.terms.id) \($0.terms.version)" }, &report)
  }

  private func comparePayments(in unit: SQLiteUnit, _ report: inout AuditReport) {
    compare("payment", state.payments.values, try unit.payments(), by: \.id, &report)
    compare(
      "approval", state.approvals.values, try unit.approvals(), by: { "of \($0.payment) by \($0.person)" }, &report)
    compare(
      "budget", state.budgets.values.joined(), try unit.budgets(),
      by: { "of \($0.consent) from \($0.start) to \($0.end)" }, &report)
    compare("rail", state.rails.values, try unit.rails(), by: \.leafIndex, &report)
    compare("rail_entry", state.entries.values, try unit.entries(), by: \.leafIndex, &report)
    compare("rail_file", state.files.values, try unit.files(), by: { "\($0.tenant) \($0.number)" }, &report)
  }

  /// The log names records by their digest, and codes of authenticity not at all: those only the HSM can verify.
  private func compareKeys(in unit: SQLiteUnit, _ report: inout AuditReport) {
    compare("kek", state.keys.values, try unit.keys(), by: \.id, &report)
    compare(
      "kek_version", state.keyVersions.values.flatMap(\.values), try unit.keyVersionDigests(),
      by: { "\($0.key)/\($0.version)" }, &report)
    compare("data_key", state.dataKeys.values, try unit.dataKeyDigests(), by: \.id, &report)
    compare("key_task", state.keyTasks.values, try unit.keyTasks(), by: \.id, &report)
    compare("key_manifest", state.keyManifests, try unit.keyManifests(), by: \.leafIndex, &report)
  }

  private func compareWorkloads(in unit: SQLiteUnit, _ report: inout AuditReport) {
    compare("entry", state.registrations.values, try unit.registrations(), by: \.id, &report)
    compare("authority", state.authorities.values, try unit.authorities(), by: \.id, &report)
    compare("authority_order", state.authorityOrders.values, try unit.authorityOrders(), by: \.leafIndex, &report)
    compare(
      "revocation", state.revocations.values, try unit.revocations(), by: { "of \($0.kind.rawValue) \($0.id)" }, &report
    )
    compare("revocation_list", state.revocationLists.values, try unit.revocationLists(), by: \.issuer, &report) {
      "of \($0.issuer)"
    }
    compare("federation", state.federations.values, try unit.federations(), by: \.trustDomain, &report) {
      "with \($0.trustDomain)"
    }
  }

  private func compare<Key: Hashable & CustomStringConvertible, Value: Equatable>(
    _ table: String, _ expected: some Sequence<Value>, _ rows: @autoclosure () throws -> [Value],
    by key: (Value) -> Key, _ report: inout AuditReport
  ) {
    compare(table, expected, try rows(), by: key, &report) { key($0).description }
  }

  private func compare<Key: Hashable, Value: Equatable>(
    _ table: String, _ expected: some Sequence<Value>, _ rows: @autoclosure () throws -> [Value],
    by key: (Value) -> Key, _ report: inout AuditReport, name: (Value) -> String
  ) {
    report.audit("table \(table)") { report throws in
      var missing: [Key: Value] = [:]
      for value in expected { missing[key(value)] = value }
      for row in try rows() {
        let place = "\(table) \(name(row))"
        switch missing.removeValue(forKey: key(row)) {
        case nil: report.add(place, "the log accounts for no such row.")
        case row: break
        default: report.add(place, "its row is not what the log comes to.")
        }
      }
      for value in missing.values { report.add("\(table) \(name(value))", "its row is missing.") }
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

/// A row of the table consent.
private struct ConsentRow: Equatable {
  let id: String
  let owner: String
  let version: Int
  let status: String

  init(_ id: String, _ owner: String, _ version: Int, _ status: String) {
    (self.id, self.owner, self.version, self.status) = (id, owner, version, status)
  }
}

/// A row of the table consent_version.
private struct ConsentVersion: Equatable {
  let terms: ConsentTerms
  let leaf: UInt64
}

extension SQLiteUnit {
  /// Every consent, apart from its versions.
  fileprivate func consentRows() throws -> [ConsentRow] {
    try all("SELECT id, owner, version, status FROM consent ORDER BY id", []) { row in
      ConsentRow(row[0], row[1], row[2], row[3])
    }
  }

  /// Every version of every key, with the digest of its record in the record's place.
  fileprivate func keyVersionDigests() throws -> [KeyVersionRow] {
    try all("SELECT * FROM kek_version ORDER BY kek, version", []) { row in
      var version = try Self.keyVersion(row)
      (version.record, version.codes) = (Array(SHA256.hash(data: version.record)), [])
      return version
    }
  }

  /// Every data key, likewise.
  fileprivate func dataKeyDigests() throws -> [DataKeyRow] {
    try all("SELECT * FROM data_key ORDER BY id", []) { row in
      var dataKey = try Self.dataKey(row)
      (dataKey.record, dataKey.codes) = (Array(SHA256.hash(data: dataKey.record)), [])
      return dataKey
    }
  }

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
