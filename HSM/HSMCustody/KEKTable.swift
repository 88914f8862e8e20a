import KeyHierarchy
import PKCS11

/// The key-encryption keys that a token holds as session objects: at most so many, the one unused for longest goes first
/// and never one in use. The caller makes and destroys the objects; this says which, and who waits.
struct KEKTable {
  /// What whoever wants a key does.
  enum Answer: Equatable {
    /// Uses it, and gives it back with ``release(_:)``.
    case use(ObjectHandle)
    /// Loads it: destroys `evicting` first, then calls ``loaded(_:_:)`` (which counts as its first use) or
    /// ``failed(_:)``.
    case load(evicting: ObjectHandle?)
    /// Asks again when something has changed.
    case wait
  }

  private struct Entry {
    /// Nil while it is being loaded.
    var handle: ObjectHandle?
    var users = 0
    var lastUse: UInt64 = 0
    /// To be destroyed once nobody uses it.
    var isDoomed = false
  }

  private let limit: Int
  private var entries: [WrappedKey: Entry] = [:]
  private var uses: UInt64 = 0

  /// An empty table.
  init(limit: Int) { self.limit = max(1, limit) }

  /// How many keys are loaded or being loaded.
  var count: Int { entries.count }

  /// True while the key is loaded or being loaded.
  func contains(_ key: WrappedKey) -> Bool { entries[key] != nil }

  /// Asks for a key.
  mutating func acquire(_ key: WrappedKey) -> Answer {
    if let entry = entries[key] {
      guard let handle = entry.handle, !entry.isDoomed else { return .wait }
      uses += 1
      entries[key]?.users += 1
      entries[key]?.lastUse = uses
      return .use(handle)
    }
    var evicted: ObjectHandle?
    if entries.count >= limit {
      guard let oldest = unused.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return .wait }
      evicted = oldest.value.handle
      entries[oldest.key] = nil
    }
    entries[key] = Entry()
    return .load(evicting: evicted)
  }

  /// The key is there, and in use by whoever loaded it.
  mutating func loaded(_ key: WrappedKey, _ handle: ObjectHandle) {
    uses += 1
    let isDoomed = entries[key]?.isDoomed ?? false
    entries[key] = Entry(handle: handle, users: 1, lastUse: uses, isDoomed: isDoomed)
  }

  /// The key could not be loaded.
  mutating func failed(_ key: WrappedKey) { entries[key] = nil }

  /// One user less.
  mutating func release(_ key: WrappedKey) { entries[key]?.users -= 1 }

  /// Takes a key out for good: gives its object once nobody uses it, and lets nobody use it meanwhile.
  ///
  /// - Returns: Nil when the key is not there; ``Answer/wait`` while it is in use; ``Answer/use(_:)`` with the object,
  ///   which the caller destroys, once it is out.
  mutating func remove(_ key: WrappedKey) -> Answer? {
    guard let entry = entries[key] else { return nil }
    guard let handle = entry.handle, entry.users == 0 else {
      entries[key]?.isDoomed = true
      return .wait
    }
    entries[key] = nil
    return .use(handle)
  }

  /// Takes out what nobody uses, for a token that has no room left.
  ///
  /// - Returns: The objects, which the caller destroys.
  mutating func removeUnused() -> [ObjectHandle] {
    let idle = unused
    for key in idle.keys { entries[key] = nil }
    return idle.values.compactMap(\.handle)
  }

  /// Forgets everything: the objects went with their session.
  mutating func removeAll() { entries = [:] }

  private var unused: [WrappedKey: Entry] { entries.filter { $0.value.users == 0 && $0.value.handle != nil } }
}
