import Crypto
import Seal
public import TransparencyLog
public import Wire

/// How a decided command ended, with all that its answer needs.
public struct Receipt: Sendable {
  /// The command as the gate keeps it.
  public let command: CommandRecord
  /// Its authorised leaf.
  public let leaf: [UInt8]
  /// The salt under which the leaf commits to the signed request.
  public let salt: [UInt8]
  /// The proof that the leaf is under a signed checkpoint.
  public let proof: TLogProof
  /// The command's result, as the record has its text; nil where there is none.
  let result: JSONValue?

  /// The receipt as answers carry it.
  public var json: JSONObject {
    var object: JSONObject = [
      "command_id": .string(command.id.description), "status": .string(command.state.rawValue),
      "leaf_index": .integer(Int64(command.leafIndex)),
      "receipt": [
        "leaf": .string(Base64.URL.encode(leaf)), "salt": .string(Base64.URL.encode(salt)),
        "proof": .string(proof.rendered),
      ],
    ]
    if let index = command.outcomeIndex { object["outcome_leaf_index"] = .integer(Int64(index)) }
    object["result"] = result
    return object
  }
}

/// Within which an Idempotency-Key means one command.
public enum IdempotencyScope {
  /// A digest of tenant, principal and key, length-delimited under a domain tag; 32 bytes.
  public static func digest(tenant: String, principal: String, key: String) -> [UInt8] {
    var hash = SHA256()
    hash.update(data: Array("trustcore/idempotency/v1".utf8))
    for part in [tenant, principal, key] {
      let bytes = Array(part.utf8)
      hash.update(data: [UInt8(truncatingIfNeeded: bytes.count >> 8), UInt8(truncatingIfNeeded: bytes.count)])
      hash.update(data: bytes)
    }
    return Array(hash.finalize())
  }
}

/// An event to record: what happened and the content that its leaf commits to.
public struct EventRecord: Sendable {
  /// What happened, such as `token.issued`.
  public let kind: String
  /// The content; its JCS text is salted and kept.
  public let content: JSONObject

  /// Makes an event.
  public init(kind: String, content: JSONObject) {
    self.kind = kind
    self.content = content
  }
}

/// When and where an event is recorded.
public struct EventMoment: Sendable {
  /// The time of its leaf.
  public let time: Timestamp
  /// The index that its leaf gets; of several events, the first one's.
  public let leafIndex: UInt64
}

/// What a submission is answered with when it is not refused.
enum GateAnswer: Sendable {
  /// A command that was carried out.
  case receipt(Receipt)
  /// The leaf indices of events that are durable; none where nothing was recorded.
  case recorded(Range<UInt64>)
}

/// Gives a submission its answer.
typealias Answering = @Sendable (Result<GateAnswer, any Error>) -> Void

/// Work that waits for the next transaction.
struct Submission<Unit>: Sendable {
  enum Work: Sendable {
    case command(PreparedCommand<Unit>)
    /// Changes state and says what to record, a leaf for each; none where nothing is left to do.
    case events(@Sendable (inout Unit, EventMoment) throws -> [EventRecord])
  }

  let work: Work
  let answer: Answering

  /// Keeps a place in the queue and changes nothing.
  static var nothing: Submission { Submission(work: .events { _, _ in [] }) { _ in } }
}

/// A command between T1 and T2.
struct InFlight<Unit>: Sendable {
  let prepared: PreparedCommand<Unit>
  let authorized: AuthorizedCommand
  var record: CommandRecord
  /// Nil after a restart, when whoever asked is gone, and once they were told that it takes long.
  var answer: Answering?
}
