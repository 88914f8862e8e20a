import SecretMemory

/// The books of a ``DataKeyCache``: which key is in which slot. It is used under the cache's lock, and writes to a slot
/// only when nobody reads it.
struct DataKeySlots {
  struct Entry {
    let id: String
    let tag: String
    let bounds: DataKeyCache.Bounds
    let inserted: UInt64
    var uses: UInt64 = 0
    var bytes: UInt64 = 0
    /// When it was used last, in uses of the cache.
    var touched: UInt64
    var readers = 0
    /// It left the cache and waits for its readers.
    var isGone = false

    /// A clock read before `inserted` was by another thread finds the key new.
    func isExpired(_ now: UInt64) -> Bool { now >= inserted && now - inserted >= bounds.age }
  }

  private var entries: [Entry?]
  private var free: [Int]
  private var slots: [String: Int] = [:]
  private var moment: UInt64 = 0
  private(set) var counters = DataKeyCache.Counters()

  init(count: Int) {
    entries = Array(repeating: nil, count: count)
    free = Array((0..<count).reversed())
    counters.slots = count
  }

  /// A slot for a new key; nil when all are being read.
  mutating func place(wiping arena: borrowing SecretArena) -> Int? {
    if free.isEmpty {
      let idle = slots.values.filter { entries[$0]?.readers == 0 }
      guard let oldest = idle.min(by: { touched($0) < touched($1) }) else { return nil }
      drop(slot: oldest, .space, wiping: arena)
    }
    return free.popLast()
  }

  mutating func fill(_ slot: Int, id: String, tag: String, bounds: DataKeyCache.Bounds, now: UInt64) {
    entries[slot] = Entry(id: id, tag: tag, bounds: bounds, inserted: now, touched: tick())
    slots[id] = slot
    counters.held += 1
  }

  /// Counts a use and keeps the slot as it is until `unpin`.
  mutating func pin(_ id: String, now: UInt64, bytes: UInt64, wiping arena: borrowing SecretArena) -> Int? {
    guard let slot = slots[id], var entry = entries[slot] else {
      counters.misses += 1
      return nil
    }
    guard !entry.isExpired(now) else {
      counters.misses += 1
      drop(slot: slot, .age, wiping: arena)
      return nil
    }
    counters.hits += 1
    entry.uses += 1
    entry.bytes += min(bytes, .max - entry.bytes)
    entry.touched = tick()
    entry.readers += 1
    entries[slot] = entry
    if entry.uses >= entry.bounds.uses {
      drop(slot: slot, .uses, wiping: arena)
    } else if entry.bytes >= entry.bounds.bytes {
      drop(slot: slot, .bytes, wiping: arena)
    }
    return slot
  }

  mutating func unpin(_ slot: Int, wiping arena: borrowing SecretArena) {
    guard var entry = entries[slot] else { return }
    entry.readers -= 1
    entries[slot] = entry
    if entry.isGone { release(slot, wiping: arena) }
  }

  mutating func drop(_ id: String, _ reason: DataKeyCache.Eviction, wiping arena: borrowing SecretArena) {
    if let slot = slots[id] { drop(slot: slot, reason, wiping: arena) }
  }

  mutating func dropAll(
    _ reason: DataKeyCache.Eviction, wiping arena: borrowing SecretArena, where condition: (Entry) -> Bool
  ) {
    for slot in Array(slots.values) where entries[slot].map(condition) == true {
      drop(slot: slot, reason, wiping: arena)
    }
  }

  /// Nobody finds the key from here on.
  private mutating func drop(slot: Int, _ reason: DataKeyCache.Eviction, wiping arena: borrowing SecretArena) {
    guard let id = entries[slot]?.id else { return }
    slots[id] = nil
    entries[slot]?.isGone = true
    counters.held -= 1
    counters.evictions[reason, default: 0] += 1
    release(slot, wiping: arena)
  }

  private mutating func release(_ slot: Int, wiping arena: borrowing SecretArena) {
    guard entries[slot]?.readers == 0 else { return }
    arena.wipe(slot)
    entries[slot] = nil
    free.append(slot)
  }

  private func touched(_ slot: Int) -> UInt64 { entries[slot]?.touched ?? 0 }

  private mutating func tick() -> UInt64 {
    moment += 1
    return moment
  }
}
