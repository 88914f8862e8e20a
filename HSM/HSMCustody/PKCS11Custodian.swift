internal import Crypto
public import KeyHierarchy
internal import PKCS11
internal import Synchronization

/// Keys in PKCS#11 tokens. It holds one login per token and a few sessions beside it, finds each key once, and runs
/// what blocks on threads of each token's own, with a deadline. When a token loses its sessions it logs in again,
/// compares the keys with those it knew, and repeats the operation once; a refused PIN is never tried a second time.
///
/// A token has one custodian per process: the login is the process's, and closing it logs everybody out. Custodians of
/// different tokens exist beside each other.
public final class PKCS11Custodian: KeyCustodian {
  let module: Module
  let clusters: [TokenRole: TokenCluster]
  let limits: Limits
  private let operations = Atomic<UInt64>(0)
  // The newest checkpoint that was let through for each key: the process's, so that sealing and unsealing forgets none.
  private static let checkpoints = Mutex<[CustodyPublicKey: CheckpointBody]>([:])

  init(_ module: Module, _ clusters: [TokenRole: TokenCluster], _ limits: Limits) {
    self.module = module
    self.clusters = clusters
    self.limits = limits
  }

  /// Logs out of every token, wipes the PINs, drops every handle, and finalises the module unless another custodian
  /// uses it. Operations under way finish first; later ones throw `hsm_unavailable`. What hangs is not waited for longer
  /// than ``Limits/deadline``. Before the process ends, close, then leave with `_exit`: see ``PKCS11/Module``.
  public func close() {
    for role in TokenRole.allCases { clusters[role]?.close() }
    module.finalizeIfUnused()
  }

  /// The roles that this custodian was opened for; see ``health()`` for how their tokens do.
  public var roles: Set<TokenRole> { Set(clusters.keys) }

  /// How each token does: by role, then in order of preference.
  public func health() -> [TokenHealth] { TokenRole.allCases.flatMap { clusters[$0]?.health ?? [] } }

  // MARK: KeyCustodian

  /// How many cryptographic operations the HSM has carried out for this custodian.
  public var operationCount: UInt64 { operations.load(ordering: .relaxed) }

  func count() { operations.wrappingAdd(1, ordering: .relaxed) }

  /// The public half of a signing key.
  public func publicKey(_ key: KeyName) throws(CustodyError) -> CustodyPublicKey {
    guard key.algorithm.isSigning else { throw CustodyError(.notPermitted, "\(key) has no public half") }
    guard case .publicKey(let publicKey) = try identity(key) else {
      throw CustodyError(.keyNotFound, "the public half of \(key) is not on its token")
    }
    return publicKey
  }

  /// What tells a key from every other one; to be kept, and passed in as `expecting` at the next opening.
  public func identity(_ key: KeyName) throws(CustodyError) -> KeyIdentity {
    let cluster = try cluster(key)
    if let known = cluster.known[key], !cluster.members.allSatisfy(\.isClosed) { return known }
    return try cluster.performBlocking { (token, operation) throws(TokenFailure) in
      try token.use(key, operation) { (_, found) in found.identity }
    }
  }

  /// Signs a message, hashing it first as the key's algorithm demands; refuses keys of the `log` token.
  public func sign(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    try await use(key, on: try signingInput(message, key))
  }

  /// As ``sign(_:with:)``, with this key and no other, also while it is being replaced.
  public func sign(
    _ message: [UInt8], with key: KeyName, expecting publicKey: CustodyPublicKey
  ) async throws(CustodyError) -> [UInt8] {
    try await use(key, expecting: .publicKey(publicKey), on: try signingInput(message, key))
  }

  /// As ``sign(_:with:)``; the calling thread waits, and another one calls the HSM.
  public func signBlocking(_ message: [UInt8], with key: KeyName) throws(CustodyError) -> [UInt8] {
    let input = try signingInput(message, key)
    let result = try cluster(key).performBlocking(try Self.signing(input, key))
    count()
    return result
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
    return try await use(key, on: key.algorithm.digest(body))
  }

  /// HMAC-SHA-256 with a key of algorithm `hmacSHA256`; 32 bytes.
  public func authenticate(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    guard key.algorithm == .hmacSHA256 else { throw CustodyError(.notPermitted, "\(key) authenticates nothing") }
    try checkLength(message)
    return try await use(key, on: message)
  }

  /// Bytes from the HSM's generator.
  public func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8] {
    guard (0...limits.messageBytes).contains(count) else {
      throw CustodyError(.notPermitted, "0 to \(limits.messageBytes) random bytes at once, not \(count)")
    }
    guard let cluster = TokenRole.allCases.reversed().lazy.compactMap({ self.clusters[$0] }).first else {
      throw CustodyError(.unavailable, "no token is open: unseal first")
    }
    guard count > 0 else { return [] }
    let bytes = try cluster.performBlocking { (token, operation) throws(TokenFailure) in
      try token.use(operation) { session throws(PKCS11Error) in
        try unsafe [UInt8](unsafeUninitializedCapacity: count) { (buffer, filled) throws(PKCS11Error) in
          try unsafe session.generateRandom(
            into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
          filled = count
        }
      }
    }
    self.count()
    return bytes
  }
}

extension PKCS11Custodian {
  func cluster(_ key: KeyName) throws(CustodyError) -> TokenCluster {
    guard let cluster = clusters[key.token] else {
      throw CustodyError(.unavailable, "token \(key.token.rawValue) is not logged in, so \(key) cannot be used")
    }
    return cluster
  }

  private func signingInput(_ message: [UInt8], _ key: KeyName) throws(CustodyError) -> [UInt8] {
    guard key.token != .log else {
      throw CustodyError(.notPermitted, "\(key) signs checkpoints alone: use signCheckpoint")
    }
    guard key.algorithm.isSigning else { throw CustodyError(.notPermitted, "\(key) is no signing key") }
    if key.algorithm == .ed25519 { try checkLength(message) }
    return key.algorithm.digest(message)
  }

  func checkLength(_ message: [UInt8]) throws(CustodyError) {
    guard message.count <= limits.messageBytes else {
      throw CustodyError(.notPermitted, "messages have at most \(limits.messageBytes) bytes: hash longer ones")
    }
  }

  func use(
    _ key: KeyName, expecting expected: KeyIdentity? = nil, on input: [UInt8]
  ) async throws(CustodyError) -> [UInt8] {
    let result = try await cluster(key).perform(try Self.signing(input, key, expected))
    count()
    return result
  }

  private static func signing(
    _ input: [UInt8], _ key: KeyName, _ expected: KeyIdentity? = nil
  ) throws(CustodyError) -> @Sendable (TokenConnection, Operation) throws(TokenFailure) -> [UInt8] {
    guard let scheme = key.algorithm.scheme else { throw CustodyError(.notPermitted, "\(key) does not sign") }
    return { (token, operation) throws(TokenFailure) in
      try token.use(key, expecting: expected, operation) { (session, found) throws(PKCS11Error) in
        try session.sign(input.span, with: found.handle, as: scheme)
      }
    }
  }
}

extension KeyAlgorithm {
  /// What stands before a SHA-256 digest in a DigestInfo (RFC 8017, section 9.2, note 1).
  private static var digestInfo: [UInt8] {
    [
      0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
    ]
  }

  /// What goes to the HSM for a message: its digest, in a DigestInfo for RSA, or itself.
  fileprivate func digest(_ message: [UInt8]) -> [UInt8] {
    switch self {
    case .ecdsaP256: Array(SHA256.hash(data: message))
    case .ecdsaP384: Array(SHA384.hash(data: message))
    case .rsa2048: Self.digestInfo + SHA256.hash(data: message)
    case .ed25519, .hmacSHA256, .aes256Wrap: message
    }
  }
}
