import Crypto

/// A salted commitment: SHA-256 over a domain tag, a zero byte, 32 random bytes and the content. Erasing salt and
/// content together leaves a leaf that says nothing about either.
public enum Commitment {
  static let domain = Array("trustcore/content/v1".utf8) + [0]

  /// The commitment to `content` under a salt of 32 bytes.
  public static func make(salt: [UInt8], content: [UInt8]) -> [UInt8] {
    var hash = SHA256()
    hash.update(data: domain)
    hash.update(data: salt)
    hash.update(data: content)
    return Array(hash.finalize())
  }
}

/// Content with the salt under which a leaf commits to it.
public struct SaltedContent: Sendable, Equatable {
  /// 32 random bytes.
  public let salt: [UInt8]
  /// What the leaf commits to.
  public let content: [UInt8]

  /// Joins a salt with its content.
  public init(salt: [UInt8], content: [UInt8]) {
    self.salt = salt
    self.content = content
  }

  /// The commitment.
  public var commitment: [UInt8] { Commitment.make(salt: salt, content: content) }
}
