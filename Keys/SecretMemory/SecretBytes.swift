import CSecureMemory
import Glibc

/// A secret in pages of its own: locked, left out of core dumps, zero in a forked child, wiped when its owner lets go.
/// It has one owner and is lent, never copied; whoever lends it to a library that copies knows so.
@safe
public struct SecretBytes: ~Copyable, @unchecked Sendable {
  /// The longest secret: keys, PINs and shares are far below; the kernel's default allowance for locked memory is 8 MiB.
  public static let maximumCount = 1 << 16

  private let pages: UnsafeMutableRawPointer
  private let capacity: Int
  /// How many bytes the secret has.
  public private(set) var count: Int

  /// `count` zero bytes, to be filled through ``withUnsafeMutableBytes(_:)``.
  ///
  /// - Parameter count: 1 to ``maximumCount`` bytes.
  /// - Throws: ``SecretMemoryError/Code-swift.struct/badLength``, or
  ///   ``SecretMemoryError/Code-swift.struct/noLockedMemory``.
  public init(zeros count: Int) throws(SecretMemoryError) {
    guard (1...Self.maximumCount).contains(count) else {
      throw SecretMemoryError(.badLength, "a secret has 1 to \(Self.maximumCount) bytes, not \(count)")
    }
    guard let pages = unsafe trustcore_secret_allocate(count) else {
      throw SecretMemoryError(
        .noLockedMemory, "no locked memory for \(count) bytes (errno \(errno)): raise RLIMIT_MEMLOCK")
    }
    unsafe self.pages = unsafe pages
    capacity = count
    self.count = count
  }

  /// Bytes from the kernel's generator (`getentropy`).
  ///
  /// - Parameter count: 1 to 256 bytes, the most that the kernel gives whole.
  /// - Throws: As ``init(zeros:)``.
  public static func random(count: Int) throws(SecretMemoryError) -> SecretBytes {
    guard count <= 256 else {
      throw SecretMemoryError(.badLength, "a random secret has at most 256 bytes, not \(count)")
    }
    let secret = try SecretBytes(zeros: count)
    guard unsafe getentropy(secret.pages, count) == 0 else {
      throw SecretMemoryError(.unreadable, "the kernel's generator failed (errno \(errno))")
    }
    return secret
  }

  /// A copy of `bytes`, whose owner still has to wipe them.
  ///
  /// - Throws: As ``init(zeros:)``.
  public init(copying bytes: RawSpan) throws(SecretMemoryError) {
    try self.init(zeros: bytes.byteCount)
    unsafe bytes.withUnsafeBytes { source in
      unsafe UnsafeMutableRawBufferPointer(start: pages, count: count).copyMemory(from: source)
    }
  }

  deinit { unsafe trustcore_secret_free(pages, capacity) }

  /// The bytes, lent for as long as the secret is borrowed.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    borrowing get {
      let span = unsafe RawSpan(_unsafeStart: pages, byteCount: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Lends the bytes to C.
  public borrowing func withUnsafeBytes<R: ~Copyable, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeRawBufferPointer(start: pages, count: count))
  }

  /// Lends the bytes to whoever fills them.
  public mutating func withUnsafeMutableBytes<R: ~Copyable, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeMutableRawBufferPointer(start: pages, count: count))
  }

  /// Forgets the last byte.
  mutating func dropLast() {
    count -= 1
    unsafe trustcore_secret_wipe(pages + count, 1)
  }

  /// The bytes as lower-case hexadecimal, in locked memory too.
  ///
  /// - Throws: As ``init(zeros:)``.
  public borrowing func hexadecimal() throws(SecretMemoryError) -> SecretBytes {
    var text = try SecretBytes(zeros: 2 * count)
    let digits: StaticString = "0123456789abcdef"
    unsafe text.withUnsafeMutableBytes { target in
      unsafe withUnsafeBytes { source in
        for index in source.indices {
          unsafe target[2 * index] = digits.utf8Start[Int(source[index] >> 4)]
          unsafe target[2 * index + 1] = digits.utf8Start[Int(source[index] & 15)]
        }
      }
    }
    return text
  }
}

extension SecretBytes {
  /// The bytes that hexadecimal digits of either case stand for, in locked memory too.
  ///
  /// - Throws: ``SecretMemoryError/Code-swift.struct/badLength`` for anything else, and as ``init(zeros:)``.
  public borrowing func decodedHexadecimal() throws(SecretMemoryError) -> SecretBytes {
    guard count.isMultiple(of: 2) else { throw SecretMemoryError(.badLength, "hexadecimal has two digits a byte") }
    var decoded = try SecretBytes(zeros: count / 2)
    let isWhole = unsafe decoded.withUnsafeMutableBytes { target in
      unsafe withUnsafeBytes { source in
        for index in source.indices {
          let digit: UInt8
          switch unsafe source[index] {
          case let byte where (0x30...0x39).contains(byte): digit = byte - 0x30
          case let byte where (0x41...0x46).contains(byte & 0xdf): digit = (byte & 0xdf) - 0x37
          default: return false
          }
          unsafe target[index / 2] = unsafe target[index / 2] << 4 | digit
        }
        return true
      }
    }
    guard isWhole else { throw SecretMemoryError(.badLength, "the text holds something else than hexadecimal digits") }
    return decoded
  }
}

/// Compares two secrets in a time that depends on their lengths alone.
///
/// - Returns: True when they have the same length and bytes.
public func constantTimeEqual(_ a: RawSpan, _ b: RawSpan) -> Bool {
  guard a.byteCount == b.byteCount else { return false }
  return unsafe a.withUnsafeBytes { x in
    unsafe b.withUnsafeBytes { y in
      guard let x = x.baseAddress, let y = y.baseAddress else { return true }
      return unsafe trustcore_secret_equal(x, y, a.byteCount)
    }
  }
}

/// Closes the process to debuggers of the same user and to core dumps: PR_SET_DUMPABLE 0, RLIMIT_CORE 0. To be called
/// before the first secret is read; it cannot be undone for the limit.
///
/// - Throws: ``SecretMemoryError/Code-swift.struct/notHardened``.
public func hardenProcess() throws(SecretMemoryError) {
  let reason = trustcore_harden_process()
  guard reason == 0 else {
    throw SecretMemoryError(.notHardened, "prctl or setrlimit refused (errno \(reason)): start without a debugger")
  }
}
