package import CommandGate
import Synchronization

/// A storage whose writes fail when they are told to.
package final class FaultyStore<Base: UnitStore>: UnitStore {
  package typealias Unit = Base.Unit

  /// How a write fails.
  package enum Fault: Sendable {
    /// Nothing is written.
    case refused
    /// Everything is written, and an error is reported all the same.
    case reportedFalsely
  }

  /// The error of a write that failed.
  package struct Failure: Error {}

  /// The storage underneath.
  package let base: Base
  private let faults = Mutex<[Fault]>([])

  /// Wraps a storage.
  package init(_ base: Base) { self.base = base }

  /// The next writes fail like this, in turn.
  package func fail(_ faults: [Fault]) { self.faults.withLock { $0 += faults } }

  /// How many faults have not happened yet.
  package var remainingFaults: Int { faults.withLock { $0.count } }

  package func write<Result: Sendable>(
    _ body: @Sendable @escaping (inout Base.Unit) throws -> Result
  ) async throws -> Result {
    switch faults.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
    case .refused: throw Failure()
    case .reportedFalsely:
      _ = try await base.write(body)
      throw Failure()
    case nil: return try await base.write(body)
    }
  }

  package func read<Result: Sendable>(
    _ body: @Sendable @escaping (inout Base.Unit) throws -> Result
  ) async throws -> Result { try await base.read(body) }
}
