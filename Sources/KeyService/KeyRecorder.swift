public import AgentIdentity
public import Wire

/// What the service needs of the gate and the storage behind it.
public protocol KeyRecorder<Unit>: Sendable {
  /// The unit of work of the storage.
  associatedtype Unit: KeyStore & PrincipalStore

  /// Throws where nothing can be recorded any more because the log is not the one that was signed.
  func demandLog() async throws

  /// Makes a change and records it under one leaf, in one durable transaction.
  /// - Parameters:
  ///   - kind: the event's kind.
  ///   - change: makes the change, given the time and the index of the leaf, and returns the leaf's content; nil where
  ///     there is nothing to do.
  /// - Returns: the leaf's index; nil where nothing was recorded.
  func record(
    _ kind: String, _ change: @Sendable @escaping (inout Unit, Timestamp, UInt64) throws -> JSONObject?
  ) async throws -> UInt64?

  /// Reads a consistent view.
  func read<Result: Sendable>(_ body: @Sendable @escaping (inout Unit) throws -> Result) async throws -> Result

  /// Erases the wrapped bytes of keys that the record says are destroyed, without a leaf: a restored database must not
  /// open them before anything else happens.
  func erase(_ keys: [String]) async throws

  /// Makes what was erased unreadable in the storage's files too.
  func scrub() async throws

  /// Waits until a leaf is under a signed tree head.
  /// - Returns: the leaf, salt, content and proof, as receipts carry them; verified.
  func seal(ofLeaf index: UInt64) async throws -> JSONObject
}
