import Crypto
import Foundation
import KeyManifests
@testable import KeyService
import Testing
import TestSupport
import Wire

/// The uses of data keys, in a file whose digest goes on the record.
@Suite struct JournalTests {
  private static func files(_ deployment: KeyDeployment<MemoryDisk>) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: deployment.journal).sorted()
  }

  private static func read(_ deployment: KeyDeployment<MemoryDisk>, _ name: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: deployment.journal + "/" + name))
  }

  private static func leaves(_ deployment: KeyDeployment<MemoryDisk>) async throws -> [JSONObject] {
    try await deployment.events().filter { $0.kind == "key-uses" }.map(\.content)
  }

  @Test func aSegmentBecomesALeafWithinAMinute() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    _ = try await deployment.open(drawn.id)
    _ = try await deployment.open(drawn.id, by: deployment.parties.agent)
    // What is refused is no use.
    #expect(
      await code { _ = try await deployment.open(drawn.id, try KeyDeployment<MemoryDisk>.context("b")) }
        == "context_mismatch")
    #expect(try await Self.leaves(deployment).isEmpty)
    // Tended every second, as the daemon does.
    for _ in 0..<59 {
      deployment.clock.advance(seconds: 1)
      try await deployment.service.tend()
    }
    let leaves = try await Self.leaves(deployment)
    #expect(leaves.count == 1)
    let sealed = "000000000001.sealed.jsonl"
    #expect(try Self.files(deployment) == [sealed, "000000000002.jsonl"])
    let data = try Self.read(deployment, sealed)
    #expect(
      leaves.first == ["segment": 1, "uses": 3, "sha256": .string(Hex.encode(Array(SHA256.hash(data: data))))])
    let lines = try data.split(separator: UInt8(ascii: "\n")).map { try JSONValue(parsing: Array($0)).object }
    #expect(lines.map { $0?["operation"]?.string } == ["encrypt", "decrypt", "decrypt"])
    #expect(lines.map { $0?["principal"]?.string } == ["own_1", "own_1", "agt_9"])
    #expect(lines.allSatisfy { $0?["data_key"] == .string(drawn.id) && $0?["key"] == .string(key) })
    #expect(
      lines.allSatisfy { $0?["request_sha256"] == .string(Base64.URL.encode([UInt8](repeating: 7, count: 32))) })
    // Without uses there are no leaves.
    for _ in 0..<120 {
      deployment.clock.advance(seconds: 1)
      try await deployment.service.tend()
    }
    #expect(try await Self.leaves(deployment).count == 1)
    // The end of the process does not wait for the minute.
    _ = try await deployment.open(drawn.id)
    await deployment.service.close()
    #expect(try await Self.leaves(deployment).map { $0["uses"] } == [3, 1])
    await deployment.stop()
  }

  @Test func theNextProcessTakesASegmentUp() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    try await deployment.service.anchor()
    // In the middle, and once in the middle of a line that nobody was answered for.
    var next = try await deployment.restarted()
    _ = try await next.open(drawn.id)
    let file = next.journal + "/000000000001.jsonl"
    next = try await next.restarted {
      let handle = try #require(FileHandle(forWritingAtPath: file))
      try handle.seekToEnd()
      try handle.write(contentsOf: Data("{\"at\":\"20".utf8))
      try handle.close()
    }
    _ = try await next.open(drawn.id)
    next.clock.advance(seconds: 60)
    try await next.service.tend()
    let data = try Self.read(next, "000000000001.sealed.jsonl")
    let digest = Hex.encode(Array(SHA256.hash(data: data)))
    #expect(try await Self.leaves(next) == [["segment": 1, "uses": 3, "sha256": .string(digest)]])
    #expect(data.split(separator: UInt8(ascii: "\n")).allSatisfy { (try? JSONValue(parsing: Array($0))) != nil })

    // Ended between the closing of a segment and its leaf.
    _ = try await next.open(drawn.id)
    next.clock.advance(seconds: 60)
    next.recorder.crash(at: .beforeLeaf("key-uses"))
    try? await next.service.tend()
    #expect(try Self.files(next).suffix(2) == ["000000000002.jsonl", "000000000003.jsonl"])
    next = try await next.restarted()
    try await next.service.tend()
    #expect(try await Self.leaves(next).map { $0["segment"] } == [1, 2])
    await next.stop()
  }

  @Test func withoutAJournalNothingIsDelivered() async throws {
    let deployment = try await KeyDeployment.inMemory()
    let key = try await deployment.create()
    let drawn = try await deployment.make(key)
    try await deployment.service.anchor()
    let folder = deployment.journal
    let aside = folder + "-aside"
    var next = try await deployment.restarted {
      try FileManager.default.moveItem(atPath: folder, toPath: aside)
      try Data().write(to: URL(fileURLWithPath: folder))
    }
    #expect(await next.failure(drawn) == "key_journal_failed")
    #expect(await code { _ = try await next.make(key) } == "key_journal_failed")
    #expect(try await next.service.status()["keys_reason"]?.string?.hasPrefix("key_journal_failed") == true)
    // Repaired, it goes on without a restart.
    try FileManager.default.removeItem(atPath: folder)
    try FileManager.default.moveItem(atPath: aside, toPath: folder)
    #expect(await next.failure(drawn) == nil)

    // A disk that is full: `/dev/full` takes no byte.
    let file = folder + "/000000000001.jsonl"
    next = try await next.restarted {
      try FileManager.default.moveItem(atPath: file, toPath: aside)
      try FileManager.default.createSymbolicLink(atPath: file, withDestinationPath: "/dev/full")
    }
    #expect(await next.failure(drawn) == "key_journal_failed")
    await next.stop()
  }

  /// A line that was written in part is cut off before the next one.
  @Test func aTornLineIsCutOff() throws {
    let folder = try TemporaryFolder.make()
    let journal = KeyUseJournal(folder: folder)
    let use = KeyUseJournal.Use("encrypt", "dek_1", key: "key_1", "own_1", [1, 2, 3])
    let now = Timestamp(seconds: 1_800_000_000)
    try journal.open()
    try journal.write(use, at: now)
    let file = URL(fileURLWithPath: folder + "/000000000001.jsonl")
    let one = try Data(contentsOf: file)
    for torn in [Data("{".utf8), one.dropLast(), Data(repeating: 0x78, count: 200_000)] {
      try (one + torn).write(to: file)
      let next = KeyUseJournal(folder: folder)
      try next.open()
      #expect(try Data(contentsOf: file) == one)
      try next.write(use, at: now)
      #expect(try Data(contentsOf: file) == one + one)
      let segments = try next.close(at: now, after: 0)
      #expect(segments.map(\.lines) == [2])
      #expect(segments.first?.digest == Array(SHA256.hash(data: one + one)))
      try FileManager.default.removeItem(atPath: folder + "/000000000002.jsonl")
    }
  }
}
