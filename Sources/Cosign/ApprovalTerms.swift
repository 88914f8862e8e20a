import Crypto
public import Wire

/// All that an approver's signature binds: the assertion's challenge is the hash of these terms.
public struct ApprovalTerms: Sendable, Equatable {
  /// What the approver decided.
  public enum Decision: String, Sendable, CaseIterable {
    /// The command may go ahead.
    case approve
    /// It may not.
    case decline
  }

  /// Random bytes, new for each approver; 32 bytes.
  public let nonce: [UInt8]
  /// Who is asked: the person that the credential belongs to.
  public let approver: String
  /// The version of the group at which the roster was taken; from 1.
  public let groupVersion: Int64
  /// SHA-256 over the command; 32 bytes.
  public let commandDigest: [UInt8]
  /// SHA-256 over the consent; 32 bytes.
  public let consentDigest: [UInt8]
  /// The policy's name and version, as in `policy/3`.
  public let policyVersion: String
  /// The decision.
  public let decision: Decision
  /// SHA-256 over what the approver was shown; 32 bytes.
  public let statementDigest: [UInt8]
  /// What rendered the statement.
  public let rendererVersion: String
  /// The language that it was rendered in, as a BCP 47 tag.
  public let locale: String
  /// When the question lapses.
  public let expiry: Timestamp

  /// States the terms.
  /// - Throws: ``CosignError/Code-swift.struct/terms`` where a part has not the form described above.
  public init(
    nonce: [UInt8], approver: String, groupVersion: Int64, commandDigest: [UInt8], consentDigest: [UInt8],
    policyVersion: String, decision: Decision, statementDigest: [UInt8], rendererVersion: String, locale: String,
    expiry: Timestamp
  ) throws(CosignError) {
    self.nonce = nonce
    self.approver = approver
    self.groupVersion = groupVersion
    self.commandDigest = commandDigest
    self.consentDigest = consentDigest
    self.policyVersion = policyVersion
    self.decision = decision
    self.statementDigest = statementDigest
    self.rendererVersion = rendererVersion
    self.locale = locale
    self.expiry = expiry
    // One set of rules: what is written must be what would be read.
    _ = try ApprovalTerms(.object(json))
  }

  /// Reads the terms; each member must be there and no other.
  /// - Throws: ``CosignError/Code-swift.struct/terms``.
  public init(_ json: JSONValue) throws(CosignError) {
    let decided: String
    do throws(JSONError) {
      var reader = try ObjectReader(json, "the approval's terms")
      nonce = try reader.base64URL("nonce", count: 32)
      approver = try reader.string("approver", maximumBytes: 64)
      groupVersion = try reader.integer("group_version", in: 1...JSONValue.greatestInteger)
      commandDigest = try reader.base64URL("command_digest", count: 32)
      consentDigest = try reader.base64URL("consent_digest", count: 32)
      policyVersion = try reader.string("policy_version", maximumBytes: 64)
      decided = try reader.string("decision")
      statementDigest = try reader.base64URL("statement_digest", count: 32)
      rendererVersion = try reader.string("renderer_version", maximumBytes: 64)
      locale = try reader.string("locale", maximumBytes: 35)
      expiry = Timestamp(milliseconds: try reader.integer("expiry", in: 0...JSONValue.greatestInteger))
      try reader.finish()
    } catch {
      throw CosignError(.terms, error.description)
    }
    guard let decision = Decision(rawValue: decided) else {
      throw CosignError(.terms, "'decision' in the approval's terms must be approve or decline")
    }
    self.decision = decision
  }

  /// The terms as they are recorded and hashed: digests and nonce in base64url, `expiry` in milliseconds since 1970.
  public var json: JSONObject {
    [
      "nonce": .string(Base64.URL.encode(nonce)), "approver": .string(approver),
      "group_version": .integer(groupVersion), "command_digest": .string(Base64.URL.encode(commandDigest)),
      "consent_digest": .string(Base64.URL.encode(consentDigest)), "policy_version": .string(policyVersion),
      "decision": .string(decision.rawValue), "statement_digest": .string(Base64.URL.encode(statementDigest)),
      "renderer_version": .string(rendererVersion), "locale": .string(locale),
      "expiry": .integer(expiry.milliseconds),
    ]
  }

  /// What the approver's authenticator signs: SHA-256("trustcore/approval/v1" ‖ JCS of ``json``); 32 bytes.
  public var challenge: [UInt8] {
    Array(SHA256.hash(data: Array("trustcore/approval/v1".utf8) + JSONValue.object(json).canonical()))
  }
}
