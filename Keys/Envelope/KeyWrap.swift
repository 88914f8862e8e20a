import Crypto
import CryptoExtras
public import SecretMemory

/// AES key wrap (RFC 3394, KW) and AES key wrap with padding (RFC 5649, KWP; both also NIST SP 800-38F) on the library's
/// AES block function. What is wrapped and what is half unwrapped stays in locked memory; the wrapping key is in a
/// `SymmetricKey`, which zeroes itself, for the length of one call.
public enum KeyWrap {
  /// The bytes that KW takes: whole blocks of 8, at least two (RFC 3394, section 2).
  public static let keyByteCounts = 16...4096
  /// The bytes that KWP takes.
  public static let paddedKeyByteCounts = 1...4096

  /// The initial value of KW (RFC 3394, section 2.2.3.1).
  private static let initialValue: UInt64 = 0xA6A6_A6A6_A6A6_A6A6
  /// The upper half of KWP's (RFC 5649, section 3).
  private static let alternativeInitialValue: UInt64 = 0xA659_59A6

  /// Wraps a key with KW.
  ///
  /// - Parameters:
  ///   - key: 16 to 4096 bytes, a multiple of 8.
  ///   - wrappingKey: an AES key of 16, 24 or 32 bytes.
  /// - Returns: 8 bytes more than `key` has.
  /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``, or
  ///   ``EnvelopeError/Code-swift.struct/noLockedMemory``.
  public static func wrap(_ key: RawSpan, under wrappingKey: RawSpan) throws(EnvelopeError) -> [UInt8] {
    guard keyByteCounts.contains(key.byteCount), key.byteCount % 8 == 0 else {
      throw EnvelopeError(.badLength, "AES key wrap takes 16 to 4096 bytes in blocks of 8, not \(key.byteCount)")
    }
    return try wrap(key, initialValue: initialValue, under: aes(wrappingKey))
  }

  /// Unwraps what ``wrap(_:under:)`` made.
  ///
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAuthentic`` when it was changed or wrapped by another key, and as
  ///   ``wrap(_:under:)``.
  public static func unwrap(_ wrapped: [UInt8], under wrappingKey: RawSpan) throws(EnvelopeError) -> SecretBytes {
    guard keyByteCounts.contains(wrapped.count - 8), wrapped.count % 8 == 0 else {
      throw EnvelopeError(.badLength, "a wrapped key has 24 to 4104 bytes in blocks of 8, not \(wrapped.count)")
    }
    var key = try room(for: wrapped)
    guard try unwrap(wrapped, into: &key, under: aes(wrappingKey)) ^ initialValue == 0 else { throw notAuthentic() }
    return key
  }

  /// Wraps a key of any length with KWP.
  ///
  /// - Parameters:
  ///   - key: 1 to 4096 bytes.
  ///   - wrappingKey: an AES key of 16, 24 or 32 bytes.
  /// - Returns: whole blocks of 8 bytes, one more than `key` fills.
  /// - Throws: As ``wrap(_:under:)``.
  public static func wrapPadded(_ key: RawSpan, under wrappingKey: RawSpan) throws(EnvelopeError) -> [UInt8] {
    guard paddedKeyByteCounts.contains(key.byteCount) else {
      throw EnvelopeError(.badLength, "AES key wrap with padding takes 1 to 4096 bytes, not \(key.byteCount)")
    }
    return try wrap(
      key, initialValue: alternativeInitialValue << 32 | UInt64(key.byteCount), under: aes(wrappingKey))
  }

  /// Unwraps what ``wrapPadded(_:under:)`` made.
  ///
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAuthentic`` when it was changed or wrapped by another key, and as
  ///   ``wrap(_:under:)``.
  public static func unwrapPadded(
    _ wrapped: [UInt8], under wrappingKey: RawSpan
  ) throws(EnvelopeError) -> SecretBytes {
    guard (16...4104).contains(wrapped.count), wrapped.count % 8 == 0 else {
      throw EnvelopeError(.badLength, "a wrapped key has 16 to 4104 bytes in blocks of 8, not \(wrapped.count)")
    }
    var padded = try room(for: wrapped)
    let value = try unwrap(wrapped, into: &padded, under: aes(wrappingKey))
    // RFC 5649, section 3: the constant, a length that ends in the last block, zeroes behind it. All three are looked at
    // before any is acted on, and the padding's bytes are chosen by arithmetic: nothing tells which of them was wrong.
    let length = Int(value & 0xFFFF_FFFF)
    var wrong = value >> 32 ^ alternativeInitialValue
    let excess = padded.count - length
    wrong |= UInt64(bitPattern: Int64(excess)) & ~7
    unsafe padded.withUnsafeBytes { bytes in
      for back in 1...7 {
        // All ones when the byte `back` places from the end is padding, that is when back <= excess.
        let isPadding = ~UInt64(bitPattern: Int64((excess &- back) >> 63))
        unsafe wrong |= UInt64(bytes[bytes.count - back]) & isPadding
      }
    }
    guard wrong == 0 else { throw notAuthentic() }
    return excess == 0
      ? padded
      : try inLockedMemory { () throws(SecretMemoryError) in
        try SecretBytes(copying: padded.bytes.extracting(first: length))
      }
  }

  // MARK: The wrapping function W and its inverse

  /// RFC 3394, section 2.2.1, in its index form; one AES block where there is one block of data (RFC 5649, section 4.1).
  private static func wrap(
    _ key: RawSpan, initialValue: UInt64, under aes: SymmetricKey
  ) throws(EnvelopeError) -> [UInt8] {
    let blocks = (key.byteCount + 7) / 8
    // The register A and a place for R[i] beside it, as the block function wants them, then R[1] to R[n].
    var work = try inLockedMemory { () throws(SecretMemoryError) in try SecretBytes(zeros: 16 + 8 * blocks) }
    return try unsafe work.withUnsafeMutableBytes { work throws(EnvelopeError) in
      let pair = unsafe UnsafeMutableRawBufferPointer(rebasing: work[..<16])
      let registers = unsafe UnsafeMutableRawBufferPointer(rebasing: work[16...])
      unsafe key.withUnsafeBytes { unsafe registers.copyMemory(from: $0) }
      unsafe pair.storeBytes(of: initialValue.bigEndian, as: UInt64.self)
      if blocks == 1 {
        unsafe pair.storeBytes(of: registers.load(as: UInt64.self), toByteOffset: 8, as: UInt64.self)
        try unsafe apply(AES.permute, to: pair, aes)
        return unsafe Array(pair)
      }
      for step in 0..<6 * blocks {
        let offset = 8 * (step % blocks)
        unsafe pair.storeBytes(
          of: registers.load(fromByteOffset: offset, as: UInt64.self), toByteOffset: 8, as: UInt64.self)
        try unsafe apply(AES.permute, to: pair, aes)
        unsafe registers.storeBytes(
          of: pair.load(fromByteOffset: 8, as: UInt64.self), toByteOffset: offset, as: UInt64.self)
        let register = unsafe pair.load(as: UInt64.self) ^ UInt64(step + 1).bigEndian
        unsafe pair.storeBytes(of: register, as: UInt64.self)
      }
      return unsafe Array(pair[..<8]) + Array(registers)
    }
  }

  /// RFC 3394, section 2.2.2: fills `key`, which has 8 bytes less than `wrapped`, with what is not yet checked.
  ///
  /// - Returns: the register A, to be held against the initial value.
  private static func unwrap(
    _ wrapped: [UInt8], into key: inout SecretBytes, under aes: SymmetricKey
  ) throws(EnvelopeError) -> UInt64 {
    let blocks = key.count / 8
    var pair = try inLockedMemory { () throws(SecretMemoryError) in try SecretBytes(zeros: 16) }
    return try unsafe pair.withUnsafeMutableBytes { pair throws(EnvelopeError) in
      try unsafe key.withUnsafeMutableBytes { registers throws(EnvelopeError) in
        unsafe pair.copyBytes(from: wrapped[..<8])
        unsafe registers.copyBytes(from: wrapped[8...])
        for step in (0..<(blocks == 1 ? 1 : 6 * blocks)).reversed() {
          let offset = 8 * (step % blocks)
          if blocks > 1 {
            let register = unsafe pair.load(as: UInt64.self) ^ UInt64(step + 1).bigEndian
            unsafe pair.storeBytes(of: register, as: UInt64.self)
          }
          unsafe pair.storeBytes(
            of: registers.load(fromByteOffset: offset, as: UInt64.self), toByteOffset: 8, as: UInt64.self)
          try unsafe apply(AES.inversePermute, to: pair, aes)
          unsafe registers.storeBytes(
            of: pair.load(fromByteOffset: 8, as: UInt64.self), toByteOffset: offset, as: UInt64.self)
        }
        return unsafe UInt64(bigEndian: pair.load(as: UInt64.self))
      }
    }
  }

  private typealias Block = UnsafeMutableBufferPointer<UInt8>

  private static func apply(
    _ permutation: (inout Block, SymmetricKey) throws -> Void, to pair: UnsafeMutableRawBufferPointer,
    _ aes: SymmetricKey
  ) throws(EnvelopeError) {
    var block = unsafe pair.assumingMemoryBound(to: UInt8.self)
    do { try unsafe permutation(&block, aes) } catch {
      throw EnvelopeError(.failed, "the library's AES refused a block: \(error)")
    }
  }

  private static func aes(_ key: RawSpan) throws(EnvelopeError) -> SymmetricKey {
    guard [16, 24, 32].contains(key.byteCount) else {
      throw EnvelopeError(.badLength, "a wrapping key has 16, 24 or 32 bytes, not \(key.byteCount)")
    }
    return unsafe key.withUnsafeBytes { unsafe SymmetricKey(data: $0) }
  }

  private static func room(for wrapped: [UInt8]) throws(EnvelopeError) -> SecretBytes {
    try inLockedMemory { () throws(SecretMemoryError) in try SecretBytes(zeros: wrapped.count - 8) }
  }

  private static func notAuthentic() -> EnvelopeError {
    EnvelopeError(.notAuthentic, "the wrapped key was changed, or another key wrapped it")
  }
}
