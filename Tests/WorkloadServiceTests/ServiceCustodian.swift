import Crypto
import CryptoExtras
import KeyHierarchy
import Synchronization

/// The identity token in software, which counts what it is asked, and fails or waits when it is told to.
final class ServiceCustodian: KeyCustodian, KeyReplacer {
  private enum Key: Sendable {
    case p256(P256.Signing.PrivateKey)
    case rsa(_RSA.Signing.PrivateKey)

    init(_ algorithm: KeyAlgorithm) throws(CustodyError) {
      guard algorithm == .rsa2048 else {
        self = .p256(P256.Signing.PrivateKey())
        return
      }
      guard let key = try? _RSA.Signing.PrivateKey(keySize: .bits2048) else {
        throw CustodyError(.failed, "no key of RSA")
      }
      self = .rsa(key)
    }

    var publicKey: CustodyPublicKey? {
      switch self {
      case .p256(let key):
        CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(key.publicKey.x963Representation))
      case .rsa(let key):
        (try? key.publicKey.getKeyPrimitives()).flatMap { CustodyPublicKey(rsaModulus: Array($0.modulus)) }
      }
    }

    func signature(_ message: [UInt8]) throws -> [UInt8] {
      switch self {
      case .p256(let key): Array(try key.signature(for: message).rawRepresentation)
      case .rsa(let key):
        Array(try key.signature(for: SHA256.hash(data: message), padding: .insecurePKCS1v1_5).rawRepresentation)
      }
    }
  }

  private struct State {
    var keys: [KeyName: Key] = [:]
    var signatures = 0
    var replaced = 0
    var away: CustodyError.Code?
    var failures = 0
    var isHeld = false
    var held: [CheckedContinuation<Void, Never>] = []
    var watching: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = Mutex(State())

  /// How many signatures were made.
  var signatures: Int { state.withLock { $0.signatures } }
  /// How many keys were made.
  var replaced: Int { state.withLock { $0.replaced } }

  /// From now on every call fails with a code, or none does.
  func setAway(_ code: CustodyError.Code?) { state.withLock { $0.away = code } }

  /// So many replacements fail, after the old key is gone.
  func failReplacements(_ count: Int) { state.withLock { $0.failures = count } }

  /// While it is held signatures wait; to let go is to let them happen.
  func hold(_ isHeld: Bool) {
    let held = state.withLock { state in
      state.isHeld = isHeld
      guard !isHeld else { return [CheckedContinuation<Void, Never>]() }
      defer { state.held = [] }
      return state.held
    }
    for continuation in held { continuation.resume() }
  }

  /// One that waits happens; the others wait on.
  func letOneGo() { state.withLock { $0.held.isEmpty ? nil : $0.held.removeFirst() }?.resume() }

  /// Returns once so many signatures wait.
  func waitUntilHeld(_ count: Int = 1) async {
    await withCheckedContinuation { continuation in
      let isHeld = state.withLock { state in
        if state.held.count < count { state.watching.append((count, continuation)) }
        return state.held.count >= count
      }
      if isHeld { continuation.resume() }
    }
  }

  func publicKey(_ key: KeyName) throws(CustodyError) -> CustodyPublicKey {
    guard let found = state.withLock({ $0.keys[key] }), let publicKey = found.publicKey else {
      throw CustodyError(.keyNotFound, "there is no \(key)")
    }
    return publicKey
  }

  func sign(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    await withCheckedContinuation { continuation in
      let (goesOn, watching) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
        guard state.isHeld else { return (true, []) }
        state.held.append(continuation)
        let count = state.held.count
        let due = state.watching.filter { $0.count <= count }.map(\.continuation)
        state.watching.removeAll { $0.count <= count }
        return (false, due)
      }
      for watcher in watching { watcher.resume() }
      if goesOn { continuation.resume() }
    }
    let (found, away) = state.withLock { ($0.keys[key], $0.away) }
    if let away { throw CustodyError(away, "the test has it fail") }
    guard let found, let signature = try? found.signature(message) else {
      throw CustodyError(.keyNotFound, "there is no \(key)")
    }
    state.withLock { $0.signatures += 1 }
    return signature
  }

  func replace(_ key: KeyName) async throws(CustodyError) -> CustodyPublicKey {
    if let away = state.withLock({ $0.away }) { throw CustodyError(away, "the test has it fail") }
    let made = try Key(key.algorithm)
    let fails = state.withLock { state in
      state.replaced += 1
      defer { state.failures = max(0, state.failures - 1) }
      state.keys[key] = state.failures > 0 ? nil : made
      return state.failures > 0
    }
    guard !fails, let publicKey = made.publicKey else { throw CustodyError(.failed, "the test has it fail") }
    return publicKey
  }

  func destroy(_ key: KeyName) async throws(CustodyError) { state.withLock { $0.keys[key] = nil } }

  func signBlocking(_ message: [UInt8], with key: KeyName) throws(CustodyError) -> [UInt8] { throw Self.refusal }
  func signCheckpoint(_ body: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] { throw Self.refusal }
  func authenticate(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] { throw Self.refusal }
  func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8] { throw Self.refusal }
  var operationCount: UInt64 { UInt64(signatures) }
  private static var refusal: CustodyError { CustodyError(.notPermitted, "this custodian signs SVIDs alone") }
}
