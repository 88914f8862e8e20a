/// Finds the entries whose selectors a workload has, among hundreds of thousands, in microseconds.
///
/// Each entry hangs under the one of its selectors that the fewest entries had when it was inserted, so a selector that
/// all share (`unix:uid:0`) costs nothing as long as each has a rarer one. A look-up visits the entries that hang under
/// the caller's selectors. Where all entries have one and the same set of selectors it visits all, and has to: they all
/// match. Selectors are numbered and the numbers kept in one array: an entry costs about 80 bytes and no allocation.
/// A copy shares its memory until one of the two is changed, which then copies everything.
public struct EntryIndex: Sendable {
  private struct Slot {
    var id: EntryID
    /// Where the entry's selector numbers, ascending, stand in `pool`.
    var offset: UInt32
    var count: UInt32
    /// The selector that it hangs under, and its neighbours there.
    var home = none
    var next = none
    var previous = none
  }

  private struct Held {
    let digest: SelectorDigest
    /// How many entries have the selector.
    var uses: UInt32 = 0
    /// The first entry that hangs here.
    var head = none
  }

  private static let none = UInt32.max

  private var places: [EntryID: UInt32] = [:]
  private var slots: [Slot] = []
  private var freeSlots: [UInt32] = []
  private var numbers: [SelectorDigest: UInt32] = [:]
  private var selectors: [Held] = []
  private var freeNumbers: [UInt32] = []
  private var pool: [UInt32] = []
  /// Room that removed entries left in `pool`, by length.
  private var room: [[UInt32]] = []

  /// An index of no entries.
  public init() {}

  /// Loads entries; of an id that occurs twice the last counts. All are counted first, so each hangs under its rarest.
  public init(loading entries: some Sequence<(id: EntryID, selectors: [SelectorDigest])>) {
    let expected = entries.underestimatedCount
    places.reserveCapacity(expected)
    slots.reserveCapacity(expected)
    numbers.reserveCapacity(expected)
    for entry in entries {
      remove(entry.id)
      _ = add(entry.id, entry.selectors)
    }
    for slot in slots.indices where slots[slot].count > 0 { hang(slot) }
  }

  /// How many entries there are.
  public var count: Int { places.count }

  /// Adds an entry, or replaces the one of that id. An entry without selectors would be everybody's: it is nobody's, and
  /// is not kept.
  public mutating func insert(_ id: EntryID, selectors: [SelectorDigest]) {
    remove(id)
    if let slot = add(id, selectors) { hang(slot) }
  }

  /// Takes an entry away; one that is not there is no error.
  public mutating func remove(_ id: EntryID) {
    guard let place = places.removeValue(forKey: id) else { return }
    let slot = slots[Int(place)]
    unhang(slot)
    for index in slot.offset..<slot.offset + slot.count { release(pool[Int(index)]) }
    while room.count <= Int(slot.count) { room.append([]) }
    room[Int(slot.count)].append(slot.offset)
    slots[Int(place)].count = 0
    slots[Int(place)].home = Self.none
    freeSlots.append(place)
  }

  /// The entries all of whose selectors the caller has, sorted by id.
  public func matches(_ caller: Set<SelectorDigest>) -> [EntryID] {
    let held = caller.compactMap { numbers[$0] }.sorted()
    var found: [EntryID] = []
    visit(held) { if isSubset($0, of: held) { found.append($0.id) } }
    return found.sorted()
  }

  /// How many entries a look-up visits: those that hang under one of the caller's selectors.
  func visits(_ caller: Set<SelectorDigest>) -> Int {
    var count = 0
    visit(caller.compactMap { numbers[$0] }) { _ in count += 1 }
    return count
  }

  private func visit(_ held: [UInt32], _ body: (Slot) -> Void) {
    for number in held {
      var place = selectors[Int(number)].head
      while place != Self.none {
        let slot = slots[Int(place)]
        body(slot)
        place = slot.next
      }
    }
  }

  private func isSubset(_ slot: Slot, of held: [UInt32]) -> Bool {
    var from = 0
    for index in slot.offset..<slot.offset + slot.count {
      let number = pool[Int(index)]
      // Both ascend, so the search goes on where it stopped.
      var to = held.count
      while from < to {
        let middle = (from + to) / 2
        if held[middle] < number { from = middle + 1 } else { to = middle }
      }
      guard from < held.count, held[from] == number else { return false }
    }
    return true
  }

  /// Keeps an entry that hangs nowhere yet.
  private mutating func add(_ id: EntryID, _ digests: [SelectorDigest]) -> Int? {
    guard !digests.isEmpty else { return nil }
    var own = digests.map { number(of: $0) }
    own.sort()
    if own.count > 1 {
      for index in stride(from: own.count - 1, to: 0, by: -1) where own[index] == own[index - 1] {
        own.remove(at: index)
      }
    }
    for number in own { selectors[Int(number)].uses += 1 }
    let offset: UInt32
    if own.count < room.count, let spare = room[own.count].popLast() {
      offset = spare
      pool.replaceSubrange(Int(spare)..<Int(spare) + own.count, with: own)
    } else {
      offset = UInt32(pool.count)
      pool.append(contentsOf: own)
    }
    let slot = Slot(id: id, offset: offset, count: UInt32(own.count))
    if let free = freeSlots.popLast() {
      slots[Int(free)] = slot
      places[id] = free
      return Int(free)
    }
    slots.append(slot)
    places[id] = UInt32(slots.count - 1)
    return slots.count - 1
  }

  private mutating func number(of digest: SelectorDigest) -> UInt32 {
    if let number = numbers[digest] { return number }
    let number: UInt32
    if let free = freeNumbers.popLast() {
      number = free
      selectors[Int(free)] = Held(digest: digest)
    } else {
      number = UInt32(selectors.count)
      selectors.append(Held(digest: digest))
    }
    numbers[digest] = number
    return number
  }

  private mutating func release(_ number: UInt32) {
    selectors[Int(number)].uses -= 1
    guard selectors[Int(number)].uses == 0 else { return }
    numbers[selectors[Int(number)].digest] = nil
    freeNumbers.append(number)
  }

  private mutating func hang(_ slot: Int) {
    var rarest = pool[Int(slots[slot].offset)]
    for index in slots[slot].offset..<slots[slot].offset + slots[slot].count {
      let number = pool[Int(index)]
      if selectors[Int(number)].uses < selectors[Int(rarest)].uses { rarest = number }
    }
    let next = selectors[Int(rarest)].head
    slots[slot].home = rarest
    slots[slot].next = next
    slots[slot].previous = Self.none
    if next != Self.none { slots[Int(next)].previous = UInt32(slot) }
    selectors[Int(rarest)].head = UInt32(slot)
  }

  private mutating func unhang(_ slot: Slot) {
    guard slot.home != Self.none else { return }
    if slot.next != Self.none { slots[Int(slot.next)].previous = slot.previous }
    if slot.previous != Self.none {
      slots[Int(slot.previous)].next = slot.next
    } else {
      selectors[Int(slot.home)].head = slot.next
    }
  }
}
