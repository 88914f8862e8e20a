internal import Crypto
public import KeyHierarchy
internal import PKCS11
public import SecretMemory
internal import Synchronization

/// Keys in PKCS#11 tokens. It holds one login per token and a few sessions beside it, finds each key once, and runs
/// what blocks on threads of its own. When a token loses its sessions it logs in again and repeats the operation once;
/// a refused PIN is never tried a second time.
///
/// A token has one custodian per process: the login is the process's, and closing it logs everybody out.
public final class PKCS11Custodian: KeyCustodian {
  /// Where a token is and how its PIN is had.
  public struct TokenLocation: Sendable {
    /// An RFC 7512 URI with the label, better with the serial too; never with a PIN.
    public let uri: String
    /// Gives the PIN, when the token is opened.
    public let pin: @Sendable () throws(SecretMemoryError) -> SecretBytes

    /// A token whose PIN comes from somewhere.
    public init(uri: String, pin: @escaping @Sendable () throws(SecretMemoryError) -> SecretBytes) {
      self.uri = uri
      self.pin = pin
    }

    /// A token whose PIN is in a file of mode 0600.
    public init(uri: String, pinFile: String) {
      self.init(uri: uri) { () throws(SecretMemoryError) in
        try SecretBytes(contentsOfFile: pinFile, droppingNewline: true)
      }
    }
  }

  /// Bounds on what the custodian uses and takes.
  public struct Limits: Sendable {
    /// Sessions to work on per token, beside the one that holds the login. Some tokens have few.
    public var sessionsPerToken = 2
    /// Threads that call the HSM; SoftHSM loses throughput with more than two.
    public var threads = 2
    /// Operations that may wait for a thread; further ones are refused with `hsm_unavailable`.
    public var waitingOperations = 1024
    /// The longest message for Ed25519 and HMAC, which go to the HSM whole, and the most random bytes at once.
    public var messageBytes = 1 << 20

    /// The defaults.
    public init() {}
  }

  private let module: Module
  private let tokens: [TokenRole: TokenConnection]
  private let executor: CustodyExecutor
  private let limits: Limits
  private let operations = Atomic<UInt64>(0)
  // The newest checkpoint that was let through for each key: the process's, so that sealing and unsealing forgets none.
  private static let checkpoints = Mutex<[CustodyPublicKey: CheckpointBody]>([:])

  /// Opens tokens and logs in.
  ///
  /// - Parameters:
  ///   - provider: The absolute path of the PKCS#11 library.
  ///   - tokens: Where each token is.
  ///   - roles: The tokens to log in to; keys of others are `hsm_unavailable`. `root` only during a ceremony.
  ///   - required: Keys that must be there, as far as they belong to `roles`.
  ///   - limits: Bounds.
  /// - Throws: ``KeyHierarchy/CustodyError`` with `mechanism_missing` and a table, `wrong_pin`, `key_not_found` with a
  ///   list, or `hsm_unavailable`. Nothing stays logged in then.
  public static func open(
    provider: String, tokens: [TokenRole: TokenLocation], roles: Set<TokenRole>,
    requiring required: [KeyName] = KeyName.all, limits: Limits = Limits()
  ) throws(CustodyError) -> PKCS11Custodian {
    let module: Module
    do throws(PKCS11Error) { module = try Module.load(provider) } catch { throw CustodyError(error, "the module") }
    let ordered = TokenRole.allCases.filter(roles.contains)
    var locations: [(TokenRole, TokenLocation)] = []
    for role in ordered {
      guard let location = tokens[role] else {
        throw CustodyError(.unavailable, "no token is configured for \(role.rawValue): give its URI and PIN")
      }
      locations.append((role, location))
    }
    try checkMechanisms(module, locations)
    var connections: [TokenRole: TokenConnection] = [:]
    for (role, location) in locations {
      let pin: SecretBytes
      do throws(SecretMemoryError) { pin = try location.pin() } catch {
        throw CustodyError(error, "token \(role.rawValue)")
      }
      connections[role] = try TokenConnection(
        role, uri: location.uri, pin: pin, module: module, sessions: max(1, limits.sessionsPerToken))
    }
    let custodian = PKCS11Custodian(
      module, connections, try CustodyExecutor(threads: max(1, limits.threads), limit: limits.waitingOperations), limits
    )
    try custodian.check(required.filter { roles.contains($0.token) })
    return custodian
  }

  private init(
    _ module: Module, _ tokens: [TokenRole: TokenConnection], _ executor: CustodyExecutor, _ limits: Limits
  ) {
    self.module = module
    self.tokens = tokens
    self.executor = executor
    self.limits = limits
  }

  /// Logs out of every token, wipes the PINs, drops every handle, and finalises the module unless another custodian
  /// uses it. Operations under way finish first; later ones throw `hsm_unavailable`. Before the process ends, close,
  /// then leave with `_exit`: see ``PKCS11/Module``.
  public func close() {
    executor.stop()
    for role in TokenRole.allCases { tokens[role]?.close() }
    module.finalizeIfUnused()
  }

  /// The tokens that are logged in.
  public var roles: Set<TokenRole> { Set(tokens.keys) }

  // MARK: KeyCustodian

  /// How many cryptographic operations the HSM has carried out for this custodian.
  public var operationCount: UInt64 { operations.load(ordering: .relaxed) }

  /// The public half of a signing key.
  public func publicKey(_ key: KeyName) throws(CustodyError) -> CustodyPublicKey {
    guard key.algorithm.isSigning else { throw CustodyError(.notPermitted, "\(key) has no public half") }
    guard let publicKey = try token(key).key(key).publicKey else {
      throw CustodyError(.keyNotFound, "the public half of \(key) is not on its token")
    }
    return publicKey
  }

  /// Signs a message, hashing it first as the key's algorithm demands; refuses keys of the `log` token.
  public func sign(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    let input = try signingInput(message, key)
    return try await executor.run { [self] () throws(CustodyError) in try use(key, on: input) }
  }

  /// As ``sign(_:with:)``, on the calling thread.
  public func signBlocking(_ message: [UInt8], with key: KeyName) throws(CustodyError) -> [UInt8] {
    try use(key, on: try signingInput(message, key))
  }

  /// Signs a checkpoint that it parsed and that follows the last one; see ``KeyHierarchy/KeyCustodian``. A checkpoint
  /// counts as signed from here on, whatever the HSM then says: it may have signed before it failed.
  public func signCheckpoint(_ body: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    guard key.token == .log, key.algorithm.isSigning else {
      throw CustodyError(.notPermitted, "\(key) is no log key: checkpoints are signed on the log token")
    }
    let publicKey = try publicKey(key)
    let checkpoint = try CheckpointBody(parsing: body)
    try Self.checkpoints.withLock { last throws(CustodyError) in
      if let last = last[publicKey] { try checkpoint.checkFollows(last) }
      last[publicKey] = checkpoint
    }
    let input = key.algorithm.digest(body)
    return try await executor.run { [self] () throws(CustodyError) in try use(key, on: input) }
  }

  /// HMAC-SHA-256 with a key of algorithm `hmacSHA256`; 32 bytes.
  public func authenticate(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    guard key.algorithm == .hmacSHA256 else { throw CustodyError(.notPermitted, "\(key) authenticates nothing") }
    try checkLength(message)
    return try await executor.run { [self] () throws(CustodyError) in try use(key, on: message) }
  }

  /// Bytes from the HSM's generator.
  public func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8] {
    guard (0...limits.messageBytes).contains(count) else {
      throw CustodyError(.notPermitted, "0 to \(limits.messageBytes) random bytes at once, not \(count)")
    }
    guard let token = TokenRole.allCases.reversed().lazy.compactMap({ self.tokens[$0] }).first else {
      throw CustodyError(.unavailable, "no token is open: unseal first")
    }
    guard count > 0 else { return [] }
    let bytes = try token.perform { session throws(PKCS11Error) in
      try unsafe [UInt8](unsafeUninitializedCapacity: count) { (buffer, filled) throws(PKCS11Error) in
        try unsafe session.generateRandom(into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
        filled = count
      }
    }
    operations.wrappingAdd(1, ordering: .relaxed)
    return bytes
  }
}

extension PKCS11Custodian {
  private static func checkMechanisms(
    _ module: Module, _ locations: [(TokenRole, TokenLocation)]
  ) throws(CustodyError) {
    var missing: [String] = []
    for (role, location) in locations {
      do throws(PKCS11Error) {
        let slot = try module.token(location.uri).slot
        missing += try role.missingMechanisms { type throws(PKCS11Error) in try module.mechanism(type, in: slot)?.uses }
      } catch {
        throw CustodyError(error, "token \(role.rawValue)")
      }
    }
    guard missing.isEmpty else {
      let table = (["token | mechanism | for | finding"] + missing).joined(separator: "\n")
      throw CustodyError(.mechanismMissing, "a token cannot serve its role; use another one:\n\(table)")
    }
  }

  private func check(_ required: [KeyName]) throws(CustodyError) {
    var missing: [String] = []
    for key in required {
      do throws(CustodyError) {
        _ = try token(key).key(key)
      } catch {
        guard error.code == .keyNotFound else { throw error }
        missing.append(key.description)
      }
    }
    guard missing.isEmpty else {
      throw CustodyError(
        .keyNotFound, "not on their tokens: \(missing.joined(separator: ", ")); run the ceremony that generates them")
    }
  }

  private func token(_ key: KeyName) throws(CustodyError) -> TokenConnection {
    guard let token = tokens[key.token] else {
      throw CustodyError(.unavailable, "token \(key.token.rawValue) is not logged in, so \(key) cannot be used")
    }
    return token
  }

  private func signingInput(_ message: [UInt8], _ key: KeyName) throws(CustodyError) -> [UInt8] {
    guard key.token != .log else {
      throw CustodyError(.notPermitted, "\(key) signs checkpoints alone: use signCheckpoint")
    }
    guard key.algorithm.isSigning else { throw CustodyError(.notPermitted, "\(key) is no signing key") }
    if key.algorithm == .ed25519 { try checkLength(message) }
    return key.algorithm.digest(message)
  }

  private func checkLength(_ message: [UInt8]) throws(CustodyError) {
    guard message.count <= limits.messageBytes else {
      throw CustodyError(.notPermitted, "messages have at most \(limits.messageBytes) bytes: hash longer ones")
    }
  }

  private func use(_ key: KeyName, on input: [UInt8]) throws(CustodyError) -> [UInt8] {
    guard let scheme = key.algorithm.scheme else { throw CustodyError(.notPermitted, "\(key) does not sign") }
    let result = try token(key).perform(with: key) { (session, found) throws(PKCS11Error) in
      try session.sign(input.span, with: found.handle, as: scheme)
    }
    operations.wrappingAdd(1, ordering: .relaxed)
    return result
  }
}

extension KeyAlgorithm {
  /// What goes to the HSM for a message: its digest, or itself.
  fileprivate func digest(_ message: [UInt8]) -> [UInt8] {
    switch self {
    case .ecdsaP256: Array(SHA256.hash(data: message))
    case .ecdsaP384: Array(SHA384.hash(data: message))
    case .ed25519, .hmacSHA256, .aes256Wrap: message
    }
  }
}
