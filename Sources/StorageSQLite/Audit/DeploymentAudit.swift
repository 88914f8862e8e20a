import Foundation
import GRDB
import Seal
import TransparencyLog

/// Reads a whole deployment again, offline, and proves it from `genesis.json` alone: the log from its entries, the
/// decisions from their evidence, the receipts from their seals, and the tables from the record.
///
/// It trusts the genesis that it is given and nothing in the database. Entries are streamed; memory grows with the
/// number of principals, accounts, holds and payments, not with the log.
public struct DeploymentAudit: Sendable {
  private let path: String
  private let genesis: [UInt8]
  private let receipt: String?

  /// Prepares an audit.
  /// - Parameters:
  ///   - path: the database; it is opened read-only and read in one transaction.
  ///   - genesis: the bytes of `genesis.json`, from a source that the auditor trusts.
  ///   - receipt: the identifier of a command whose chain of evidence the report shall name.
  public init(database path: String, genesis: [UInt8], receipt: String? = nil) {
    self.path = path
    self.genesis = genesis
    self.receipt = receipt
  }

  /// Runs the audit.
  /// - Returns: what was proven, and what was found wrong; no finding means that the deployment is sound.
  /// - Throws: ``StorageError`` when the file is no database of ours or `genesis.json` cannot be read.
  public func run() throws -> AuditReport {
    let founding: Genesis
    do { founding = try Genesis(decoding: genesis) } catch {
      throw StorageError("genesis.json cannot be read (\(error)): take it from where the deployment was founded")
    }
    let store = try SQLiteStore(path: path, mode: .readOnly)
    defer { try? store.close() }
    var report = AuditReport()
    // Nothing else is read from a file that SQLite itself finds damaged.
    do {
      for finding in try store.integrityFindings() { report.add("database", "\(finding).") }
    } catch {
      report.add("database", "\(error)")
    }
    guard report.isSound else { return report }
    do {
      try store.readBlocking { unit in
        try audit(founding, in: &unit, &report)
        guard let receipt else { return }
        report.audit("receipt \(receipt)") { report throws in
          guard let id = CommandID(text: receipt) else { throw Mismatch("it is no command's identifier.") }
          report.chain = try ReceiptChain.links(of: id, genesis: founding, in: &unit)
        }
      }
    } catch {
      report.add("database", "\(error)")
    }
    return report
  }

  private func audit(_ genesis: Genesis, in unit: inout SQLiteUnit, _ report: inout AuditReport) throws {
    try compareSchema(in: unit, &report)
    var decisions = try DecisionAudit(genesis: genesis, digest: Genesis.digest(self.genesis))
    guard let head = try unit.head() else { return report.add("table log_head", "the log has no head.") }
    var tree = TreeAudit(verifiers: decisions.verifiers, in: unit, &report)
    while true {
      let next = tree.tree.size
      let entries = try unit.all(
        "SELECT idx, leaf FROM log_entry WHERE idx >= ? ORDER BY idx LIMIT 256", [Int64(clamping: next)]
      ) { (index: $0[0] as Int64, leaf: $0[1] as [UInt8]) }
      for entry in entries {
        let index = tree.tree.size
        guard Int64(exactly: index) == entry.index else {
          // Without it nothing behind it can be held to a root.
          return report.add("leaf \(index)", "it is missing; the next one stored is \(entry.index).")
        }
        let isSealed = tree.append(entry.leaf, in: unit, &report)
        report.audit("leaf \(index)") { report throws in try decisions.take(entry.leaf, at: index, in: &unit, &report) }
        if isSealed { decisions.seal(tree, in: unit, &report) }
      }
      if entries.isEmpty { break }
    }
    report.leaves = tree.tree.size
    report.count("log_entry", Int(clamping: tree.tree.size), in: unit)
    tree.finish(head: head, in: unit, &report)
    decisions.finish(in: &unit, &report)
    StateAudit(decisions.state).run(in: unit, &report)
  }

  /// A trigger or a view could make every table lie later, however sound it is today.
  private func compareSchema(in unit: SQLiteUnit, _ report: inout AuditReport) throws {
    let ours = try DatabaseQueue().write { db in
      try db.execute(sql: Schema.sql)
      return try SQLiteUnit(db).schema()
    }
    let stored = try unit.schema()
    for name in Set(ours.keys).union(stored.keys).sorted() where ours[name] != stored[name] {
      report.add("schema", "'\(name)' is not what this release creates.")
    }
  }
}
