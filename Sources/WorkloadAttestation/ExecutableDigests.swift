import Crypto
import Glibc
import Synchronization
import Wire

/// The SHA-256 of executables, remembered by what names their contents.
final class ExecutableDigests: Sendable {
  private struct Memory {
    var recent: [FileIdentity: [UInt8]] = [:]
    var older: [FileIdentity: [UInt8]] = [:]
  }
  private let memory = Mutex(Memory())
  private let capacity: Int
  private static let bufferBytes = 1 << 18

  /// - Parameter capacity: about how many are remembered, the ones used last.
  init(capacity: Int = 4096) { self.capacity = capacity }

  /// What is remembered of these contents.
  func remembered(_ identity: FileIdentity) -> [UInt8]? {
    memory.withLock { memory in
      if let digest = memory.recent[identity] { return digest }
      guard let digest = memory.older[identity] else { return nil }
      insert(digest, of: identity, into: &memory)
      return digest
    }
  }

  /// Two generations: when the recent one is full it becomes the older one, which is dropped.
  private func insert(_ digest: [UInt8], of identity: FileIdentity, into memory: inout Memory) {
    if memory.recent.count >= max(1, capacity / 2) {
      memory.older = memory.recent
      memory.recent = [:]
    }
    memory.recent[identity] = digest
  }

  /// How many are remembered.
  var count: Int { memory.withLock { $0.recent.count + $0.older.count } }

  /// Reads a running executable through its `/proc/PID/exe`. Blocks.
  /// - Parameter now: the present moment, of the clock that the file system has.
  /// - Throws: ``AttestationError/Code-swift.struct/changed`` when the file is not, or does not stay, what `identity`
  ///   says; ``AttestationError/Code-swift.struct/gone`` when the process exits meanwhile.
  func digest(
    of path: String, identity: FileIdentity, of peer: PeerProcess, now: Timestamp
  ) throws(AttestationError) -> Result<[UInt8], FileFailure> {
    if let digest = remembered(identity) { return .success(digest) }
    let digest: [UInt8]
    do throws(FileFailure) {
      let file = try File(path)
      guard try file.identity == identity else { throw .errno(ESTALE) }
      var hash = SHA256()
      var left = identity.size
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferBytes, alignment: 64)
      defer { unsafe buffer.deallocate() }
      while left > 0, peer.isAlive {
        let count = try unsafe file.read(into: buffer)
        guard count > 0 else { throw .errno(ESTALE) }
        unsafe hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        left -= Int64(count)
      }
      let after = try file.identity
      guard left <= 0, after == identity else { throw .errno(ESTALE) }
      digest = Array(hash.finalize())
    } catch {
      guard peer.isAlive else { throw .hasExited }
      guard error != .errno(ESTALE) else { throw .hasChanged }
      return .failure(error)
    }
    // The time of change moves in ticks: contents written within the tick of their last change would go unnoticed. So
    // only what has rested for a second is remembered.
    if identity.changed.seconds < now.seconds - 1 {
      memory.withLock { insert(digest, of: identity, into: &$0) }
    }
    return .success(digest)
  }
}
