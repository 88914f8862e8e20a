import Ledger
package import Payments
package import Wire

extension SQLiteUnit: PaymentStore {
  package mutating func payment(_ id: String) throws -> Payment? {
    try first("SELECT * FROM payment WHERE id = ?", [id], Self.payment)
  }

  /// Every payment, by the leaf that decided it.
  package func payments() throws -> [Payment] { try all("SELECT * FROM payment ORDER BY leaf_index", [], Self.payment) }

  package mutating func insert(_ payment: Payment) throws {
    try run(
      """
      INSERT INTO payment (leaf_index, id, tenant, consent, counterparty, amount, currency, decided_at, expires_at,
        document, state, ended_by, posted_index, return_code) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        Int64(payment.leafIndex), payment.id, payment.tenant, payment.consent, payment.counterparty,
        payment.money.minorUnits, payment.money.currency.code, payment.decidedAt.milliseconds,
        payment.expires?.milliseconds, document(payment.document), payment.state.rawValue, payment.endedBy,
        payment.postedIndex.map(Int64.init), payment.returnCode,
      ])
  }

  package mutating func update(_ payment: Payment) throws {
    try runOnce(
      "UPDATE payment SET state = ?, ended_by = ?, posted_index = ?, return_code = ? WHERE id = ?",
      [
        payment.state.rawValue, payment.endedBy, payment.postedIndex.map(Int64.init), payment.returnCode, payment.id,
      ])
  }

  package mutating func heldPayments(expiringAtOrBefore moment: Timestamp, limit: Int) throws -> [String] {
    try all(
      "SELECT id FROM payment WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at, leaf_index LIMIT ?",
      [moment.milliseconds, limit]
    ) { $0[0] }
  }

  package mutating func heldPayments(tenant: String, limit: Int) throws -> [Payment] {
    try all(
      "SELECT * FROM payment WHERE state = 'held' AND tenant = ? ORDER BY expires_at, leaf_index LIMIT ?",
      [tenant, limit], Self.payment)
  }

  /// At most `limit` held payments of all tenants, soonest end first.
  package func heldPayments(limit: Int) throws -> [Payment] {
    try all(
      "SELECT * FROM payment WHERE state = 'held' ORDER BY expires_at, leaf_index LIMIT ?", [limit], Self.payment)
  }

  // MARK: - Limits

  package mutating func countPayments(consent: String, after moment: Timestamp, limit: Int) throws -> Int {
    try first(
      """
      SELECT count(*) FROM (SELECT 1 FROM payment WHERE consent = ? AND decided_at > ?
        AND state NOT IN ('declined', 'voided', 'expired', 'failed') LIMIT ?)
      """, [consent, moment.milliseconds, limit]
    ) { $0[0] } ?? 0
  }

  package mutating func sumPayments(consent: String, from start: Timestamp, to end: Timestamp) throws -> Int64 {
    try first(
      """
      SELECT coalesce(sum(amount), 0) FROM payment WHERE consent = ? AND decided_at >= ? AND decided_at < ?
        AND state NOT IN ('declined', 'voided', 'expired', 'failed')
      """, [consent, start.milliseconds, end.milliseconds]
    ) { $0[0] } ?? 0
  }

  package mutating func hasPaid(consent: String, counterparty: String) throws -> Bool {
    try first(
      """
      SELECT 1 FROM payment WHERE consent = ? AND counterparty = ?
        AND state NOT IN ('declined', 'voided', 'expired', 'failed') LIMIT 1
      """, [consent, counterparty]
    ) { _ in true } ?? false
  }

  package mutating func budget(consent: String, start: Timestamp, end: Timestamp) throws -> BudgetWindow? {
    try first(
      "SELECT * FROM budget WHERE consent = ? AND ends_at = ? AND starts_at = ?",
      [consent, end.milliseconds, start.milliseconds], Self.budget)
  }

  package mutating func budgets(consent: String, containing moment: Timestamp) throws -> [BudgetWindow] {
    // Of the windows that end later, few have begun: the key is in the order of their ends.
    try all(
      "SELECT * FROM budget WHERE consent = ? AND ends_at > ? AND starts_at <= ? ORDER BY ends_at, starts_at",
      [consent, moment.milliseconds, moment.milliseconds], Self.budget)
  }

  /// Every budget.
  package func budgets() throws -> [BudgetWindow] {
    try all("SELECT * FROM budget ORDER BY consent, ends_at, starts_at", [], Self.budget)
  }

  private static func budget(_ row: SQLRow) throws -> BudgetWindow {
    BudgetWindow(
      consent: row[0], start: Timestamp(milliseconds: row[2]), end: Timestamp(milliseconds: row[1]), spent: row[3])
  }

  package mutating func put(_ budget: BudgetWindow) throws {
    try run(
      """
      INSERT INTO budget (consent, ends_at, starts_at, spent) VALUES (?, ?, ?, ?)
      ON CONFLICT (consent, ends_at, starts_at) DO UPDATE SET spent = excluded.spent
      """, [budget.consent, budget.end.milliseconds, budget.start.milliseconds, budget.spent])
  }

  // MARK: - Approvals

  package mutating func approvals(payment: String) throws -> [GivenApproval] {
    try all("SELECT * FROM approval WHERE payment = ? ORDER BY leaf_index", [payment], Self.approval)
  }

  /// Every decision about a payment, by leaf.
  package func approvals() throws -> [GivenApproval] {
    try all("SELECT * FROM approval ORDER BY leaf_index", [], Self.approval)
  }

  private static func approval(_ row: SQLRow) throws -> GivenApproval {
    GivenApproval(
      payment: row[0], person: row[1], credential: row[2], approves: try flag(row[3], "decision"), command: row[4],
      leafIndex: try unsigned(row[5], "leaf index"), isSealed: try flag(row[6], "seal mark"))
  }

  package mutating func insert(_ approval: GivenApproval) throws {
    try run(
      """
      INSERT INTO approval (payment, person, credential, approves, command, leaf_index, sealed)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      """,
      [
        approval.payment, approval.person, approval.credential, approval.approves ? 1 : 0, approval.command,
        Int64(approval.leafIndex), approval.isSealed ? 1 : 0,
      ])
  }

  package mutating func setSealed(payment: String, person: String) throws {
    try runOnce("UPDATE approval SET sealed = 1 WHERE payment = ? AND person = ?", [payment, person])
  }

  package mutating func removeApproval(payment: String, person: String) throws {
    try runOnce("DELETE FROM approval WHERE payment = ? AND person = ?", [payment, person])
  }
}

// MARK: - Documents

extension SQLiteUnit {
  fileprivate static func payment(_ row: SQLRow) throws -> Payment {
    try decoding(row[9], "payment", { try payment(row, ObjectReader($0, "a payment")) }, { .object($0.document) })
  }

  private static func payment(_ row: SQLRow, _ document: ObjectReader) throws -> Payment {
    var reader = document
    let payment = Payment(
      id: row[1], tenant: row[2], owner: try reader.string("owner"), agent: try reader.string("agent"),
      agentThumbprint: try reader.string("agent_thumbprint"), consent: row[3],
      consentVersion: Int(try reader.integer("consent_version", in: 1...JSONValue.greatestInteger)),
      consentDigest: try reader.base64URL("consent_digest"), policyVersion: try reader.string("policy_version"),
      policyRecord: try decoded(try reader.value("policy").object, "policy record"),
      account: try reader.string("account"), counterparty: row[4], rail: try reader.string("rail"),
      credited: try reader.string("credited"),
      money: Money(minorUnits: row[5], currency: try decoded(Currency(row[6]), "currency")),
      reference: try reader.optionalString("reference"), commandDigest: try reader.base64URL("command_digest"),
      leafIndex: try unsigned(row[0], "leaf index"), decidedAt: Timestamp(milliseconds: row[7]),
      expires: (row[8] as Int64?).map { Timestamp(milliseconds: $0) },
      needs: try reader.array("needs", limit: 16).map { try need($0) },
      state: try decoded(Payment.State(rawValue: row[10]), "payment state"), endedBy: row[11],
      postedIndex: try (row[12] as Int64?).map { try unsigned($0, "leaf index") }, returnCode: row[13])
    try reader.finish()
    return payment
  }

  private static func need(_ json: JSONValue) throws -> Payment.Need {
    var reader = try ObjectReader(json, "a need")
    let need = Payment.Need(
      group: try reader.string("group"), name: try reader.string("name"),
      version: Int(try reader.integer("version", in: 1...JSONValue.greatestInteger)),
      members: try decoded(try reader.value("members").texts, "members"),
      approvals: Int(try reader.integer("approvals", in: 1...JSONValue.greatestInteger)))
    try reader.finish()
    return need
  }
}

extension Payment {
  /// What never changes and no query asks for.
  fileprivate var document: JSONObject {
    var object: JSONObject = [
      "owner": .string(owner), "agent": .string(agent), "agent_thumbprint": .string(agentThumbprint),
      "consent_version": .integer(Int64(consentVersion)), "consent_digest": .string(Base64.URL.encode(consentDigest)),
      "policy_version": .string(policyVersion), "policy": .object(policyRecord), "account": .string(account),
      "rail": .string(rail), "credited": .string(credited),
      "command_digest": .string(Base64.URL.encode(commandDigest)),
      "needs": .array(
        needs.map {
          [
            "group": .string($0.group), "name": .string($0.name), "version": .integer(Int64($0.version)),
            "members": .texts($0.members), "approvals": .integer(Int64($0.approvals)),
          ]
        }),
    ]
    object["reference"] = reference.map { .string($0) }
    return object
  }
}
