import CSecureMemory
import Glibc

/// Places of one size for many small secrets, in one run of locked pages: left out of core dumps, zero in a forked
/// child, wiped when they are let go. One `SecretBytes` per key would cost a page and three system calls each.
///
/// The arena keeps no list of what is free and takes no lock: its owner sees to it that nobody reads a slot while it is
/// written or wiped.
@safe
public struct SecretArena: ~Copyable, @unchecked Sendable {
  /// The most bytes of an arena; the kernel's default allowance for locked memory is 8 MiB.
  public static let maximumByteCount = 1 << 20

  private let pages: UnsafeMutableRawPointer
  /// How many slots there are.
  public let slots: Int
  /// The bytes of each.
  public let slotByteCount: Int

  /// An arena of zero bytes.
  ///
  /// - Parameters:
  ///   - slots: at least 1.
  ///   - slotByteCount: at least 1; the product is at most ``maximumByteCount``.
  /// - Throws: ``SecretMemoryError/Code-swift.struct/badLength``, or
  ///   ``SecretMemoryError/Code-swift.struct/noLockedMemory``.
  public init(slots: Int, slotByteCount: Int) throws(SecretMemoryError) {
    let (length, overflow) = slots.multipliedReportingOverflow(by: slotByteCount)
    guard slots > 0, slotByteCount > 0, !overflow, length <= Self.maximumByteCount else {
      throw SecretMemoryError(.badLength, "an arena has 1 to \(Self.maximumByteCount) bytes in slots of 1 or more")
    }
    guard let pages = unsafe trustcore_secret_allocate(length) else {
      throw SecretMemoryError(
        .noLockedMemory, "no locked memory for \(length) bytes (errno \(errno)): raise RLIMIT_MEMLOCK")
    }
    unsafe self.pages = unsafe pages
    self.slots = slots
    self.slotByteCount = slotByteCount
  }

  deinit { unsafe trustcore_secret_free(pages, slots * slotByteCount) }

  /// Lends a slot's bytes.
  public borrowing func withBytes<R: ~Copyable, E: Error>(
    of slot: Int, _ body: (RawSpan) throws(E) -> R
  ) throws(E) -> R {
    try body(unsafe RawSpan(_unsafeStart: start(of: slot), byteCount: slotByteCount))
  }

  /// Copies a secret into a slot, whose remaining bytes become zero. The secret's owner still has to wipe it.
  ///
  /// - Parameter secret: at most ``slotByteCount`` bytes.
  public func write(_ secret: RawSpan, to slot: Int) {
    precondition(secret.byteCount <= slotByteCount, "the secret is longer than the slot")
    wipe(slot)
    unsafe secret.withUnsafeBytes { source in
      unsafe UnsafeMutableRawBufferPointer(start: start(of: slot), count: slotByteCount).copyMemory(from: source)
    }
  }

  /// Zeroes a slot.
  public func wipe(_ slot: Int) { unsafe trustcore_secret_wipe(start(of: slot), slotByteCount) }

  private func start(of slot: Int) -> UnsafeMutableRawPointer {
    precondition((0..<slots).contains(slot), "there is no such slot")
    return unsafe pages + slot * slotByteCount
  }
}

/// Zeroes memory in a way that the optimiser keeps: for the copies that a library leaves in ordinary memory.
public func wipe(_ bytes: UnsafeMutableRawBufferPointer) {
  guard let start = bytes.baseAddress else { return }
  unsafe trustcore_secret_wipe(start, bytes.count)
}
