import Crypto
import Envelope
import Foundation
import GRDB
import KeyHierarchy
import KeyManifests
@testable import KeyService
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire

/// Whatever is changed in the database or the file beside it is noticed before anything is delivered.
@Suite struct TamperTests {
  private struct Case: CustomStringConvertible {
    let description: String
    let sql: String
    /// The code for a data key drawn under `a`, and for `old` and `new` opened; nil where that goes on.
    let codes: [String?]

    init(_ sql: String, _ make: String?, _ old: String?, _ new: String?) {
      (description, self.sql, codes) = (sql, sql, [make, old, new])
    }
  }

  private static func cases(_ world: TamperedWorld) -> [Case] {
    let (a, b, c) = ("'\(world.a)'", "'\(world.b)'", "'\(world.c)'")
    let (old, new, foreign) = ("'\(world.old.id)'", "'\(world.new.id)'", "'\(world.foreign.id)'")
    let (refused, missing) = ("key_record_refused", "key_record_missing")
    func swap(_ table: String, _ first: String, _ second: String, _ columns: String...) -> String {
      let copy = "CREATE TEMP TABLE was AS SELECT * FROM \(table)"
      func take(_ condition: String, _ other: String) -> String {
        let values = columns.map { "\($0) = (SELECT \($0) FROM was WHERE \(other))" }.joined(separator: ", ")
        return "UPDATE \(table) SET \(values) WHERE \(condition)"
      }
      return [copy, take(first, second), take(second, first)].joined(separator: ";")
    }
    func event(_ record: String, _ change: String) -> String {
      "UPDATE key_event SET \(change) WHERE record = \(record)"
    }
    let (a1, a2) = ("kek = \(a) AND version = 1", "kek = \(a) AND version = 2")
    let (b1, c1) = ("kek = \(b) AND version = 1", "kek = \(c) AND version = 1")
    let (aTwo, aOne) = ("'\(world.a)/2'", "'\(world.a)/1'")
    return [
      // kek
      Case("UPDATE kek SET data_class = 'documents' WHERE id = \(a)", refused, refused, refused),
      Case("UPDATE kek SET state = 'disabled' WHERE id = \(a)", "key_disabled", "key_disabled", "key_disabled"),
      Case("UPDATE kek SET state = 'pending' WHERE id = \(a)", "key_pending", "key_pending", "key_pending"),
      Case("UPDATE kek SET version = 1 WHERE id = \(a)", refused, refused, refused),
      Case("UPDATE kek SET version = 3 WHERE id = \(a)", missing, nil, refused),
      Case("UPDATE kek SET since = 0, leaf_index = 0 WHERE id = \(a)", nil, nil, nil),
      Case(
        "UPDATE kek SET tenant = 'tnt_x' WHERE id = \(a)", "key_not_found", "data_key_not_found", "data_key_not_found"),
      // kek_version
      Case(swap("kek_version", a1, a2, "record", "codes", "leaf_index"), refused, refused, refused),
      Case(swap("kek_version", a2, b1, "record", "codes", "leaf_index"), refused, nil, refused),
      Case(swap("kek_version", a2, c1, "record", "codes", "leaf_index"), refused, nil, refused),
      Case(swap("kek_version", a2, b1, "codes"), refused, nil, refused),
      Case("UPDATE kek_version SET leaf_index = leaf_index + 1 WHERE \(a2)", refused, nil, refused),
      Case("UPDATE kek_version SET version = 9 WHERE \(a2)", missing, nil, missing),
      Case("DELETE FROM kek_version WHERE \(a1)", nil, missing, nil),
      Case("UPDATE kek_version SET record = x'' WHERE \(a2)", refused, nil, refused),
      Case("UPDATE kek_version SET codes = x'' WHERE \(a2)", refused, nil, refused),
      // data_key
      Case(
        swap("data_key", "id = \(old)", "id = \(new)", "version", "record", "codes", "leaf_index"), nil, refused,
        refused),
      Case(swap("data_key", "id = \(new)", "id = \(foreign)", "record", "codes", "leaf_index"), nil, nil, refused),
      Case(swap("data_key", "id = \(new)", "id = \(foreign)", "codes"), nil, nil, refused),
      Case("UPDATE data_key SET version = 1 WHERE id = \(new)", nil, nil, refused),
      Case("UPDATE data_key SET kek = \(b) WHERE kek = \(a)", nil, refused, missing),
      Case("UPDATE data_key SET kek = \(c) WHERE kek = \(a)", nil, "data_key_not_found", "data_key_not_found"),
      Case("UPDATE data_key SET leaf_index = leaf_index - 1 WHERE id = \(new)", nil, nil, refused),
      Case("UPDATE data_key SET record = x'00' WHERE id = \(new)", nil, nil, refused),
      // key_event
      Case(event(aTwo, "digest = zeroblob(32)"), refused, nil, refused),
      Case(event(aTwo, "state = 'retired'"), refused, nil, refused),
      Case(event(aTwo, "number = 1"), refused, nil, refused),
      Case(event(aTwo, "leaf_index = leaf_index - 1"), refused, nil, refused),
      Case(event(aTwo, "record = 'key_x/2'"), refused, nil, refused),
      Case("DELETE FROM key_event WHERE record = \(aOne) AND state = 'retired'", nil, refused, nil),
      Case(event(new, "digest = zeroblob(32)"), nil, nil, refused),
      Case(event(new, "state = 'destroyed'"), nil, nil, refused),
      Case(event(new, "number = 2"), nil, nil, refused),
      Case(event(new, "record = 'dek_x'"), nil, nil, refused),
      Case(
        swap("key_event", "record = \(new)", "record = \(foreign)", "digest", "leaf_index"), nil, nil, refused),
    ]
  }

  @Test func everyColumnIsHeldToTheRecord() async throws {
    let world = try await TamperedWorld.make()
    let deployment = world.deployment
    let backup = try deployment.backUp()
    for test in Self.cases(world) {
      try deployment.edit(test.sql)
      var codes: [String?] = []
      codes.append(await code { _ = try await deployment.make(world.a) })
      for data in [world.old, world.new] {
        codes.append(await deployment.failure(data))
      }
      #expect(codes == test.codes, "\(test)")
      try deployment.putBack(backup)
      // What was drawn meanwhile is in the log alone, so the history has a gap that nobody asks about.
      #expect(try await deployment.open(world.new.id) == world.new.secret, "after \(test)")
    }
    print("vectors: key columns: \(Self.cases(world).count) changes ran, none left out")
    await deployment.stop()
  }

  /// Every bit of what is stored counts, also where its history was made to fit.
  @Test func everyBitCounts() async throws {
    let world = try await TamperedWorld.make()
    let deployment = world.deployment
    var flips = 0
    var ends: [String: Int] = [:]
    for (table, key, column, condition, event) in [
      ("kek_version", "kek", "record", "kek = '\(world.a)' AND version = 2", "\(world.a)/2"),
      ("kek_version", "kek", "codes", "kek = '\(world.a)' AND version = 2", ""),
      ("data_key", "id", "record", "id = '\(world.new.id)'", world.new.id),
      ("data_key", "id", "codes", "id = '\(world.new.id)'", ""),
    ] {
      _ = key
      let bytes = try deployment.blob(table, column, condition)
      #expect(bytes.count > 60)
      for bit in stride(from: 0, to: bytes.count * 8, by: 13) {
        var changed = bytes
        changed[bit / 8] ^= 1 << UInt8(bit % 8)
        let literal = "x'\(Hex.encode(changed))'"
        try deployment.edit("UPDATE \(table) SET \(column) = \(literal) WHERE \(condition)")
        let first = await code { _ = try await deployment.open(world.new.id) }
        var second = first
        if !event.isEmpty {
          let digest = "x'\(Hex.encode(Array(SHA256.hash(data: changed))))'"
          try deployment.edit("UPDATE key_event SET digest = \(digest) WHERE record = '\(event)'")
          second = await code { _ = try await deployment.open(world.new.id) }
          let truth = "x'\(Hex.encode(Array(SHA256.hash(data: bytes))))'"
          try deployment.edit("UPDATE key_event SET digest = \(truth) WHERE record = '\(event)'")
        }
        for end in [first, second] {
          let allowed = ["key_record_refused"] + (column == "codes" ? ["root_key_absent"] : [])
          #expect(end.map { allowed.contains($0) } == true, "\(table).\(column), bit \(bit): \(end ?? "delivered")")
          ends[end ?? "delivered", default: 0] += 1
        }
        flips += 1
      }
      try deployment.edit("UPDATE \(table) SET \(column) = x'\(Hex.encode(bytes))' WHERE \(condition)")
      #expect(try await deployment.open(world.new.id) == world.new.secret)
    }
    print("vectors: flipped bits of key records: \(flips) ran, 12 of 13 left out for time; \(ends)")
    await deployment.stop()
  }

  @Test func aRefusalIsOnTheRecordOnce() async throws {
    let world = try await TamperedWorld.make()
    let deployment = world.deployment
    try deployment.edit("UPDATE data_key SET leaf_index = 0 WHERE id = '\(world.new.id)'")
    for _ in 0..<3 {
      #expect(await code { _ = try await deployment.open(world.new.id) } == "key_record_refused")
    }
    let refused = try await deployment.events().filter { $0.kind == "key.refused" }
    #expect(refused.count == 1)
    #expect(refused.first?.content["record"] == .string(world.new.id))
    #expect(refused.first?.content["key"] == .string(world.a))
    // A rewrap leaves it where it is, counts it, and is not ordered again and again.
    try await deployment.order("rotate", world.a)
    for _ in 0..<3 { try await deployment.service.tend() }
    let ends = try await deployment.events().filter { $0.kind == "key.rewrapped" && $0.content["task"] != nil }
    #expect(ends.map { $0.content["facts"] } == [["data_keys": 1, "refused": 1]])
    #expect(try await deployment.open(world.old.id) == world.old.secret)
    await deployment.stop()
  }
}
