import Synchronization
import WorkloadIdentity

/// A message that goes out, and the keys that belong in it. The keys are copied from locked memory when it is sent.
struct OutgoingMessage: Sendable {
  /// The message with zeros for the keys.
  let bytes: [UInt8]
  /// Each key and where it goes.
  let keys: [(offset: Int, key: SVIDKey)]
}

/// The messages that a snapshot becomes, laid out once for however many streams send them. There is no key in them, and
/// what has the same bytes tells a workload the same: a key changes only together with its certificate.
final class SnapshotEncoding: Sendable {
  /// `X509SVIDResponse` with zeros for the keys; nil where every identity has a key of the workload's own.
  let x509SVIDs: [UInt8]?
  /// Where each key goes, by the place of its identity in the snapshot.
  private let holes: [(offset: Int, svid: Int)]
  /// `X509BundlesResponse`.
  let x509Bundles: [UInt8]
  /// `JWTBundlesResponse`.
  let jwtBundles: [UInt8]

  /// Lays the messages out (SPIFFE_Workload_API.md sections 5.1 and 6.1).
  init(_ snapshot: WorkloadSnapshot) {
    let roots = snapshot.bundles.map {
      (id: $0.key.id.description, domain: $0.key, der: Array($0.value.roots.joined()))
    }
    .sorted { $0.id < $1.id }
    let own = roots.first { $0.domain == snapshot.trustDomain }?.der ?? []

    var response = ProtobufWriter()
    var holes: [(offset: Int, svid: Int)] = []
    var hints = UniqueHints()
    for (index, svid) in snapshot.svids.enumerated() {
      guard let key = svid.key else { continue }
      var message = ProtobufWriter()
      message.field(1, svid.id.description)
      message.field(2, Array(svid.chain.joined()))
      let hole = message.hole(3, count: key.count)
      message.field(4, own)
      message.field(5, hints.first(svid.hint))
      response.element(1, message.bytes)
      holes.append((response.bytes.count - message.bytes.count + hole, index))
    }
    for crl in snapshot.crls { response.element(2, crl) }
    for root in roots where root.domain != snapshot.trustDomain { response.entry(3, root.id, root.der) }
    self.holes = holes
    x509SVIDs = holes.isEmpty ? nil : response.bytes

    var bundles = ProtobufWriter()
    for crl in snapshot.crls { bundles.element(1, crl) }
    for root in roots { bundles.entry(2, root.id, root.der) }
    x509Bundles = bundles.bytes

    var sets = ProtobufWriter()
    for (domain, bundle) in snapshot.bundles.sorted(by: { $0.key < $1.key }) {
      sets.entry(1, domain.id.description, bundle.jwks)
    }
    jwtBundles = sets.bytes
  }

  /// The keys of ``x509SVIDs``, taken from the snapshot that this is the encoding of.
  func keys(of snapshot: WorkloadSnapshot) -> [(offset: Int, key: SVIDKey)] {
    holes.compactMap { hole in snapshot.svids[hole.svid].key.map { (hole.offset, $0) } }
  }
}

/// Keeps the hints of one response unique (SPIFFE_Workload_API.md section 5.2.1): the first identity of a hint has it, a
/// further one goes without, which is what a client that looks for the hint takes in any case.
struct UniqueHints {
  private var seen: Set<String> = []

  /// The hint, or the empty one where it was used already.
  mutating func first(_ hint: String) -> String { hint.isEmpty || !seen.insert(hint).inserted ? "" : hint }
}

/// The encodings of the snapshots that are alive. It keeps no snapshot alive, and so no key.
final class SnapshotEncodings: Sendable {
  private struct Entry {
    weak var snapshot: WorkloadSnapshot?
    let encoding: SnapshotEncoding
  }

  private struct State {
    var entries: [ObjectIdentifier: Entry] = [:]
    var tidyAt = 64
  }

  private let state = Mutex(State())

  /// The snapshot's encoding, made when it is first asked for.
  func of(_ snapshot: WorkloadSnapshot) -> SnapshotEncoding {
    let id = ObjectIdentifier(snapshot)
    // An identifier is used again once its object is gone, which the weak reference tells.
    let kept = state.withLock { state in state.entries[id].flatMap { $0.snapshot === snapshot ? $0.encoding : nil } }
    if let kept { return kept }
    let encoding = SnapshotEncoding(snapshot)
    state.withLock { state in
      if state.entries.count >= state.tidyAt {
        state.entries = state.entries.filter { $0.value.snapshot != nil }
        state.tidyAt = max(64, 2 * state.entries.count)
      }
      state.entries[id] = Entry(snapshot: snapshot, encoding: encoding)
    }
    return encoding
  }

  /// How many are held, for tests.
  var count: Int { state.withLock { $0.entries.count } }
}
