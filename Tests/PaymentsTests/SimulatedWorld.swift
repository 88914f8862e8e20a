import AgentIdentity
import CommandGate
import Consent
import Cosign
import Crypto
import JOSE
import Ledger
import Payments
import Rails
import Seal
import SoftwareAuthenticator
import Synchronization
import TestSupport
import TransparencyLog
import Wire

/// A key with the principal that it belongs to. All keys are Ed25519, whose signatures are the same every time: a log
/// commits to signatures, and a seed must lead to one log.
struct Party: Sendable {
  let principal: Principal
  let key: SigningKey
  var id: String { principal.id }

  init(_ id: String, _ kind: Principal.Kind, owner: String, _ random: SeededRandom) {
    key = SigningKey(.ed25519, random: random)
    principal = Principal(
      id: id, kind: kind, tenant: TestWorld.tenant, owner: owner, thumbprint: key.verificationKey.thumbprint,
      key: key.publicJWK.bareJSON.canonical(), status: kind == .agent ? .pending : .active, enrolmentIndex: 0)
  }
}

/// A person with a hardware key whose signatures are the same every time.
final class Person: Sendable {
  let id: String
  private let authenticator: Mutex<SoftwareAuthenticator>

  init(id: String, random: SeededRandom) {
    self.id = id
    authenticator = Mutex(SoftwareAuthenticator(random: random))
  }

  func register(challenge: [UInt8]) throws -> CredentialEnrolment.Registration {
    let options: JSONValue = [
      "rp": ["id": .string(TestWorld.console.approvalID), "name": "TrustCore"],
      "user": ["id": .string(Base64.URL.encode(id.utf8)), "name": .string(id), "displayName": .string(id)],
      "challenge": .string(Base64.URL.encode(challenge)), "pubKeyCredParams": [["type": "public-key", "alg": -8]],
      "attestation": "none",
    ]
    let answer = try authenticator.withLock { try $0.make(options: options, origin: TestWorld.origin) }
    func bytes(_ member: String) throws -> [UInt8] {
      try Base64.URL.decode(answer.object?["response"]?.object?[member]?.string ?? "")
    }
    return CredentialEnrolment.Registration(
      purpose: .approval, challenge: challenge, clientData: try bytes("clientDataJSON"),
      attestation: try bytes("attestationObject"))
  }

  func assert(challenge: [UInt8]) throws -> JSONValue {
    let options: JSONValue = [
      "rpId": .string(TestWorld.console.approvalID), "challenge": .string(Base64.URL.encode(challenge)),
    ]
    return try authenticator.withLock { try $0.get(options: options, origin: TestWorld.origin) }
  }
}

/// Keys, genesis, clock and randomness of one seed.
struct SimulatedWorld: Sendable {
  let custodian: SoftwareLogCustodian
  let clock: SimulatedClock
  let random: SeededRandom
  let officer: Party
  let owners: [Party]
  /// Two of each owner.
  let agents: [Party]
  let bank: Party
  let genesis: Genesis
  let genesisText: [UInt8]

  init(seed: UInt64, start: Timestamp) throws {
    let random = SeededRandom(seed)
    self.random = random
    custodian = try SoftwareLogCustodian()
    clock = SimulatedClock(start)
    officer = Party("off_1", .officer, owner: "", random)
    let owners = ["own_0", "own_1"].map { Party($0, .owner, owner: $0, random) }
    agents = (0..<4).map { Party("agt_\($0)", .agent, owner: owners[$0 / 2].id, random) }
    bank = Party("bnk_1", .bank, owner: "", random)
    self.owners = owners
    let origin = "test.dev.invalid/log"
    genesis = Genesis(
      origin: origin, trustDomain: "test.dev.invalid", environment: "development", created: start,
      rootFingerprint: [UInt8](repeating: 1, count: 32), softwareDigest: [UInt8](repeating: 2, count: 32),
      logKeys: [try NoteVerifierKey(name: origin, publicKey: custodian.publicKeyBytes)],
      roster: [officer.principal] + owners.map(\.principal), console: TestWorld.console)
    genesisText = try genesis.encoded()
  }

  func verifier(_ audience: String) -> SealVerifier {
    SealVerifier(audience: audience, environment: genesis.environment, origin: genesis.origin, logKeys: genesis.logKeys)
  }

  func found(_ disk: some SimulatedDisk) async throws {
    try CheckpointSigner.createNew(headFile: disk.headFile, origin: genesis.origin)
    let roster = genesis.roster
    try await disk.store.openLog(genesis: genesisText, events: [], at: clock.now(), random: random) { unit in
      for principal in roster { try unit.insert(principal) }
    }
  }

  func sign(_ path: String, _ body: JSONValue, as principal: Principal, _ key: SigningKey) throws -> SignedCommand {
    let now = clock.now()
    let target = HTTPMessage.Target(
      method: "POST", scheme: "https", authority: TestWorld.authority, path: path, query: nil)
    let headers = [
      HTTPMessage.Field("content-type", "application/json"),
      HTTPMessage.Field("idempotency-key", "\"\(Base64.URL.encode(random.bytes(12)))\""),
      HTTPMessage.Field("authorization", "DPoP test"),
    ]
    let content = body.canonical()
    let fields = try RequestSigner(key: key).sign(
      target, headers: headers, body: content, created: now, nonce: Base64.URL.encode(random.bytes(18)),
      expires: now.adding(seconds: 300))
    return try UnverifiedCommand(HTTPMessage(target, headers: headers + fields), body: content)
      .verified(by: principal, key: key.verificationKey, at: now)
  }
}

/// One life of a deployment: from its start to a crash, or to its end.
final class Life<Disk: SimulatedDisk>: Sendable {
  typealias Unit = Disk.Store.Unit

  let world: SimulatedWorld
  let disk: Disk
  let gate: Gate<Disk.Store>
  let payments: PaymentsModule<Unit>
  let ledger: LedgerModule<Unit>
  private let running: Task<Void, Never>

  init(
    _ world: SimulatedWorld, _ disk: Disk, on executor: OneByOne, isSlow: Bool,
    onStep: @Sendable @escaping (GateStep) -> Void
  ) async throws {
    self.world = world
    self.disk = disk
    ledger = LedgerModule(verifier: world.verifier(LedgerModule<Unit>.audience))
    payments = PaymentsModule(verifier: world.verifier(PaymentsModule<Unit>.audience))
    var configuration = Gate<Disk.Store>.Configuration(environment: world.genesis.environment)
    // A timer that fires at a time of its own would make a run unlike the next: it never does, or while the HSM is held.
    configuration.closeDelay = isSlow ? 1 : 86_400_000
    configuration.onStep = onStep
    let gate = Gate(
      store: disk.store,
      signer: try CheckpointSigner(
        headFile: disk.headFile, origin: world.genesis.origin, custodian: world.custodian),
      modules: [
        ledger, payments,
        ConsentModule<Unit>(
          verifier: world.verifier(ConsentModule<Unit>.audience), validate: RailDestination.validate),
        IdentityModule(verifier: world.verifier(IdentityModule<Unit>.audience)),
        GovernanceModule(verifier: world.verifier(GovernanceModule<Unit>.audience)),
      ], time: world.clock, random: world.random, configuration: configuration)
    self.gate = gate
    try await gate.recover(genesis: world.genesis)
    running = Task(executorPreference: executor) { await gate.run() }
  }

  func stop() async {
    await gate.stop()
    await running.value
  }

  /// Returns once every command has its outcome and every leaf is under the public checkpoint.
  func settle() async throws {
    while true {
      if let note = gate.published.note, let head = try await disk.store.read({ unit in try unit.head() }),
        try UnverifiedCheckpoint(note).claimed.head == head,
        try await disk.store.read({ unit in try unit.unfinished().isEmpty })
      {
        return
      }
      await Task.yield()
    }
  }

  func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout Unit) throws -> Result
  ) async throws -> Result { try await disk.store.read(body) }

  // MARK: - Commands

  func sign(_ path: String, _ body: JSONValue, by party: Party) async throws -> SignedCommand {
    let principal = try await read { unit in try unit.principal(thumbprint: party.principal.thumbprint) }
    return try world.sign(path, body, as: principal ?? party.principal, party.key)
  }

  func sign(
    _ path: String, _ kind: AssertedSubject, _ subject: JSONObject, by person: Person
  ) async throws -> SignedCommand {
    let assertion = try person.assert(challenge: kind.challenge(.object(subject)))
    let body: JSONObject = ["assertion": assertion, kind.rawValue: .object(subject)]
    let command = try UnverifiedAssertedCommand(
      targetURI: "https://\(TestWorld.authority)\(path)", body: JSONValue.object(body).canonical())
    let (credential, principal) = try await read { unit in
      (try unit.credential(id: command.credentialID), try unit.principal(id: person.id))
    }
    guard let credential, let principal else { throw Problem(401, "credential_unknown", "It is not enrolled.") }
    return try command.verified(
      by: principal, credential: credential,
      relyingParty: try TestWorld.console.relyingParty(.approval, origin: TestWorld.origin), at: world.clock.now())
  }

  @discardableResult
  func submit(_ path: String, _ body: JSONValue, by party: Party) async throws -> Receipt {
    try await gate.submit(try await sign(path, body, by: party), to: Self.audience(of: path))
  }

  static func audience(of path: String) -> String {
    switch path.split(separator: "/").dropFirst().first {
    case "agents": "identity"
    case "invitations", "groups", "policies": "governance"
    case "consents": "consent"
    case "payments", "approvals", "rails": "payments"
    default: "ledger"
    }
  }

  // MARK: - Founding

  func enrol(_ agent: Party, by owner: Party) async throws {
    let principal = agent.principal
    let key = try JSONValue(parsing: principal.key)
    try await gate.record { unit, _ in
      try unit.insert(principal)
      return EventRecord(
        kind: "agent.registered",
        content: [
          "agent": .string(principal.id), "owner": .string(principal.owner), "tenant": .string(principal.tenant),
          "thumbprint": .string(principal.thumbprint), "key": key,
        ])
    }
    try await submit("/v1/agents/\(agent.id)/approve", ["thumbprint": .string(principal.thumbprint)], by: owner)
  }

  func openAccount(_ currency: String, kind: String = "customer", overdraft: Int64 = 0, by party: Party) async throws
    -> String
  {
    try await submit(
      "/v1/ledger/accounts",
      ["currency": .string(currency), "kind": .string(kind), "overdraft_limit": .integer(overdraft)], by: party
    ).text("account", "id")
  }

  /// Has the officer invite a person, and the person enrol.
  func enrolPerson(_ name: String, owner: Party? = nil, group: String?) async throws -> Person {
    let token = world.random.bytes(32)
    let digest = Array(SHA256.hash(data: token))
    var invitee: JSONObject = ["kind": owner == nil ? "approver" : "owner", "name": .string(name)]
    invitee["id"] = owner.map { .string($0.id) }
    var body: JSONObject = [
      "digest": .string(Base64.URL.encode(digest)), "expires_in": 3600, "person": .object(invitee),
    ]
    body["group"] = group.map { .string($0) }
    let receipt = try await submit("/v1/invitations", .object(body), by: world.officer)
    let person = Person(id: try receipt.text("person"), random: world.random)
    let enrolment = CredentialEnrolment(
      person: person.id, origin: TestWorld.origin, invitationIndex: receipt.command.leafIndex, token: token,
      registrations: [try person.register(challenge: world.random.bytes(32))])
    try await gate.record { unit, moment in
      let credentials = try enrolment.credentials(
        of: TestWorld.console, enrolmentIndex: moment.leafIndex, at: moment.time
      ).map(\.credential)
      try GovernanceModule.enrol(
        enrolment, credentials, digest: digest, leafIndex: moment.leafIndex, at: moment.time, in: &unit)
      return EventRecord(kind: CredentialEnrolment.eventKind, content: enrolment.json)
    }
    return person
  }
}
