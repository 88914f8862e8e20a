public import WorkloadIdentity

extension WorkloadService {
  /// The leaf that wrote each federation last, for ``FederationBundles``.
  public func leaves() -> [TrustDomain: UInt64] {
    var leaves: [TrustDomain: UInt64] = [:]
    for row in federations {
      if let domain = try? TrustDomain(row.trustDomain) { leaves[domain] = row.leafIndex }
    }
    return leaves
  }
}
