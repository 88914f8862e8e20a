import Foundation
import GRDB
@testable import KeyService
import TestSupport

extension KeyDeployment where Disk == SQLiteDisk {
  /// Changes the database behind the service's back.
  func edit(_ statements: String..., arguments: StatementArguments = []) throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    let queue = try DatabaseQueue(path: disk.path, configuration: configuration)
    try queue.writeWithoutTransaction { db in
      try db.execute(sql: "PRAGMA synchronous = OFF")
      do { for sql in statements { try db.execute(sql: sql, arguments: arguments) } } catch {
        if db.isInsideTransaction { try db.rollback() }
        throw error
      }
    }
    try queue.close()
  }

  func backUp() throws -> String {
    let copy = try TemporaryFolder.make() + "/backup"
    try edit("VACUUM INTO '\(copy)'")
    return copy
  }

  /// Writes the tables about keys as they were.
  func putBack(_ copy: String) throws {
    var statements = ["ATTACH '\(copy)' AS old", "BEGIN IMMEDIATE"]
    for table in ["kek", "kek_version", "data_key", "key_event", "key_task"] {
      statements += ["DELETE FROM main.\(table)", "INSERT INTO main.\(table) SELECT * FROM old.\(table)"]
    }
    let all = (statements + ["COMMIT"]).joined(separator: ";")
    try edit(all)
  }

  /// Puts another database in the place of the one that the last process used.
  func replaceDatabase(by copy: String) throws {
    for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: disk.path + suffix) }
    try FileManager.default.copyItem(atPath: copy, toPath: disk.path)
  }

  func blob(_ table: String, _ column: String, _ condition: String) throws -> [UInt8] {
    let queue = try DatabaseQueue(path: disk.path)
    defer { try? queue.close() }
    return try queue.read { db in
      try Data.fetchOne(db, sql: "SELECT \(column) FROM \(table) WHERE \(condition)").map { Array($0) } ?? []
    }
  }
}

/// Keys of two classes and two tenants, with data keys: `a` has two versions.
struct TamperedWorld {
  let deployment: KeyDeployment<SQLiteDisk>
  let a: String
  let b: String
  let c: String
  let old: DrawnKey
  let new: DrawnKey
  let other: DrawnKey
  let foreign: DrawnKey

  static func make() async throws -> TamperedWorld {
    let deployment = try await KeyDeployment.onSQLite()
    let (a, b) = (try await deployment.create(), try await deployment.create("pii"))
    let c = try await deployment.create(by: deployment.parties.foreignOfficer)
    let old = try await deployment.make(a)
    try await deployment.order("rotate", a)
    let world = TamperedWorld(
      deployment: deployment, a: a, b: b, c: c, old: old, new: try await deployment.make(a),
      other: try await deployment.make(b),
      foreign: try await deployment.make(c, by: deployment.parties.foreignOwner))
    try await deployment.service.anchor()
    return world
  }
}
