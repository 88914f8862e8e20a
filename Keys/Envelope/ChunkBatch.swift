import Dispatch
import Synchronization

/// Which way chunks go.
enum ChunkDirection: Sendable {
  case seal
  case open

  var inputByteCount: Int {
    self == .seal ? ChunkedEncryptor.chunkByteCount : ChunkedEncryptor.sealedChunkByteCount
  }

  var outputByteCount: Int {
    self == .seal ? ChunkedEncryptor.sealedChunkByteCount : ChunkedEncryptor.chunkByteCount
  }

  /// What to say when the library does not transform a chunk.
  var refusal: EnvelopeError {
    self == .seal
      ? EnvelopeError(.failed, "the library's AES-GCM refused to seal a chunk")
      : EnvelopeError(.notAuthentic, "a part of the stream was changed, moved, repeated, cut or added: fetch it again")
  }
}

/// The chunks of one call, which two threads take one by one. Each has its own place in the output, so their order stays.
@safe
final class ChunkBatch: @unchecked Sendable {
  /// Below so many chunks a second thread costs more than it brings.
  private static let parallelFrom = 4

  private let key: ChunkedStreamKey
  private let direction: ChunkDirection
  private let first: UInt64
  private let count: Int
  private let held: UnsafeRawBufferPointer
  private let others: UnsafeRawBufferPointer
  private let output: UnsafeMutableRawPointer
  private let taken = Atomic(0)
  private let failed = Atomic(false)

  /// - Parameters:
  ///   - first: the number of the first chunk.
  ///   - count: how many chunks there are.
  ///   - held: the first chunk, or nothing.
  ///   - others: the other chunks, or all.
  ///   - output: has room for every chunk.
  init(
    key: ChunkedStreamKey, direction: ChunkDirection, first: UInt64, count: Int, held: UnsafeRawBufferPointer,
    others: UnsafeRawBufferPointer, output: UnsafeMutableRawPointer
  ) {
    self.key = key
    self.direction = direction
    self.first = first
    self.count = count
    unsafe self.held = unsafe held
    unsafe self.others = unsafe others
    unsafe self.output = unsafe output
  }

  /// Transforms all of them; false when one failed.
  func run() -> Bool {
    if count < Self.parallelFrom {
      work()
    } else {
      DispatchQueue.concurrentPerform(iterations: 2) { [self] _ in work() }
    }
    return !failed.load(ordering: .relaxed)
  }

  private func work() {
    while !failed.load(ordering: .relaxed) {
      let index = taken.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      do { try transform(index) } catch { failed.store(true, ordering: .relaxed) }
    }
  }

  private func transform(_ index: Int) throws {
    let room = unsafe output + index * direction.outputByteCount
    let chunk = unsafe chunk(index)
    switch direction {
    case .seal: try unsafe key.seal(first + UInt64(index), chunk, to: room)
    case .open: try unsafe key.open(first + UInt64(index), chunk, to: room)
    }
  }

  private func chunk(_ index: Int) -> UnsafeRawBufferPointer {
    let ahead = unsafe held.isEmpty ? 0 : 1
    guard index >= ahead else { return unsafe held }
    let start = (index - ahead) * direction.inputByteCount
    let end = unsafe min(start + direction.inputByteCount, others.count)
    return unsafe UnsafeRawBufferPointer(rebasing: others[start..<end])
  }
}
