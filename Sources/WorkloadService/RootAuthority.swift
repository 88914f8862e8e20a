public import KeyHierarchy
public import Wire

/// What stands above the issuing authorities of X.509: the deployment's root, whose key is used in ceremonies alone.
public protocol RootAuthority: Sendable {
  /// Certifies an issuing authority's key.
  /// - Parameters:
  ///   - lifetime: in seconds; the certificate ends with the root's at the latest.
  /// - Returns: the certificates from the authority's own to the one below the root, and the root, each DER.
  /// - Throws: a ``Problem`` that says how to have it done where no ceremony can be held from here.
  func certify(
    _ publicKey: CustodyPublicKey, now: Timestamp, lifetime: Int64
  ) async throws -> (chain: [[UInt8]], root: [UInt8])

  /// Signs the list of the issuing authorities that are revoked.
  /// - Parameters:
  ///   - certificates: theirs, DER, with when each was revoked.
  ///   - number: above that of the last list.
  func revocationList(
    _ certificates: [(der: [UInt8], at: Timestamp)], number: UInt64, now: Timestamp
  ) async throws -> [UInt8]
}
