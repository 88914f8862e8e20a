public import KeyHierarchy

extension PKCS11Custodian: KeyReplacer {
  /// Destroys the pair under the name, if there is one, and generates a new one; see ``KeyHierarchy/KeyReplacer``.
  public func replace(_ key: KeyName) async throws(CustodyError) -> CustodyPublicKey {
    guard let publicKey = try await renew(key, generating: true) else {
      throw CustodyError(.failed, "\(key) was not made: replace it again")
    }
    return publicKey
  }

  /// Destroys the pair under the name; nothing to do where there is none.
  public func destroy(_ key: KeyName) async throws(CustodyError) { _ = try await renew(key, generating: false) }

  /// Keys of `KeyName.all` that were not seen on the tokens of the open roles: a token without RSA has no
  /// `svid-jwt-rs-a`, and one whose replacement failed may be without any other. Where a token is away, all of its keys
  /// that were never seen: see ``health()``.
  public var absentKeys: [KeyName] {
    KeyName.all.filter { name in clusters[name.token].map { $0.known[name] == nil } ?? false }
  }

  private func renew(_ key: KeyName, generating: Bool) async throws(CustodyError) -> CustodyPublicKey? {
    guard key.isReplaceable else {
      throw CustodyError(.notPermitted, "\(key) is made and destroyed in ceremonies alone")
    }
    let cluster = try cluster(key)
    guard cluster.members.count == 1 else {
      throw CustodyError(
        .notPermitted,
        "\(key) would be on one of \(cluster.members.count) tokens alone: make a cluster's keys with its vendor's tools"
      )
    }
    let result = try await cluster.perform { (token, operation) throws(TokenFailure) in
      try token.renew(key, generating: generating, operation)
    }
    count()
    return result
  }
}
