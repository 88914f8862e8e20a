package import Consent
import Ledger
package import Policy
import Wire

extension SQLiteUnit: PolicyStore {
  package mutating func policy(tenant: String) throws -> PolicyVersion? {
    let documents = documents
    return try first("SELECT * FROM policy WHERE tenant = ? ORDER BY version DESC LIMIT 1", [tenant]) { row in
      try Self.policy(row, documents)
    }
  }

  /// Every policy that is or was in force, by tenant and version.
  package func policies() throws -> [PolicyVersion] {
    try all("SELECT * FROM policy ORDER BY tenant, version", []) { try Self.policy($0, documents) }
  }

  private static func policy(_ row: SQLRow, _ documents: Documents) throws -> PolicyVersion {
    let policy = try documents.policy(row[0], row[3]) { bytes in
      try decoding(bytes, "policy", { try PolicyDocument($0) }, { .object($0.json) })
    }
    return PolicyVersion(
      tenant: row[0], document: try decoded(policy.version == row[1] ? policy : nil, "policy version"),
      leafIndex: try unsigned(row[2], "leaf index"))
  }

  package mutating func insert(_ policy: PolicyVersion) throws {
    try run(
      "INSERT INTO policy (tenant, version, leaf_index, document) VALUES (?, ?, ?, ?)",
      [policy.tenant, policy.document.version, Int64(policy.leafIndex), document(policy.document.json)])
  }
}

extension SQLiteUnit: ConsentStore {
  package mutating func consent(_ id: String) throws -> ConsentRecord? {
    let documents = documents
    return try first(
      """
      SELECT v.terms, v.leaf_index, c.status, c.owner, v.consent, v.version FROM consent c
      JOIN consent_version v ON v.consent = c.id AND v.version = c.version WHERE c.id = ?
      """, [id]
    ) { try Self.consent($0, documents) }
  }

  package mutating func consents(owner: String) throws -> [ConsentRecord] {
    let documents = documents
    return try all(
      """
      SELECT v.terms, v.leaf_index, c.status, c.owner, v.consent, v.version FROM consent c
      JOIN consent_version v ON v.consent = c.id AND v.version = c.version WHERE c.owner = ? ORDER BY c.id
      """, [owner]
    ) { try Self.consent($0, documents) }
  }

  private static func consent(_ row: SQLRow, _ documents: Documents) throws -> ConsentRecord {
    let terms = try terms(row[0], consent: row[4], version: row[5], documents)
    return ConsentRecord(
      terms: try decoded(terms.owner == row[3] ? terms : nil, "owner of a consent"),
      leafIndex: try unsigned(row[1], "leaf index"),
      status: try decoded(ConsentRecord.Status(rawValue: row[2]), "consent status"))
  }

  package mutating func consent(_ id: String, version: Int) throws -> (terms: ConsentTerms, leafIndex: UInt64)? {
    let documents = documents
    return try first(
      "SELECT terms, leaf_index, consent, version FROM consent_version WHERE consent = ? AND version = ?",
      [id, version]
    ) { try Self.version($0, documents) }
  }

  /// Every version of every consent.
  package func consentVersions() throws -> [(terms: ConsentTerms, leafIndex: UInt64)] {
    try all("SELECT terms, leaf_index, consent, version FROM consent_version ORDER BY consent, version", []) {
      try Self.version($0, documents)
    }
  }

  private static func version(
    _ row: SQLRow, _ documents: Documents
  ) throws -> (terms: ConsentTerms, leafIndex: UInt64) {
    (try terms(row[0], consent: row[2], version: row[3], documents), try unsigned(row[1], "leaf index"))
  }

  /// Destinations were judged when the terms were signed, by the rules of that time.
  private static func terms(
    _ bytes: [UInt8], consent id: String, version: Int, _ documents: Documents
  ) throws -> ConsentTerms {
    let terms = try? documents.terms(id, bytes) { try ConsentTerms(canonical: $0) { (_, _) throws(Problem) in } }
    return try decoded(terms.flatMap { $0.id == id && $0.version == version ? $0 : nil }, "consent")
  }

  package mutating func insert(_ record: ConsentRecord) throws {
    let terms = record.terms
    try run(
      "INSERT INTO consent_version (consent, version, leaf_index, terms) VALUES (?, ?, ?, ?)",
      [terms.id, terms.version, Int64(record.leafIndex), document(terms.json)])
    try run(
      """
      INSERT INTO consent (id, owner, version, status) VALUES (?, ?, ?, ?)
      ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, version = excluded.version, status = excluded.status
      """, [terms.id, terms.owner, terms.version, record.status.rawValue])
  }

  package mutating func setStatus(_ status: ConsentRecord.Status, ofConsent id: String) throws {
    try runOnce("UPDATE consent SET status = ? WHERE id = ?", [status.rawValue, id])
  }

  package mutating func sourceAccount(_ id: String) throws -> SourceAccount? {
    try account(id).map { SourceAccount(tenant: $0.tenant, owner: $0.owner, currency: $0.currency) }
  }

  package mutating func putUnderConsent(account id: String) throws {
    try runOnce("UPDATE account SET under_consent = 1 WHERE id = ?", [id])
  }
}
