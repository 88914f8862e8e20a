import WorkloadIdentity
import WorkloadProtocol

/// State of the world: each response lists all that is subscribed to and exists.
///
/// A first request without names, or one with the name `*`, subscribes to everything. Once a stream has named
/// something, a request without names takes the subscription back: Envoy sends it when its last secret of a stream goes,
/// and every private key is no answer to that.
struct SDSStateOfTheWorld: SDSSession {
  private struct Subscription {
    var everything: Bool
    var names: Set<String>
  }

  private var subscription: Subscription?
  private var catalogue: SDSCatalogue?
  private var nonces = SDSNonces()
  /// What the subscriber was sent and still subscribes to: versions by name.
  private var held: [String: String] = [:]
  private var hasNamed = false
  private var isDue = false

  init() {}

  mutating func receive(_ request: Envoy_Service_Discovery_V3_DiscoveryRequest) throws(WorkloadRefusal) -> SDSRemark? {
    try SDSLimits.check(typeURL: request.typeURL, names: request.resourceNames)
    // The subscriber answers each response with its whole subscription, so that one which crossed a response on its way
    // can be dropped.
    guard nonces.last == 0 || request.responseNonce == String(nonces.last) else {
      return SDSNonces.stale(request.responseNonce)
    }
    let names = Set(request.resourceNames).subtracting([""])
    hasNamed = hasNamed || !names.isEmpty
    let subscription = Subscription(everything: !hasNamed || names.contains("*"), names: names)
    held = held.filter { subscription.everything || names.contains($0.key) }
    self.subscription = subscription
    isDue = true
    guard request.hasErrorDetail else { return nil }
    return nonces.reject(request.responseNonce, because: request.errorDetail.message)
  }

  mutating func update(_ snapshot: WorkloadSnapshot) {
    catalogue = SDSCatalogue(snapshot)
    isDue = true
  }

  mutating func next() -> SDSResponse? {
    guard isDue, let catalogue, let subscription else { return nil }
    isDue = false
    let names = subscription.everything ? subscription.names.union(catalogue.names) : subscription.names
    let resources = names.sorted().compactMap { catalogue[$0] }
    let versions = Dictionary(uniqueKeysWithValues: resources.map { ($0.name, $0.version) })
    guard versions != held else { return nil }
    held = versions
    return SDSResponse(
      form: .stateOfTheWorld, version: SDSCatalogue.version(of: resources), nonce: nonces.draw(), resources: resources,
      removed: [])
  }
}
