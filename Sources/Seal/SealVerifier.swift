import AgentIdentity
import Synchronization
public import TransparencyLog
public import Wire

/// A command that may be carried out: it was signed, allowed, recorded, and its leaf stands under a signed tree head.
/// Only a ``SealVerifier`` mints one.
public struct Sealed<Command: Sendable>: Sendable {
  /// What to do.
  public let command: Command
  /// Who asked, and under which identifier.
  public let context: CommandContext
  /// Index of the authorised leaf; with the log's origin it makes effects unique.
  public var leafIndex: UInt64 { context.leafIndex }

  fileprivate init(command: Command, context: CommandContext) {
    self.command = command
    self.context = context
  }
}

/// A command that the gate allowed and recorded, not yet sealed.
public struct AuthorizedCommand: Sendable {
  /// Who asked, under which identifier, and the signed request.
  public let context: CommandContext
  /// The leaf's bytes.
  public let leaf: [UInt8]
  /// The salt under which the leaf commits to the evidence.
  public let salt: [UInt8]
  /// The earlier leaves that the decision rests on.
  public let references: [CommandEvidence.Reference]

  package init(
    context: CommandContext, leaf: [UInt8], salt: [UInt8], references: [CommandEvidence.Reference]
  ) {
    self.context = context
    self.leaf = leaf
    self.salt = salt
    self.references = references
  }
}

/// A tree head that one module's verifier accepted as part of the only history it knows.
public struct AcceptedCheckpoint: Sendable {
  /// The head.
  public let head: TreeHead
  fileprivate let acceptor: ObjectIdentifier
}

/// A module's own check that a command is sealed for it. Each module holds one of its own; it keeps the newest
/// checkpoint that it accepted and demands that every other is consistent with it.
public final class SealVerifier: Sendable {
  /// The module's name, which a leaf must name as its audience.
  public let audience: String
  /// The deployment's environment, which a leaf must name too.
  public let environment: String
  private let logKeys: [NoteVerifierKey]
  private let origin: String
  private let newest: Mutex<TreeHead?>

  /// Makes a verifier.
  /// - Parameters:
  ///   - audience: the module's name.
  ///   - environment: the deployment's environment.
  ///   - origin: the log's origin.
  ///   - logKeys: the keys that sign its checkpoints; one valid signature is enough.
  public init(audience: String, environment: String, origin: String, logKeys: [NoteVerifierKey]) {
    self.audience = audience
    self.environment = environment
    self.origin = origin
    self.logKeys = logKeys
    newest = Mutex(nil)
  }

  /// The newest tree head that this module accepted.
  public var newestHead: TreeHead? { newest.withLock { $0 } }

  /// Accepts a newer checkpoint.
  /// - Parameters:
  ///   - note: the signed checkpoint, unverified.
  ///   - consistency: the proof that its tree extends ``newestHead`` (RFC 9162 section 2.1.4).
  /// - Returns: the checkpoint as accepted, for ``mint(_:authorized:inclusion:checkpoint:now:)``.
  /// - Throws: `seal_checkpoint_untrusted` or `seal_checkpoint_inconsistent`.
  @discardableResult
  public func advance(to note: UnverifiedCheckpoint, consistency: [MerkleHash]) throws(Problem) -> AcceptedCheckpoint {
    let checkpoint = try verified(note)
    let head = checkpoint.head
    let agrees = newest.withLock { newest in
      guard let known = newest else {
        newest = head
        return true
      }
      guard (try? MerkleProof.verifyConsistency(from: known, to: head, proof: consistency)) != nil else {
        return false
      }
      newest = head
      return true
    }
    guard agrees else { throw Self.inconsistent }
    return AcceptedCheckpoint(head: head, acceptor: ObjectIdentifier(self))
  }

  /// Mints a seal in the gate's own process, where the gate's verified values stand in for a second verification of
  /// the request's signature; everything about the leaf is checked here.
  /// - Parameters:
  ///   - read: the command as this module read it.
  ///   - authorized: what the gate recorded.
  ///   - inclusion: the proof that the leaf is under `checkpoint`.
  ///   - checkpoint: a checkpoint that this verifier accepted in ``advance(to:consistency:)``.
  ///   - now: the module's clock.
  /// - Throws: a `seal_…` problem.
  public func mint<Command>(
    _ read: ReadCommand<Command>, authorized: AuthorizedCommand, inclusion: [MerkleHash],
    checkpoint: AcceptedCheckpoint, now: Timestamp
  ) throws(Problem) -> Sealed<Command> {
    guard checkpoint.acceptor == ObjectIdentifier(self) else { throw Self.inconsistent }
    let leaf = try authorizedLeaf(authorized.leaf, now: now)
    guard leaf.command == authorized.context.id, leaf.tenant == authorized.context.principal.tenant,
      leaf.notAfter == read.signed.notAfter, read.signed.encoded == authorized.context.signed.encoded
    else { throw Self.mismatch }
    try check(
      leaf, index: authorized.context.leafIndex, bytes: authorized.leaf, inclusion: inclusion, head: checkpoint.head,
      commitsTo: SaltedContent(salt: authorized.salt, content: read.signed.evidence(authorized.references)))
    return Sealed(command: read.command, context: authorized.context)
  }

  /// Verifies a seal that was handed over from outside, from its evidence alone.
  /// - Parameters:
  ///   - bundle: what was handed over.
  ///   - genesis: the roster root that this module pins.
  ///   - consistency: proof that the bundle's tree is a prefix of ``newestHead``.
  ///   - now: the module's clock.
  ///   - read: reads the command in the verified request.
  /// - Throws: a `seal_…` problem.
  public func verify<Command>(
    _ bundle: SealBundle, genesis: Genesis, consistency: [MerkleHash], now: Timestamp,
    read: (SignedCommand) throws(Problem) -> ReadCommand<Command>
  ) throws(Problem) -> Sealed<Command> {
    let proof = bundle.sealed.proof
    let checkpoint = try verified(proof.checkpoint)
    guard let newest = newestHead,
      (try? MerkleProof.verifyConsistency(from: checkpoint.head, to: newest, proof: consistency)) != nil
    else { throw Self.inconsistent }
    let leaf = try authorizedLeaf(bundle.sealed.leaf, now: now)
    try check(
      leaf, index: proof.index, bytes: bundle.sealed.leaf, inclusion: proof.hashes, head: checkpoint.head,
      commitsTo: bundle.sealed.salted)
    var enrolment: [UInt64: SealBundle.Part] = [:]
    for part in bundle.chain + (bundle.enrolment.map { [$0] } ?? []) {
      let own = try verified(part.proof.checkpoint)
      guard (try? MerkleProof.verifyConsistency(from: own.head, to: checkpoint.head, proof: [])) != nil,
        included(part.leaf, at: part.proof.index, under: own.head, by: part.proof.hashes)
      else { throw Self.notIncluded }
      enrolment[part.proof.index] = part
    }
    let time: Timestamp
    do { time = try Leaf.decode(bundle.sealed.leaf).time } catch { throw Self.malformed }
    let signed = try EvidenceVerifier(genesis: genesis)
      .verify(bundle.sealed.content, at: time) { index in enrolment[index].map { ($0.leaf, $0.salted) } }
    guard signed.principal.tenant == leaf.tenant, signed.notAfter == leaf.notAfter else { throw Self.mismatch }
    let context = CommandContext(
      id: leaf.command, principal: signed.principal, decidedAt: time, leafIndex: proof.index, signed: signed)
    return Sealed(command: try read(signed).command, context: context)
  }

  // MARK: - Steps

  private func verified(_ note: UnverifiedCheckpoint) throws(Problem) -> VerifiedCheckpoint {
    guard let checkpoint = try? note.verified(by: logKeys), checkpoint.checkpoint.hasOrigin(origin) else {
      throw Problem(
        403, "seal_checkpoint_untrusted",
        "The checkpoint is not signed by a log key that this module knows; take it from /log/checkpoint.")
    }
    return checkpoint
  }

  private func authorizedLeaf(_ bytes: [UInt8], now: Timestamp) throws(Problem) -> Leaf.Authorized {
    let leaf: Leaf
    do { leaf = try Leaf.decode(bytes).leaf } catch { throw Self.malformed }
    guard case .authorized(let authorized) = leaf else {
      throw Problem(
        403, "seal_not_authorized", "Only a leaf of type authorized carries a command; this one records something else."
      )
    }
    guard authorized.audience == audience, authorized.environment == environment else {
      throw Problem(
        403, "seal_wrong_audience", "The seal was made for another module or environment; hand it to that one.")
    }
    guard now < authorized.notAfter else {
      throw Problem(403, "seal_expired", "The command's not_after has passed; sign and submit it again.")
    }
    return authorized
  }

  private func check(
    _ leaf: Leaf.Authorized, index: UInt64, bytes: [UInt8], inclusion: [MerkleHash], head: TreeHead,
    commitsTo content: SaltedContent
  ) throws(Problem) {
    guard leaf.commitment == content.commitment else { throw Self.mismatch }
    guard included(bytes, at: index, under: head, by: inclusion) else { throw Self.notIncluded }
  }

  private func included(_ leaf: [UInt8], at index: UInt64, under head: TreeHead, by proof: [MerkleHash]) -> Bool {
    (try? MerkleProof.verifyInclusion(
      leafHash: .leaf(leaf), index: index, size: head.size, proof: proof, root: head.root)) != nil
  }

  private static let inconsistent = Problem(
    403, "seal_checkpoint_inconsistent", "The checkpoint does not belong to the history that this module has accepted.")
  private static let malformed = Problem(
    400, "seal_malformed", "The leaf cannot be decoded; docs/leaf-format.md has its layout.")
  private static let mismatch = Problem(
    403, "seal_commitment_mismatch",
    "The leaf does not commit to this command; hand over the content and salt that belong to it.")
  private static let notIncluded = Problem(
    403, "seal_not_included", "The inclusion proof does not lead from this leaf to the signed root.")
}
