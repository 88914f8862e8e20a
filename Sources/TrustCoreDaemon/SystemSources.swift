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
    var generator = SystemRandomNumberGenerator()
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
      let word = generator.next()
      for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
  }
}
