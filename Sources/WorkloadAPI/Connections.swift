import GRPCCore
import Synchronization
import WorkloadAttestation
import WorkloadIdentity

/// How the service of an RPC finds the connection that it came on.
/// - Throws: where the connection is gone.
typealias ConnectionLookup = @Sendable (Metadata) throws(RPCError) -> any WorkloadConnection

/// The connections that are open, by a number that no peer chooses.
final class Connections: Sendable {
  /// The header that carries the number from a connection's pipeline to the services, since the transport has no other
  /// way; what a peer puts in it is taken out (``StreamHandler``).
  static let header = "x-trustcore-connection"

  private struct State {
    var next: UInt64 = 0
    var open: [UInt64: any WorkloadConnection] = [:]
    var count = 0
    var ofUser: [UInt32: Int] = [:]
  }

  private let maximum: Int
  private let maximumOfUser: Int
  private let connect: @Sendable (PeerProcess) -> any WorkloadConnection
  private let state = Mutex(State())

  init(maximum: Int, maximumOfUser: Int, connect: @escaping @Sendable (PeerProcess) -> any WorkloadConnection) {
    self.maximum = maximum
    self.maximumOfUser = maximumOfUser
    self.connect = connect
  }

  /// Takes a connection in.
  /// - Returns: its number; nil where there are too many already, of all users or of this one.
  func admit(_ peer: PeerProcess) -> UInt64? {
    let uid = peer.uid
    let number: UInt64? = state.withLock { state in
      guard state.count < maximum, state.ofUser[uid, default: 0] < maximumOfUser else { return nil }
      state.count += 1
      state.ofUser[uid, default: 0] += 1
      state.next += 1
      return state.next
    }
    guard let number else { return nil }
    let connection = connect(peer)
    state.withLock { $0.open[number] = connection }
    return number
  }

  /// Lets a connection go.
  func remove(_ number: UInt64, uid: UInt32) {
    let connection = state.withLock { state in
      state.count -= 1
      state.ofUser[uid, default: 1] -= 1
      if state.ofUser[uid] == 0 { state.ofUser[uid] = nil }
      return state.open.removeValue(forKey: number)
    }
    connection?.close()
  }

  /// The connection that an RPC came on.
  func of(_ metadata: Metadata) throws(RPCError) -> any WorkloadConnection {
    var values = metadata[stringValues: Self.header].makeIterator()
    guard let number = values.next().flatMap({ UInt64($0) }), values.next() == nil,
      let connection = state.withLock({ $0.open[number] })
    else { throw RPCError(.stopping) }
    return connection
  }

  /// The same, for a method of the Workload API. It keeps other software from being led here: a browser's request, say,
  /// cannot have the header (SPIFFE_Workload_Endpoint.md section 3).
  func ofWorkload(_ metadata: Metadata) throws(RPCError) -> any WorkloadConnection {
    var values = metadata[stringValues: "workload.spiffe.io"].makeIterator()
    guard values.next() == "true", values.next() == nil else {
      throw RPCError(
        WorkloadRefusal(
          .invalidArgument, "security_header_missing", "send the metadata 'workload.spiffe.io: true', once"))
    }
    return try of(metadata)
  }

  /// How many are open.
  var count: Int { state.withLock { $0.open.count } }
}
