import Synchronization
package import Wire

/// A clock that moves when it is told to.
package final class ManualClock: TimeSource {
  private let moment: Mutex<Timestamp>

  /// A clock that stands at a moment.
  package init(_ moment: Timestamp = Timestamp(seconds: 1_800_000_000)) { self.moment = Mutex(moment) }

  package func now() -> Timestamp { moment.withLock { $0 } }

  /// Moves the clock.
  package func advance(seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }
}

/// Bytes from a seed (SplitMix64): the same in every run.
package final class SeededRandom: RandomSource {
  private let state: Mutex<UInt64>

  /// A generator that starts from a seed.
  package init(_ seed: UInt64) { state = Mutex(seed) }

  /// The next 64 bits.
  package func next() -> UInt64 {
    state.withLock { state in
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  package func bytes(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let word = next()
      for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
    }
    return Array(bytes.prefix(count))
  }

  /// A number below `bound`, which is positive.
  package func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  /// An element of a collection that is not empty.
  package func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}
