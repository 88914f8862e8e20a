import Crypto
import Glibc
@_spi(Testing) import HSMCustody
import KeyHierarchy
import PKCS11
import SecretMemory
import Synchronization
import TestSupport

/// A development HSM behind the faulty module, with a custodian whose time stands still until the test moves it: what
/// waits for a deadline waits for ever, and the process is killed. One per process.
final class FaultBench: Sendable {
  let hsm: FaultyHSM
  let clock = ManualCustodyClock()
  /// What is asked for, and what must come back.
  let known: Known
  private let open: Mutex<PKCS11Custodian>
  private let openAgain: @Sendable () throws -> PKCS11Custodian
  private let logSize = Atomic<UInt64>(1)

  var faults: FaultyModule { hsm.faults }
  var custodian: PKCS11Custodian { open.withLock { $0 } }

  /// Opens every role but `root`.
  convenience init(_ limits: PKCS11Custodian.Limits = .init()) async throws {
    Self.watch()
    try await self.init(FaultyHSM(), [.log, .identity, .data], limits)
  }

  /// Opens some roles.
  init(
    _ hsm: FaultyHSM, _ roles: Set<TokenRole>, _ limits: PKCS11Custodian.Limits = .init(),
    clusters: [TokenRole: [PKCS11Custodian.TokenLocation]] = [:]
  ) async throws {
    let clock = clock
    openAgain = {
      try PKCS11Custodian.open(
        provider: hsm.hsm.provider, tokens: hsm.hsm.tokens.mapValues { [$0] }.merging(clusters) { $1 }, roles: roles,
        limits: limits, clock: clock)
    }
    let custodian = try openAgain()
    self.hsm = hsm
    known = try await Known(custodian)
    open = Mutex(custodian)
  }

  /// Ends a process that hangs.
  static func watch(seconds: UInt32 = 300) { alarm(seconds) }

  /// A new custodian, as after a person's decision.
  func reopen() throws {
    custodian.close()
    let fresh = try openAgain()
    open.withLock { $0 = fresh }
  }

  func slot(_ role: TokenRole) throws -> SlotID { try hsm.module.token(labelled: role.rawValue).slot }

  func health(_ role: TokenRole) -> TokenHealth? { custodian.health().first { $0.role == role } }

  /// A checkpoint's body, each longer than the one before.
  func nextCheckpoint() -> [UInt8] {
    let size = logSize.wrappingAdd(1, ordering: .relaxed).oldValue
    return Array("faults.dev.invalid/log\n\(size)\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=\n".utf8)
  }
}

/// A right answer for each operation, most of them computed in software.
struct Known: Sendable {
  let iv = [UInt8](repeating: 9, count: 12)
  let context = Array("faults".utf8)
  let message = Array("message".utf8)
  let signer: CustodyPublicKey?
  let logKey: CustodyPublicKey?
  let tag: [UInt8]
  /// Key-encryption keys as the token wrapped them, and what encrypting ``key`` under each gives.
  let keks: [(wrapped: WrappedKey, plain: SecretMemory.SharedSecret, ciphertext: [UInt8])]
  let key: SecretMemory.SharedSecret
  let plaintext: [UInt8]

  init(_ custodian: PKCS11Custodian) async throws {
    signer = custodian.roles.contains(.identity) ? try custodian.publicKey(.oauthA) : nil
    logKey = custodian.roles.contains(.log) ? try custodian.publicKey(.logA) : nil
    guard custodian.roles.contains(.data) else {
      (tag, keks, plaintext, key) = ([], [], [], SecretMemory.SharedSecret(try SecretBytes(zeros: 1)))
      return
    }
    tag = try await custodian.authenticate(record: message)
    key = try await custodian.randomSecret(count: 32)
    plaintext = Self.bytes(key)
    var keks: [(WrappedKey, SecretMemory.SharedSecret, [UInt8])] = []
    for _ in 0..<6 {
      let plain = try await custodian.randomSecret(count: 32)
      let sealed = try AES.GCM.seal(
        plaintext, using: SymmetricKey(data: Self.bytes(plain)), nonce: AES.GCM.Nonce(data: iv),
        authenticating: context)
      keks.append((try await custodian.wrap(plain), plain, Array(sealed.ciphertext + sealed.tag)))
    }
    self.keks = keks
  }

  static func bytes(_ secret: SecretMemory.SharedSecret) -> [UInt8] {
    unsafe secret.secret.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) -> [UInt8] in unsafe Array(bytes) }
  }
}

/// An answer that is not the right one: never acceptable.
struct WrongAnswer: Error {
  let operation: Use
}

/// What custody is asked to do, with the functions that it calls for it.
enum Use: String, CaseIterable, Codable, Sendable {
  case sign, checkpoint, authenticate, encrypt, decrypt, wrap, load, evict, random

  var role: TokenRole {
    switch self {
    case .sign: .identity
    case .checkpoint: .log
    default: .data
    }
  }

  var functions: [PKCS11Function] {
    switch self {
    case .sign, .checkpoint, .authenticate: [.signInit, .sign]
    case .encrypt: [.encryptInit, .encrypt]
    case .decrypt: [.decryptInit, .decrypt]
    case .wrap: [.createObject, .wrapKey, .destroyObject]
    case .load: [.unwrapKey]
    case .evict: [.destroyObject, .unwrapKey]
    case .random: [.generateRandom]
    }
  }

  /// Brings the token where the operation meets its functions; without faults.
  func prepare(_ bench: FaultBench) async throws {
    let keks = bench.known.keks
    switch self {
    case .load: try await bench.custodian.forget(keks[5].wrapped)
    // As many as fit, and not the last one.
    case .evict:
      try await bench.custodian.forget(keks[5].wrapped)
      for index in 1...4 { try await Self.encrypt(bench, index) }
    case .encrypt, .decrypt: try await Self.encrypt(bench, 0)
    default: break
    }
  }

  /// Does it.
  ///
  /// - Throws: ``WrongAnswer``, or what custody throws.
  func run(_ bench: FaultBench) async throws {
    let (custodian, known) = (bench.custodian, bench.known)
    let isRight: Bool
    switch self {
    case .sign:
      isRight = try verifies(try await custodian.sign(known.message, with: .oauthA), known.message, known.signer)
    case .checkpoint:
      let body = bench.nextCheckpoint()
      isRight = try verifies(try await custodian.signCheckpoint(body, with: .logA), body, known.logKey)
    case .authenticate: isRight = try await custodian.authenticate(record: known.message) == known.tag
    case .encrypt: return try await Self.encrypt(bench, 0)
    case .load, .evict: return try await Self.encrypt(bench, 5)
    case .decrypt:
      isRight =
        try await Known.bytes(
          custodian.decrypt(
            known.keks[0].ciphertext, iv: known.iv, context: known.context, under: known.keks[0].wrapped))
        == known.plaintext
    case .wrap: isRight = try await custodian.wrap(known.keks[1].plain) == known.keks[1].wrapped
    case .random:
      let bytes = try await Known.bytes(custodian.randomSecret(count: 32))
      isRight = Set(bytes).count > 8 && bytes != known.plaintext
    }
    guard isRight else { throw WrongAnswer(operation: self) }
  }

  static func encrypt(_ bench: FaultBench, _ index: Int) async throws {
    let known = bench.known
    let kek = known.keks[index]
    let text = try await bench.custodian.encrypt(known.key, iv: known.iv, context: known.context, under: kek.wrapped)
    guard text == kek.ciphertext else { throw WrongAnswer(operation: .encrypt) }
  }
}

func verifies(_ signature: [UInt8], _ message: [UInt8], _ key: CustodyPublicKey?) throws -> Bool {
  guard let key else { return false }
  if key.algorithm == .ed25519 {
    return try Curve25519.Signing.PublicKey(rawRepresentation: key.bytes).isValidSignature(signature, for: message)
  }
  return try P256.Signing.PublicKey(x963Representation: key.bytes)
    .isValidSignature(P256.Signing.ECDSASignature(rawRepresentation: signature), for: message)
}

/// The code of the error that `body` throws; a wrong answer goes on up.
func custodyCode(_ body: () async throws -> Void) async throws -> CustodyError.Code? {
  do { try await body() } catch let error as CustodyError { return error.code }
  return nil
}

/// Returns once it is so; the process's watch ends a wait in vain.
func until(_ condition: () async throws -> Bool) async rethrows {
  while !(try await condition()) { await Task.yield() }
}
