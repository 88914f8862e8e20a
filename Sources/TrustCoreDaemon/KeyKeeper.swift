import HSMCustody
import KeyHierarchy
import KeyService
import Logging
import ServiceLifecycle
import StorageSQLite
import TrustCoreAPI

/// Carries out what is due about keys, and puts the journal of their uses on the record; that does not wait for a rewrap
/// of many data keys.
struct KeyKeeper: Service {
  let keys: KeyService<GateKeyRecorder<SQLiteStore>>
  let custodian: PKCS11Custodian
  let logger: Logger

  func run() async throws {
    await withGracefulShutdownHandler {
      await cancelWhenGracefulShutdown {
        await withDiscardingTaskGroup { group in
          group.addTask { await everySecond("keys cannot be tended") { try await keys.tend() } }
          group.addTask { await everySecond("the uses of keys cannot be recorded") { try await keys.closeJournal() } }
          // A token that came back is seen without anybody's need for it; custody itself spaces its attempts.
          group.addTask {
            await everySecond("the data token cannot be reached") {
              guard custodian.health().contains(where: { $0.role == .data && $0.state == .down }) else { return }
              _ = try await custodian.authenticate(record: [])
            }
          }
        }
      }
    } onGracefulShutdown: {
      Task { await keys.stop() }
    }
    await keys.close()
  }

  private func everySecond(_ failure: String, _ body: () async throws -> Void) async {
    var last = ""
    while !Task.isCancelled {
      var now = ""
      do { try await body() } catch { now = "\(error)" }
      // Said once for each reason, not every second.
      if now != last, !now.isEmpty { logger.warning("\(failure)", metadata: ["error": "\(now)"]) }
      last = now
      try? await Task.sleep(for: .seconds(1))
    }
  }
}
