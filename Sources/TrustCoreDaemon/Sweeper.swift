import CommandGate
import Ledger
import Logging
import Payments
import Seal
import ServiceLifecycle
import StorageSQLite
import Wire

/// Does what time brings, each act on the record: ends holds and held payments that are due, and cuts files of the
/// entries that wait for the bank.
struct Sweeper: Service {
  let gate: Gate<SQLiteStore>
  let store: SQLiteStore
  let ledger: LedgerModule<SQLiteUnit>
  let payments: PaymentsModule<SQLiteUnit>
  let time: any TimeSource
  let logger: Logger

  /// At most so many of a kind in one round.
  private static let limit = 256

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        do { try await sweep() } catch {
          logger.warning("what is due could not be done", metadata: ["error": "\(error)"])
        }
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }

  private func sweep() async throws {
    guard await gate.mode == .running else { return }
    let now = time.now()
    let (holds, held, tenants) = try await store.read { unit in
      (
        try unit.heldExpiring(atOrBefore: now.milliseconds, limit: Self.limit),
        try unit.heldPayments(expiringAtOrBefore: now, limit: Self.limit), try unit.tenantsWithWaitingEntries()
      )
    }
    for id in holds {
      try await gate.record { [ledger] unit, moment in
        try ledger.expire(id, at: moment.time, in: &unit).map { EventRecord(kind: "hold.expired", content: $0) }
      }
    }
    for id in held {
      try await gate.record { [payments] unit, moment in
        try payments.expire(id, at: moment.time, in: &unit).map { EventRecord(kind: "payment.expired", content: $0) }
      }
    }
    for tenant in tenants {
      try await gate.record { [payments] unit, moment in
        try payments.cutFile(tenant: tenant, at: moment.time, leafIndex: moment.leafIndex, in: &unit)
          .map { EventRecord(kind: "rail.file", content: $0) }
      }
    }
  }
}
