internal import Crypto
public import KeyHierarchy
internal import Wire

/// One version of a key-encryption key: where it belongs, where it stands, and its wrapped bytes. The record is worth
/// something only with a MAC over ``macInput(for:)`` and when its ``digest`` is the one of its latest leaf.
public struct KEKRecord: Sendable, Hashable {
  /// Whose key wrapped the key-encryption key.
  public enum Recipient: Sendable, Hashable {
    /// A token's `root-kek`, by its check value.
    case token(KeyCheckValue)
    /// An offline X-Wing key, by the SHA-256 of its public half, 32 bytes.
    case recovery(fingerprint: [UInt8])
  }

  /// The key-encryption key as one recipient can open it.
  public struct Wrap: Sendable, Hashable {
    /// Who can open it.
    public let recipient: Recipient
    /// The wrapped bytes, 1 to 2048.
    public let bytes: [UInt8]

    /// Makes a wrap.
    public init(_ recipient: Recipient, _ bytes: [UInt8]) {
      self.recipient = recipient
      self.bytes = bytes
    }
  }

  static let domain = "trustcore/kek-record/v1"
  static let macDomain = "trustcore/kek-record-mac/v1"
  /// At most this many wraps.
  public static let maximumWraps = 8
  /// A wrap has at most this many bytes.
  public static let maximumWrapBytes = 2048
  /// Tag, four texts, the numbers, and all wraps at their longest.
  static let maximumBytes = 24 + 4 * 66 + 14 + maximumWraps * (33 + 2 + maximumWrapBytes)

  /// The key's identifier, the same for all versions.
  public let id: String
  /// Which data it is for.
  public let coordinates: KeyCoordinates
  /// The version, from 1.
  public let version: UInt32
  /// Where this version stands.
  public let state: KeyState
  /// When it was made: milliseconds since 1970.
  public let created: UInt64
  /// The wrapped key, sorted by recipient; empty when it is destroyed.
  public let wraps: [Wrap]

  /// Makes a record; wraps come in any order.
  /// - Throws: ``KeyRecordError`` when a limit is passed, a recipient stands twice, a key that is not destroyed has no
  ///   wrap or a destroyed one has some.
  public init(
    id: String, coordinates: KeyCoordinates, version: UInt32, state: KeyState, created: UInt64, wraps: [Wrap]
  ) throws(KeyRecordError) {
    try requireKeyID(id)
    try require(version > 0, "versions count from 1; give the version")
    try require(wraps.count <= Self.maximumWraps, "a key has at most \(Self.maximumWraps) wraps; name fewer recipients")
    try require(
      (state == .destroyed) == wraps.isEmpty, "a destroyed key has no wraps and any other has some; give what is due")
    for wrap in wraps {
      try require(
        wrap.recipient.identifier.count == wrap.recipient.count,
        "check values have 8 bytes and fingerprints 32; give them whole")
      try require(
        (1...Self.maximumWrapBytes).contains(wrap.bytes.count),
        "a wrapped key has 1 to \(Self.maximumWrapBytes) bytes; check what wrapped it")
    }
    let sorted = wraps.sorted { $0.recipient.precedes($1.recipient) }
    try require(
      zip(sorted, sorted.dropFirst()).allSatisfy { $0.recipient != $1.recipient },
      "a recipient stands twice; wrap the key for it once")
    self.id = id
    self.coordinates = coordinates
    self.version = version
    self.state = state
    self.created = created
    self.wraps = sorted
  }

  /// The same version in another state; its wraps go when it is destroyed.
  public func with(state: KeyState) throws(KeyRecordError) -> KEKRecord {
    try KEKRecord(
      id: id, coordinates: coordinates, version: version, state: state, created: created,
      wraps: state == .destroyed ? [] : wraps)
  }

  /// The wrap for a token, or nil.
  public func wrap(for root: KeyCheckValue) -> WrappedKey? {
    wraps.first { $0.recipient == .token(root) }.map { WrappedKey($0.bytes) }
  }

  /// The body: the one encoding of this value.
  public var encoded: [UInt8] {
    var writer = RecordWriter(domain: Self.domain, capacity: 256 + wraps.reduce(0) { $0 + $1.bytes.count + 35 })
    writer.text(id)
    writer.coordinates(coordinates)
    writer.integer(version)
    writer.integer(state.rawValue)
    writer.integer(created)
    writer.integer(UInt8(wraps.count))
    for wrap in wraps {
      writer.integer(wrap.recipient.kind)
      writer.fixed(wrap.recipient.identifier)
      writer.delimited(wrap.bytes)
    }
    return writer.bytes
  }

  /// Reads a body and refuses any bytes but those that ``encoded`` writes.
  public init(decoding bytes: [UInt8]) throws(KeyRecordError) {
    var reader = try RecordReader(bytes, domain: Self.domain, maximumBytes: Self.maximumBytes)
    let id = try reader.text()
    let coordinates = try reader.coordinates()
    let version: UInt32 = try reader.integer()
    let state: KeyState = try reader.value()
    let created: UInt64 = try reader.integer()
    let count: UInt8 = try reader.integer()
    var wraps: [Wrap] = []
    for _ in 0..<count {
      let kind: UInt8 = try reader.integer()
      let recipient: Recipient
      switch kind {
      case 1: recipient = .token(KeyCheckValue(try reader.fixed(8)))
      case 2: recipient = .recovery(fingerprint: try reader.fixed(32))
      default: throw RecordReader.damaged
      }
      wraps.append(Wrap(recipient, try reader.delimited()))
    }
    try reader.finish()
    try self.init(
      id: id, coordinates: coordinates, version: version, state: state, created: created, wraps: wraps)
    // The initialiser sorts; what came in another order is another encoding of the same value.
    guard self.wraps == wraps else { throw RecordReader.damaged }
  }

  /// SHA-256 of the body; what leaves commit to.
  public var digest: [UInt8] { Array(SHA256.hash(data: encoded)) }

  /// What the `record-mac` beside a root key authenticates; it covers the whole body.
  public func macInput(for root: KeyCheckValue) -> [UInt8] {
    RecordMAC.input(Self.macDomain, root: root.bytes, digest: digest)
  }
}

extension KEKRecord.Recipient {
  fileprivate var kind: UInt8 {
    switch self {
    case .token: 1
    case .recovery: 2
    }
  }

  fileprivate var identifier: [UInt8] {
    switch self {
    case .token(let value): value.bytes
    case .recovery(let fingerprint): fingerprint
    }
  }

  fileprivate var count: Int { kind == 1 ? 8 : 32 }

  fileprivate func precedes(_ other: Self) -> Bool {
    kind == other.kind ? identifier.lexicographicallyPrecedes(other.identifier) : kind < other.kind
  }
}
