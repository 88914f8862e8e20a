import SecretMemory
import Synchronization
import Testing
import WorkloadIdentity

@Suite("Keys of workloads in locked memory")
struct SVIDKeyTests {
  private func key(_ bytes: [UInt8], in store: SVIDKeyStore) throws -> SVIDKey {
    try unsafe store.key(copying: bytes.span.bytes)
  }

  private func bytes(_ key: SVIDKey) -> [UInt8] {
    key.withBytes { span in (0..<span.byteCount).map { unsafe span.unsafeLoad(fromByteOffset: $0, as: UInt8.self) } }
  }

  @Test("a key is lent as it was given, 1 to 192 bytes", arguments: [1, 138, 185, 192])
  func lends(_ count: Int) throws {
    let store = SVIDKeyStore(capacity: 2)
    let given = (0..<count).map { UInt8(truncatingIfNeeded: $0 + 1) }
    let key = try key(given, in: store)
    #expect(key.count == count && bytes(key) == given)
  }

  @Test("limits: length and room")
  func limits() throws {
    let store = SVIDKeyStore(capacity: 1)
    for count in [0, 193] {
      #expect(throws: SecretMemoryError.self) { try key([UInt8](repeating: 1, count: count), in: store) }
    }
    try {
      let held = try key([1, 2], in: store)
      #expect(throws: SecretMemoryError.self) { try key([3], in: store) }
      #expect(bytes(held) == [1, 2])
    }()
    // Let go of, it leaves its place.
    for _ in 0..<100 { #expect(bytes(try key([7], in: store)) == [7]) }
    #expect(throws: SecretMemoryError.self) { try key([1], in: SVIDKeyStore(capacity: 0)) }
  }

  @Test("many keys at once keep to their places")
  func many() throws {
    let store = SVIDKeyStore(capacity: 500)
    var keys = try (0..<500).map {
      try key([UInt8(truncatingIfNeeded: $0), 1, UInt8(truncatingIfNeeded: $0 >> 8)], in: store)
    }
    for (number, key) in keys.enumerated() {
      #expect(bytes(key) == [UInt8(truncatingIfNeeded: number), 1, UInt8(truncatingIfNeeded: number >> 8)])
    }
    keys.removeFirst(250)
    let more = try (0..<250).map { try key([9, UInt8($0)], in: store) }
    #expect(more.enumerated().allSatisfy { bytes($1) == [9, UInt8($0)] })
    #expect(bytes(keys[0]) == [250, 1, 0])
    #expect(throws: SecretMemoryError.self) { try key([1], in: store) }
  }
}
