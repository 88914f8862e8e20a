package import AgentIdentity
package import CommandGate
import Consent
import Foundation
package import JOSE
package import Ledger
package import Payments
import Rails
package import Seal
import Synchronization
import TransparencyLog
package import Wire

/// A key with the principal that it belongs to.
package struct TestParty: Sendable {
  /// The principal as genesis or registration has it.
  package let principal: Principal
  /// Its key.
  package let key: SigningKey

  init(_ id: String, _ kind: Principal.Kind, owner: String, _ key: SigningKey) {
    self.key = key
    principal = Principal(
      id: id, kind: kind, tenant: TestWorld.tenant, owner: owner, thumbprint: key.verificationKey.thumbprint,
      key: key.publicJWK.bareJSON.canonical(), status: kind == .agent ? .pending : .active, enrolmentIndex: 0)
  }
}

/// What does not depend on the state of a deployment: keys, genesis, clock and randomness, all from one seed.
package struct TestWorld: Sendable {
  /// The only tenant.
  package static let tenant = "tnt_test"
  /// Where the API would be.
  package static let authority = "trustcore.test"
  /// Who the console is to authenticators.
  package static let console = ConsoleIdentity(
    host: "approve.trustcore.test", approvalID: "approve.trustcore.test", signInID: "trustcore.test")
  /// Where the console's pages would come from.
  package static let origin = "https://approve.trustcore.test"

  /// The log's key.
  package let custodian: SoftwareLogCustodian
  /// The clock of gate and modules.
  package let clock: ManualClock
  /// The only source of randomness.
  package let random: SeededRandom
  /// A security officer.
  package let officer: TestParty
  /// An owner.
  package let owner: TestParty
  /// Another owner of the same tenant.
  package let stranger: TestParty
  /// Agents of the owner, to be registered and approved: P-256, Ed25519 and P-256.
  package let agents: [TestParty]
  /// The bank, a principal once an officer has configured the rail with its key.
  package let bank: TestParty
  /// The genesis.
  package let genesis: Genesis
  /// The text of `genesis.json`.
  package let genesisText: [UInt8]

  /// A world from a seed.
  package init(seed: UInt64 = 1) throws {
    custodian = try SoftwareLogCustodian()
    clock = ManualClock()
    random = SeededRandom(seed)
    officer = TestParty("off_1", .officer, owner: "", SigningKey(.p256, random: random))
    owner = TestParty("own_1", .owner, owner: "own_1", SigningKey(.ed25519, random: random))
    stranger = TestParty("own_2", .owner, owner: "own_2", SigningKey(.p256, random: random))
    agents = [
      TestParty("agt_1", .agent, owner: "own_1", SigningKey(.p256, random: random)),
      TestParty("agt_2", .agent, owner: "own_1", SigningKey(.ed25519, random: random)),
      TestParty("agt_3", .agent, owner: "own_1", SigningKey(.p256, random: random)),
    ]
    bank = TestParty("bnk_1", .bank, owner: "", SigningKey(.ed25519, random: random))
    let origin = "test.dev.invalid/log"
    genesis = Genesis(
      origin: origin, trustDomain: "test.dev.invalid", environment: "development", created: clock.now(),
      rootFingerprint: [UInt8](repeating: 1, count: 32), softwareDigest: [UInt8](repeating: 2, count: 32),
      logKeys: [try NoteVerifierKey(name: origin, publicKey: custodian.publicKeyBytes)],
      roster: [officer.principal, owner.principal, stranger.principal], console: Self.console)
    genesisText = try genesis.encoded()
  }

  /// A verifier of seals for a module.
  package func verifier(_ audience: String) -> SealVerifier {
    SealVerifier(audience: audience, environment: genesis.environment, origin: genesis.origin, logKeys: genesis.logKeys)
  }

  /// Founds a deployment: leaf 0, the roster, and the signer's head file.
  package func found<Store: UnitStore>(_ store: Store, headFile: String) async throws {
    try CheckpointSigner.createNew(headFile: headFile, origin: genesis.origin)
    let roster = genesis.roster
    try await store.openLog(genesis: genesisText, events: [], at: clock.now(), random: random) { unit in
      for principal in roster { try unit.insert(principal) }
    }
  }

  /// A signed command: the request is signed with the party's key and verified as the API does.
  /// - Parameters:
  ///   - principal: as the store has it now.
  ///   - seconds: how long the signature lives.
  package func sign(
    _ path: String, _ body: JSONValue, as principal: Principal, key: SigningKey, idempotencyKey: String? = nil,
    seconds: Int64 = 300
  ) throws -> SignedCommand {
    let now = clock.now()
    let target = HTTPMessage.Target(
      method: "POST", scheme: "https", authority: Self.authority, path: path, query: nil)
    let key_ = idempotencyKey ?? Base64.URL.encode(random.bytes(12))
    let headers = [
      HTTPMessage.Field("content-type", "application/json"), HTTPMessage.Field("idempotency-key", "\"\(key_)\""),
      HTTPMessage.Field("authorization", "DPoP test"),
    ]
    let content = body.canonical()
    let fields = try RequestSigner(key: key).sign(
      target, headers: headers, body: content, created: now, nonce: Base64.URL.encode(random.bytes(18)),
      expires: now.adding(seconds: seconds))
    return try UnverifiedCommand(HTTPMessage(target, headers: headers + fields), body: content)
      .verified(by: principal, key: key.verificationKey, at: now)
  }
}

/// A deployment in this process, on any store: the gate and every module over a software log key.
package final class TestDeployment<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  /// Keys, genesis, clock and randomness.
  package let world: TestWorld
  /// The storage.
  package let store: Store
  /// The gate.
  package let gate: Gate<Store>
  /// The ledger.
  package let ledger: LedgerModule<Store.Unit>
  /// The payments.
  package let payments: PaymentsModule<Store.Unit>
  private let running = Mutex<Task<Void, Never>?>(nil)

  /// Opens a deployment that was founded; ``start()`` runs it.
  /// - Parameters:
  ///   - configure: changes the gate's configuration, whose delays are 1 ms here.
  ///   - replacing: puts another module in the place of payments, such as one that decides wrongly.
  package init(
    _ world: TestWorld, store: Store, headFile: String,
    configure: (inout Gate<Store>.Configuration) -> Void = { _ in },
    replacing: (PaymentsModule<Store.Unit>) -> any CommandModule<Store.Unit> = { $0 }
  ) async throws {
    self.world = world
    self.store = store
    ledger = LedgerModule(verifier: world.verifier(LedgerModule<Store.Unit>.audience))
    payments = PaymentsModule(verifier: world.verifier(PaymentsModule<Store.Unit>.audience))
    let consent = ConsentModule<Store.Unit>(verifier: world.verifier(ConsentModule<Store.Unit>.audience)) {
      (rail, destination) throws(Problem) in
      guard rail == "ach" else { return }
      do throws(ACHError) { _ = try ACHAccount(json: destination) } catch { throw error.problem }
    }
    var configuration = Gate<Store>.Configuration(environment: world.genesis.environment)
    configuration.retryDelay = 1
    configuration.closeDelay = 1
    configure(&configuration)
    let signer = try CheckpointSigner(headFile: headFile, origin: world.genesis.origin, custodian: world.custodian)
    gate = Gate(
      store: store, signer: signer,
      modules: [
        ledger, replacing(payments), consent,
        IdentityModule(verifier: world.verifier(IdentityModule<Store.Unit>.audience)),
        GovernanceModule(verifier: world.verifier(GovernanceModule<Store.Unit>.audience)),
      ],
      time: world.clock, random: world.random, configuration: configuration)
    try await gate.recover(genesis: world.genesis)
  }

  /// Runs the gate.
  package func start() { running.withLock { $0 = Task { [gate] in await gate.run() } } }

  /// Stops the gate; returns once nothing is in flight.
  package func stop() async {
    await gate.stop()
    await running.withLock { $0 }?.value
  }

  /// Returns once every command has its outcome and every leaf is under the public checkpoint.
  package func settle() async throws {
    while true {
      let head = try await store.read { unit in try unit.unfinished().isEmpty ? unit.head() : nil }
      if let head, let note = gate.published.note, try UnverifiedCheckpoint(note).claimed.head == head { return }
      await Task.yield()
    }
  }

  /// The command of a party, whose principal is looked up.
  package func sign(
    _ path: String, _ body: JSONValue, by party: TestParty, idempotencyKey: String? = nil, seconds: Int64 = 300
  ) async throws -> SignedCommand {
    let principal = try await store.read { unit in try unit.principal(thumbprint: party.principal.thumbprint) }
    return try world.sign(
      path, body, as: principal ?? party.principal, key: party.key, idempotencyKey: idempotencyKey, seconds: seconds)
  }

  /// Signs and submits a command.
  @discardableResult
  package func submit(
    _ path: String, _ body: JSONValue, by party: TestParty, idempotencyKey: String? = nil, seconds: Int64 = 300
  ) async throws -> Receipt {
    let signed = try await sign(path, body, by: party, idempotencyKey: idempotencyKey, seconds: seconds)
    return try await gate.submit(signed, to: Self.audience(of: path))
  }

  /// The module that carries out the commands at a path.
  static func audience(of path: String) -> String {
    switch path.split(separator: "/").dropFirst().first {
    case "agents": "identity"
    case "invitations", "groups", "policies": "governance"
    case "consents": "consent"
    case "payments", "approvals", "rails": "payments"
    default: "ledger"
    }
  }

  /// Registers an agent, which then is pending.
  package func register(_ agent: TestParty) async throws {
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
  }

  /// Registers an agent and has its owner approve it.
  package func enrol(_ agent: TestParty) async throws {
    try await register(agent)
    try await submit(
      "/v1/agents/\(agent.principal.id)/approve", ["thumbprint": .string(agent.principal.thumbprint)], by: world.owner)
  }

  /// Opens an account and returns its identifier.
  package func openAccount(
    by party: TestParty, currency: String = "USD", kind: String = "customer", overdraft: Int64 = 0
  ) async throws -> String {
    let receipt = try await submit(
      "/v1/ledger/accounts",
      ["currency": .string(currency), "kind": .string(kind), "overdraft_limit": .integer(overdraft)], by: party)
    return try receipt.text("account", "id")
  }

  /// Releases a hold whose time has come, as the daemon does.
  @discardableResult
  package func expire(_ hold: String) async throws -> UInt64? {
    let ledger = ledger
    return try await gate.record { unit, moment in
      try ledger.expire(hold, at: moment.time, in: &unit).map { EventRecord(kind: "hold.expired", content: $0) }
    }
  }
}

extension Receipt {
  /// The text that the result has at a path of members.
  package func text(_ path: String...) throws -> String {
    var value: JSONValue? = try JSONValue(parsing: command.result)
    for name in path { value = value?.object?[name] }
    guard let text = value?.string else { throw Problem(500, "internal", "The result has no \(path).") }
    return text
  }
}

extension JSONValue {
  /// The body of a transfer from one account to another, in minor units.
  package static func transfer(_ from: String, _ to: String, _ amount: Int64, _ currency: String = "USD") -> JSONValue {
    ["entries": .entries(from, to, amount, currency)]
  }

  /// The body of a hold.
  package static func hold(
    _ from: String, _ to: String, _ amount: Int64, seconds: Int64 = 60, _ currency: String = "USD"
  ) -> JSONValue {
    ["entries": .entries(from, to, amount, currency), "expires_in": .integer(seconds)]
  }

  private static func entries(_ from: String, _ to: String, _ amount: Int64, _ currency: String) -> JSONValue {
    [
      [
        "account": .string(from), "side": "debit", "amount": .integer(amount), "currency": .string(currency),
      ],
      [
        "account": .string(to), "side": "credit", "amount": .integer(amount), "currency": .string(currency),
      ],
    ]
  }
}
