public import SecretMemory
import Synchronization

/// Places in locked memory for the private keys of workloads. A key has one place from when it is made until the last
/// holder lets go of it.
public final class SVIDKeyStore: Sendable {
  /// The most bytes of a key: PKCS #8 of P-256 has 138, of P-384 185.
  public static let maximumKeyBytes = 192
  private static let slotsPerArena = SecretArena.maximumByteCount / maximumKeyBytes

  fileprivate final class Arena: Sendable {
    let memory: SecretArena
    init(slots: Int) throws(SecretMemoryError) {
      memory = try SecretArena(slots: slots, slotByteCount: SVIDKeyStore.maximumKeyBytes)
    }
  }

  private struct State {
    var arenas: [Arena] = []
    var free: [(arena: Arena, slot: Int)] = []
    var left: Int
    var ofOwners: [UInt32: Int] = [:]
  }

  private let limitOfOwner: Int
  private let state: Mutex<State>

  /// A store for at most so many keys at once.
  /// - Parameter limitOfOwner: at most so many of one owner; nil for all.
  public init(capacity: Int, limitOfOwner: Int? = nil) {
    self.limitOfOwner = limitOfOwner ?? capacity
    state = Mutex(State(left: capacity))
  }

  /// Copies a key into locked memory; the caller wipes its own copy.
  /// - Parameter owner: the user whose workload it is for.
  /// - Throws: ``SecretMemoryError/Code-swift.struct/noLockedMemory`` when the store is full, or the owner's part of it.
  public func key(copying bytes: RawSpan, owner: UInt32 = 0) throws(SecretMemoryError) -> SVIDKey {
    guard (1...Self.maximumKeyBytes).contains(bytes.byteCount) else {
      throw SecretMemoryError(.badLength, "a workload's key has 1 to \(Self.maximumKeyBytes) bytes")
    }
    let (arena, slot) = try state.withLock { state throws(SecretMemoryError) in
      guard state.ofOwners[owner, default: 0] < limitOfOwner else {
        throw SecretMemoryError(.noLockedMemory, "this user's workloads have as many keys as one user may have")
      }
      if let place = state.free.popLast() {
        state.ofOwners[owner, default: 0] += 1
        return place
      }
      let count = min(state.left, Self.slotsPerArena)
      guard count > 0 else { throw SecretMemoryError(.noLockedMemory, "there is no room for another workload's key") }
      let arena = try Arena(slots: count)
      state.left -= count
      state.arenas.append(arena)
      state.free.append(contentsOf: (1..<count).map { (arena, $0) })
      state.ofOwners[owner, default: 0] += 1
      return (arena, 0)
    }
    arena.memory.write(bytes, to: slot)
    return SVIDKey(count: bytes.byteCount, lend: Place(arena: arena, slot: slot, owner: owner), store: self)
  }

  fileprivate func release(_ place: Place) {
    place.arena.memory.wipe(place.slot)
    state.withLock { state in
      state.free.append((place.arena, place.slot))
      state.ofOwners[place.owner] = state.ofOwners[place.owner].flatMap { $0 > 1 ? $0 - 1 : nil }
    }
  }

  fileprivate struct Place: Sendable {
    let arena: Arena
    let slot: Int
    let owner: UInt32
  }
}

/// A workload's private key in PKCS #8 (RFC 5958), unencrypted, in locked memory.
public final class SVIDKey: Sendable {
  /// How many bytes it has.
  public let count: Int
  private let place: SVIDKeyStore.Place
  private let store: SVIDKeyStore

  fileprivate init(count: Int, lend place: SVIDKeyStore.Place, store: SVIDKeyStore) {
    self.count = count
    self.place = place
    self.store = store
  }

  deinit { store.release(place) }

  /// Lends the PKCS #8 DER.
  public func withBytes<R: ~Copyable, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    try place.arena.memory.withBytes(of: place.slot) { (bytes) throws(E) -> R in
      try body(bytes.extracting(0..<count))
    }
  }
}
