// Statements on SQLite's own interface. GRDB opens the connection and runs its transactions; its rows, arguments and
// statement look-up cost several times what SQLite takes for a statement, and a command runs about twenty.

import GRDB
import GRDBSQLite

/// The compiled statements of one connection, used on its queue alone.
@safe
final class Statements: @unchecked Sendable {
  /// By the address of their text, which a literal keeps.
  private nonisolated(unsafe) var compiled: [UInt: OpaquePointer] = unsafe [:]
  /// What was read through them and is dear to read again.
  let documents = Documents()

  /// Runs a statement; `row` sees its rows until it returns false.
  func run(
    _ sql: StaticString, _ arguments: [any SQLValue], on db: Database, row: (SQLRow) throws -> Bool = { _ in true }
  ) throws {
    let connection = try unsafe connection(db)
    let statement = try unsafe statement(sql, connection)
    defer { unsafe sqlite3_reset(statement) }
    for (index, argument) in arguments.enumerated() {
      let code = unsafe argument.bind(to: statement, at: Int32(index + 1))
      guard code == SQLITE_OK else { throw unsafe Self.error(code, sql, connection) }
    }
    while true {
      switch unsafe sqlite3_step(statement) {
      case SQLITE_ROW: guard try row(unsafe SQLRow(statement: statement)) else { return }
      case SQLITE_DONE: return
      case let code: throw unsafe Self.error(code, sql, connection)
      }
    }
  }

  /// How many rows the last statement changed.
  func changes(on db: Database) throws -> Int { Int(unsafe sqlite3_changes(try connection(db))) }

  /// The texts of the statements.
  var texts: [String] {
    unsafe compiled.values.compactMap { unsafe sqlite3_sql($0) }.map { unsafe String(cString: $0) }.sorted()
  }

  /// Lets the connection close.
  func removeAll() {
    while let statement = unsafe compiled.popFirst()?.value { unsafe sqlite3_finalize(statement) }
  }

  deinit { removeAll() }

  private func connection(_ db: Database) throws -> OpaquePointer {
    guard let connection = unsafe db.sqliteConnection else { throw StorageError("the database is closed") }
    return unsafe connection
  }

  private func statement(_ sql: StaticString, _ connection: OpaquePointer) throws -> OpaquePointer {
    let key = unsafe UInt(bitPattern: sql.utf8Start)
    if let statement = unsafe compiled[key] { return unsafe statement }
    var statement: OpaquePointer?
    let code = sql.withUTF8Buffer { text in
      unsafe text.withMemoryRebound(to: CChar.self) { text in
        unsafe sqlite3_prepare_v3(
          connection, text.baseAddress, Int32(text.count), UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
      }
    }
    guard code == SQLITE_OK, let statement = unsafe statement else {
      throw unsafe Self.error(code, sql, connection)
    }
    unsafe compiled[key] = statement
    return unsafe statement
  }

  private static func error(_ code: Int32, _ sql: StaticString, _ connection: OpaquePointer) -> DatabaseError {
    DatabaseError(
      resultCode: ResultCode(rawValue: code), message: unsafe String(cString: sqlite3_errmsg(connection)),
      sql: "\(sql)")
  }
}

/// A row of a running statement, valid within the closure that is given it.
@safe
struct SQLRow {
  fileprivate let statement: OpaquePointer

  /// The value of a column, counted from zero.
  subscript<Value: SQLValue>(_ column: Int32) -> Value { unsafe Value(of: statement, column) }
}

/// What a column can hold.
protocol SQLValue {
  /// Sets a parameter, counted from one; SQLite keeps a copy.
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32
  /// Reads a column. STRICT tables hold each column to its type; of another type SQLite makes what it can.
  init(of statement: OpaquePointer, _ column: Int32)
}

/// SQLITE_TRANSIENT, a cast that the importer leaves out: SQLite is to copy the bytes.
private var transient: sqlite3_destructor_type { unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

extension Int64: SQLValue {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    unsafe sqlite3_bind_int64(statement, index, self)
  }

  init(of statement: OpaquePointer, _ column: Int32) { self = unsafe sqlite3_column_int64(statement, column) }
}

extension Int: SQLValue {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    unsafe Int64(self).bind(to: statement, at: index)
  }

  init(of statement: OpaquePointer, _ column: Int32) { self = Int(unsafe Int64(of: statement, column)) }
}

extension String: SQLValue {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    var text = self
    return text.withUTF8 { text in
      unsafe text.withMemoryRebound(to: CChar.self) { text in
        // A null pointer would be NULL, which no empty text is.
        unsafe text.isEmpty
          ? sqlite3_bind_text(statement, index, "", 0, transient)
          : sqlite3_bind_text(statement, index, text.baseAddress, Int32(text.count), transient)
      }
    }
  }

  init(of statement: OpaquePointer, _ column: Int32) {
    let bytes = unsafe sqlite3_column_text(statement, column)
    let count = Int(unsafe sqlite3_column_bytes(statement, column))
    self = unsafe String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }
}

extension Array: SQLValue where Element == UInt8 {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    unsafe withUnsafeBufferPointer { bytes in
      unsafe bytes.isEmpty
        ? sqlite3_bind_zeroblob(statement, index, 0)
        : sqlite3_bind_blob(statement, index, bytes.baseAddress, Int32(bytes.count), transient)
    }
  }

  init(of statement: OpaquePointer, _ column: Int32) {
    let bytes = unsafe sqlite3_column_blob(statement, column)
    let count = Int(unsafe sqlite3_column_bytes(statement, column))
    self = unsafe Array(UnsafeRawBufferPointer(start: bytes, count: count))
  }
}

extension Optional: SQLValue where Wrapped: SQLValue {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    if let self { unsafe self.bind(to: statement, at: index) } else { unsafe sqlite3_bind_null(statement, index) }
  }

  init(of statement: OpaquePointer, _ column: Int32) {
    self = unsafe sqlite3_column_type(statement, column) == SQLITE_NULL ? nil : Wrapped(of: statement, column)
  }
}
