internal import Crypto

/// A change of a key, as the chain of key events holds it.
public struct KeyEvent: Sendable, Hashable {
  /// Which kind of key.
  public enum Kind: UInt8, Sendable, CaseIterable {
    /// A key-encryption key.
    case kek = 1
    /// A data key.
    case dek = 2
  }

  static let domain = "trustcore/key-event/v1"
  /// Tag, identifier and the rest.
  static let maximumBytes = 24 + 66 + 46

  /// The key's identifier.
  public let id: String
  /// Its kind.
  public let kind: Kind
  /// A key-encryption key's version, or a data key's revision.
  public let version: UInt32
  /// Where it stands after the event.
  public let state: KeyState
  /// The record's digest after the event, 32 bytes.
  public let recordDigest: [UInt8]
  /// The leaf that recorded the event.
  public let leafIndex: UInt64

  /// Makes an event.
  public init(
    id: String, kind: Kind, version: UInt32, state: KeyState, recordDigest: [UInt8], leafIndex: UInt64
  ) throws(KeyRecordError) {
    try requireKeyID(id)
    try require(kind == .dek || version > 0, "versions count from 1; give the version")
    try require(kind == .kek || state == .active || state == .destroyed, "a data key is active or destroyed")
    try require(recordDigest.count == 32, "a record's digest has 32 bytes; take the record's")
    self.id = id
    self.kind = kind
    self.version = version
    self.state = state
    self.recordDigest = recordDigest
    self.leafIndex = leafIndex
  }

  /// The event of a key-encryption key's record.
  public init(_ record: KEKRecord, leafIndex: UInt64) throws(KeyRecordError) {
    try self.init(
      id: record.id, kind: .kek, version: record.version, state: record.state, recordDigest: record.digest,
      leafIndex: leafIndex)
  }

  /// The event of a data key's record.
  public init(_ record: DEKRecord, leafIndex: UInt64) throws(KeyRecordError) {
    try self.init(
      id: record.id, kind: .dek, version: record.revision, state: record.state, recordDigest: record.digest,
      leafIndex: leafIndex)
  }

  /// The one encoding of this value.
  public var encoded: [UInt8] {
    var writer = RecordWriter(domain: Self.domain, capacity: Self.maximumBytes)
    writer.text(id)
    writer.integer(kind.rawValue)
    writer.integer(version)
    writer.integer(state.rawValue)
    writer.fixed(recordDigest)
    writer.integer(leafIndex)
    return writer.bytes
  }

  /// Reads an event and refuses any bytes but those that ``encoded`` writes.
  public init(decoding bytes: [UInt8]) throws(KeyRecordError) {
    var reader = try RecordReader(bytes, domain: Self.domain, maximumBytes: Self.maximumBytes)
    try self.init(
      id: try reader.text(), kind: try reader.value(), version: try reader.integer(), state: try reader.value(),
      recordDigest: try reader.fixed(32), leafIndex: try reader.integer())
    try reader.finish()
  }
}

/// The chain of all key events, in order: chain_n = SHA-256("trustcore/key-chain/v1" ‖ chain_{n-1} ‖ event_n), from 32
/// zero bytes. Two databases with the same count and value hold the same key events.
public struct KeyEventChain: Sendable, Hashable {
  /// How many events are in it.
  public private(set) var count: UInt64
  /// The value after the last one, 32 bytes.
  public private(set) var value: [UInt8]

  /// The empty chain.
  public init() {
    count = 0
    value = [UInt8](repeating: 0, count: 32)
  }

  /// Goes on where a chain stood.
  public init(count: UInt64, value: [UInt8]) throws(KeyRecordError) {
    try require(value.count == 32, "a chain's value has 32 bytes; give it whole")
    try require(
      count > 0 || value.allSatisfy { $0 == 0 }, "a chain without events has the value zero; give its count")
    self.count = count
    self.value = value
  }

  /// The value of a chain after one more event.
  /// - Parameter value: the value before it, 32 bytes.
  public static func value(after value: [UInt8], _ event: KeyEvent) -> [UInt8] {
    var hash = SHA256()
    hash.update(data: Array("trustcore/key-chain/v1".utf8))
    hash.update(data: value)
    hash.update(data: event.encoded)
    return Array(hash.finalize())
  }

  /// Adds an event.
  public mutating func append(_ event: KeyEvent) {
    value = Self.value(after: value, event)
    count += 1
  }
}
