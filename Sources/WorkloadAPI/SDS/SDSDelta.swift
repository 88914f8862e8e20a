import WorkloadIdentity
import WorkloadProtocol

/// Delta: each response has what changed, and the names that stand for nothing (any more).
///
/// A first request that subscribes to no name, or the name `*`, subscribes to everything.
struct SDSDelta: SDSSession {
  /// What the subscriber was told of a name.
  private enum Told: Equatable {
    case version(String)
    case absent
  }

  private var catalogue: SDSCatalogue?
  private var nonces = SDSNonces()
  private var names: Set<String> = []
  private var everything = false
  private var told: [String: Told] = [:]
  private var hasBegun = false
  private var isDue = false

  init() {}

  mutating func receive(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
  ) throws(WorkloadRefusal) -> SDSRemark? {
    let subscribed = Set(request.resourceNamesSubscribe).subtracting([""])
    let all = names.union(subscribed).subtracting(request.resourceNamesUnsubscribe)
    try SDSLimits.check(typeURL: request.typeURL, names: request.resourceNamesSubscribe)
    try SDSLimits.check(typeURL: request.typeURL, names: request.resourceNamesUnsubscribe)
    try SDSLimits.check(typeURL: request.typeURL, names: request.initialResourceVersions.keys)
    try SDSLimits.check(typeURL: request.typeURL, names: all)
    // Subscribed to again, a name is sent again: the subscriber may have dropped it meanwhile.
    for name in subscribed.union(request.resourceNamesUnsubscribe) { told[name] = nil }
    names = all.subtracting(["*"])
    if !hasBegun {
      hasBegun = true
      everything = subscribed.isEmpty
      // Kept from an earlier stream.
      for (name, version) in request.initialResourceVersions where everything || all.contains(name) || all.contains("*")
      {
        told[name] = .version(String(version.prefix(64)))
      }
    }
    if subscribed.contains("*") { everything = true }
    if request.resourceNamesUnsubscribe.contains("*") { everything = false }
    isDue = true
    // Changes of the subscription count in whatever request they come; the nonce matters to the acknowledgement alone.
    guard !request.responseNonce.isEmpty else { return nil }
    guard nonces.gave(request.responseNonce) else { return SDSNonces.stale(request.responseNonce) }
    guard request.hasErrorDetail else { return nil }
    return nonces.reject(request.responseNonce, because: request.errorDetail.message)
  }

  mutating func update(_ snapshot: WorkloadSnapshot) {
    catalogue = SDSCatalogue(snapshot)
    isDue = true
  }

  mutating func next() -> SDSResponse? {
    guard isDue, hasBegun, let catalogue else { return nil }
    isDue = false
    var (resources, removed): ([SDSResource], [String]) = ([], [])
    let wanted = everything ? names.union(catalogue.names) : names
    for name in wanted.sorted() {
      if let resource = catalogue[name] {
        guard told[name] != .version(resource.version) else { continue }
        told[name] = .version(resource.version)
        resources.append(resource)
      } else if told[name] != .absent {
        told[name] = .absent
        removed.append(name)
      }
    }
    // What everything had and has no more; without that subscription, nothing is told that is not wanted.
    let gone = told.keys.filter { !wanted.contains($0) }.sorted()
    for name in gone { told[name] = nil }
    if everything { removed += gone }
    guard !resources.isEmpty || !removed.isEmpty else { return nil }
    return SDSResponse(
      form: .delta, version: SDSCatalogue.version(of: resources), nonce: nonces.draw(), resources: resources,
      removed: removed)
  }
}
