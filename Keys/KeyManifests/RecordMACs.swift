public import KeyHierarchy

/// The MACs that stand beside a record's body, one per token.
public struct RecordMACs: Sendable, Hashable {
  /// One token's MAC.
  public struct Entry: Sendable, Hashable {
    /// The check value of the token's root key.
    public let root: KeyCheckValue
    /// HMAC-SHA-256 of the record's `macInput(for:)` with the token's `record-mac`, 32 bytes.
    public let mac: [UInt8]

    /// Makes an entry.
    public init(root: KeyCheckValue, mac: [UInt8]) {
      self.root = root
      self.mac = mac
    }
  }

  static let domain = "trustcore/record-macs/v1"

  /// The entries, 1 to 8, sorted by check value.
  public let entries: [Entry]

  /// Makes a list; entries come in any order.
  public init(_ entries: [Entry]) throws(KeyRecordError) {
    try require((1...8).contains(entries.count), "a record has 1 to 8 MACs; give one per token")
    try require(
      entries.allSatisfy { $0.root.bytes.count == 8 && $0.mac.count == 32 },
      "check values have 8 bytes and MACs 32; give them whole")
    self.entries = entries.sorted { $0.root.bytes.lexicographicallyPrecedes($1.root.bytes) }
    try require(
      zip(self.entries, self.entries.dropFirst()).allSatisfy { $0.root != $1.root },
      "a token stands twice; give one MAC per token")
  }

  /// The MAC of a token, or nil.
  public func mac(of root: KeyCheckValue) -> [UInt8]? { entries.first { $0.root == root }?.mac }

  /// The one encoding of this value.
  public var encoded: [UInt8] {
    var writer = RecordWriter(domain: Self.domain)
    writer.integer(UInt8(entries.count))
    for entry in entries {
      writer.fixed(entry.root.bytes)
      writer.fixed(entry.mac)
    }
    return writer.bytes
  }

  /// Reads a list and refuses any bytes but those that ``encoded`` writes.
  public init(decoding bytes: [UInt8]) throws(KeyRecordError) {
    var reader = try RecordReader(bytes, domain: Self.domain, maximumBytes: 1024)
    let count: UInt8 = try reader.integer()
    var entries: [Entry] = []
    for _ in 0..<count {
      entries.append(Entry(root: KeyCheckValue(try reader.fixed(8)), mac: try reader.fixed(32)))
    }
    try reader.finish()
    try self.init(entries)
    guard self.entries == entries else { throw RecordReader.damaged }
  }
}
