import CommandGate
import Foundation
import Payments
import StorageSQLite
import TestSupport

/// What survives a crash: the database and the signer's head file.
protocol SimulatedDisk: Sendable {
  associatedtype Store: UnitStore where Store.Unit: PaymentStore
  /// Opens what a folder holds, or an empty disk.
  init(folder: String) throws
  /// The open storage.
  var store: Store { get }
  /// Where the signer keeps its head.
  var headFile: String { get }
  /// Where the database is, if it is a file.
  var database: String? { get }
  /// What is on the disk at this moment; opened when it is asked for.
  func image() throws -> @Sendable () throws -> Self
  func close() throws
}

/// A storage that forgets, with its head file.
struct MemoryDisk: SimulatedDisk {
  let store: InMemoryStore
  let headFile: String
  var database: String? { nil }

  init(folder: String) {
    store = InMemoryStore()
    headFile = folder + "/head"
  }

  private init(_ unit: InMemoryUnit, folder: String) {
    store = InMemoryStore(unit)
    headFile = folder + "/head"
  }

  func image() throws -> @Sendable () throws -> MemoryDisk {
    let (unit, folder) = (store.image, try TemporaryFolder.make())
    try FileManager.default.copyItem(atPath: headFile, toPath: folder + "/head")
    return { MemoryDisk(unit, folder: folder) }
  }

  func close() {}
}

/// The embedded storage.
struct SQLiteDisk: SimulatedDisk {
  private let folder: String
  private let base: SQLiteStore
  let store: BlockingStore<SQLiteStore>
  var headFile: String { folder + "/head" }
  var database: String? { folder + "/db" }

  init(folder: String) throws {
    self.folder = folder
    base = try SQLiteStore(path: folder + "/db")
    store = BlockingStore(base)
  }

  func image() throws -> @Sendable () throws -> SQLiteDisk {
    let copy = try TemporaryFolder.make()
    // The database comes before its log, whose frames are of later commits.
    for name in ["db", "db-wal", "head"] where FileManager.default.fileExists(atPath: "\(folder)/\(name)") {
      try FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(copy)/\(name)")
    }
    return { try SQLiteDisk(folder: copy) }
  }

  func close() throws { try base.close() }
}
