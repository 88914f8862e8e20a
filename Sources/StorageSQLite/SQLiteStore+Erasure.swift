import Foundation
import GRDB
import KeyService

// What is destroyed must be gone from the files, not only from the rows. `secure_delete` overwrites what a row gives up
// where it lies, and `temp_store` keeps pages of savepoints out of temporary files; earlier pages stay in the WAL.
extension SQLiteStore {
  /// Empties the records and codes of all versions of keys, in one durable transaction: a restore replays destructions
  /// that the restored log does not know.
  package func eraseKeyVersions(_ keys: [String]) async throws {
    try await write { unit in
      for key in keys {
        for var version in try unit.keyVersions(of: key) {
          (version.record, version.codes) = ([], [])
          try unit.put(version)
        }
      }
    }
  }

  /// Makes erased bytes unreadable in the database's files: folds the WAL into the database and cuts it to nothing.
  /// Whoever reads the database meanwhile keeps the WAL, so it tries again.
  /// - Parameters:
  ///   - attempts: how often it tries, at least once.
  ///   - pause: between two attempts; the storage works on meanwhile.
  /// - Throws: ``StorageError`` where the WAL could not be cut; what was erased may still be read in it.
  package func scrub(attempts: Int = 50, pause: Duration = .milliseconds(100)) async throws {
    for attempt in 1...max(1, attempts) {
      if attempt > 1 { try await Task.sleep(for: pause) }
      if try await foldWAL() { return }
    }
    throw StorageError(
      "another process reads the database and keeps erased keys in its WAL: end that process, then scrub again")
  }

  /// - Returns: true where the WAL is empty afterwards.
  private func foldWAL() async throws -> Bool {
    try await queue.writeWithoutTransaction { [path = queue.path] db in
      // The first column tells whether a reader was in the way.
      guard try Int.fetchOne(db, sql: "PRAGMA wal_checkpoint(TRUNCATE)") == 0 else { return false }
      return try FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int == 0
    }
  }
}
