import Foundation
public import Wire

/// The system's clock, for programs that drive a real daemon.
public struct WallClock: TimeSource {
  /// Reads the clock on demand.
  public init() {}

  /// The present moment.
  public func now() -> Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
}

/// The kernel's generator, for programs that drive a real daemon.
public struct KernelRandom: RandomSource {
  /// Draws on demand.
  public init() {}

  /// Cryptographically strong bytes.
  public func bytes(_ count: Int) -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
  }
}
