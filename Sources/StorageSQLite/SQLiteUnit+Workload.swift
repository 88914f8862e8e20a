package import Wire
package import WorkloadService

extension SQLiteUnit: WorkloadStore {
  // MARK: - Entries

  package mutating func entry(_ id: String) throws -> EntryRow? {
    try first("SELECT * FROM entry WHERE id = ?", [id], Self.registration)
  }

  package mutating func entry(fingerprint: [UInt8]) throws -> EntryRow? {
    try first("SELECT * FROM entry WHERE fingerprint = ?", [fingerprint], Self.registration)
  }

  package mutating func entries(changedAfter sequence: UInt64, limit: Int) throws -> [EntryRow] {
    try all(
      "SELECT * FROM entry WHERE sequence > ? ORDER BY sequence LIMIT ?", [Int64(clamping: sequence), limit],
      Self.registration)
  }

  package mutating func entries(after id: String, limit: Int) throws -> [EntryRow] {
    try all(
      "SELECT * FROM entry WHERE id > ? AND selectors <> x'' ORDER BY id LIMIT ?", [id, limit],
      Self.registration)
  }

  /// From an index of its own, which is a fraction of the table; it begins with the leaf, so that new entries are
  /// appended to it.
  package mutating func eachEntry(_ body: (String, [UInt8]) throws -> Void) throws {
    try each("SELECT id, selectors FROM entry INDEXED BY entry_present WHERE selectors <> x''", []) {
      try body($0[0], $0[1])
    }
  }

  package mutating func entryCount() throws -> Int {
    try first("SELECT count(*) FROM entry INDEXED BY entry_present WHERE selectors <> x''", []) { $0[0] } ?? 0
  }

  package mutating func lastEntrySequence() throws -> UInt64 {
    try first("SELECT sequence FROM entry ORDER BY sequence DESC LIMIT 1", []) {
      try unsigned($0[0], "sequence number")
    } ?? 0
  }

  /// Every entry, in the order of the changes.
  func registrations() throws -> [EntryRow] { try all("SELECT * FROM entry ORDER BY sequence", [], Self.registration) }

  private static func registration(_ row: SQLRow) throws -> EntryRow {
    EntryRow(
      id: row[1], sequence: try unsigned(row[0], "sequence number"), fingerprint: row[2], selectors: row[3],
      document: row[4], leafIndex: try unsigned(row[5], "leaf index"),
      created: try unsigned(row[6], "sequence number"))
  }

  package mutating func put(_ entry: EntryRow) throws {
    try run(
      """
      INSERT INTO entry (sequence, id, fingerprint, selectors, document, leaf_index, created)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (id) DO UPDATE
        SET sequence = excluded.sequence, fingerprint = excluded.fingerprint, selectors = excluded.selectors,
          document = excluded.document, leaf_index = excluded.leaf_index, created = excluded.created
      """,
      [
        try signed(entry.sequence), entry.id, entry.fingerprint, entry.selectors, entry.document,
        try signed(entry.leafIndex), try signed(entry.created),
      ])
  }

  // MARK: - Authorities

  package mutating func authority(_ id: String) throws -> AuthorityRow? {
    try first("SELECT * FROM authority WHERE id = ?", [id], Self.authority)
  }

  package mutating func authorities(_ kind: AuthorityKind) throws -> [AuthorityRow] {
    try all("SELECT * FROM authority WHERE kind = ? ORDER BY leaf_index", [kind.rawValue], Self.authority)
  }

  /// Every authority, by leaf.
  func authorities() throws -> [AuthorityRow] {
    try all("SELECT * FROM authority ORDER BY leaf_index", [], Self.authority)
  }

  private static func authority(_ row: SQLRow) throws -> AuthorityRow {
    AuthorityRow(
      id: row[0], kind: try decoded(AuthorityKind(rawValue: row[1]), "kind of authority"),
      slot: try decoded(AuthoritySlot(rawValue: row[2]), "slot of an authority"),
      state: try decoded(AuthorityRow.State(rawValue: row[3]), "state of an authority"), publicKey: row[4],
      chain: try decoded(CertificateList.decode(row[5]), "chain of an authority"), root: row[6], request: row[7],
      notBefore: Timestamp(milliseconds: row[8]), notAfter: Timestamp(milliseconds: row[9]),
      leafIndex: try unsigned(row[10], "leaf index"), changeIndex: try unsigned(row[11], "leaf index"))
  }

  package mutating func insert(_ authority: AuthorityRow) throws {
    try run(
      """
      INSERT INTO authority
        (id, kind, slot, state, public_key, chain, root, request, not_before, not_after, leaf_index, change_index)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        authority.id, authority.kind.rawValue, authority.slot.rawValue, authority.state.rawValue, authority.publicKey,
        CertificateList.encode(authority.chain), authority.root, authority.request, authority.notBefore.milliseconds,
        authority.notAfter.milliseconds, try signed(authority.leafIndex), try signed(authority.changeIndex),
      ])
  }

  package mutating func update(_ authority: AuthorityRow) throws {
    try runOnce(
      "UPDATE authority SET state = ?, chain = ?, root = ?, not_after = ?, change_index = ? WHERE id = ?",
      [
        authority.state.rawValue, CertificateList.encode(authority.chain), authority.root,
        authority.notAfter.milliseconds, try signed(authority.changeIndex), authority.id,
      ])
  }

  package mutating func pendingAuthorityOrders() throws -> [AuthorityOrder] {
    try all("SELECT * FROM authority_order WHERE pending = 1 ORDER BY leaf_index", [], Self.authorityOrder)
  }

  /// Every order, by leaf.
  func authorityOrders() throws -> [AuthorityOrder] {
    try all("SELECT * FROM authority_order ORDER BY leaf_index", [], Self.authorityOrder)
  }

  private static func authorityOrder(_ row: SQLRow) throws -> AuthorityOrder {
    AuthorityOrder(
      leafIndex: try unsigned(row[0], "leaf index"),
      kind: try decoded(AuthorityKind(rawValue: row[1]), "kind of authority"),
      action: try decoded(AuthorityOrder.Action(rawValue: row[2]), "order about an authority"),
      isPending: try flag(row[3], "order about an authority"))
  }

  package mutating func insert(_ order: AuthorityOrder) throws {
    try run(
      "INSERT INTO authority_order (leaf_index, kind, action, pending) VALUES (?, ?, ?, ?)",
      [try signed(order.leafIndex), order.kind.rawValue, order.action.rawValue, order.isPending ? 1 : 0])
  }

  package mutating func update(_ order: AuthorityOrder) throws {
    try runOnce(
      "UPDATE authority_order SET pending = ? WHERE leaf_index = ?",
      [order.isPending ? 1 : 0, Int64(clamping: order.leafIndex)])
  }

  // MARK: - Issuances and revocations

  package mutating func issuance(_ kind: SVIDKind, _ id: String) throws -> IssuanceRow? {
    try first("SELECT leaf_index FROM issuance WHERE kind = ? AND id = ?", [kind.rawValue, id]) { row in
      IssuanceRow(kind: kind, id: id, leafIndex: try unsigned(row[0], "leaf index"))
    }
  }

  package mutating func insert(_ issuance: IssuanceRow) throws {
    try run(
      "INSERT INTO issuance (kind, id, leaf_index) VALUES (?, ?, ?)",
      [issuance.kind.rawValue, issuance.id, try signed(issuance.leafIndex)])
  }

  package mutating func revocations(_ kind: SVIDKind, at now: Timestamp) throws -> [RevocationRow] {
    try all(
      "SELECT * FROM revocation WHERE kind = ? AND expires > ? ORDER BY leaf_index", [kind.rawValue, now.milliseconds],
      Self.revocation)
  }

  package mutating func revocation(_ kind: SVIDKind, _ id: String) throws -> RevocationRow? {
    try first("SELECT * FROM revocation WHERE kind = ? AND id = ?", [kind.rawValue, id], Self.revocation)
  }

  /// Every revocation, by leaf.
  func revocations() throws -> [RevocationRow] {
    try all("SELECT * FROM revocation ORDER BY leaf_index", [], Self.revocation)
  }

  private static func revocation(_ row: SQLRow) throws -> RevocationRow {
    RevocationRow(
      kind: try decoded(SVIDKind(rawValue: row[0]), "kind of revocation"), id: row[1],
      expires: Timestamp(milliseconds: row[2]), leafIndex: try unsigned(row[3], "leaf index"))
  }

  package mutating func insert(_ revocation: RevocationRow) throws {
    try run(
      "INSERT INTO revocation (kind, id, expires, leaf_index) VALUES (?, ?, ?, ?)",
      [
        revocation.kind.rawValue, revocation.id, revocation.expires.milliseconds, try signed(revocation.leafIndex),
      ])
  }

  package func revocationLists() throws -> [RevocationListRow] {
    try all("SELECT * FROM revocation_list ORDER BY issuer", []) { row in
      RevocationListRow(
        issuer: row[0], list: row[1], nextUpdate: Timestamp(milliseconds: row[2]),
        leafIndex: try unsigned(row[3], "leaf index"))
    }
  }

  package mutating func put(_ list: RevocationListRow) throws {
    try run(
      """
      INSERT INTO revocation_list (issuer, list, next_update, leaf_index) VALUES (?, ?, ?, ?)
      ON CONFLICT (issuer) DO UPDATE
        SET list = excluded.list, next_update = excluded.next_update, leaf_index = excluded.leaf_index
      """, [list.issuer, list.list, list.nextUpdate.milliseconds, try signed(list.leafIndex)])
  }

  // MARK: - Federations

  package func federations() throws -> [FederationRow] {
    try all("SELECT * FROM federation ORDER BY trust_domain", [], Self.federation)
  }

  package mutating func federation(_ trustDomain: String) throws -> FederationRow? {
    try first("SELECT * FROM federation WHERE trust_domain = ?", [trustDomain], Self.federation)
  }

  private static func federation(_ row: SQLRow) throws -> FederationRow {
    FederationRow(trustDomain: row[0], terms: row[1], bundle: row[2], leafIndex: try unsigned(row[3], "leaf index"))
  }

  package mutating func put(_ federation: FederationRow) throws {
    try run(
      """
      INSERT INTO federation (trust_domain, terms, bundle, leaf_index) VALUES (?, ?, ?, ?)
      ON CONFLICT (trust_domain) DO UPDATE
        SET terms = excluded.terms, bundle = excluded.bundle, leaf_index = excluded.leaf_index
      """, [federation.trustDomain, federation.terms, federation.bundle, try signed(federation.leafIndex)])
  }

  package mutating func deleteFederation(_ trustDomain: String) throws {
    try runOnce("DELETE FROM federation WHERE trust_domain = ?", [trustDomain])
  }
}

/// An index or a sequence number, none of which comes near the end of SQLite's integers.
private func signed(_ value: UInt64) throws -> Int64 {
  guard let value = Int64(exactly: value) else { throw StorageError("a number is beyond what the database holds") }
  return value
}

/// Certificates in one blob, each behind its length in four bytes, big-endian.
package enum CertificateList {
  /// The blob of certificates.
  package static func encode(_ certificates: [[UInt8]]) -> [UInt8] {
    certificates.flatMap { der in
      stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: der.count >> $0) } + der
    }
  }

  /// What ``encode(_:)`` made of certificates, none of which is empty; nil for anything else.
  package static func decode(_ bytes: [UInt8]) -> [[UInt8]]? {
    var certificates: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
      guard rest.count >= 4, length > 0, rest.count - 4 >= length else { return nil }
      certificates.append(Array(rest.dropFirst(4).prefix(length)))
      rest = rest.dropFirst(4 + length)
    }
    return certificates
  }
}
