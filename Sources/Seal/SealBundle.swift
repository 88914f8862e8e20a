public import TransparencyLog
public import Wire

/// A seal as it travels: the leaf with its content, salt and proof, and the same of the leaf that approved the
/// signer's key, unless genesis did, and of all further leaves that the evidence rests on.
public struct SealBundle: Sendable {
  /// One leaf with all that is needed to check it.
  public struct Part: Sendable {
    /// The leaf's bytes.
    public let leaf: [UInt8]
    /// The salt under which the leaf commits to the content.
    public let salt: [UInt8]
    /// The encoded ``CommandEvidence``.
    public let content: [UInt8]
    /// The inclusion proof with its checkpoint (C2SP tlog-proof).
    public let proof: TLogProof

    /// Makes a part.
    public init(leaf: [UInt8], salt: [UInt8], content: [UInt8], proof: TLogProof) {
      self.leaf = leaf
      self.salt = salt
      self.content = content
      self.proof = proof
    }

    var salted: SaltedContent { SaltedContent(salt: salt, content: content) }

    /// The part as JSON.
    public var json: JSONValue {
      [
        "leaf": .string(Base64.URL.encode(leaf)), "salt": .string(Base64.URL.encode(salt)),
        "content": .string(Base64.URL.encode(content)), "proof": .string(proof.rendered),
      ]
    }

    /// Reads what ``json`` makes.
    public init(_ value: JSONValue) throws {
      var reader = try ObjectReader(value, "a part of the seal")
      leaf = try reader.base64URL("leaf")
      salt = try reader.base64URL("salt", count: 32)
      guard let content = try? Base64.URL.decode(try reader.string("content", maximumBytes: 2 << 20)) else {
        throw CodecError("'content' must be base64url")
      }
      self.content = content
      proof = try TLogProof(parsing: try reader.string("proof", maximumBytes: 16_384))
      try reader.finish()
    }
  }

  /// The command's own leaf.
  public let sealed: Part
  /// The leaf that approved the signer's key; absent where genesis names the signer.
  public let enrolment: Part?
  /// The leaves that these refer to, and those that these refer to in turn: consents, policies, held commands,
  /// approvals, and the enrolments and invitations of whoever signed them. Each once, by index.
  public let chain: [Part]

  /// At most so many leaves in ``chain``.
  public static let maximumChain = 256

  /// Makes a bundle.
  public init(sealed: Part, enrolment: Part?, chain: [Part] = []) {
    self.sealed = sealed
    self.enrolment = enrolment
    self.chain = chain
  }

  /// The bundle as JSON.
  public var json: JSONObject {
    var object: JSONObject = ["sealed": sealed.json]
    object["enrolment"] = enrolment?.json
    if !chain.isEmpty { object["chain"] = .array(chain.map(\.json)) }
    return object
  }

  /// Reads a bundle.
  /// - Throws: `seal_missing` where there is none, `seal_malformed` where it cannot be read.
  public init(_ value: JSONValue) throws(Problem) {
    do {
      var reader = try ObjectReader(value, "the seal")
      guard let sealed = reader.optional("sealed") else {
        throw Problem(
          403, "seal_missing",
          "The ledger takes sealed commands only; submit the command to the gate and hand over its receipt.")
      }
      self.sealed = try Part(sealed)
      enrolment = try reader.optional("enrolment").map { try Part($0) }
      chain =
        try reader.optional("chain") == nil
        ? [] : reader.array("chain", limit: Self.maximumChain).map { try Part($0) }
      try reader.finish()
    } catch let problem as Problem {
      throw problem
    } catch {
      throw Problem(400, "seal_malformed", "The seal cannot be read: \(error)")
    }
  }
}
