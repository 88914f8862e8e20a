internal import Wire

/// A proof that an entry is on the log, verifiable offline (C2SP tlog-proof@v1). Nothing in it is verified.
public struct TLogProof: Sendable {
  /// The most bytes in a proof.
  public static let maximumSize = 64 * 1024
  /// The most bytes of extra data.
  public static let maximumExtraSize = 16 * 1024

  private static let header = "c2sp.org/tlog-proof@v1"

  /// The entry's position in the log, from zero.
  public let index: UInt64
  /// Opaque data that nothing authenticates; nil or not empty.
  public let extra: [UInt8]?
  /// The inclusion proof, from the leaf's sibling upwards.
  public let hashes: [MerkleHash]
  /// The checkpoint that the proof leads to.
  public let checkpoint: UnverifiedCheckpoint

  /// Puts a proof together.
  ///
  /// - Throws: ``LogError/Code-swift.struct/tooLarge`` for too much extra data or too many hashes,
  ///   ``LogError/Code-swift.struct/malformed`` for extra data that is empty, ``LogError/Code-swift.struct/outOfRange``
  ///   for an index above ``TreeHead/maximumSize``.
  public init(
    index: UInt64, extra: [UInt8]? = nil, hashes: [MerkleHash], checkpoint: UnverifiedCheckpoint
  ) throws(LogError) {
    guard index <= TreeHead.maximumSize else { throw LogError(.outOfRange, "no log has an entry \(index)") }
    guard extra?.isEmpty != true else { throw LogError(.malformed, "leave the extra line out where there is no data") }
    guard extra?.count ?? 0 <= Self.maximumExtraSize, hashes.count <= MerkleProof.maximumLength else {
      throw LogError(.tooLarge, "a proof has at most 64 hashes and \(Self.maximumExtraSize) bytes of extra data")
    }
    self.index = index
    self.extra = extra
    self.hashes = hashes
    self.checkpoint = checkpoint
  }

  /// Parses a proof.
  ///
  /// - Throws: ``LogError/Code-swift.struct/malformed``, or as ``init(index:extra:hashes:checkpoint:)``.
  public init(parsing text: some StringProtocol) throws(LogError) {
    guard text.utf8.count <= Self.maximumSize else {
      throw LogError(.tooLarge, "a proof has at most \(Self.maximumSize) bytes, this has \(text.utf8.count)")
    }
    var rest = Substring(text)
    guard let first = Self.line(&rest), first.utf8.elementsEqual(Self.header.utf8) else {
      throw LogError(.malformed, "the first line of a proof is \(Self.header)")
    }
    var line = Self.line(&rest)
    var extra: [UInt8]?
    if let data = Self.value(line, of: "extra ") {
      guard let bytes = try? Base64.decode(data) else { throw LogError(.malformed, "the extra line is no base64") }
      extra = bytes
      line = Self.line(&rest)
    }
    guard let digits = Self.value(line, of: "index "), let index = NoteText.number(digits) else {
      throw LogError(.malformed, "a proof has a line `index` with a decimal number")
    }
    var hashes: [MerkleHash] = []
    while let line = Self.line(&rest), !line.utf8.isEmpty {
      guard let hash = MerkleHash(base64: line), hashes.count < MerkleProof.maximumLength else {
        throw LogError(.malformed, "the lines after `index` are at most 64 base64 hashes, ended by an empty line")
      }
      hashes.append(hash)
    }
    try self.init(index: index, extra: extra, hashes: hashes, checkpoint: UnverifiedCheckpoint(rest))
  }

  /// The proof as text, which parses to the same.
  public var rendered: String {
    var text = Self.header + "\n"
    text.reserveCapacity(512 + 45 * hashes.count)
    if let extra { text += "extra \(Base64.encode(extra))\n" }
    text += "index \(index)\n"
    for hash in hashes {
      text += hash.base64
      text += "\n"
    }
    return text + "\n" + checkpoint.note.rendered
  }

  /// Verifies the checkpoint's signatures and that the leaf is in its tree.
  ///
  /// - Parameters:
  ///   - leafHash: ``MerkleHash/leaf(_:)`` of the entry, which the verifier holds.
  ///   - keys: the log's keys, as for ``UnverifiedCheckpoint/verified(by:witnesses:)``.
  ///   - witnesses: the witnesses' keys, likewise.
  /// - Returns: the checkpoint, which the caller holds to its witness policy.
  /// - Throws: ``LogError`` with the code of what failed.
  public func verify(
    leafHash: MerkleHash, keys: [NoteVerifierKey], witnesses: [NoteVerifierKey] = []
  ) throws(LogError) -> VerifiedCheckpoint {
    let verified = try checkpoint.verified(by: keys, witnesses: witnesses)
    try MerkleProof.verifyInclusion(
      leafHash: leafHash, index: index, size: verified.head.size, proof: hashes, root: verified.head.root)
    return verified
  }

  /// Takes the next line off a text, without its newline; nil when no newline is left.
  private static func line(_ rest: inout Substring) -> Substring? {
    guard let end = rest.utf8.firstIndex(of: NoteText.newline) else { return nil }
    defer { rest = rest[rest.utf8.index(after: end)...] }
    return rest[..<end]
  }

  /// What follows a prefix, compared byte for byte.
  private static func value(_ line: Substring?, of prefix: String) -> Substring? {
    guard let line, line.utf8.starts(with: prefix.utf8) else { return nil }
    return Substring(line.utf8.dropFirst(prefix.utf8.count))
  }
}
