public import KeyHierarchy

/// How the database's head stands to the last head that the signer was ready to sign.
public enum HeadStanding: Hashable, Sendable {
  /// They are the same.
  case inStep
  /// The database holds more leaves, which an extension can seal.
  case databaseAhead
  /// The database holds fewer leaves than were signed for: it was rolled back. The log is read-only.
  case databaseBehind
  /// The database holds another tree of the same size: a fork. The log is read-only.
  case forked

  /// True where nothing may be signed until a ceremony opens a new origin.
  public var isReadOnly: Bool { self == .databaseBehind || self == .forked }

  /// Compares two heads.
  ///
  /// - Parameters:
  ///   - database: the head of the database.
  ///   - signer: the head of the signer's file.
  public init(database: TreeHead, signer: TreeHead) {
    self =
      if database == signer {
        .inStep
      } else if database.size == signer.size {
        .forked
      } else {
        database.size > signer.size ? .databaseAhead : .databaseBehind
      }
  }
}

/// Signs checkpoints, each a proven extension of the last, whose head is on the disk before the HSM hears of it.
///
/// The file is written on the actor's thread, which a sync blocks for about 0.1 ms.
public actor CheckpointSigner {
  /// The log's identity.
  public nonisolated let origin: String
  /// Verifies what this signer signs.
  public nonisolated let verifierKey: NoteVerifierKey

  private var file: HeadFile
  private let custodian: any KeyCustodian
  private let key: KeyName
  private var isBusy = false

  /// Creates the head file of a new log, whose tree is empty. Part of genesis, and of nothing else: a file that is
  /// missing later is an error, because a new one would let the signer sign a fork.
  ///
  /// - Throws: ``LogError/Code-swift.struct/headFile`` when the file exists or cannot be written.
  public static func createNew(headFile path: String, origin: String) throws(LogError) {
    try HeadFile.createNew(path, origin: origin)
  }

  /// Opens the signer of an existing log.
  ///
  /// - Parameters:
  ///   - path: the head file.
  ///   - origin: the log's identity.
  ///   - keyName: the name in signature lines; the origin, unless stated.
  ///   - custodian: holds the key.
  ///   - key: the Ed25519 key of the `log` token.
  /// - Throws: ``LogError/Code-swift.struct/headFile`` for a file that is missing or corrupt,
  ///   ``LogError/Code-swift.struct/wrongOrigin`` for another log's, ``LogError/Code-swift.struct/busy`` for one in
  ///   use, or a ``CustodyError``.
  public init(
    headFile path: String, origin: String, keyName: String? = nil, custodian: any KeyCustodian, key: KeyName = .logA
  ) throws {
    let publicKey = try custodian.publicKey(key)
    guard publicKey.algorithm == .ed25519 else {
      throw LogError(.malformed, "\(key) is no Ed25519 key, which checkpoints are signed with")
    }
    verifierKey = try NoteVerifierKey(name: keyName ?? origin, publicKey: publicKey.bytes)
    file = try HeadFile(path, origin: origin)
    self.origin = origin
    self.custodian = custodian
    self.key = key
  }

  /// The last head that was made ready to sign; the empty tree at genesis.
  public var lastHead: TreeHead { file.head }

  /// Compares the database's head with ``lastHead``.
  public func check(_ databaseHead: TreeHead) -> HeadStanding {
    HeadStanding(database: databaseHead, signer: file.head)
  }

  /// Makes a head the last one, on the disk, if it extends the present one.
  ///
  /// - Parameters:
  ///   - next: the new head, without extension lines. The present head again is accepted and not written.
  ///   - consistencyProof: from ``lastHead`` to `next`.
  /// - Throws: ``LogError/Code-swift.struct/wrongOrigin``, ``LogError/Code-swift.struct/notAnExtension`` for a smaller
  ///   or a different tree, ``LogError/Code-swift.struct/proofInvalid``, ``LogError/Code-swift.struct/headFile``,
  ///   ``LogError/Code-swift.struct/busy`` while a signature is under way.
  public func advance(to next: Checkpoint, consistencyProof: [MerkleHash]) throws(LogError) {
    guard !isBusy else { throw busy() }
    guard next.hasOrigin(origin) else {
      throw LogError(.wrongOrigin, "this signer signs for \(origin), not for \(next.origin)")
    }
    guard next.extensionLines.isEmpty else {
      throw LogError(.malformed, "a checkpoint to sign has no extension lines")
    }
    guard !check(next.head).isReadOnly else {
      throw LogError(
        .notAnExtension, "the head of \(next.size) leaves does not extend the last of \(file.head.size): stop the log")
    }
    try file.check()
    try MerkleProof.verifyConsistency(from: file.head, to: next.head, proof: consistencyProof)
    if next.head != file.head { try file.write(next.head) }
  }

  /// Signs the last head, again if it was signed before: a crash may have lost the signature.
  ///
  /// - Returns: the checkpoint as a signed note.
  /// - Throws: ``LogError/Code-swift.struct/busy`` while another signature is under way,
  ///   ``LogError/Code-swift.struct/headFile`` after a failed write,
  ///   ``LogError/Code-swift.struct/signatureInvalid`` when the HSM's signature does not verify, or a ``CustodyError``.
  public func signLastHead() async throws -> String {
    guard !isBusy else { throw busy() }
    try file.check()
    isBusy = true
    defer { isBusy = false }
    let body = try Checkpoint(origin: origin, head: file.head).body
    let signature = try await custodian.signCheckpoint(Array(body.utf8), with: key)
    // A checkpoint that nobody can verify must not be published, whatever the HSM says.
    _ = try verifierKey.verify(signature, over: body)
    return try SignedNote(text: body, signatures: [NoteSignature(by: verifierKey, signature: signature)]).rendered
  }

  /// ``advance(to:consistencyProof:)``, then ``signLastHead()``.
  public func sign(_ next: Checkpoint, consistencyProof: [MerkleHash]) async throws -> String {
    try advance(to: next, consistencyProof: consistencyProof)
    return try await signLastHead()
  }

  private func busy() -> LogError { LogError(.busy, "a checkpoint is being signed: wait for it") }
}
