import Testing
import Wire

@testable import AgentIdentity

@Suite("ReplayCache")
struct ReplayCacheTests {
  private func key(_ id: Int) -> ReplayCache.Key {
    ReplayCache.Key(scope: "s", thumbprint: "t", context: "c", id: String(id))
  }
  private func at(_ seconds: Int64) -> Timestamp { Timestamp(seconds: seconds) }

  @Test("a proof counts once until it expires")
  func once() throws {
    let cache = ReplayCache()
    #expect(try cache.insert(key(1), expires: at(160), now: at(100)))
    #expect(try !cache.insert(key(1), expires: at(160), now: at(100)))
    #expect(try !cache.insert(key(1), expires: at(999), now: at(160)))
    #expect(try cache.insert(key(1), expires: at(220), now: at(161)))
    #expect(cache.count == 1)
  }

  @Test("full: refuses, forgets nothing, and accepts again once something has expired")
  func full() throws {
    let cache = ReplayCache(capacity: 3)
    for id in 0..<3 { #expect(try cache.insert(key(id), expires: at(110 + Int64(id)), now: at(100))) }
    #expect(throws: ProofError(.replayCacheFull, "")) { try cache.insert(key(9), expires: at(110), now: at(100)) }
    #expect(try !cache.insert(key(0), expires: at(110), now: at(100)))
    #expect(cache.count == 3)
    #expect(try cache.insert(key(9), expires: at(200), now: at(111)))
    #expect(try !cache.insert(key(1), expires: at(200), now: at(111)))
    #expect(throws: ProofError(.replayCacheFull, "")) { try cache.insert(key(8), expires: at(200), now: at(111)) }
    #expect(try cache.insert(key(8), expires: at(2000), now: at(1000)))
    #expect(cache.count == 1)
  }

  @Test("a clock that goes back forgets nothing, and a proof that has expired is remembered for its second")
  func clocks() throws {
    let cache = ReplayCache()
    #expect(try cache.insert(key(1), expires: at(160), now: at(100)))
    #expect(try !cache.insert(key(1), expires: at(160), now: at(50)))
    #expect(try cache.insert(key(2), expires: at(10), now: at(100)))
    #expect(try !cache.insert(key(2), expires: at(10), now: at(100)))
  }

  @Test("keys differ in every part, and parts do not run into each other")
  func keys() {
    let parts = [
      ["a", "b", "c", "d"], ["ab", "", "c", "d"], ["a", "bc", "", "d"], ["a", "b", "cd", ""], ["", "ab", "c", "d"],
      ["a", "b", "c", "e"],
    ]
    let keys = parts.map { ReplayCache.Key(scope: $0[0], thumbprint: $0[1], context: $0[2], id: $0[3]) }
    #expect(Set(keys).count == parts.count)
  }

  @Test("many tasks, one winner for each proof")
  func concurrent() async throws {
    let cache = ReplayCache()
    let wins = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<8 {
        group.addTask {
          var wins = 0
          for id in 0..<500 where try cache.insert(self.key(id), expires: self.at(160), now: self.at(100)) { wins += 1 }
          return wins
        }
      }
      return try await group.reduce(0, +)
    }
    #expect(wins == 500)
  }
}
