import Crypto
import TestSupport
import Testing

@testable import WorkloadIdentity

@Suite("Entry index")
struct EntryIndexTests {
  private func digests(_ numbers: some Sequence<Int>) throws -> [SelectorDigest] {
    try numbers.map { SelectorDigest(try Selector("unix:uid:\($0)")) }
  }

  @Test("a digest is the half of a SHA-256, and rows keep it")
  func digest() throws {
    let selector = try Selector("unix:uid:1000")
    let hash = Array(SHA256.hash(data: Array("trustcore/selector/v1\0unix:uid:1000".utf8)))
    #expect(SelectorDigest.encode([SelectorDigest(selector)]) == Array(hash.prefix(16)))
    for count in [1, 2, 32] {
      let own = try digests(0..<count)
      #expect(SelectorDigest.decode(SelectorDigest.encode(own)) == own)
    }
    for count in [0, 15, 17, 33 * 16] { #expect(SelectorDigest.decode([UInt8](repeating: 1, count: count)) == nil) }
    // Canonical equivalents are different facts.
    #expect(SelectorDigest(try Selector("unix:user:\u{E9}")) != SelectorDigest(try Selector("unix:user:e\u{301}")))
  }

  @Test("matches are those of the definition, whatever is inserted, replaced and removed", arguments: 1...8)
  func property(_ seed: UInt64) throws {
    let random = SeededRandom(seed)
    // Few selectors and few ids, so that entries share, meet again and leave nothing behind.
    let all = try digests(0..<(seed % 2 == 0 ? 6 : 40))
    let ids = (0..<60).map { _ in EntryID(random: random) }
    func some(_ most: Int) -> [SelectorDigest] { (0..<1 + random.below(most)).map { _ in random.pick(all) } }
    var naive: [EntryID: Set<SelectorDigest>] = [:]
    var index = EntryIndex()
    if seed > 4 {
      let rows = ids.prefix(40).map { (id: $0, selectors: some(5)) } + [(id: ids[3], selectors: some(2))]
      for row in rows { naive[row.id] = Set(row.selectors) }
      index = EntryIndex(loading: rows)
    }
    for step in 0..<1500 {
      let id = random.pick(ids)
      if random.below(3) == 0 {
        index.remove(id)
        naive[id] = nil
      } else {
        let own = some(5)
        index.insert(id, selectors: own)
        naive[id] = Set(own)
      }
      guard step % 3 == 0 else { continue }
      let caller = Set(some(12))
      let expected = naive.filter { $0.value.isSubset(of: caller) }.keys.sorted()
      try #require(index.matches(caller) == expected, "step \(step)")
      try #require(index.count == naive.count)
    }
    for id in ids { index.remove(id) }
    #expect(index.count == 0 && index.matches(Set(all)).isEmpty)
  }

  @Test("an entry without selectors is nobody's")
  func empty() throws {
    var index = EntryIndex()
    let id = EntryID(random: SeededRandom(1))
    let caller = Set(try digests(0..<3))
    index.insert(id, selectors: [])
    #expect(index.count == 0 && index.matches(caller).isEmpty && index.matches([]).isEmpty)
    index.insert(id, selectors: try digests(0..<1))
    index.insert(id, selectors: [])
    #expect(index.count == 0)
    #expect(EntryIndex(loading: [(id: id, selectors: [])]).count == 0)
  }

  @Test("a selector that all entries share costs a look-up nothing", arguments: [false, true])
  func shared(_ isLoaded: Bool) throws {
    let random = SeededRandom(5)
    let root = try digests(0..<1)
    var rows: [(id: EntryID, selectors: [SelectorDigest])] = []
    for number in 1...4000 { rows.append((EntryID(random: random), root + (try digests([number])))) }
    var index = isLoaded ? EntryIndex(loading: rows) : EntryIndex()
    if !isLoaded { for row in rows { index.insert(row.id, selectors: row.selectors) } }
    let caller = Set(rows[77].selectors)
    #expect(index.matches(caller) == [rows[77].id])
    // The very first entries may hang under the shared selector, from before there was a rarer one.
    #expect(index.visits(caller) <= 2)
    #expect(index.matches(Set(root)).isEmpty)
  }

  @Test("where all entries have one set of selectors, all match")
  func identical() throws {
    let random = SeededRandom(6)
    let own = try digests(0..<2)
    let rows = (0..<2000).map { _ in (id: EntryID(random: random), selectors: own) }
    var index = EntryIndex(loading: rows)
    #expect(index.matches(Set(own)) == rows.map(\.id).sorted())
    for row in rows.dropFirst() { index.remove(row.id) }
    #expect(index.matches(Set(own)) == [rows[0].id])
  }
}
