import Foundation
import GRDB
import KeyService
import StorageSQLite
import Testing
import TestSupport

@Suite struct KeyErasureTests {
  /// A version of a key whose record can be found again in a file.
  private static func version(_ number: Int, _ random: SeededRandom) -> KeyVersionRow {
    KeyVersionRow(
      key: "key_\(number)", version: 1, record: random.bytes([120, 200, 400, 1700][number % 4]),
      codes: random.bytes(40),
      leafIndex: UInt64(number))
  }

  /// Whether any sixteen bytes in a row of a record, or of its codes, stand in a file.
  private static func holds(_ files: [Data], _ version: KeyVersionRow) -> Bool {
    for bytes in [version.record, version.codes] {
      for start in stride(from: 0, through: bytes.count - 16, by: 8) {
        let piece = Data(bytes[start..<start + 16])
        if files.contains(where: { $0.range(of: piece) != nil }) { return true }
      }
    }
    return false
  }

  private static func files(_ path: String) throws -> [Data] {
    try ["", "-wal", "-shm"].map { path + $0 }.filter(FileManager.default.fileExists(atPath:))
      .map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
  }

  @Test func erasedKeysAreInNoFile() async throws {
    let path = try TemporaryFolder.make() + "/s.sqlite"
    let store = try SQLiteStore(path: path)
    let random = SeededRandom(3)
    let all = (0..<120).map { Self.version($0, random) }
    try await store.write { unit in for row in all { try unit.put(row) } }
    // Rows move while others grow, shrink and come back.
    for number in stride(from: 0, to: 120, by: 7) {
      var other = all[number]
      other.record += [1, 2, 3]
      let changed = other
      try await store.write { unit in try unit.savepoint { unit in try unit.put(changed) } }
      try await store.write { unit in try unit.put(all[number]) }
    }
    // What destruction writes, and what a restore that replays it does.
    let (destroyed, erased, kept) = (all[..<40], all[40..<80], all[80...])
    try await store.write { unit in
      for var row in destroyed {
        (row.record, row.codes) = (Array("destroyed".utf8), [])
        try unit.put(row)
      }
    }
    try await store.eraseKeyVersions(erased.map(\.key))
    #expect(try Self.files(path).contains { $0.range(of: Data(destroyed[0].record)) != nil }, "the test must find keys")
    try await store.scrub()
    let files = try Self.files(path)
    let left = (destroyed + erased).filter { Self.holds(files, $0) }
    let lost = kept.filter { !Self.holds(files, $0) }
    #expect(left == [] && lost == [])
    print("vectors: erasure: \(destroyed.count + erased.count) keys erased, none left in \(files.count) files")
    let rows = try store.readBlocking { unit in try all.map { try unit.keyVersions(of: $0.key) } }
    for (row, version) in zip(rows, all) {
      let isErased = erased.contains(version)
      #expect(row.count == 1 && row[0].leafIndex == version.leafIndex)
      #expect(row[0].record.isEmpty == isErased && (row[0] == version) == kept.contains(version))
    }
    try store.close()
  }

  /// Whoever reads keeps the WAL as it is; the storage says so instead of answering that all is gone.
  @Test func aReaderKeepsErasedKeysAndIsReported() async throws {
    let path = try TemporaryFolder.make() + "/s.sqlite"
    let store = try SQLiteStore(path: path)
    let version = Self.version(2, SeededRandom(4))
    try await store.write { unit in try unit.put(version) }
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    let reader = try DatabaseQueue(path: path, configuration: configuration)
    try await reader.writeWithoutTransaction { db in
      try db.execute(sql: "BEGIN")
      _ = try Int.fetchOne(db, sql: "SELECT count(*) FROM kek_version")
    }
    try await store.eraseKeyVersions([version.key])
    await #expect(throws: StorageError.self) { try await store.scrub(attempts: 2, pause: .zero) }
    #expect(Self.holds(try Self.files(path), version))
    try await reader.writeWithoutTransaction { db in try db.execute(sql: "ROLLBACK") }
    try await store.scrub(attempts: 1)
    #expect(!Self.holds(try Self.files(path), version))
    try reader.close()
    try store.close()
  }
}
