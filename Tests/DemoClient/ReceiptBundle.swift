import Seal
import TransparencyLog
public import Wire

/// What `GET /v1/receipts/{command}` tells, every part of it proven: it is under a checkpoint of the log, and whoever
/// signed it is vouched for, leaf by leaf, back to genesis.
public struct ReceiptBundle: Sendable {
  /// A leaf with what it commits to.
  public struct Part: Sendable {
    /// Index of the leaf.
    public let index: UInt64
    /// `authorized`, `held`, `denied` or the kind of an event.
    public let kind: String
    /// The policy that decided; empty for an event.
    public let policy: String
    /// Who signed; of an enrolment, who enrolled.
    public let principal: String
    /// Index of the leaf that enrolled the signer's key or credential, or that invited who enrolled; 0 for genesis.
    public let vouchedBy: UInt64
    /// The leaves that the decision rests on.
    public let references: [(role: String, index: UInt64)]
    let leaf: [UInt8]
    let content: SaltedContent
  }

  /// The command's own leaf.
  public let sealed: Part
  /// All leaves that it rests on, by index, itself included.
  public let parts: [UInt64: Part]
}

extension LogVerifier {
  /// Proves a receipt from itself and genesis alone.
  /// - Parameters:
  ///   - answer: the answer of `GET /v1/receipts/{command}`.
  ///   - genesis: the bytes of `genesis.json`.
  /// - Throws: what does not hold.
  public func bundle(_ answer: Answer, genesis: [UInt8]) throws -> ReceiptBundle {
    guard let seal = answer["seal", "sealed"] else { throw DemoError("no receipt was given: \(answer.summary)") }
    let sealed = try part(seal)
    let others = [answer["seal", "enrolment"]].compactMap { $0 } + (answer["seal", "chain"]?.array ?? [])
    var parts = [sealed.index: sealed]
    for part in try others.map(part) { parts[part.index] = part }
    let stated = (answer["references"]?.array ?? []).map { item in
      "\(item.object?["role"]?.string ?? "") \(item.object?["leaf_index"]?.integer ?? -1)"
    }
    guard stated == sealed.references.map({ "\($0.role) \($0.index)" }) else {
      throw DemoError("the references of leaf \(sealed.index) are not the ones that it commits to")
    }
    let verifier = EvidenceVerifier(genesis: try Genesis(decoding: genesis))
    for part in parts.values {
      for index in part.references.map(\.index) + [part.vouchedBy] where index != 0 && parts[index] == nil {
        throw DemoError("leaf \(part.index) rests on leaf \(index), which the receipt lacks")
      }
      guard ["authorized", "held"].contains(part.kind) else { continue }
      _ = try verifier.verify(part.content.content, at: try Leaf.decode(part.leaf).time) { index in
        parts[index].map { ($0.leaf, $0.content) }
      }
    }
    return ReceiptBundle(sealed: sealed, parts: parts)
  }

  /// An event that was proven.
  public struct Event: Sendable {
    /// Index of the leaf.
    public let index: UInt64
    /// The kind, as in `key.destroyed`.
    public let kind: String
    /// What the leaf commits to.
    public let content: JSONObject
  }

  /// Proves an event from its leaf, salt, content and proof alone, as the receipt of a destruction carries them.
  /// - Throws: what does not hold.
  public func event(_ json: JSONValue) throws -> Event {
    let part = try part(json)
    guard part.policy.isEmpty, let content = try JSONValue(parsing: part.content.content).object else {
      throw DemoError("leaf \(part.index) is no event with a JSON object as its content")
    }
    return Event(index: part.index, kind: part.kind, content: content)
  }

  private func part(_ json: JSONValue) throws -> ReceiptBundle.Part {
    func text(_ name: String) -> String { json.object?[name]?.string ?? "" }
    let leaf = try Base64.URL.decode(text("leaf"))
    let content = SaltedContent(
      salt: try Base64.URL.decode(text("salt")), content: try Base64.URL.decode(text("content")))
    let proof = try TLogProof(parsing: text("proof"))
    _ = try proof.verify(leafHash: .leaf(leaf), keys: keys)
    let (kind, policy, commitment): (String, String, [UInt8]) =
      switch try Leaf.decode(leaf).leaf {
      case .authorized(let value): ("authorized", value.policyVersion, value.commitment)
      case .held(let value): ("held", value.policyVersion, value.commitment)
      case .denied(let value, _, _): ("denied", value.policyVersion, value.commitment)
      case .event(let value): (value.kind, "", value.commitment)
      case .genesis, .outcome: throw DemoError("leaf \(proof.index) decides nothing")
      }
    guard commitment == content.commitment else {
      throw DemoError("leaf \(proof.index) commits to something else than what came with it")
    }
    var (principal, vouchedBy, references): (String, UInt64, [(role: String, index: UInt64)]) = ("", 0, [])
    if !policy.isEmpty {
      let evidence = try CommandEvidence(decoding: content.content)
      (principal, vouchedBy) = (evidence.principal, evidence.enrolmentIndex)
      references = evidence.references.map { ($0.role, $0.index) }
    } else if kind == CredentialEnrolment.eventKind {
      let enrolment = try CredentialEnrolment(try JSONValue(parsing: content.content))
      (principal, vouchedBy) = (enrolment.person, enrolment.invitationIndex)
    }
    return ReceiptBundle.Part(
      index: proof.index, kind: kind, policy: policy, principal: principal, vouchedBy: vouchedBy,
      references: references, leaf: leaf, content: content)
  }
}
