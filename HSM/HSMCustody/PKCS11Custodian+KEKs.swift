public import KeyHierarchy
internal import PKCS11
public import SecretMemory

extension PKCS11Custodian: KEKCustodian {
  /// Bytes of a key-encryption key, and of one that is wrapped.
  private static var keyBytes: (plain: Int, wrapped: Int) { (32, 40) }
  /// The longest key that is encrypted, in bytes, and what GCM adds to it.
  private static var longestKey: Int { 64 }

  /// The check value of `root-kek`, which names the root key in records.
  public func rootCheckValue() async throws(CustodyError) -> KeyCheckValue { try await checkValue(of: .rootKEK) }

  /// The check value of a secret key.
  public func checkValue(of key: KeyName) async throws(CustodyError) -> KeyCheckValue {
    guard !key.algorithm.isSigning else { throw CustodyError(.notPermitted, "\(key) has a public half instead") }
    let cluster = try cluster(key)
    let identity: KeyIdentity
    if let known = cluster.known[key], !cluster.members.allSatisfy(\.isClosed) {
      identity = known
    } else {
      identity = try await cluster.perform { (token, operation) throws(TokenFailure) in
        try token.use(key, operation) { (_, found) in found.identity }
      }
    }
    guard case .checkValue(let value) = identity else {
      throw CustodyError(.failed, "\(key) was pinned as a signing key: pin its check value")
    }
    return value
  }

  /// Bytes from the generator of the `data` token, in locked memory.
  public func randomSecret(count: Int) async throws(CustodyError) -> SharedSecret {
    guard (1...min(SecretBytes.maximumCount, limits.messageBytes)).contains(count) else {
      throw CustodyError(.notPermitted, "1 to \(SecretBytes.maximumCount) secret bytes at once, not \(count)")
    }
    return try await onData { (token, operation) throws(TokenFailure) in try token.random(count, operation) }
  }

  /// Wraps a 32-byte key under `root-kek`. One create, one wrap and one destroy on the token.
  public func wrap(_ key: SharedSecret) async throws(CustodyError) -> WrappedKey {
    guard key.secret.count == Self.keyBytes.plain else {
      throw CustodyError(
        .notPermitted, "a key-encryption key has \(Self.keyBytes.plain) bytes, not \(key.secret.count)")
    }
    return try await onData { (token, operation) throws(TokenFailure) in try token.wrap(key, operation) }
  }

  /// AES-256-GCM under a key-encryption key, inside the HSM.
  public func encrypt(
    _ key: SharedSecret, iv: [UInt8], context: [UInt8], under kek: WrappedKey
  ) async throws(CustodyError) -> [UInt8] {
    try check(iv, context, kek)
    guard key.secret.count <= Self.longestKey else {
      throw CustodyError(.notPermitted, "keys of 1 to \(Self.longestKey) bytes are encrypted, not \(key.secret.count)")
    }
    return try await onData { (token, operation) throws(TokenFailure) in
      try token.withKEK(kek, operation) { (session, handle) throws(PKCS11Error) in
        try session.encrypt(key.secret, iv, context, handle)
      }
    }
  }

  /// The reverse of ``encrypt(_:iv:context:under:)``, into locked memory.
  public func decrypt(
    _ ciphertext: [UInt8], iv: [UInt8], context: [UInt8], under kek: WrappedKey
  ) async throws(CustodyError) -> SharedSecret {
    try check(iv, context, kek)
    guard (17...Self.longestKey + 16).contains(ciphertext.count) else {
      throw CustodyError(.notAuthentic, "\(ciphertext.count) bytes are no encrypted key")
    }
    return try await onData { (token, operation) throws(TokenFailure) in
      try token.withKEK(kek, operation) { (session, handle) throws(PKCS11Error) in
        SharedSecret(try session.decryptGCM(ciphertext, iv: iv, aad: context, with: handle))
      }
    }
  }

  /// HMAC-SHA-256 with `record-mac`; 32 bytes.
  public func authenticate(record: [UInt8]) async throws(CustodyError) -> [UInt8] {
    try await authenticate(record, with: .recordMAC)
  }

  /// Destroys the session objects of a key-encryption key, on every member, once nobody uses it.
  public func forget(_ kek: WrappedKey) async throws(CustodyError) {
    guard let cluster = clusters[.data] else { throw noData }
    var failure: TokenFailure?
    for member in cluster.members {
      let result = await member.run(by: cluster.nextDeadline) { (token, operation) throws(TokenFailure) in
        try token.forget(kek, operation)
      }
      if case .failure(let error) = result { failure = failure ?? error }
    }
    if let failure { throw failure.error }
  }

  /// What the hostile unwrap came to on the member in use.
  public var hostileUnwrap: HostileUnwrap? { clusters[.data]?.current.monitor.read { $0.hostileUnwrap } }

  private var noData: CustodyError {
    CustodyError(.unavailable, "token \(TokenRole.data.rawValue) is not logged in: unseal first")
  }

  private func onData<R: Sendable>(
    _ body: @escaping @Sendable (TokenConnection, Operation) throws(TokenFailure) -> R
  ) async throws(CustodyError) -> R {
    guard let cluster = clusters[.data] else { throw noData }
    let result = try await cluster.perform(body)
    count()
    return result
  }

  private func check(_ iv: [UInt8], _ context: [UInt8], _ kek: WrappedKey) throws(CustodyError) {
    guard iv.count == 12 else { throw CustodyError(.notPermitted, "an IV has 12 bytes, not \(iv.count)") }
    guard !context.isEmpty else {
      throw CustodyError(.notPermitted, "the context is mandatory: say what the key is for")
    }
    try checkLength(context)
    guard kek.bytes.count == Self.keyBytes.wrapped else {
      throw CustodyError(.notPermitted, "a wrapped key has \(Self.keyBytes.wrapped) bytes, not \(kek.bytes.count)")
    }
  }
}

extension Session {
  /// A class lends its secret for the length of a call.
  fileprivate func encrypt(
    _ secret: borrowing SecretBytes, _ iv: [UInt8], _ context: [UInt8], _ key: ObjectHandle
  ) throws(PKCS11Error) -> [UInt8] {
    try encryptGCM(secret.bytes, iv: iv, aad: context, with: key)
  }
}
