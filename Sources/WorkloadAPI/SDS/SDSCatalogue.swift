import Crypto
import WorkloadIdentity

/// A secret under the name that a subscriber asks for it by, and what stands behind it. It holds a reference to the
/// private key, never its bytes: ``SDSEncoder`` reads them where they lie when the response goes.
struct SDSResource: Sendable {
  /// What the secret is.
  enum Content: Sendable {
    /// An X.509-SVID with its key.
    case certificate(chain: [[UInt8]], key: SVIDKey)
    /// The names of the trust domains that a peer may come from, with their roots; never empty.
    case validation([(trustDomain: String, roots: [[UInt8]])])
  }

  let name: String
  /// A digest of the content, so that it stays the same over streams and restarts. A key has one certificate, so the
  /// certificates stand for it.
  let version: String
  let content: Content
}

/// What a workload can subscribe to: one snapshot, by name. The names are SPIRE's (doc/spire_agent.md, SDS
/// configuration).
///
/// Every validation context is one of Envoy's SPIFFE validator, `ROOTCA` too: it looks roots up by the trust domain of
/// the peer's certificate, so that no trust domain can speak for another; bare roots without a name to match let any.
/// SPIRE falls back to bare roots for Envoy before 1.18 and where a node's metadata asks for it
/// (`disable_spiffe_cert_validation`); here neither turns a check off, and an Envoy that old refuses the response.
/// CRLs are left out: with one in a bundle, Envoy demands one of every authority in the chain.
struct SDSCatalogue: Sendable {
  /// The first SVID.
  static let defaultSVID = "default"
  /// The bundle of the own trust domain.
  static let ownBundle = "ROOTCA"
  /// The bundles of the own trust domain and of those that it federates with, in one context.
  static let allBundles = "ALL"

  private let snapshot: WorkloadSnapshot

  init(_ snapshot: WorkloadSnapshot) { self.snapshot = snapshot }

  /// The names that a subscription to everything gets, sorted: each secret once, under its SPIFFE ID.
  var names: [String] {
    let svids = snapshot.svids.map(\.id).filter { resource(of: $0, named: "") != nil }
    return Set((svids + snapshot.bundles.keys.map(\.id)).map(\.description)).sorted()
  }

  /// What a name stands for now.
  subscript(name: String) -> SDSResource? {
    switch name {
    case Self.defaultSVID: return snapshot.svids.first.flatMap { resource(of: $0.id, named: name) }
    case Self.ownBundle: return resource(of: snapshot.trustDomain.id, named: name)
    case Self.allBundles:
      return snapshot.bundles.isEmpty ? nil : validation(snapshot.bundles.keys.sorted(), named: name)
    default:
      guard let id = try? SPIFFEID(name) else { return nil }
      return resource(of: id, named: name)
    }
  }

  private func resource(of id: SPIFFEID, named name: String) -> SDSResource? {
    if id.path.isEmpty {
      return snapshot.bundles[id.trustDomain] == nil ? nil : validation([id.trustDomain], named: name)
    }
    // A key that the workload keeps to itself cannot be handed to Envoy.
    guard let svid = snapshot.svids.first(where: { $0.id == id }), let key = svid.key else { return nil }
    return SDSResource(
      name: name, version: Self.digest(svid.chain), content: .certificate(chain: svid.chain, key: key))
  }

  /// What no trust domain is called.
  static let nobody = "!"

  /// A trust domain whose bundle is empty is left out, which refuses its members. If that leaves none, a name that no
  /// peer can have stands in, with a certificate of the workload's own: Envoy rejects a context that is empty, or has an
  /// empty bundle, and would go on with the roots that were taken away.
  private func validation(_ trustDomains: [TrustDomain], named name: String) -> SDSResource? {
    var trusted = trustDomains.compactMap { trustDomain in
      snapshot.bundles[trustDomain].flatMap { $0.roots.isEmpty ? nil : (trustDomain.name, $0.roots) }
    }
    if trusted.isEmpty {
      guard let certificate = snapshot.svids.first?.chain.first else { return nil }
      trusted = [(Self.nobody, [certificate])]
    }
    let version = Self.digest(trusted.flatMap { [Array($0.0.utf8)] + $0.1 + [[]] })
    return SDSResource(name: name, version: version, content: .validation(trusted))
  }

  /// The version of a list of resources.
  static func version(of resources: [SDSResource]) -> String {
    digest(resources.flatMap { [Array($0.name.utf8), Array($0.version.utf8)] })
  }

  private static func digest(_ parts: [[UInt8]]) -> String {
    var hash = SHA256()
    for part in parts {
      hash.update(data: (0..<8).map { UInt8(truncatingIfNeeded: part.count >> (56 - 8 * $0)) })
      hash.update(data: part)
    }
    return hash.finalize().prefix(16).map { byte in
      let text = String(byte, radix: 16)
      return byte < 16 ? "0" + text : text
    }.joined()
  }
}
