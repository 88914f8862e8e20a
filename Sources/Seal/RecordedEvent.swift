public import TransparencyLog
public import Wire

/// An event with the proof that it is on the record, verified.
public struct RecordedEvent: Sendable {
  /// What happened, such as `svid.issued`.
  public let kind: String
  /// What its leaf commits to.
  public let content: JSONObject
  /// When it was recorded.
  public let time: Timestamp
  /// Its leaf.
  public let leafIndex: UInt64
  /// The signed tree head that the leaf is under.
  public let checkpoint: VerifiedCheckpoint

  /// Verifies a part, of which nothing is taken for granted: the leaf commits to the content, and is under a checkpoint
  /// that the log's keys have signed (docs/leaf-format.md section 11).
  /// - Parameter index: where the leaf has to stand; nil for anywhere.
  /// - Throws: ``CodecError`` for a leaf that is no event with this content; ``LogError`` for a proof that does not hold.
  public init(_ part: SealBundle.Part, at index: UInt64? = nil, keys: [NoteVerifierKey]) throws {
    let (leaf, time) = try Leaf.decode(part.leaf)
    guard case .event(let event) = leaf,
      event.commitment == SaltedContent(salt: part.salt, content: part.content).commitment,
      let content = try JSONValue(parsing: part.content).object, index ?? part.proof.index == part.proof.index
    else { throw CodecError("leaf \(part.proof.index) is no event with this content") }
    checkpoint = try part.proof.verify(leafHash: .leaf(part.leaf), keys: keys)
    (kind, self.content, self.time, leafIndex) = (event.kind, content, time, part.proof.index)
  }
}
