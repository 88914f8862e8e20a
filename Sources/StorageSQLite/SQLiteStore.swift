import CommandGate
import Foundation
import GRDB
import TransparencyLog

/// The embedded storage: one SQLite database in WAL mode with `synchronous=FULL`, and one connection that writes and
/// checkpoints (SQLite before 3.51.3 may corrupt a WAL that two connections reset).
package final class SQLiteStore: UnitStore {
  let queue: DatabaseQueue
  private let statements = Statements()

  /// How a database is opened.
  package enum Mode: Sendable {
    /// By the daemon: created where it does not exist.
    case readWrite
    /// By any other process: nothing is written.
    case readOnly
  }

  /// Opens a database.
  /// - Throws: ``StorageError`` when the file is no database of ours, or the durability asked for is not given.
  package init(path: String, mode: Mode = .readWrite) throws {
    var configuration = Configuration()
    configuration.label = "trustcore.sqlite"
    configuration.readonly = mode == .readOnly
    configuration.maximumReaderCount = 1
    if mode == .readOnly {
      guard FileManager.default.fileExists(atPath: path) else {
        throw StorageError("there is no database at \(path)")
      }
    }
    configuration.prepareDatabase { db in
      try db.execute(sql: "PRAGMA foreign_keys = ON")
      try db.execute(sql: "PRAGMA trusted_schema = OFF")
      try db.execute(sql: "PRAGMA cell_size_check = ON")
    }
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      switch mode {
      case .readWrite: try queue.writeWithoutTransaction(Self.prepareForWriting)
      case .readOnly: try queue.read(Self.checkVersion)
      }
    } catch let error as DatabaseError {
      throw StorageError("\(path) cannot be opened: \(error.message ?? "SQLite error \(error.resultCode.rawValue)")")
    }
  }

  private static func prepareForWriting(_ db: Database) throws {
    // After opening, since the wrapper sets its own values while it opens.
    try db.execute(sql: "PRAGMA journal_mode = WAL")
    try db.execute(sql: "PRAGMA synchronous = FULL")
    try db.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
    try db.execute(sql: "PRAGMA secure_delete = ON")
    try db.execute(sql: "PRAGMA temp_store = MEMORY")
    guard try Int.fetchOne(db, sql: "PRAGMA synchronous") == 2,
      try String.fetchOne(db, sql: "PRAGMA journal_mode") == "wal"
    else { throw StorageError("SQLite does not give synchronous=FULL in WAL mode: move the state to a local disk") }
    guard try Int.fetchOne(db, sql: "PRAGMA secure_delete") == 1 else {
      throw StorageError("SQLite does not overwrite what is erased: use a build of it that can")
    }
    if try Int.fetchOne(db, sql: "PRAGMA user_version") == 0,
      try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") == 0
    {
      try db.inTransaction {
        try db.execute(sql: Schema.sql)
        try db.execute(sql: "PRAGMA user_version = \(Schema.version)")
        return .commit
      }
    }
    try checkVersion(db)
  }

  private static func checkVersion(_ db: Database) throws {
    guard try Int.fetchOne(db, sql: "PRAGMA user_version") == Schema.version else {
      throw StorageError("the database has another schema version: open it with the release that made it")
    }
  }

  /// Runs `body` in one durable transaction on the writer's own queue.
  package func write<Result: Sendable>(
    _ body: @Sendable @escaping (inout SQLiteUnit) throws -> Result
  ) async throws -> Result {
    let statements = statements
    return try await queue.write { db in
      var unit = SQLiteUnit(db, statements, mayWrite: true)
      return try body(&unit)
    }
  }

  /// Runs `body` on a consistent view; a write inside it is an error.
  package func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout SQLiteUnit) throws -> Result
  ) async throws -> Result {
    let statements = statements
    // GRDB's own read sets `query_only`, for which SQLite compiles every kept statement anew.
    return try await queue.unsafeRead { db in try Self.read(db, statements, body) }
  }

  /// As ``read(_:)``, on the calling thread.
  package func readBlocking<Result>(_ body: (inout SQLiteUnit) throws -> Result) throws -> Result {
    try queue.unsafeRead { db in try Self.read(db, statements, body) }
  }

  private static func read<Result>(
    _ db: Database, _ statements: Statements, _ body: (inout SQLiteUnit) throws -> Result
  ) throws -> Result {
    try db.beginTransaction(.deferred)
    // Nothing was written, so there is nothing to keep.
    defer { try? db.rollback() }
    var unit = SQLiteUnit(db, statements, mayWrite: false)
    return try body(&unit)
  }

  /// What SQLite itself finds wrong with the file; empty when nothing.
  package func integrityFindings() throws -> [String] {
    try queue.read { db in try String.fetchAll(db, sql: "PRAGMA integrity_check") }.filter { $0 != "ok" }
  }

  /// How SQLite carries out each statement that ran since the database was opened, so that tests find a query that
  /// reads a whole table.
  package func queryPlans() throws -> [(sql: String, plan: [String])] {
    try queue.unsafeRead { db in
      // Parameters that are not bound are NULL.
      try statements.texts.filter { $0.hasPrefix("SELECT") || $0.hasPrefix("UPDATE") || $0.hasPrefix("DELETE") }
        .map { sql in
          let statement = try db.makeStatement(sql: "EXPLAIN QUERY PLAN " + sql)
          statement.setUncheckedArguments(StatementArguments())
          return (sql, try String.fetchAll(statement, adapter: SuffixRowAdapter(fromIndex: 3)))
        }
    }
  }

  /// Folds the WAL into the database and closes it.
  package func close() throws {
    queue.unsafeRead { _ in statements.removeAll() }
    try queue.close()
  }
}

/// Why the storage cannot be used.
package struct StorageError: Error, Sendable, CustomStringConvertible {
  /// What is wrong and what to do.
  package let description: String
  init(_ description: String) { self.description = description }
}
