import Testing
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

/// The rules of state of the world, one by one.
@Suite struct SDSStateOfTheWorldTests {
  private var session = SDSStateOfTheWorld()
  private var world = SDSWorld(
    svids: [("/web", 1), ("/db", 2)], bundles: [SDSWorld.own: [1], "far.test": [7]])

  /// A session after its first answer.
  private func begun(_ names: [String]) throws -> SDSStateOfTheWorld {
    var session = SDSStateOfTheWorld()
    session.update(try world.snapshot())
    #expect(try session.receive(StateRequest(names)) == nil)
    _ = session.next()
    return session
  }

  @Test(
    arguments: [
      ([], [SDSWorld.federated, "spiffe://own.test", SDSWorld.otherID, SDSWorld.svidID]),
      (["*", "default"], ["default", SDSWorld.federated, "spiffe://own.test", SDSWorld.otherID, SDSWorld.svidID]),
      (["default"], ["default"]), (["ROOTCA"], ["ROOTCA"]), (["ALL"], ["ALL"]),
      (["default", "ROOTCA", "ALL", "default", ""], ["ALL", "ROOTCA", "default"]),
      ([SDSWorld.otherID], [SDSWorld.otherID]), ([SDSWorld.federated], [SDSWorld.federated]),
      (["spiffe://own.test"], ["spiffe://own.test"]), (["default", "spiffe://own.test/none", "x y"], ["default"]),
    ] as [([String], [String])])
  func aFirstRequestGetsWhatItNames(_ names: [String], _ expected: [String]) throws {
    var session = session
    session.update(try world.snapshot())
    #expect(session.next() == nil, "nothing is sent before a request")
    #expect(try session.receive(StateRequest(names)) == nil)
    let response = try session.owed()
    #expect(response.names == expected)
    #expect(response.nonce == "1" && response.form == .stateOfTheWorld && response.removed.isEmpty)
    #expect(session.next() == nil, "and then no more")
  }

  @Test func aRequestWaitsForTheFirstSnapshot() throws {
    var session = session
    _ = try session.receive(StateRequest(["default"]))
    #expect(session.next() == nil)
    session.update(try world.snapshot())
    #expect(session.next()?.names == ["default"])
  }

  @Test func anAcknowledgementAndASnapshotWithoutChangeAreQuiet() throws {
    var session = try begun(["default", "ROOTCA"])
    _ = try session.receive(StateRequest(["default", "ROOTCA"], nonce: "1"))
    #expect(session.next() == nil)
    session.update(try world.snapshot(2))
    #expect(session.next() == nil)
  }

  @Test func onlyWhatIsSubscribedToCausesAPush() throws {
    var session = try begun(["default"])
    var changed = world
    changed.bundles["far.test"] = [8]
    changed.svids[1].serial = 9
    session.update(try changed.snapshot(2))
    #expect(session.next() == nil)
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(3))
    #expect(session.next()?.names == ["default"])
  }

  @Test func everyResponseListsAll() throws {
    var session = try begun(["default", "ROOTCA"])
    var changed = world
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(2))
    let response = try session.owed()
    #expect(response.names == ["ROOTCA", "default"] && response.nonce == "2")
  }

  @Test func aLargerSubscriptionIsAnsweredAtOnceAndASmallerOneIsQuiet() throws {
    var session = try begun(["default"])
    _ = try session.receive(StateRequest(["default", "ROOTCA"], nonce: "1"))
    #expect(session.next()?.names == ["ROOTCA", "default"])
    _ = try session.receive(StateRequest(["ROOTCA"], nonce: "2"))
    #expect(session.next() == nil)
    _ = try session.receive(StateRequest(["default", "ROOTCA"], nonce: "2"))
    #expect(session.next()?.names == ["ROOTCA", "default"], "dropped and wanted again, it is sent again")
  }

  @Test func anUnknownNameIsSentOnceItAppears() throws {
    var session = session
    var world = SDSWorld()
    session.update(try world.snapshot())
    _ = try session.receive(StateRequest([SDSWorld.federated]))
    #expect(session.next() == nil)
    world.bundles["far.test"] = [7]
    session.update(try world.snapshot(2))
    #expect(session.next()?.names == [SDSWorld.federated])
    world.bundles["far.test"] = nil
    session.update(try world.snapshot(3))
    #expect(session.next()?.names == [], "and its loss is told")
    session.update(try world.snapshot(4))
    #expect(session.next() == nil)
  }

  @Test func aRedactedSVIDIsAbsent() throws {
    var session = try begun([])
    var changed = world
    changed.svids.removeLast()
    session.update(try changed.snapshot(2))
    #expect(session.next()?.names == [SDSWorld.federated, "spiffe://own.test", SDSWorld.svidID])
  }

  @Test func aStaleNonceIsPassedOver() throws {
    var session = try begun(["default"])
    var changed = world
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(2))
    #expect(session.next()?.nonce == "2")
    // It crossed the second response on its way; the answer to that one brings the subscription again.
    for nonce in ["1", "", "3", "x"] {
      #expect(try session.receive(StateRequest(["default", "ROOTCA"], nonce: nonce)) == .stale(nonce: nonce))
      #expect(session.next() == nil)
    }
    _ = try session.receive(StateRequest(["default", "ROOTCA"], nonce: "2"))
    #expect(session.next()?.names == ["ROOTCA", "default"])
  }

  @Test func aRefusalIsToldOnceAndNotAnsweredUntilThereIsAChange() throws {
    var session = try begun(["default"])
    let refusal = StateRequest(["default"], nonce: "1", rejected: "no\ngood")
    #expect(try session.receive(refusal) == .rejected(nonce: "1", reason: "no?good"))
    #expect(try session.receive(refusal) == nil)
    #expect(session.next() == nil)
    session.update(try world.snapshot(2))
    #expect(session.next() == nil)
    var changed = world
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(3))
    #expect(session.next()?.nonce == "2")
    #expect(
      try session.receive(StateRequest(["default"], nonce: "2", rejected: String(repeating: "é", count: 600)))
        == .rejected(nonce: "2", reason: String(repeating: "?", count: SDSLimits.reasonBytes)))
  }

  @Test func aRefusalMayChangeTheSubscription() throws {
    var session = try begun(["default"])
    _ = try session.receive(StateRequest(["ROOTCA"], nonce: "1", rejected: "no"))
    #expect(session.next()?.names == ["ROOTCA"])
  }

  @Test func noNamesAfterNamesTakeTheSubscriptionBack() throws {
    var session = try begun(["default"])
    _ = try session.receive(StateRequest([], nonce: "1"))
    #expect(session.next() == nil)
    var changed = world
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(2))
    #expect(session.next() == nil)
  }

  @Test func theVersionIsTheContents() throws {
    func version(_ world: SDSWorld, _ names: [String] = ["default", "ROOTCA"]) throws -> String {
      var session = SDSStateOfTheWorld()
      session.update(try world.snapshot())
      _ = try session.receive(StateRequest(names))
      return try session.owed().version
    }
    #expect(try version(world) == version(world))
    var changed = world
    changed.bundles[SDSWorld.own] = [1, 2]
    #expect(try version(changed) != version(world))
    #expect(try version(world, ["ROOTCA"]) != version(world, ["ALL"]))
  }

  @Test(arguments: [
    ("", SDSLimits.names, 2048, true), (SDSLimits.typeURL, SDSLimits.names, 2048, true),
    (SDSLimits.typeURL, SDSLimits.names + 1, 5, false), (SDSLimits.typeURL, 1, 2049, false),
    ("type.googleapis.com/envoy.config.cluster.v3.Cluster", 1, 5, false),
  ])
  func limitsOnBothSides(_ type: String, _ count: Int, _ bytes: Int, _ isAllowed: Bool) throws {
    var session = session
    var delta = SDSDelta()
    let names = (0..<count).map { number in
      let text = String(number)
      return text + String(repeating: "x", count: bytes - text.utf8.count)
    }
    var request = StateRequest(names)
    request.typeURL = type
    var deltaRequest = DeltaRequest(names)
    deltaRequest.typeURL = type
    if isAllowed {
      _ = try session.receive(request)
      _ = try delta.receive(deltaRequest)
      // Delta adds up.
      #expect(throws: Never.self) { try delta.receive(DeltaRequest(without: names)) }
      #expect(throws: Never.self) { try delta.receive(DeltaRequest(["one more"])) }
    } else {
      #expect(throws: WorkloadRefusal(.invalidArgument, type.hasSuffix("Cluster") ? "sds_type" : "sds_names", "")) {
        try session.receive(request)
      }
      #expect(throws: WorkloadRefusal.self) { try delta.receive(deltaRequest) }
    }
  }
}
