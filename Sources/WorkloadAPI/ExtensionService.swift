import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SwiftProtobuf
import Wire
import WorkloadIdentity
import WorkloadProtocol

/// What TrustCore offers workloads beside the SPIFFE Workload API: certificates for keys that never leave them.
struct ExtensionService: Sendable {
  static let name = ServiceDescriptor(fullyQualifiedService: "trustcore.workload.v1.Workload")

  /// The most bytes of a certificate signing request.
  static let maximumRequestBytes = 16_384

  let connection: ConnectionLookup
  let refusals: Refusals

  func register(on router: inout RPCRouter<WorkloadTransport>) {
    router.register(Self.name, "FetchX509SVIDForKey", refusals, connection, Self.x509SVID)
  }

  private static func x509SVID(
    _ request: Trustcore_Workload_V1_FetchX509SVIDForKeyRequest, _ connection: any WorkloadConnection
  ) async throws -> Trustcore_Workload_V1_FetchX509SVIDForKeyResponse {
    guard (1...maximumRequestBytes).contains(request.csr.count) else {
      throw WorkloadRefusal(
        .invalidArgument, "csr_invalid", "send a certificate signing request of 1 to \(maximumRequestBytes) bytes, DER")
    }
    let id = request.spiffeID.isEmpty ? nil : try SPIFFEID(request.spiffeID)
    let svid = try await connection.x509SVID(request: Array(request.csr), id: id)
    let snapshot = try await connection.snapshot()
    return .with {
      $0.spiffeID = svid.id.description
      $0.x509Svid.append(contentsOf: svid.chain.joined())
      $0.bundle.append(contentsOf: (snapshot.bundles[svid.id.trustDomain]?.roots ?? []).joined())
      $0.hint = svid.hint
      $0.expiresAt = svid.expires.seconds
    }
  }
}
