import Dispatch
import Glibc
import SecretMemory
import TestSupport
import Testing

@testable import Envelope

@Suite("Data key cache")
struct DataKeyCacheTests {
  private let wide = DataKeyCache.Bounds(age: 1000, uses: 1000, bytes: 1000)

  private func insert(
    _ cache: DataKeyCache, _ id: String, _ byte: UInt8 = 7, tag: String = "kek", bounds: DataKeyCache.Bounds? = nil,
    now: UInt64 = 0
  ) throws {
    let key = [UInt8](repeating: byte, count: 32)
    try cache.insert(unsafe key.span.bytes, id: id, tag: tag, bounds: bounds ?? wide, now: now)
  }

  private func use(_ cache: DataKeyCache, _ id: String, now: UInt64 = 0, bytes: UInt64 = 0) -> [UInt8]? {
    cache.with(id, now: now, bytes: bytes) { array($0) }
  }

  private func isZero(_ cache: DataKeyCache, _ slot: Int) -> Bool {
    cache.withSlot(slot) { array($0) } == [UInt8](repeating: 0, count: 32)
  }

  @Test("A key is found by its identifier") func lookUp() throws {
    let cache = try DataKeyCache(slots: 4)
    try insert(cache, "a", 1)
    try insert(cache, "b", 2)
    #expect(use(cache, "a") == [UInt8](repeating: 1, count: 32))
    #expect(use(cache, "b") == [UInt8](repeating: 2, count: 32))
    #expect(use(cache, "c") == nil)
    let counters = cache.counters
    #expect(counters.held == 2 && counters.slots == 4 && counters.hits == 2 && counters.misses == 1)
    #expect(counters.evictions.isEmpty)
  }

  @Test("Age, both sides") func age() throws {
    let cache = try DataKeyCache(slots: 1)
    try insert(cache, "a", bounds: .init(age: 100, uses: 9, bytes: 9), now: 50)
    #expect(use(cache, "a", now: 49) != nil, "a clock read before")
    #expect(use(cache, "a", now: 149) != nil)
    #expect(use(cache, "a", now: 150) == nil)
    #expect(isZero(cache, 0))
    #expect(cache.counters.evictions == [.age: 1] && cache.counters.held == 0)
  }

  @Test("Uses, both sides") func uses() throws {
    let cache = try DataKeyCache(slots: 1)
    try insert(cache, "a", bounds: .init(age: 100, uses: 2, bytes: 9))
    #expect(use(cache, "a") != nil)
    #expect(!isZero(cache, 0))
    #expect(use(cache, "a") != nil)
    #expect(isZero(cache, 0))
    #expect(use(cache, "a") == nil)
    #expect(cache.counters.evictions == [.uses: 1])
  }

  @Test("Bytes, both sides, without overflow") func bytes() throws {
    let cache = try DataKeyCache(slots: 1)
    let bounds = DataKeyCache.Bounds(age: 100, uses: 9, bytes: 10)
    try insert(cache, "a", bounds: bounds)
    #expect(use(cache, "a", bytes: 9) != nil)
    #expect(!isZero(cache, 0))
    #expect(use(cache, "a", bytes: 1) != nil)
    #expect(isZero(cache, 0))
    #expect(use(cache, "a") == nil)
    try insert(cache, "a", bounds: .init(age: 100, uses: 9, bytes: .max))
    #expect(use(cache, "a", bytes: 9) != nil)
    #expect(use(cache, "a", bytes: .max) != nil)
    #expect(use(cache, "a") == nil)
    #expect(cache.counters.evictions == [.bytes: 2])
  }

  @Test("A bound of 0 keeps nothing") func zeroBounds() throws {
    let cache = try DataKeyCache(slots: 1)
    for bounds in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] as [(UInt64, UInt64, UInt64)] {
      try insert(cache, "a", bounds: .init(age: bounds.0, uses: bounds.1, bytes: bounds.2))
      #expect(use(cache, "a") == nil)
      #expect(isZero(cache, 0))
    }
  }

  @Test("The key that was not used for longest makes room") func space() throws {
    let cache = try DataKeyCache(slots: 3)
    for id in ["a", "b", "c"] { try insert(cache, id) }
    _ = use(cache, "a")
    try insert(cache, "d")
    #expect(use(cache, "b") == nil)
    _ = use(cache, "c")
    try insert(cache, "e")
    #expect(use(cache, "a") == nil)
    #expect(["c", "d", "e"].allSatisfy { use(cache, $0) != nil })
    #expect(cache.counters.held == 3 && cache.counters.evictions == [.space: 2])
  }

  @Test("A key of the same identifier replaces") func replacement() throws {
    let cache = try DataKeyCache(slots: 2)
    try insert(cache, "a", 1)
    try insert(cache, "a", 2)
    #expect(use(cache, "a") == [UInt8](repeating: 2, count: 32))
    #expect(cache.counters.held == 1 && cache.counters.evictions == [.replaced: 1])
  }

  @Test("Removal: one, those of a key-encryption key, the expired, all") func removal() throws {
    let cache = try DataKeyCache(slots: 8)
    for id in ["a", "b", "c"] { try insert(cache, id, tag: "kek_1") }
    for id in ["d", "e"] { try insert(cache, id, tag: "kek_2", now: 500) }
    cache.remove("a")
    cache.remove("absent")
    #expect(use(cache, "a") == nil && cache.counters.held == 4)
    cache.remove(where: "kek_2")
    #expect(use(cache, "d", now: 500) == nil && use(cache, "e", now: 500) == nil && use(cache, "b") != nil)
    try insert(cache, "f", now: 1)
    cache.removeExpired(now: 1000)
    #expect(use(cache, "b") == nil && use(cache, "f") != nil)
    cache.removeAll()
    #expect(cache.counters.held == 0 && cache.counters.evictions == [.removed: 4, .age: 2])
    #expect((0..<8).allSatisfy { isZero(cache, $0) })
  }

  @Test("What is removed while it is read is gone at once and wiped when the reader is done") func readers() throws {
    let cache = try DataKeyCache(slots: 1)
    try insert(cache, "a", 1)
    let inside: [UInt8]?? = cache.with("a", now: 0) { key in
      cache.removeAll()
      #expect(use(cache, "a") == nil)
      // Its place is not given away meanwhile.
      #expect(throws: EnvelopeError(.cacheFull, "")) { try insert(cache, "b", 2) }
      return array(key)
    }
    #expect(inside == [UInt8](repeating: 1, count: 32))
    #expect(isZero(cache, 0))
    try insert(cache, "b", 2)
    #expect(use(cache, "b") == [UInt8](repeating: 2, count: 32))
  }

  @Test("A key that is being read is not the one that makes room, and a reader that throws is done") func pinned()
    throws
  {
    struct Stop: Error {}
    let cache = try DataKeyCache(slots: 2)
    try insert(cache, "a", 1)
    try insert(cache, "b", 2)
    #expect(throws: Stop.self) {
      _ = try cache.with("a", now: 0) { key in
        _ = use(cache, "b")
        try insert(cache, "c", 3)
        #expect(array(key) == [UInt8](repeating: 1, count: 32))
        throw Stop()
      }
    }
    #expect(use(cache, "b") == nil && use(cache, "a") != nil && use(cache, "c") != nil)
    cache.removeAll()
    #expect(isZero(cache, 0) && isZero(cache, 1))
  }

  @Test("Limits") func limits() throws {
    for slots in [0, -1, 4097] {
      #expect(throws: EnvelopeError(.badLength, "")) { _ = try DataKeyCache(slots: slots) }
    }
    let cache = try DataKeyCache(slots: 4096)
    #expect(cache.counters.slots == 4096)
    for count in [0, 31, 33] {
      let key = [UInt8](repeating: 1, count: count)
      #expect(throws: EnvelopeError(.badLength, "")) {
        try cache.insert(unsafe key.span.bytes, id: "a", tag: "t", bounds: wide, now: 0)
      }
    }
    let most = String(repeating: "x", count: 128)
    try insert(cache, most, tag: most)
    for (id, tag) in [("", "t"), ("a", ""), (most + "x", "t"), ("a", most + "x")] {
      #expect(throws: EnvelopeError(.badLength, "")) { try insert(cache, id, tag: tag) }
    }
    #expect(cache.counters.held == 1)
  }

  @Test("Threads find the right key or none") func threads() throws {
    let cache = try DataKeyCache(slots: 8)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      let random = SeededRandom(UInt64(thread))
      for _ in 0..<4000 {
        let number = random.below(16)
        let found = cache.with("\(number)", now: 0) { array($0) }
        if let found { #expect(found == [UInt8](repeating: UInt8(number), count: 32)) }
        switch random.below(40) {
        case 0: cache.removeAll()
        case 1: cache.remove(where: "\(number % 2)")
        default: try? insert(cache, "\(number)", UInt8(number), tag: "\(number % 2)")
        }
      }
    }
    cache.removeAll()
    #expect((0..<8).allSatisfy { isZero(cache, $0) })
    #expect(cache.counters.held == 0)
  }

  @Test("Pages are locked, left out of dumps, and zero in a forked child") func fork() async {
    // In a process of its own, which may fork. Swift does not import fork: the child only looks and leaves.
    await #expect(processExitsWith: .success) {
      let arena = try SecretArena(slots: 1, slotByteCount: 32)
      let bytes = [UInt8](repeating: 7, count: 32)
      arena.write(unsafe bytes.span.bytes, to: 0)
      let address = arena.withBytes(of: 0) { unsafe $0.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } }
      guard let flags = smapsFlags(of: address), flags.isSuperset(of: ["lo", "dd", "wf"]) else { exit(1) }
      typealias Fork = @convention(c) () -> Int32
      guard let symbol = unsafe dlsym(nil, "fork") else { exit(2) }
      let child = unsafe unsafeBitCast(symbol, to: Fork.self)()
      guard child != 0 else {
        _exit(arena.withBytes(of: 0) { unsafe $0.withUnsafeBytes { unsafe $0.allSatisfy { $0 == 0 } } } ? 0 : 1)
      }
      var status: Int32 = -1
      guard child > 0, unsafe waitpid(child, &status, 0) == child, status == 0 else { exit(3) }
      guard arena.withBytes(of: 0, { array($0) }) == bytes else { exit(4) }
      exit(0)
    }
  }

  @Test("An arena's sizes") func arena() throws {
    for (slots, size) in [(0, 1), (1, 0), (-1, -1), (SecretArena.maximumByteCount + 1, 1), (.max, 2)] {
      #expect(throws: SecretMemoryError(.badLength, "")) { _ = try SecretArena(slots: slots, slotByteCount: size) }
    }
    let arena = try SecretArena(slots: SecretArena.maximumByteCount / 32, slotByteCount: 32)
    let last = arena.slots - 1
    let bytes: [UInt8] = [1, 2, 3]
    arena.write(unsafe [UInt8](repeating: 9, count: 32).span.bytes, to: last)
    arena.write(unsafe bytes.span.bytes, to: last)
    #expect(arena.withBytes(of: last) { array($0) } == bytes + [UInt8](repeating: 0, count: 29))
    #expect(arena.withBytes(of: last - 1) { array($0) } == [UInt8](repeating: 0, count: 32))
    arena.wipe(last)
    #expect(arena.withBytes(of: last) { array($0) } == [UInt8](repeating: 0, count: 32))
  }
}

/// The flags that the kernel keeps for the mapping that holds an address (proc(5), smaps).
private func smapsFlags(of address: UInt) -> Set<Substring>? {
  guard let file = unsafe fopen("/proc/self/smaps", "r") else { return nil }
  defer { unsafe fclose(file) }
  var line = [CChar](repeating: 0, count: 4096)
  var inside = false
  while let read = unsafe fgets(&line, Int32(line.count), file) {
    let text = unsafe String(cString: read)
    if text.hasPrefix("VmFlags:") {
      if inside { return Set(text.dropFirst(8).split(whereSeparator: { $0 == " " || $0 == "\n" })) }
    } else if let dash = text.firstIndex(of: "-"), let start = UInt(text[..<dash], radix: 16),
      let space = text.firstIndex(of: " "), let end = UInt(text[text.index(after: dash)..<space], radix: 16)
    {
      inside = (start..<end).contains(address)
    }
  }
  return nil
}
