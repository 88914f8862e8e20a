import CommandGate
import GRDB
import Wire

/// A unit of work on the database: every store protocol of the domains, in one transaction.
package struct SQLiteUnit {
  let db: Database
  private let statements: Statements
  var documents: Documents { statements.documents }
  private let mayWrite: Bool

  init(_ db: Database, _ statements: Statements = Statements(), mayWrite: Bool = true) {
    self.db = db
    self.statements = statements
    self.mayWrite = mayWrite
  }

  /// Runs a statement that writes.
  func run(_ sql: StaticString, _ arguments: [any SQLValue]) throws {
    guard mayWrite else { throw StorageError("a unit of work that reads was asked to write") }
    try statements.run(sql, arguments, on: db)
  }

  /// How many rows the last statement changed.
  func changes() throws -> Int { try statements.changes(on: db) }

  /// The first row of a query.
  func first<Value>(
    _ sql: StaticString, _ arguments: [any SQLValue], _ decode: (SQLRow) throws -> Value
  ) throws -> Value? {
    var value: Value?
    try statements.run(sql, arguments, on: db) { row in
      value = try decode(row)
      return false
    }
    return value
  }

  /// Every row of a query.
  func all<Value>(
    _ sql: StaticString, _ arguments: [any SQLValue], _ decode: (SQLRow) throws -> Value
  ) throws -> [Value] {
    var values: [Value] = []
    try each(sql, arguments) { values.append(try decode($0)) }
    return values
  }

  /// Hands out every row of a query, one by one.
  func each(_ sql: StaticString, _ arguments: [any SQLValue], _ body: (SQLRow) throws -> Void) throws {
    try statements.run(sql, arguments, on: db) { row in
      try body(row)
      return true
    }
  }

  /// Runs a statement that must change exactly one row.
  func runOnce(_ sql: StaticString, _ arguments: [any SQLValue]) throws {
    try run(sql, arguments)
    guard try changes() == 1 else { throw StorageError("a row that must exist does not: restore the database") }
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

/// A truth value, of which only 0 and 1 are written.
func flag(_ value: Int64, _ what: StaticString) throws -> Bool { try decoded([0: false, 1: true][value], what) }

/// The text of a document that is kept as a blob.
func document(_ object: JSONObject) -> [UInt8] { JSONValue.object(object).canonical() }

/// Reads a document that is kept as a blob; any text but the one that is written is refused.
func decoding<Value>(
  _ bytes: [UInt8], _ what: StaticString, _ read: (JSONValue) throws -> Value, _ write: (Value) -> JSONValue
) throws -> Value {
  let value = try decoded(try? read(JSONValue(parsing: bytes)), what)
  return try decoded(write(value).canonical() == bytes ? value : nil, what)
}
