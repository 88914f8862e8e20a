import Foundation
import StorageSQLite
import Testing
import TestSupport
import Wire
import WorkloadIdentity
import WorkloadService

@Suite struct WorkloadStoreTests {
  /// What the storage holds of workloads.
  private struct Contents: Equatable {
    let entries: [EntryRow]
    let authorities: [[AuthorityRow]]
    let orders: [AuthorityOrder]
    let revocations: [[RevocationRow]]
    let lists: [RevocationListRow]
    let federations: [FederationRow]

    init(_ unit: inout SQLiteUnit) throws {
      entries = try unit.entries(changedAfter: 0, limit: 1000)
      authorities = try AuthorityKind.allCases.map { try unit.authorities($0) }
      orders = try unit.pendingAuthorityOrders()
      revocations = try [.x509, .jwt].map { try unit.revocations($0, at: Timestamp(milliseconds: 0)) }
      lists = try unit.revocationLists()
      federations = try unit.federations()
    }
  }

  @Test func aReopenedStoreHoldsTheSame() async throws {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let store = try SQLiteStore(path: folder + "/s.sqlite")
    try await world.found(store, headFile: folder + "/head")
    let deployment = try await WorkloadDeployment(world, store: store, headFile: folder + "/head")
    try await deployment.fill()
    await deployment.stop()
    let before = try await store.read { unit in try Contents(&unit) }
    try store.close()
    let reopened = try SQLiteStore(path: folder + "/s.sqlite")
    let after = try await reopened.read { unit in try Contents(&unit) }
    #expect(after == before)
    #expect(after.entries.count == 8 && after.authorities.map(\.count) == [4, 2, 1] && after.orders.count == 1)
    #expect(after.revocations.map(\.count) == [1, 1] && after.lists.count == 3 && after.federations.count == 2)
    try reopened.close()
  }

  @Test func aListOfCertificatesIsReadStrictly() {
    let lists: [[[UInt8]]] = [[], [[7]], [[UInt8](repeating: 1, count: 256), [2, 3], [4]]]
    for list in lists {
      let blob = CertificateList.encode(list)
      #expect(CertificateList.decode(blob) == list)
      // Each shorter one is refused, or is a shorter list.
      for count in 0..<blob.count {
        let part = CertificateList.decode(Array(blob.prefix(count)))
        #expect(part == nil || part.map { list.starts(with: $0) && $0.count < list.count } == true)
      }
      #expect(CertificateList.decode(blob + [0]) == nil)
    }
    for blob in [[0, 0, 0, 0], [0, 0, 0, 2, 1], [1], [255, 255, 255, 255, 1], [0, 0, 0, 1, 1, 0, 0, 0, 0]] as [[UInt8]]
    {
      #expect(CertificateList.decode(blob) == nil, "\(blob)")
    }
  }

  /// A daemon reads name and selectors of every entry when it starts. TRUSTCORE_ENTRIES asks for another number of them.
  @Test func loadsManyEntries() async throws {
    let count = ProcessInfo.processInfo.environment["TRUSTCORE_ENTRIES"].flatMap(Int.init) ?? 50_000
    let path = try TemporaryFolder.make() + "/s.sqlite"
    let random = SeededRandom(5)
    let store = try SQLiteStore(path: path)
    let selectors = try ["unix:uid:1000", "unix:gid:1000", "unix:path:/usr/bin/app"].map {
      SelectorDigest(try Selector($0))
    }
    for start in stride(from: 0, to: count, by: 1000) {
      try await store.write { unit in
        for number in start..<min(start + 1000, count) {
          try unit.put(
            EntryRow(
              id: EntryID(random: random).description, sequence: UInt64(number + 1), fingerprint: random.bytes(32),
              selectors: SelectorDigest.encode(selectors), document: random.bytes(400), leafIndex: UInt64(start),
              created: UInt64(number + 1)))
        }
      }
    }
    try await store.write { unit in
      let row = try #require(try unit.entries(changedAfter: 0, limit: 1).first)
      try unit.put(
        EntryRow(
          id: row.id, sequence: UInt64(count + 1), fingerprint: nil, selectors: [], document: [], leafIndex: 0,
          created: row.created))
    }
    try store.close()

    let reopened = try SQLiteStore(path: path)
    let clock = ContinuousClock()
    let begin = clock.now
    let (names, bytes, counted, newest) = try await reopened.read { unit in
      var (names, bytes) = (Set<String>(), 0)
      names.reserveCapacity(count)
      try unit.eachEntry { id, selectors in
        names.insert(id)
        bytes += selectors.count
      }
      return (names.count, bytes, try unit.entryCount(), try unit.lastEntrySequence())
    }
    print("vectors: entries: \(count) of them load in \((clock.now - begin) / .milliseconds(1)) ms")
    #expect(names == count - 1 && bytes == names * 48 && counted == names && newest == UInt64(count + 1))
    try reopened.close()
  }
}
