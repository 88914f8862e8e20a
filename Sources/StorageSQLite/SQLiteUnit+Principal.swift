package import AgentIdentity
import Wire

extension SQLiteUnit: PrincipalStore {
  package mutating func principal(id: String) throws -> Principal? {
    try first("SELECT * FROM principal WHERE id = ?", [id], Self.principal)
  }

  package mutating func principal(thumbprint: String) throws -> Principal? {
    try first("SELECT * FROM principal WHERE thumbprint = ?", [thumbprint], Self.principal)
  }

  package mutating func principals(_ kind: Principal.Kind) throws -> [Principal] {
    try all("SELECT * FROM principal WHERE kind = ? ORDER BY id", [kind.rawValue], Self.principal)
  }

  /// Every principal, by identifier.
  package func principals() throws -> [Principal] {
    try all("SELECT * FROM principal ORDER BY id", [], Self.principal)
  }

  private static func principal(_ row: SQLRow) throws -> Principal {
    Principal(
      id: row[0], kind: try decoded(Principal.Kind(rawValue: row[1]), "principal kind"), tenant: row[2], owner: row[3],
      thumbprint: row[4], key: row[5],
      status: try decoded(Principal.Status(rawValue: row[6]), "principal status"),
      enrolmentIndex: try unsigned(row[7], "enrolment index"), since: Timestamp(milliseconds: row[8]))
  }

  package mutating func insert(_ principal: Principal) throws {
    try run(
      """
      INSERT INTO principal (id, kind, tenant, owner, thumbprint, key, status, enrolment_index, since)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        principal.id, principal.kind.rawValue, principal.tenant, principal.owner, principal.thumbprint,
        principal.key, principal.status.rawValue, Int64(principal.enrolmentIndex), principal.since.milliseconds,
      ])
  }

  package mutating func update(_ principal: Principal) throws {
    try runOnce(
      "UPDATE principal SET status = ?, enrolment_index = ?, since = ? WHERE id = ?",
      [
        principal.status.rawValue, Int64(principal.enrolmentIndex), principal.since.milliseconds, principal.id,
      ])
  }

  package mutating func invitation(digest: [UInt8]) throws -> Invitation? {
    try first("SELECT owner, tenant FROM invitation WHERE digest = ?", [digest]) { row in
      Invitation(digest: digest, owner: row[0], tenant: row[1])
    }
  }

  package mutating func insert(_ invitation: Invitation) throws {
    try run(
      "INSERT INTO invitation (digest, owner, tenant) VALUES (?, ?, ?)",
      [invitation.digest, invitation.owner, invitation.tenant])
  }
}
