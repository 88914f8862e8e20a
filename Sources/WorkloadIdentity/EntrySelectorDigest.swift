import Crypto

/// What stands for a selector where many are kept: the first 16 bytes of SHA-256("trustcore/selector/v1" ‖ 0 ‖ text).
public struct SelectorDigest: Hashable, Sendable {
  private let high: UInt64
  private let low: UInt64

  /// Bytes of a digest.
  public static let byteCount = 16

  /// The digest of a selector.
  public init(_ selector: Selector) {
    var hash = SHA256()
    hash.update(data: Array("trustcore/selector/v1\0".utf8))
    hash.update(data: Array(selector.description.utf8))
    self.init(Array(hash.finalize())[...])
  }

  private init(_ bytes: ArraySlice<UInt8>) {
    func word(_ from: Int) -> UInt64 {
      var word: UInt64 = 0
      for index in from..<from + 8 { word = word << 8 | UInt64(bytes[index]) }
      return word
    }
    (high, low) = (word(bytes.startIndex), word(bytes.startIndex + 8))
  }

  /// Digests one after the other, 16 bytes each, as a row keeps them.
  public static func encode(_ digests: some Sequence<SelectorDigest>) -> [UInt8] {
    var bytes: [UInt8] = []
    for digest in digests {
      for word in [digest.high, digest.low] {
        for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
      }
    }
    return bytes
  }

  /// What ``encode(_:)`` made; nil for a length that it cannot have made of an entry's selectors.
  public static func decode(_ bytes: [UInt8]) -> [SelectorDigest]? {
    let (count, rest) = bytes.count.quotientAndRemainder(dividingBy: byteCount)
    guard rest == 0, (1...RegistrationEntry.maximumSelectors).contains(count) else { return nil }
    return (0..<count).map { SelectorDigest(bytes[$0 * byteCount..<($0 + 1) * byteCount]) }
  }
}
