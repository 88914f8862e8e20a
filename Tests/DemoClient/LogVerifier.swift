import AgentIdentity
import Crypto
import JOSE
import Seal
public import TransparencyLog
public import TrustCoreAPI
import Wire

/// Checks what the daemon says about its log, offline: from the log keys, and from what the client itself sent.
public struct LogVerifier: Sendable {
  let keys: [NoteVerifierKey]

  /// Trusts the log keys of a `ready.json`.
  public init(_ ready: ReadyFile) throws { keys = try ready.logKeys.map { try NoteVerifierKey(vkey: $0) } }

  /// Verifies a checkpoint's signature.
  public func checkpoint(_ note: [UInt8]) throws -> VerifiedCheckpoint {
    try UnverifiedCheckpoint(String(decoding: note, as: UTF8.self)).verified(by: keys)
  }

  /// The root over entries (RFC 9162 section 2.1.1), computed as its definition says.
  public static func root(_ entries: ArraySlice<[UInt8]>) -> MerkleHash {
    guard entries.count > 1 else { return entries.first.map { MerkleHash.leaf($0) } ?? .emptyTree }
    var half = 1
    while half * 2 < entries.count { half *= 2 }
    let middle = entries.startIndex + half
    return .node(root(entries[..<middle]), root(entries[middle...]))
  }

  /// Whether a leaf is the genesis leaf of the bytes of a `genesis.json`.
  public static func isGenesis(_ leaf: [UInt8], of genesis: [UInt8]) -> Bool {
    guard case .genesis(let digest)? = try? Leaf.decode(leaf).leaf else { return false }
    return digest == Array(SHA256.hash(data: genesis))
  }

  /// A receipt that was proven.
  public struct Receipt: Sendable {
    /// Index of the leaf that records the decision.
    public let index: UInt64
    /// The leaf's bytes.
    public let leaf: [UInt8]
    /// The checkpoint that it stands under.
    public let checkpoint: VerifiedCheckpoint
  }

  /// Proves the receipt in the answer to a command: the log signed a tree that holds an authorised leaf, or one of a
  /// command that is held, at this index, and the leaf commits to the request as this client signed it, byte for byte.
  /// - Parameters:
  ///   - answer: the answer to the command.
  ///   - request: the command as it was sent.
  ///   - party: who signed it.
  ///   - enrolment: index of the leaf that approved the party's key; 0 where genesis names it.
  ///   - references: the leaves that the decision must rest on, in order.
  ///   - isHeld: whether the command must be held rather than authorised.
  /// - Throws: what does not hold.
  public func receipt(
    _ answer: Answer, to request: OutgoingRequest, by party: Party, enrolment: UInt64,
    references: [(role: String, index: UInt64)] = [], isHeld: Bool = false
  ) throws -> Receipt {
    guard let proofText = answer["receipt", "proof"]?.string,
      let leaf = answer["receipt", "leaf"]?.string.flatMap({ try? Base64.URL.decode($0) }),
      let salt = answer["receipt", "salt"]?.string.flatMap({ try? Base64.URL.decode($0) })
    else { throw DemoError("the answer carries no receipt: \(answer.summary)") }
    let proof = try TLogProof(parsing: proofText)
    let checkpoint = try proof.verify(leafHash: .leaf(leaf), keys: keys)
    let decided: Leaf.Authorized
    switch try Leaf.decode(leaf).leaf {
    case .authorized(let value) where !isHeld: decided = value
    case .held(let value) where isHeld: decided = value
    default: throw DemoError("leaf \(proof.index) is not of type \(isHeld ? "held" : "authorized")")
    }
    guard answer["leaf_index"]?.integer == Int64(proof.index),
      answer["command_id"]?.string == decided.command.description
    else { throw DemoError("the receipt is of another command than the answer") }
    let content = Self.evidence(of: request, by: party, enrolment: enrolment, references)
    guard decided.commitment == SaltedContent(salt: salt, content: content).commitment else {
      throw DemoError("leaf \(proof.index) commits to something else than the request that was sent")
    }
    return Receipt(index: proof.index, leaf: leaf, checkpoint: checkpoint)
  }

  /// The evidence that a command's leaf commits to, put together from the request alone (`docs/leaf-format.md`).
  private static func evidence(
    of request: OutgoingRequest, by party: Party, enrolment: UInt64, _ references: [(role: String, index: UInt64)]
  ) -> [UInt8] {
    func value(_ name: String) -> String { request.headers.first { $0.name.lowercased() == name }?.value ?? "" }
    let fields = SignaturePolicy.commandComponents.filter { !$0.hasPrefix("@") }
      .map { RequestRecord.Field(name: $0, value: value($0)) }
    let record = RequestRecord(
      method: request.method, targetURI: party.api + request.path, fields: fields,
      signatureInput: value("signature-input"), signature: value("signature"), body: request.body)
    return CommandEvidence(
      request: record, principal: party.id, key: party.key.publicJWK.bareJSON.canonical(), enrolmentIndex: enrolment,
      references: references.map { CommandEvidence.Reference($0.role, $0.index) }
    ).encoded
  }
}

extension OutgoingRequest {
  /// What an approval of this request names: SHA-256 over method, target and body (`docs/leaf-format.md`).
  public func commandDigest(api: String) -> [UInt8] {
    RequestRecord(
      method: method, targetURI: api + path, fields: [], signatureInput: "", signature: "", body: body
    ).commandDigest
  }
}

extension TrustCoreClient {
  /// The log's first `size` entries, of at most 256, which only an auditor may read.
  public func entries(_ size: UInt64, auditor token: String) async throws -> [[UInt8]] {
    guard let path = TilePath(.entries, index: 0, width: Int(clamping: size)) else {
      throw DemoError("one entry bundle holds 1 to 256 entries, not \(size)")
    }
    let answer = try await get("/log/\(path)", bearer: token)
    guard answer.status == 200 else { throw DemoError("the entries were not served: \(answer.summary)") }
    return try EntryBundle.decode(answer.body, width: path.width)
  }
}
