import Testing
import TestSupport
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

/// Random subscriptions, snapshots, acknowledgements and refusals, with messages on their way or without: what a client
/// was offered always becomes what there is, and nothing is sent for nothing.
@Suite struct SDSConvergenceTests {
  private static let pool = [
    "default", "ROOTCA", "ALL", SDSWorld.svidID, SDSWorld.otherID, "spiffe://own.test", SDSWorld.federated, "none",
  ]

  private static func names(_ random: SeededRandom) -> Set<String> {
    Set((0..<1 + random.below(4)).map { _ in random.pick(pool) })
  }

  private static func change(_ world: inout SDSWorld, _ random: SeededRandom) {
    switch random.below(5) {
    case 0: world.svids[0].serial = UInt8(random.below(3))
    case 1: world.svids = world.svids.count == 1 ? world.svids + [("/db", 1)] : [world.svids[0]]
    case 2: world.bundles[SDSWorld.own] = [UInt8(random.below(3))]
    case 3: world.bundles["far.test"] = world.bundles["far.test"] == nil ? [UInt8(random.below(3))] : nil
    default: world.bundles["far.test"] = []
    }
  }

  /// A client of state of the world, as Envoy is one.
  private struct StateClient {
    var server = SDSStateOfTheWorld()
    var names: Set<String>
    var offered: [String: String] = [:]
    var nonce = ""
    var up: [StateRequest] = []
    var down: [SDSResponse] = []
    var accepted: Set<String>?
    var lastVersion = ""
    var hasChanged = true

    mutating func subscribe(_ names: Set<String>) {
      self.names = names
      offered = offered.filter { names.contains($0.key) }
      up.append(StateRequest(names.sorted(), nonce: nonce))
    }

    mutating func deliverUp() throws {
      guard !up.isEmpty else { return }
      let request = up.removeFirst()
      if case .stale = try server.receive(request) { return }
      hasChanged = hasChanged || accepted != Set(request.resourceNames)
      accepted = Set(request.resourceNames)
    }

    mutating func send() {
      guard let response = server.next() else { return }
      #expect(response.version != lastVersion || hasChanged, "the same was sent twice")
      (lastVersion, hasChanged) = (response.version, false)
      down.append(response)
    }

    mutating func deliverDown(refuse: Bool, mustMatter: Bool) {
      guard !down.isEmpty else { return }
      let response = down.removeFirst()
      let now = response.versions.filter { names.contains($0.key) }
      if mustMatter { #expect(now != offered, "a response changed nothing") }
      (offered, nonce) = (now, response.nonce)
      up.append(StateRequest(names.sorted(), nonce: nonce, rejected: refuse ? "no" : nil))
    }

    mutating func settle(mustMatter: Bool) throws {
      for _ in 0..<1000 {
        while !up.isEmpty { try deliverUp() }
        send()
        if down.isEmpty { return }
        while !down.isEmpty { deliverDown(refuse: false, mustMatter: mustMatter) }
      }
      Issue.record("it does not come to rest")
    }
  }

  @Test(arguments: [false, true]) func stateOfTheWorld(_ isLagging: Bool) throws {
    for seed in 0..<300 as Range<UInt64> {
      let random = SeededRandom(seed)
      var world = SDSWorld()
      var client = StateClient(names: [])
      client.server.update(try world.snapshot())
      client.subscribe(Self.names(random))
      for step in 0..<60 {
        switch random.below(6) {
        case 0: client.subscribe(Self.names(random))
        case 1:
          Self.change(&world, random)
          client.server.update(try world.snapshot(UInt64(step)))
        case 2, 3: try client.deliverUp()
        case 4: client.send()
        default: client.deliverDown(refuse: random.below(5) == 0, mustMatter: !isLagging)
        }
        if !isLagging { try client.settle(mustMatter: true) }
      }
      try client.settle(mustMatter: false)
      let catalogue = SDSCatalogue(try world.snapshot())
      let expected = Dictionary(
        uniqueKeysWithValues: client.names.compactMap { name in catalogue[name].map { (name, $0.version) } })
      #expect(client.offered == expected, "seed \(seed)")
    }
  }

  /// A client of delta.
  private struct DeltaClient {
    var server = SDSDelta()
    var names: Set<String> = []
    var offered: [String: String?] = [:]
    var nonce = ""
    var up: [DeltaRequest] = []
    var down: [SDSResponse] = []
    var sent: [String: String?] = [:]

    mutating func subscribe(_ new: Set<String>, without old: Set<String>) {
      for name in old.union(new) { offered[name] = nil }
      names = names.union(new).subtracting(old)
      up.append(DeltaRequest(new.sorted(), without: old.sorted()))
    }

    /// A new stream; what was on its way is lost.
    mutating func connect(_ snapshot: WorkloadSnapshot) {
      (server, up, down, sent) = (SDSDelta(), [], [], [:])
      let holding = offered.compactMapValues { $0 }
      for (name, version) in holding { sent[name] = version }
      offered = holding.mapValues { $0 }
      up.append(DeltaRequest(names.sorted(), holding: holding))
      server.update(snapshot)
    }

    mutating func deliverUp() throws {
      guard !up.isEmpty else { return }
      let request = up.removeFirst()
      _ = try server.receive(request)
      guard request.initialResourceVersions.isEmpty else { return }
      for name in request.resourceNamesSubscribe + request.resourceNamesUnsubscribe { sent[name] = nil }
    }

    mutating func send() {
      guard let response = server.next() else { return }
      #expect(!response.resources.isEmpty || !response.removed.isEmpty)
      for resource in response.resources {
        #expect(sent[resource.name] != .some(resource.version), "the same was sent twice")
        sent[resource.name] = .some(resource.version)
      }
      for name in response.removed {
        #expect(sent[name] != .some(nil), "the same was removed twice")
        sent[name] = .some(nil)
      }
      down.append(response)
    }

    mutating func deliverDown(refuse: Bool) {
      guard !down.isEmpty else { return }
      let response = down.removeFirst()
      for resource in response.resources where names.contains(resource.name) {
        offered[resource.name] = resource.version
      }
      for name in response.removed where names.contains(name) { offered[name] = .some(nil) }
      up.append(DeltaRequest(nonce: response.nonce, rejected: refuse ? "no" : nil))
    }

    mutating func settle() throws {
      for _ in 0..<1000 {
        while !up.isEmpty { try deliverUp() }
        send()
        if down.isEmpty { return }
        while !down.isEmpty { deliverDown(refuse: false) }
      }
      Issue.record("it does not come to rest")
    }
  }

  @Test func delta() throws {
    for seed in 0..<300 as Range<UInt64> {
      let random = SeededRandom(seed)
      var world = SDSWorld()
      var client = DeltaClient()
      client.names = Self.names(random)
      client.connect(try world.snapshot())
      for step in 0..<60 {
        switch random.below(8) {
        case 0: client.subscribe(Self.names(random), without: [])
        case 1 where client.names.count > 1: client.subscribe([], without: [random.pick(client.names.sorted())])
        case 2:
          Self.change(&world, random)
          client.server.update(try world.snapshot(UInt64(step)))
        case 3 where random.below(4) == 0: client.connect(try world.snapshot())
        case 4: client.send()
        case 5: client.deliverDown(refuse: random.below(5) == 0)
        default: try client.deliverUp()
        }
      }
      try client.settle()
      let catalogue = SDSCatalogue(try world.snapshot())
      let expected = Dictionary(
        uniqueKeysWithValues: client.names.map { name -> (String, String?) in (name, catalogue[name]?.version) })
      #expect(client.offered == expected, "seed \(seed)")
    }
  }
}
