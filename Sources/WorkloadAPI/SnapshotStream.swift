import GRPCCore
import Synchronization
import WorkloadIdentity

/// What of a snapshot a stream carries.
enum SnapshotContent: Sendable {
  case x509SVIDs
  case x509Bundles
  case jwtBundles
}

/// One stream of snapshots: each message is complete, and one that says what the last one said is not sent.
final class SnapshotStream: Sendable {
  private let content: SnapshotContent
  private let encodings: SnapshotEncodings
  private let connection: any WorkloadConnection
  private let updates: any WorkloadUpdates
  /// The first message, with its keys, until it is sent and not for as long as the stream.
  private let first = Mutex<OutgoingMessage?>(nil)

  /// Prepares the first message, so that a refusal is the whole answer.
  init(_ content: SnapshotContent, _ encodings: SnapshotEncodings, _ connection: any WorkloadConnection) async throws {
    self.content = content
    self.encodings = encodings
    self.connection = connection
    updates = try await connection.updates()
    let message = try await next()
    first.withLock { $0 = message }
  }

  private func next() async throws -> OutgoingMessage {
    if let first = first.withLock({ $0.take() }) { return first }
    guard let snapshot = try await updates.next() else { throw WorkloadRefusal.stopping }
    let encoding = encodings.of(snapshot)
    try connection.confirm()
    switch content {
    case .x509SVIDs:
      guard let bytes = encoding.x509SVIDs else {
        throw WorkloadRefusal(
          .permissionDenied, "own_key_only",
          "this workload's entries give certificates for its own keys only: ask for them with FetchX509SVIDForKey")
      }
      return OutgoingMessage(bytes: bytes, keys: encoding.keys(of: snapshot))
    case .x509Bundles: return OutgoingMessage(bytes: encoding.x509Bundles, keys: [])
    case .jwtBundles: return OutgoingMessage(bytes: encoding.jwtBundles, keys: [])
    }
  }

  /// Sends the first message and then each that is new, until the RPC is cancelled or there is nothing more to say.
  /// While a slow reader holds a write up no snapshot is taken, so that at most the newest one waits.
  func push(to writer: RPCWriter<OutgoingMessage>) async throws {
    // The transport does not cancel a handler's task when the peer goes away or the server stops; and a cancelled task
    // could not send the status.
    try await withRPCCancellationHandler {
      var sent: [UInt8]?
      while true {
        let message = try await next()
        let isNews = message.bytes != sent
        // Also where it says the same: the array is the one that every stream of the snapshot has.
        sent = message.bytes
        if isNews { try await writer.write(message) }
      }
    } onCancelRPC: { [updates] in
      updates.cancel()
    }
  }
}
