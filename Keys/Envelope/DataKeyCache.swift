import SecretMemory
import Synchronization

/// Data keys that the HSM unwrapped, in one run of locked pages, so that not every use costs an HSM operation. Each is
/// bounded by age, uses and bytes; together they are bounded by their number, and the one that was not used for longest
/// makes room. A key that reached a bound, or was removed, is wiped at once, or when its last reader is done.
///
/// It reads no clock: `now` is in milliseconds of a clock that never goes backwards.
public final class DataKeyCache: Sendable {
  /// The bytes of a data key.
  public static let keyByteCount = 32
  /// How many keys a cache may hold: at most 128 KiB of locked memory.
  public static let slotCounts = 1...4096
  /// The bytes that a key's identifier, or a tag, may have in UTF-8.
  public static let nameByteCounts = 1...128

  /// How long a key stays; reaching any of them ends it.
  public struct Bounds: Hashable, Sendable {
    /// The age in milliseconds at which a key is too old.
    public let age: UInt64
    /// The number of uses.
    public let uses: UInt64
    /// The bytes that the uses came to.
    public let bytes: UInt64
    /// Makes bounds; a bound of 0 keeps no key.
    public init(age: UInt64, uses: UInt64, bytes: UInt64) {
      self.age = age
      self.uses = uses
      self.bytes = bytes
    }
  }

  /// Why a key left the cache.
  public enum Eviction: String, CaseIterable, Sendable {
    /// It reached its age.
    case age
    /// It reached its number of uses.
    case uses
    /// It reached its number of bytes.
    case bytes
    /// Another key needed the place.
    case space
    /// A key of the same identifier came.
    case replaced
    /// It was removed on command.
    case removed
  }

  /// What a status page shows.
  public struct Counters: Hashable, Sendable {
    /// Keys held.
    public internal(set) var held = 0
    /// Places for keys.
    public internal(set) var slots = 0
    /// Uses that found their key.
    public internal(set) var hits: UInt64 = 0
    /// Uses that did not.
    public internal(set) var misses: UInt64 = 0
    /// Keys that left, by reason.
    public internal(set) var evictions: [Eviction: UInt64] = [:]
  }

  private let arena: SecretArena
  private let state: Mutex<DataKeySlots>

  /// An empty cache.
  ///
  /// - Parameter slots: how many keys it may hold, of ``slotCounts``.
  /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``, or
  ///   ``EnvelopeError/Code-swift.struct/noLockedMemory``.
  public init(slots: Int) throws(EnvelopeError) {
    guard Self.slotCounts.contains(slots) else {
      throw EnvelopeError(.badLength, "a cache has 1 to \(Self.slotCounts.upperBound) places, not \(slots)")
    }
    arena = try inLockedMemory { () throws(SecretMemoryError) in
      try SecretArena(slots: slots, slotByteCount: Self.keyByteCount)
    }
    state = Mutex(DataKeySlots(count: slots))
  }

  /// Keeps a copy of a key, in place of one with the same identifier.
  ///
  /// - Parameters:
  ///   - key: 32 bytes, whose owner still has to wipe them.
  ///   - id: the data key's identifier.
  ///   - tag: what the key goes away with: the identifier of its key-encryption key.
  ///   - bounds: how long it stays.
  ///   - now: milliseconds.
  /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``; ``EnvelopeError/Code-swift.struct/cacheFull`` when every
  ///   place is being read, which is no reason not to use the key once.
  public func insert(
    _ key: RawSpan, id: String, tag: String, bounds: Bounds, now: UInt64
  ) throws(EnvelopeError) {
    guard key.byteCount == Self.keyByteCount else {
      throw EnvelopeError(.badLength, "a data key has \(Self.keyByteCount) bytes, not \(key.byteCount)")
    }
    guard Self.nameByteCounts.contains(id.utf8.count), Self.nameByteCounts.contains(tag.utf8.count) else {
      throw EnvelopeError(.badLength, "identifier and tag have 1 to \(Self.nameByteCounts.upperBound) bytes")
    }
    try state.withLock { state throws(EnvelopeError) in
      state.drop(id, .replaced, wiping: arena)
      guard bounds.age > 0, bounds.uses > 0, bounds.bytes > 0 else { return }
      guard let slot = state.place(wiping: arena) else {
        throw EnvelopeError(
          .cacheFull, "all \(arena.slots) places of the data key cache are being read: raise their number")
      }
      arena.write(key, to: slot)
      state.fill(slot, id: id, tag: tag, bounds: bounds, now: now)
    }
  }

  /// Lends a key, outside the cache's lock. The use counts even when `body` throws.
  ///
  /// - Parameters:
  ///   - id: the data key's identifier.
  ///   - now: milliseconds.
  ///   - bytes: how many bytes the key is used for.
  ///   - body: is given the 32 bytes.
  /// - Returns: nil when the key is not there, or too old.
  public func with<R: ~Copyable, E: Error>(
    _ id: String, now: UInt64, bytes: UInt64 = 0, _ body: (RawSpan) throws(E) -> R
  ) throws(E) -> R? {
    guard let slot = state.withLock({ $0.pin(id, now: now, bytes: bytes, wiping: arena) }) else { return nil }
    defer { state.withLock { $0.unpin(slot, wiping: arena) } }
    return try arena.withBytes(of: slot, body)
  }

  /// Removes a key.
  public func remove(_ id: String) { state.withLock { $0.drop(id, .removed, wiping: arena) } }

  /// Removes every key with a tag: what a key-encryption key's end means.
  public func remove(where tag: String) {
    state.withLock { $0.dropAll(.removed, wiping: arena) { $0.tag == tag } }
  }

  /// Removes every key.
  public func removeAll() { state.withLock { $0.dropAll(.removed, wiping: arena) { _ in true } } }

  /// Removes the keys that are too old, which otherwise stay until they are asked for or their place is needed.
  public func removeExpired(now: UInt64) {
    state.withLock { $0.dropAll(.age, wiping: arena) { $0.isExpired(now) } }
  }

  /// What happened so far.
  public var counters: Counters { state.withLock { $0.counters } }

  /// Lends the bytes of a place, for tests that look at what was left.
  func withSlot<R>(_ slot: Int, _ body: (RawSpan) -> R) -> R { arena.withBytes(of: slot, body) }
}
