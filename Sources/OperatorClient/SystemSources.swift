import Glibc
public import Wire

/// The system's clock.
public struct SystemClock: TimeSource {
  /// Reads the clock on demand.
  public init() {}
  /// The present moment.
  public func now() -> Timestamp {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }
}

/// The kernel's generator.
public struct SystemRandom: RandomSource {
  /// Draws on demand.
  public init() {}
  /// Cryptographically strong bytes.
  public func bytes(_ count: Int) -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
  }
}
