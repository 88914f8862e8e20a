import Foundation
import Logging
import SecretMemory
import Synchronization
import Wire
import WorkloadAttestation
import WorkloadIdentity

@testable import WorkloadAPI

/// What happened to the connections of a ``FakeWorld``.
enum FakeEvent: Equatable, Sendable {
  case connected
  case closed
  case waits
  case cancelled
  /// A stream let go of its updates.
  case released
}

/// The daemon behind the server, in memory: every connection is the same workload.
final class FakeWorld: Sendable {
  struct State {
    var snapshot: WorkloadSnapshot?
    var refusal: WorkloadRefusal?
    var confirmation: WorkloadRefusal?
    var stopped = false
    var peers: [(pid: Int32, uid: UInt32)] = []
    var waiting: [ObjectIdentifier: CheckedContinuation<Void, Never>] = [:]
  }
  let state: Mutex<State>
  let store = SVIDKeyStore(capacity: 256)
  let events: AsyncStream<FakeEvent>
  private let tell: AsyncStream<FakeEvent>.Continuation

  init() {
    state = Mutex(State())
    (events, tell) = AsyncStream.makeStream()
  }

  func happened(_ event: FakeEvent) { tell.yield(event) }

  /// Waits until each event has come so many times, whatever else comes.
  func wait(for counts: [FakeEvent: Int]) async {
    var left = counts
    for await event in events {
      left[event]? -= 1
      if left.values.allSatisfy({ $0 <= 0 }) { return }
    }
  }

  func wait(for event: FakeEvent) async { await wait(for: [event: 1]) }

  /// Changes something and wakes every stream.
  func change(_ body: (inout State) -> Void) {
    let waiting = state.withLock { state in
      body(&state)
      defer { state.waiting = [:] }
      return state.waiting.values
    }
    for continuation in waiting { continuation.resume() }
  }

  func connect(_ peer: PeerProcess) -> any WorkloadConnection {
    state.withLock { $0.peers.append((peer.pid, peer.uid)) }
    happened(.connected)
    return FakeConnection(world: self, peer: peer)
  }

  func key(_ byte: UInt8, count: Int = 138) throws -> SVIDKey {
    let bytes = [UInt8](repeating: byte, count: count)
    return try unsafe store.key(copying: bytes.span.bytes)
  }

  /// A snapshot of one identity in each path, with certificates that have a DER header and nothing real behind it.
  func snapshot(
    _ version: UInt64, paths: [String] = ["/web"], hints: [String] = [], root: UInt8 = 1,
    jwks: String = "{\"keys\":[]}",
    federated: [String] = [], crls: [[UInt8]] = [], chainBytes: Int = 600, ownKeys: Bool = false
  ) throws -> WorkloadSnapshot {
    let domain = try TrustDomain("example.org")
    var bundles = [domain: WorkloadBundle(roots: [Self.der(root, 300)], jwks: Array(jwks.utf8))]
    for name in federated {
      bundles[try TrustDomain(name)] = WorkloadBundle(roots: [Self.der(9, 200)], jwks: Array("{\"keys\":[]}".utf8))
    }
    let svids = try paths.enumerated().map { index, path in
      WorkloadX509SVID(
        id: try SPIFFEID(domain, path: path),
        chain: [Self.der(UInt8(truncatingIfNeeded: Int(version) + index), chainBytes), Self.der(7, 400)],
        key: ownKeys ? nil : try key(UInt8(truncatingIfNeeded: Int(version) + index)),
        hint: index < hints.count ? hints[index] : "", expires: Timestamp(seconds: 1_900_000_000), entry: "ent_\(index)"
      )
    }
    return WorkloadSnapshot(version: version, trustDomain: domain, svids: svids, bundles: bundles, crls: crls)
  }

  /// A SEQUENCE of that many bytes of content.
  static func der(_ byte: UInt8, _ count: Int) -> [UInt8] {
    [0x30, 0x83, UInt8(count >> 16), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)]
      + [UInt8](repeating: byte, count: count)
  }
}

struct FakeConnection: WorkloadConnection {
  let world: FakeWorld
  let peer: PeerProcess

  private func check() throws {
    if let refusal = world.state.withLock({ $0.refusal }) { throw refusal }
  }

  func updates() async throws -> any WorkloadUpdates {
    try check()
    return FakeUpdates(world: world)
  }

  func snapshot() async throws -> WorkloadSnapshot {
    try check()
    guard let snapshot = world.state.withLock({ $0.snapshot }) else { throw FakeUpdates.nothing }
    return snapshot
  }

  func confirm() throws(WorkloadRefusal) {
    if let refusal = world.state.withLock({ $0.confirmation }) { throw refusal }
  }

  func jwtSVIDs(audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID] {
    try check()
    let svids = try await snapshot().svids.filter { id == nil || $0.id == id }
    guard !svids.isEmpty else {
      throw WorkloadRefusal(.permissionDenied, "not_entitled", "no entry gives this workload \(id?.description ?? "")")
    }
    return svids.map {
      WorkloadJWTSVID(id: $0.id, token: FakeToken.make(subject: $0.id.description, audiences), hint: $0.hint)
    }
  }

  func validate(jwtSVID token: String, audience: String) async throws -> (id: SPIFFEID, claims: JSONObject) {
    try check()
    guard let claims = FakeToken.claims(token), claims["aud"]?.array?.contains(.string(audience)) == true,
      let subject = claims["sub"]?.string
    else { throw WorkloadRefusal(.invalidArgument, "jwt_svid_invalid", "the token is not for \(audience)") }
    return (try SPIFFEID(subject), claims)
  }

  func x509SVID(request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID {
    try check()
    let svid = try await snapshot().svids[0]
    return WorkloadX509SVID(
      id: id ?? svid.id, chain: svid.chain, key: nil, hint: "own", expires: svid.expires, entry: svid.entry)
  }

  func close() { world.happened(.closed) }
}

/// Tokens of the right shape, with a signature that nobody made.
enum FakeToken {
  static func make(subject: String, _ audiences: [String]) -> String {
    let claims: JSONObject = [
      "sub": .string(subject), "aud": .array(audiences.map { .string($0) }), "exp": 1_900_000_000, "iat": 1_700_000_000,
    ]
    let header: JSONObject = ["alg": "ES256", "kid": "k", "typ": "JWT"]
    func part(_ object: JSONObject) -> String {
      Base64.URL.encode(JSONValue.object(object).canonical())
    }
    return part(header) + "." + part(claims) + "." + Base64.URL.encode([UInt8](repeating: 1, count: 64))
  }

  static func claims(_ token: String) -> JSONObject? {
    let parts = token.split(separator: ".")
    guard parts.count == 3, let bytes = try? Base64.URL.decode(String(parts[1])) else { return nil }
    return (try? JSONValue(parsing: bytes))?.object
  }
}

final class FakeUpdates: WorkloadUpdates {
  static let nothing = WorkloadRefusal(.permissionDenied, "no_identity", "no entry matches this workload")

  private let world: FakeWorld
  private let seen = Mutex<UInt64>(0)
  private let isCancelled = Mutex(false)

  init(world: FakeWorld) { self.world = world }

  deinit { world.happened(.released) }

  func cancel() {
    isCancelled.withLock { $0 = true }
    wake()
  }

  private func wake() {
    world.state.withLock { $0.waiting.removeValue(forKey: ObjectIdentifier(self)) }?.resume()
    world.happened(.cancelled)
  }

  func next() async throws -> WorkloadSnapshot? {
    while true {
      try Task.checkCancellation()
      if isCancelled.withLock({ $0 }) { return nil }
      let seen = seen.withLock { $0 }
      let now: (snapshot: WorkloadSnapshot?, stopped: Bool, refusal: WorkloadRefusal?) = world.state.withLock {
        ($0.snapshot, $0.stopped, $0.refusal)
      }
      if now.stopped { return nil }
      if let refusal = now.refusal { throw refusal }
      guard let snapshot = now.snapshot else { throw Self.nothing }
      if snapshot.version > seen {
        self.seen.withLock { $0 = snapshot.version }
        return snapshot
      }
      await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let changed = world.state.withLock { state in
            guard state.snapshot?.version == seen, !state.stopped, state.refusal == nil,
              !isCancelled.withLock({ $0 }), !Task.isCancelled
            else { return true }
            state.waiting[ObjectIdentifier(self)] = continuation
            return false
          }
          if changed { continuation.resume() } else { world.happened(.waits) }
        }
      } onCancel: {
        wake()
      }
    }
  }
}
