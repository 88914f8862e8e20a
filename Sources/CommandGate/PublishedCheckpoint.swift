import Synchronization

/// The newest public checkpoint.
public final class PublishedCheckpoint: Sendable {
  private let value = Mutex<String?>(nil)

  init() {}

  /// The signed note.
  public var note: String? { value.withLock { $0 } }

  func set(_ note: String) { value.withLock { $0 = note } }
}
