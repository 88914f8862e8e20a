import CommandGate
import Seal
import Wire

extension Gate {
  /// The leaf of an event under a signed tree head; waits for that.
  /// - Throws: a ``Problem`` where the storage, which may have been changed, holds something else than what was signed.
  func sealedEvent(_ index: UInt64, genesis: Genesis) async throws -> SealBundle.Part {
    let part = try await seal(ofLeaf: index)
    do {
      _ = try RecordedEvent(part, at: index, keys: genesis.logKeys)
    } catch {
      throw Problem(
        503, "log_inconsistent", "The stored leaf \(index) is not the one under the signed tree head: \(error).")
    }
    return part
  }
}
