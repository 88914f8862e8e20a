import CPKCS11Loop
import HSMCustody
import KeyHierarchy
@_spi(Benchmarks) import PKCS11
import SecretMemory

/// AES-GCM of 32 bytes, which is what wrapping a data key asks of the HSM: the PKCS#11 client against the same loop in C,
/// and what custody makes of it with its threads, its pool and its deadlines.
enum HSMEncryption {
  private static let key = [UInt8](repeating: 0x5A, count: 32)
  private static let iv = [UInt8](repeating: 0x17, count: 12)
  private static let context = [UInt8](repeating: 0x42, count: 96)
  private static let concurrent = 8

  static func measure(_ hsm: DevelopmentHSM) async throws -> [Row] {
    let (client, loop) = try client(hsm)
    let one = try await custody(hsm, callers: 1)
    let many = try await custody(hsm, callers: concurrent)
    return [
      Row("PKCS#11 AES-GCM of 32 bytes", client, "/s", beside: "the same loop in C", loop, atLeast: 0.95),
      Row("custody's AES-GCM of 32 bytes, one caller", one.rate, "/s", beside: "the same loop in C", loop),
      Row("custody's AES-GCM of 32 bytes, \(concurrent) callers", many.rate, "/s", beside: "the same loop in C", loop),
      Row("  HSM operations each", many.operationsEach, ""),
    ]
  }

  private static func client(_ hsm: DevelopmentHSM) throws -> (client: Double, loop: Double) {
    let module = try Module.load(hsm.provider)
    let session = try Session(module, slot: try module.token(labelled: TokenRole.data.rawValue).slot)
    try session.login(
      .user, pin: try SecretBytes(contentsOfFile: hsm.pinFiles[.data] ?? "", droppingNewline: true))
    let key = try session.generateKey(
      .aes256, [.flag(.token, false), .flag(.sensitive, true), .flag(.encrypt, true), .flag(.decrypt, true)])
    let functions = unsafe session.functionList
    let handle = session.rawHandle
    let (plaintext, iv, context) = (self.key, self.iv, self.context)
    let rates = try Timing.rates(
      rounds: 301, operations: 200,
      [
        { count in
          try Timing.seconds {
            for _ in 0..<count {
              _ = try unsafe session.encryptGCM(plaintext.span.bytes, iv: iv, aad: context, with: key)
            }
          }
        },
        { count in
          let seconds = unsafe plaintext.withUnsafeBufferPointer { data in
            unsafe iv.withUnsafeBufferPointer { iv in
              unsafe context.withUnsafeBufferPointer { context in
                unsafe trustcore_c_gcm_loop(
                  functions, handle, key.rawValue, iv.baseAddress!, context.baseAddress!, context.count,
                  data.baseAddress!, data.count, count)
              }
            }
          }
          guard seconds > 0 else { throw BenchmarkError("the loop in C failed with \(-seconds)") }
          return seconds
        },
      ])
    return (rates[0], rates[1])
  }

  /// Callers that each wait for one operation before they ask for the next.
  private static func custody(
    _ hsm: DevelopmentHSM, callers: Int
  ) async throws -> (rate: Double, operationsEach: Double) {
    let custodian = try hsm.openCustodian(roles: [.data])
    defer { custodian.close() }
    let secret = try unsafe SharedSecret(SecretBytes(copying: key.span.bytes))
    let wrapped = try await custodian.wrap(secret)
    let (iv, context) = (iv, context)
    // The first one loads the key-encryption key.
    _ = try await custodian.encrypt(secret, iv: iv, context: context, under: wrapped)
    let (rounds, count) = (9, 4000)
    var rates: [Double] = []
    let before = custodian.operationCount
    for _ in 0..<rounds {
      rates.append(
        try await Timing.rate(count, callers: callers) { _ in
          _ = try await custodian.encrypt(secret, iv: iv, context: context, under: wrapped)
        })
    }
    return (Timing.median(rates), Double(custodian.operationCount - before) / Double(rounds * count))
  }
}

extension Timing {
  /// The rate at which so many callers do work together, each one thing after another.
  /// - Parameter body: does the work of a number.
  static func rate(
    _ count: Int, callers: Int, _ body: @escaping @Sendable (Int) async throws -> Void
  ) async throws -> Double {
    let start = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in 0..<callers {
        group.addTask { @concurrent in
          for number in stride(from: caller, to: count, by: callers) { try await body(number) }
        }
      }
      try await group.waitForAll()
    }
    return Double(count) / ((ContinuousClock.now - start) / .seconds(1))
  }
}
