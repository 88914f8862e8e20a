import Testing
import Wire
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

typealias StateRequest = Envoy_Service_Discovery_V3_DiscoveryRequest
typealias DeltaRequest = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest

/// What a workload is entitled to, in short: the certificates are made-up bytes.
struct SDSWorld: Equatable {
  static let own = "own.test"
  static let svidID = "spiffe://own.test/web"
  static let otherID = "spiffe://own.test/db"
  static let federated = "spiffe://far.test"
  private static let keys = SVIDKeyStore(capacity: 4096)

  /// The path of each identity, and a number that stands for its certificate; none: the workload keeps the key.
  var svids: [(path: String, serial: UInt8?)] = [("/web", 1)]
  /// The trust domains, and the numbers that stand for their roots.
  var bundles: [String: [UInt8]] = [own: [1]]

  func snapshot(_ version: UInt64 = 1) throws -> WorkloadSnapshot {
    let own = try TrustDomain(Self.own)
    return WorkloadSnapshot(
      version: version, trustDomain: own,
      svids: try svids.map { svid in
        let key = try svid.serial.map { try unsafe Self.keys.key(copying: [0x30, $0, 0xFF].span.bytes) }
        return WorkloadX509SVID(
          id: try SPIFFEID(own, path: svid.path), chain: [[0x30, svid.serial ?? 0], [0x30, 0xCA]], key: key, hint: "",
          expires: .init(seconds: 0), entry: "")
      },
      bundles: try Dictionary(
        uniqueKeysWithValues: bundles.map {
          (try TrustDomain($0.key), WorkloadBundle(roots: $0.value.map { [0x30, $0] }, jwks: []))
        }),
      crls: [[0x30, 0x77]])
  }

  static func == (a: SDSWorld, b: SDSWorld) -> Bool {
    a.bundles == b.bundles && a.svids.map(\.path) == b.svids.map(\.path)
      && a.svids.map(\.serial) == b.svids.map(\.serial)
  }
}

extension SDSResponse {
  var names: [String] { resources.map(\.name) }
  var versions: [String: String] { Dictionary(uniqueKeysWithValues: resources.map { ($0.name, $0.version) }) }
}

extension StateRequest {
  init(_ names: [String], nonce: String = "", rejected: String? = nil, version: String = "") {
    self.init()
    (resourceNames, responseNonce, versionInfo, typeURL) = (names, nonce, version, SDSLimits.typeURL)
    if let rejected { errorDetail.message = rejected }
  }
}

extension DeltaRequest {
  init(
    _ subscribe: [String] = [], without: [String] = [], nonce: String = "", rejected: String? = nil,
    holding: [String: String] = [:]
  ) {
    self.init()
    (resourceNamesSubscribe, resourceNamesUnsubscribe, responseNonce) = (subscribe, without, nonce)
    (initialResourceVersions, typeURL) = (holding, SDSLimits.typeURL)
    if let rejected { errorDetail.message = rejected }
  }
}

extension SDSSession {
  /// The response that must be owed; a macro cannot call what mutates.
  mutating func owed() throws -> SDSResponse {
    let response = next()
    return try #require(response)
  }
}
