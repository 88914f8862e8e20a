import AgentIdentity
import Seal
import Testing
import TestSupport
import TransparencyLog
import Wire

/// A log written by hand, whose key signs whatever a test puts there: what a compromised gate could do.
struct PreparedLog {
  let world: TestWorld
  let custodian: SoftwareLogCustodian
  private var tree = MerkleTree()
  private var leaves: [(bytes: [UInt8], content: SaltedContent)] = []

  init(_ world: TestWorld, custodian: SoftwareLogCustodian? = nil) {
    self.world = world
    self.custodian = custodian ?? world.custodian
  }

  var size: UInt64 { tree.size }

  /// Appends any leaf with its content.
  @discardableResult
  mutating func append(_ leaf: Leaf, _ content: SaltedContent) -> UInt64 {
    let bytes = leaf.encoded(at: world.clock.now())
    leaves.append((bytes, content))
    return tree.append(.leaf(bytes))
  }

  /// Appends the leaf of a command, as the gate writes it but for what a test changes.
  @discardableResult
  mutating func append(
    _ signed: SignedCommand, audience: String = "test", deny: Bool = false, tenant: String = TestWorld.tenant,
    environment: String = "development"
  ) throws -> UInt64 {
    let content = SaltedContent(salt: world.random.bytes(32), content: signed.encoded)
    let value = Leaf.Authorized(
      command: CommandID(from: world.random), audience: audience, tenant: tenant, environment: environment,
      commitment: content.commitment, policyVersion: "test/1", notAfter: signed.notAfter)
    return append(
      deny ? .denied(value, code: "test", refusal: Array(repeating: 0, count: 32)) : .authorized(value), content)
  }

  func checkpoint(size: UInt64? = nil, key: NoteVerifierKey? = nil) throws -> UnverifiedCheckpoint {
    var partial = MerkleTree()
    for leaf in leaves.prefix(Int(size ?? tree.size)) { partial.append(.leaf(leaf.bytes)) }
    let body = try Checkpoint(origin: world.genesis.origin, head: partial.head).body
    let verifier = try NoteVerifierKey(name: world.genesis.origin, publicKey: custodian.publicKeyBytes)
    let line = try NoteSignature(by: verifier, signature: try custodian.signature(over: body))
    return try UnverifiedCheckpoint(try SignedNote(text: body, signatures: [line]).rendered)
  }

  func part(_ index: UInt64, size: UInt64? = nil) throws -> SealBundle.Part {
    let size = size ?? tree.size
    let leaf = leaves[Int(index)]
    return SealBundle.Part(
      leaf: leaf.bytes, salt: leaf.content.salt, content: leaf.content.content,
      proof: try TLogProof(
        index: index, hashes: try tree.inclusionProof(index: index, size: size), checkpoint: checkpoint(size: size)))
  }

  func consistency(from: UInt64, to: UInt64) throws -> [MerkleHash] { try tree.consistencyProof(from: from, to: to) }
}

/// A module that does nothing: its command is the request's body.
struct TestModule: CommandModule {
  typealias Unit = Int
  let verifier: SealVerifier

  func parse(_ signed: SignedCommand) throws(Problem) -> [UInt8] { signed.body }
  func reserve(_ command: [UInt8], context: CommandContext, in unit: inout Int) throws -> Ruling { .allow }
  func apply(_ sealed: Sealed<[UInt8]>, at now: Timestamp, in unit: inout Int) throws -> JSONObject { [:] }
  func release(_ command: [UInt8], context: CommandContext, in unit: inout Int) throws {}
}
