import Foundation
import Glibc
public import Wire

/// The system's clock: the one place where the product reads it.
public struct SystemClock: TimeSource {
  /// Reads the clock on demand.
  public init() {}

  /// The present moment.
  public func now() -> Timestamp {
    var value = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &value)
    return Timestamp(milliseconds: Int64(value.tv_sec) * 1000 + Int64(value.tv_nsec) / 1_000_000)
  }
}

/// The kernel's generator.
public struct SystemRandom: RandomSource {
  /// Draws on demand.
  public init() {}

  /// Cryptographically strong bytes.
  public func bytes(_ count: Int) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      // getentropy gives at most 256 bytes at a time, and fails for nothing else.
      while initialized < count {
        let part = min(256, count - initialized)
        let code = unsafe getentropy(buffer.baseAddress.map { unsafe $0 + initialized }, part)
        precondition(code == 0, "the kernel gives no random bytes")
        initialized += part
      }
    }
  }
}
