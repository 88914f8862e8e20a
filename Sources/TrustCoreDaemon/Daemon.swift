import AgentIdentity
public import CommandGate
import Consent
import Crypto
import Envelope
import Foundation
import HSMCustody
import Hummingbird
import HummingbirdCore
import HummingbirdHTTP2
import JOSE
import KeyHierarchy
import KeyManifests
import KeyService
import Ledger
public import Logging
import NIOCore
import NIOSSL
import Payments
import Seal
public import SecretMemory
import ServiceLifecycle
import StorageSQLite
import SwiftASN1
import TransparencyLog
import TrustCoreAPI
public import UnixSignals
import Wire
import WorkloadAPI
import WorkloadAttestation
import WorkloadIdentity
import WorkloadService
import X509

/// The appliance: HSM, storage, gate and server, opened in order and closed in the reverse one.
public final class Daemon: Sendable {
  /// How the daemon is started.
  public struct Configuration: Sendable {
    /// The state folder; absolute.
    public var state: String
    /// The port to listen on; 0 picks a free one on the first start and keeps it.
    public var port: Int
    /// The SoftHSM library, or one that stands before it; looked for where distributions put it when nil.
    public var pkcs11Module: String?
    /// Whether a `data` token that is gone is replaced by a new one, whose keys are recovered next.
    var replacesLostDataToken = false
    /// Called after each of the gate's steps; only crash tests set it.
    public var onStep: @Sendable (GateStep) -> Void = { _ in }

    /// Called once the server serves and `ready.json` is written, with a text that says where everything is.
    public var onReady: @Sendable (String) -> Void = { _ in }

    /// A development deployment in a folder.
    public init(state: String, port: Int) {
      self.state = state
      self.port = port
    }
  }

  /// At most so many connections at once; more wait in the kernel's queue.
  static let maximumConnections = 4096

  private let state: StateDirectory
  private let lock: FileHandle
  private let custodian: PKCS11Custodian
  private let store: SQLiteStore
  private let gate: Gate<SQLiteStore>
  private let ledger: LedgerModule<SQLiteUnit>
  private let keys: KeyService<GateKeyRecorder<SQLiteStore>>
  private let workloads: WorkloadService<GateWorkloadRecorder<SQLiteStore>>
  private let services: [any Service]
  private let logger: Logger
  private let address: String

  /// Opens a development deployment, which is made first where the folder is empty.
  /// - Throws: ``StartError`` or the error of the part that cannot be opened.
  public init(development configuration: Configuration, logger: Logger) async throws {
    try hardenProcess()
    // A PKCS#11 module may write to a server of its own that is gone.
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    // Files are nobody else's unless their mode says so.
    umask(0o077)
    let (time, random) = (SystemClock(), SystemRandom())
    let state = StateDirectory(path: configuration.state)
    self.state = state
    self.logger = logger
    let (lock, mustMake) = try state.openForDevelopment()
    self.lock = lock
    state.removeReady()
    if mustMake {
      logger.notice("making a development deployment", metadata: ["state": "\(state.path)"])
      try await DevelopmentDeployment(state: state, module: configuration.pkcs11Module, time: time, random: random)
        .make()
    }

    let (genesis, genesisDigest) = try Self.genesis(state)
    let hsm = try DevelopmentHSM.openOrCreate(directory: state.hsm, provider: configuration.pkcs11Module)
    if configuration.replacesLostDataToken, try hsm.replaceLostToken(.data) {
      logger.notice("made a new data token in place of the lost one")
    }
    // Without its data token the deployment still seals and pays; what needs keys says why it cannot.
    custodian = try hsm.openCustodian(roles: [.log, .identity, .data], tolerating: [.data])
    let signer = try CheckpointSigner(
      headFile: state.headFile, origin: genesis.origin, custodian: custodian, key: .logA)
    guard genesis.logKeys.contains(signer.verifierKey) else {
      throw StartError("the log token holds another key than genesis.json names: restore the token or the state folder")
    }
    store = try SQLiteStore(path: state.database)
    // Whoever can write genesis.json could otherwise name a roster of their own.
    if let first = try await store.read({ unit in try unit.entry(at: 0) }),
      try Leaf.decode(first).leaf != .genesis(digest: genesisDigest)
    {
      throw StartError("\(state.genesis) is not the genesis that the log begins with: restore it")
    }
    try await Self.checkManifest(store)
    func verifier(_ audience: String) -> SealVerifier {
      SealVerifier(
        audience: audience, environment: genesis.environment, origin: genesis.origin, logKeys: genesis.logKeys)
    }
    ledger = LedgerModule<SQLiteUnit>(verifier: verifier(LedgerModule<SQLiteUnit>.audience))
    let payments = PaymentsModule<SQLiteUnit>(verifier: verifier(PaymentsModule<SQLiteUnit>.audience))
    let modules: [any CommandModule<SQLiteUnit>] = [
      ledger, payments,
      IdentityModule<SQLiteUnit>(verifier: verifier(IdentityModule<SQLiteUnit>.audience)),
      GovernanceModule<SQLiteUnit>(verifier: verifier(GovernanceModule<SQLiteUnit>.audience)),
      ConsentModule<SQLiteUnit>(
        verifier: verifier(ConsentModule<SQLiteUnit>.audience), validate: RailDestination.validate),
      KeyModule<SQLiteUnit>(verifier: verifier(KeyModule<SQLiteUnit>.audience)),
      WorkloadModule<SQLiteUnit>(
        verifier: verifier(WorkloadModule<SQLiteUnit>.audience), trustDomain: try TrustDomain(genesis.trustDomain)),
    ]
    var gateConfiguration = Gate<SQLiteStore>.Configuration(environment: genesis.environment)
    gateConfiguration.onStep = configuration.onStep
    gate = Gate(
      store: store, signer: signer, modules: modules, time: time, random: random,
      configuration: gateConfiguration)
    let certificate = try ServerCertificate(
      state, custodian, try TrustDomain(genesis.trustDomain), time: time, random: random)
    if let head = try await store.read({ unit in try unit.head() }), await !signer.check(head).isReadOnly {
      try await certificate.follow(store) { [store] event in
        try await store.append(event, at: time.now(), random: random)
      }
    }
    try await gate.recover(genesis: genesis)

    keys = try KeyService(
      KeyService.Parts(
        custodians: [custodian], recovery: try Self.recoveryKey(state), environment: genesis.environment,
        node: ProcessInfo.processInfo.hostName, headFile: state.keyHeadFile, journalFolder: state.keyUses,
        recorder: GateKeyRecorder(
          gate: gate, store: store, genesis: genesis, erase: { [store] in try await store.eraseKeyVersions($0) },
          scrub: { [store] in try await store.scrub() }), time: time, random: random))
    let port = try Self.port(configuration.port, state)
    let publicURL = "https://localhost:\(port)"
    address = "127.0.0.1:\(port)"
    workloads = try Self.workloads(
      state, hsm, custodian, genesis, publicURL, GateWorkloadRecorder(gate: gate, store: store), time, random)
    try await workloads.open()
    try state.makeRun()
    let workloadAPI = try WorkloadAPIServer(path: state.workloadSocket, logger: logger) { [workloads] in
      workloads.connect($0)
    }
    let endpoints = BundleEndpointClient()
    let federation = FederationRefresher(workloads, random: random) { terms, bundle, now in
      try await endpoints.fetch(terms, endpoint: bundle, now: now)
    }
    let accessTokens = try JWSSigner(custodian: custodian, key: .oauthA, keyID: KeyName.oauthA.label)
    let api = API(
      API.Parts(
        gate: gate, store: store, ledger: ledger, payments: payments, validate: RailDestination.validate,
        genesis: genesis, publicURL: publicURL, tokenSigner: accessTokens,
        auditorDigest: Array(SHA256.hash(data: Array(try state.text(state.auditorToken).utf8))),
        custodian: custodian, keys: keys, workloads: workloads,
        federation: { await federation.status() }, tokens: { [custodian] in custodian.health() },
        hsm: "developmentHSM",
        time: time, random: random))
    let tls = try certificate.tls()
    let ready = try Self.ready(state, hsm, genesis, publicURL)
    let application = Application(
      responder: APIResponder(api.table, random: random, logger: logger),
      server: HTTPServerBuilder { responder in
        EventLoopChannel(
          base: try HTTP2UpgradeChannel(
            tlsConfiguration: tls,
            configuration: .init(
              idleTimeout: .seconds(60), gracefulCloseTimeout: .seconds(5),
              streamConfiguration: .init(idleTimeout: .seconds(60))),
            responder: responder))
      },
      configuration: ApplicationConfiguration(
        address: .hostname("127.0.0.1", port: port),
        availableConnectionsDelegate: .maximum(Self.maximumConnections, logger: logger)),
      onServerRunning: { _ in
        do { try state.write(ready.encoded, to: state.ready) } catch {
          logger.error("ready.json cannot be written", metadata: ["error": "\(error)"])
        }
        configuration.onReady(ready.summary(state: state.path))
      },
      logger: logger)
    services = [
      GateService(gate: gate),
      Sweeper(gate: gate, store: store, ledger: ledger, payments: payments, time: time, logger: logger),
      KeyKeeper(keys: keys, custodian: custodian, logger: logger),
      StartProbe(hsm: hsm, state: state, logger: logger),
      WorkloadKeeper(workloads: workloads, federation: federation, time: time, logger: logger) { [gate, store] in
        try await certificate.follow(store) { event in try await gate.record { _, _ in event } }
      },
      workloadAPI,
      application,
    ]
  }

  /// Serves until a signal or cancellation, then finishes what is in flight.
  public func run(gracefulShutdownSignals: [UnixSignal]) async throws {
    var configuration = ServiceGroupConfiguration(
      services: services, gracefulShutdownSignals: gracefulShutdownSignals, logger: logger)
    configuration.maximumGracefulShutdownDuration = .seconds(20)
    defer {
      state.removeReady()
      try? store.close()
      custodian.close()
    }
    do { try await ServiceGroup(configuration: configuration).run() } catch let error as IOError
      where error.errnoCode == EADDRINUSE
    {
      throw StartError("\(address) is in use: stop what listens there, or name another port with --port")
    }
  }

  /// Wraps every key of a development deployment to the present `data` token, from its copies for the recovery key,
  /// without serving. A token that is gone is made anew first.
  /// - Parameter seed: the recovery key's private half, 32 bytes.
  /// - Returns: how many versions of keys were wrapped anew.
  public static func recoverKeys(
    development configuration: Configuration, with seed: consuming SecretBytes, logger: Logger
  ) async throws -> Int {
    let recovery = try RecoveryKey(seed: seed)
    let state = StateDirectory(path: configuration.state)
    // Before a token is made and a leaf written.
    guard try recoveryKey(state).bytes == recovery.publicKey.bytes else {
      throw StartError("this is not the recovery key that \(state.recoveryKey) names: nothing was changed")
    }
    var configuration = configuration
    configuration.replacesLostDataToken = true
    return try await Daemon(development: configuration, logger: logger).recoverKeys(with: recovery)
  }

  private func recoverKeys(with recovery: borrowing RecoveryKey) async throws -> Int {
    let running = Task { [gate] in await gate.run() }
    defer {
      try? store.close()
      custodian.close()
    }
    let count: Int
    do {
      let root = try await custodian.rootCheckValue()
      try await gate.record { _, _ in
        EventRecord(
          kind: "token.opened",
          content: ["token": .string(TokenRole.data.rawValue), "root_check_value": .string(root.description)])
      }
      count = try await keys.recover(with: recovery)
    } catch {
      await gate.stop()
      await running.value
      throw error
    }
    await keys.close()
    await gate.stop()
    await running.value
    return count
  }

  // MARK: - Parts

  private static func workloads(
    _ state: StateDirectory, _ hsm: DevelopmentHSM, _ custodian: PKCS11Custodian, _ genesis: Genesis, _ url: String,
    _ recorder: GateWorkloadRecorder<SQLiteStore>, _ time: any TimeSource, _ random: any RandomSource
  ) throws -> WorkloadService<GateWorkloadRecorder<SQLiteStore>> {
    let domain = try TrustDomain(genesis.trustDomain)
    let profile = try CertificateAuthorityProfile(trustDomain: domain, name: DevelopmentDeployment.authorityName)
    let root = try PEMDocument(pemString: try state.text(state.rootCertificate)).derBytes
    let issuer = API<SQLiteStore>.workloadIssuer(url)
    return WorkloadService(
      WorkloadService.Parts(
        trustDomain: domain, node: try DevelopmentDeployment.node(domain), issuer: issuer, reservedAudience: url,
        // Verifiers would have to reach the address, and a development deployment's is loopback.
        crlURL: nil, custodian: custodian, profile: profile,
        root: DevelopmentRoot(hsm: hsm, profile: profile, certificate: root, random: random),
        attestor: try ProcessAttestor(time: time), recorder: recorder, time: time, random: random))
  }

  /// The manifest in force must declare the keys that this version uses.
  private static func checkManifest(_ store: SQLiteStore) async throws {
    guard let row = try await store.read({ unit in try unit.keyManifest() }) else {
      throw StartError("no key manifest is in force: restore the database")
    }
    let differences = try KeyManifest(yaml: row.document).differences()
    guard differences.isEmpty else {
      throw StartError(
        "the key manifest does not declare the keys of this version:\n"
          + differences.map { "  \($0)" }.joined(separator: "\n"))
    }
  }

  /// The genesis with the SHA-256 of its text.
  private static func genesis(_ state: StateDirectory) throws -> (Genesis, digest: [UInt8]) {
    let bytes = try state.read(state.genesis)
    do { return (try Genesis(decoding: bytes), Array(SHA256.hash(data: bytes))) } catch {
      throw StartError("\(state.genesis) cannot be read: \(error). Restore it")
    }
  }

  private static func recoveryKey(_ state: StateDirectory) throws -> RecoveryKey.PublicKey {
    guard let bytes = try? Base64.decode(try state.text(state.recoveryKey)),
      let key = try? RecoveryKey.PublicKey(bytes)
    else { throw StartError("\(state.recoveryKey) holds no X-Wing public key: restore it") }
    return key
  }

  private static func port(_ wanted: Int, _ state: StateDirectory) throws -> Int {
    if wanted != 0 { return wanted }
    if let kept = try? state.text(state.port), let port = Int(kept) { return port }
    let port = try FreePort.find()
    try state.write("\(port)\n", to: state.port)
    return port
  }

  private static func ready(
    _ state: StateDirectory, _ hsm: DevelopmentHSM, _ genesis: Genesis, _ url: String
  ) throws -> ReadyFile {
    func id(_ kind: Principal.Kind) -> String { genesis.roster.first { $0.kind == kind }?.id ?? "" }
    return ReadyFile(
      texts: [
        "api": url, "ca": state.rootCertificate, "trust_domain": genesis.trustDomain,
        "pkcs11_module": hsm.provider, "pkcs11_config": hsm.configurationFile, "genesis": state.genesis,
        "database": state.database, "registration_token_file": state.registrationToken,
        "auditor_token_file": state.auditorToken, "owner_id": id(.owner), "owner_key_file": state.owner,
        "workload_socket": state.workloadSocket, "hsm_profile": state.hsmProfile, "officer_id": id(.officer),
        "officer_key_file": state.officer,
        "console": genesis.console.map { "https://\($0.host):\(url.split(separator: ":").last ?? "")/console" } ?? "",
      ],
      logKeys: genesis.logKeys.map(\.vkey),
      pins: Dictionary(uniqueKeysWithValues: hsm.pinFiles.map { ($0.key.rawValue, $0.value) }),
      pid: ProcessInfo.processInfo.processIdentifier)
  }
}

/// Runs the gate for as long as the server runs, and longer: what is in flight is finished.
struct GateService: Service {
  let gate: Gate<SQLiteStore>

  func run() async throws {
    await withGracefulShutdownHandler {
      await gate.run()
    } onGracefulShutdown: {
      Task { await gate.stop() }
    }
  }
}

/// Takes all descriptors that the process may have: each workload's connection needs two.
private func raiseDescriptorLimit() {
  var files = rlimit()
  let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  guard unsafe getrlimit(resource, &files) == 0 else { return }
  files.rlim_cur = files.rlim_max
  unsafe setrlimit(resource, &files)
}

/// Asks the kernel for a free loopback port.
enum FreePort {
  static func find() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe bind(descriptor, generic, length) == 0 && getsockname(descriptor, generic, &length) == 0
      }
    }
    guard descriptor >= 0, bound else { throw StartError("no free port on 127.0.0.1: name one with --port") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
