import KeyHierarchy
import TestSupport
import Wire
import WorkloadIdentity
@testable import WorkloadService

/// Commands, connections, faults and time under one seed, with a model of which identities each stream must finally
/// see.
struct ServiceSimulation {
  private struct Entry {
    let id: String
    var path: String
    var selectors: Set<String>
  }

  private struct Stream {
    let selectors: Set<String>
    let connection: any WorkloadConnection
    var updates: (any WorkloadUpdates)?
    var seen: WorkloadSnapshot?
  }

  private struct Disagreement: Error, CustomStringConvertible {
    let description: String
  }

  private var d: ServiceDeployment
  private let random: SeededRandom
  private var entries: [Entry] = []
  private var streams: [Stream] = []
  private var counter = 0
  private var sequence: UInt64 = 0
  private(set) var tally: [String: Int] = [:]

  init(seed: UInt64) async throws {
    d = try await ServiceDeployment.found(seed: seed)
    random = SeededRandom(seed &* 7919 &+ 1)
  }

  mutating func run(steps: Int) async throws {
    for step in 0..<steps {
      let what: String
      switch random.below(24) {
      case 0...8: what = try await change()
      case 9...12: what = try await connect()
      case 13: what = disconnect()
      case 14, 15:
        try await d.advance(seconds: Int64(1 + random.below(random.below(4) == 0 ? 20 * 86_400 : 1800)))
        try await d.service.tend()
        what = "time"
      case 16: what = try await order()
      case 17: what = try await trouble()
      case 18, 19: what = try await token()
      case 20 where random.below(4) == 0:
        d = try await d.restarted()
        streams = []
        what = "restart"
      default:
        try await d.service.tend()
        what = "tend"
      }
      tally[what, default: 0] += 1
      if random.below(3) == 0 { try await check("step \(step), \(what)") }
    }
    try await check("the end")
    let findings = try await d.audit()
    try demand(findings.isEmpty, "the audit finds \(findings.prefix(3))")
    try await checkRecord()
    await d.stop()
  }

  // MARK: - Steps

  private func selectors() -> Set<String> {
    var chosen: Set = ["unix:uid:\(random.below(4))"]
    if random.below(2) == 0 { chosen.insert("systemd:id:s\(random.below(3)).service") }
    if random.below(3) == 0 { chosen.insert("unix:supplementary_gid:\(random.below(3))") }
    return chosen
  }

  private mutating func change() async throws -> String {
    var (creations, updates, deletions) = ([Entry](), [Entry](), [String]())
    var left = entries.shuffled(random)
    for _ in 0..<(1 + random.below(4)) {
      counter += 1
      switch random.below(3) {
      case 0 where !left.isEmpty: deletions.append(left.removeLast().id)
      case 1 where !left.isEmpty:
        var entry = left.removeLast()
        if random.below(2) == 0 { entry.path = "/p/\(counter)" }
        if random.below(2) == 0 { entry.selectors = selectors() }
        updates.append(entry)
      default: creations.append(Entry(id: "", path: "/p/\(counter)", selectors: selectors()))
      }
    }
    func json(_ entry: Entry) -> JSONValue {
      var value = ServiceDeployment.entry(entry.path).object ?? [:]
      value["selectors"] = .array(entry.selectors.sorted().map { .string($0) })
      return .object(value)
    }
    let ids = try await d.change(
      create: creations.map(json), update: updates.map { ($0.id, json($0)) }, delete: deletions)
    entries.removeAll { entry in deletions.contains(entry.id) || updates.contains { $0.id == entry.id } }
    entries += updates + zip(ids, creations).map { Entry(id: $0, path: $1.path, selectors: $1.selectors) }
    return "change"
  }

  private mutating func connect() async throws -> String {
    guard streams.count < 24 else { return "nothing" }
    let (uid, unit, group) = (UInt32(random.below(4)), random.below(4), random.below(4))
    var selectors: Set = ["unix:uid:\(uid)", "unix:gid:\(uid)"]
    if unit < 3 { selectors.insert("systemd:id:s\(unit).service") }
    if group < 3 { selectors.insert("unix:supplementary_gid:\(group)") }
    let connection = d.connect(
      uid: uid, unit: unit < 3 ? "s\(unit).service" : nil, groups: group < 3 ? [UInt32(group)] : [])
    var stream = Stream(selectors: selectors, connection: connection)
    try await open(&stream)
    streams.append(stream)
    return stream.updates == nil ? "connect refused" : "connect"
  }

  private mutating func disconnect() -> String {
    guard !streams.isEmpty else { return "nothing" }
    streams.remove(at: random.below(streams.count)).connection.close()
    return "disconnect"
  }

  private func order() async throws -> String {
    let officer = d.world.officer
    let kind = random.pick(["x509", "jwt"])
    let old = try await d.authorities(kind == "jwt" ? .jwt : .x509).filter { $0.state == .old || $0.state == .tainted }
    var (path, body) = ("\(kind)/\(random.pick(["prepare", "rotate", "rotate", "activate"]))", JSONValue.object([:]))
    if let row = old.last, random.below(3) == 0 {
      path = "\(row.id)/taint"
      if random.below(2) == 0 { (path, body) = ("\(row.id)/revoke", ["confirm": .string(row.id)]) }
    }
    let refusal = await code { try await d.submit("/v1/authorities/" + path, body, as: officer.principal, officer.key) }
    try await d.service.tend()
    let verb = path.split(separator: "/").last ?? ""
    return refusal == nil ? "\(verb)" : "\(verb) refused"
  }

  /// Something fails for a while, and whatever happens then must be right once it is over.
  private mutating func trouble() async throws -> String {
    let what = random.pick(["hsm", "root", "svid.issued", "authority.prepared", "authority.activated", "crl.issued"])
    switch what {
    case "hsm": d.custodian.setAway(random.pick([.unavailable, .busy, .timedOut]))
    case "root": d.root.faults.setAway(true)
    default: d.recorder.fail(what, random.pick([.before, .after]))
    }
    for _ in 0..<(1 + random.below(4)) {
      switch random.below(4) {
      case 0: _ = try await change()
      case 1: _ = try await order()
      case 2: _ = try? await connect()
      default:
        try await d.advance(seconds: Int64(random.below(4000)))
        try await d.service.tend()
      }
      // What is pushed meanwhile may be less than what one is entitled to, and never more.
      await d.quiet()
      for index in streams.indices {
        guard let snapshot = try? await streams[index].connection.snapshot() else { continue }
        let entitled = Set(entries.filter { $0.selectors.isSubset(of: streams[index].selectors) }.map(\.path))
        let given = Set(snapshot.svids.map(\.id.path))
        try demand(given.isSubset(of: entitled), "during \(what): \(given.sorted()), not \(entitled.sorted())")
        try demand(snapshot.svids.allSatisfy { d.clock.now() < $0.expires }, "during \(what): expired")
      }
    }
    d.custodian.setAway(nil)
    d.root.faults.setAway(false)
    if !["hsm", "root"].contains(what) { d.recorder.fail(what, nil) }
    try await d.advance(seconds: 7200)
    try await d.service.tend()
    return "trouble, \(what)"
  }

  private func token() async throws -> String {
    guard !streams.isEmpty else { return "nothing" }
    let stream = random.pick(streams)
    let entitled = Set(entries.filter { $0.selectors.isSubset(of: stream.selectors) }.map(\.path))
    let audience = "a\(random.below(3))"
    do {
      let tokens = try await stream.connection.jwtSVIDs(audiences: [audience], id: nil)
      try demand(Set(tokens.map(\.id.path)) == entitled, "tokens of \(tokens.map(\.id.path))")
      for token in tokens {
        let valid = try await stream.connection.validate(jwtSVID: token.token, audience: audience)
        try demand(valid.id == token.id, "a token of another")
      }
    } catch let refusal as WorkloadRefusal {
      try demand(entitled.isEmpty && refusal.code == "no_identity", "tokens: \(refusal)")
      return "token refused"
    }
    return "token"
  }

  // MARK: - Model

  private func open(_ stream: inout Stream) async throws {
    do { stream.updates = try await stream.connection.updates() } catch let refusal as WorkloadRefusal {
      stream.updates = nil
      guard refusal.code != "no_identity" else { return }
      // In trouble: it comes again.
      return
    }
  }

  /// Once all is quiet each stream has seen exactly what its process is entitled to.
  private mutating func check(_ when: String) async throws {
    try await d.service.follow()
    try await d.service.tend()
    await d.quiet()
    let active = try await d.active()
    for index in streams.indices {
      let entitled = Set(entries.filter { $0.selectors.isSubset(of: streams[index].selectors) }.map(\.path))
      if streams[index].updates == nil { try await open(&streams[index]) }
      guard let updates = streams[index].updates else {
        try demand(entitled.isEmpty, "\(when): nothing instead of \(entitled.sorted())")
        continue
      }
      // What is there already, without waiting.
      let waiting = Task { try await updates.next() }
      for _ in 0..<3 { await Task.yield() }
      do {
        let newest = try await streams[index].connection.snapshot()
        if streams[index].seen?.version == newest.version {
          waiting.cancel()
        } else {
          streams[index].seen = try await waiting.value
        }
        _ = try? await waiting.value
      } catch is WorkloadRefusal {
        waiting.cancel()
        _ = try? await waiting.value
        (streams[index].updates, streams[index].seen) = (nil, nil)
        if !entitled.isEmpty {
          try await open(&streams[index])
          streams[index].seen = try await streams[index].updates?.next()
        }
      }
      let seen = streams[index].seen
      try demand(
        Set(seen?.svids.map(\.id.path) ?? []) == entitled,
        "\(when): \(seen?.svids.map(\.id.path) ?? []), not \(entitled.sorted())")
      if let seen {
        _ = try await d.paths(seen)
        try demand(
          seen.svids.allSatisfy { $0.chain[1] == active.chain[0] }, "\(when): signed by another authority")
      }
    }
    let published = try await d.service.publishedBundle().sequence ?? 0
    try demand(published >= sequence, "\(when): the sequence shrinks")
    sequence = published
    for kind in [AuthorityKind.x509, .jwt] {
      let count = try await d.states(kind).filter { $0 == "active" }.count
      try demand(count == 1, "\(when): \(count) active")
    }
  }

  private func checkRecord() async throws {
    let events = try await d.events()
    let names = events.compactMap { $0["serial"]?.string ?? $0["jti"]?.string }
    try demand(Set(names).count == events.count, "an SVID has two leaves")
    for stream in streams {
      for svid in stream.seen?.svids ?? [] {
        try demand(names.contains(Hex.encode(try serial(svid.chain[0]))), "a certificate has no leaf")
      }
    }
  }

  private func demand(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    guard holds else { throw Disagreement(description: what()) }
  }
}

extension Array {
  /// In another order, by a seeded generator.
  fileprivate func shuffled(_ random: SeededRandom) -> [Element] {
    map { (random.next(), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
  }
}
