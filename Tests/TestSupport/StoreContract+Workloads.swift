import Testing
import Wire
import WorkloadService

// What the store of workloads promises; `storeContract` runs it.

private func bytes(_ byte: UInt8, _ count: Int = 32) -> [UInt8] { [UInt8](repeating: byte, count: count) }

private func entry(
  _ id: String, _ sequence: UInt64, _ fingerprint: UInt8?, leaf: UInt64 = 5, created: UInt64 = 1
) -> EntryRow {
  EntryRow(
    id: id, sequence: sequence, fingerprint: fingerprint.map { bytes($0) },
    selectors: fingerprint.map { bytes($0, 48) } ?? [], document: fingerprint.map { bytes($0, 300) } ?? [],
    leafIndex: leaf, created: created)
}

func registrationContract(_ unit: inout some WorkloadStore) throws {
  let (none, last, count) = try (unit.entry("a"), unit.lastEntrySequence(), unit.entryCount())
  #expect(none == nil && last == 0 && count == 0)
  let (a, b) = (entry("a", 1, 1), entry("b", 2, 2))
  try unit.put(a)
  try unit.put(b)
  // Fingerprints and sequence numbers are an entry's own.
  refuses { try unit.put(entry("c", 3, 1)) }
  refuses { try unit.put(entry("a", 3, 2)) }
  refuses { try unit.put(entry("c", 2, 3)) }
  refuses { try unit.put(entry("a", 2, 1)) }
  let (found, other, nobody, unknown) = try (
    unit.entry("a"), unit.entry(fingerprint: bytes(2)), unit.entry("c"), unit.entry(fingerprint: bytes(9))
  )
  #expect(found == a && other == b && nobody == nil && unknown == nil)
  // The same again, then two that exchange their fingerprints by way of none.
  try unit.put(b)
  var gone = a
  gone.fingerprint = nil
  try unit.put(gone)
  try unit.put(entry("b", 3, 1, leaf: 6, created: 2))
  try unit.put(entry("a", 4, 2, leaf: 6))
  let (first, second, newest) = try (
    unit.entry(fingerprint: bytes(1)), unit.entry(fingerprint: bytes(2)), unit.lastEntrySequence()
  )
  #expect(first == entry("b", 3, 1, leaf: 6, created: 2) && second == entry("a", 4, 2, leaf: 6) && newest == 4)
  // One that is deleted stays, and lets its fingerprint go.
  let deleted = entry("a", UInt64(Int64.max) - 1, nil, leaf: UInt64(Int64.max))
  try unit.put(deleted)
  try unit.put(entry("c", 7, 2))
  let (kept, moved, left, end) = try (
    unit.entry("a"), unit.entry(fingerprint: bytes(2)), unit.entryCount(), unit.lastEntrySequence()
  )
  #expect(kept == deleted && moved?.id == "c" && left == 2 && end == UInt64(Int64.max) - 1)
}

func registrationPageContract(_ unit: inout some WorkloadStore) throws {
  let rows = [entry("d", 1, 1), entry("b", 2, 2), entry("c", 4, nil), entry("a", 9, 3), entry("e", 10, nil)]
  for row in rows { try unit.put(row) }
  let changes = try [(0, 10), (0, 2), (1, 2), (4, 10), (10, 10), (UInt64.max, 10)].map { sequence, limit in
    try unit.entries(changedAfter: sequence, limit: limit)
  }
  #expect(changes == [rows, Array(rows[0...1]), Array(rows[1...2]), Array(rows[3...]), [], []])
  let pages = try [("", 10), ("", 2), ("a", 1), ("bb", 9), ("d", 9)].map { after, limit in
    try unit.entries(after: after, limit: limit).map(\.id)
  }
  #expect(pages == [["a", "b", "d"], ["a", "b"], ["b"], ["d"], []])
  var seen: [String: [UInt8]] = [:]
  try unit.eachEntry { id, selectors in
    #expect(seen.updateValue(selectors, forKey: id) == nil)
  }
  #expect(seen == ["a": bytes(3, 48), "b": bytes(2, 48), "d": bytes(1, 48)])
  refuses { try unit.eachEntry { _, _ in throw CancellationError() } }
  let count = try unit.entryCount()
  #expect(count == 3)
}

func authorityContract(_ unit: inout some WorkloadStore) throws {
  func authority(
    _ id: String, leaf: UInt64, _ kind: AuthorityKind = .x509, _ state: AuthorityRow.State = .prepared,
    chain: [[UInt8]] = []
  ) -> AuthorityRow {
    AuthorityRow(
      id: id, kind: kind, slot: .b, state: state, publicKey: bytes(4, 65), chain: chain, root: bytes(5, 500),
      request: bytes(6), notBefore: Timestamp(milliseconds: 7), notAfter: Timestamp(milliseconds: 8), leafIndex: leaf,
      changeIndex: leaf)
  }
  let chains: [[[UInt8]]] = [[], [bytes(1, 1)], [bytes(1, 700), bytes(2, 255), bytes(3, 65_536)]]
  for (number, chain) in chains.enumerated() {
    try unit.insert(authority("x\(number)", leaf: UInt64(9 - number), chain: chain))
  }
  try unit.insert(authority("j", leaf: 1, .jwt))
  refuses { try unit.insert(authority("x0", leaf: 20, .jwt)) }
  refuses { try unit.update(authority("nobody", leaf: 1)) }
  let (x509, jwt, rs256) = try (unit.authorities(.x509), unit.authorities(.jwt), unit.authorities(.jwtRS256))
  #expect(x509.map(\.id) == ["x2", "x1", "x0"] && x509.map(\.chain) == chains.reversed())
  #expect(jwt == [authority("j", leaf: 1, .jwt)] && rs256 == [])
  for state in AuthorityRow.State.allCases {
    // What an update does not name stays.
    var changed = AuthorityRow(
      id: "x1", kind: .jwt, slot: .a, state: state, publicKey: [], chain: chains[2], root: [], request: [],
      notBefore: Timestamp(milliseconds: 0), notAfter: Timestamp(milliseconds: .max), leafIndex: 0, changeIndex: 77)
    try unit.update(changed)
    let found = try unit.authority("x1")
    let before = x509[1]
    changed = AuthorityRow(
      id: "x1", kind: before.kind, slot: before.slot, state: state, publicKey: before.publicKey, chain: chains[2],
      root: [], request: before.request, notBefore: before.notBefore, notAfter: changed.notAfter,
      leafIndex: before.leafIndex, changeIndex: 77)
    #expect(found == changed, "\(state)")
  }
  let absent = try unit.authority("nobody")
  #expect(absent == nil)
}

func authorityOrderContract(_ unit: inout some WorkloadStore) throws {
  func order(_ leaf: UInt64, _ action: AuthorityOrder.Action, _ isPending: Bool = true) -> AuthorityOrder {
    AuthorityOrder(leafIndex: leaf, kind: .jwtRS256, action: action, isPending: isPending)
  }
  for one in [order(9, .prepare), order(3, .request), order(5, .rotate), order(1, .rotate, false)] {
    try unit.insert(one)
  }
  refuses { try unit.insert(order(9, .rotate)) }
  refuses { try unit.update(order(77, .rotate)) }
  var waiting = try unit.pendingAuthorityOrders()
  #expect(waiting == [order(3, .request), order(5, .rotate), order(9, .prepare)])
  try unit.update(AuthorityOrder(leafIndex: 5, kind: .x509, action: .prepare, isPending: false))
  try unit.update(order(1, .rotate))
  waiting = try unit.pendingAuthorityOrders()
  #expect(waiting == [order(1, .rotate), order(3, .request), order(9, .prepare)])
}

func issuanceContract(_ unit: inout some WorkloadStore) throws {
  let rows = [("0a", SVIDKind.x509), ("0a", .jwt), ("0b", .x509)].enumerated().map { number, name in
    IssuanceRow(kind: name.1, id: name.0, leafIndex: UInt64(number) + 7)
  }
  for row in rows { try unit.insert(row) }
  refuses { try unit.insert(rows[0]) }
  refuses { try unit.insert(IssuanceRow(kind: .jwt, id: "0a", leafIndex: 99)) }
  let found = try rows.map { row in try unit.issuance(row.kind, row.id) }
  let absent = try unit.issuance(.jwt, "0b")
  #expect(found == rows && absent == nil)
}

func revocationContract(_ unit: inout some WorkloadStore) throws {
  func revocation(_ id: String, _ expires: Int64, leaf: UInt64, _ kind: SVIDKind = .x509) -> RevocationRow {
    RevocationRow(kind: kind, id: id, expires: Timestamp(milliseconds: expires), leafIndex: leaf)
  }
  let rows = [revocation("0c", 100, leaf: 1), revocation("0a", 50, leaf: 2), revocation("0b", 70, leaf: 3)]
  for row in [rows[2], rows[0], rows[1], revocation("0a", 60, leaf: 4, .jwt)] { try unit.insert(row) }
  refuses { try unit.insert(revocation("0a", 99, leaf: 9)) }
  let present = try [0, 49, 50, 70, 100].map { now in
    try unit.revocations(.x509, at: Timestamp(milliseconds: now))
  }
  #expect(present == [rows, rows, [rows[0], rows[2]], [rows[0]], []])
  let (found, token, absent, noToken) = try (
    unit.revocation(.x509, "0a"), unit.revocation(.jwt, "0a"), unit.revocation(.x509, "ff"),
    unit.revocation(.jwt, "0b")
  )
  #expect(found == rows[1] && token?.leafIndex == 4 && absent == nil && noToken == nil)

  func list(_ issuer: String, _ byte: UInt8, leaf: UInt64) -> RevocationListRow {
    RevocationListRow(
      issuer: issuer, list: bytes(byte, 90_000), nextUpdate: Timestamp(milliseconds: Int64(byte)), leafIndex: leaf)
  }
  var lists = try unit.revocationLists()
  #expect(lists == [])
  for one in [list("root", 1, leaf: 1), list("aut_b", 2, leaf: 2), list("root", 3, leaf: 4)] { try unit.put(one) }
  lists = try unit.revocationLists()
  #expect(lists == [list("aut_b", 2, leaf: 2), list("root", 3, leaf: 4)])
}

func federationContract(_ unit: inout some WorkloadStore) throws {
  func federation(_ domain: String, _ byte: UInt8, bundle: [UInt8] = []) -> FederationRow {
    FederationRow(trustDomain: domain, terms: bytes(byte), bundle: bundle, leafIndex: UInt64(byte))
  }
  for row in [federation("b", 1), federation("a", 2, bundle: bytes(1, 70_000)), federation("c", 3)] {
    try unit.put(row)
  }
  try unit.put(federation("b", 4, bundle: bytes(2)))
  try unit.deleteFederation("c")
  refuses { try unit.deleteFederation("c") }
  let (all, found, absent) = try (unit.federations(), unit.federation("b"), unit.federation("c"))
  #expect(all == [federation("a", 2, bundle: bytes(1, 70_000)), federation("b", 4, bundle: bytes(2))])
  #expect(found == federation("b", 4, bundle: bytes(2)) && absent == nil)
}
