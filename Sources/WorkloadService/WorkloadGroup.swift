import Synchronization
import WorkloadAttestation
import WorkloadIdentity

/// An attested process with everything that is open for it: its streams, on however many connections, share one
/// snapshot and one certificate for each entry. Another process has others, so a certificate names its process.
final class WorkloadGroup: Sendable {
  /// The digest of what was attested.
  let id: [UInt8]
  let attested: AttestedProcess
  let selectors: Set<SelectorDigest>
  let channel = SnapshotChannel()

  /// How many connections and streams hold it, and since when nobody does, in milliseconds.
  private let holders = Mutex<(count: Int, idleSince: Int64)>((0, 0))

  init(_ attested: AttestedProcess) {
    id = attested.digest
    self.attested = attested
    selectors = Set(attested.selectors.map(SelectorDigest.init))
  }

  func hold() { holders.withLock { $0 = ($0.count + 1, 0) } }

  func release() { holders.withLock { $0.count -= 1 } }

  /// Whether nobody has held it for a while; called again and again.
  func isIdle(for milliseconds: Int64, at now: Int64) -> Bool {
    holders.withLock { holders in
      guard holders.count == 0 else {
        holders.idleSince = 0
        return false
      }
      if holders.idleSince == 0 { holders.idleSince = now }
      return now - holders.idleSince >= milliseconds
    }
  }
}

/// A connection's or a stream's hold on its group.
final class Membership: Sendable {
  let group: WorkloadGroup

  init(_ group: WorkloadGroup) {
    self.group = group
    group.hold()
  }

  deinit { group.release() }
}
