package import Ledger
import Wire

extension SQLiteUnit: LedgerStore {
  package mutating func account(_ id: String) throws -> Account? {
    try first("SELECT * FROM account WHERE id = ?", [id], Self.account)
  }

  package mutating func accounts(owner: String) throws -> [Account] {
    try all("SELECT * FROM account WHERE owner = ? ORDER BY id", [owner], Self.account)
  }

  /// Every account, by identifier.
  package func accounts() throws -> [Account] { try all("SELECT * FROM account ORDER BY id", [], Self.account) }

  private static func account(_ row: SQLRow) throws -> Account {
    Account(
      id: row[0], tenant: row[1], owner: row[2], currency: try decoded(Currency(row[3]), "currency"),
      kind: try decoded(Account.Kind(rawValue: row[4]), "account kind"), overdraftLimit: row[5],
      isUnderConsent: try flag(row[10], "consent mark"), debitsPosted: row[6], creditsPosted: row[7],
      debitsPending: row[8], creditsPending: row[9])
  }

  package mutating func insert(_ account: Account) throws {
    try run(
      """
      INSERT INTO account (id, tenant, owner, currency, kind, overdraft_limit, debits_posted, credits_posted,
        debits_pending, credits_pending, under_consent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        account.id, account.tenant, account.owner, account.currency.code, account.kind.rawValue,
        account.overdraftLimit, account.debitsPosted, account.creditsPosted, account.debitsPending,
        account.creditsPending, account.isUnderConsent ? 1 : 0,
      ])
  }

  package mutating func update(_ account: Account) throws {
    try runOnce(
      """
      UPDATE account SET debits_posted = ?, credits_posted = ?, debits_pending = ?, credits_pending = ?,
        under_consent = ? WHERE id = ?
      """,
      [
        account.debitsPosted, account.creditsPosted, account.debitsPending, account.creditsPending,
        account.isUnderConsent ? 1 : 0, account.id,
      ])
  }

  package mutating func hold(_ id: String) throws -> Hold? {
    try first("SELECT * FROM hold WHERE id = ?", [id], Self.hold)
  }

  /// Every hold, by identifier.
  package func holds() throws -> [Hold] { try all("SELECT * FROM hold ORDER BY id", [], Self.hold) }

  private static func hold(_ row: SQLRow) throws -> Hold {
    Hold(
      id: row[0], tenant: row[1], owner: row[2], entries: try entries(decoding: row[3]),
      expiresAt: row[4], state: try decoded(Hold.State(rawValue: row[5]), "hold state"))
  }

  package mutating func insert(_ hold: Hold) throws {
    try run(
      "INSERT INTO hold (id, tenant, owner, entries, expires_at, state) VALUES (?, ?, ?, ?, ?, ?)",
      [hold.id, hold.tenant, hold.owner, Self.encoded(hold.entries), hold.expiresAt, hold.state.rawValue])
  }

  package mutating func setState(_ state: Hold.State, ofHold id: String) throws {
    try runOnce("UPDATE hold SET state = ? WHERE id = ?", [state.rawValue, id])
  }

  package mutating func heldExpiring(atOrBefore moment: Int64, limit: Int) throws -> [String] {
    try all(
      "SELECT id FROM hold WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at LIMIT ?", [moment, limit]
    ) { $0[0] }
  }

  package mutating func post(_ entries: [Entry], leafIndex: UInt64) throws {
    for (position, entry) in entries.enumerated() {
      try run(
        "INSERT INTO posting (leaf_index, position, account, side, amount, currency) VALUES (?, ?, ?, ?, ?, ?)",
        [
          Int64(leafIndex), position, entry.account, entry.side.rawValue, entry.money.minorUnits,
          entry.money.currency.code,
        ])
    }
  }

  package mutating func postings(leafIndex: UInt64) throws -> [Entry] {
    let rows = try all(
      "SELECT account, side, amount, currency, position FROM posting WHERE leaf_index = ? ORDER BY position",
      [Int64(clamping: leafIndex)]
    ) { row in
      let entry = Entry(
        account: row[0], side: try decoded(Entry.Side(rawValue: row[1]), "side"),
        money: Money(minorUnits: row[2], currency: try decoded(Currency(row[3]), "currency")))
      return (position: row[4] as Int, entry: entry)
    }
    return try decoded(rows.map(\.position) == Array(rows.indices) ? rows.map(\.entry) : nil, "order of postings")
  }

  private static func encoded(_ entries: [Entry]) -> [UInt8] {
    JSONValue.array(
      entries.map {
        [
          .string($0.account), .string($0.side.rawValue), .integer($0.money.minorUnits),
          .string($0.money.currency.code),
        ]
      }
    ).canonical()
  }

  private static func entries(decoding bytes: [UInt8]) throws -> [Entry] {
    let rows = try decoded(try? JSONValue(parsing: bytes).array, "hold")
    let entries = try rows.map { row in
      let fields = try decoded(row.array.flatMap { $0.count == 4 ? $0 : nil }, "hold")
      return Entry(
        account: try decoded(fields[0].string, "hold"),
        side: try decoded(fields[1].string.flatMap(Entry.Side.init(rawValue:)), "hold"),
        money: Money(
          minorUnits: try decoded(fields[2].integer, "hold"),
          currency: try decoded(fields[3].string.flatMap { Currency($0) }, "hold")))
    }
    return try decoded(encoded(entries) == bytes ? entries : nil, "hold")
  }
}
