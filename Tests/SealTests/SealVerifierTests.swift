import AgentIdentity
import JOSE
import Seal
import Testing
import TestSupport
import TransparencyLog
import Wire

@Suite struct SealVerifierTests {
  let world: TestWorld
  let module: TestModule

  init() throws {
    world = try TestWorld()
    module = TestModule(verifier: world.verifier("test"))
  }

  private func command(_ party: TestParty, enrolledAt index: UInt64 = 0, seconds: Int64 = 300) throws -> SignedCommand {
    var principal = party.principal
    principal.enrolmentIndex = index
    return try world.sign("/v1/test", ["do": "it"], as: principal, key: party.key, seconds: seconds)
  }

  private func approval(of agent: TestParty, by owner: TestParty, thumbprint: String? = nil) throws -> SignedCommand {
    try world.sign(
      "/v1/agents/\(agent.principal.id)/approve", ["thumbprint": .string(thumbprint ?? agent.principal.thumbprint)],
      as: owner.principal, key: owner.key)
  }

  @discardableResult
  private func verify(
    _ bundle: SealBundle, with module: TestModule? = nil, consistency: [MerkleHash] = []
  ) throws(Problem) -> Sealed<[UInt8]> {
    let module = module ?? self.module
    return try module.verifier.verify(
      bundle, genesis: world.genesis, consistency: consistency, now: world.clock.now()
    ) { (signed) throws(Problem) in try module.read(signed) }
  }

  private func refuses(
    _ code: String, at location: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) {
    do {
      try body()
      Issue.record("was not refused with \(code)", sourceLocation: location)
    } catch {
      #expect((error as? Problem)?.code == code, "\(error)", sourceLocation: location)
    }
  }

  /// A log with an owner's command under its checkpoint, which the module has accepted.
  private func sealed(
    _ signed: SignedCommand? = nil, audience: String = "test", deny: Bool = false, tenant: String = TestWorld.tenant,
    environment: String = "development"
  ) throws -> (log: PreparedLog, bundle: SealBundle) {
    var log = PreparedLog(world)
    log.append(.genesis(digest: Genesis.digest(world.genesisText)), SaltedContent(salt: [], content: []))
    let signed = try signed ?? command(world.owner)
    let index = try log.append(signed, audience: audience, deny: deny, tenant: tenant, environment: environment)
    try log.append(try command(world.officer))
    try module.verifier.advance(to: try log.checkpoint(), consistency: [])
    return (log, SealBundle(sealed: try log.part(index), enrolment: nil))
  }

  // MARK: - What is taken

  @Test func aSealMintsTheCommand() throws {
    let (_, bundle) = try sealed()
    let minted = try verify(bundle)
    #expect(minted.command == Array(#"{"do":"it"}"#.utf8) && minted.leafIndex == 1)
    #expect(minted.context.principal == world.owner.principal)
    // The same after a journey as JSON.
    let read = try SealBundle(.object(bundle.json))
    #expect(try verify(read).leafIndex == 1)
    #expect(read.json == bundle.json)
  }

  @Test func anOlderCheckpointNeedsItsConsistencyProof() throws {
    var (log, _) = try sealed()
    let old = SealBundle(sealed: try log.part(1, size: 2), enrolment: nil)
    refuses("seal_checkpoint_inconsistent") { try verify(old) }
    try verify(old, consistency: try log.consistency(from: 2, to: 3))
    try log.append(try command(world.stranger))
    try module.verifier.advance(to: try log.checkpoint(), consistency: try log.consistency(from: 3, to: 4))
    try verify(old, consistency: try log.consistency(from: 2, to: 4))
    refuses("seal_checkpoint_inconsistent") { try verify(old, consistency: try log.consistency(from: 2, to: 3)) }
  }

  @Test(arguments: [0, 1]) func anAgentsSealCarriesItsEnrolment(_ number: Int) throws {
    let agent = world.agents[number]
    var log = PreparedLog(world)
    log.append(.genesis(digest: Genesis.digest(world.genesisText)), SaltedContent(salt: [], content: []))
    let approval = try log.append(try approval(of: agent, by: world.owner), audience: "identity")
    let index = try log.append(try command(agent, enrolledAt: approval))
    try module.verifier.advance(to: try log.checkpoint(), consistency: [])
    let bundle = SealBundle(sealed: try log.part(index), enrolment: try log.part(approval))
    let minted = try verify(try SealBundle(.object(bundle.json)))
    #expect(minted.context.principal.id == agent.principal.id && minted.context.principal.owner == "own_1")
    #expect(minted.context.principal.kind == .agent && minted.context.principal.tenant == TestWorld.tenant)
    refuses("seal_evidence_invalid") { try verify(SealBundle(sealed: bundle.sealed, enrolment: nil)) }
    refuses("seal_evidence_invalid") { try verify(SealBundle(sealed: bundle.sealed, enrolment: bundle.sealed)) }
    let elsewhere = SealBundle.Part(
      leaf: bundle.sealed.leaf, salt: bundle.sealed.salt, content: bundle.sealed.content,
      proof: try log.part(approval).proof)
    refuses("seal_not_included") { try verify(SealBundle(sealed: bundle.sealed, enrolment: elsewhere)) }
  }

  // MARK: - What is refused about the leaf

  @Test func onlyAuthorisedLeavesMint() throws {
    refuses("seal_not_authorized") { try verify(try sealed(deny: true).bundle) }
    var log = PreparedLog(world)
    let content = SaltedContent(salt: world.random.bytes(32), content: try command(world.owner).encoded)
    log.append(.event(.init(kind: "x", commitment: content.commitment)), content)
    let outcome = Leaf.Outcome(authorizedIndex: 0, status: .done, commitment: content.commitment)
    log.append(.outcome(outcome), content)
    let fresh = TestModule(verifier: world.verifier("test"))
    try fresh.verifier.advance(to: try log.checkpoint(), consistency: [])
    for index in [0, 1] as [UInt64] {
      refuses("seal_not_authorized") {
        try verify(SealBundle(sealed: try log.part(index), enrolment: nil), with: fresh)
      }
    }
  }

  @Test func audienceEnvironmentAndTenantMustFit() throws {
    refuses("seal_wrong_audience") { try verify(try sealed(audience: "ledger").bundle) }
    let other = try SealVerifierTests()
    refuses("seal_wrong_audience") { try other.verify(try other.sealed(environment: "production").bundle) }
    let third = try SealVerifierTests()
    refuses("seal_commitment_mismatch") { try third.verify(try third.sealed(tenant: "tnt_other").bundle) }
  }

  @Test func notAfterIsTheFirstMomentTooLate() throws {
    let (_, bundle) = try sealed(try command(world.owner, seconds: 10))
    world.clock.advance(seconds: 9)
    try verify(bundle)
    world.clock.advance(seconds: 1)
    refuses("seal_expired") { try verify(bundle) }
  }

  @Test func contentSaltLeafAndProofMustBelongTogether() throws {
    let (log, bundle) = try sealed()
    let part = bundle.sealed
    let other = try log.part(2)
    func seal(
      leaf: [UInt8]? = nil, salt: [UInt8]? = nil, content: [UInt8]? = nil, proof: TLogProof? = nil
    ) -> SealBundle {
      SealBundle(
        sealed: .init(
          leaf: leaf ?? part.leaf, salt: salt ?? part.salt, content: content ?? part.content, proof: proof ?? part.proof
        ),
        enrolment: nil)
    }
    refuses("seal_commitment_mismatch") { try verify(seal(salt: other.salt)) }
    refuses("seal_commitment_mismatch") { try verify(seal(content: other.content)) }
    refuses("seal_not_included") { try verify(seal(leaf: other.leaf, salt: other.salt, content: other.content)) }
    refuses("seal_not_included") { try verify(seal(proof: other.proof)) }
    refuses("seal_malformed") { try verify(seal(leaf: [])) }
    for at in part.leaf.indices {
      var leaf = part.leaf
      leaf[at] ^= 1
      #expect(throws: Problem.self, "byte \(at) of the leaf") { try verify(seal(leaf: leaf)) }
    }
    let hashes = [.leaf([1])] + part.proof.hashes.dropFirst()
    refuses("seal_not_included") {
      try verify(seal(proof: try TLogProof(index: 1, hashes: hashes, checkpoint: part.proof.checkpoint)))
    }
  }

  // MARK: - What is refused about the checkpoint

  @Test func theCheckpointMustBeTheLogs() throws {
    let stranger = try SoftwareLogCustodian(seed: 9)
    var log = PreparedLog(world, custodian: stranger)
    try log.append(try command(world.owner))
    let bundle = SealBundle(sealed: try log.part(0), enrolment: nil)
    refuses("seal_checkpoint_untrusted") { try module.verifier.advance(to: try log.checkpoint(), consistency: []) }
    refuses("seal_checkpoint_untrusted") { try verify(bundle) }
    #expect(module.verifier.newestHead == nil)
  }

  @Test func anotherHistoryIsRefused() throws {
    let (log, bundle) = try sealed()
    // Signed by the log's own key, but not the history that the module knows.
    var fork = PreparedLog(world)
    let index = try fork.append(try command(world.owner))
    for _ in 0..<3 { try fork.append(try command(world.owner)) }
    let forged = SealBundle(sealed: try fork.part(index), enrolment: nil)
    refuses("seal_checkpoint_inconsistent") { try verify(forged) }
    refuses("seal_checkpoint_inconsistent") { try verify(forged, consistency: try fork.consistency(from: 3, to: 4)) }
    refuses("seal_checkpoint_inconsistent") {
      try module.verifier.advance(to: try fork.checkpoint(), consistency: try fork.consistency(from: 3, to: 4))
    }
    #expect(module.verifier.newestHead?.size == 3)
    refuses("seal_checkpoint_inconsistent") {
      try module.verifier.advance(to: try log.checkpoint(size: 2), consistency: [])
    }
    // A module that knows no checkpoint yet takes no seal.
    refuses("seal_checkpoint_inconsistent") { try verify(bundle, with: TestModule(verifier: world.verifier("test"))) }
  }

  // MARK: - What is refused about the evidence, though the log's key signed it

  @Test func evidenceOfAnotherKeyMintsNothing() throws {
    let thief = SigningKey(.p256, random: world.random)
    let claimed = TestParty.thief(as: world.owner, thief)
    let signed = try world.sign("/v1/test", [:], as: claimed, key: thief)
    refuses("seal_evidence_invalid") { try verify(try sealed(signed).bundle) }
  }

  @Test func anAlteredRequestMintsNothing() throws {
    let evidence = try CommandEvidence(decoding: try command(world.owner).encoded)
    let request = evidence.request
    func altered(_ change: (inout [RequestRecord.Field]) -> Void, body: [UInt8]? = nil, uri: String? = nil) -> [UInt8] {
      var fields = request.fields
      change(&fields)
      return CommandEvidence(
        request: RequestRecord(
          method: request.method, targetURI: uri ?? request.targetURI, fields: fields,
          signatureInput: request.signatureInput, signature: request.signature, body: body ?? request.body),
        principal: evidence.principal, key: evidence.key, enrolmentIndex: 0
      ).encoded
    }
    let cases: [(String, [UInt8])] = [
      ("digest_mismatch", altered({ _ in }, body: [0x7B, 0x7D])),
      ("signature_invalid", altered({ _ in }, uri: request.targetURI + "2")),
      ("signature_invalid", altered({ $0[$0.count - 1] = .init(name: "authorization", value: "DPoP other") })),
      ("seal_evidence_invalid", altered({ $0.append(.init(name: "x-more", value: "y")) })),
      ("seal_evidence_invalid", altered({ $0.reverse() })),
      ("seal_evidence_invalid", [1, 2, 3]),
    ]
    for (code, content) in cases {
      refuses(code) {
        _ = try EvidenceVerifier(genesis: world.genesis).verify(content, at: world.clock.now()) { _ in nil }
      }
    }
    // Too late, it is evidence no more: the signature must have counted when the gate decided.
    refuses("signature_expired") {
      _ = try EvidenceVerifier(genesis: world.genesis)
        .verify(evidence.encoded, at: world.clock.now().adding(seconds: 300)) { _ in nil }
    }
  }

  @Test func approvalsByOthersAreNone() throws {
    let (agent, other) = (world.agents[0], world.agents[1])
    let cases: [(String, SignedCommand, audience: String, deny: Bool)] = [
      ("another agent", try approval(of: other, by: world.owner), "identity", false),
      (
        "another key", try approval(of: agent, by: world.owner, thumbprint: other.principal.thumbprint), "identity",
        false
      ),
      ("an officer", try approval(of: agent, by: world.officer), "identity", false),
      ("denied", try approval(of: agent, by: world.owner), "identity", true),
      ("another module", try approval(of: agent, by: world.owner), "ledger", false),
      ("an agent", try approval(of: agent, by: other), "identity", false),
      ("no approval", try command(world.owner), "identity", false),
    ]
    for (name, approval, audience, deny) in cases {
      var log = PreparedLog(world)
      log.append(.genesis(digest: Genesis.digest(world.genesisText)), SaltedContent(salt: [], content: []))
      let approved = try log.append(approval, audience: audience, deny: deny)
      let index = try log.append(try command(agent, enrolledAt: approved))
      let module = TestModule(verifier: world.verifier("test"))
      try module.verifier.advance(to: try log.checkpoint(), consistency: [])
      do {
        try verify(SealBundle(sealed: try log.part(index), enrolment: try log.part(approved)), with: module)
        Issue.record("approved by \(name)")
      } catch {
        #expect((error as? Problem)?.code == "seal_evidence_invalid", "\(name): \(error)")
      }
    }
  }

  // MARK: - Minting in the gate's process

  @Test func mintingChecksTheLeafAgain() throws {
    let signed = try command(world.owner)
    let (log, bundle) = try sealed(signed)
    let leaf = bundle.sealed.leaf
    guard case .authorized(let value) = try Leaf.decode(leaf).leaf else { return }
    let accepted = try module.verifier.advance(to: try log.checkpoint(), consistency: [])
    func mint(
      _ module: TestModule, _ read: SignedCommand, id: CommandID, inclusion: [MerkleHash], salt: [UInt8],
      _ checkpoint: AcceptedCheckpoint
    ) throws(Problem) {
      let context = CommandContext(
        id: id, principal: world.owner.principal, decidedAt: world.clock.now(), leafIndex: 1, signed: signed)
      _ = try module.verifier.mint(
        try module.read(read),
        authorized: AuthorizedCommand(context: context, leaf: leaf, salt: salt, references: []),
        inclusion: inclusion, checkpoint: checkpoint, now: world.clock.now())
    }
    let (proof, salt) = (bundle.sealed.proof.hashes, bundle.sealed.salt)
    try mint(module, signed, id: value.command, inclusion: proof, salt: salt, accepted)
    let other = TestModule(verifier: world.verifier("test"))
    refuses("seal_checkpoint_inconsistent") {
      try mint(other, signed, id: value.command, inclusion: proof, salt: salt, accepted)
    }
    refuses("seal_commitment_mismatch") {
      try mint(module, signed, id: CommandID(from: world.random), inclusion: proof, salt: salt, accepted)
    }
    refuses("seal_commitment_mismatch") {
      try mint(module, try command(world.owner), id: value.command, inclusion: proof, salt: salt, accepted)
    }
    refuses("seal_commitment_mismatch") {
      try mint(module, signed, id: value.command, inclusion: proof, salt: world.random.bytes(32), accepted)
    }
    refuses("seal_not_included") { try mint(module, signed, id: value.command, inclusion: [], salt: salt, accepted) }
  }

  // MARK: - Bundles from outside

  @Test func bundlesThatCannotBeReadAreRefused() throws {
    let good = try sealed().bundle.json
    guard let sealedPart = good["sealed"]?.object else { return }
    func with(_ name: String, _ value: JSONValue?) -> JSONValue {
      var part = sealedPart
      part[name] = value
      return ["sealed": .object(part)]
    }
    refuses("seal_missing") { _ = try SealBundle([:]) }
    let malformed: [JSONValue] = [
      1, ["sealed": 1], ["sealed": [:]], with("leaf", nil), with("leaf", "***"), with("salt", "AAAA"),
      with("content", "*"), with("proof", "c2sp.org/tlog-proof@v1\n"), with("more", 1),
      ["sealed": .object(sealedPart), "enrolment": 1], ["sealed": .object(sealedPart), "more": 1],
    ]
    for json in malformed { refuses("seal_malformed") { _ = try SealBundle(json) } }
  }
}

extension TestParty {
  /// A principal's record with another key in it.
  fileprivate static func thief(as party: TestParty, _ key: SigningKey) -> Principal {
    let real = party.principal
    return Principal(
      id: real.id, kind: real.kind, tenant: real.tenant, owner: real.owner, thumbprint: key.verificationKey.thumbprint,
      key: key.publicJWK.bareJSON.canonical(), status: .active, enrolmentIndex: 0)
  }
}
