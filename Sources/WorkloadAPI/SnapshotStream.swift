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
struct SnapshotStream: Sendable {
  let content: SnapshotContent
  let encodings: SnapshotEncodings
  let refusals: Refusals
  let connection: any WorkloadConnection
  let updates: any WorkloadUpdates

  /// The message that a snapshot becomes.
  /// - Parameter snapshot: nil once the daemon stops.
  func message(of snapshot: WorkloadSnapshot?) throws -> OutgoingMessage {
    guard let snapshot else { throw WorkloadRefusal.stopping }
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
  func push(_ first: Once<OutgoingMessage>, to writer: RPCWriter<OutgoingMessage>) async throws -> Metadata {
    try await refusals.catching {
      let sent = try await send(first.take() ?? message(of: nil), to: writer)
      // The transport does not cancel a handler's task when the peer goes away, and `next()` waits for long.
      let canceller = TaskCanceller()
      defer { canceller.end() }
      try await withRPCCancellationHandler {
        try await push(after: sent, to: writer)
      } onCancelRPC: {
        canceller.cancel()
      }
      return [:]
    }
  }

  private func send(_ message: OutgoingMessage, to writer: RPCWriter<OutgoingMessage>) async throws -> [UInt8] {
    try await writer.write(message)
    return message.bytes
  }

  private func push(after first: [UInt8], to writer: RPCWriter<OutgoingMessage>) async throws {
    var sent = first
    while true {
      let message = try message(of: await updates.next())
      sent = message.bytes == sent ? message.bytes : try await send(message, to: writer)
    }
  }
}

/// A value that is taken once, and then is nowhere: what a closure captures lives as long as the closure, which for a
/// stream's first message, with its keys, would be as long as the stream.
final class Once<Value: Sendable>: Sendable {
  private let value: Mutex<Value?>

  init(_ value: Value) { self.value = Mutex(value) }

  func take() -> Value? { value.withLock { $0.take() } }
}

/// Cancels the task that made it, from any other, until that task ends it. A task of its own for each stream would say
/// the same for 4 KiB more.
@safe
private final class TaskCanceller: @unchecked Sendable {
  /// Of an `UnsafeCurrentTask` what `Task` has too may be used from elsewhere while the task lives, which it does until
  /// it has called ``end()``; the lock keeps `cancel()` from coming later.
  private let task: UnsafeCurrentTask?
  private let lives = Mutex(true)

  init() { unsafe task = unsafe withUnsafeCurrentTask { unsafe $0 } }

  func cancel() { lives.withLock { if $0 { unsafe task?.cancel() } } }

  func end() { lives.withLock { $0 = false } }
}
