package import Cosign
import Wire

extension SQLiteUnit: CosignStore {
  // MARK: - Credentials

  package mutating func credential(id: [UInt8]) throws -> Credential? {
    try first("SELECT * FROM credential WHERE id = ?", [id], Self.credential)
  }

  package mutating func credentials(of person: String) throws -> [Credential] {
    try all("SELECT * FROM credential WHERE person = ? ORDER BY id", [person], Self.credential)
  }

  /// Every credential, by identifier.
  package func credentials() throws -> [Credential] {
    try all("SELECT * FROM credential ORDER BY id", [], Self.credential)
  }

  package mutating func isEnrolled(publicKey: [UInt8]) throws -> Bool {
    try first("SELECT 1 FROM credential WHERE public_key = ?", [publicKey]) { _ in true } ?? false
  }

  private static func credential(_ row: SQLRow) throws -> Credential {
    Credential(
      id: row[0], person: row[1], purpose: try decoded(CredentialPurpose(rawValue: row[2]), "credential purpose"),
      publicKey: row[3], signCount: try decoded(UInt32(exactly: row[4] as Int64), "signature counter"), aaguid: row[5],
      backupEligible: try flag(row[6], "backup mark"), backupState: try flag(row[7], "backup mark"),
      enrolmentIndex: try unsigned(row[8], "enrolment index"))
  }

  package mutating func insert(_ credential: Credential) throws {
    try run(
      """
      INSERT INTO credential (id, person, purpose, public_key, sign_count, aaguid, backup_eligible, backup_state,
        enrolment_index) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        credential.id, credential.person, credential.purpose.rawValue, credential.publicKey,
        Int64(credential.signCount), credential.aaguid, credential.backupEligible ? 1 : 0,
        credential.backupState ? 1 : 0, Int64(credential.enrolmentIndex),
      ])
  }

  package mutating func setUse(signCount: UInt32, backupState: Bool, ofCredential id: [UInt8]) throws {
    try runOnce(
      "UPDATE credential SET sign_count = ?, backup_state = ? WHERE id = ?",
      [Int64(signCount), backupState ? 1 : 0, id])
  }

  // MARK: - Groups

  package mutating func group(_ id: String) throws -> ApproverGroup? {
    try first("SELECT * FROM approver_group WHERE id = ?", [id], Self.group)
  }

  package mutating func groups(of person: String) throws -> [ApproverGroup] {
    // There are few groups, and no payment waits for this answer.
    try groups().filter { $0.members.contains(person) }
  }

  /// Every group, by identifier.
  package func groups() throws -> [ApproverGroup] {
    try all("SELECT * FROM approver_group ORDER BY id", [], Self.group)
  }

  private static func group(_ row: SQLRow) throws -> ApproverGroup {
    let members = try decoding(row[4], "group", { $0.texts }, { .texts($0 ?? []) })
    return ApproverGroup(
      id: row[0], tenant: row[1], name: row[2], version: row[3], members: try decoded(members, "group"))
  }

  package mutating func insert(_ group: ApproverGroup) throws {
    try run(
      "INSERT INTO approver_group (id, tenant, name, version, members) VALUES (?, ?, ?, ?, ?)",
      [group.id, group.tenant, group.name, group.version, JSONValue.texts(group.members).canonical()])
  }

  package mutating func update(_ group: ApproverGroup) throws {
    try runOnce(
      "UPDATE approver_group SET version = ?, members = ? WHERE id = ?",
      [group.version, JSONValue.texts(group.members).canonical(), group.id])
  }

  // MARK: - Invitations

  package mutating func personInvitation(digest: [UInt8]) throws -> PersonInvitation? {
    try first("SELECT * FROM person_invitation WHERE digest = ?", [digest], Self.personInvitation)
  }

  package mutating func personInvitation(person: String) throws -> PersonInvitation? {
    try first(
      "SELECT * FROM person_invitation WHERE person = ? ORDER BY leaf_index DESC LIMIT 1", [person],
      Self.personInvitation)
  }

  /// Every invitation of a person, by identifier.
  package func personInvitations() throws -> [PersonInvitation] {
    try all("SELECT * FROM person_invitation ORDER BY id", [], Self.personInvitation)
  }

  private static func personInvitation(_ row: SQLRow) throws -> PersonInvitation {
    PersonInvitation(
      id: row[0], digest: row[1], person: row[2], kind: row[3], name: row[4], tenant: row[5], group: row[6],
      expires: Timestamp(milliseconds: row[7]), leafIndex: try unsigned(row[8], "leaf index"),
      usedIndex: try (row[9] as Int64?).map { try unsigned($0, "leaf index") })
  }

  package mutating func insert(_ invitation: PersonInvitation) throws {
    try run(
      """
      INSERT INTO person_invitation (id, digest, person, kind, name, tenant, approver_group, expires_at, leaf_index,
        used_index) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        invitation.id, invitation.digest, invitation.person, invitation.kind, invitation.name, invitation.tenant,
        invitation.group, invitation.expires.milliseconds, Int64(invitation.leafIndex),
        invitation.usedIndex.map(Int64.init),
      ])
  }

  package mutating func setUsed(_ leafIndex: UInt64, personInvitation id: String) throws {
    try runOnce("UPDATE person_invitation SET used_index = ? WHERE id = ?", [Int64(leafIndex), id])
  }
}

extension JSONValue {
  /// An array of texts.
  static func texts(_ texts: [String]) -> JSONValue { .array(texts.map { .string($0) }) }

  /// The texts of an array; nil where it is no array or holds anything else.
  var texts: [String]? {
    guard let array, case let texts = array.compactMap(\.string), texts.count == array.count else { return nil }
    return texts
  }
}
