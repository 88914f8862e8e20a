import CommandGate
import Foundation
import KeyHierarchy
import KeyManifests
@testable import KeyService
import Seal
import StorageSQLite
import Testing
import TestSupport
import Wire

/// A process that ends in the middle leaves nothing half done, and the next one goes on.
@Suite struct CrashTests {
  private static let orders: [(verb: String, kind: String, states: [String])] = [
    ("create", "key.created", ["active"]), ("rotate", "key.rotated", ["retired", "active"]),
    ("rewrap", "key.rewrapped", ["retired", "active"]), ("disable", "key.disabled", ["disabled"]),
    ("enable", "key.enabled", ["active"]), ("destroy", "key.destroyed", ["destroyed"]),
  ]

  @Test(arguments: orders.indices) func theNextProcessGoesOn(_ number: Int) async throws {
    let (verb, kind, states) = Self.orders[number]
    let last: [HookedRecorder<SQLiteDisk.Store>.Point] = kind == "key.destroyed" ? [.beforeScrub] : []
    for point in [.beforeLeaf(kind), .afterLeaf(kind)] + last {
      var deployment = try await KeyDeployment.onSQLite()
      var key = ""
      var drawn: [DrawnKey] = []
      if verb != "create" {
        key = try await deployment.create()
        for _ in 0..<3 { drawn.append(try await deployment.make(key)) }
        if verb == "rewrap" { try await deployment.order("rotate", key) }
        if verb == "enable" { try await deployment.order("disable", key) }
      }
      let scrubs = deployment.recorder.scrubs
      deployment.recorder.crash(at: point)
      let task: String
      if verb == "create" {
        let receipt = try await deployment.submit("/v1/keys", ["class": "files"])
        (key, task) = (try receipt.text("key"), receipt.command.id.description)
      } else {
        task = try await deployment.command(verb, key)
      }
      #expect(await code { try await deployment.service.carryOut(task) } != nil, "\(point)")
      #expect(deployment.recorder.isOver && deployment.recorder.scrubs == scrubs)

      deployment = try await deployment.restarted()
      try await deployment.service.tend()
      #expect(try await deployment.pending().isEmpty, "\(point)")
      #expect(try await deployment.states(key) == states, "\(point)")
      // A rewrap of three has one leaf for them and one for its end.
      #expect(try await deployment.count(kind) == (verb == "rewrap" ? 2 : 1), "\(point)")
      #expect(try await deployment.service.outcome(ofTask: task)?["task_state"] == "done")
      #expect(deployment.recorder.scrubs >= 1)
      let head = try KeyHeadFile.read(deployment.headFile).head
      let last = try await deployment.store.read { unit in try unit.lastKeyEvent()?.sequence }
      #expect(head.chain.count == last)
      #expect(head.destroyed == (verb == "destroy" ? [key] : []))
      for data in drawn {
        let expected = ["disable": "key_disabled", "destroy": "key_destroyed"][verb]
        #expect(await deployment.failure(data) == expected, "\(point)")
      }
      if verb == "destroy" {
        #expect(try await deployment.service.outcome(ofTask: task)?["destruction"] != nil)
      } else if verb != "disable" {
        _ = try await deployment.make(key)
        try await deployment.order("rotate", key)
      }
      let further = try await deployment.restarted()
      try await further.service.open()
      #expect(try await further.service.status()["keys_mode"] == "open")
      await further.stop()
    }
  }

  /// What the schedule ordered, and a data key.
  @Test func retiringAndDrawingGoOn() async throws {
    for point: HookedRecorder<SQLiteDisk.Store>.Point in [
      .beforeLeaf("key.due"), .afterLeaf("key.due"), .beforeLeaf("key.retired"), .afterLeaf("key.retired"),
      .beforeScrub,
    ] {
      var deployment = try await KeyDeployment.onSQLite(manifest: manifest(("retire_after: never", "retire_after: 1d")))
      let key = try await deployment.create()
      try await deployment.order("rotate", key)
      deployment.clock.advance(seconds: 86_400)
      deployment.recorder.crash(at: point)
      try? await deployment.service.tend()
      #expect(deployment.recorder.isOver, "\(point)")
      deployment = try await deployment.restarted()
      for _ in 0..<2 { try await deployment.service.tend() }
      #expect(try await deployment.states(key) == ["destroyed", "active"], "\(point)")
      #expect(try await deployment.count("key.retired") == 1, "\(point)")
      #expect(try await deployment.count("key.due") == 1, "\(point)")
      #expect(deployment.recorder.scrubs >= 1)
      await deployment.stop()
    }
    for point: HookedRecorder<SQLiteDisk.Store>.Point in [
      .beforeLeaf("data-key.created"), .afterLeaf("data-key.created"),
    ] {
      var deployment = try await KeyDeployment.onSQLite()
      let key = try await deployment.create()
      deployment.recorder.crash(at: point)
      #expect(await code { _ = try await deployment.make(key) } != nil)
      deployment = try await deployment.restarted()
      let drawn = try await deployment.make(key)
      #expect(try await deployment.open(drawn.id) == drawn.secret)
      let isMade = point == .afterLeaf("data-key.created")
      #expect(try await deployment.count("data-key.created") == (isMade ? 2 : 1))
      await deployment.stop()
    }
  }

  @Test func erasingAfterARestoreIsTakenUp() async throws {
    let deployment = try await KeyDeployment.onSQLite()
    let key = try await deployment.create()
    let backup = try deployment.backUp()
    try await deployment.order("destroy", key)
    for point: HookedRecorder<SQLiteDisk.Store>.Point in [.beforeErase, .beforeScrub] {
      let restored = try await deployment.restarted { try deployment.replaceDatabase(by: backup) }
      restored.recorder.crash(at: point)
      #expect(await code { try await restored.service.open() } != nil)
      let next = try await restored.restarted()
      try await next.service.open()
      #expect(try await next.service.status()["keys_mode"] == "refused")
      #expect(try await next.store.read { unit in try unit.keyVersion(key, 1)?.record } == [])
      await next.stop()
    }
  }
}
