import Crypto
import Foundation
import KeyHierarchy
import Synchronization

/// A custodian whose Ed25519 key is software and whose HSM can be made to fail.
final class TestCustodian: KeyCustodian {
  private struct State {
    var signed: [String] = []
    var failures = 0
    var corrupts = false
  }

  private let key: Curve25519.Signing.PrivateKey
  private let state = Mutex(State())
  private let algorithm: KeyAlgorithm
  /// Called before each signature, to see what the disk holds by then.
  private let beforeSigning: @Sendable () async -> Void

  init(
    seed: UInt8 = 1, algorithm: KeyAlgorithm = .ed25519, beforeSigning: @escaping @Sendable () async -> Void = {}
  ) throws {
    key = try Curve25519.Signing.PrivateKey(rawRepresentation: [UInt8](repeating: seed, count: 32))
    self.algorithm = algorithm
    self.beforeSigning = beforeSigning
  }

  var publicKeyBytes: [UInt8] { Array(key.publicKey.rawRepresentation) }
  var signed: [String] { state.withLock { $0.signed } }
  var operationCount: UInt64 { UInt64(signed.count) }

  func fail(_ times: Int) { state.withLock { $0.failures = times } }
  func corruptSignatures() { state.withLock { $0.corrupts = true } }

  func signature(_ message: String) throws -> [UInt8] { try Array(key.signature(for: Array(message.utf8))) }

  func publicKey(_ key: KeyName) throws(CustodyError) -> CustodyPublicKey {
    CustodyPublicKey(algorithm: algorithm, bytes: publicKeyBytes)
  }

  func signCheckpoint(_ body: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] {
    await beforeSigning()
    let text = String(decoding: body, as: UTF8.self)
    let (fails, corrupts) = state.withLock { state in
      defer { state.failures = max(0, state.failures - 1) }
      if state.failures == 0 { state.signed.append(text) }
      return (state.failures > 0, state.corrupts)
    }
    guard !fails, var signature = try? signature(text) else { throw CustodyError(.unavailable, "the HSM is away") }
    if corrupts { signature[0] ^= 1 }
    return signature
  }

  func sign(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] { throw refusal }
  func signBlocking(_ message: [UInt8], with key: KeyName) throws(CustodyError) -> [UInt8] { throw refusal }
  func authenticate(_ message: [UInt8], with key: KeyName) async throws(CustodyError) -> [UInt8] { throw refusal }
  func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8] { throw refusal }
  private var refusal: CustodyError { CustodyError(.notPermitted, "this custodian signs checkpoints alone") }
}
