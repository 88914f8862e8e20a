import Logging
import ServiceLifecycle
import StorageSQLite
import TrustCoreAPI
import Wire
import WorkloadService

/// Does for workload identity what time brings, every second: follows entries, renews certificates and authorities, the
/// API server's own too, and fetches the bundles of federated trust domains.
struct WorkloadKeeper: Service {
  let workloads: WorkloadService<GateWorkloadRecorder<SQLiteStore>>
  let federation: FederationRefresher
  let time: any TimeSource
  let logger: Logger
  /// Has the API server's certificate follow the authorities.
  let followAuthorities: @Sendable () async throws -> Void

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var told: [String: String] = [:]
      while !Task.isCancelled {
        let work: [(what: String, tend: @Sendable () async throws -> Void)] = [
          ("workload identities cannot be tended", { try await workloads.tend() }),
          ("the API server's certificate cannot be renewed", followAuthorities),
        ]
        for (what, tend) in work {
          var reason: String?
          do { try await tend() } catch { reason = "\(error)" }
          // Said once for each reason, not every second.
          if let reason, reason != told[what] { logger.warning("\(what)", metadata: ["error": "\(reason)"]) }
          told[what] = reason
        }
        await federation.tick(time.now())
        try? await Task.sleep(for: .seconds(1))
      }
    }
    await federation.close()
    await workloads.close()
  }
}
