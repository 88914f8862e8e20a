internal import Crypto
internal import Wire

/// A SHA-256 hash of the Merkle tree, 32 bytes stored inline.
public struct MerkleHash: Hashable, Sendable, CustomStringConvertible {
  /// The number of bytes in a hash.
  public static let byteCount = 32

  // The bytes in memory order, not numbers; no arithmetic is done on them.
  private var words: (UInt64, UInt64, UInt64, UInt64)

  /// 32 zero bytes, which fill places that hold no hash yet.
  static let zero = MerkleHash(words: (0, 0, 0, 0))

  private init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// Takes exactly 32 bytes; nil for any other number.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == Self.byteCount else { return nil }
    self = .zero
    unsafe withUnsafeMutableBytes(of: &words) { unsafe $0.copyBytes(from: bytes) }
  }

  init(_ digest: SHA256.Digest) {
    self = .zero
    unsafe withUnsafeMutableBytes(of: &words) { target in
      unsafe digest.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
    }
  }

  /// The 32 bytes.
  public var bytes: [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }

  /// Lends the 32 bytes.
  public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    try unsafe Swift.withUnsafeBytes(of: words, body)
  }

  /// Standard base64, as checkpoints and proofs spell hashes.
  public var base64: String { Base64.encode(bytes) }

  /// Parses what ``base64`` renders; nil for anything else.
  public init?(base64 text: some StringProtocol) {
    // 44 characters are exactly 30 to 33 bytes: nothing long is decoded.
    guard text.utf8.count == 44, let bytes = try? Base64.decode(text) else { return nil }
    self.init(bytes)
  }

  /// The hash in base64.
  public var description: String { base64 }

  /// Compares the bytes; hashes of a public log need no constant time.
  public static func == (a: MerkleHash, b: MerkleHash) -> Bool { a.words == b.words }

  /// Feeds the bytes to a hasher.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
    hasher.combine(words.2)
    hasher.combine(words.3)
  }
}

/// The hashing of RFC 9162 §2.1.1 (RFC 6962 §2.1) with SHA-256.
extension MerkleHash {
  /// The root of a tree without leaves: the hash of nothing.
  public static let emptyTree = MerkleHash(SHA256().finalize())

  /// A leaf's hash: SHA-256(0x00 ‖ entry).
  public static func leaf(_ entry: some Collection<UInt8>) -> MerkleHash {
    unsafe withUnsafeTemporaryAllocation(byteCount: 1 + entry.count, alignment: 1) { buffer in
      unsafe buffer[0] = 0x00
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[1...]).copyBytes(from: entry)
      return unsafe hash(UnsafeRawBufferPointer(buffer))
    }
  }

  /// A node's hash: SHA-256(0x01 ‖ left ‖ right).
  public static func node(_ left: MerkleHash, _ right: MerkleHash) -> MerkleHash {
    unsafe withUnsafeTemporaryAllocation(byteCount: 1 + 2 * byteCount, alignment: 8) { buffer in
      unsafe buffer[0] = 0x01
      unsafe buffer.storeBytes(of: left.words, toByteOffset: 1, as: (UInt64, UInt64, UInt64, UInt64).self)
      unsafe buffer.storeBytes(of: right.words, toByteOffset: 33, as: (UInt64, UInt64, UInt64, UInt64).self)
      return unsafe hash(UnsafeRawBufferPointer(buffer))
    }
  }

  private static func hash(_ bytes: UnsafeRawBufferPointer) -> MerkleHash {
    var function = SHA256()
    unsafe function.update(bufferPointer: bytes)
    return MerkleHash(function.finalize())
  }
}

/// A tree's size and root, unsigned.
public struct TreeHead: Hashable, Sendable {
  /// The most leaves that a tree may have: 2^63 − 1, so that sizes fit the signed integers of databases.
  public static let maximumSize = UInt64(Int64.max)

  /// The number of leaves.
  public let size: UInt64
  /// The Merkle tree hash over them.
  public let root: MerkleHash

  /// The head of a tree without leaves.
  public static let empty = TreeHead(size: 0, root: .emptyTree)

  /// Pairs a size with a root.
  public init(size: UInt64, root: MerkleHash) {
    self.size = size
    self.root = root
  }
}
