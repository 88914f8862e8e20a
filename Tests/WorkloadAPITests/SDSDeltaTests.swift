import Testing
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

/// The rules of delta, one by one.
@Suite struct SDSDeltaTests {
  private var world = SDSWorld(
    svids: [("/web", 1), ("/db", 2)], bundles: [SDSWorld.own: [1], "far.test": [7]])

  private func begun(_ request: DeltaRequest) throws -> (session: SDSDelta, first: SDSResponse?) {
    var session = SDSDelta()
    session.update(try world.snapshot())
    #expect(session.next() == nil, "nothing is sent before a request")
    #expect(try session.receive(request) == nil)
    let first = session.next()
    #expect(session.next() == nil)
    return (session, first)
  }

  @Test(
    arguments: [
      ([], [SDSWorld.federated, "spiffe://own.test", SDSWorld.otherID, SDSWorld.svidID], []),
      (["*"], [SDSWorld.federated, "spiffe://own.test", SDSWorld.otherID, SDSWorld.svidID], []),
      (["default", "ROOTCA", "ALL"], ["ALL", "ROOTCA", "default"], []),
      (["default", "none", "spiffe://none.test"], ["default"], ["none", "spiffe://none.test"]),
    ] as [([String], [String], [String])])
  func aFirstRequestGetsWhatItNames(_ names: [String], _ expected: [String], _ removed: [String]) throws {
    let response = try #require(try begun(DeltaRequest(names)).first)
    #expect(response.names == expected && response.removed == removed)
    #expect(response.nonce == "1" && response.form == .delta)
  }

  @Test func onlyWhatChangedIsSent() throws {
    var (session, first) = try begun(DeltaRequest(["default", "ROOTCA", SDSWorld.federated]))
    _ = try session.receive(DeltaRequest(nonce: "1"))
    #expect(session.next() == nil)
    session.update(try world.snapshot(2))
    #expect(session.next() == nil)
    var changed = world
    changed.svids[0].serial = 9
    changed.svids[1].serial = 9
    session.update(try changed.snapshot(3))
    let second = try session.owed()
    #expect(second.names == ["default"] && second.removed.isEmpty && second.nonce == "2")
    #expect(second.versions["default"] != first?.versions["default"])
  }

  @Test func whatDisappearsIsRemovedAndWhatAppearsIsSent() throws {
    var (session, _) = try begun(DeltaRequest(["default", SDSWorld.federated]))
    var changed = world
    changed.bundles["far.test"] = nil
    session.update(try changed.snapshot(2))
    let removal = try session.owed()
    #expect(removal.names.isEmpty && removal.removed == [SDSWorld.federated])
    session.update(try changed.snapshot(3))
    #expect(session.next() == nil)
    session.update(try world.snapshot(4))
    #expect(session.next()?.names == [SDSWorld.federated])
  }

  @Test func everythingToo() throws {
    var (session, _) = try begun(DeltaRequest())
    var changed = world
    changed.svids.removeLast()
    changed.svids.append(("/new", 5))
    session.update(try changed.snapshot(2))
    let response = try session.owed()
    #expect(response.names == ["spiffe://own.test/new"] && response.removed == [SDSWorld.otherID])
    _ = try session.receive(DeltaRequest(without: ["*"], nonce: "2"))
    #expect(session.next() == nil)
    session.update(try world.snapshot(3))
    #expect(session.next() == nil)
  }

  @Test func versionsFromAnEarlierStreamCount() throws {
    let first = try #require(try begun(DeltaRequest(["default", "ROOTCA"])).first)
    #expect(try begun(DeltaRequest(["default", "ROOTCA"], holding: first.versions)).first == nil)
    var holding = first.versions
    holding["default"] = "old"
    #expect(try begun(DeltaRequest(["default", "ROOTCA"], holding: holding)).first?.names == ["default"])
    let everything = try #require(try begun(DeltaRequest(holding: ["spiffe://own.test/gone": "1"])).first)
    #expect(everything.removed == ["spiffe://own.test/gone"] && everything.resources.count == 4)
    // They count in the first request alone.
    var (session, _) = try begun(DeltaRequest(["default"]))
    _ = try session.receive(DeltaRequest(["ROOTCA"], nonce: "1", holding: first.versions))
    #expect(session.next()?.names == ["ROOTCA"])
  }

  @Test func subscribedToAgainItIsSentAgain() throws {
    var (session, _) = try begun(DeltaRequest(["default", "none"]))
    _ = try session.receive(DeltaRequest(["default"]))
    #expect(session.next()?.names == ["default"])
    _ = try session.receive(DeltaRequest(["none"]))
    #expect(session.next()?.removed == ["none"])
    _ = try session.receive(DeltaRequest(["ROOTCA"], without: ["default"]))
    #expect(session.next()?.names == ["ROOTCA"])
    var changed = world
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(2))
    #expect(session.next() == nil, "it is no longer subscribed to")
  }

  @Test func theSubscriptionChangesWhateverTheNonce() throws {
    var (session, _) = try begun(DeltaRequest(["default"]))
    #expect(try session.receive(DeltaRequest(["ROOTCA"], nonce: "7")) == .stale(nonce: "7"))
    #expect(session.next()?.names == ["ROOTCA"])
    // An older response is acknowledged while a newer is on its way.
    #expect(try session.receive(DeltaRequest(nonce: "1")) == nil)
  }

  @Test func aRefusalIsToldOnceAndNotAnsweredUntilThereIsAChange() throws {
    var (session, _) = try begun(DeltaRequest(["default"]))
    let refusal = DeltaRequest(nonce: "1", rejected: "no")
    #expect(try session.receive(refusal) == .rejected(nonce: "1", reason: "no"))
    #expect(try session.receive(refusal) == nil)
    session.update(try world.snapshot(2))
    #expect(session.next() == nil)
    var changed = world
    changed.svids[0].serial = 9
    session.update(try changed.snapshot(3))
    #expect(session.next()?.names == ["default"])
  }

  @Test func namesAddUpToTheLimit() throws {
    var session = SDSDelta()
    let names = (0..<SDSLimits.names).map(String.init)
    _ = try session.receive(DeltaRequest(names))
    #expect(throws: WorkloadRefusal(.invalidArgument, "sds_names", "")) { try session.receive(DeltaRequest(["more"])) }
    _ = try session.receive(DeltaRequest(["more"], without: ["1"]))
    let many = Dictionary(uniqueKeysWithValues: (0...SDSLimits.names).map { (String($0), "1") })
    #expect(throws: WorkloadRefusal(.invalidArgument, "sds_names", "")) {
      try session.receive(DeltaRequest(holding: many))
    }
  }
}
