package import Payments
import Rails
import Wire

// The rails' part of `PaymentStore`.
extension SQLiteUnit {
  // MARK: - Configurations

  package mutating func rail(tenant: String) throws -> ACHRail? {
    try first("SELECT * FROM rail WHERE tenant = ? ORDER BY leaf_index DESC LIMIT 1", [tenant], Self.rail)
  }

  package mutating func rail(leafIndex: UInt64) throws -> ACHRail? {
    try first("SELECT * FROM rail WHERE leaf_index = ?", [Int64(clamping: leafIndex)], Self.rail)
  }

  /// Every configuration, by leaf.
  package func rails() throws -> [ACHRail] { try all("SELECT * FROM rail ORDER BY leaf_index", [], Self.rail) }

  private static func rail(_ row: SQLRow) throws -> ACHRail {
    ACHRail(
      tenant: row[1], originator: try decoding(row[2], "originator", { try ACHOriginator(json: $0) }, { $0.json }),
      settlementAccount: row[3], bank: row[4], leafIndex: try unsigned(row[0], "leaf index"))
  }

  package mutating func insert(_ rail: ACHRail) throws {
    try run(
      "INSERT INTO rail (leaf_index, tenant, originator, settlement_account, bank) VALUES (?, ?, ?, ?, ?)",
      [Int64(rail.leafIndex), rail.tenant, rail.originator.json.canonical(), rail.settlementAccount, rail.bank])
  }

  // MARK: - Entries

  package mutating func waitingEntries(tenant: String, limit: Int) throws -> [RailEntry] {
    try all(
      "SELECT * FROM rail_entry WHERE tenant = ? AND file IS NULL ORDER BY leaf_index LIMIT ?", [tenant, limit],
      Self.entry)
  }

  package mutating func tenantsWithWaitingEntries() throws -> [String] {
    // Named, because the planner takes the index of all entries, of which ever fewer wait.
    try all(
      "SELECT DISTINCT tenant FROM rail_entry INDEXED BY rail_entry_waiting WHERE file IS NULL ORDER BY tenant", []
    ) { $0[0] }
  }

  package mutating func entry(tenant: String, trace: UInt64) throws -> RailEntry? {
    try first(
      "SELECT * FROM rail_entry WHERE tenant = ? AND trace = ? ORDER BY leaf_index DESC LIMIT 1",
      [tenant, Int64(clamping: trace)], Self.entry)
  }

  package mutating func entry(payment: String) throws -> RailEntry? {
    try first("SELECT * FROM rail_entry WHERE payment = ?", [payment], Self.entry)
  }

  package mutating func entries(tenant: String, file: Int) throws -> [RailEntry] {
    try all("SELECT * FROM rail_entry WHERE tenant = ? AND file = ? ORDER BY leaf_index", [tenant, file], Self.entry)
  }

  /// Every entry, by leaf.
  package func entries() throws -> [RailEntry] {
    try all("SELECT * FROM rail_entry ORDER BY leaf_index", [], Self.entry)
  }

  private static func entry(_ row: SQLRow) throws -> RailEntry {
    RailEntry(
      leafIndex: try unsigned(row[0], "leaf index"), payment: row[1], tenant: row[2],
      trace: try unsigned(row[3], "trace number"), railIndex: try unsigned(row[4], "leaf index"), file: row[5])
  }

  package mutating func insert(_ entry: RailEntry) throws {
    try run(
      "INSERT INTO rail_entry (leaf_index, payment, tenant, trace, rail_index, file) VALUES (?, ?, ?, ?, ?, ?)",
      [
        Int64(entry.leafIndex), entry.payment, entry.tenant, Int64(entry.trace), Int64(entry.railIndex), entry.file,
      ])
  }

  package mutating func setFile(_ number: Int, ofEntry leafIndex: UInt64) throws {
    try runOnce("UPDATE rail_entry SET file = ? WHERE leaf_index = ?", [number, Int64(leafIndex)])
  }

  // MARK: - Files

  package mutating func newestFile(tenant: String) throws -> Int {
    try first("SELECT coalesce(max(number), 0) FROM rail_file WHERE tenant = ?", [tenant]) { $0[0] } ?? 0
  }

  package mutating func file(tenant: String, number: Int) throws -> RailFile? {
    try first("SELECT * FROM rail_file WHERE tenant = ? AND number = ?", [tenant, number], Self.file)
  }

  /// Every file, by tenant and number.
  package func files() throws -> [RailFile] {
    try all("SELECT * FROM rail_file ORDER BY tenant, number", [], Self.file)
  }

  private static func file(_ row: SQLRow) throws -> RailFile {
    RailFile(
      tenant: row[0], number: row[1], created: Timestamp(milliseconds: row[2]), modifier: row[3],
      leafIndex: try unsigned(row[4], "leaf index"), railIndex: try unsigned(row[5], "leaf index"), count: row[6],
      digest: row[7])
  }

  package mutating func insert(_ file: RailFile) throws {
    try run(
      """
      INSERT INTO rail_file (tenant, number, created, modifier, leaf_index, rail_index, entries, digest)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        file.tenant, file.number, file.created.milliseconds, file.modifier, Int64(file.leafIndex),
        Int64(file.railIndex), file.count, file.digest,
      ])
  }
}
