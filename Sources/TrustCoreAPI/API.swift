public import CommandGate
public import Consent
import Cosign
public import JOSE
public import KeyHierarchy
public import KeyService
public import Ledger
public import Payments
public import Seal
import TransparencyLog
public import Wire
public import WorkloadService

/// The HTTP surface: the table of routes over a gate and its storage.
public struct API<Store: UnitStore>: Sendable where Store.Unit: PaymentStore & KeyStore & WorkloadStore {
  /// Every route.
  public let table: RouteTable

  /// What the surface stands on.
  public struct Parts: Sendable {
    /// Decides and records.
    public var gate: Gate<Store>
    /// Read by the routes that change nothing.
    public var store: Store
    /// The ledger, for seals that are handed to it.
    public var ledger: LedgerModule<Store.Unit>
    /// Decides payments, for what people and the bank read of them.
    public var payments: PaymentsModule<Store.Unit>
    /// Judges a counterparty's destination by the rules of its rail.
    public var validate: ConsentModule<Store.Unit>.DestinationCheck
    /// The deployment's genesis.
    public var genesis: Genesis
    /// The public base URL, without a slash at its end; also the OAuth issuer.
    public var publicURL: String
    /// Signs access tokens.
    public var tokenSigner: JWSSigner
    /// SHA-256 of the auditor's token.
    public var auditorDigest: [UInt8]
    /// Counts HSM operations.
    public var custodian: any KeyCustodian
    /// Carries out what is ordered about keys.
    public var keys: KeyService<GateKeyRecorder<Store>>
    /// Gives workloads their identities.
    public var workloads: WorkloadService<GateWorkloadRecorder<Store>>
    /// How the fetching of federated bundles does.
    public var federation: @Sendable () async -> [JSONObject]
    /// How the tokens do.
    public var tokens: @Sendable () -> [TokenHealth]
    /// What kind of HSM it is; a deviation for development shows here by its loud name.
    public var hsm: String
    /// The clock.
    public var time: any TimeSource
    /// Random bytes.
    public var random: any RandomSource

    /// Collects the parts.
    public init(
      gate: Gate<Store>, store: Store, ledger: LedgerModule<Store.Unit>, payments: PaymentsModule<Store.Unit>,
      validate: @escaping ConsentModule<Store.Unit>.DestinationCheck, genesis: Genesis, publicURL: String,
      tokenSigner: JWSSigner, auditorDigest: [UInt8], custodian: any KeyCustodian,
      keys: KeyService<GateKeyRecorder<Store>>, workloads: WorkloadService<GateWorkloadRecorder<Store>>,
      federation: @escaping @Sendable () async -> [JSONObject], tokens: @escaping @Sendable () -> [TokenHealth],
      hsm: String,
      time: any TimeSource, random: any RandomSource
    ) {
      self.gate = gate
      self.store = store
      self.ledger = ledger
      self.payments = payments
      self.validate = validate
      self.genesis = genesis
      self.publicURL = publicURL
      self.tokenSigner = tokenSigner
      self.auditorDigest = auditorDigest
      self.custodian = custodian
      self.keys = keys
      self.workloads = workloads
      self.federation = federation
      self.tokens = tokens
      self.hsm = hsm
      self.time = time
      self.random = random
    }
  }

  /// Builds the table.
  public init(_ parts: Parts) {
    let issuer = Issuer(url: parts.publicURL, signer: parts.tokenSigner)
    let ceremonies = Ceremonies(random: parts.random)
    let console = parts.genesis.console.map { (identity: $0, origin: issuer.origin(of: $0)) }
    let authenticator = Authenticator(
      store: parts.store, issuer: issuer, auditorDigest: parts.auditorDigest, console: console,
      ceremonies: ceremonies, time: parts.time)
    let oauth = OAuthRoutes(
      gate: parts.gate, store: parts.store, issuer: issuer, authenticator: authenticator, time: parts.time,
      random: parts.random)
    let commands = CommandRoutes(
      gate: parts.gate, store: parts.store, ledger: parts.ledger, genesis: parts.genesis,
      authenticator: authenticator, time: parts.time)
    let log = LogRoutes(gate: parts.gate, store: parts.store, authenticator: authenticator)
    let description = DescriptionHolder()
    let keys = KeyRoutes(gate: parts.gate, keys: parts.keys, authenticator: authenticator)
    let workloads = WorkloadRoutes(
      gate: parts.gate, store: parts.store, workloads: parts.workloads, authenticator: authenticator, time: parts.time,
      genesis: parts.genesis, issuer: Self.workloadIssuer(parts.publicURL), federation: parts.federation)
    var routes = commands.routes + oauth.routes + log.routes + keys.routes + workloads.routes
    if let (identity, origin) = console {
      let people = PeopleRoutes(
        gate: parts.gate, store: parts.store, console: identity, origin: origin, authenticator: authenticator,
        ceremonies: ceremonies, time: parts.time, random: parts.random)
      let consents = ConsentRoutes(
        gate: parts.gate, store: parts.store, console: identity, validate: parts.validate,
        authenticator: authenticator, ceremonies: ceremonies, time: parts.time, random: parts.random)
      let payments = PaymentRoutes(
        gate: parts.gate, store: parts.store, payments: parts.payments, console: identity,
        authenticator: authenticator, ceremonies: ceremonies, time: parts.time, random: parts.random)
      let pages = ConsoleRoutes(payments: payments, authenticator: authenticator)
      routes += people.routes + consents.routes + payments.routes + pages.routes
    }
    routes += Self.operation(parts, authenticator, description)
    table = RouteTable(routes)
    description.set(OpenAPI.document(table, url: parts.publicURL))
  }

  /// The `iss` of JWT-SVIDs: another one than that of access tokens, below the same host.
  public static func workloadIssuer(_ publicURL: String) -> String { publicURL + WorkloadRoutes<Store>.issuerPath }

  private static func operation(
    _ parts: Parts, _ authenticator: Authenticator<Store>, _ description: DescriptionHolder
  ) -> [Route] {
    [
      Route("GET", "/healthz", "health", "Whether the process answers.", access: .open, content: .json("Health")) { _ in
        APIResponse(["status": "ok"])
      },
      Route("GET", "/readyz", "readiness", "Whether commands are taken.", access: .open, content: .json("Health")) {
        _ in
        switch await parts.gate.mode {
        case .running: return APIResponse(["status": "ready"])
        case .readOnly(let why): throw Problem(503, "log_read_only", "Commands are refused: \(why).")
        case .stopped: throw Problem(503, "stopping", "The server is stopping.")
        }
      },
      Route(
        "GET", "/v1/status", "status", "The deployment's state, for operators and auditors.", access: .auditor,
        content: .json("Status")
      ) { request in
        try authenticator.auditor(request)
        let mode =
          switch await parts.gate.mode {
          case .running: "running"
          case .readOnly: "read_only"
          case .stopped: "stopped"
          }
        let size = try parts.gate.published.note.map { try UnverifiedCheckpoint($0).claimed.size } ?? 0
        var status: JSONObject = [
          "mode": .string(mode), "environment": .string(parts.genesis.environment),
          "trust_domain": .string(parts.genesis.trustDomain), "log_origin": .string(parts.genesis.origin),
          "log_size": .integer(Int64(size)), "hsm": .string(parts.hsm),
          "hsm_operations": .integer(Int64(parts.custodian.operationCount)),
          "software_sha256": .string(Hex.encode(parts.genesis.softwareDigest)),
          "tokens": .array(parts.tokens().map(\.json)),
        ]
        for member in try await parts.keys.status() { status[member.name] = member.value }
        return APIResponse(status)
      },
      Route(
        "GET", "/v1/hsm", "hsm", "How the tokens do.", access: .auditor, content: .json("HSM")
      ) { request in
        try authenticator.auditor(request)
        return APIResponse([
          "hsm": .string(parts.hsm), "hsm_operations": .integer(Int64(parts.custodian.operationCount)),
          "tokens": .array(parts.tokens().map(\.json)), "hostile_unwrap": .string(await parts.keys.hostileUnwrap),
        ])
      },
      Route(
        "GET", "/openapi.json", "openAPI", "This description (OpenAPI 3.1).", access: .open, content: .json("OpenAPI")
      ) { _ in
        APIResponse(200, contentType: "application/json", body: description.bytes)
      },
    ]
  }
}

extension TokenHealth {
  /// The token as the status shows it.
  fileprivate var json: JSONValue {
    [
      "role": .string(role.rawValue), "member": .integer(Int64(member)), "label": .string(label),
      "serial": .string(serial), "state": .string(state.rawValue), "in_use": .bool(isInUse), "reason": .string(reason),
      "logins": .integer(Int64(clamping: logins)), "sessions": .integer(Int64(sessions)), "lent": .integer(Int64(lent)),
    ]
  }
}
