import CommandGate
import KeyHierarchy
@testable import KeyService
import Seal
import Testing
import TestSupport
import Wire

/// The HSM fails at every call of every operation, in every way.
@Suite struct HSMTroubleTests {
  static let failures: [(code: CustodyError.Code, problem: String, isCarriedOut: Bool)] = [
    (.unavailable, "hsm_unavailable", false), (.busy, "hsm_busy", false), (.timedOut, "hsm_timeout", true),
    (.full, "hsm_full", false), (.wrongPIN, "wrong_pin", false), (.keyChanged, "key_changed", false),
    (.failed, "hsm_failed", true),
  ]
  private static let verbs = ["create", "rotate", "rewrap", "disable", "enable", "destroy"]

  @Test(arguments: verbs) func everyCallOfATask(_ verb: String) async throws {
    var calls = 0
    for (failure, problem, isCarriedOut) in Self.failures {
      let deployment = try await KeyDeployment.inMemory()
      let (token, service) = (deployment.tokens[0], deployment.service)
      try await service.open()
      var number = 0
      while true {
        number += 1
        // What the task starts from.
        var (key, drawn) = ("", [DrawnKey]())
        if verb != "create" {
          key = try await deployment.create()
          for _ in 0..<2 { drawn.append(try await deployment.make(key)) }
          if verb == "rewrap" { try await deployment.order("rotate", key) }
          if verb == "enable" { try await deployment.order("disable", key) }
        }
        try await service.anchor()
        let leaves = try await deployment.events().count
        token.reset()
        token.fail(failure, atCall: number, isCarriedOut: isCarriedOut)
        let task: String
        if verb == "create" {
          let receipt = try await deployment.submit("/v1/keys", ["class": "files"])
          (key, task) = (try receipt.text("key"), receipt.command.id.description)
        } else {
          task = try await deployment.command(verb, key)
        }
        let end = await code { try await service.carryOut(task) }
        let isOver = token.calls < number
        if isOver {
          #expect(end == nil, "\(verb), \(failure), nothing failed")
        } else if verb == "disable", token.counts[.forget] == 1 {
          // A key that is out of use is let go of where that is possible.
          #expect(end == nil || end == problem, "\(verb), \(failure) at \(number)")
        } else {
          #expect(end == problem, "\(verb), \(failure) at \(number)")
          let outcome = try await service.outcome(ofTask: task)
          #expect(outcome?["task_state"] == "pending", "\(verb), \(failure) at \(number)")
          let listed = try await service.status()["tasks"]?.array?.compactMap(\.object) ?? []
          #expect(listed.map { $0["task"] } == [.string(task)], "\(verb), \(failure) at \(number)")
          #expect(listed.first?["obstacle"]?.string?.hasPrefix(problem + ": ") == true)
          #expect(outcome?["destruction"] == nil)
        }
        calls += token.calls
        token.reset()
        try await service.tend()
        #expect(try await deployment.pending().isEmpty, "\(verb), \(failure) at \(number)")
        #expect(try await service.outcome(ofTask: task)?["task_state"] == "done", "\(verb), \(failure) at \(number)")
        #expect(try await service.status()["tasks"] == [], "\(verb), \(failure) at \(number)")
        let events = try await deployment.events().suffix(from: leaves)
        let ends = events.filter { $0.content["task"] == .string(task) }
        #expect(ends.count == 1, "\(verb), \(failure) at \(number): \(events.map(\.kind))")
        for data in drawn {
          let expected = ["disable": "key_disabled", "destroy": "key_destroyed"][verb]
          #expect(await deployment.failure(data) == expected, "\(verb), \(failure) at \(number)")
        }
        if try await deployment.key(key).state != .destroyed { try await deployment.order("destroy", key) }
        if isOver { break }
      }
      #expect(number >= 3)
      await deployment.stop()
    }
    print("vectors: HSM failures while '\(verb)' is carried out: \(calls) calls ran, none left out")
  }

  @Test func everyCallOfADataKey() async throws {
    for (failure, problem, _) in Self.failures {
      let deployment = try await KeyDeployment.inMemory()
      let (token, service) = (deployment.tokens[0], deployment.service)
      let key = try await deployment.create()
      for number in 1...3 {
        try await service.anchor()
        token.reset()
        token.fail(failure, atCall: number)
        let made = try await deployment.count("data-key.created")
        #expect(await code { _ = try await deployment.make(key) } == problem, "\(failure) at \(number)")
        #expect(try await deployment.count("data-key.created") == made)
      }
      let drawn = try await deployment.make(key)
      try await service.anchor()
      var next = deployment
      for number in 1...5 {
        // Nothing of it is in memory.
        next = try await next.restarted()
        try await next.service.open()
        token.reset()
        token.fail(failure, atCall: number)
        // Two codes of authenticity, and the data key itself.
        #expect(await next.failure(drawn) == (number <= 3 ? problem : nil), "\(failure) at \(number)")
        #expect(try await next.open(drawn.id) == drawn.secret)
      }
      await next.stop()
    }
  }

  /// Before the HSM has answered for the first time nothing is used, and the state says why.
  @Test func theStartWaits() async throws {
    var next = try await KeyDeployment.inMemory()
    let key = try await next.create()
    for (failure, problem, _) in Self.failures {
      next = try await next.restarted()
      next.tokens[0].setAway(failure)
      #expect(await code { try await next.service.tend() } == problem)
      #expect(await code { _ = try await next.make(key) } == problem)
      let status = try await next.service.status()
      #expect(status["keys_mode"] == "waiting")
      #expect(status["keys_reason"]?.string?.hasPrefix(problem + ": ") == true)
      next.tokens[0].setAway(nil)
      _ = try await next.make(key)
      #expect(try await next.service.status()["keys_mode"] == "open")
      try await next.service.anchor()
    }
    await next.stop()
  }
}
