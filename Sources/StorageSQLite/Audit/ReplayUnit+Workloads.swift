package import Wire
package import WorkloadService

// MARK: - Entries

extension ReplayStore {
  package func entry(_ id: String) -> EntryRow? { tables.registrations[id] }

  package func entry(fingerprint: [UInt8]) -> EntryRow? {
    tables.fingerprints[fingerprint].flatMap { tables.registrations[$0] }
  }

  package func entries(changedAfter sequence: UInt64, limit: Int) -> [EntryRow] {
    Array(
      tables.registrations.values.filter { $0.sequence > sequence }.sorted { $0.sequence < $1.sequence }.prefix(limit))
  }

  package func entries(after id: String, limit: Int) -> [EntryRow] {
    Array(
      tables.registrations.values.filter { $0.isPresent && $0.id > id }.sorted { $0.id < $1.id }.prefix(limit))
  }

  package func eachEntry(_ body: (String, [UInt8]) throws -> Void) throws {
    for row in tables.registrations.values where row.isPresent { try body(row.id, row.selectors) }
  }

  package func entryCount() -> Int { tables.registrations.values.count(where: \.isPresent) }

  package func lastEntrySequence() -> UInt64 { tables.newestSequence }

  package mutating func put(_ entry: EntryRow) throws {
    let before = tables.registrations[entry.id]
    guard tables.sequences[entry.sequence] ?? entry.id == entry.id,
      entry.fingerprint.flatMap({ tables.fingerprints[$0] }) ?? entry.id == entry.id
    else { throw StorageError("the entry's fingerprint or sequence number is another's") }
    if let before {
      tables.sequences[before.sequence] = nil
      if let fingerprint = before.fingerprint { tables.fingerprints[fingerprint] = nil }
    }
    tables.registrations[entry.id] = entry
    tables.sequences[entry.sequence] = entry.id
    if let fingerprint = entry.fingerprint { tables.fingerprints[fingerprint] = entry.id }
    if entry.sequence >= tables.newestSequence {
      tables.newestSequence = entry.sequence
    } else if before?.sequence == tables.newestSequence {
      tables.newestSequence = tables.sequences.keys.max() ?? 0
    }
  }
}

extension EntryRow {
  /// Whether it is not deleted.
  var isPresent: Bool { !selectors.isEmpty }
}

// MARK: - Authorities

extension ReplayStore {
  package func authority(_ id: String) -> AuthorityRow? { tables.authorities[id] }

  package func authorities(_ kind: AuthorityKind) -> [AuthorityRow] {
    tables.authorities.values.filter { $0.kind == kind }.sorted { $0.leafIndex < $1.leafIndex }
  }

  package mutating func insert(_ authority: AuthorityRow) throws {
    try tables.authorities.add(authority, at: authority.id, "authority")
  }

  package mutating func update(_ authority: AuthorityRow) throws {
    try tables.authorities.change(authority.id, "authority") {
      ($0.state, $0.changeIndex) = (authority.state, authority.changeIndex)
      ($0.chain, $0.root, $0.notAfter) = (authority.chain, authority.root, authority.notAfter)
    }
  }

  package func pendingAuthorityOrders() -> [AuthorityOrder] {
    tables.authorityOrders.values.filter(\.isPending).sorted { $0.leafIndex < $1.leafIndex }
  }

  package mutating func insert(_ order: AuthorityOrder) throws {
    try tables.authorityOrders.add(order, at: order.leafIndex, "order about an authority")
  }

  package mutating func update(_ order: AuthorityOrder) throws {
    try tables.authorityOrders.change(order.leafIndex, "order about an authority") { $0.isPending = order.isPending }
  }
}

// MARK: - Issuances, revocations and federations

extension ReplayStore {
  package func issuance(_ kind: SVIDKind, _ id: String) -> IssuanceRow? {
    tables.issuances[.init(first: kind.rawValue, second: id)]
  }

  package mutating func insert(_ issuance: IssuanceRow) throws {
    try tables.issuances.add(
      issuance, at: .init(first: issuance.kind.rawValue, second: issuance.id), "issuance")
  }

  package func revocations(_ kind: SVIDKind, at now: Timestamp) -> [RevocationRow] {
    tables.revocations.values.filter { $0.kind == kind && now < $0.expires }.sorted { $0.leafIndex < $1.leafIndex }
  }

  package func revocation(_ kind: SVIDKind, _ id: String) -> RevocationRow? {
    tables.revocations[.init(first: kind.rawValue, second: id)]
  }

  package mutating func insert(_ revocation: RevocationRow) throws {
    try tables.revocations.add(
      revocation, at: .init(first: revocation.kind.rawValue, second: revocation.id), "revocation")
  }

  package func revocationLists() -> [RevocationListRow] {
    tables.revocationLists.values.sorted { $0.issuer < $1.issuer }
  }

  package mutating func put(_ list: RevocationListRow) { tables.revocationLists[list.issuer] = list }

  package func federations() -> [FederationRow] {
    tables.federations.values.sorted { $0.trustDomain < $1.trustDomain }
  }

  package func federation(_ trustDomain: String) -> FederationRow? { tables.federations[trustDomain] }

  package mutating func put(_ federation: FederationRow) { tables.federations[federation.trustDomain] = federation }

  package mutating func deleteFederation(_ trustDomain: String) throws {
    guard tables.federations.removeValue(forKey: trustDomain) != nil else {
      throw StorageError("there is no such federation")
    }
  }
}
