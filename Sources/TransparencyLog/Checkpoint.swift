internal import Wire

/// What a log says of its tree (C2SP tlog-checkpoint, "Note text"): the text that a checkpoint's signatures cover.
public struct Checkpoint: Hashable, Sendable {
  /// The log's identity.
  public let origin: String
  /// The tree's size and root.
  public let head: TreeHead
  /// Opaque lines after the root; this log writes none.
  public let extensionLines: [String]

  /// The number of leaves.
  public var size: UInt64 { head.size }
  /// The tree's root.
  public var root: MerkleHash { head.root }

  /// Makes a checkpoint.
  ///
  /// - Throws: ``LogError/Code-swift.struct/malformed`` for an origin or extension line that is empty or has control
  ///   characters, ``LogError/Code-swift.struct/outOfRange`` for a size above ``TreeHead/maximumSize`` or an empty tree
  ///   with another root than ``MerkleHash/emptyTree``.
  public init(origin: String, head: TreeHead, extensionLines: [String] = []) throws(LogError) {
    guard NoteText.isLine(origin), extensionLines.allSatisfy({ NoteText.isLine($0) }) else {
      throw LogError(.malformed, "origin and extension lines are not empty and have no control characters")
    }
    guard head.size <= TreeHead.maximumSize, head.size > 0 || head.root == .emptyTree else {
      throw LogError(.outOfRange, "no tree has this size and root")
    }
    self.origin = origin
    self.head = head
    self.extensionLines = extensionLines
  }

  /// Parses a body: at least three lines, each ended by a newline.
  ///
  /// - Throws: as ``init(origin:head:extensionLines:)``, and ``LogError/Code-swift.struct/malformed`` for a size with
  ///   leading zeros or a root that is not canonical base64 of 32 bytes.
  public init(body: String) throws(LogError) {
    let lines = body.utf8.dropLast().split(separator: NoteText.newline, omittingEmptySubsequences: false)
      .map { Substring($0) }
    guard body.utf8.last == NoteText.newline, lines.count >= 3, let size = NoteText.number(lines[1]),
      let root = MerkleHash(base64: lines[2])
    else { throw LogError(.malformed, "a checkpoint is an origin, a size and a base64 root, each on its line") }
    try self.init(
      origin: String(lines[0]), head: TreeHead(size: size, root: root),
      extensionLines: lines.dropFirst(3).map { String($0) })
  }

  /// The text that is signed.
  public var body: String {
    ([origin, String(size), root.base64] + extensionLines).map { $0 + "\n" }.joined()
  }

  /// True where both name the same log; byte for byte, since Swift's `==` takes canonically equivalent texts as equal.
  public func hasOrigin(_ other: String) -> Bool { origin.utf8.elementsEqual(other.utf8) }

  /// Compares the bodies byte for byte.
  public static func == (a: Checkpoint, b: Checkpoint) -> Bool { a.body.utf8.elementsEqual(b.body.utf8) }
}

/// A signed checkpoint of which no signature was verified.
public struct UnverifiedCheckpoint: Sendable {
  /// What the checkpoint claims.
  public let claimed: Checkpoint
  /// The note that carries it.
  public let note: SignedNote

  /// Parses a signed checkpoint.
  ///
  /// - Throws: ``LogError`` when note or body are malformed or above their limits.
  public init(_ text: some StringProtocol) throws(LogError) {
    note = try SignedNote(parsing: text.utf8)
    claimed = try Checkpoint(body: note.text)
  }

  /// Verifies the log's signatures and the cosignatures by known witnesses.
  ///
  /// - Parameters:
  ///   - keys: the log's Ed25519 keys. Only those that bear the checkpoint's origin as their name count.
  ///   - witnesses: the witnesses' cosignature keys. How many must have cosigned is the caller's policy, to be held
  ///     to ``VerifiedCheckpoint/cosignatures``.
  /// - Throws: ``LogError/Code-swift.struct/signatureInvalid`` when a signature by one of these keys does not verify,
  ///   ``LogError/Code-swift.struct/notSigned`` when none is by the log.
  public func verified(
    by keys: [NoteVerifierKey], witnesses: [NoteVerifierKey] = []
  ) throws(LogError) -> VerifiedCheckpoint {
    let logKeys = keys.filter { $0.type == .ed25519 && claimed.hasOrigin($0.name) }
    let verified = try note.verify(with: logKeys + witnesses.filter { $0.type == .cosignatureV1 })
    guard verified.contains(where: { $0.key.type == .ed25519 }) else {
      throw LogError(.notSigned, "the checkpoint bears no signature by its log: check the log's verifier keys")
    }
    return VerifiedCheckpoint(checkpoint: claimed, note: note, signatures: verified)
  }
}

/// A checkpoint whose log's signature was verified; only ``UnverifiedCheckpoint/verified(by:witnesses:)`` makes one.
public struct VerifiedCheckpoint: Sendable {
  /// What the log signed.
  public let checkpoint: Checkpoint
  /// The note that carried it.
  public let note: SignedNote
  /// The keys of the log that signed.
  public let signers: Set<NoteVerifierKey>
  /// The witnesses that cosigned, with the latest time that each gave, in seconds since 1970.
  public let cosignatures: [NoteVerifierKey: UInt64]

  /// The log's identity.
  public var origin: String { checkpoint.origin }
  /// The tree's size and root.
  public var head: TreeHead { checkpoint.head }

  fileprivate init(checkpoint: Checkpoint, note: SignedNote, signatures: [SignedNote.Verified]) {
    self.checkpoint = checkpoint
    self.note = note
    signers = Set(signatures.filter { $0.time == nil }.map(\.key))
    cosignatures = Dictionary(
      signatures.compactMap { signature in signature.time.map { (signature.key, $0) } }, uniquingKeysWith: max)
  }

  /// Verifies that this checkpoint extends an older one of the same log.
  ///
  /// - Throws: ``LogError/Code-swift.struct/wrongOrigin``, or as ``MerkleProof/verifyConsistency(from:to:proof:)``.
  public func verifyExtends(_ older: VerifiedCheckpoint, proof: [MerkleHash]) throws(LogError) {
    guard checkpoint.hasOrigin(older.origin) else {
      throw LogError(.wrongOrigin, "the checkpoints are of two logs, \(older.origin) and \(origin)")
    }
    try MerkleProof.verifyConsistency(from: older.head, to: head, proof: proof)
  }
}
