import Logging
import ServiceLifecycle
import StorageSQLite
import TrustCoreAPI
import Wire
import WorkloadService

/// Does for workload identity what time brings, every second: follows entries, renews certificates and authorities, and
/// fetches the bundles of federated trust domains.
struct WorkloadKeeper: Service {
  let workloads: WorkloadService<GateWorkloadRecorder<SQLiteStore>>
  let federation: FederationRefresher
  let time: any TimeSource
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var last = ""
      while !Task.isCancelled {
        var now = ""
        do { try await workloads.tend() } catch { now = "\(error)" }
        // Said once for each reason, not every second.
        if now != last, !now.isEmpty {
          logger.warning("workload identities cannot be tended", metadata: ["error": "\(now)"])
        }
        last = now
        await federation.tick(time.now())
        try? await Task.sleep(for: .seconds(1))
      }
    }
    await federation.close()
    await workloads.close()
  }
}
