internal import Crypto
public import KeyHierarchy
internal import Wire

/// What a data key is bound to: the additional authenticated data of its encryption under the key-encryption key.
public struct KeyContext: Sendable, Hashable {
  /// Which data it is for.
  public let coordinates: KeyCoordinates
  /// The key-encryption key.
  public let kek: String
  /// That key's version.
  public let version: UInt32
  /// The data key's identifier.
  public let dek: String
  /// ``EncryptionContext/digest`` of the user's context, 32 bytes.
  public let contextDigest: [UInt8]

  /// Makes a context.
  public init(
    coordinates: KeyCoordinates, kek: String, version: UInt32, dek: String, contextDigest: [UInt8]
  ) throws(KeyRecordError) {
    try requireKeyID(kek)
    try requireKeyID(dek)
    try require(version > 0, "versions count from 1; give the version")
    try require(contextDigest.count == 32, "a context's digest has 32 bytes; take EncryptionContext's")
    self.coordinates = coordinates
    self.kek = kek
    self.version = version
    self.dek = dek
    self.contextDigest = contextDigest
  }

  /// The additional authenticated data; no two contexts share one.
  public var aad: [UInt8] {
    var writer = RecordWriter(domain: "trustcore/dek-aad/v1")
    writer.coordinates(coordinates)
    writer.text(kek)
    writer.integer(version)
    writer.text(dek)
    writer.fixed(contextDigest)
    return writer.bytes
  }
}

/// A data key: what it is bound to, where it stands, and its bytes encrypted under its key-encryption key. Worth
/// something only with a MAC over ``macInput(for:)``.
public struct DEKRecord: Sendable, Hashable {
  /// A data key encrypted with AES-256-GCM under ``KeyContext/aad``.
  public struct Sealed: Sendable, Hashable {
    /// 12 bytes.
    public let iv: [UInt8]
    /// Ciphertext and 16-byte tag, 48 bytes.
    public let ciphertext: [UInt8]

    /// Makes the value.
    public init(iv: [UInt8], ciphertext: [UInt8]) throws(KeyRecordError) {
      try require(
        iv.count == 12 && ciphertext.count == 48,
        "a sealed data key has an IV of 12 bytes and 48 of ciphertext and tag; check what sealed it")
      self.iv = iv
      self.ciphertext = ciphertext
    }
  }

  static let domain = "trustcore/dek-record/v1"
  static let macDomain = "trustcore/dek-record-mac/v1"
  /// Tag, five texts, the numbers and the bytes at their longest.
  static let maximumBytes = 24 + 5 * 66 + 17 + 32 + 60

  /// What it is bound to.
  public let context: KeyContext
  /// When it was made: milliseconds since 1970.
  public let created: UInt64
  /// Counts the rewraps.
  public let revision: UInt32
  /// The encrypted key; nil when it is destroyed.
  public let sealed: Sealed?

  /// The data key's identifier.
  public var id: String { context.dek }
  /// ``KeyState/active`` or ``KeyState/destroyed``.
  public var state: KeyState { sealed == nil ? .destroyed : .active }

  /// Makes a record; without `sealed`, of a destroyed key.
  public init(context: KeyContext, created: UInt64, revision: UInt32, sealed: Sealed?) {
    self.context = context
    self.created = created
    self.revision = revision
    self.sealed = sealed
  }

  /// The same data key under another version of its key-encryption key, one revision later.
  public func rewrapped(version: UInt32, _ sealed: Sealed) throws(KeyRecordError) -> DEKRecord {
    try require(revision < .max, "the data key was rewrapped 2^32 - 1 times; make a new one")
    try require(state == .active, "the data key is destroyed and has nothing to rewrap; leave it out")
    let context = try KeyContext(
      coordinates: context.coordinates, kek: context.kek, version: version, dek: id,
      contextDigest: context.contextDigest)
    return DEKRecord(context: context, created: created, revision: revision + 1, sealed: sealed)
  }

  /// The record once the key is destroyed.
  public var destroyed: DEKRecord {
    DEKRecord(context: context, created: created, revision: revision, sealed: nil)
  }

  /// The body: the one encoding of this value. The state fixes what follows it: 60 bytes or none.
  public var encoded: [UInt8] {
    var writer = RecordWriter(domain: Self.domain)
    writer.text(id)
    writer.text(context.kek)
    writer.integer(context.version)
    writer.coordinates(context.coordinates)
    writer.integer(created)
    writer.integer(revision)
    writer.fixed(context.contextDigest)
    writer.integer(state.rawValue)
    if let sealed {
      writer.fixed(sealed.iv)
      writer.fixed(sealed.ciphertext)
    }
    return writer.bytes
  }

  /// Reads a body and refuses any bytes but those that ``encoded`` writes.
  public init(decoding bytes: [UInt8]) throws(KeyRecordError) {
    var reader = try RecordReader(bytes, domain: Self.domain, maximumBytes: Self.maximumBytes)
    let id = try reader.text()
    let kek = try reader.text()
    let version: UInt32 = try reader.integer()
    let coordinates = try reader.coordinates()
    created = try reader.integer()
    revision = try reader.integer()
    context = try KeyContext(
      coordinates: coordinates, kek: kek, version: version, dek: id, contextDigest: try reader.fixed(32))
    switch try reader.value(KeyState.self) {
    case .active: sealed = try Sealed(iv: try reader.fixed(12), ciphertext: try reader.fixed(48))
    case .destroyed: sealed = nil
    case .retired, .disabled: throw RecordReader.damaged
    }
    try reader.finish()
  }

  /// SHA-256 of the body; what leaves commit to.
  public var digest: [UInt8] { Array(SHA256.hash(data: encoded)) }

  /// What the `record-mac` beside a root key authenticates; it covers the whole body.
  public func macInput(for root: KeyCheckValue) -> [UInt8] {
    RecordMAC.input(Self.macDomain, root: root.bytes, digest: digest)
  }
}
