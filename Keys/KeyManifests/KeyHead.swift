internal import Crypto
internal import Wire

/// Where the key events stand and which keys are destroyed, kept outside of the database and its backups: a restored
/// database is measured against it, and drops what was destroyed since.
public struct KeyHead: Sendable, Hashable {
  static let domain = "trustcore/key-head/v1"
  static let macDomain = "trustcore/key-head-mac/v1"
  /// At most this many destroyed keys.
  public static let maximumDestroyed = 100_000
  static let maximumBytes = 22 + 8 + 32 + 4 + maximumDestroyed * 66

  /// The chain of key events.
  public let chain: KeyEventChain
  /// The identifiers of destroyed keys, sorted by their bytes.
  public let destroyed: [String]

  /// Makes a head; identifiers come in any order.
  public init(chain: KeyEventChain, destroyed: some Collection<String>) throws(KeyRecordError) {
    try require(
      destroyed.count <= Self.maximumDestroyed,
      "more than \(Self.maximumDestroyed) keys are destroyed; open a new deployment, or destroy by key-encryption key")
    for id in destroyed { try requireKeyID(id) }
    self.chain = chain
    // Identifiers are ASCII, for which Swift's order is that of the bytes.
    self.destroyed = destroyed.sorted()
    try require(
      zip(self.destroyed, self.destroyed.dropFirst()).allSatisfy { $0 != $1 },
      "a destroyed key stands twice; give it once")
  }

  /// True where the key is destroyed.
  public func isDestroyed(_ id: String) -> Bool {
    var range = destroyed.indices
    while !range.isEmpty {
      let middle = range.lowerBound + range.count / 2
      if destroyed[middle] == id { return true }
      range = destroyed[middle] < id ? middle + 1..<range.upperBound : range.lowerBound..<middle
    }
    return false
  }

  /// The one encoding of this value.
  public var encoded: [UInt8] {
    var writer = RecordWriter(domain: Self.domain, capacity: 128 + destroyed.count * 40)
    writer.integer(chain.count)
    writer.fixed(chain.value)
    writer.integer(UInt32(destroyed.count))
    for id in destroyed { writer.text(id) }
    return writer.bytes
  }

  /// What the HSM authenticates: a short text that covers everything, since a head may be megabytes long. It is the
  /// same for every token, and ``RecordMACs`` says which token authenticated it.
  public var macInput: [UInt8] { RecordMAC.input(Self.macDomain, root: [], digest: Array(SHA256.hash(data: encoded))) }

  /// Reads a head, and refuses any bytes but those that ``encoded`` writes.
  public init(decoding bytes: [UInt8]) throws(KeyRecordError) {
    var reader = try RecordReader(bytes, domain: Self.domain, maximumBytes: Self.maximumBytes)
    let chain = try KeyEventChain(count: try reader.integer(), value: try reader.fixed(32))
    let count: UInt32 = try reader.integer()
    guard count <= Self.maximumDestroyed else { throw RecordReader.damaged }
    var destroyed: [String] = []
    for _ in 0..<count { destroyed.append(try reader.text()) }
    try reader.finish()
    try self.init(chain: chain, destroyed: destroyed)
    guard self.destroyed == destroyed else { throw RecordReader.damaged }
  }
}
