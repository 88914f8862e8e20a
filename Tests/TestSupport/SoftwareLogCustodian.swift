import Crypto
package import KeyHierarchy
import Synchronization

/// A custodian that holds one software key, the log's, and can be told to fail. Tests only: the product has no soft keys.
package final class SoftwareLogCustodian: KeyCustodian {
  private struct State {
    var signed = 0
    var isAway = false
    var attemptsAway = 0
    var isHeld = false
    var held: [CheckedContinuation<Void, Never>] = []
    var waiting: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let key: Curve25519.Signing.PrivateKey
  private let state = Mutex(State())

  /// A key from a seed.
  package init(seed: UInt8 = 1) throws {
    key = try Curve25519.Signing.PrivateKey(rawRepresentation: [UInt8](repeating: seed, count: 32))
  }

  /// The 32 bytes of the public key.
  package var publicKeyBytes: [UInt8] { Array(key.publicKey.rawRepresentation) }

  package var operationCount: UInt64 { UInt64(state.withLock { $0.signed }) }

  /// From now on every signature fails, or none does.
  package func setAway(_ isAway: Bool) {
    state.withLock { state in
      state.isAway = isAway
      state.attemptsAway = 0
    }
  }

  /// While it is held, signatures wait; to let go is to let them happen.
  package func hold(_ isHeld: Bool) {
    let resumed = state.withLock { state -> [CheckedContinuation<Void, Never>] in
      state.isHeld = isHeld
      guard !isHeld else { return [] }
      defer { state.held = [] }
      return state.held
    }
    for continuation in resumed { continuation.resume() }
  }

  private func waitWhileHeld() async {
    await withCheckedContinuation { continuation in
      let goesOn = state.withLock { state in
        if state.isHeld { state.held.append(continuation) }
        return !state.isHeld
      }
      if goesOn { continuation.resume() }
    }
  }

  /// Returns once so many signatures were refused since ``setAway(_:)``.
  package func waitForAttempts(_ count: Int) async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLock { state in
        if state.attemptsAway >= count { return true }
        state.waiting.append((count, continuation))
        return false
      }
      if isDone { continuation.resume() }
    }
  }

  package func publicKey(_ key: KeyName) throws(CustodyError) -> CustodyPublicKey {
    CustodyPublicKey(algorithm: .ed25519, bytes: publicKeyBytes)
  }

  package func signCheckpoint(_ body: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    await waitWhileHeld()
    let (isAway, resumed) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
      guard state.isAway else {
        state.signed += 1
        return (false, [])
      }
      state.attemptsAway += 1
      let due = state.waiting.filter { $0.count <= state.attemptsAway }.map(\.continuation)
      state.waiting.removeAll { $0.count <= state.attemptsAway }
      return (true, due)
    }
    for continuation in resumed { continuation.resume() }
    guard !isAway, let signature = try? self.key.signature(for: body) else {
      throw CustodyError(.unavailable, "the HSM is away")
    }
    return Array(signature)
  }

  /// A signature over any text, for notes that a test forges.
  package func signature(over text: String) throws -> [UInt8] { Array(try key.signature(for: Array(text.utf8))) }

  package func sign(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] { throw refusal }
  package func signBlocking(_ message: [UInt8], with key: KeyName) throws(CustodyError) -> [UInt8] { throw refusal }
  package func authenticate(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    throw refusal
  }
  package func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8] { throw refusal }
  private var refusal: CustodyError { CustodyError(.notPermitted, "this custodian signs checkpoints alone") }
}
