import Synchronization

/// The newest public checkpoint.
public final class PublishedCheckpoint: Sendable {
  private struct State {
    var note: String?
    var size: UInt64 = 0
    var isClosed = false
    var waiting: [(leaf: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = Mutex(State())

  init() {}

  /// The signed note.
  public var note: String? { state.withLock { $0.note } }

  /// How many leaves it covers.
  public var size: UInt64 { state.withLock { $0.size } }

  func set(_ note: String, size: UInt64) {
    let covered = state.withLock { state in
      (state.note, state.size) = (note, size)
      defer { state.waiting.removeAll { $0.leaf < size } }
      return state.waiting.filter { $0.leaf < size }
    }
    for waiter in covered { waiter.continuation.resume() }
  }

  /// No further checkpoint will come.
  func close() {
    let left = state.withLock { state in
      state.isClosed = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for waiter in left { waiter.continuation.resume() }
  }

  /// The first note that covers a leaf; nil where none will.
  func note(covering leaf: UInt64) async -> String? {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        if leaf < state.size || state.isClosed { return true }
        state.waiting.append((leaf, continuation))
        return false
      }
      if isOver { continuation.resume() }
    }
    return state.withLock { leaf < $0.size ? $0.note : nil }
  }
}
