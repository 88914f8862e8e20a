import CommandGate
import GRDB

/// A unit of work on the database: every store protocol of the domains, in one transaction.
package struct SQLiteUnit {
  let db: Database

  init(_ db: Database) { self.db = db }

  /// Runs a statement whose compiled form is kept.
  func run(_ sql: StaticString, _ arguments: StatementArguments) throws {
    let statement = try db.cachedStatement(sql: "\(sql)")
    try statement.execute(arguments: arguments)
  }

  /// The first row of a query whose compiled form is kept.
  func first<Value>(_ sql: StaticString, _ arguments: StatementArguments, _ decode: (Row) throws -> Value) throws
    -> Value?
  {
    let statement = try db.cachedStatement(sql: "\(sql)")
    let rows = try Row.fetchCursor(statement, arguments: arguments)
    guard let row = try rows.next() else { return nil }
    return try decode(row)
  }

  /// Every row of a query whose compiled form is kept.
  func all<Value>(_ sql: StaticString, _ arguments: StatementArguments, _ decode: (Row) throws -> Value) throws
    -> [Value]
  {
    let statement = try db.cachedStatement(sql: "\(sql)")
    let rows = try Row.fetchCursor(statement, arguments: arguments)
    var values: [Value] = []
    while let row = try rows.next() { values.append(try decode(row)) }
    return values
  }

  /// Runs a statement that must change exactly one row.
  func runOnce(_ sql: StaticString, _ arguments: StatementArguments) throws {
    try run(sql, arguments)
    guard db.changesCount == 1 else { throw StorageError("a row that must exist does not: restore the database") }
  }

  /// Runs `body` so that its writes are undone when it throws.
  package mutating func savepoint<Result>(_ body: (inout SQLiteUnit) throws -> Result) throws -> Result {
    try run("SAVEPOINT command", [])
    do {
      let result = try body(&self)
      try run("RELEASE command", [])
      return result
    } catch {
      try run("ROLLBACK TO command", [])
      try run("RELEASE command", [])
      throw error
    }
  }
}

/// A value that the schema's own code wrote and must be able to read.
func decoded<Value>(_ value: Value?, _ what: StaticString) throws -> Value {
  guard let value else { throw StorageError("a stored \(what) cannot be read: restore the database") }
  return value
}

/// An index or a size, which is never negative.
func unsigned(_ value: Int64, _ what: StaticString) throws -> UInt64 { try decoded(UInt64(exactly: value), what) }
