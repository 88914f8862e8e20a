package import KeyHierarchy
package import class SecretMemory.SharedSecret
import Synchronization

/// A custodian of key-encryption keys that counts what it is asked, and fails or waits when it is told to.
package final class UnreliableKEKCustodian: KEKCustodian {
  /// What a custodian is asked for.
  package enum Operation: String, CaseIterable, Sendable {
    case checkValue, random, wrap, encrypt, decrypt, authenticate, forget
  }

  private struct State {
    var counts: [Operation: Int] = [:]
    var calls = 0
    /// What every call fails with.
    var away: CustodyError.Code?
    /// What the call of this number fails with, once.
    var failures: [Int: (code: CustodyError.Code, isCarriedOut: Bool)] = [:]
    var held: Operation?
    var passing = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    var watching: [CheckedContinuation<Void, Never>] = []
    var check: KeyCheckValue?
  }

  private let base: any KEKCustodian
  private let state = Mutex(State())

  /// Wraps a custodian.
  package init(_ base: any KEKCustodian) { self.base = base }

  /// How often it was asked for each operation, since ``reset()``.
  package var counts: [Operation: Int] { state.withLock { $0.counts } }
  /// How often it was asked for anything.
  package var calls: Int { state.withLock { $0.calls } }

  /// Counts from nothing again, and forgets failures that have not happened.
  package func reset() {
    state.withLock { state in (state.counts, state.calls, state.failures) = ([:], 0, [:]) }
  }

  /// From now on every call fails with a code, or none does.
  package func setAway(_ code: CustodyError.Code?) { state.withLock { $0.away = code } }

  /// The `number`-th call after ``reset()`` fails with a code.
  /// - Parameter isCarriedOut: the token does what it is asked, and nobody learns that.
  package func fail(_ code: CustodyError.Code, atCall number: Int, isCarriedOut: Bool = false) {
    state.withLock { $0.failures[number] = (code, isCarriedOut) }
  }

  /// From now on it says that its root key is another one; nil for the truth.
  package func pretend(_ check: KeyCheckValue?) { state.withLock { $0.check = check } }

  /// Calls of an operation wait from now on, after so many that do not; nil lets them go on.
  package func hold(_ operation: Operation?, after count: Int = 0) {
    let waiting = state.withLock { state in
      (state.held, state.passing) = (operation, count)
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  /// Returns once a call waits.
  package func waitUntilHeld() async {
    await withCheckedContinuation { continuation in
      let isHeld = state.withLock { state in
        if state.waiting.isEmpty { state.watching.append(continuation) }
        return !state.waiting.isEmpty
      }
      if isHeld { continuation.resume() }
    }
  }

  private func perform<Result>(
    _ operation: Operation, _ body: () async throws(CustodyError) -> Result
  ) async throws(CustodyError) -> Result {
    await withCheckedContinuation { continuation in
      let watching = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
        guard state.held == operation else { return nil }
        state.passing -= 1
        guard state.passing < 0 else { return nil }
        state.waiting.append(continuation)
        defer { state.watching = [] }
        return state.watching
      }
      if let watching { for watcher in watching { watcher.resume() } } else { continuation.resume() }
    }
    let (away, failure) = state.withLock { state in
      state.calls += 1
      state.counts[operation, default: 0] += 1
      return (state.away, state.failures.removeValue(forKey: state.calls))
    }
    if let away { throw CustodyError(away, "the test has it fail") }
    if let failure {
      if failure.isCarriedOut { _ = try await body() }
      throw CustodyError(failure.code, "the test has it fail")
    }
    return try await body()
  }

  package func rootCheckValue() async throws(CustodyError) -> KeyCheckValue {
    let pretended = state.withLock { $0.check }
    return try await perform(.checkValue) { () async throws(CustodyError) in
      if let pretended { return pretended }
      return try await base.rootCheckValue()
    }
  }

  package func randomSecret(count: Int) async throws(CustodyError) -> SharedSecret {
    try await perform(.random) { () async throws(CustodyError) in try await base.randomSecret(count: count) }
  }

  package func wrap(_ key: SharedSecret) async throws(CustodyError) -> WrappedKey {
    try await perform(.wrap) { () async throws(CustodyError) in try await base.wrap(key) }
  }

  package func encrypt(
    _ key: SharedSecret, iv: [UInt8], context: [UInt8], under kek: WrappedKey
  ) async throws(CustodyError) -> [UInt8] {
    try await perform(.encrypt) { () async throws(CustodyError) in
      try await base.encrypt(key, iv: iv, context: context, under: kek)
    }
  }

  package func decrypt(
    _ ciphertext: [UInt8], iv: [UInt8], context: [UInt8], under kek: WrappedKey
  ) async throws(CustodyError) -> SharedSecret {
    try await perform(.decrypt) { () async throws(CustodyError) in
      try await base.decrypt(ciphertext, iv: iv, context: context, under: kek)
    }
  }

  package func authenticate(record: [UInt8]) async throws(CustodyError) -> [UInt8] {
    try await perform(.authenticate) { () async throws(CustodyError) in try await base.authenticate(record: record) }
  }

  package func forget(_ kek: WrappedKey) async throws(CustodyError) {
    try await perform(.forget) { () async throws(CustodyError) in try await base.forget(kek) }
  }

  package var hostileUnwrap: HostileUnwrap? { base.hostileUnwrap }
}
